//! Clients that behave: they ask one thing after the other, over a connection that they keep, over
//! a new one each time and over a WebSocket, compare each response and note how long it took.

use crate::support::{Asked, Client, Stream};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tungstenite::{Message, WebSocket};

/// Between a response and the next question.
pub(crate) const PAUSE: Duration = Duration::from_millis(5);
/// Messages that are published between two pauses, and how long each is.
const PUBLISHED: usize = 5;
const PUBLISHED_BYTES: usize = 4 << 10;

/// What they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Kept,
    Fresh,
    Echo,
    /// As `Kept`, in HTTP/2, several at a time.
    #[cfg(feature = "http2")]
    Http2,
    /// As `Fresh`, and asks again after a 503.
    Patient,
    /// One publishes, and another one has to get all of it.
    Feed,
}

/// Where a server listens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) addr: SocketAddr,
    pub(crate) is_secure: bool,
}

impl Place {
    pub(super) fn connect(self) -> Stream {
        let tcp = TcpStream::connect(self.addr).expect("a connection");
        match self.is_secure {
            true => Stream::secure(tcp),
            false => Stream::plain(tcp),
        }
    }
}

pub(crate) struct Polite {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    phase: AtomicUsize,
    /// Of each phase.
    waits: [Mutex<Vec<Duration>>; 3],
}

/// Where the load is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Before,
    During,
    After,
}

/// How long the responses of each phase took, in order of length.
pub(crate) type Waits = [Vec<Duration>; 3];

impl Polite {
    pub(crate) fn start(addr: Place, kinds: &[Kind]) -> Polite {
        let shared = Arc::new(Shared::default());
        let run = |&kind: &Kind| {
            let shared = shared.clone();
            thread::spawn(move || match kind {
                Kind::Kept => kept(addr, &shared),
                Kind::Fresh => fresh(addr, &shared),
                Kind::Patient => patient(addr, &shared),
                Kind::Echo => echo(addr, &shared),
                #[cfg(feature = "http2")]
                Kind::Http2 => http2(addr, &shared),
                Kind::Feed => feed(addr, &shared),
            })
        };
        let threads = kinds.iter().map(run).collect();
        Polite { shared, threads }
    }

    /// From now on the responses are those of this phase.
    pub(crate) fn enter(&self, phase: Phase) {
        self.shared.phase.store(phase as usize, Ordering::SeqCst);
    }

    /// Forgets how long the responses of this phase took: some came while others were connecting.
    pub(crate) fn forget(&self, phase: Phase) {
        let waits = self.shared.waits[phase as usize].lock();
        waits.expect("no panic").clear();
    }

    /// Waits until this phase has this number of responses; false if it has not in that time.
    pub(crate) fn wait(&self, phase: Phase, answers: usize, most: Duration) -> bool {
        let until = Instant::now() + most;
        let count = || {
            let waits = self.shared.waits[phase as usize].lock();
            waits.expect("no panic").len()
        };
        while count() < answers {
            if Instant::now() > until || self.threads.iter().any(JoinHandle::is_finished) {
                return false;
            }
            thread::park_timeout(Duration::from_millis(1));
        }
        true
    }

    /// What they have seen; `None` if one of them has not got what it had to.
    pub(crate) fn end(self) -> Option<Waits> {
        self.shared.stop.store(true, Ordering::SeqCst);
        let ends: Vec<_> = self.threads.into_iter().map(JoinHandle::join).collect();
        if ends.iter().any(Result::is_err) {
            return None;
        }
        Some([0, 1, 2].map(|phase| {
            let waits = &self.shared.waits[phase];
            let mut waits = std::mem::take(&mut *waits.lock().expect("no panic"));
            waits.sort_unstable();
            waits
        }))
    }
}

impl Shared {
    /// Asks until it is time to end.
    fn ask(&self, mut ask: impl FnMut(usize)) {
        for number in 0.. {
            if self.stop.load(Ordering::SeqCst) {
                return;
            }
            let phase = self.phase.load(Ordering::SeqCst);
            let from = Instant::now();
            ask(number);
            self.waits[phase]
                .lock()
                .expect("no panic")
                .push(from.elapsed());
            thread::park_timeout(PAUSE);
        }
    }
}

fn kept(addr: Place, shared: &Shared) {
    let mut client = Client::over_stream(addr.connect());
    shared.ask(|number| {
        if number % 8 > 0 {
            let path = format!("/kept/{number}");
            assert_eq!(client.get(&path).text(), path);
            return;
        }
        let body = format!("{number} ").repeat(200);
        let len = body.len();
        client.send(format!(
            "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n{body}"
        ));
        assert_eq!(client.answer(Asked::Other).text(), body);
    });
}

#[cfg(feature = "http2")]
fn http2(addr: Place, shared: &Shared) {
    let mut client = super::http2::Polite::connect(addr.connect());
    shared.ask(|number| {
        let paths: Vec<_> = (0..number % 8 + 1)
            .map(|n| format!("/{number}/{n}"))
            .collect();
        assert_eq!(client.get(&paths), paths);
    });
}

fn fresh(addr: Place, shared: &Shared) {
    shared.ask(|number| {
        let mut client = Client::over_stream(addr.connect());
        let path = format!("/fresh/{number}");
        client.send(format!(
            "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        ));
        let answer = client.answer(Asked::Other);
        assert_eq!((answer.text(), answer.closes()), (&*path, true));
        client.expect_end();
    });
}

fn patient(addr: Place, shared: &Shared) {
    shared.ask(|number| {
        let path = format!("/patient/{number}");
        loop {
            let answer = Client::over_stream(addr.connect()).get(&path);
            if answer.status != 503 {
                assert_eq!((answer.status, answer.text()), (200, &*path));
                return;
            }
            thread::park_timeout(PAUSE);
        }
    });
}

pub(crate) fn websocket(addr: Place, path: &str) -> WebSocket<Stream> {
    let stream = addr.connect();
    stream.set_nodelay(true).expect("an open socket");
    let limit = Some(crate::support::PATIENCE);
    stream.set_read_timeout(limit).expect("an open socket");
    let url = format!("ws://{}{path}", addr.addr);
    let (socket, _) = tungstenite::client(url, stream).expect("a WebSocket");
    socket
}

fn echo(addr: Place, shared: &Shared) {
    let mut socket = websocket(addr, "/echo");
    shared.ask(|number| {
        let text = format!("message {number}");
        socket.send(Message::text(&*text)).expect("sent");
        assert_eq!(data(&mut socket), Message::text(text));
    });
    goodbye(socket);
}

fn feed(addr: Place, shared: &Shared) {
    let mut reader = websocket(addr, "/feed");
    let mut writer = websocket(addr, "/echo");
    shared.ask(|number| {
        let publish = |part: usize| {
            let mut text = format!("publish {number} {part} ");
            text.extend(std::iter::repeat_n('x', PUBLISHED_BYTES - text.len()));
            Message::text(text)
        };
        for part in 0..PUBLISHED {
            writer.send(publish(part)).expect("sent");
        }
        for part in 0..PUBLISHED {
            assert!(data(&mut reader) == publish(part), "another message");
        }
    });
    goodbye(reader);
    goodbye(writer);
}

fn goodbye(mut socket: WebSocket<Stream>) {
    socket.close(None).expect("sent");
    while socket.read().is_ok() {}
}

/// The next message that is not a ping. Pings get pongs.
fn data(socket: &mut WebSocket<Stream>) -> Message {
    loop {
        match socket.read().expect("a message") {
            Message::Ping(_) | Message::Pong(_) => {}
            message => return message,
        }
    }
}
