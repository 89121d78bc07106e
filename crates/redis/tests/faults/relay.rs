//! Faults of relays that were found once.

use super::MS;
use crate::support::{Gate, Relayed, SILENCE, Server, config, page, wait_until};
use peregrine::relay::{RelayHandle, RelayOrder};
use peregrine::sse::EventHub;
use peregrine_redis::{Config, Event, Redis};
use std::sync::Arc;

/// What a process has missed while it was cut off, it counts by the gaps in the numbers.
#[test]
fn messages_of_a_relay_that_did_not_arrive_are_counted() {
    let server = Server::start();
    let gate = Gate::to(server.addr());
    let away = Config::new(&gate.addr()).backoff(MS, 5 * MS);
    let away = Relayed::connect(away.ping_interval(SILENCE));
    let node = Relayed::connect(config(&server));
    let app = away.app();
    let mut page = page(&app, "t", None);
    wait_until("connected", || {
        away.relay.is_ready() && node.relay.is_ready()
    });
    node.reaches("t", &mut page);
    let publish = |text: &str| assert_eq!(node.hub.publish("t", text), Ok(0));
    publish("100");
    page.wait_until(|lines| lines.contains(&"100".to_owned()));
    assert_eq!(away.relay.counters().relay_lost, 0);
    gate.hold(true);
    wait_until("not connected", || !away.relay.is_ready());
    let before = server.calls("publish");
    (0..5).for_each(|_| publish("200"));
    wait_until("Redis has them", || server.calls("publish") == before + 5);
    // The others know of what this process could not send, too.
    assert!(away.hub.publish("t", "300").is_err());
    gate.hold(false);
    wait_until("connected", || away.relay.is_ready());
    publish("400");
    page.wait_until(|lines| lines.contains(&"400".to_owned()));
    assert!(!page.lines.contains(&"200".to_owned()));
    assert_eq!(away.relay.counters().relay_lost, 5);
}

#[test]
fn a_message_that_a_relay_refuses_is_counted_once() {
    let server = Server::start();
    let gate = Gate::to(server.addr());
    let node = Relayed::connect(Config::new(&gate.addr()).queue_bytes(10_000));
    wait_until("connected", || node.relay.is_ready());
    gate.hold(true);
    while node.hub.publish("t", "x".repeat(1000)).is_ok() {}
    let counted = node.relay.counters();
    assert_eq!((counted.relay_dropped, counted.relay_unconfirmed), (1, 0));
}

/// A program can say to its pages what it counts.
#[test]
fn a_relay_tells_what_happens_to_it() {
    for version_2 in [false, true] {
        let server = match version_2 {
            true => Server::version_2(&[]),
            false => Server::start(),
        };
        let gate = Gate::to(server.addr());
        let away = Config::new(&gate.addr()).backoff(MS, 5 * MS);
        let away = Relayed::connect(away.connect_timeout(1000 * MS));
        away.told("Connected");
        assert!(away.relay.is_ready());
        let node = Relayed::connect(config(&server));
        node.told("Connected");
        let app = away.app();
        let mut page = page(&app, "t", None);
        node.reaches("t", &mut page);
        assert_eq!(node.hub.broadcast("100"), Ok(0));
        page.wait_until(|lines| lines.contains(&"100".to_owned()));
        gate.hold(true);
        gate.break_all();
        away.told("Disconnected");
        assert!(!away.relay.is_ready());
        let before = server.calls("publish");
        for _ in 0..3 {
            assert_eq!(node.hub.publish("t", "200"), Ok(0));
        }
        assert_eq!(node.hub.broadcast("200"), Ok(0));
        wait_until("Redis has them", || server.calls("publish") == before + 4);
        gate.hold(false);
        away.told("Connected");
        assert!(away.relay.is_ready());
        assert_eq!(node.hub.publish("t", "300"), Ok(0));
        away.told("lost 3 of Some(\"t\")");
        assert_eq!(node.hub.broadcast("400"), Ok(0));
        away.told("lost 1 of None");
        page.wait_until(|lines| lines.contains(&"400".to_owned()));
        assert_eq!(away.relay.counters().relay_lost, 4);
        assert!(away.is_told_nothing() && node.is_told_nothing());
    }
}

/// It is delivered here at once, so nothing is missing here. It is for the others.
#[test]
fn a_refused_message_is_no_gap_in_its_own_process() {
    for order in [RelayOrder::Broker, RelayOrder::Local] {
        let server = Server::start();
        let gate = Gate::to(server.addr());
        let small = Config::new(&gate.addr()).queue_bytes(10_000);
        let small = small.connect_timeout(1000 * MS).backoff(MS, 5 * MS);
        let node = Relayed::ordered(small, order);
        let other = Relayed::connect(config(&server));
        node.told("Connected");
        other.told("Connected");
        let apps = [node.app(), other.app()];
        let [mut here, mut there] = apps.each_ref().map(|app| page(app, "t", None));
        other.reaches("t", &mut here);
        node.reaches("t", &mut there);
        let mut come = |texts: &[&str], text: &str| {
            assert!(node.hub.publish("t", text).is_ok());
            here.wait_until(|lines| lines.contains(&text.to_owned()));
            there.wait_until(|lines| lines.contains(&text.to_owned()));
            let all = texts
                .iter()
                .all(|text| here.lines.contains(&(*text).to_owned()));
            assert!(all, "{texts:?}");
        };
        let large = "x".repeat(10_000);
        assert!(node.hub.publish("t", &*large).is_err());
        come(&[&*large], "100");
        other.told("lost 1 of Some(\"t\")");
        gate.hold(true);
        gate.break_all();
        node.told("Disconnected");
        assert!(node.hub.publish("t", "down").is_err());
        gate.hold(false);
        node.told("Connected");
        come(&["down"], "200");
        other.told("lost 1 of Some(\"t\")");
        assert_eq!(node.relay.counters().relay_lost, 0);
        assert!(node.is_told_nothing());
    }
}

/// The connection may serve a history for long before a relay starts.
#[test]
fn a_relay_that_starts_late_is_told_of_its_connection() {
    let server = Server::start();
    let redis = Redis::connect(config(&server)).expect("a thread");
    wait_until("connected", || redis.is_connected());
    let node = Relayed::over(&redis, RelayOrder::Local);
    node.told("Connected");
    assert_eq!(redis.connections(), 1);
}

/// The history and the presence of the same connection go on.
#[test]
fn a_panic_of_the_program_ends_the_relay_only() {
    let server = Server::start();
    for at in [Event::Connected, Event::Disconnected] {
        let redis = Redis::connect(config(&server)).expect("a thread");
        let (wanted, relay) = (format!("{at:?}"), redis.relay().expect("the first one"));
        let relay = relay.on_event(move |event| {
            assert_ne!(format!("{event:?}"), wanted, "of the program");
        });
        let (relay, hub) = (RelayHandle::new(relay), EventHub::new());
        hub.set_relay(&relay).expect("the first one");
        if at == Event::Disconnected {
            wait_until("connected", || relay.is_ready());
            server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        }
        wait_until("it has ended", || {
            let error = redis.last_error();
            error.is_some_and(|error| error.contains("panic"))
        });
        wait_until("connected", || redis.is_connected());
        assert!(!relay.is_ready());
        assert!(hub.publish("t", "late").is_err());
        assert_eq!(relay.counters().relay_dropped, 1);
    }
}

/// The function of `on_event` may have captured the hub, which has the relay.
#[test]
fn a_relay_that_has_stopped_keeps_nothing() {
    let server = Server::start();
    let redis = Redis::connect(config(&server)).expect("a thread");
    let (hub, captured) = (EventHub::new(), Arc::new(()));
    let (pages, weak) = (hub.clone(), Arc::downgrade(&captured));
    let relay = redis.relay().expect("the first one").on_event(move |_| {
        let _ = (&pages, &captured);
    });
    let relay = RelayHandle::new(relay);
    hub.set_relay(&relay).expect("the first one");
    let running = peregrine::Server::from_fn(|_, res| res.text("")).relay(&relay);
    let running = running.bind("127.0.0.1:0").start().expect("a server");
    running.stop();
    running.wait().expect("a good end");
    assert!(weak.upgrade().is_none());
    drop((hub, relay, redis));
    wait_until("no connection", || {
        let clients = server.command(&["CLIENT", "LIST"]);
        clients
            .lines()
            .filter(|line| line.starts_with("id="))
            .count()
            == 1
    });
}
