//! `Running`: a server that has been started.

mod stopping;

pub use stopping::{Stopped, Stopper};

use super::health::Health;
use crate::http::deferred::worker_handle::WorkerHandle;
use crate::metrics::{Counters, Stats, WorkerCounters};
use crate::relay::RelayHandle;
use crate::runtime::event_loop::Ended;
#[cfg(unix)]
use crate::runtime::handover::Inherited;
use crate::runtime::listener::ListenAddr;
#[cfg(target_os = "linux")]
use crate::runtime::listener::ListenerId;
use crate::runtime::server_state::{ServerState, WorkerShared};
#[cfg(feature = "signals")]
use crate::runtime::signals::Signals;
#[cfg(target_os = "linux")]
use crate::runtime::systemd::{Systemd, Watchdog};
use crate::shared::panic_guard::Panic;
use crate::timers::Timers;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

/// A server whose threads run.
///
/// A drop stops it, like [`Running::stop`] and then [`Running::wait`]. So a drop blocks until all requests that
/// have arrived are answered, for [`Config::stop_timeout`](crate::Config::stop_timeout) at most (by default 10 s).
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use std::io::{Read, Write};
///
/// let server = peregrine::Server::from_fn(|_, res| res.text("hi")).bind("127.0.0.1:0").start()?;
/// let mut client = std::net::TcpStream::connect(server.local_addr().expect("a TCP address"))?;
/// client.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
/// let mut response = String::new();
/// client.read_to_string(&mut response)?;
/// assert!(response.starts_with("HTTP/1.1 200 OK\r\n"));
/// assert_eq!(server.counters().requests, 1);
///
/// server.stop();
/// let stopped = server.wait()?;
/// assert_eq!(stopped.aborted, 0);
/// # Ok(())
/// # }
/// ```
pub struct Running {
    pub(crate) control: Arc<ServerState>,
    pub(crate) addrs: Vec<ListenAddr>,
    pub(crate) acceptors: Vec<JoinHandle<io::Result<()>>>,
    /// All threads that own connections.
    pub(crate) workers: Vec<JoinHandle<io::Result<Ended>>>,
    /// Counters of the pool, of the accept threads, and of threads that are not workers.
    pub(crate) others: Vec<Arc<WorkerCounters>>,
    pub(crate) timers: Timers,
    /// The handles of the workers, for threads that respond later.
    pub(crate) handles: Vec<Arc<WorkerHandle>>,
    pub(crate) fit: usize,
    #[cfg(feature = "signals")]
    pub(crate) signals: Option<Signals>,
    #[cfg(target_os = "linux")]
    pub(crate) watchdog: Option<Watchdog>,
}

/// What belongs to the end of a start.
#[derive(Debug, Default)]
pub(crate) struct AtStart {
    /// [`Inherited::ready`] waits only while this server serves.
    #[cfg(unix)]
    pub(crate) inherited: Option<Inherited>,
    /// Tells others whether the server is ready.
    pub(crate) health: Option<Health>,
    /// Carry messages to other processes, each once.
    pub(crate) relays: Vec<RelayHandle>,
    #[cfg(target_os = "linux")]
    pub(crate) systemd: Option<Systemd>,
    /// SIGINT and SIGTERM are to stop the server.
    #[cfg(feature = "signals")]
    pub(crate) signals: bool,
}

impl AtStart {
    pub(crate) fn add_relay(&mut self, relay: &RelayHandle) {
        if !self.relays.iter().any(|known| known.is_same(relay)) {
            self.relays.push(relay.clone());
        }
    }
}

impl Running {
    /// The addresses of the listeners, in the order of the calls of
    /// [`Server::bind`](crate::Server::bind) and its siblings.
    pub fn local_addrs(&self) -> &[ListenAddr] {
        &self.addrs
    }

    /// The first TCP address of the listeners.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.addrs.iter().find_map(|addr| match addr {
            ListenAddr::Tcp(addr) => Some(*addr),
            #[cfg(feature = "tls")]
            ListenAddr::Tls(addr) => Some(*addr),
            #[cfg(unix)]
            ListenAddr::Unix(_) => None,
        })
    }

    /// The approximate number of [`Config::connections`](crate::Config::connections) for which the
    /// process had descriptors at the start; see [`Config::raise_descriptors`](crate::Config::raise_descriptors).
    pub fn connections_that_fit(&self) -> usize {
        self.fit
    }

    /// Begins to stop and returns at once.
    ///
    /// - The server accepts the connections that wait, and closes its listeners; see
    ///   [`Running::leave_backlog`].
    /// - It responds to all requests that have arrived. The last response of a connection has `Connection:
    ///   close`.
    /// - A connection without a request may send one more within [`Limits::stop_grace`], and is closed then.
    /// - WebSockets and streams of events end over `Config::ws_close_spread` and
    ///   [`Config::events_close_spread`](crate::Config::events_close_spread).
    /// - After [`Config::stop_timeout`](crate::Config::stop_timeout), and this time in addition, all open connections are
    ///   aborted.
    ///
    /// [`Limits::stop_grace`]: crate::Limits::stop_grace
    pub fn stop(&self) {
        self.control.stop();
    }

    /// Says that the server is not ready, serves on for [`Config::drain_delay`](crate::Config::drain_delay), and begins to
    /// stop then, as [`Running::stop`]. Returns at once. Without a delay it is [`Running::stop`].
    pub fn drain(&self) {
        self.control.drain();
    }

    /// Leaves connections that wait to be accepted to another process with the same listeners, from now on,
    /// when the server stops.
    ///
    /// A service manager keeps such listeners for the next process. Without this call the server accepts and
    /// serves these connections before it closes the listeners, because a close of the last listener would
    /// reset them. [`hand_over`](crate::server::hand_over) makes this call itself.
    ///
    /// ```no_run
    /// # fn main() -> std::io::Result<()> {
    /// # let from_manager = std::net::TcpListener::bind("127.0.0.1:8080")?;
    /// let server = peregrine::Server::from_fn(|_, res| res.text("hi"));
    /// let running = server.listener(from_manager).start()?;
    /// running.leave_backlog();
    /// running.wait()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn leave_backlog(&self) {
        self.control.leave_backlog(true);
    }

    /// A handle that can stop the server from any thread.
    pub fn stopper(&self) -> Stopper {
        Stopper(self.control.clone())
    }

    /// Returns timers that call functions on the threads of the workers.
    pub fn timers(&self) -> Timers {
        self.timers.clone()
    }

    /// The sum of the counters of all threads.
    pub fn counters(&self) -> Counters {
        let others = self.others.iter().map(|counters| counters.snapshot());
        self.worker_counters().into_iter().chain(others).sum()
    }

    /// The counters of each worker.
    pub fn worker_counters(&self) -> Vec<Counters> {
        self.control
            .workers
            .iter()
            .map(|worker| worker.counters.snapshot())
            .collect()
    }

    /// Blocks until the server has stopped: by [`Running::stop`], by a [`Stopper`], or by a signal after
    /// [`Server::stop_on_signals`](crate::Server#method.stop_on_signals).
    ///
    /// # Errors
    ///
    /// A thread ended with an error of the system, or panicked. Then the other threads stop too.
    pub fn wait(mut self) -> io::Result<Stopped> {
        self.join()
    }

    /// Does what is left when the threads run.
    #[cfg_attr(not(any(feature = "signals", target_os = "linux")), expect(unused_mut))]
    pub(crate) fn at_start(mut self, at_start: &AtStart, stats: &Stats) -> io::Result<Running> {
        #[cfg(unix)]
        if let Some(inherited) = &at_start.inherited {
            inherited.serves(&self.control);
        }
        #[cfg(feature = "signals")]
        if at_start.signals {
            self.signals = Some(Signals::stop(self.control.clone())?);
        }
        #[cfg(target_os = "linux")]
        if let Some(systemd) = &at_start.systemd {
            let workers = self.control.workers.iter().map(|of| of.counters.clone());
            // Without those of the pool and of the accept threads.
            let ws = self.others.iter().skip(2).cloned();
            let control = self.control.clone();
            let wake = move || control.wake_all();
            self.watchdog = Watchdog::start(systemd, wake, workers.chain(ws).collect())?;
        }
        // Last: all the rest is in place, and nothing else fails any more.
        for (index, relay) in at_start.relays.iter().enumerate() {
            if !relay.server_starts() {
                let begun = &at_start.relays[..index];
                begun.iter().for_each(RelayHandle::server_ends);
                let text = "the relay has stopped with its last server";
                return Err(io::Error::other(text));
            }
        }
        for relay in &at_start.relays {
            self.others.push(relay.live_counters());
            stats.add_relay(&relay.live_counters());
        }
        let _ = self.control.relays.set(at_start.relays.clone());
        if let Some(health) = &at_start.health {
            at_start.relays.iter().for_each(|relay| health.needs(relay));
            health.serves(&self.control.phase);
        }
        #[cfg(target_os = "linux")]
        if let Some(systemd) = &at_start.systemd {
            let _ = self.control.systemd.set(systemd.clone());
            systemd.serving(&self.addr_texts());
        }
        Ok(self)
    }

    /// The addresses for people. A client has to send a PROXY header to some of them.
    #[cfg(target_os = "linux")]
    fn addr_texts(&self) -> Vec<String> {
        let configs = (0..).map(|id| self.control.listener_config(ListenerId(id)));
        let texts = self.addrs.iter().zip(configs).map(|(addr, config)| {
            let note = if config.proxied.is_some() {
                " (PROXY protocol)"
            } else {
                ""
            };
            format!("{addr}{note}")
        });
        texts.collect()
    }

    fn join(&mut self) -> io::Result<Stopped> {
        let mut result = Ok(());
        for acceptor in self.acceptors.drain(..) {
            result = result.and(joined(acceptor));
        }
        let mut ended = Ended::default();
        for worker in self.workers.drain(..) {
            match joined(worker) {
                Ok(Ended { drained, cut }) => {
                    ended.drained += drained;
                    ended.cut += cut;
                }
                Err(error) => result = result.and(Err(error)),
            }
        }
        // The last `Stopper` keeps the control alive, with everything that it holds.
        let untaken = self.control.workers.iter().map(WorkerShared::close_untaken);
        ended.cut += untaken.sum::<u64>();
        // All threads that wait for a job have ended. A job may still have other work to do.
        self.control.pool.close(self.control.stop_at());
        // Nothing publishes any more. A second call finds the server ended.
        if !self.control.phase.has_ended() {
            let relays = self.control.relays.get();
            relays
                .into_iter()
                .flatten()
                .for_each(RelayHandle::server_ends);
        }
        self.control.phase.end();
        result.map(|()| Stopped {
            drained: ended.drained,
            aborted: ended.cut,
            counters: self.counters(),
        })
    }
}

fn joined<T>(thread: JoinHandle<io::Result<T>>) -> io::Result<T> {
    let name = thread.thread().name().unwrap_or_default().to_owned();
    thread
        .join()
        .map_err(Panic::new)
        .unwrap_or_else(|_| Err(io::Error::other(format!("the thread {name} panicked"))))
}

impl Drop for Running {
    fn drop(&mut self) {
        self.control.stop();
        let _ = self.join();
    }
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running")
            .field("addrs", &self.addrs)
            .finish_non_exhaustive()
    }
}
