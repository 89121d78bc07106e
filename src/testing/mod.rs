//! A client and a connection in memory, for tests of handlers.
//!
//! They use the code that serves real connections.

mod alone;
#[cfg(any(test, feature = "internals"))]
pub(crate) mod check;
mod client;
mod client_response;
#[cfg(feature = "websocket")]
mod handshake;
#[cfg(feature = "http2")]
mod http2;
#[cfg(all(test, feature = "http3"))]
pub(crate) mod http3;
#[cfg(feature = "websocket")]
mod ws;

#[cfg(feature = "json")]
pub use client::post_json;
pub use client::{Client, ClientRequest, get, post, post_form};
pub use client_response::ClientResponse;
#[cfg(feature = "http2")]
pub use http2::{Http2, Http2Response};
#[cfg(feature = "websocket")]
pub use ws::WebSocket;

use crate::config::Config;
use crate::config::forwarded::Forwarding;
use crate::http::connection as http;
use crate::http::connection_error::ConnectionError;
use crate::http::deferred::worker_handle::{WorkerCommand, WorkerHandle};
use crate::http::handler::Handler;
use crate::http::response::ResponseRecorder;
use crate::http::service::{Gate, NoUpgrade, Service, Upgrades, call_hook, report_to};
#[cfg(feature = "http2")]
use crate::http::worker_state::Http2State;
#[cfg(feature = "http3")]
use crate::http::worker_state::Http3State;
use crate::http::worker_state::WorkerState;
use crate::metrics::Counters;
use crate::runtime::address_rate::AddressRates;
use crate::runtime::clock;
use crate::runtime::event_loop::{Driven, Fate, Timing, expire};
use crate::runtime::socket::Socket;
use crate::runtime::thread_pool::{Size, ThreadPool};
#[cfg(feature = "tls")]
use crate::runtime::tls::TlsInfo;
use crate::runtime::transport::Memory;
use crate::shared::buffer_pool::BufferPool as Buffers;
use crate::shared::id::ConnId;
use crate::shared::memory_budget::{LocalUsage, MemoryBudget};
use crate::shared::quota::Share;
use crate::shared::timer_heap::TimerHeap;
use alone::Alone;
use peregrine_protocol::Seconds;
use peregrine_protocol::limits::Limits;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// A connection of a server, and what the connections of its worker share.
type Served<'h, H, M> = Alone<http::Connection<&'h H, M, Memory>, WorkerState<&'h H, M>>;

/// One connection to a handler, in memory.
///
/// The time is constant unless [`Connection::elapse`] moves it. The `Date` of responses is the beginning of
/// 1970.
///
/// ```
/// use peregrine::testing::Connection;
///
/// let app = peregrine::from_fn(|req, res| res.body(req.path()));
/// let mut client = Connection::new(&app);
/// client.send(b"GET /a HTTP/1.1\r\nHost: test\r\n\r\nGET /b HT");
/// assert!(client.received().ends_with(b"\r\n\r\n/a"));
/// client.send(b"TP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
/// assert!(client.received().ends_with(b"\r\n\r\n/b"));
/// assert!(client.is_closed());
/// ```
pub struct Connection<'h, H: Handler> {
    /// The connection, until it is closed.
    served: Box<Served<'h, H, NoUpgrade>>,
    timers: TimerHeap,
    /// Time since the beginning.
    time: Duration,
    /// Signalled for each piece of a deferred response.
    woken: Receiver<()>,
    /// A piece has reached the client, and no call has waited for it yet.
    came: bool,
}

impl<'h, H: Handler> Connection<'h, H> {
    /// Connects to `handler`, with the default limits.
    pub fn new(handler: &'h H) -> Connection<'h, H> {
        Connection::with_limits(handler, Limits::default())
    }

    /// Connects to `handler`, with these limits.
    pub fn with_limits(handler: &'h H, limits: Limits) -> Connection<'h, H> {
        let config = Config::default().limits(limits);
        Connection::begin(handler, &config, Memory::PEER)
    }

    /// Connects to `handler` from the address `peer`. Of `config`, the limits, the names of
    /// [`Config::allowed_hosts`], [`Config::forwarded`], [`Config::trusted_proxies`], [`Config::request_rate`], the name of the server, the limit on
    /// timers and the settings of HTTP/2 are used.
    ///
    /// ```
    /// use peregrine::Config;
    /// use peregrine::testing::Connection;
    ///
    /// let app = peregrine::from_fn(|req, res| res.text(format!("{:?}", req.peer_addr())));
    /// let config = Config::default().allowed_hosts(["a.example"]);
    /// let mut client = Connection::with_config(&app, &config, ([192, 0, 2, 1], 5000).into());
    /// client.send(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    /// assert!(client.take_received().ends_with(b"Some(192.0.2.1:5000)"));
    /// client.send(b"GET / HTTP/1.1\r\nHost: b.example\r\n\r\n");
    /// assert!(client.take_received().starts_with(b"HTTP/1.1 421 "));
    /// ```
    pub fn with_config(handler: &'h H, config: &Config, peer: SocketAddr) -> Connection<'h, H> {
        Connection::begin(handler, config, Some(peer))
    }

    fn begin(handler: &'h H, config: &Config, peer: Option<SocketAddr>) -> Connection<'h, H> {
        let (wake, woken) = channel();
        // No thread receives this after the connection is dropped.
        let wake = move || {
            let _ = wake.send(());
        };
        let mut served = serve(
            (handler, NoUpgrade),
            (config, peer),
            POOL,
            (Memory::default(), wake),
        );
        served.act(|connection, shared| connection.open(ConnId::default(), false, shared));
        let connection = Connection {
            served: Box::new(served),
            timers: TimerHeap::default(),
            time: Duration::ZERO,
            woken,
            came: false,
        };
        connection.hook(Handler::before_wait);
        connection
    }

    /// Calls a hook around the wait of a worker.
    fn hook(&self, hook: fn(&H)) {
        let shared = &self.served.shared;
        call_hook(shared.service.handler, &shared.counters, hook);
    }

    /// A turn of the worker, and more while something is left to do for it.
    fn turn(&mut self, act: impl FnOnce(&mut Self)) {
        self.hook(Handler::after_wait);
        act(self);
        self.run();
        self.hook(Handler::before_wait);
        while !self.served.shared.service.recorder.handle.inbox.is_empty() {
            self.hook(Handler::after_wait);
            self.run();
            self.hook(Handler::before_wait);
        }
    }

    /// Sends bytes from the client. The server handles them before this returns. Bytes that come after the
    /// server has closed are lost.
    pub fn send(&mut self, bytes: &[u8]) {
        self.came = false;
        self.turn(|server| {
            let fate = server.served.client_does(|client| client.arrive(bytes));
            server.done(fate);
        });
    }

    /// Closes the sending side of the client. The client still reads.
    pub fn send_eof(&mut self) {
        self.turn(|server| {
            let fate = server.served.client_does(Memory::arrive_eof);
            server.done(fate);
        });
    }

    /// From now on handlers see a connection over TLS, with what its handshake has found out; `None`: without TLS.
    /// Nothing is encrypted.
    ///
    /// ```
    /// use peregrine::testing::Connection;
    /// use peregrine::tls::TlsInfo;
    ///
    /// let app = peregrine::from_fn(|req, res| match req.is_secure() {
    ///     true => res.text("secret"),
    ///     false => res.status(403).text("use https"),
    /// });
    /// let mut client = Connection::new(&app);
    /// client.set_tls(Some(TlsInfo::new(Some("example.com"))));
    /// client.send(b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n");
    /// assert!(client.received().ends_with(b"secret"));
    /// ```
    #[cfg(feature = "tls")]
    pub fn set_tls(&mut self, tls: Option<TlsInfo>) {
        let connection = self.served.connection.as_mut();
        if let Some(connection) = connection {
            connection.link().socket.stream.tls = tls;
        }
    }

    /// Moves the time. Due calls of [`Timers`](crate::timers::Timers) are made, and the server reacts to timeouts
    /// that have passed. Timeouts are in whole seconds.
    pub fn elapse(&mut self, time: Duration) {
        let until = self.time.saturating_add(time);
        while let Some(at) = self.timers.next().filter(|at| *at <= until) {
            self.time = at;
            self.turn(|server| {
                let shared = &server.served.shared;
                let service = &shared.service;
                service.call_timer(&mut server.timers, at, &shared.counters);
            });
        }
        self.time = until;
        self.turn(|server| {
            server.run();
            let now = &mut server.served.shared.service.now;
            *now = now.plus(time);
            let fate = server.served.act(expire);
            server.done(fate);
        });
    }

    /// Begins to stop the server: the next response on the connection is the last one. An idle connection may
    /// send one more request. It is closed after [`Limits::stop_grace`](crate::Limits::stop_grace) without
    /// one.
    pub fn stop(&mut self) {
        self.turn(|server| server.act(Driven::stop));
    }

    /// Blocks until another thread has sent a piece of a deferred or streamed response, for at most `most`,
    /// and passes it to the client. False if the time has passed.
    ///
    /// A piece that came after the last [`Connection::send`] is not waited for. The time of the connection
    /// does not move meanwhile.
    pub fn wait(&mut self, most: Duration) -> bool {
        let until = clock::after(most);
        self.turn(|_| {});
        while !std::mem::take(&mut self.came) && !self.served.is_closed {
            let left = until.saturating_duration_since(Instant::now());
            if self.woken.recv_timeout(left).is_err() {
                return false;
            }
            self.turn(|_| {});
        }
        true
    }

    /// All bytes that the client has received.
    pub fn received(&self) -> &[u8] {
        &self.served.received
    }

    /// All bytes that the client has received since the last call of this.
    pub fn take_received(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.served.received)
    }

    /// Whether the server has closed the connection.
    pub fn is_closed(&self) -> bool {
        self.served.is_closed
    }

    /// The counters of this connection.
    pub fn counters(&self) -> Counters {
        let shared = &self.served.shared;
        shared.counters.snapshot() + shared.service.recorder.handle.pool.counters().snapshot()
    }

    /// Bytes that were sent and are still held: those of an incomplete request.
    #[cfg(any(test, feature = "internals"))]
    #[doc(hidden)]
    pub fn held(&self) -> usize {
        let connection = self.served.connection.as_ref();
        connection.map_or(0, |connection| connection.held())
    }

    /// Delivers messages of other threads, and asks the source of a body again if it had no bytes.
    fn run(&mut self) {
        let fate = self.served.rested();
        self.done(fate);
        let handle = self.served.shared.service.recorder.handle.clone();
        handle.adopt();
        let mut commands = Vec::new();
        // Messages that a handler has sent from its own thread are here already.
        while !handle.inbox.is_empty() {
            handle.inbox.take(&mut commands);
            let before = self.served.received.len();
            for command in commands.drain(..) {
                match command {
                    WorkerCommand::Timer(timer) => self.timers.add(timer, self.time),
                    WorkerCommand::Failed(text, peer) => {
                        let handler = self.served.shared.service.handler;
                        report_to(handler, &ConnectionError::Failed(&text), peer);
                    }
                    command => self.act(|connection, shared| connection.command(command, shared)),
                }
            }
            self.came |= self.served.received.len() > before;
        }
    }

    fn act(
        &mut self,
        act: impl FnOnce(
            &mut http::Connection<&'h H, NoUpgrade, Memory>,
            &mut WorkerState<&'h H, NoUpgrade>,
        ) -> Fate,
    ) {
        let fate = self.served.act(act);
        self.done(fate);
    }

    fn done(&mut self, fate: Fate) {
        #[cfg(feature = "http2")]
        let fate = match fate {
            Fate::Upgraded => self.go_on_in_http2(),
            fate => fate,
        };
        if fate == Fate::Closed {
            self.close();
        }
    }

    #[cfg(feature = "http2")]
    fn go_on_in_http2(&mut self) -> Fate {
        let served = &mut *self.served;
        let connection = served.connection.take();
        let http2 = connection.and_then(|http1| http1.into_http2(&served.shared).ok());
        served.connection = http2;
        served.act(|connection, shared| connection.open(ConnId::default(), false, shared))
    }

    fn close(&mut self) {
        let served = &mut *self.served;
        served.is_closed = true;
        if let Some(mut connection) = served.connection.take() {
            connection.link().charge(0, &mut served.shared.tally);
            connection.close(&mut served.shared);
        }
    }
}

/// A connection to its own server, over `transport`. `wake` is called for each message of a deferred
/// response.
fn serve<'h, H: Handler, M: Upgrades<H>>(
    server: (&'h H, M),
    (config, peer): (&Config, Option<SocketAddr>),
    size: Size,
    (transport, wake): (Memory, impl Fn() + Send + Sync + 'static),
) -> Served<'h, H, M> {
    let shared = worker_state(server, config, size, wake);
    let forwarding = Forwarding::of(config);
    let socket = Socket::accepted(transport, peer, None, forwarding.as_ref());
    #[cfg(feature = "http2")]
    let connection = http::Connection::new(socket, true, config.http2, &shared);
    #[cfg(not(feature = "http2"))]
    let connection = http::Connection::new(socket, true, &shared);
    Alone::new(connection, shared)
}

/// What the connections of a worker share, for the only one.
fn worker_state<'h, H: Handler, M>(
    (handler, mode): (&'h H, M),
    config: &Config,
    size: Size,
    wake: impl Fn() + Send + Sync + 'static,
) -> WorkerState<&'h H, M> {
    let budget = Arc::new(MemoryBudget::new(usize::MAX));
    let pool = ThreadPool::new(size, || {});
    let (limits, timers) = (config.limits, config.timers_per_worker);
    let rates = AddressRates::of(config.request_rate, config);
    let handle = WorkerHandle::new(&limits, timers, pool, budget.clone(), wake);
    WorkerState {
        service: Service {
            handler,
            limits,
            events_retry: config.events_retry,
            gate: Gate::of(config, rates.map(Arc::new)),
            recorder: ResponseRecorder::new(config.server_name.as_deref(), Arc::new(handle)),
            now: Seconds::START,
            timing: Timing::Off,
            is_later: false,
            #[cfg(feature = "tracing")]
            span: tracing::Span::none(),
            spare: Vec::new(),
            lasting: Arc::new(Share::new(usize::MAX)),
        },
        pool: Buffers::default(),
        counters: Arc::default(),
        mode,
        tally: LocalUsage::new(budget),
        place: ConnId::default(),
        dirty: Vec::new(),
        #[cfg(feature = "http2")]
        http2: Http2State::new(config.http2_limits),
        #[cfg(feature = "http3")]
        http3: Http3State::new(config.http3_limits, config.keep_alive),
    }
}

impl<H: Handler> Drop for Connection<'_, H> {
    fn drop(&mut self) {
        self.hook(Handler::after_wait);
        self.close();
        self.hook(Handler::before_wait);
        let handle = &self.served.shared.service.recorder.handle;
        handle.close();
        // No connection needs the results of jobs that still run.
        handle.pool.close(Instant::now());
    }
}

impl<H: Handler> std::fmt::Debug for Connection<'_, H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("received_bytes", &self.served.received.len())
            .field("closed", &self.served.is_closed)
            .finish_non_exhaustive()
    }
}

/// The pool for offloaded requests.
const POOL: Size = Size {
    threads: 8,
    queue: 1024,
    stack: None,
};
