//! Relays: what they hear of messages and topics, what publishers hear of them, and which order subscribers see.

use super::support::{Asked, Client, NEVER, ended, start, wait_until, workers};
use peregrine::body::SendError;
use peregrine::metrics::Stats;
use peregrine::relay::{
    Local, Relay, RelayError, RelayHandle, RelayKind, RelayMessage, RelayOrder, Relayed,
};
use peregrine::server::Health;
use peregrine::sse::EventHub;
use peregrine::testing::Connection;
use peregrine::{Config, Server, from_fn};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A broker of one process: it keeps what it gets, and sends nothing by itself.
#[derive(Clone)]
pub(crate) struct Broker(Arc<Inner>);

struct Inner {
    seen: Mutex<Vec<String>>,
    local: Mutex<Option<Local>>,
    verdict: Mutex<Relayed>,
    order: RelayOrder,
    is_ready: AtomicBool,
}

impl Broker {
    pub(crate) fn new(order: RelayOrder) -> Broker {
        Broker(Arc::new(Inner {
            seen: Mutex::default(),
            local: Mutex::default(),
            verdict: Mutex::new(Relayed::Queued),
            order,
            is_ready: AtomicBool::new(true),
        }))
    }

    fn see(&self, what: String) {
        self.0.seen.lock().expect("no panic").push(what);
    }

    #[track_caller]
    pub(crate) fn expect(&self, wanted: &[&str]) {
        wait_until(&format!("{wanted:?}, not {:?}", self.0.seen.lock()), || {
            self.0.seen.lock().expect("no panic").len() >= wanted.len()
        });
        let seen = std::mem::take(&mut *self.0.seen.lock().expect("no panic"));
        assert_eq!(seen, wanted);
    }

    pub(crate) fn answer(&self, verdict: Relayed) {
        *self.0.verdict.lock().expect("no panic") = verdict;
    }

    pub(crate) fn local(&self) -> Local {
        let local = self.0.local.lock().expect("no panic").clone();
        local.expect("it has started")
    }
}

impl Relay for Broker {
    fn publish(&self, topic: Option<&str>, message: RelayMessage<'_>) -> Relayed {
        let text = String::from_utf8_lossy(message.bytes());
        let except = match message.except() {
            Some(_) => " except one",
            None => "",
        };
        self.see(format!("{:?} {topic:?} {text:?}{except}", message.kind()));
        *self.0.verdict.lock().expect("no panic")
    }

    fn subscribed(&self, topic: &str) {
        self.see(format!("+{topic}"));
    }

    fn unsubscribed(&self, topic: &str) {
        self.see(format!("-{topic}"));
    }

    fn started(&self, local: Local) {
        self.see("started".to_owned());
        *self.0.local.lock().expect("no panic") = Some(local);
    }

    fn stopping(&self) {
        self.see("stopping".to_owned());
    }

    fn stopped(&self) {
        self.see("stopped".to_owned());
    }

    fn is_ready(&self) -> bool {
        self.0.is_ready.load(Ordering::SeqCst)
    }

    fn order(&self) -> RelayOrder {
        self.0.order
    }

    fn max_message(&self) -> Option<usize> {
        Some(40)
    }
}

/// A page that has subscribed to the topics of its query.
fn subscribe<'a, H: peregrine::Handler>(app: &'a H, target: &str) -> Connection<'a, H> {
    let mut page = Connection::new(app);
    page.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
    page
}

fn app(hub: &EventHub) -> impl peregrine::Handler + use<> {
    let hub = hub.clone();
    from_fn(move |req, res| {
        let (done, page) = res.events();
        let topics: Vec<_> = req.query_pairs().map(|(name, _)| name).collect();
        let _ = hub.subscribe(page, topics);
        done
    })
}

/// The data of the events that a page has got since the last look.
fn data<H: peregrine::Handler>(page: &mut Connection<'_, H>) -> Vec<String> {
    page.wait(Duration::ZERO);
    let received = String::from_utf8(page.take_received()).expect("text");
    let lines = received.lines();
    let data = lines.filter_map(|line| line.strip_prefix("data: "));
    data.map(str::to_owned).collect()
}

#[test]
fn events_are_relayed_and_topics_are_told() {
    let (broker, hub) = (Broker::new(RelayOrder::Local), EventHub::new());
    let relay = RelayHandle::with_linger(broker.clone(), Duration::ZERO);
    let app = app(&hub);
    let early = subscribe(&app, "/?early");
    assert_eq!(hub.set_relay(&relay), Ok(()));
    assert_eq!(hub.set_relay(&relay), Err(RelayError::AlreadySet));
    broker.expect(&["+early", "started"]);
    let mut first = subscribe(&app, "/?a&b");
    let second = subscribe(&app, "/?a");
    broker.expect(&["+a", "+b"]);
    assert_eq!(hub.publish("a", "1"), Ok(2));
    assert_eq!(hub.broadcast("2"), Ok(3));
    broker.expect(&[
        r#"Event Some("a") "data: 1\n\n""#,
        r#"Event None "data: 2\n\n""#,
    ]);
    // What comes from others is not relayed again.
    let local = broker.local();
    local.deliver(Some("b"), RelayMessage::event(b"data: 3\n\n"));
    local.deliver(None, RelayMessage::event(b"data: 4\n\n"));
    local.deliver(Some("b"), RelayMessage::text("not for pages"));
    assert_eq!(data(&mut first), ["1", "2", "3", "4"]);
    // Malformed.
    local.deliver(Some("b"), RelayMessage::event(b"data: 5\n"));
    local.deliver(None, RelayMessage::event(b"data: \xff\n\n"));
    local.deliver(None, RelayMessage::new(RelayKind::Text, b"\xff"));
    assert_eq!(data(&mut first), [""; 0]);
    let counted = relay.counters();
    assert_eq!((counted.relay_received, counted.relay_lost), (3, 3));
    drop(first);
    broker.expect(&["-b"]);
    drop(second);
    broker.expect(&["-a"]);
    drop(early);
    broker.expect(&["-early"]);
    let last = subscribe(&app, "/?a");
    broker.expect(&["+a"]);
    // The hub goes with its pages.
    drop((last, hub));
    drop(app);
    broker.expect(&["-a"]);
}

#[test]
fn publishers_hear_what_the_relay_drops() {
    let (broker, hub) = (Broker::new(RelayOrder::Local), EventHub::new());
    let relay = RelayHandle::new(broker.clone());
    assert_eq!(hub.set_relay(&relay), Ok(()));
    let app = app(&hub);
    let mut page = subscribe(&app, "/?a");
    for verdict in [Relayed::Full, Relayed::TooLarge, Relayed::Down] {
        broker.answer(verdict);
        let refused = SendError::NotRelayed {
            pages: 1,
            why: verdict,
        };
        assert_eq!(hub.publish("a", "kept here"), Err(refused));
        assert_eq!(hub.broadcast("to all"), Err(refused));
    }
    broker.answer(Relayed::Queued);
    // The relay is not asked.
    let large = "x".repeat(40);
    let refused = SendError::NotRelayed {
        pages: 1,
        why: Relayed::TooLarge,
    };
    assert_eq!(hub.publish("a", &*large), Err(refused));
    assert_eq!(hub.publish("a", "all"), Ok(1));
    let kept = [["kept here", "to all"]; 3].concat();
    assert_eq!(data(&mut page), [&kept[..], &[&*large, "all"]].concat());
    let counted = relay.counters();
    assert_eq!((counted.relay_published, counted.relay_dropped), (1, 7));
    let local = broker.local();
    local.count_lost(2);
    local.count_dropped(3);
    local.count_unconfirmed(4);
    let counted = relay.counters();
    let counts = (
        counted.relay_lost,
        counted.relay_dropped,
        counted.relay_unconfirmed,
    );
    assert_eq!(counts, (2, 10, 4));
}

#[test]
fn events_in_the_order_of_the_broker_come_back() {
    let (broker, hub) = (Broker::new(RelayOrder::Broker), EventHub::new());
    assert_eq!(hub.set_relay(&RelayHandle::new(broker.clone())), Ok(()));
    let app = app(&hub);
    let mut page = subscribe(&app, "/?a");
    assert_eq!(hub.publish("a", "mine"), Ok(0));
    assert_eq!(data(&mut page), [""; 0]);
    let local = broker.local();
    local.deliver(Some("a"), RelayMessage::event(b"data: theirs\n\n"));
    local.deliver(Some("a"), RelayMessage::event(b"data: mine\n\n"));
    assert_eq!(data(&mut page), ["theirs", "mine"]);
    // What cannot come back is delivered at once.
    broker.answer(Relayed::Down);
    let refused = SendError::NotRelayed {
        pages: 1,
        why: Relayed::Down,
    };
    assert_eq!(hub.publish("a", "alone"), Err(refused));
    assert_eq!(data(&mut page), ["alone"]);
}

#[test]
fn a_server_stops_its_relay_and_shows_its_state() {
    let (broker, health, stats) = (Broker::new(RelayOrder::Local), Health::new(), Stats::new());
    let relay = RelayHandle::new(broker.clone());
    let hubs = [EventHub::new(), EventHub::new()];
    for hub in &hubs {
        assert_eq!(hub.set_relay(&relay), Ok(()));
    }
    broker.expect(&["started"]);
    let server = |workers_of: Config| {
        let server = Server::new(health.clone()).config(workers_of);
        let server = server
            .health(&health)
            .stats(&stats)
            .relay(&relay)
            .relay(&relay);
        server.bind("127.0.0.1:0").start().expect("a server")
    };
    let one = server(workers(1).stop_timeout(NEVER));
    let two = server(workers(1).stop_timeout(NEVER));
    let (running, addr) = start(health.clone(), workers(1));
    let readiness = || {
        let mut client = Client::connect(addr);
        client.send("GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n");
        let answer = client.answer(Asked::Other);
        (answer.status, String::from_utf8(answer.body).expect("text"))
    };
    assert_eq!(readiness().0, 200);
    broker.0.is_ready.store(false, Ordering::SeqCst);
    let why = "{\"status\":\"failing\",\"checks\":{\"relay\":\"not connected to the broker\"}}\n";
    assert_eq!(readiness(), (503, why.to_owned()));
    broker.0.is_ready.store(true, Ordering::SeqCst);
    assert_eq!(readiness().0, 200);
    assert_eq!(hubs[0].publish("a", "1"), Ok(0));
    // Counted once, though two servers have it.
    assert_eq!(stats.counters().relay_published, 1);
    assert!(
        stats
            .prometheus()
            .contains("peregrine_thread_relay_messages_published_total{thread=\"relay-0\"} 1\n")
    );
    broker.expect(&["Event Some(\"a\") \"data: 1\\n\\n\""]);
    one.stop();
    broker.expect(&["stopping"]);
    assert_eq!(ended(one).aborted, 0);
    two.stop();
    two.stop();
    assert_eq!(ended(two).counters.relay_published, 1);
    broker.expect(&["stopping", "stopped"]);
    drop(running);
    // It has stopped for good: nothing is passed on, no check asks it, and no server starts with it.
    broker.0.is_ready.store(false, Ordering::SeqCst);
    let before = relay.counters();
    let refused = SendError::NotRelayed {
        pages: 0,
        why: Relayed::Down,
    };
    assert_eq!(hubs[0].publish("a", "2"), Err(refused));
    let counted = relay.counters();
    assert_eq!(counted.relay_published, before.relay_published);
    assert_eq!(counted.relay_dropped, before.relay_dropped + 1);
    broker.expect(&[]);
    let server = || {
        Server::new(health.clone())
            .config(workers(1))
            .health(&health)
    };
    let refused = server().relay(&relay).bind("127.0.0.1:0").start();
    let error = refused.expect_err("the relay has stopped");
    assert!(error.to_string().contains("relay"), "{error}");
    let later = Broker::new(RelayOrder::Local);
    let next = server().relay(&RelayHandle::new(later.clone()));
    let next = next.bind("127.0.0.1:0").start().expect("a server");
    assert!(health.is_ready());
    later.0.is_ready.store(false, Ordering::SeqCst);
    assert!(!health.is_ready());
    next.stop();
    ended(next);
    later.expect(&["stopping", "stopped"]);
}

#[cfg(feature = "websocket")]
mod websockets {
    use super::*;
    use crate::ws_sockets::{Bench, bench_with, config};
    use peregrine::ws::{Hub, Sent};
    use tungstenite::Message as Theirs;

    fn bench(order: RelayOrder, linger: Duration) -> (Broker, RelayHandle, Bench) {
        let (broker, hub) = (Broker::new(order), Hub::new());
        let relay = RelayHandle::with_linger(broker.clone(), linger);
        assert_eq!(hub.set_relay(&relay), Ok(()));
        assert_eq!(hub.set_relay(&relay), Err(RelayError::AlreadySet));
        broker.expect(&["started"]);
        let bench = bench_with(&hub, config(2));
        assert_eq!(hub.set_relay(&relay), Err(RelayError::Started));
        (broker, relay, bench)
    }

    #[test]
    fn published_messages_are_relayed_and_relayed_ones_are_not() {
        let (broker, relay, bench) = bench(RelayOrder::Local, NEVER);
        let mut client = bench.connect("/room");
        broker.expect(&["+room"]);
        client.send(Theirs::text("publish a")).expect("sent");
        assert_eq!(client.read().expect("a message"), Theirs::text("a"));
        assert_eq!(bench.hub.broadcast(&b"b"[..]), Sent::Queued);
        assert_eq!(bench.hub.deliver(Some("room"), "c"), Sent::Queued);
        let local = broker.local();
        local.deliver(Some("room"), RelayMessage::text("d"));
        local.deliver(Some("room"), RelayMessage::event(b"data: 1\n\n"));
        local.deliver(None, RelayMessage::binary(b"\xff"));
        let all = ["c", "d"].map(Theirs::text);
        assert_eq!(client.read().expect("a message"), Theirs::binary(&b"b"[..]));
        assert_eq!([(); 2].map(|()| client.read().expect("a message")), all);
        assert_eq!(
            client.read().expect("a message"),
            Theirs::binary(&b"\xff"[..])
        );
        broker.expect(&[r#"Text Some("room") "a""#, r#"Binary None "b""#]);
        assert_eq!(relay.counters().relay_received, 3);
    }

    #[test]
    fn topics_are_told_once_for_all_threads() {
        let (broker, relay, bench) = bench(RelayOrder::Local, Duration::ZERO);
        // Each thread gets two of them.
        let mut clients: Vec<_> = (0..4).map(|_| bench.connect("/room")).collect();
        bench.wait_for(4);
        broker.expect(&["+room"]);
        // A page of another hub counts, too.
        let hub = EventHub::new();
        assert_eq!(hub.set_relay(&relay), Ok(()));
        let app = app(&hub);
        let page = subscribe(&app, "/?room&own");
        broker.expect(&["+own"]);
        clients[0].send(Theirs::text("leave room")).expect("sent");
        drop(clients);
        bench.wait_for(0);
        drop(page);
        // In one order or the other.
        wait_until("both are left", || {
            broker.0.seen.lock().expect("no panic").len() == 2
        });
        broker.0.seen.lock().expect("no panic").sort();
        broker.expect(&["-own", "-room"]);
        let stays = bench.connect("/room");
        broker.expect(&["+room"]);
        bench.running.stop();
        drop(stays);
        ended(bench.running);
        // The topics end with the connections, before the relay does.
        wait_until("the end", || {
            broker.0.seen.lock().expect("no panic").len() == 3
        });
        broker.0.seen.lock().expect("no panic").sort();
        broker.expect(&["-room", "stopped", "stopping"]);
    }

    #[test]
    fn publishers_hear_what_the_relay_drops() {
        let (broker, _relay, bench) = bench(RelayOrder::Local, NEVER);
        let mut client = bench.connect("/room");
        broker.expect(&["+room"]);
        broker.answer(Relayed::Full);
        assert_eq!(bench.hub.publish("room", "a"), Sent::Full);
        broker.answer(Relayed::Queued);
        let large = "x".repeat(41);
        assert_eq!(bench.hub.publish("room", &*large), Sent::Full);
        assert_eq!(bench.hub.publish("room", "b"), Sent::Queued);
        for wanted in ["a", &large, "b"] {
            assert_eq!(client.read().expect("a message"), Theirs::text(wanted));
        }
        let counted = bench.running.counters();
        assert_eq!((counted.relay_published, counted.relay_dropped), (1, 2));
    }

    #[test]
    fn messages_in_the_order_of_the_broker_come_back() {
        let (broker, _relay, bench) = bench(RelayOrder::Broker, NEVER);
        let mut own = bench.connect("/room");
        wait_until("the first id is its own", || bench.app.ids().len() == 1);
        let mut other = bench.connect("/room");
        wait_until("both are there", || bench.app.ids().len() == 2);
        broker.expect(&["+room"]);
        own.send(Theirs::text("others mine")).expect("sent");
        broker.expect(&[r#"Text Some("room") "mine" except one"#]);
        let local = broker.local();
        local.deliver(Some("room"), RelayMessage::text("theirs"));
        let id = bench.app.ids()[0].to_u64();
        let mine = RelayMessage::text("mine").with_except(Some(id));
        local.deliver(Some("room"), mine);
        // A number that is no connection of this process.
        local.deliver(None, RelayMessage::text("end").with_except(Some(u64::MAX)));
        let texts = |client: &mut tungstenite::WebSocket<_>, count| {
            let texts = (0..count).map(|_| client.read().expect("a message").to_string());
            texts.collect::<Vec<_>>()
        };
        assert_eq!(texts(&mut own, 2), ["theirs", "end"]);
        assert_eq!(texts(&mut other, 3), ["theirs", "mine", "end"]);
        // What cannot come back is delivered at once, and the publisher hears of it.
        broker.answer(Relayed::Down);
        own.send(Theirs::text("others alone")).expect("sent");
        assert_eq!(texts(&mut other, 1), ["alone"]);
        assert_eq!(bench.hub.publish("room", "both"), Sent::Full);
        assert_eq!(texts(&mut own, 1), ["both"]);
    }
}
