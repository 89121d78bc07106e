//! A broker that behaves: topics, messages, numbers, order, stop.

use super::peer::{PATIENCE, Page, Peer, Process, wait_until};
use peregrine::Server;
use peregrine::body::SendError;
use peregrine::relay::{RelayMessage, RelayOrder, Relayed};
use peregrine_broker::Envelope;
use std::time::Duration;

#[test]
fn all_topics_are_subscribed_before_it_is_connected() {
    let peer = Peer::new();
    let process = Process::new(peer.settings());
    let app = process.app();
    let mut page = Page::new(&app, "/?a&b");
    process.connect();
    let mut accepted = peer.accept();
    accepted.log_in(&["a", "b"]);
    assert!(!process.watch.is_connected() && !process.relay.is_ready());
    // It serves its own pages meanwhile.
    assert_eq!(process.hub.publish("a", "early"), Ok(1));
    page.expect(&["early"]);
    accepted.say("PONG\n");
    process.told("Connected");
    assert!(process.watch.is_connected() && process.relay.is_ready());
    assert_eq!(process.watch.connections(), 1);
    accepted.published("a", 1, "data: early");
    assert_eq!(process.hub.broadcast("late"), Ok(1));
    accepted.published("*", 1, "data: late");
    page.expect(&["late"]);
    let counted = process.relay.counters();
    assert_eq!((counted.relay_published, counted.relay_dropped), (2, 0));
}

#[test]
fn topics_are_subscribed_and_left_while_messages_flow() {
    let peer = Peer::new();
    let process = Process::start(peer.settings());
    let app = process.app();
    let mut accepted = peer.online(&[]);
    process.told("Connected");
    let mut page = Page::new(&app, "/?a");
    // Handled in the order of what this broker sees.
    accepted.expect("SUB a");
    for n in 1..=1000 {
        accepted.event("a", 7, n, &n.to_string());
    }
    let second = Page::new(&app, "/?b&a");
    accepted.expect("SUB b");
    let texts: Vec<_> = (1..=1000).map(|n| n.to_string()).collect();
    page.expect(&texts.iter().map(String::as_str).collect::<Vec<_>>());
    drop(second);
    accepted.expect("UNSUB b");
    // It was on its way: no page gets it, and it is no gap.
    accepted.event("b", 7, 1, "late");
    accepted.event("a", 7, 1001, "end");
    page.expect(&["end"]);
    let counted = process.relay.counters();
    assert_eq!((counted.relay_received, counted.relay_lost), (1001, 0));
}

#[test]
fn gaps_are_counted_and_told() {
    let peer = Peer::new();
    let process = Process::new(peer.settings());
    let app = process.app();
    let mut page = Page::new(&app, "/?a");
    process.connect();
    let mut accepted = peer.online(&["a"]);
    process.told("Connected");
    for number in [5, 6, 9] {
        accepted.event("a", 7, number, "x");
    }
    accepted.event("*", 7, 1, "x");
    accepted.event("*", 7, 3, "x");
    page.expect(&["x"; 5]);
    process.told("lost 2 of Some(\"a\")");
    process.told("lost 1 of None");
    // Not an envelope.
    accepted.say("MSG a 3\nabc");
    accepted.event("a", 7, 10, "end");
    page.expect(&["end"]);
    assert_eq!(process.relay.counters().relay_lost, 4);
}

#[test]
fn own_messages_are_dropped_or_awaited() {
    for order in [RelayOrder::Local, RelayOrder::Broker] {
        let peer = Peer::new();
        let mut settings = peer.settings();
        settings.order = order;
        let process = Process::new(settings);
        let app = process.app();
        let mut page = Page::new(&app, "/?a");
        process.connect();
        let early = process.hub.publish("a", "early");
        let mut accepted = peer.online(&["a"]);
        process.told("Connected");
        match order {
            // Nothing could come back, so it was delivered at once.
            RelayOrder::Broker => assert_eq!(early, refused(1, Relayed::Down)),
            _ => accepted.published("a", 1, "data: early"),
        }
        page.expect(&["early"]);
        let sent = process.hub.publish("a", "mine");
        assert_eq!(sent, Ok(if order == RelayOrder::Local { 1 } else { 0 }));
        let (_, number, _) = accepted.try_published().expect("a message");
        accepted.event("a", 7, 1, "theirs");
        accepted.event("a", process.node, number, "mine");
        accepted.event("a", 7, 2, "end");
        page.expect(match order {
            RelayOrder::Broker => &["theirs", "mine", "end"],
            _ => &["mine", "theirs", "end"],
        });
    }
}

/// It is delivered here at once, so nothing is missing here. It is for the others.
#[test]
fn a_refused_message_is_no_gap_in_its_own_process() {
    let peer = Peer::new();
    let mut settings = peer.settings();
    settings.order = RelayOrder::Broker;
    settings.queue_bytes = 1000;
    let process = Process::new(settings);
    let app = process.app();
    let mut page = Page::new(&app, "/?a");
    process.connect();
    let down = process.hub.publish("a", "down");
    assert_eq!(down, refused(1, Relayed::Down));
    let mut accepted = peer.online(&["a"]);
    process.told("Connected");
    let mut comes_back = |number: u64, text: &str| {
        assert_eq!(process.hub.publish("a", text), Ok(0));
        accepted.published("a", number, &format!("data: {text}"));
        accepted.event("a", process.node, number, text);
    };
    comes_back(2, "first");
    page.expect(&["down", "first"]);
    let large = "x".repeat(1000);
    let full = process.hub.publish("a", &*large);
    assert_eq!(full, refused(1, Relayed::Full));
    comes_back(4, "second");
    page.expect(&[&*large, "second"]);
    assert_eq!(process.relay.counters().relay_lost, 0);
    assert!(process.events.try_recv().is_err());
    accepted.event("a", 7, 1, "x");
    accepted.event("a", 7, 3, "x");
    process.told("lost 1 of Some(\"a\")");
}

fn refused(pages: usize, why: Relayed) -> Result<usize, SendError> {
    Err(SendError::NotRelayed { pages, why })
}

#[test]
fn what_is_too_large_is_refused() {
    let peer = Peer::new();
    let process = Process::start(peer.settings());
    let mut accepted = peer.accept();
    accepted.expect("LOGIN");
    accepted.say("MOST 50\nOK\n");
    accepted.expect("SUB *");
    accepted.expect("PING");
    accepted.say("PONG\n");
    process.told("Connected");
    // "data: " and two line ends, and 26 bytes before.
    let text = |len: usize| "x".repeat(len - 8 - 26);
    let refused = refused(0, Relayed::TooLarge);
    assert_eq!(process.hub.publish("a", &*text(51)), refused);
    assert_eq!(process.hub.publish("a", &*text(50)), Ok(0));
    let topic = "t".repeat(50);
    assert_eq!(process.hub.publish(&topic, "x"), refused);
    accepted.published("a", 1, &format!("data: {}", text(50)));
    assert_eq!(process.relay.counters().relay_dropped, 2);
}

#[test]
fn the_largest_message_that_is_sent_can_be_received() {
    let peer = Peer::new();
    let mut settings = peer.settings();
    settings.message_bytes = 1000;
    let process = Process::new(settings);
    let app = process.app();
    let mut page = Page::new(&app, "/?a");
    process.connect();
    let mut accepted = peer.online(&["a"]);
    process.told("Connected");
    // "data: " and two line ends, and 26 bytes before.
    let text = |len: usize| "x".repeat(len - 8 - 26);
    let _ = process.hub.publish("a", &*text(1001));
    assert_eq!(process.relay.counters().relay_dropped, 1);
    page.expect(&[&text(1001)]);
    assert_eq!(process.hub.publish("a", &*text(1000)), Ok(1));
    accepted.published("a", 1, &format!("data: {}", text(1000)));
    page.expect(&[&text(1000)]);
    // Its command does not count. What is published then shows that all but the last byte was read.
    let zeros = "0".repeat(10_000);
    let line = format!("data: {}\n\n", text(1000));
    let head = Envelope::head(&RelayMessage::event(line.as_bytes()), 7, 1);
    accepted.say(&format!("MSG a {zeros}1000\n"));
    accepted.bytes(&head);
    accepted.say(&line[..line.len() - 1]);
    assert_eq!(process.hub.publish("a", "seen"), Ok(1));
    accepted.published("a", 2, "data: seen");
    accepted.say("\n");
    page.expect(&["seen", &text(1000)]);
}

#[test]
fn a_stop_sends_what_is_queued() {
    for answers in [true, false] {
        let peer = Peer::new();
        let mut settings = peer.settings();
        settings.stop_timeout = match answers {
            true => PATIENCE,
            false => Duration::from_millis(50),
        };
        let process = Process::start(settings);
        let server = Server::from_fn(|_, res| res.text("")).relay(&process.relay);
        let server = server.bind("127.0.0.1:0").start().expect("a server");
        let mut accepted = peer.online(&[]);
        process.told("Connected");
        let thread = std::thread::spawn(move || {
            accepted.answers = answers;
            for n in 1..=1000 {
                accepted.published("a", n, &format!("data: {n}"));
            }
            // The PING of the end is answered, or not.
            assert_eq!(accepted.try_published(), None);
        });
        for n in 1..=1000 {
            assert_eq!(process.hub.publish("a", n.to_string()), Ok(0));
        }
        server.stop();
        server.wait().expect("a good end");
        let unconfirmed = process.relay.counters().relay_unconfirmed;
        match answers {
            true => assert_eq!(unconfirmed, 0),
            false => wait_until("all are counted", || {
                process.relay.counters().relay_unconfirmed == 1000
            }),
        }
        wait_until("the end", || !process.watch.is_connected());
        thread.join().expect("no panic");
        // Nothing sends it any more, and the publisher hears of it.
        let before = process.relay.counters();
        let _ = process.hub.publish("a", "late");
        let counted = process.relay.counters();
        assert_eq!(counted.relay_published, before.relay_published);
        assert_eq!(counted.relay_dropped, before.relay_dropped + 1);
    }
}
