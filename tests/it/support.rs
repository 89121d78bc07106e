//! What tests over sockets share: a strict reader of responses, a client, and ways to wait.
//!
//! Nothing here waits for a time to pass: it waits for an event, with a limit that only a failure
//! reaches.

#[path = "support/answer.rs"]
mod answer;
#[cfg(feature = "tls-self-signed")]
#[path = "support/session.rs"]
pub(crate) mod session;
#[path = "support/stream.rs"]
mod stream;
#[cfg(feature = "tls-self-signed")]
#[path = "support/trusting.rs"]
pub(crate) mod trusting;

pub(crate) use answer::{Answer, Asked, Framing, read_answer, read_head};
#[cfg(all(unix, feature = "websocket"))]
pub(crate) use stream::over_tls;
pub(crate) use stream::{OnOwnAddr, Stream};

use answer::read_chunk;
use peregrine::config::AcceptThreads;
use peregrine::error::{ConnectionError, ResponseError};
use peregrine::server::{Running, Stopped};
use peregrine::{Config, Done, Handler, Limits, Request, Response, Server};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take before the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// For what must not happen by itself while a test runs.
pub(crate) const NEVER: Duration = Duration::from_secs(3600);

/// Leaves the function with an error unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($why:tt)+) => {
        if !$condition {
            return Err(format!($($why)+));
        }
    };
}
pub(crate) use ensure;

// ----------------------------------------------------------------------------------- a client

/// A client that does one thing at a time and believes nothing.
pub(crate) struct Client<S = Stream> {
    pub(crate) stream: S,
    /// Received and not used yet, from `start`.
    buffer: Vec<u8>,
    start: usize,
    /// All that it was ever sent.
    pub(crate) received: u64,
    /// How the connection has ended, if it has.
    was_reset: bool,
}

impl Client {
    #[track_caller]
    pub(crate) fn connect(addr: SocketAddr) -> Client {
        Client::over_stream(Stream::connect(addr).expect("a connection"))
    }

    /// Without TLS.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code))]
    #[track_caller]
    pub(crate) fn over_tcp(stream: TcpStream) -> Client {
        Client::over_stream(Stream::plain(stream))
    }

    #[track_caller]
    pub(crate) fn over_stream(stream: Stream) -> Client {
        stream.set_nodelay(true).expect("an open socket");
        let limit = Some(PATIENCE);
        stream.set_read_timeout(limit).expect("an open socket");
        stream.set_write_timeout(limit).expect("an open socket");
        Client::over(stream)
    }

    /// Waits until what was sent lies at the server's end, read or not: a busy system may carry it
    /// there later. Only Linux says so; others are believed to be quick.
    #[track_caller]
    pub(crate) fn wait_until_delivered(&self) {
        let ends = [self.stream.local_addr(), self.stream.peer_addr()];
        let ends = ends.map(|end| match end.expect("a connection") {
            SocketAddr::V4(end) => {
                let ip = u32::from_ne_bytes(end.ip().octets());
                format!("{ip:08X}:{:04X}", end.port())
            }
            SocketAddr::V6(_) => unreachable!("tests that need it use IPv4"),
        });
        let [local, remote] = &ends;
        let is_ours = |words: &[&str]| matches!(words, [_, a, b, ..] if a == local && b == remote);
        wait_until("all is delivered", || {
            let Ok(table) = std::fs::read_to_string("/proc/net/tcp") else {
                return true;
            };
            // There may be a million others.
            let mut own = table.lines().filter(|line| line.contains(&**local));
            own.any(|line| {
                let words: Vec<_> = line.split_whitespace().collect();
                // Unacknowledged bytes, then unread ones.
                is_ours(&words) && words[4].starts_with("00000000:")
            })
        });
    }

    /// Closes so that the server sees a reset.
    #[track_caller]
    pub(crate) fn reset(self) {
        let socket = socket2::SockRef::from(&self.stream);
        socket.set_linger(Some(Duration::ZERO)).expect("a socket");
    }
}

impl<S: Read + Write> Client<S> {
    pub(crate) fn over(stream: S) -> Client<S> {
        Client {
            stream,
            buffer: Vec::new(),
            start: 0,
            received: 0,
            was_reset: false,
        }
    }

    #[track_caller]
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("sent");
    }

    /// Asks for `path` and reads the response.
    #[track_caller]
    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        self.answer(Asked::Other)
    }

    /// The next response.
    #[track_caller]
    pub(crate) fn answer(&mut self, asked: Asked) -> Answer {
        let answer = self.try_answer(asked).expect("a correct answer");
        answer.expect("an answer before the end of the connection")
    }

    /// The next response; `None` if the connection ends without a byte of one.
    pub(crate) fn try_answer(&mut self, asked: Asked) -> Result<Option<Answer>, String> {
        loop {
            let bytes = &self.buffer[self.start..];
            if let Some((answer, rest)) = read_answer(bytes, asked)? {
                self.start = self.buffer.len() - rest.len();
                return Ok(Some(answer));
            }
            if !self.fill()? {
                return self.ended(asked);
            }
        }
    }

    /// The connection has ended: the response that lasts until then, or none.
    fn ended(&mut self, asked: Asked) -> Result<Option<Answer>, String> {
        let bytes = &self.buffer[self.start..];
        if let Some((mut answer, head, Framing::Close)) = read_head(bytes, asked)? {
            ensure!(
                !self.was_reset,
                "reset after {} bytes of a body",
                bytes.len() - head
            );
            answer.body = bytes[head..].to_vec();
            self.start = self.buffer.len();
            return Ok(Some(answer));
        }
        ensure!(bytes.is_empty(), "cut after {}", bytes.escape_ascii());
        Ok(None)
    }

    /// The head of the next response and the length of its body, which [`Client::body`] then reads.
    #[track_caller]
    pub(crate) fn head(&mut self) -> (Answer, usize) {
        loop {
            let head = read_head(&self.buffer[self.start..], Asked::Other);
            if let Some((answer, head, framing)) = head.expect("a correct head") {
                self.start += head;
                let len = match framing {
                    Framing::Length(len) => len,
                    Framing::Chunked | Framing::Close => 0,
                };
                return (answer, len);
            }
            assert!(self.fill().expect("received"), "a head before the end");
        }
    }

    /// The next chunk of a body whose head has been read; empty at its end, where there must be no
    /// trailers.
    #[track_caller]
    pub(crate) fn chunk(&mut self) -> Vec<u8> {
        self.try_chunk().expect("a chunk")
    }

    pub(crate) fn try_chunk(&mut self) -> Result<Vec<u8>, String> {
        loop {
            let bytes = &self.buffer[self.start..];
            match read_chunk(bytes)? {
                Some((_, 0, len)) if bytes.len() < len + 2 => {}
                Some((_, 0, len)) => {
                    ensure!(bytes[len..].starts_with(b"\r\n"), "trailers");
                    self.start += len + 2;
                    return Ok(Vec::new());
                }
                Some((start, size, len)) => {
                    let chunk = bytes[start..start + size].to_vec();
                    self.start += len;
                    return Ok(chunk);
                }
                None => {}
            }
            ensure!(self.fill()?, "cut within the chunks");
        }
    }

    /// Fills `part` with what comes next.
    #[track_caller]
    pub(crate) fn body(&mut self, part: &mut [u8]) {
        let here = part.len().min(self.buffer.len() - self.start);
        let (from_buffer, rest) = part.split_at_mut(here);
        from_buffer.copy_from_slice(&self.buffer[self.start..self.start + here]);
        self.start += here;
        self.stream.read_exact(rest).expect("the rest of a body");
        self.received += rest.len() as u64;
    }

    /// The server closes, without a reset, and says nothing more before it.
    #[track_caller]
    pub(crate) fn expect_end(&mut self) {
        let end = self.try_answer(Asked::Other).expect("a proper end");
        assert!(end.is_none(), "nothing more: {end:?}");
        assert!(
            !self.was_reset,
            "an end, not a reset, which may lose answers"
        );
    }

    /// False at the end of the connection, however that came.
    fn fill(&mut self) -> Result<bool, String> {
        const STEP: usize = 16 << 10;
        self.buffer.drain(..self.start);
        self.start = 0;
        let len = self.buffer.len();
        self.buffer.resize(len + STEP.max(len), 0);
        let read = self.stream.read(&mut self.buffer[len..]);
        self.buffer.truncate(len + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(n) => {
                self.received += n as u64;
                Ok(n > 0)
            }
            Err(error) if is_reset(error.kind()) => {
                self.was_reset = true;
                Ok(false)
            }
            Err(error) => Err(format!("reading failed: {error}")),
        }
    }
}

fn is_reset(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            // An end of TLS without `close_notify`.
            | ErrorKind::UnexpectedEof
    )
}

// ----------------------------------------------------------------------------------- a server

/// The default settings with this many workers, and with times that no test comes near: a machine
/// that stalls for some seconds must not turn a test into one of time.
pub(crate) fn acceptors(count: usize) -> AcceptThreads {
    match count {
        0 => AcceptThreads::Workers,
        n => AcceptThreads::Dedicated(n),
    }
}

pub(crate) fn workers(workers: usize) -> Config {
    let config = Config::default();
    #[cfg(feature = "tls")]
    let config = config.tls_handshake_timeout(NEVER);
    config
        .workers(workers)
        .limits(limits())
        .stop_timeout(PATIENCE)
}

/// The default sizes, and the times of [`workers`].
pub(crate) fn limits() -> Limits {
    Limits::default()
        .head_timeout(NEVER)
        .idle_timeout(NEVER)
        .body_grace(NEVER)
        .write_timeout(NEVER)
        .write_grace(NEVER)
        .stall_timeout(NEVER)
        .linger_timeout(NEVER)
}

/// An address that no other test binds, of this process or of one that runs beside it, so that no other test
/// takes its port when a server has left it: a client that connects until it is refused would be accepted
/// there. Where the system has one loopback address only, that one.
pub(crate) fn own_addr() -> SocketAddr {
    static COUNT: AtomicU16 = AtomicU16::new(1);
    let [high, low] = COUNT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let process = 1 + (std::process::id() % 254) as u8;
    let own = SocketAddr::from(([127, process, high, low], 0));
    match TcpListener::bind(own) {
        Ok(_) => own,
        Err(_) => SocketAddr::from(([127, 0, 0, 1], 0)),
    }
}

/// A server on an address of its own.
#[track_caller]
pub(crate) fn start(handler: impl Handler, config: Config) -> (Running, SocketAddr) {
    // One type for all handlers: the server is compiled once for the tests, not once for each of them.
    let handler: Box<dyn Handler> = Box::new(handler);
    let server = Server::new(handler).config(config).on_own_addr();
    let running = server.start().expect("a server");
    let addr = running.local_addr().expect("a TCP address");
    (running, addr)
}

/// Connects until a client gets its response and the end of its connection, and returns the number of connections. A
/// client that is turned away before it has sent something gets the end alone.
#[track_caller]
pub(crate) fn turned_away(addr: SocketAddr) -> (Answer, u64) {
    let limit = Instant::now() + PATIENCE;
    for connections in 1.. {
        let mut late = Client::connect(addr);
        // It may be closed already.
        let _ = late
            .stream
            .write_all(b"GET /late HTTP/1.1\r\nHost: a\r\n\r\n");
        if let Some(answer) = late.try_answer(Asked::Other).expect("a response or none") {
            late.expect_end();
            return (answer, connections);
        }
        assert!(Instant::now() < limit, "no response");
    }
    unreachable!("the limit comes first")
}

/// How the server ended, within bounds: a server that does not end fails the test.
#[track_caller]
pub(crate) fn ended(running: Running) -> Stopped {
    let (ended, end) = mpsc::channel();
    thread::spawn(move || {
        let _ = ended.send(running.wait());
    });
    let end = end.recv_timeout(PATIENCE).expect("the server ends");
    end.expect("no thread failed")
}

/// Waits for something that no call can wait for.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let limit = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < limit, "not within {PATIENCE:?}: {what}");
        // Lets the server have the processor.
        thread::park_timeout(Duration::from_millis(1));
    }
}

/// A handler that keeps the errors that are reported to it: a name for each, and the text.
pub(crate) struct Witness<F> {
    handle: F,
    errors: Mutex<Vec<(&'static str, String, Option<SocketAddr>)>>,
}

impl<F> Witness<F>
where
    F: Fn(&Request<'_>, Response<'_>) -> Done + Send + Sync + 'static,
{
    pub(crate) fn new(handle: F) -> Arc<Witness<F>> {
        Arc::new(Witness {
            handle,
            errors: Mutex::new(Vec::new()),
        })
    }

    /// The errors since the last call of this.
    pub(crate) fn take_errors(&self) -> Vec<(&'static str, String, Option<SocketAddr>)> {
        std::mem::take(&mut *self.errors.lock().expect("no panic"))
    }

    /// Waits for one error and no more; returns its text.
    #[track_caller]
    pub(crate) fn one_error(&self, name: &str, peer: SocketAddr) -> String {
        wait_until(name, || !self.errors.lock().expect("no panic").is_empty());
        let errors = self.take_errors();
        let [(kind, text, from)] = &errors[..] else {
            panic!("{name} once: {errors:?}");
        };
        assert_eq!((*kind, *from), (name, Some(peer)), "{text}");
        text.clone()
    }
}

impl<F> Handler for Witness<F>
where
    F: Fn(&Request<'_>, Response<'_>) -> Done + Send + Sync + 'static,
{
    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        (self.handle)(req, res)
    }

    fn handle_error(&self, error: &ConnectionError<'_>, peer: Option<SocketAddr>) {
        let name = match error {
            ConnectionError::Refused(_) => "refused",
            ConnectionError::Panicked(_) => "panicked",
            ConnectionError::Response(ResponseError::Missing) => "missing",
            ConnectionError::Response(ResponseError::Body(_)) => "body",
            ConnectionError::Response(_) => "answer",
            ConnectionError::ClientGone => "gone",
            ConnectionError::Read(_) => "read",
            ConnectionError::Write(_) => "write",
            ConnectionError::WriteTimeout => "write timeout",
            ConnectionError::ResponseTimeout => "answer timeout",
            #[cfg(feature = "tls")]
            ConnectionError::TlsHandshake(_) => "handshake",
            #[cfg(feature = "websocket")]
            ConnectionError::NoWebSockets => "no websockets",
            _ => "unknown",
        };
        let mut errors = self.errors.lock().expect("no panic");
        errors.push((name, error.to_string(), peer));
    }
}

/// Numbers that look random and are the same in every run (xorshift64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// 0 to `below - 1`.
    pub(crate) fn below(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 16) % below as u64) as usize
    }
}
