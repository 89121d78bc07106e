//! Starting a server, watching it, stopping it.

#[cfg(unix)]
mod handover;
mod stopping;
#[cfg(feature = "websocket")]
mod websockets;

#[cfg(unix)]
pub use handover::hand_over;
pub use stopping::{Stopped, Stopper};

use crate::config::Config;
use crate::conn::panic_guard::Panic;
use crate::drive::Off;
use crate::handler::{FromFn, Handler, from_fn};
#[cfg(unix)]
use crate::io::handover::Inherited;
#[cfg(feature = "signals")]
use crate::io::signals::Signals;
#[cfg(feature = "websocket")]
use crate::io::ws_mode::WebSockets;
use crate::io::{
    control::{Control, Seat},
    event_loop::Ended,
    listener::{ListenAddr, Place},
    transport::{OverSocket, Plain},
};
use crate::late::Timers;
use crate::launch::{Launch, cannot_bind};
use crate::request::Request;
use crate::response::{Done, Response};
use crate::stats::{Counters, Stats, WorkerCounters};
#[cfg(feature = "websocket")]
use crate::websocket::WebSocketHandler;
use std::fmt::Debug;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
#[cfg(unix)]
use std::os::unix::net::UnixListener;
#[cfg(unix)]
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

/// A server that is being set up. See [`Config`] for threads and limits.
///
/// ```no_run
/// use peregrine::Server;
///
/// # fn main() -> std::io::Result<()> {
/// Server::from_fn(|_req, res| res.text("Hello, World!"))
///     .bind("127.0.0.1:8080")
///     .bind("[::1]:8080")
///     .run()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a server does nothing before `run` or `start`"]
pub struct Server<H, M = Off> {
    handler: H,
    config: Config,
    places: Vec<Place>,
    #[cfg(unix)]
    inherited: Option<Inherited>,
    timers: Timers,
    stats: Stats,
    #[cfg_attr(
        not(feature = "websocket"),
        expect(dead_code, reason = "it says nothing")
    )]
    mode: M,
}

impl<F> Server<FromFn<F>>
where
    F: Fn(&Request<'_>, Response<'_>) -> Done + Send + Sync + 'static,
{
    /// A server around a closure; see [`from_fn`].
    pub fn from_fn(f: F) -> Server<FromFn<F>> {
        Server::new(from_fn(f))
    }
}

impl<H: Handler> Server<H> {
    /// A server around `handler`, with the default [`Config`].
    pub fn new(handler: H) -> Server<H> {
        Server {
            handler,
            config: Config::default(),
            places: Vec::new(),
            #[cfg(unix)]
            inherited: None,
            timers: Timers::of_server(),
            stats: Stats::default(),
            mode: Off,
        }
    }

    /// Takes WebSocket connections, too, on threads of their own ([`Config::ws_threads`]): those
    /// that [`WebSocketHandler::accept_ws`] accepts. A server without this call has neither the
    /// threads nor their code.
    ///
    /// [`WebSocketHandler::accept_ws`]: crate::WebSocketHandler::accept_ws
    #[cfg(feature = "websocket")]
    pub fn websocket(self) -> Server<H, WebSockets>
    where
        H: WebSocketHandler,
    {
        Server {
            handler: self.handler,
            config: self.config,
            places: self.places,
            #[cfg(unix)]
            inherited: self.inherited,
            timers: self.timers,
            stats: self.stats,
            mode: WebSockets::default(),
        }
    }

    /// Serves until a stop: [`Server::start`], then [`Running::wait`].
    pub fn run(self) -> io::Result<Stopped> {
        self.start()?.wait()
    }

    /// Binds and starts the threads. When it returns, connections are accepted.
    ///
    /// # Errors
    ///
    /// No address was given; one cannot be bound, which the message names; the system has no more
    /// threads or descriptors. Nothing keeps running then.
    pub fn start(self) -> io::Result<Running> {
        self.start_over::<Plain>()
    }

    /// Starts over what moves the bytes of each connection.
    pub(crate) fn start_over<T: OverSocket>(mut self) -> io::Result<Running> {
        let places = self.take_places();
        let launch = Launch::new(self.config, places, Vec::new(), self.timers)?;
        let running = launch.start::<_, _, T>(Arc::new(self.handler), &self.stats, || Off)?;
        #[cfg(unix)]
        running.tell(self.inherited.as_ref());
        Ok(running)
    }
}

/// What every server can be told, whatever it serves.
impl<H, M> Server<H, M> {
    /// Sets threads and limits.
    pub fn config(mut self, config: Config) -> Server<H, M> {
        self.config = config;
        self
    }

    /// Has functions called after a time, on the workers' threads. It may be asked for before the
    /// server starts, to give it to the handler, and asked already: what it is asked for then is
    /// counted from the start.
    pub fn timers(&self) -> Timers {
        self.timers.clone()
    }

    /// Lets `stats` tell what this server counts, from its start on; see [`Stats`].
    pub fn stats(mut self, stats: &Stats) -> Server<H, M> {
        self.stats = stats.clone();
        self
    }

    /// Listens on an address: `"127.0.0.1:8080"`, `"[::]:8080"`, `("localhost", 8080)`. Port 0 is
    /// any free one; [`Running::local_addrs`] tells which. May be called for several addresses. A
    /// name that stands for several is bound to the first that works. Errors are those of
    /// [`Server::start`].
    ///
    /// `[::]` takes connections over IPv4, too, on every system but OpenBSD. If the server is also bound to
    /// `0.0.0.0` with the same port, each of the two takes its own.
    pub fn bind(mut self, addr: impl ToSocketAddrs + Debug) -> Server<H, M> {
        let addrs = match addr.to_socket_addrs().map(Iterator::collect::<Vec<_>>) {
            Ok(addrs) if addrs.is_empty() => {
                let error = io::Error::new(io::ErrorKind::NotFound, "it stands for no address");
                Err(cannot_bind(format_args!("{addr:?}"), &error))
            }
            Ok(addrs) => Ok(addrs),
            Err(error) => Err(cannot_bind(format_args!("{addr:?}"), &error)),
        };
        self.places.push(Place::Tcp(addrs));
        self
    }

    /// Listens on a Unix socket that only this user may connect to: [`Server::bind_unix_mode`] with
    /// 0600.
    #[cfg(unix)]
    pub fn bind_unix(self, path: impl AsRef<Path>) -> Server<H, M> {
        self.bind_unix_mode(path, 0o600)
    }

    /// Listens on a Unix socket whose file has the permissions `mode`, whatever the umask: who may write
    /// to it may connect. 0660 lets the group of the file in, a proxy of another user for instance.
    /// A socket file of this user that nobody listens on is replaced; anything else there is an
    /// [error](Server::start) that says what it is. Ours is removed when the server stops, if it is
    /// still there. Not on Windows.
    #[cfg(unix)]
    pub fn bind_unix_mode(mut self, path: impl AsRef<Path>, mode: u32) -> Server<H, M> {
        self.places
            .push(Place::Unix(path.as_ref().to_owned(), mode));
        self
    }

    /// Listens on a socket that someone else has bound, a service manager for instance; see
    /// [`Running::leave_backlog`].
    pub fn listener(mut self, listener: TcpListener) -> Server<H, M> {
        self.places.push(Place::Inherited(vec![listener]));
        self
    }

    /// Listens on a Unix socket that someone else has bound. Not on Windows.
    #[cfg(unix)]
    pub fn unix_listener(mut self, listener: UnixListener) -> Server<H, M> {
        self.places.push(Place::InheritedUnix(listener, None));
        self
    }

    /// Has [`Server::bind`] and [`Server::bind_unix`], called before or after this, take the listeners of
    /// the process that hands over to this one ([`hand_over`]; [`Inherited`] has an example). For an
    /// address that it did not listen on they bind anew, so addresses may come and go from one version
    /// of a program to the next. Port 0 takes any listener on its IP address. Not on Windows.
    ///
    /// All listeners of an address are taken, whatever the numbers of threads of the two processes: with
    /// several accept threads each has a queue of connections of its own, and none is lost.
    #[cfg(unix)]
    pub fn inherit(mut self, inherited: &Inherited) -> Server<H, M> {
        self.inherited = Some(inherited.clone());
        self
    }

    fn take_places(&mut self) -> Vec<Place> {
        let places = std::mem::take(&mut self.places);
        #[cfg(unix)]
        if let Some(inherited) = &self.inherited {
            return inherited.claim(places);
        }
        places
    }
}

/// A server whose threads run. Dropping it stops it, as [`Running::wait`] would after
/// [`Running::stop`].
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use std::io::{Read, Write};
///
/// let server = peregrine::Server::from_fn(|_, res| res.text("hi")).bind("127.0.0.1:0").start()?;
/// let mut client = std::net::TcpStream::connect(server.local_addr().expect("a TCP address"))?;
/// client.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
/// let mut answer = String::new();
/// client.read_to_string(&mut answer)?;
/// assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"));
/// assert_eq!(server.counters().requests, 1);
///
/// server.stop();
/// let stopped = server.wait()?;
/// assert_eq!(stopped.cut, 0);
/// # Ok(())
/// # }
/// ```
pub struct Running {
    pub(crate) control: Arc<Control>,
    pub(crate) addrs: Vec<ListenAddr>,
    pub(crate) acceptors: Vec<JoinHandle<io::Result<()>>>,
    /// All that own connections.
    pub(crate) workers: Vec<JoinHandle<io::Result<Ended>>>,
    /// Of the pool, of those who accept, and of threads that are no workers.
    pub(crate) others: Vec<Arc<WorkerCounters>>,
    pub(crate) timers: Timers,
    pub(crate) fit: usize,
    #[cfg(feature = "signals")]
    pub(crate) signals: Option<Signals>,
}

impl Running {
    /// Where it listens, in the order of the calls to [`Server::bind`] and its siblings.
    pub fn local_addrs(&self) -> &[ListenAddr] {
        &self.addrs
    }

    /// The first TCP address it listens on.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.addrs.iter().find_map(|addr| match addr {
            ListenAddr::Tcp(addr) => Some(*addr),
            #[cfg(unix)]
            ListenAddr::Unix(_) => None,
        })
    }

    /// About how many of [`Config::connections`] the process had descriptors for at the start; see
    /// [`Config::raise_descriptors`].
    pub fn connections_that_fit(&self) -> usize {
        self.fit
    }

    /// Begins to stop and returns at once: listeners close, and those who wait to be accepted are; all
    /// requests that have arrived are answered, the last of a connection with `Connection: close`. A
    /// connection without a request may send one more, within [`Limits::stop_grace`], and is closed
    /// then. What is open after [`Config::stop_time`] is cut.
    ///
    /// [`Limits::stop_grace`]: crate::Limits::stop_grace
    pub fn stop(&self) {
        self.control.stop();
    }

    /// From now on a stop leaves connections that wait to be accepted to someone else who has the same
    /// listeners: a service manager, which keeps them for the next process. Without this call they are
    /// accepted and answered before the listeners close, as closing the last one would cut them off.
    /// [`hand_over`] calls it by itself.
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

    /// Has functions called after a time, on the workers' threads.
    pub fn timers(&self) -> Timers {
        self.timers.clone()
    }

    /// What all threads have counted.
    pub fn counters(&self) -> Counters {
        let others = self.others.iter().map(|counters| counters.snapshot());
        self.worker_counters().into_iter().chain(others).sum()
    }

    /// What each worker has counted.
    pub fn worker_counters(&self) -> Vec<Counters> {
        self.control
            .seats
            .iter()
            .map(|seat| seat.counters.snapshot())
            .collect()
    }

    /// From now on SIGINT and SIGTERM (on Windows: Ctrl-C) stop the server, and a second one cuts
    /// what is still open. [`Running::wait`] does this by itself; call it before, where a signal may
    /// come in between. The signals do not get their former meaning back afterwards. Feature
    /// `signals`, on by default.
    ///
    /// # Errors
    ///
    /// The system has no more descriptors or threads.
    #[cfg(feature = "signals")]
    pub fn stop_on_signals(&mut self) -> io::Result<()> {
        if self.signals.is_none() {
            self.signals = Some(Signals::stop(self.control.clone())?);
        }
        Ok(())
    }

    /// Waits until the server has stopped, by a signal, [`Running::stop`] or a [`Stopper`].
    ///
    /// # Errors
    ///
    /// A thread ended with an error of the system, or panicked, which stops the others too.
    pub fn wait(mut self) -> io::Result<Stopped> {
        #[cfg(feature = "signals")]
        self.stop_on_signals()?;
        self.join()
    }

    /// [`Inherited::ready`] waits no longer than this server serves.
    #[cfg(unix)]
    fn tell(&self, inherited: Option<&Inherited>) {
        if let Some(inherited) = inherited {
            inherited.serves(&self.control);
        }
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
        // The control, and what it holds, lives as long as the last `Stopper`.
        let untaken = self.control.seats.iter().map(Seat::close_untaken);
        ended.cut += untaken.sum::<u64>();
        // Whoever was waiting for a job has ended; it may have more to do than to answer.
        self.control.pool.close(self.control.stop_at());
        result.map(|()| Stopped {
            drained: ended.drained,
            cut: ended.cut,
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
