//! The other end of the driver: a broker that does what the test says; and a process with a relay and a page.

use super::toy::Toy;
use peregrine::relay::{RelayHandle, RelayMessage};
use peregrine::sse::EventHub;
use peregrine::{Handler, from_fn};
use peregrine_broker::{Address, BrokerRelay, Envelope, Event, Settings, Watch};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Only a failure takes so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

#[track_caller]
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(
            begun.elapsed() < PATIENCE,
            "not within {PATIENCE:?}: {what}"
        );
        // Lets others have the processor.
        std::thread::park_timeout(Duration::from_micros(200));
    }
}

/// A broker.
pub(crate) struct Peer(TcpListener);

impl Peer {
    /// On an address of its own, where the system has several loopback addresses: nothing else comes to a port that it has
    /// left.
    pub(crate) fn new() -> Peer {
        static COUNT: AtomicU16 = AtomicU16::new(1);
        let [high, low] = COUNT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let process = 1 + (std::process::id() % 254) as u8;
        match TcpListener::bind(SocketAddr::from(([127, process, high, low], 0))) {
            Ok(listener) => Peer(listener),
            Err(_) => Peer::on(SocketAddr::from(([127, 0, 0, 1], 0))),
        }
    }

    pub(crate) fn on(addr: SocketAddr) -> Peer {
        let mut peer = None;
        wait_until("the address is free", || {
            peer = TcpListener::bind(addr).ok();
            peer.is_some()
        });
        Peer(peer.expect("bound"))
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.0.local_addr().expect("an address")
    }

    pub(crate) fn address(&self) -> Address {
        Address::new(self.addr().ip().to_string(), self.addr().port())
    }

    pub(crate) fn settings(&self) -> Settings {
        let mut settings = Settings::new(vec![self.address()]);
        settings.ping = PATIENCE;
        settings.connect_timeout = PATIENCE;
        settings.queue_time = PATIENCE;
        settings.backoff = Duration::from_millis(100);
        settings
    }

    pub(crate) fn accept(&self) -> Accepted {
        self.0.set_nonblocking(true).expect("a socket");
        let mut accepted = None;
        // A process that has given up makes a test fail, and not wait for ever.
        wait_until("a connection", || {
            accepted = self.0.accept().ok();
            accepted.is_some()
        });
        let (stream, _) = accepted.expect("accepted");
        stream.set_nonblocking(false).expect("a socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        stream.set_write_timeout(Some(PATIENCE)).expect("a socket");
        Accepted {
            stream: BufReader::new(stream),
            answers: true,
        }
    }

    /// Accepts a connection, which has to subscribe to these topics, and lets it go online.
    #[track_caller]
    pub(crate) fn online(&self, topics: &[&str]) -> Accepted {
        let mut accepted = self.accept();
        accepted.log_in(topics);
        accepted.say("PONG\n");
        accepted
    }
}

/// A connection that the broker has accepted.
pub(crate) struct Accepted {
    stream: BufReader<TcpStream>,
    /// Whether PINGs are answered while messages are read.
    pub(crate) answers: bool,
}

impl Accepted {
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }

    #[track_caller]
    pub(crate) fn expect(&mut self, wanted: &str) {
        assert_eq!(self.line(), wanted);
    }

    pub(crate) fn say(&mut self, text: &str) {
        self.stream
            .get_mut()
            .write_all(text.as_bytes())
            .expect("sent");
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).expect("sent");
    }

    /// The login, up to the PING that has to be answered.
    #[track_caller]
    pub(crate) fn log_in(&mut self, topics: &[&str]) {
        self.expect("LOGIN");
        self.say("OK\n");
        self.expect("SUB *");
        let mut subscribed: Vec<_> = topics.iter().map(|_| self.line()).collect();
        subscribed.sort();
        let wanted: Vec<_> = topics.iter().map(|topic| format!("SUB {topic}")).collect();
        assert_eq!(subscribed, wanted);
        self.expect("PING");
    }

    /// The next published message, by topic, number and text. `None` at the end of the connection.
    pub(crate) fn try_published(&mut self) -> Option<(String, u64, String)> {
        let mut line = String::new();
        loop {
            line.clear();
            if self.stream.read_line(&mut line).ok()? == 0 {
                return None;
            }
            match line.trim_end() {
                "PING" if self.answers => self.say("PONG\n"),
                "PING" => {}
                _ => break,
            }
        }
        let words: Vec<_> = line.trim_end().split(' ').collect();
        let ["PUB", topic, len] = words[..] else {
            panic!("{line}");
        };
        let mut payload = vec![0; len.parse().expect("a number")];
        self.stream.read_exact(&mut payload).ok()?;
        let envelope = Envelope::parse(&payload).expect("an envelope");
        let text = String::from_utf8_lossy(envelope.message.bytes());
        Some((topic.to_owned(), envelope.number, text.trim().to_owned()))
    }

    #[track_caller]
    pub(crate) fn published(&mut self, topic: &str, number: u64, text: &str) {
        let wanted = (topic.to_owned(), number, text.to_owned());
        assert_eq!(self.try_published(), Some(wanted));
    }

    /// False if it cannot be sent any more.
    pub(crate) fn try_say(&mut self, text: &str) -> bool {
        self.stream.get_mut().write_all(text.as_bytes()).is_ok()
    }

    /// Sends an event as the process `node`.
    pub(crate) fn event(&mut self, topic: &str, node: u64, number: u64, data: &str) {
        assert!(self.try_event(topic, node, number, data));
    }

    pub(crate) fn try_event(&mut self, topic: &str, node: u64, number: u64, data: &str) -> bool {
        let lines = format!("data: {data}\n\n");
        let message = RelayMessage::event(lines.as_bytes());
        let head = Envelope::head(&message, node, number);
        let line = format!("MSG {topic} {}\n", head.len() + lines.len());
        let all = [line.as_bytes(), &head, lines.as_bytes()].concat();
        self.stream.get_mut().write_all(&all).is_ok()
    }

    pub(crate) fn reset(self) {
        let socket = socket2::SockRef::from(self.stream.get_ref());
        socket.set_linger(Some(Duration::ZERO)).expect("a socket");
    }

    /// Waits until the other side has closed.
    pub(crate) fn closed(&mut self) {
        let mut rest = Vec::new();
        // A reset is an end, too.
        let _ = self.stream.read_to_end(&mut rest);
    }

    /// Sets how much the system takes before it is read.
    pub(crate) fn buffer(&self, bytes: usize) {
        let socket = socket2::SockRef::from(self.stream.get_ref());
        socket.set_recv_buffer_size(bytes).expect("a socket");
    }
}

/// A process with a relay and an event hub.
pub(crate) struct Process {
    pub(crate) hub: EventHub,
    pub(crate) relay: RelayHandle,
    pub(crate) watch: Watch,
    pub(crate) node: u64,
    pub(crate) events: Receiver<String>,
}

impl Process {
    pub(crate) fn new(settings: Settings) -> Process {
        let (seen, events) = channel();
        let relay = BrokerRelay::new(Toy, settings).on_event(move |event| {
            let _ = seen.send(match event {
                Event::Lost { topic, messages } => format!("lost {messages} of {topic:?}"),
                other => format!("{other:?}"),
            });
        });
        let (watch, node) = (relay.watch(), relay.node());
        let relay = RelayHandle::with_linger(relay, Duration::ZERO);
        Process {
            hub: EventHub::new(),
            relay,
            watch,
            node,
            events,
        }
    }

    /// Begins to connect.
    pub(crate) fn start(settings: Settings) -> Process {
        let process = Process::new(settings);
        process.connect();
        process
    }

    pub(crate) fn connect(&self) {
        assert_eq!(self.hub.set_relay(&self.relay), Ok(()));
    }

    /// Subscribes each page to the topics of its query.
    pub(crate) fn app(&self) -> impl Handler + use<> {
        let hub = self.hub.clone();
        from_fn(move |req, res| {
            let (done, page) = res.events();
            let topics: Vec<_> = req.query_pairs().map(|(name, _)| name).collect();
            let _ = hub.subscribe(page, topics);
            done
        })
    }

    #[track_caller]
    pub(crate) fn told(&self, wanted: &str) {
        assert_eq!(self.events.recv_timeout(PATIENCE).as_deref(), Ok(wanted));
    }

    #[track_caller]
    pub(crate) fn fails_with(&self, text: &str) {
        wait_until(text, || {
            self.watch
                .last_error()
                .is_some_and(|error| error.contains(text))
        });
    }
}

/// A page in memory.
pub(crate) struct Page<'a, H: Handler>(peregrine::testing::Connection<'a, H>);

impl<'a, H: Handler> Page<'a, H> {
    pub(crate) fn new(app: &'a H, target: &str) -> Page<'a, H> {
        let mut page = peregrine::testing::Connection::new(app);
        page.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        page.take_received();
        Page(page)
    }

    /// Waits for these events, and no others before them.
    #[track_caller]
    pub(crate) fn expect(&mut self, wanted: &[&str]) {
        let mut received = String::new();
        let mut data: Vec<String> = Vec::new();
        while data.len() < wanted.len() {
            assert!(self.0.wait(PATIENCE), "{data:?}");
            received.push_str(&String::from_utf8(self.0.take_received()).expect("text"));
            let lines = received.lines();
            let lines = lines.filter_map(|line| line.strip_prefix("data: "));
            data = lines.map(str::to_owned).collect();
        }
        assert_eq!(data, wanted);
    }
}
