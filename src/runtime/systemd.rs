//! Notifications to systemd (sd_notify(3), systemd.service(5)), without its library. Linux only.

use crate::log::event;
use crate::metrics::WorkerCounters;
use rustix::time::{ClockId, clock_gettime};
use std::convert::Infallible;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Tells systemd what a service of `Type=notify` does. Linux only; no library of systemd is needed.
///
/// [`Server::systemd`](crate::Server::systemd) tells it by itself:
///
/// | when | what |
/// |---|---|
/// | the server has started | `READY=1` |
/// | it begins to drain or to stop | `STOPPING=1` |
/// | [`hand_over`](crate::server::hand_over) begins | `RELOADING=1`, `MONOTONIC_USEC` |
/// | the new process is ready | `MAINPID`, `READY=1` |
/// | the new process has failed | `READY=1` |
/// | `WatchdogSec=` is set | `WATCHDOG=1`, four times in this time, while all workers and WebSocket threads respond |
///
/// Each also has a `STATUS`, which `systemctl status` shows, of at most 256 bytes.
///
/// The messages with `READY` and `RELOADING` wait for at most 3 s while the queue of the manager is full, because a service
/// whose `READY=1` is lost is ended. If that is not enough, an error is logged. The others do not wait: they may be lost, and a
/// warning is logged.
///
/// A server that ends is the end of the service: after `STOPPING=1` systemd kills the process when `TimeoutStopSec=` is over,
/// also if it starts a server again. So a program that restarts its server within the process, or has several servers, tells
/// systemd itself, by [`Systemd::ready`] and its siblings, and does not call `Server::systemd`. The watchdog belongs to one
/// server.
///
/// The [watchdog](Systemd::watchdog): systemd kills a service that is silent for `WatchdogSec=`. A handler that holds its
/// worker stops the pings: it may take half of that time in any case, and the service is killed if it takes longer than all of
/// it. Handlers on the thread pool, and responses that come later, hold no worker.
///
/// ```no_run
/// use peregrine::Server;
/// use peregrine::server::Systemd;
///
/// # #[cfg(feature = "signals")]
/// # fn main() -> std::io::Result<()> {
/// let systemd = Systemd::from_env()?; // nothing, if systemd has not started this process
/// Server::from_fn(|_, res| res.text("hi"))
///     .bind("127.0.0.1:8080")
///     .stop_on_signals()
///     .systemd(&systemd)
///     .run()?;
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "signals"))]
/// # fn main() {}
/// ```
#[derive(Clone, Debug)]
#[doc(alias("sd_notify", "notify", "watchdog"))]
pub struct Systemd(Option<Arc<Manager>>);

/// The most bytes of a `STATUS`. systemd ignores messages of more than 4,096 bytes.
const MAX_STATUS: usize = 256;

/// How long a message that must not be lost waits for a manager that reads none.
const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Debug)]
struct Manager {
    /// Does not wait.
    socket: UnixDatagram,
    /// Waits for [`PATIENCE`].
    patient: UnixDatagram,
    to: SocketAddr,
    watchdog: Option<Duration>,
    stops: AtomicBool,
}

impl Systemd {
    /// The systemd that has started this process, by `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`. Without these
    /// variables all methods do nothing. The variables remain for processes that this one starts.
    ///
    /// # Errors
    ///
    /// `NOTIFY_SOCKET` is neither an absolute path nor an abstract name (`@name`), or is too long. Or the system has no more
    /// sockets.
    pub fn from_env() -> io::Result<Systemd> {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let Some(address) = variable("NOTIFY_SOCKET") else {
            return Ok(Systemd(None));
        };
        let number = |name| variable(name)?.to_str()?.parse::<u64>().ok();
        let is_other = |pid| pid != u64::from(std::process::id());
        let is_for_other =
            variable("WATCHDOG_PID").is_some() && number("WATCHDOG_PID").is_none_or(is_other);
        let watchdog = number("WATCHDOG_USEC").filter(|_| !is_for_other);
        Systemd::at(address, watchdog.map(Duration::from_micros))
    }

    /// A socket that takes the notifications: an absolute path, or `@name` for an abstract name. For tests, and for
    /// managers other than systemd. With `watchdog`, pings come at least every half of this time.
    ///
    /// # Errors
    ///
    /// Those of [`Systemd::from_env`].
    pub fn at(address: impl AsRef<OsStr>, watchdog: Option<Duration>) -> io::Result<Systemd> {
        let address = address.as_ref();
        let to = match address.as_bytes() {
            [b'/', ..] => SocketAddr::from_pathname(address)?,
            [b'@', name @ ..] if !name.is_empty() => SocketAddr::from_abstract_name(name)?,
            _ => {
                let text = format!("NOTIFY_SOCKET is {address:?}, and must be a path or @name");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
            }
        };
        let (socket, patient) = (UnixDatagram::unbound()?, UnixDatagram::unbound()?);
        socket.set_nonblocking(true)?;
        patient.set_write_timeout(Some(PATIENCE))?;
        Ok(Systemd(Some(Arc::new(Manager {
            socket,
            patient,
            to,
            watchdog: watchdog.filter(|time| !time.is_zero()),
            stops: AtomicBool::new(false),
        }))))
    }

    /// Whether there is a manager to tell.
    pub fn is_there(&self) -> bool {
        self.0.is_some()
    }

    /// The time after which systemd kills a service that is silent: `WatchdogSec=`.
    pub fn watchdog(&self) -> Option<Duration> {
        self.0.as_ref()?.watchdog
    }

    /// Says that the program is ready, or is so again after [`Systemd::reloading`]. [`Server::systemd`](crate::Server::systemd)
    /// says so itself when its server has started. A program of several servers gives it to the one that starts last.
    pub fn ready(&self) {
        self.send_patiently("READY=1");
    }

    /// Says that the program reads its configuration again. [`Systemd::ready`] has to follow.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1000;
        self.send_patiently(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// Sets the text that `systemctl status` shows. Line ends and other control characters become spaces. Only the first 256
    /// bytes are sent, and " ..." if there are more.
    pub fn status(&self, text: &str) {
        self.send(&format!("STATUS={}", status(text)));
    }

    /// Says that a server serves at these addresses.
    pub(crate) fn serving(&self, addrs: &[String]) {
        let text = format!("serving at {}", addrs.join(", "));
        self.send_patiently(&format!("READY=1\nSTATUS={}", status(&text)));
    }

    /// Says that the program is about to end, once, and what it does at present.
    pub(crate) fn stopping(&self, status: &str) {
        let Some(manager) = &self.0 else {
            return;
        };
        match manager.stops.swap(true, Ordering::AcqRel) {
            false => self.send(&format!("STOPPING=1\nSTATUS={status}")),
            true => self.send(&format!("STATUS={status}")),
        }
    }

    /// Says that another process serves from now on.
    pub(crate) fn handed_over(&self, pid: u32) {
        self.send_patiently(&format!(
            "MAINPID={pid}\nREADY=1\nSTATUS=process {pid} serves"
        ));
    }

    fn send(&self, state: &str) {
        let Some(manager) = &self.0 else {
            return;
        };
        if let Err(error) = manager.socket.send_to_addr(state.as_bytes(), &manager.to) {
            event!(Warn, "systemd gets no notification: {error}");
        }
    }

    /// A message whose loss ends the service.
    fn send_patiently(&self, state: &str) {
        let Some(manager) = &self.0 else {
            return;
        };
        let sent = manager.patient.send_to_addr(state.as_bytes(), &manager.to);
        if let Err(error) = sent {
            let what = state.lines().next().unwrap_or_default();
            event!(
                Error,
                "systemd has not been told {what}, and may end the service: {error}"
            );
        }
    }
}

/// A `STATUS`: one line, and not too long.
fn status(text: &str) -> String {
    let mut line = text.replace(char::is_control, " ");
    if line.len() > MAX_STATUS {
        let mut ends = (0..=MAX_STATUS).rev();
        line.truncate(ends.find(|end| line.is_char_boundary(*end)).unwrap_or(0));
        line.push_str(" ...");
    }
    line
}

/// Pings while all threads that serve connections respond. Ends when it is dropped.
pub(crate) struct Watchdog {
    /// Its drop ends the thread.
    alive: Option<Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

/// In the time of the watchdog. Threads are asked each time, and have responded by the next time.
const TIMES: u32 = 4;

/// The shortest wait between two pings, so that the thread does not spin.
const LEAST: Duration = Duration::from_millis(1);

impl Watchdog {
    /// `wake` wakes the threads that have these counters. `None` if the manager waits for no pings.
    pub(crate) fn start(
        systemd: &Systemd,
        wake: impl Fn() + Send + 'static,
        counters: Vec<Arc<WorkerCounters>>,
    ) -> io::Result<Option<Watchdog>> {
        let Some(time) = systemd.watchdog() else {
            return Ok(None);
        };
        let (alive, is_over) = mpsc::channel();
        let systemd = systemd.clone();
        let turns = move || counters.iter().map(|of| of.turns.get()).collect::<Vec<_>>();
        let run = move || {
            let mut before = turns();
            wake();
            let every = (time / TIMES).max(LEAST);
            while is_over.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                let now = turns();
                if before.iter().zip(&now).all(|(before, now)| now > before) {
                    systemd.send("WATCHDOG=1");
                }
                before = now;
                wake();
            }
        };
        let thread = thread::Builder::new().name("pg-watchdog".to_owned());
        let thread = Some(thread.spawn(run)?);
        let alive = Some(alive);
        Ok(Some(Watchdog { alive, thread }))
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.alive = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
