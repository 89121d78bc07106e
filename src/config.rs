//! How a server is set up.

#[cfg(feature = "deflate")]
use crate::protocol::deflate::WsDeflate;
use crate::protocol::limits::Limits;
#[cfg(feature = "websocket")]
use crate::protocol::ws_limits::WsLimits;
use std::time::Duration;

/// Threads, sockets and limits of a server.
///
/// ```
/// use peregrine::Config;
///
/// let config = Config { workers: 2, ..Config::default() };
/// assert!(config.keep_alive);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Threads that serve connections; at least 1. Default: one per CPU that the process may use.
    pub workers: usize,
    /// Threads that do nothing but accept and hand connections to the workers, by
    /// [`Config::balance`]. With more than one, each has its own `SO_REUSEPORT` listener where the
    /// system balances between those (Linux, FreeBSD), and a share of one elsewhere.
    ///
    /// 0: every worker accepts for itself, from a listener of its own on those systems. That is the
    /// cheapest for short connections, as nothing is handed over; but the system balances by
    /// address, so a few long connections may meet on one worker.
    ///
    /// Default (`None`): 1, or 0 if there is only one worker.
    pub accept_threads: Option<usize>,
    /// How accept threads choose a worker. Default: the one with the fewest connections.
    pub balance: Balance,
    /// Binds worker `i` to CPU `i` of those the process may use, modulo their number. Default:
    /// false. Linux only; ignored elsewhere.
    pub cpu_affinity: bool,
    /// Bytes of stack of each thread. Default: `None`, which is 2 MiB in Rust's library.
    pub stack_size: Option<usize>,
    /// Sends small answers at once instead of waiting for more (`TCP_NODELAY`). Default: true.
    pub tcp_nodelay: bool,
    /// Connections that may wait to be accepted; the system may lower it. Default: 4,096.
    pub backlog: i32,
    /// Whether a connection may serve more than one request (RFC 9112 section 9.3). Default: true.
    pub keep_alive: bool,
    /// Names that the server answers to: hosts with a port, which mean that one, or without, which
    /// mean any; `example.com`, `example.com:8080`, `127.0.0.1`, `[::1]`. A request for another host
    /// ([`Request::host`]), or for none, gets 421 and the connection closes, before its body is read
    /// and before any handler is asked. Default: `None`, any.
    ///
    /// To be set where a browser may reach a server that is not meant for the world, on a loopback or
    /// private address: a page from anywhere can make its own name lead there (DNS rebinding), and
    /// then read the answers.
    ///
    /// ```
    /// let config = peregrine::Config {
    ///     allowed_hosts: Some(vec!["localhost".into(), "127.0.0.1".into(), "[::1]".into()]),
    ///     ..Default::default()
    /// };
    /// # let server = peregrine::Server::from_fn(|_, res| res.text("hi")).config(config);
    /// # drop(server.bind("127.0.0.1:0").start().expect("a server"));
    /// ```
    ///
    /// [`Request::host`]: crate::Request::host
    pub allowed_hosts: Option<Vec<String>>,
    /// The `Server` field of answers, visible ASCII and spaces; `None` leaves it out. Default:
    /// `peregrine`.
    pub server_name: Option<String>,
    /// How long a stop waits for requests that are being read or answered. Default: 10 s.
    pub stop_time: Duration,
    /// Threads that [`Response::offload`](crate::Response::offload) runs handlers on, all workers'
    /// together. Each is started when it is first needed, so a server that never offloads has none;
    /// 0: everything that is offloaded is answered with 503. Default: 4 per CPU that the process may
    /// use, at least 8, as they are meant to wait.
    pub pool_threads: usize,
    /// Requests that may wait for such a thread; 503 above. Each holds a copy of its request, so at
    /// most [`Limits::head_bytes`] and [`Limits::body_bytes`]. Default: 1,024.
    pub pool_queue: usize,
    /// One turn of a worker in so many, chosen by chance, is timed, and so are the calls of the handler
    /// in it: [`Counters::handler_nanos`](crate::Counters::handler_nanos),
    /// [`Counters::turn_nanos`](crate::Counters::turn_nanos). A turn is all that is done between two waits
    /// for events. 1: each, for two more looks at the clock per request and one per turn; 0: none.
    /// Default: 64.
    pub timed_one_in: u32,
    /// What one client may cost.
    pub limits: Limits,
    /// Threads for WebSocket connections, 1 to 256; a server without [`Server::websocket`] starts
    /// none. Default: one per CPU that the process may use.
    ///
    /// [`Server::websocket`]: crate::Server::websocket
    #[cfg(feature = "websocket")]
    pub ws_threads: usize,
    /// What one WebSocket client may cost.
    #[cfg(feature = "websocket")]
    pub ws_limits: WsLimits,
    /// How WebSocket messages are compressed for clients that offer it (RFC 7692); `None`: not at
    /// all. Default: with one compressor per thread.
    #[cfg(feature = "deflate")]
    pub ws_deflate: Option<WsDeflate>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            workers: num_cpus::get(),
            accept_threads: None,
            balance: Balance::default(),
            cpu_affinity: false,
            stack_size: None,
            tcp_nodelay: true,
            backlog: 4096,
            keep_alive: true,
            allowed_hosts: None,
            server_name: Some("peregrine".to_owned()),
            stop_time: Duration::from_secs(10),
            pool_threads: (4 * num_cpus::get()).max(8),
            pool_queue: 1024,
            timed_one_in: 64,
            limits: Limits::default(),
            #[cfg(feature = "websocket")]
            ws_threads: num_cpus::get().min(256),
            #[cfg(feature = "websocket")]
            ws_limits: WsLimits::default(),
            #[cfg(feature = "deflate")]
            ws_deflate: Some(WsDeflate::default()),
        }
    }
}

/// How accept threads choose a worker for a new connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// The one that has the fewest connections open.
    #[default]
    LeastConnections,
    /// One after the other.
    RoundRobin,
}
