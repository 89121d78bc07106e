//! What tests over sockets share: a strict reader of answers, a client, and ways to wait.
//!
//! Nothing here waits for a time to pass: it waits for an event, with a limit that only a failure
//! reaches.

use peregrine::{
    AnswerError, Config, ConnectionError, Done, Handler, Limits, Request, Response, Running,
    Server, Stopped,
};
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

// ----------------------------------------------------------------------------- reading answers

/// What the client has asked for, as far as that decides where the answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// HEAD: no body, whatever the length says.
    Head,
    /// CONNECT: no length, everything that follows is the other end's.
    Connect,
    Other,
}

#[derive(Default, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The one value of a field; twice is an error whatever the field.
    pub(crate) fn field(&self, name: &str) -> Result<Option<&str>, String> {
        let mut values = self.fields.iter().filter(|field| field.0 == name);
        let first = values.next().map(|field| field.1.as_str());
        ensure!(values.next().is_none(), "{name} twice");
        Ok(first)
    }

    /// The value of a field that must not be there twice.
    #[track_caller]
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.field(name).expect("at most once")
    }

    /// True if the server says that it closes the connection after this answer.
    #[track_caller]
    pub(crate) fn closes(&self) -> bool {
        self.get("connection") == Some("close")
    }

    /// The body as text.
    #[track_caller]
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let start = &self.body[..self.body.len().min(400)];
        f.debug_struct("Answer")
            .field("status", &self.status)
            .field("fields", &self.fields)
            .field("body_bytes", &self.body.len())
            .field("body", &start.escape_ascii().to_string())
            .finish()
    }
}

/// Reads the head of one answer as a strict client would. Returns the answer without its body, the
/// length of the head and that of the body; `None` if the head is not complete.
pub(crate) fn read_head(
    bytes: &[u8],
    asked: Asked,
) -> Result<Option<(Answer, usize, usize)>, String> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let Some(end) = end else { return Ok(None) };
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| "UTF-8")?;
    let clean = |s: &str| s.trim() == s && !s.contains(|c: char| c.is_control());
    let mut lines = head.split("\r\n");
    let line = lines.next().unwrap_or("").split_once(' ');
    let (version, line) = line.ok_or("no status line")?;
    let (status, reason) = line.split_once(' ').ok_or("no reason")?;
    ensure!(version == "HTTP/1.1" && clean(reason), "status line");
    ensure!(status.len() == 3, "status {status}");
    let mut answer = Answer::default();
    for line in lines {
        let (name, mut value) = line.split_once(": ").ok_or("field without a colon")?;
        let token = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        let name = name.to_ascii_lowercase();
        if name == "content-length" {
            // `write_with` fills it in from the right (RFC 9112 section 5: optional white space).
            value = value.trim_start_matches(' ');
        }
        ensure!(name.bytes().all(token) && clean(value), "malformed {line}");
        answer.fields.push((name, value.to_owned()));
    }
    answer.status = status.parse().map_err(|_| "status")?;
    ensure!(answer.field("server")? == Some("peregrine"), "Server");
    let date = answer.field("date")?.ok_or("no Date")?;
    // IMF-fixdate is the one form a server may send (RFC 9110 section 5.6.7).
    let fixdate = date.len() == 29 && httpdate::parse_http_date(date).is_ok();
    ensure!(fixdate, "Date: {date}");
    let coding = answer.field("transfer-encoding")?;
    ensure!(coding.is_none(), "Transfer-Encoding");
    let length = answer.field("content-length")?;
    let digits = length.is_none_or(|n| n.bytes().all(|b| b.is_ascii_digit()));
    let bodiless = matches!(answer.status, 204 | 304);
    ensure!(digits && !(bodiless && length.is_some()), "Content-Length");
    let body = match length {
        None if bodiless => 0,
        None if asked == Asked::Connect => bytes.len() - end - 4,
        None => return Err("no Content-Length".to_owned()),
        Some(_) if asked == Asked::Head => 0,
        Some(n) => n.parse().map_err(|_| "Content-Length")?,
    };
    Ok(Some((answer, end + 4, body)))
}

/// Reads one answer. Returns it and what follows it; `None` if it is not complete.
pub(crate) fn read_answer(bytes: &[u8], asked: Asked) -> Result<Option<(Answer, &[u8])>, String> {
    let Some((mut answer, head, body)) = read_head(bytes, asked)? else {
        return Ok(None);
    };
    let Some((body, rest)) = bytes[head..].split_at_checked(body) else {
        return Ok(None);
    };
    answer.body = body.to_vec();
    Ok(Some((answer, rest)))
}

// ----------------------------------------------------------------------------------- a client

/// A client that does one thing at a time and believes nothing.
pub(crate) struct Client<S = TcpStream> {
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
        let stream = TcpStream::connect(addr).expect("a connection");
        Client::over_tcp(stream)
    }

    #[track_caller]
    pub(crate) fn over_tcp(stream: TcpStream) -> Client {
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
            table.lines().any(|line| {
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

    /// Asks for `path` and reads the answer.
    #[track_caller]
    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        self.answer(Asked::Other)
    }

    /// The next answer.
    #[track_caller]
    pub(crate) fn answer(&mut self, asked: Asked) -> Answer {
        let answer = self.try_answer(asked).expect("a correct answer");
        answer.expect("an answer before the end of the connection")
    }

    /// The next answer; `None` if the connection ends without a byte of one.
    pub(crate) fn try_answer(&mut self, asked: Asked) -> Result<Option<Answer>, String> {
        loop {
            let bytes = &self.buffer[self.start..];
            if let Some((answer, rest)) = read_answer(bytes, asked)? {
                self.start = self.buffer.len() - rest.len();
                return Ok(Some(answer));
            }
            if !self.fill()? {
                let bytes = &self.buffer[self.start..];
                ensure!(bytes.is_empty(), "cut after {}", bytes.escape_ascii());
                return Ok(None);
            }
        }
    }

    /// The head of the next answer and the length of its body, which [`Client::body`] then reads.
    #[track_caller]
    pub(crate) fn head(&mut self) -> (Answer, usize) {
        loop {
            let head = read_head(&self.buffer[self.start..], Asked::Other);
            if let Some((answer, head, body)) = head.expect("a correct head") {
                self.start += head;
                return (answer, body);
            }
            assert!(self.fill().expect("received"), "a head before the end");
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
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe
    )
}

// ----------------------------------------------------------------------------------- a server

/// The default settings with this many workers, and with times that no test comes near: a machine
/// that stalls for some seconds must not turn a test into one of time.
pub(crate) fn workers(workers: usize) -> Config {
    Config {
        workers,
        limits: limits(),
        stop_time: PATIENCE,
        ..Config::default()
    }
}

/// The default sizes, and the times of [`workers`].
pub(crate) fn limits() -> Limits {
    Limits {
        head_time: NEVER,
        idle_time: NEVER,
        body_grace: NEVER,
        write_time: NEVER,
        linger_time: NEVER,
        ..Limits::default()
    }
}

/// An address that no other test of this process binds, so that nobody takes its port when a server
/// has left it. Where the system has one loopback address only, that one.
pub(crate) fn own_addr() -> SocketAddr {
    static COUNT: AtomicU16 = AtomicU16::new(1);
    let [high, low] = COUNT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let own = SocketAddr::from(([127, 1, high, low], 0));
    match TcpListener::bind(own) {
        Ok(_) => own,
        Err(_) => SocketAddr::from(([127, 0, 0, 1], 0)),
    }
}

/// A server on an address of its own.
#[track_caller]
pub(crate) fn start(handler: impl Handler, config: Config) -> (Running, SocketAddr) {
    let server = Server::new(handler).config(config).bind(own_addr());
    let running = server.start().expect("a server");
    let addr = running.local_addr().expect("a TCP address");
    (running, addr)
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

/// A handler that keeps what it is told of errors: a name for each, and the text.
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

    /// What it was told since this was last asked.
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
            ConnectionError::Answer(AnswerError::Missing) => "missing",
            ConnectionError::Answer(_) => "answer",
            ConnectionError::ClientGone => "gone",
            ConnectionError::Read(_) => "read",
            ConnectionError::Write(_) => "write",
            ConnectionError::WriteTimeout => "write timeout",
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
