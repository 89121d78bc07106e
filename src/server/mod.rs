//! Start, watch, stop and restart a server.
//!
//! [`Server::start`] returns a [`Running`] server. A [`Stopper`] stops it from any thread, and [`Stopped`] is the
//! result. `hand_over` and `Inherited` pass the listeners to a new process. [`Server`] itself is at the root of the
//! crate.

#[cfg(feature = "http3")]
mod datagrams;
#[cfg(unix)]
mod handover;
mod health;
pub(crate) mod launch;
mod mode;
mod places;
mod proxied;
pub(crate) mod running;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "websocket")]
mod websockets;

pub use crate::http::service::NoUpgrade;
#[cfg(unix)]
pub use crate::runtime::handover::Inherited;
pub use crate::runtime::listener::ListenAddr;
#[cfg(target_os = "linux")]
pub use crate::runtime::systemd::Systemd;
#[cfg(unix)]
pub use handover::hand_over;
pub use health::Health;
pub use mode::Mode;
pub use running::{Running, Stopped, Stopper};

use crate::config::Config;
#[cfg(feature = "http2")]
use crate::config::Http2;
use crate::http::handler::{FromFn, Handler, from_fn};
use crate::http::handler_error::HandlerResult;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::metrics::Stats;
use crate::relay::RelayHandle;
use crate::runtime::listener::BindAddr;
use crate::runtime::transport::Plain;
#[cfg(feature = "tls")]
use crate::runtime::transport::Secure;
use crate::timers::Timers;
#[cfg(feature = "websocket")]
use crate::websocket::WebSocketHandler;
#[cfg(feature = "websocket")]
use crate::websocket::threads::WebSockets;
use peregrine_protocol::limits::Limits;
use places::{Places, cannot_bind};
use running::AtStart;
use std::fmt::Debug;
use std::io;
use std::net::{TcpListener, ToSocketAddrs};
#[cfg(unix)]
use std::os::unix::net::UnixListener;
#[cfg(unix)]
use std::path::Path;

/// A server before its start: handler, addresses, settings. [`Config`] has the threads and limits.
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
pub struct Server<H, M = NoUpgrade> {
    handler: H,
    config: Config,
    places: Places,
    at_start: AtStart,
    timers: Timers,
    stats: Stats,
    #[cfg_attr(
        not(feature = "websocket"),
        expect(dead_code, reason = "it says nothing")
    )]
    mode: M,
}

impl<F, R> Server<FromFn<F>>
where
    F: Fn(&Request<'_>, Response<'_>) -> R + Send + Sync + 'static,
    R: HandlerResult,
{
    /// A server with a closure as its handler; see [`from_fn`].
    pub fn from_fn(f: F) -> Server<FromFn<F>> {
        Server::new(from_fn(f))
    }
}

impl<H: Handler> Server<H> {
    /// A server with `handler` and the default [`Config`].
    pub fn new(handler: H) -> Server<H> {
        Server {
            handler,
            config: Config::default(),
            places: Places::default(),
            at_start: AtStart::default(),
            timers: Timers::of_server(),
            stats: Stats::default(),
            mode: NoUpgrade,
        }
    }

    /// Enables WebSocket connections, on threads of their own ([`Config::ws_threads`]).
    ///
    /// [`WebSocketHandler::accept_ws`] accepts each one. A server without this call has neither these threads
    /// nor their code.
    ///
    /// [`WebSocketHandler::accept_ws`]: crate::ws::WebSocketHandler::accept_ws
    #[cfg(feature = "websocket")]
    pub fn websocket(self) -> Server<H, WebSockets>
    where
        H: WebSocketHandler,
    {
        Server {
            handler: self.handler,
            config: self.config,
            places: self.places,
            at_start: self.at_start,
            timers: self.timers,
            stats: self.stats,
            mode: WebSockets::default(),
        }
    }
}

impl<H, M: Mode<H>> Server<H, M> {
    /// Serves until it is stopped: [`Server::start`], then [`Running::wait`]. It blocks until then.
    pub fn run(self) -> io::Result<Stopped> {
        self.start()?.wait()
    }

    /// Binds the addresses and starts the threads. When it returns, connections are accepted.
    ///
    /// # Errors
    ///
    /// No address was given, or a setting of [`Config`] is not valid: the error has a
    /// [`ConfigError`](crate::config::ConfigError) in it. Or an address cannot be bound; the error names it. Or the
    /// system has no more threads or descriptors. With WebSockets also: the hub is connected to another server, or
    /// was. After an error nothing keeps running.
    pub fn start(self) -> io::Result<Running> {
        #[cfg(feature = "tls")]
        if self.places.has_tls() {
            return M::start::<Secure>(self);
        }
        M::start::<Plain>(self)
    }

    /// Starts with another transport for the bytes of each connection.
    #[cfg(all(test, unix))]
    pub(crate) fn start_over<T: crate::runtime::transport::OverSocket>(
        self,
    ) -> io::Result<Running> {
        M::start::<T>(self)
    }
}

/// Methods of every server, with and without WebSockets.
impl<H, M> Server<H, M> {
    /// Sets threads and limits. It replaces all settings, also those of [`Server::workers`],
    /// [`Server::max_body`] and [`Server::limits`], which are shorthands for parts of [`Config`].
    ///
    /// ```
    /// use peregrine::{Config, Limits, Server};
    /// use std::time::Duration;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let server = Server::from_fn(|_, res| res.text("hi"))
    ///     .config(Config::default().connections(10_000))
    ///     .workers(2)
    ///     .limits(Limits::default().idle_timeout(Duration::from_secs(20)))
    ///     .max_body(10 << 20);
    /// # drop(server.bind("127.0.0.1:0").start()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn config(mut self, config: Config) -> Server<H, M> {
        self.config = config;
        self
    }

    /// Sets the number of threads that serve HTTP connections: [`Config::workers`], by default one per CPU.
    pub fn workers(mut self, workers: usize) -> Server<H, M> {
        self.config.workers = workers;
        self
    }

    /// Sets how many bytes a request body may have: [`Limits::body_bytes`], by default 1 MiB. A larger body gets
    /// 413. [`Handler::body_plan`] can allow more for one route.
    ///
    /// [`Limits::body_bytes`]: crate::Limits::body_bytes
    pub fn max_body(mut self, bytes: usize) -> Server<H, M> {
        self.config.limits.body_bytes = bytes;
        self
    }

    /// Sets the sizes and timeouts of each HTTP connection: [`Config::limits`]. It replaces all of them, also that of
    /// [`Server::max_body`].
    pub fn limits(mut self, limits: Limits) -> Server<H, M> {
        self.config.limits = limits;
        self
    }

    /// Makes SIGINT and SIGTERM (on Windows: Ctrl-C and Ctrl-Break) stop the server, from the end of [`Server::start`]
    /// on. A further signal aborts the open connections.
    ///
    /// Windows ends a process right after it has told it that its console is closed or the user logs off: there is no
    /// time to stop gracefully. A Windows service gets no signal: its control handler calls
    /// [`Stopper::stop`](crate::server::Stopper::stop) when it is told to stop.
    ///
    /// With a [`Config::drain_delay`], SIGTERM lets the server drain first, and a second signal stops it. SIGINT, which a
    /// person sends who waits, stops it without a delay.
    ///
    /// It is for programs that leave these signals to the server. Without this call the library changes nothing
    /// that belongs to the whole process: no signal, no limit, no umask, no environment variable and no panic
    /// hook. The only other exception is [`Config::raise_descriptors`]. After the end of the server the two
    /// signals have no effect; they do not get their former meaning back.
    ///
    /// Needs the feature `signals`, which is on by default.
    ///
    /// ```no_run
    /// # fn main() -> std::io::Result<()> {
    /// let server = peregrine::Server::from_fn(|_, res| res.text("hi")).bind("127.0.0.1:8080");
    /// let stopped = server.stop_on_signals().run()?; // until Ctrl-C
    /// println!("{} connections were aborted", stopped.aborted);
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "signals")]
    pub fn stop_on_signals(mut self) -> Server<H, M> {
        self.at_start.signals = true;
        self
    }

    /// Returns timers that call functions on the threads of the workers.
    ///
    /// It can be used before the server starts, for example to pass it to the handler. Times that are
    /// requested before the start begin with the start.
    pub fn timers(&self) -> Timers {
        self.timers.clone()
    }

    /// Connects `stats` to the counters of this server, from its start on; see [`Stats`].
    pub fn stats(mut self, stats: &Stats) -> Server<H, M> {
        self.stats = stats.clone();
        self
    }

    /// Tells systemd what the server does: that it has started, drains, stops, is replaced, and responds; see [`Systemd`].
    /// The end of this server is the end of the service: a program that starts a server again in the same process calls the
    /// methods of [`Systemd`] itself. Linux only.
    #[cfg(target_os = "linux")]
    pub fn systemd(mut self, systemd: &Systemd) -> Server<H, M> {
        self.at_start.systemd = Some(systemd.clone());
        self
    }

    /// Stops the relay with this server, makes it part of its [`Health`] and its [`Stats`]. The relay of the hub of
    /// a server with WebSockets needs no call. [`Server::start`] fails if the relay has stopped with an earlier server.
    ///
    /// ```
    /// # use peregrine::relay::{Relay, RelayHandle, RelayMessage, Relayed};
    /// # struct Broker;
    /// # impl Relay for Broker {
    /// #     fn publish(&self, _: Option<&str>, _: RelayMessage<'_>) -> Relayed { Relayed::Queued }
    /// # }
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use peregrine::Server;
    /// use peregrine::sse::EventHub;
    ///
    /// let relay = RelayHandle::new(Broker);
    /// let events = EventHub::new();
    /// events.set_relay(&relay)?;
    /// let server = Server::from_fn(|_, res| res.text("hi")).relay(&relay).bind("127.0.0.1:0").start()?;
    /// events.publish("news", "to the pages of all machines")?;
    /// assert_eq!(server.counters().relay_published, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn relay(mut self, relay: &RelayHandle) -> Server<H, M> {
        self.at_start.add_relay(relay);
        self
    }

    /// Connects `health` to this server, from its start on; see [`Health`].
    pub fn health(mut self, health: &Health) -> Server<H, M> {
        self.at_start.health = Some(health.clone());
        self
    }

    /// Listens on a TCP address: `"127.0.0.1:8080"`, `"[::]:8080"`, `("localhost", 8080)`. It can be called
    /// several times.
    ///
    /// Port 0 is any free port; [`Running::local_addrs`] returns it. A name with several addresses is bound
    /// to the first address that works. [`Server::start`] reports errors.
    ///
    /// `[::]` also accepts connections over IPv4, on every system except OpenBSD. If the server is also bound
    /// to `0.0.0.0` with the same port, each of the two accepts its own.
    #[doc(alias("listen", "serve"))]
    pub fn bind(mut self, addr: impl ToSocketAddrs + Debug) -> Server<H, M> {
        self.places.addrs.push(place(addr));
        self
    }

    /// Sets whether the address that was given last speaks HTTP/2. [`Config::http2`] has the setting of the others.
    /// Before the first address it does nothing.
    ///
    /// Needs the feature `http2`.
    ///
    /// ```
    /// use peregrine::Server;
    /// use peregrine::config::Http2;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let server = Server::from_fn(|req, res| res.text(req.version().to_string()))
    ///     .bind("127.0.0.1:0")
    ///     .bind("127.0.0.1:0")
    ///     .http2(Http2::Only)
    ///     .start()?;
    /// # drop(server);
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "http2")]
    pub fn http2(mut self, mode: Http2) -> Server<H, M> {
        if let Some(last) = self.places.addrs.len().checked_sub(1) {
            self.places.http2.push((last, mode));
        }
        self
    }

    /// Listens on a Unix socket that only the user of this process may connect to: [`Server::bind_unix_mode`]
    /// with 0600.
    #[cfg(unix)]
    pub fn bind_unix(self, path: impl AsRef<Path>) -> Server<H, M> {
        self.bind_unix_mode(path, 0o600)
    }

    /// Listens on a Unix socket whose file has the permissions `mode`, whatever the umask. A process that may
    /// write to the file may connect. Not on Windows.
    ///
    /// For example, 0660 allows the group of the file, such as a proxy of another user. A socket file of this
    /// user without a listener is replaced. Any other file at the path is an [error](Server::start) that says
    /// what it is. When the server stops, it removes its file if the file is still there.
    #[cfg(unix)]
    pub fn bind_unix_mode(mut self, path: impl AsRef<Path>, mode: u32) -> Server<H, M> {
        self.places
            .addrs
            .push(BindAddr::Unix(path.as_ref().to_owned(), mode));
        self
    }

    /// Listens on a TCP socket that another program has bound, for example a service manager; see
    /// [`Running::leave_backlog`].
    pub fn listener(mut self, listener: TcpListener) -> Server<H, M> {
        self.places.addrs.push(BindAddr::Inherited(vec![listener]));
        self
    }

    /// Listens on a Unix socket that another program has bound. Not on Windows.
    #[cfg(unix)]
    pub fn unix_listener(mut self, listener: UnixListener) -> Server<H, M> {
        self.places
            .addrs
            .push(BindAddr::InheritedUnix(listener, None));
        self
    }

    /// Uses the listeners of the process that hands over to this one ([`hand_over`]). [`Inherited`] has an
    /// example. Not on Windows.
    ///
    /// It applies to [`Server::bind`] and [`Server::bind_unix`], called before or after this. Addresses
    /// without an inherited listener are bound as usual. So addresses may be added and removed from one
    /// version of a program to the next. Port 0 takes any listener on its IP address.
    ///
    /// All listeners of an address are taken, whatever the numbers of threads of the two processes. With
    /// several accept threads each listener has its own queue of connections, and no connection is lost.
    #[cfg(unix)]
    pub fn inherit(mut self, inherited: &Inherited) -> Server<H, M> {
        self.at_start.inherited = Some(inherited.clone());
        self
    }

    fn take_places(&mut self) -> Places {
        #[cfg_attr(not(unix), expect(unused_mut, reason = "nothing is inherited"))]
        let mut places = std::mem::take(&mut self.places);
        #[cfg(unix)]
        if let Some(inherited) = &self.at_start.inherited {
            places.addrs = inherited.claim(places.addrs);
        }
        places
    }
}

/// An address of TCP, or why it is none.
fn place(addr: impl ToSocketAddrs + Debug) -> BindAddr {
    let addrs = match addr.to_socket_addrs().map(Iterator::collect::<Vec<_>>) {
        Ok(addrs) if addrs.is_empty() => {
            let error = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
            Err(cannot_bind(format_args!("{addr:?}"), &error))
        }
        Ok(addrs) => Ok(addrs),
        Err(error) => Err(cannot_bind(format_args!("{addr:?}"), &error)),
    };
    BindAddr::Tcp(addrs)
}
