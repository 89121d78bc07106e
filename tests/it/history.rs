//! WebSockets with a history: each gets what it has missed and is subscribed, or is refused and told so.

use super::support::{OnOwnAddr, PATIENCE, Stream, ended, workers};
use peregrine::history::{
    History, HistoryLimits, Log, LogError, LogMessage, MemoryLog, Position, Read, ReadDone, Start,
    UpdateKind,
};
use peregrine::server::Running;
use peregrine::ws::{
    BacklogPolicy, Hub, Message, PreparedMessage, Upgrade, WebSocketHandler, Ws, WsLimits,
};
use peregrine::{Config, Done, Handler, Request, Response, Server};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Message as Theirs, WebSocket};

/// Reads that wait for their answer.
type Pending = Arc<Mutex<Vec<Box<dyn FnOnce() + Send>>>>;

/// A log in memory that answers reads when the test says so.
#[derive(Clone, Default)]
struct LateLog(MemoryLog, Pending);

impl LateLog {
    /// Answers all reads; their number.
    fn answer(&self) -> usize {
        let pending = std::mem::take(&mut *self.1.lock().expect("no panic"));
        let count = pending.len();
        pending.into_iter().for_each(|answer| answer());
        count
    }
}

impl Log for LateLog {
    fn start(&self, feed: peregrine::history::Feed) {
        self.0.start(feed);
    }

    fn append(&self, topic: &str, message: LogMessage) -> Result<(), LogError> {
        self.0.append(topic, message)
    }

    fn since(&self, topic: &str, start: Start, limit: usize, done: ReadDone) {
        let (log, topic) = (self.0.clone(), topic.to_owned());
        let answer = move || log.since(&topic, start, limit, done);
        self.1.lock().expect("no panic").push(Box::new(answer));
    }
}

/// `+topic` subscribes, `=topic position` after a position, `-topic` ends that, and all else is answered with the number of topics that the history has.
#[derive(Clone)]
struct App {
    history: History,
}

impl App {
    fn new(hub: &Hub, log: impl Log, limits: HistoryLimits) -> App {
        let history = History::builder(log).websockets(hub, |update| {
            let text = match update.kind {
                UpdateKind::Message(message) => message.as_text()?,
                UpdateKind::Lost => "!lost",
                _ => "!current",
            };
            Some(PreparedMessage::from(format!("{} {text}", update.topic)))
        });
        let history = history.limits(limits).build();
        App { history }
    }
}

impl Handler for App {
    fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
        res.text("")
    }
}

impl WebSocketHandler for App {
    type Conn = ();

    fn accept_ws(&self, req: &Request<'_>, upgrade: &mut Upgrade<'_>) -> Option<()> {
        let limits = WsLimits::default().topics(4).topic_bytes(8);
        upgrade.limits(match req.path() {
            "/drop" => limits.backlog_policy(BacklogPolicy::DropNewest),
            _ => limits,
        });
        Some(())
    }

    fn handle_ws_frame(&self, ws: &mut Ws<'_, ()>, message: Message<'_>) {
        let text = message.as_text().expect("text");
        let mut subscribe = |topic, start| {
            if let Err(error) = self.history.subscribe_ws(ws.id(), topic, start) {
                ws.send(&*format!("{topic} refused: {error}"));
            }
        };
        match text.split_at(1) {
            ("+", topic) => subscribe(topic, Start::Last(9)),
            ("=", rest) => {
                let (topic, position) = rest.split_once(' ').expect("two words");
                subscribe(topic, Start::After(position.parse().expect("a position")));
            }
            ("-", topic) => _ = ws.unsubscribe(topic),
            _ => _ = ws.send(&*self.history.topics().to_string()),
        }
    }
}

struct Client(WebSocket<Stream>);

impl Client {
    fn connect(addr: SocketAddr, path: &str) -> Client {
        let stream = Stream::connect(addr).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let (client, _) =
            tungstenite::client(format!("ws://{addr}{path}"), stream).expect("a WebSocket");
        Client(client)
    }

    fn say(&mut self, texts: &[&str]) {
        for text in texts {
            self.0.send(Theirs::text(*text)).expect("it is open");
        }
    }

    /// The next messages, in any order.
    #[track_caller]
    fn expect(&mut self, wanted: &[&str]) {
        let next = |_: &&str| self.0.read().expect("a message").to_string();
        let mut got: Vec<_> = wanted.iter().map(next).collect();
        let mut wanted = wanted.to_vec();
        got.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(got, wanted);
    }
}

fn serve(app: &App, hub: &Hub, config: Config) -> (Running, SocketAddr) {
    let server = Server::new(app.clone()).websocket().with_hub(hub);
    let server = server.config(config).on_own_addr();
    let server = server.start().expect("a server");
    let addr = server.local_addr().expect("an address");
    (server, addr)
}

const REFUSED: &str = "refused: the connection has too many topics";

/// It has at most four.
#[test]
fn a_websocket_takes_no_more_topics_than_it_may() {
    let hub = Hub::new();
    let app = App::new(&hub, MemoryLog::new(), HistoryLimits::default().topics(6));
    let (server, addr) = serve(&app, &hub, workers(1));
    let mut greedy = Client::connect(addr, "/");
    greedy.say(&["+a", "+b", "+c", "+d", "+e", "+f", "+long name", "?"]);
    let [e, f] = ["e", "f"].map(|topic| format!("{topic} {REFUSED}"));
    let long = "long name refused: the name of the topic is too long";
    greedy.expect(&[
        "a !current",
        "b !current",
        "c !current",
        "d !current",
        &e,
        &f,
        long,
        "4",
    ]);
    // Those that it has left do not count, for itself nor for the history.
    for n in 0..20 {
        let topic = format!("t{n}");
        let current = format!("{topic} !current");
        greedy.say(&["-a", &format!("+{topic}")]);
        greedy.expect(&[&current]);
        app.history.publish(&topic, "x").expect("room");
        greedy.expect(&[&format!("{topic} x")]);
        greedy.say(&[&format!("-{topic}"), "+a"]);
        greedy.expect(&["a !current"]);
    }
    let mut other = Client::connect(addr, "/");
    other.say(&["+e", "+f"]);
    other.expect(&["e !current", "f !current"]);
    app.history.publish("e", "1").expect("room");
    other.expect(&["e 1"]);
    // Its topics are free when it has gone.
    greedy.0.close(None).expect("it is open");
    while greedy.0.read().is_ok() {}
    other.say(&["+g", "+h"]);
    other.expect(&["g !current", "h !current"]);
    server.stop();
    ended(server);
}

/// Those for which the log is still read count, and a connection that has gone waits for nothing.
#[test]
fn topics_count_before_they_are_read() {
    let (hub, log) = (Hub::new(), LateLog::default());
    let app = App::new(&hub, log.clone(), HistoryLimits::default());
    let (server, addr) = serve(&app, &hub, workers(1));
    let mut client = Client::connect(addr, "/");
    client.say(&["+a", "+a", "+b", "+c", "+d", "?"]);
    client.expect(&[&format!("d {REFUSED}"), "3"]);
    log.answer();
    client.expect(&["a !current", "a !current", "b !current", "c !current"]);
    // The second subscription to the same topic takes no place.
    client.say(&["+d", "+e"]);
    client.expect(&[&format!("e {REFUSED}")]);
    log.answer();
    client.expect(&["d !current"]);
    server.stop();
    ended(server);
}

/// What the mailbox has no room for: the client is told to come back, whatever its policy is. It would wait for ever
/// otherwise.
#[test]
fn one_that_could_not_be_subscribed_is_closed() {
    let hub = Hub::new();
    let app = App::new(&hub, MemoryLog::new(), HistoryLimits::default());
    app.history
        .publish("large", "x".repeat(2000))
        .expect("room");
    let mut config = workers(1);
    config.ws_mailbox_bytes = 2000;
    let (server, addr) = serve(&app, &hub, config);
    for path in ["/", "/drop"] {
        let mut client = Client::connect(addr, path);
        client.say(&["+small"]);
        client.expect(&["small !current"]);
        client.say(&["+large"]);
        let Ok(Theirs::Close(Some(close))) = client.0.read() else {
            panic!("not closed");
        };
        assert_eq!(close.code, CloseCode::Again);
        assert_eq!(&*close.reason, "try again later");
    }
    server.stop();
    ended(server);
}

/// 500 WebSockets come back at once, from ten positions.
#[test]
fn a_storm_of_websockets_costs_one_read_for_each_position() {
    let (hub, log) = (Hub::new(), LateLog::default());
    let app = App::new(&hub, log.clone(), HistoryLimits::default());
    let (server, addr) = serve(&app, &hub, workers(2));
    for n in 1..=20 {
        app.history.publish("t", n.to_string()).expect("room");
    }
    let (give, given) = std::sync::mpsc::channel();
    let done = Box::new(move |read| drop(give.send(read)));
    log.0.since("t", Start::Now, 0, done);
    let read = given.try_recv().expect("at once").expect("in memory");
    let Read::Recovered { last, .. } = read else {
        panic!("{read:?}");
    };
    let mut clients: Vec<_> = (0..500).map(|_| Client::connect(addr, "/")).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        let seen = Position {
            offset: 11 + n as u64 % 10,
            ..last
        };
        // The answer comes when the subscription waits.
        client.say(&[&format!("=t {seen}"), "?"]);
        client.expect(&["1"]);
    }
    app.history.publish("t", "while they wait").expect("room");
    let mut reads = 0;
    loop {
        match log.answer() {
            0 => break,
            more => reads += more,
        }
    }
    assert!((1..=10).contains(&reads), "{reads}");
    for (n, client) in clients.iter_mut().enumerate() {
        let missed = (12 + n % 10..=20).map(|n| format!("t {n}"));
        let mut wanted: Vec<_> = missed.collect();
        wanted.extend(["t while they wait".to_owned(), "t !current".to_owned()]);
        let got: Vec<_> = wanted
            .iter()
            .map(|_| client.0.read().expect("a message").to_string())
            .collect();
        assert_eq!(got, wanted);
    }
    server.stop();
    ended(server);
}
