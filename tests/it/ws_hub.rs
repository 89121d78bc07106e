//! What a `Hub` promises while a WebSocket thread is busy, or ends.

use super::support::{OnOwnAddr, PATIENCE, Stream, ended, wait_until, workers};
use peregrine::server::Running;
use peregrine::ws::{
    BacklogPolicy, Disconnect, Hub, Message, Sent, Upgrade, WebSocketHandler, Ws, WsId, WsLimits,
};
use peregrine::{Done, Handler, Request, Response, Server};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex};
use tungstenite::{Message as Theirs, WebSocket};

/// Something that a hook waits for.
#[derive(Default)]
struct Gate {
    /// Whether a thread waits, and whether the gate is open.
    state: Mutex<(bool, bool)>,
    changed: Condvar,
}

impl Gate {
    fn pass(&self) {
        let mut state = self.state.lock().expect("no panic");
        state.0 = true;
        self.changed.notify_all();
        let open = self.changed.wait_timeout_while(state, PATIENCE, |s| !s.1);
        assert!(!open.expect("no panic").1.timed_out());
    }

    fn wait(&self) {
        let state = self.state.lock().expect("no panic");
        let met = self.changed.wait_timeout_while(state, PATIENCE, |s| !s.0);
        assert!(!met.expect("no panic").1.timed_out());
    }

    fn open(&self) {
        self.state.lock().expect("no panic").1 = true;
        self.changed.notify_all();
    }
}

/// A connection has the topic that its path names; `/drop/…` may miss messages.
#[derive(Default)]
struct App {
    ids: Mutex<HashMap<String, WsId>>,
    /// A client that sends "wait" blocks its thread here.
    busy: Gate,
    /// The end of `/last` does.
    ending: Gate,
}

impl Handler for App {
    fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
        res.body("")
    }
}

impl WebSocketHandler for App {
    type Conn = String;

    fn accept_ws(&self, req: &Request<'_>, upgrade: &mut Upgrade<'_>) -> Option<String> {
        if req.path().starts_with("/drop/") {
            upgrade.limits(WsLimits::default().backlog_policy(BacklogPolicy::DropNewest));
        }
        Some(req.path().to_owned())
    }

    fn handle_ws_conn(&self, ws: &mut Ws<'_, String>) {
        let topic = ws.conn.rsplit('/').next().unwrap_or_default().to_owned();
        assert!(ws.subscribe(&topic).is_ok());
        let mut ids = self.ids.lock().expect("no panic");
        ids.insert(ws.conn.clone(), ws.id());
    }

    fn handle_ws_frame(&self, _: &mut Ws<'_, String>, _: Message<'_>) {
        self.busy.pass();
    }

    fn handle_ws_disconn(&self, ws: &mut Ws<'_, String>, _: &Disconnect) {
        if ws.conn == "/last" {
            self.ending.pass();
        }
    }
}

struct Bench {
    app: Arc<App>,
    hub: Hub,
    server: Running,
    addr: SocketAddr,
}

type Client = WebSocket<Stream>;

impl Bench {
    fn new(mailbox_bytes: usize, backlog_bytes: usize) -> Bench {
        let app = Arc::<App>::default();
        let config = workers(1)
            .ws_threads(1)
            .ws_mailbox_bytes(mailbox_bytes)
            .ws_limits(WsLimits::default().backlog_bytes(backlog_bytes));
        let server = Server::new(app.clone()).websocket().config(config);
        let hub = server.hub();
        let server = server.on_own_addr().start().expect("a server");
        let addr = server.local_addr().expect("a TCP address");
        Bench {
            app,
            hub,
            server,
            addr,
        }
    }

    fn connect(&self, path: &str) -> (Client, WsId) {
        let stream = Stream::connect(self.addr).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let url = format!("ws://{}{path}", self.addr);
        let (client, _) = tungstenite::client(url, stream).expect("a handshake");
        let id = || self.app.ids.lock().expect("no panic").get(path).copied();
        wait_until("it is open", || id().is_some());
        (client, id().expect("just seen"))
    }

    /// A client that holds up the thread, until the gate is opened.
    fn hold(&self) -> Client {
        let (mut client, _) = self.connect("/holder");
        client.send(Theirs::text("wait")).expect("sent");
        self.app.busy.wait();
        client
    }
}

/// What comes until the connection ends, or `last`.
fn received(client: &mut Client, last: &str) -> Vec<String> {
    let mut all = Vec::new();
    while let Ok(message) = client.read() {
        let text = message.to_string();
        if text == last {
            break;
        }
        all.push(text);
    }
    all
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{n:010}")).collect()
}

/// Posts numbered messages until no more fit. Returns how many fitted.
fn fill(post: impl Fn(String) -> Sent) -> usize {
    let mut posted = 0;
    while post(format!("{posted:010}")) == Sent::Queued {
        posted += 1;
    }
    posted
}

#[test]
fn a_message_without_room_in_the_mailbox_ends_its_connection() {
    let bench = Bench::new(1000, 2 << 20);
    let (mut client, id) = bench.connect("/a");
    let (mut loses, may_lose) = bench.connect("/drop/b");
    let mut holder = bench.hold();
    let count = fill(|text| bench.hub.send(id, text.as_str()));
    assert_eq!(count, 1000 / (64 + 12));
    assert_eq!(bench.hub.send(may_lose, "lost"), Sent::Full);
    assert_eq!(bench.hub.send(id, "behind the gap"), Sent::Closed);
    assert!(!bench.hub.is_open(id) && bench.hub.is_open(may_lose));
    bench.app.busy.open();
    // The reset may overtake some of them, but nothing is missing between two.
    let got = received(&mut client, "");
    assert!(numbers(count).starts_with(&got), "{got:?}");
    wait_until("both are counted", || {
        bench.server.counters().ws_dropped == 2
    });
    let sent = || bench.hub.send(may_lose, "later");
    wait_until("there is room", || sent() == Sent::Queued);
    assert_eq!(received(&mut loses, "later"), Vec::<String>::new());
    assert!(holder.close(None).is_ok());
}

#[test]
fn a_backlog_ends_its_connection_while_the_mailbox_is_full() {
    let bench = Bench::new(640, 600);
    let (mut client, id) = bench.connect("/a");
    let holder = bench.hold();
    while bench.hub.unsubscribe(id, "").is_queued() {}
    let large = "x".repeat(600);
    assert_eq!(bench.hub.send(id, large.as_str()), Sent::Full);
    assert_eq!(bench.hub.send(id, "small"), Sent::Closed);
    bench.app.busy.open();
    assert_eq!(received(&mut client, ""), Vec::<String>::new());
    wait_until("it is counted", || bench.server.counters().ws_dropped == 1);
    drop(holder);
}

#[test]
fn a_publication_without_room_ends_the_subscribers_that_miss_it() {
    for all in [false, true] {
        let bench = Bench::new(1000, 2 << 20);
        let (mut client, id) = bench.connect("/room");
        let (mut drops, _) = bench.connect("/drop/room");
        let (mut other, elsewhere) = bench.connect("/other");
        let holder = bench.hold();
        let publish = |text: String| match all {
            false => bench.hub.publish("room", text.as_str()),
            true => bench.hub.broadcast(text.as_str()),
        };
        let count = fill(publish);
        assert!(count > 10);
        bench.app.busy.open();
        let got = received(&mut client, "");
        assert!(numbers(count).starts_with(&got), "{got:?}");
        wait_until("it is gone", || !bench.hub.is_open(id));
        wait_until("it is counted", || bench.server.counters().ws_dropped == 1);
        // Another topic misses nothing, and a connection that may miss messages stays open.
        assert_eq!(bench.hub.is_open(elsewhere), !all);
        assert_eq!(bench.hub.publish("room", "later"), Sent::Queued);
        assert_eq!(received(&mut drops, "later"), numbers(count));
        if !all {
            assert_eq!(bench.hub.publish("other", "later"), Sent::Queued);
            assert_eq!(received(&mut other, "later"), Vec::<String>::new());
        }
        drop(holder);
    }
}

/// The thread hears of both at the place of the second, behind the subscription.
#[test]
fn a_subscriber_between_two_missed_messages_has_missed_the_second() {
    let bench = Bench::new(4096, 1 << 20);
    let (mut late, id) = bench.connect("/late");
    let (mut other, _) = bench.connect("/other");
    let _holder = bench.hold();
    let large = "x".repeat(8192);
    assert_eq!(bench.hub.publish("first", large.as_str()), Sent::Full);
    assert_eq!(bench.hub.subscribe(id, "second"), Sent::Queued);
    assert_eq!(bench.hub.publish("second", large.as_str()), Sent::Full);
    bench.app.busy.open();
    wait_until("it is closed", || !bench.hub.is_open(id));
    assert_eq!(received(&mut late, ""), Vec::<String>::new());
    assert_eq!(bench.hub.publish("other", "last"), Sent::Queued);
    assert_eq!(received(&mut other, "last"), Vec::<String>::new());
}

#[test]
fn nothing_is_queued_for_a_thread_that_ends() {
    let bench = Bench::new(16 << 20, 2 << 20);
    let (client, id) = bench.connect("/last");
    bench.server.stopper().stop_now();
    bench.app.ending.wait();
    assert_eq!(bench.hub.publish("last", "x"), Sent::Closed);
    assert_eq!(bench.hub.broadcast("x"), Sent::Closed);
    assert_eq!(bench.hub.send(id, "x"), Sent::Closed);
    bench.app.ending.open();
    ended(bench.server);
    drop(client);
}
