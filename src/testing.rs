//! A client and a connection without sockets, threads or a clock of their own: what tests of a
//! [`Handler`] need, with the same code behind it that serves real connections.

mod alone;
#[cfg(feature = "websocket")]
mod ws;

#[cfg(feature = "websocket")]
pub use ws::WebSocket;

use crate::conn::{
    Seconds, budget::Budget, budget::Tally, id::ConnId, pool::Pool as Buffers, share::Share,
    timers::Timers,
};
use crate::drive::{Off, Service, Upgrades};
use crate::handler::Handler;
use crate::io::event_loop::{Driven, Fate, expire};
use crate::io::socket::Socket;
use crate::io::transport::Memory;
use crate::io::{clock, connection};
use crate::late::{
    Command, Door,
    pool::{Pool, Size},
};
use crate::protocol::limits::Limits;
use crate::response::Wire;
use crate::stats::Counters;
use alone::Alone;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// A connection of a server, and what the connections of its worker share.
type Served<'h, H, M> =
    Alone<connection::Connection<&'h H, M, Memory>, connection::Shared<&'h H, M>>;

/// One connection to a handler, in memory.
///
/// Time stands still unless [`Connection::elapse`] moves it, and the `Date` of answers is the
/// beginning of 1970.
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
    /// Until it is closed.
    served: Box<Served<'h, H, Off>>,
    timers: Timers,
    /// Since the beginning.
    time: Duration,
    /// Something has been posted for a late answer.
    woken: Receiver<()>,
    /// Such a thing has reached the client, and nobody has waited for it yet.
    came: bool,
}

impl<'h, H: Handler> Connection<'h, H> {
    /// Connects to `handler`, with the default limits.
    pub fn new(handler: &'h H) -> Connection<'h, H> {
        Connection::with_limits(handler, Limits::default())
    }

    /// Connects to `handler`.
    pub fn with_limits(handler: &'h H, limits: Limits) -> Connection<'h, H> {
        let (wake, woken) = channel();
        // Nobody listens any more once the connection is dropped.
        let wake = move || {
            let _ = wake.send(());
        };
        let mut served = serve((handler, Off), limits, POOL, (Memory::default(), wake));
        served.act(|connection, shared| connection.open(ConnId::default(), false, shared));
        Connection {
            served: Box::new(served),
            timers: Timers::default(),
            time: Duration::ZERO,
            woken,
            came: false,
        }
    }

    /// Bytes arrive from the client; the server does all it can with them. Bytes that come after
    /// the server has closed are lost.
    pub fn send(&mut self, bytes: &[u8]) {
        self.came = false;
        let fate = self.served.client_does(|client| client.arrive(bytes));
        self.done(fate);
        self.run();
    }

    /// The client half-closes: it will send nothing more, and still reads.
    pub fn send_eof(&mut self) {
        let fate = self.served.client_does(Memory::arrive_eof);
        self.done(fate);
        self.run();
    }

    /// Time passes; what [`Timers`](crate::Timers) are to call by then is called, and if a deadline
    /// passes the server does what it does then. Deadlines know whole seconds only.
    pub fn elapse(&mut self, time: Duration) {
        let until = self.time.saturating_add(time);
        while let Some(at) = self.timers.next().filter(|at| *at <= until) {
            self.time = at;
            let shared = &self.served.shared;
            shared
                .service
                .call_timer(&mut self.timers, at, &shared.counters);
            self.run();
        }
        self.time = until;
        self.run();
        let now = &mut self.served.shared.service.now;
        *now = now.plus(time);
        let fate = self.served.act(expire);
        self.done(fate);
    }

    /// The server shall stop: the answer to a request that is under way is the last one. An idle
    /// connection may send one more request, and closes if [`Limits::stop_grace`](crate::Limits::stop_grace)
    /// passes without one.
    pub fn stop(&mut self) {
        self.act(Driven::stop);
        self.run();
    }

    /// Waits until another thread has sent something for an answer that was deferred or is streamed,
    /// at most so long, and hands it to the client. What has come since the last [`Connection::send`]
    /// need not be waited for. False if time is up. Time does not pass for the connection meanwhile.
    pub fn wait(&mut self, most: Duration) -> bool {
        let until = clock::after(most);
        self.run();
        while !std::mem::take(&mut self.came) && !self.served.is_closed {
            let left = until.saturating_duration_since(Instant::now());
            if self.woken.recv_timeout(left).is_err() {
                return false;
            }
            self.run();
        }
        true
    }

    /// All that the client has been sent.
    pub fn received(&self) -> &[u8] {
        &self.served.received
    }

    /// All that the client has been sent since this was last asked.
    pub fn take_received(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.served.received)
    }

    /// True when the server has closed the connection.
    pub fn is_closed(&self) -> bool {
        self.served.is_closed
    }

    /// What the server has counted on this connection.
    pub fn counters(&self) -> Counters {
        let shared = &self.served.shared;
        shared.counters.snapshot() + shared.service.wire.door.pool.counters().snapshot()
    }

    /// Bytes that were sent and are still held: those of an incomplete request.
    #[cfg(any(test, feature = "internals"))]
    #[doc(hidden)]
    pub fn held(&self) -> usize {
        let connection = self.served.connection.as_ref();
        connection.map_or(0, |connection| connection.held())
    }

    /// Hands over what other threads have posted, and asks a body again whose source gave nothing.
    fn run(&mut self) {
        let fate = self.served.rested();
        self.done(fate);
        let door = self.served.shared.service.wire.door.clone();
        door.adopt();
        let mut commands = Vec::new();
        // What a handler has sent from its own thread is there already.
        while !door.inbox.is_empty() {
            door.inbox.take(&mut commands);
            let before = self.served.received.len();
            for command in commands.drain(..) {
                match command {
                    Command::Timer(timer) => self.timers.add(timer, self.time),
                    command => self.act(|connection, shared| connection.command(command, shared)),
                }
            }
            self.came |= self.served.received.len() > before;
        }
    }

    fn act(
        &mut self,
        act: impl FnOnce(
            &mut connection::Connection<&'h H, Off, Memory>,
            &mut connection::Shared<&'h H, Off>,
        ) -> Fate,
    ) {
        let fate = self.served.act(act);
        self.done(fate);
    }

    fn done(&mut self, fate: Fate) {
        if fate == Fate::Closed {
            self.close();
        }
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

/// A connection to a server of its own, over `transport`. `wake` is called when something has been posted
/// for a late answer.
fn serve<H: Handler, M: Upgrades<H>>(
    (handler, mode): (&H, M),
    limits: Limits,
    size: Size,
    (transport, wake): (Memory, impl Fn() + Send + Sync + 'static),
) -> Served<'_, H, M> {
    let budget = Arc::new(Budget::new(usize::MAX));
    let door = Door::new(&limits, Pool::new(size, || {}), budget.clone(), wake);
    let shared = connection::Shared {
        service: Service {
            handler,
            limits,
            hosts: None,
            wire: Wire::new(Some("peregrine"), Arc::new(door)),
            now: Seconds::START,
            is_timed: false,
            lasting: Arc::new(Share::new(usize::MAX)),
        },
        pool: Buffers::default(),
        counters: Arc::default(),
        mode,
        tally: Tally::new(budget),
        place: ConnId::default(),
        dirty: Vec::new(),
    };
    let socket = Socket::new(transport, Memory::PEER);
    let connection = connection::Connection::new(socket, Seconds::START, true);
    Alone::new(connection, shared)
}

impl<H: Handler> Drop for Connection<'_, H> {
    fn drop(&mut self) {
        self.close();
        let door = &self.served.shared.service.wire.door;
        door.close();
        // Jobs that still run are for nobody.
        door.pool.close(Instant::now());
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

/// For what a handler offloads.
const POOL: Size = Size {
    threads: 8,
    queue: 1024,
    stack: None,
};
