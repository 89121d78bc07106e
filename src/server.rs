//! Starting a server, watching it, stopping it.

use crate::config::Config;
use crate::handler::{FromFn, Handler, from_fn};
#[cfg(feature = "signals")]
use crate::io::signals::Signals;
use crate::io::{
    accept::Acceptor,
    control::{Control, Seat},
    listener::{self, ListenAddr, Listener},
    poll::Poll,
    worker::{Ended, Worker},
};
use crate::request::Request;
use crate::response::{Done, Response};
use crate::stats::Counters;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
#[cfg(unix)]
use std::os::unix::net::UnixListener;
#[cfg(unix)]
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

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
pub struct Server<H> {
    handler: H,
    config: Config,
    places: Vec<Place>,
}

/// Where to listen.
#[derive(Debug)]
enum Place {
    /// What a name stands for; the first that can be bound is taken.
    Tcp(io::Result<Vec<SocketAddr>>),
    Inherited(TcpListener),
    #[cfg(unix)]
    Unix(PathBuf),
    #[cfg(unix)]
    InheritedUnix(UnixListener),
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
        }
    }

    /// Sets threads and limits.
    pub fn config(mut self, config: Config) -> Server<H> {
        self.config = config;
        self
    }

    /// Listens on an address: `"127.0.0.1:8080"`, `"[::]:8080"`, `("localhost", 8080)`. Port 0 is
    /// any free one; [`Running::local_addrs`] tells which. May be called for several addresses. A
    /// name that stands for several is bound to the first that works. Errors are those of
    /// [`Server::start`].
    pub fn bind(mut self, addr: impl ToSocketAddrs) -> Server<H> {
        let addrs = addr.to_socket_addrs().map(Iterator::collect);
        self.places.push(Place::Tcp(addrs));
        self
    }

    /// Listens on a Unix socket. A socket file that nobody listens on is replaced; ours is removed
    /// when the server stops. Not on Windows.
    #[cfg(unix)]
    pub fn bind_unix(mut self, path: impl AsRef<Path>) -> Server<H> {
        self.places.push(Place::Unix(path.as_ref().to_owned()));
        self
    }

    /// Listens on a socket that someone else has bound, a service manager for instance.
    pub fn listener(mut self, listener: TcpListener) -> Server<H> {
        self.places.push(Place::Inherited(listener));
        self
    }

    /// Listens on a Unix socket that someone else has bound. Not on Windows.
    #[cfg(unix)]
    pub fn unix_listener(mut self, listener: UnixListener) -> Server<H> {
        self.places.push(Place::InheritedUnix(listener));
        self
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
        let config = Arc::new(checked(self.config)?);
        let accept_threads = config.accept_threads.unwrap_or(match config.workers {
            1 => 0,
            _ => 1,
        });
        let threads = match accept_threads {
            0 => config.workers,
            n => n,
        };
        let shared = threads > 1 && listener::CAN_SHARE;
        let mut sets = bind_all(self.places, shared, threads, &config)?;
        let addrs = sets[0]
            .iter()
            .map(Listener::addr)
            .collect::<io::Result<Vec<_>>>()?;

        let polls = |n| (0..n).map(|_| Poll::new()).collect::<io::Result<Vec<_>>>();
        let (worker_polls, acceptor_polls) = (polls(config.workers)?, polls(accept_threads)?);
        let seats = worker_polls
            .iter()
            .map(|poll| Seat::new(poll.waker()))
            .collect();
        let wakers = acceptor_polls.iter().map(Poll::waker).collect();
        let control = Arc::new(Control::new(seats, wakers));
        let mut running = Running {
            control: control.clone(),
            addrs,
            acceptors: Vec::new(),
            workers: Vec::new(),
            #[cfg(feature = "signals")]
            signals: None,
        };
        let handler = Arc::new(self.handler);
        for (index, poll) in worker_polls.into_iter().enumerate() {
            let listeners = match accept_threads {
                0 => sets.remove(0),
                _ => Vec::new(),
            };
            let worker = Worker {
                index,
                handler: handler.clone(),
                config: config.clone(),
                control: control.clone(),
                poll,
                listeners,
            };
            running
                .workers
                .push(spawn("worker", index, &config, &control, move || {
                    worker.run()
                })?);
        }
        for (index, (poll, listeners)) in acceptor_polls.into_iter().zip(sets).enumerate() {
            let acceptor = Acceptor::new(poll, listeners, control.clone(), config.clone());
            running
                .acceptors
                .push(spawn("accept", index, &config, &control, move || {
                    acceptor.run()
                })?);
        }
        Ok(running)
    }
}

/// Refuses settings that cannot work.
fn checked(config: Config) -> io::Result<Config> {
    let wrong = |text| Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    if config.workers == 0 {
        return wrong("Config::workers is 0: somebody has to serve");
    }
    if let Some(name) = &config.server_name {
        if !name.bytes().all(|b| matches!(b, 0x20..=0x7e)) {
            return wrong("Config::server_name holds more than visible ASCII and spaces");
        }
    }
    Ok(config)
}

/// The listeners of each of `threads` threads, all of them in every set.
fn bind_all(
    places: Vec<Place>,
    shared: bool,
    threads: usize,
    config: &Config,
) -> io::Result<Vec<Vec<Listener>>> {
    if places.is_empty() {
        let text = "no address to listen on: call Server::bind";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let mut sets: Vec<Vec<Listener>> = (0..threads).map(|_| Vec::new()).collect();
    for place in places {
        let (listener, shared) = match place {
            Place::Tcp(addrs) => (bind_first(addrs?, shared, config)?, shared),
            // It may not have been bound for sharing.
            Place::Inherited(listener) => (Listener::inherited(listener, config)?, false),
            #[cfg(unix)]
            Place::Unix(path) => {
                let bound = Listener::unix(&path);
                (
                    bound.map_err(|error| cannot_bind(path.display(), &error))?,
                    false,
                )
            }
            #[cfg(unix)]
            Place::InheritedUnix(listener) => (Listener::inherited_unix(listener)?, false),
        };
        for set in &mut sets[1..] {
            set.push(listener.another(shared, config)?);
        }
        sets[0].push(listener);
    }
    Ok(sets)
}

fn bind_first(addrs: Vec<SocketAddr>, shared: bool, config: &Config) -> io::Result<Listener> {
    let mut error = io::Error::new(io::ErrorKind::NotFound, "the name stands for no address");
    for addr in addrs {
        match Listener::tcp(addr, shared, config) {
            Ok(listener) => return Ok(listener),
            Err(e) => error = cannot_bind(addr, &e),
        }
    }
    Err(error)
}

fn cannot_bind(place: impl std::fmt::Display, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot listen on {place}: {error}"))
}

/// Starts a named thread. However it ends, the server ends with it: none of them does before.
fn spawn<T: Send + 'static>(
    kind: &str,
    index: usize,
    config: &Config,
    control: &Arc<Control>,
    run: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<JoinHandle<io::Result<T>>> {
    struct StopOthers(Arc<Control>);
    impl Drop for StopOthers {
        fn drop(&mut self) {
            self.0.stop();
        }
    }
    let guard = StopOthers(control.clone());
    // Linux shows 15 bytes of a name.
    let mut builder = thread::Builder::new().name(format!("pg-{kind}-{index}"));
    if let Some(bytes) = config.stack_size {
        builder = builder.stack_size(bytes);
    }
    builder.spawn(move || {
        let _guard = guard;
        run()
    })
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
    control: Arc<Control>,
    addrs: Vec<ListenAddr>,
    acceptors: Vec<JoinHandle<io::Result<()>>>,
    workers: Vec<JoinHandle<io::Result<Ended>>>,
    #[cfg(feature = "signals")]
    signals: Option<Signals>,
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

    /// Begins to stop and returns at once: listeners close, requests that have arrived are answered
    /// with `Connection: close`, idle connections close. What is open after
    /// [`Config::stop_time`] is cut.
    pub fn stop(&self) {
        self.control.stop();
    }

    /// A handle that can stop the server from any thread.
    pub fn stopper(&self) -> Stopper {
        Stopper(self.control.clone())
    }

    /// What all workers have counted.
    pub fn counters(&self) -> Counters {
        self.worker_counters().into_iter().sum()
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

/// Stops a server from any thread; see [`Running::stopper`].
#[derive(Clone)]
pub struct Stopper(Arc<Control>);

impl Stopper {
    /// As [`Running::stop`].
    pub fn stop(&self) {
        self.0.stop();
    }

    /// Stops without waiting for anything: open connections are cut.
    pub fn stop_now(&self) {
        self.0.cut();
    }
}

impl std::fmt::Debug for Stopper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stopper").finish_non_exhaustive()
    }
}

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stopped {
    /// Connections that were open when the stop began, or came in with it, and have ended properly:
    /// idle, or with all their requests answered.
    pub drained: u64,
    /// Connections that were still open at the deadline.
    pub cut: u64,
    /// What the server counted in its life.
    pub counters: Counters,
}
