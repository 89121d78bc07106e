//! A client and a connection without sockets, threads or a clock of their own: what tests of a
//! [`Handler`] need, with the same code behind it that serves real connections.

#[cfg(feature = "websocket")]
mod ws;

#[cfg(feature = "websocket")]
pub use ws::WebSocket;

use crate::conn::share::Share;
use crate::conn::{
    Seconds,
    body_out::BodyOut,
    budget::Budget,
    http1::Http1,
    id::ConnId,
    input::Input,
    output::{MAX_SLICES, Next, Output},
    panic_guard::drop_quietly,
    timers::Timers,
};
use crate::drive::{Left, Off, Parts, Service, Turn, deadline};
use crate::handler::Handler;
use crate::incoming::BodySink;
use crate::io::{clock, transport::read_at};
use crate::late::{
    Command, Door,
    pool::{Pool, Size},
};
use crate::protocol::limits::Limits;
use crate::request::Ends;
use crate::response::Wire;
use crate::stats::{Counters, WorkerCounters};
use std::io::IoSlice;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

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
    service: Service<&'h H>,
    http1: Http1,
    input: Input,
    output: Box<Output>,
    body: Option<Box<BodyOut>>,
    sink: Option<Box<dyn BodySink>>,
    timers: Timers,
    /// Since the beginning.
    time: Duration,
    /// Something has been posted for a late answer.
    woken: Receiver<()>,
    /// Such a thing has reached the client, and nobody has waited for it yet.
    came: bool,
    counters: WorkerCounters,
    received: Vec<u8>,
    closed: bool,
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
        let pool = Pool::new(POOL, || {});
        let budget = Arc::new(Budget::new(usize::MAX));
        let door = Door::new(&limits, pool, budget, move || {
            let _ = wake.send(());
        });
        Connection {
            service: Service {
                handler,
                limits,
                hosts: None,
                wire: Wire::new(Some("peregrine"), Arc::new(door)),
                now: Seconds::START,
                is_timed: false,
                lasting: Arc::new(Share::new(usize::MAX)),
            },
            http1: Http1::new(Seconds::START, true),
            input: Input::new(),
            output: Box::default(),
            body: None,
            sink: None,
            timers: Timers::default(),
            time: Duration::ZERO,
            woken,
            came: false,
            counters: WorkerCounters::default(),
            received: Vec::new(),
            closed: false,
        }
    }

    /// Bytes arrive from the client; the server does all it can with them. Bytes that come after
    /// the server has closed are lost.
    pub fn send(&mut self, mut bytes: &[u8]) {
        self.came = false;
        while !bytes.is_empty() && !self.closed {
            let space = self.input.space();
            let n = space.len().min(bytes.len());
            space[..n].copy_from_slice(&bytes[..n]);
            self.input.filled(n);
            self.counters.bytes_read.add(n as u64);
            bytes = &bytes[n..];
            self.run();
        }
    }

    /// The client half-closes: it will send nothing more, and still reads.
    pub fn send_eof(&mut self) {
        self.http1.eof();
        self.run();
    }

    /// Time passes; what [`Timers`](crate::Timers) are to call by then is called, and if a deadline
    /// passes the server does what it does then. Deadlines know whole seconds only.
    pub fn elapse(&mut self, time: Duration) {
        let until = self.time.saturating_add(time);
        while let Some(at) = self.timers.next().filter(|at| *at <= until) {
            self.time = at;
            self.service
                .call_timer(&mut self.timers, at, &self.counters);
            self.run();
        }
        self.time = until;
        if self.body.as_ref().is_some_and(|body| body.is_drawn()) {
            // Its source had nothing.
            self.run();
        }
        self.service.now = self.service.now.plus(time);
        let (input, body) = (Some(&self.input), self.body.as_deref());
        let limits = &self.service.limits;
        let due = deadline(&self.http1, input, body, limits);
        if self.service.now >= due && !self.closed {
            let close = self.with_parts(Service::expire);
            self.flush();
            if close.is_some() {
                self.close();
            }
        }
    }

    /// The server shall stop: the answer to a request that is under way is the last one. An idle
    /// connection may send one more request, and closes if [`Limits::stop_grace`](crate::Limits::stop_grace)
    /// passes without one.
    pub fn stop(&mut self) {
        let unread = self.input.available();
        let may_ask = !self.service.limits.stop_grace.is_zero();
        let is_done = self.http1.is_idle() && !may_ask;
        self.with_parts(|service, parts| service.stop(unread, parts));
        match is_done {
            true => self.closed = true,
            false => self.run(),
        }
    }

    /// Waits until another thread has sent something for an answer that was deferred or is streamed,
    /// at most so long, and hands it to the client. What has come since the last [`Connection::send`]
    /// need not be waited for. False if time is up. Time does not pass for the connection meanwhile.
    pub fn wait(&mut self, most: Duration) -> bool {
        let until = clock::after(most);
        self.run();
        while !std::mem::take(&mut self.came) && !self.closed {
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
        &self.received
    }

    /// All that the client has been sent since this was last asked.
    pub fn take_received(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.received)
    }

    /// True when the server has closed the connection.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// What the server has counted on this connection.
    pub fn counters(&self) -> Counters {
        self.counters.snapshot() + self.service.wire.door.pool.counters().snapshot()
    }

    /// Bytes that were sent and are still held: those of an incomplete request.
    #[cfg(any(test, feature = "internals"))]
    #[doc(hidden)]
    pub fn held(&self) -> usize {
        self.input.available()
    }

    fn run(&mut self) {
        self.service.wire.door.adopt();
        let mut commands = Vec::new();
        while !self.closed {
            self.service.wire.door.inbox.take(&mut commands);
            let (is_late, before) = (!commands.is_empty(), self.counters.bytes_written.get());
            for command in commands.drain(..) {
                match command {
                    Command::Timer(timer) => self.timers.add(timer, self.time),
                    command => self.with_parts(|service, parts| service.command(command, parts)),
                }
            }
            let turn = self.with_parts(|service, parts| service.turn(parts, &mut Off));
            self.flush();
            self.came |= is_late && self.counters.bytes_written.get() > before;
            match turn {
                // What a handler has sent from its own thread is there already.
                Turn::Wait | Turn::Rest | Turn::Read if self.service.wire.door.inbox.is_empty() => {
                    return;
                }
                Turn::Wait
                | Turn::Rest
                | Turn::Read
                | Turn::Again
                | Turn::Blocked
                | Turn::Upgrade => {}
                Turn::Close(_) => self.close(),
            }
        }
    }

    fn close(&mut self) {
        self.closed = true;
        self.service.leave(&Left {
            http1: &self.http1,
            input: Some(&self.input),
            output: Some(&self.output),
            body: self.body.as_deref(),
            place: ConnId::default(),
            ends: &MEMORY,
        });
        self.output.clear();
        drop_quietly((self.body.take(), self.sink.take()));
        self.service.wire.door.leave(ConnId::default());
    }

    fn with_parts<T>(&mut self, act: impl FnOnce(&mut Service<&'h H>, &mut Parts<'_>) -> T) -> T {
        let mut parts = Parts {
            http1: &mut self.http1,
            input: &mut self.input,
            output: &mut self.output,
            body: &mut self.body,
            sink: &mut self.sink,
            place: ConnId::default(),
            ends: &MEMORY,
            counters: &self.counters,
        };
        act(&mut self.service, &mut parts)
    }

    /// The client takes all there is. A file that is shorter than promised cuts the connection.
    fn flush(&mut self) {
        while !self.output.is_empty() {
            let sent = take(&mut self.output, &mut self.received);
            if sent == 0 {
                return self.close();
            }
            self.counters.bytes_written.add(sent as u64);
        }
        if let Some(body) = &self.body {
            body.set_unsent(0);
        }
    }
}

impl<H: Handler> Drop for Connection<'_, H> {
    fn drop(&mut self) {
        let door = &self.service.wire.door;
        door.close();
        // Jobs that still run are for nobody.
        door.pool.close(Instant::now());
    }
}

impl<H: Handler> std::fmt::Debug for Connection<'_, H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("received_bytes", &self.received.len())
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}

/// Moves some of what is to be sent, all of it after enough calls. How much; 0, and the rest is thrown
/// away, if there is nothing or a file is shorter than promised.
fn take(output: &mut Output, into: &mut Vec<u8>) -> usize {
    let before = into.len();
    match output.next() {
        Next::Row { bytes, .. } => into.extend_from_slice(bytes),
        Next::Pieces => {
            let mut slices = [IoSlice::new(b""); MAX_SLICES];
            let count = output.gather(&mut slices, IoSlice::new);
            slices[..count]
                .iter()
                .for_each(|slice| into.extend_from_slice(slice));
        }
        Next::Segment { segment, sent, len } => {
            let step = len.min(64 << 10) as usize;
            into.resize(before + step, 0);
            let read = read_at(&segment.file, &mut into[before..], segment.offset + sent);
            into.truncate(before + read.unwrap_or(0));
        }
    }
    let sent = into.len() - before;
    match sent {
        0 => output.clear(),
        _ => output.advance(sent),
    }
    sent
}

/// For what a handler offloads.
const POOL: Size = Size {
    threads: 8,
    queue: 1024,
    stack: None,
};

/// The ends of a connection in memory.
struct Memory;

static MEMORY: Memory = Memory;

impl Ends for Memory {
    fn peer_addr(&self) -> Option<SocketAddr> {
        Some((Ipv4Addr::LOCALHOST, 1).into())
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        Some((Ipv4Addr::LOCALHOST, 80).into())
    }
}

/// A client in memory takes what is in the output.
#[cfg(feature = "websocket")]
impl crate::websocket::ws::HookSocket for Memory {
    fn write_now(&mut self, _pieces: [&[u8]; 2]) -> usize {
        0
    }
}
