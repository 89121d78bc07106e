//! Single turns, with a peer that reads only when the test says so.

use super::*;
use crate::outbox::Pushed;
use crate::protocol::{ProtocolError, Received};
use peregrine::relay::{Relay, RelayHandle, RelayMessage, Relayed};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock};

/// Only a failure takes so long.
const PATIENCE: Duration = Duration::from_secs(120);

type Hook = Box<dyn FnOnce() + Send>;

/// A protocol of lines, of which nothing is received. The first subscription calls a function.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Option<Hook>>>);

impl Protocol for Lines {
    type Session = Lines;

    const NAME: &'static str = "lines";

    fn publish(&self, _: Option<&str>, _: [&[u8]; 2], _: &mut Vec<u8>) -> bool {
        false
    }

    fn session(&self, _: &Address) -> Lines {
        self.clone()
    }
}

impl Session for Lines {
    fn connected(&mut self, _: bool, _: &mut Vec<u8>) {}

    fn receive<'a>(
        &'a mut self,
        input: &'a [u8],
        _: &mut Vec<u8>,
    ) -> Result<(usize, Received<'a>), ProtocolError> {
        Ok((input.len(), Received::Nothing))
    }

    fn subscribe(&mut self, topic: Option<&Arc<str>>, out: &mut Vec<u8>) {
        let topic = topic.map_or("*", |topic| topic);
        out.extend_from_slice(format!("SUB {topic}\n").as_bytes());
        if let Some(hook) = lock(&self.0).take() {
            hook();
        }
    }

    fn unsubscribe(&mut self, _: &str, _: &mut Vec<u8>) {}

    fn ping(&mut self, _: &mut Vec<u8>) {}
}

/// Hands out its `Local`.
struct Starts(Mutex<Sender<Local>>);

impl Relay for Starts {
    fn publish(&self, _: Option<&str>, _: RelayMessage<'_>) -> Relayed {
        Relayed::Down
    }

    fn started(&self, local: Local) {
        lock(&self.0).send(local).expect("the test waits");
    }
}

/// A driver that is online, and the other end of its connection.
struct Online {
    poll: Poll,
    driver: Driver<Lines>,
    connection: Connection<Lines>,
    peer: TcpStream,
    hub: (RelayHandle, peregrine::sse::EventHub),
}

impl Online {
    fn new(lines: Lines) -> Online {
        let (sender, locals) = channel();
        let relay = RelayHandle::new(Starts(Mutex::new(sender)));
        let hub = peregrine::sse::EventHub::new();
        hub.set_relay(&relay).expect("the first one");
        let local = locals.recv_timeout(PATIENCE).expect("it has started");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let target = listener.local_addr().expect("an address");
        let address = Address::new("127.0.0.1", target.port());
        let settings = Settings::new(vec![address.clone()]);
        let shared = Arc::new(Shared::new(1 << 30));
        let poll = Poll::new().expect("a poll");
        shared.set_waker(Waker::new(poll.registry(), WAKE).expect("a waker"));
        let socket = Socket::connect(target, poll.registry(), SOCKET).expect("a socket");
        let (peer, _) = listener.accept().expect("a connection");
        peer.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let mut connection = Connection::new(&lines, address, socket, Instant::now());
        connection.phase = Phase::Online;
        lock(&shared.wanted).all();
        let mut online = Online {
            poll,
            driver: Driver::new(
                Arc::new(lines),
                settings,
                shared,
                1,
                local,
                Listener::default(),
            ),
            connection,
            peer,
            hub: (relay, hub),
        };
        online.wait_writable();
        online
    }

    fn wait_writable(&mut self) {
        let (begun, mut events) = (Instant::now(), Events::with_capacity(4));
        while !self.connection.can_write {
            assert!(begun.elapsed() < PATIENCE, "not writable");
            wait(&mut self.poll, &mut events, PATIENCE).expect("a poll");
            let is_writable =
                |event: &mio::event::Event| event.token() == SOCKET && event.is_writable();
            self.connection.can_write |= events.iter().any(is_writable);
        }
    }

    fn turn(&mut self) -> bool {
        match self.driver.turn(&mut self.connection, Instant::now()) {
            Ok(is_busy) => is_busy,
            Err(End::Stop) => panic!("it has stopped"),
            Err(End::Error(error)) => panic!("{error}"),
        }
    }

    fn push(&self, bytes: &[u8]) {
        push(&self.driver.shared, bytes);
    }

    /// Pushes more than the buffers of the system take, and more unsent than commands are appended to. Returns the bytes that were
    /// pushed, and those that were read.
    fn fill(&mut self) -> (usize, usize) {
        let large = vec![b'x'; 2 << 20];
        let (mut pushed, mut read) = (0, 0);
        while self.connection.output.unsent() <= 1 << 20 {
            if !self.connection.can_write {
                read += self.read_held(pushed - read);
                self.wait_writable();
            }
            self.push(&large);
            pushed += large.len();
            while self.turn() {}
        }
        (pushed, read)
    }

    /// Reads what the system holds of so many bytes that were pushed and not read. Returns how much that is.
    fn read_held(&mut self, left: usize) -> usize {
        let held = left.saturating_sub(self.connection.output.unsent());
        self.read(held);
        held
    }

    /// Takes turns until all of these bytes, which were pushed and not read, are sent. Returns how many of them are still to be read.
    fn send_all(&mut self, mut left: usize) -> usize {
        // Mostly in one turn. A system that has less room is given some.
        left -= self.read_held(left);
        while self.connection.output.unsent() > 0 {
            if !self.connection.can_write {
                left -= self.read_held(left);
                self.wait_writable();
            }
            while self.turn() {}
        }
        left
    }

    /// Reads so many bytes.
    fn read(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.peer.read_exact(&mut bytes).expect("sent");
        bytes
    }
}

fn push(shared: &Shared, bytes: &[u8]) {
    let pushed = lock(&shared.outbox).push(Instant::now(), |out, _| {
        out.extend_from_slice(bytes);
        true
    });
    assert_eq!(pushed, Pushed::Queued);
}

#[test]
fn a_turn_sends_a_bounded_number_of_pieces() {
    let mut online = Online::new(Lines::default());
    let piece = vec![b'x'; 64 << 10];
    let all = 4 * PIECES;
    (0..all).for_each(|_| online.push(&piece));
    let mut peer = online.peer.try_clone().expect("a socket");
    let bytes = all * piece.len();
    let reader = std::thread::spawn(move || {
        let mut read = 0;
        let mut buffer = vec![0; 1 << 20];
        while read < bytes {
            read += peer.read(&mut buffer).expect("sent");
        }
    });
    let mut left = all;
    while left > 0 {
        let is_busy = online.turn();
        let mut outbox = lock(&online.driver.shared.outbox);
        // They are counted by taking them out and putting them back.
        let pieces: Vec<_> = std::iter::from_fn(|| outbox.take()).collect();
        assert!(pieces.len() + PIECES >= left, "{left} to {}", pieces.len());
        left = pieces.len();
        pieces
            .into_iter()
            .rev()
            .for_each(|piece| outbox.put_back(piece));
        drop(outbox);
        if !is_busy && left > 0 {
            online.wait_writable();
        }
    }
    while online.connection.output.unsent() > 0 {
        online.wait_writable();
        online.turn();
    }
    reader.join().expect("all has arrived");
    drop(online.hub);
}

#[test]
fn a_topic_that_came_while_the_peer_read_nothing_is_subscribed() {
    let mut online = Online::new(Lines::default());
    let (pushed, read) = online.fill();
    for topic in ["a", "b"] {
        lock(&online.driver.shared.wanted).add(topic);
        online.driver.shared.wake();
        assert!(!online.turn());
    }
    assert_eq!(online.connection.topics.len(), 1);
    // It reads what the system holds, so that the rest is sent in one turn.
    let rest = online.send_all(pushed - read);
    let end = online.read(rest + "SUB a\nSUB b\n".len());
    assert!(end.ends_with(b"xSUB a\nSUB b\n"));
}

#[test]
fn what_came_while_much_was_unsent_is_read_when_it_is_sent() {
    let mut online = Online::new(Lines::default());
    let (pushed, read) = online.fill();
    online.peer.write_all(b"a message").expect("sent");
    // The system says so once.
    online.connection.can_read = true;
    assert!(!online.turn());
    online.send_all(pushed - read);
    // It has been read up to its end.
    assert!(!online.connection.can_read);
}

#[test]
fn what_is_published_after_a_subscription_is_sent_after_it() {
    let lines = Lines::default();
    let shared: Arc<OnceLock<Arc<Shared>>> = Arc::default();
    let hook = shared.clone();
    // Another thread, between the look at the topics and that at the messages.
    *lock(&lines.0) = Some(Box::new(move || {
        let shared = hook.get().expect("set");
        lock(&shared.wanted).add("second");
        push(shared, b"PUB second\n");
    }));
    let mut online = Online::new(lines);
    assert!(shared.set(online.driver.shared.clone()).is_ok());
    lock(&online.driver.shared.wanted).add("first");
    while online.turn() {}
    let wanted = b"SUB first\nSUB second\nPUB second\n";
    assert_eq!(online.read(wanted.len()), wanted);
}
