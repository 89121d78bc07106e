//! Brokers that refuse, reset, say nothing, read nothing, or lie; and what the process does meanwhile.

use super::peer::{PATIENCE, Page, Peer, Process, wait_until};
use super::toy::Toy;
use peregrine::body::SendError;
use peregrine::relay::RelayHandle;
use peregrine::sse::EventHub;
use peregrine_broker::{BrokerRelay, Event};
use std::collections::HashSet;
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(100);

#[test]
fn a_broker_that_is_absent_at_the_start_and_refuses() {
    let peer = Peer::new();
    let (addr, settings) = (peer.addr(), peer.settings());
    drop(peer);
    let process = Process::new(settings);
    let app = process.app();
    let mut page = Page::new(&app, "/?a");
    process.connect();
    // Several attempts are refused.
    for _ in 0..3 {
        process.fails_with("refused");
        assert!(!process.relay.is_ready());
        assert_eq!(process.hub.publish("a", "1"), Ok(1));
        page.expect(&["1"]);
    }
    let peer = Peer::on(addr);
    let mut accepted = peer.online(&["a"]);
    process.told("Connected");
    for number in 1..=3 {
        accepted.published("a", number, "data: 1");
    }
}

#[test]
fn after_a_reset_all_topics_are_subscribed_again_and_nothing_is_sent_twice() {
    let peer = Peer::new();
    let process = Process::new(peer.settings());
    let app = process.app();
    let mut page = Page::new(&app, "/?a&b");
    process.connect();
    let (mut seen, mut sent) = (HashSet::new(), 0);
    for round in 1..=5 {
        let mut accepted = peer.online(&["a", "b"]);
        process.told("Connected");
        assert_eq!(process.watch.connections(), round);
        let thread = std::thread::spawn(move || {
            let mut numbers = Vec::new();
            while numbers.len() < 100 {
                let (_, number, _) = accepted.try_published().expect("a message");
                numbers.push(number);
            }
            accepted.reset();
            numbers
        });
        let mut count = 0;
        while !thread.is_finished() || count < 200 {
            assert_eq!(process.hub.publish("a", "1"), Ok(1));
            count += 1;
            page.expect(&["1"]);
        }
        sent += count;
        for number in thread.join().expect("no panic") {
            assert!(seen.insert(number), "{number} came twice");
        }
        process.told("Disconnected");
    }
    let mut accepted = peer.online(&["a", "b"]);
    process.told("Connected");
    assert_eq!(process.hub.publish("b", "end"), Ok(1));
    loop {
        match accepted.try_published().expect("a message") {
            (_, _, text) if text == "data: end" => break,
            (_, number, _) => assert!(seen.insert(number), "{number} came twice"),
        }
    }
    // All that did not come are known.
    let missing = sent - seen.len() as u64;
    let counted = process.relay.counters();
    assert!(
        counted.relay_unconfirmed >= missing,
        "{missing}: {counted:?}"
    );
    assert!(counted.relay_dropped == 0 && counted.relay_published == sent + 1);
}

#[test]
fn a_broker_that_says_nothing_is_left() {
    let peer = Peer::new();
    let mut settings = peer.settings();
    settings.ping = SHORT;
    let process = Process::start(settings);
    let mut silent = peer.online(&[]);
    process.told("Connected");
    // It gets one PING and nothing else, and keeps its socket open.
    silent.expect("PING");
    process.told("Disconnected");
    process.fails_with("no answer to a PING");
    assert!(!process.watch.is_connected());
    let _again = peer.online(&[]);
    process.told("Connected");
    silent.closed();
}

#[test]
fn a_login_without_an_end_is_left() {
    for said in ["", "OK\n"] {
        let peer = Peer::new();
        let mut settings = peer.settings();
        settings.connect_timeout = SHORT;
        let process = Process::start(settings);
        let mut silent = peer.accept();
        silent.say(said);
        process.fails_with("not connected in");
        silent.closed();
        assert_eq!(process.watch.connections(), 0);
    }
}

#[test]
fn a_broker_that_reads_nothing_costs_a_bounded_queue() {
    let peer = Peer::new();
    let mut settings = peer.settings();
    settings.queue_bytes = 1 << 20;
    let process = Process::new(settings);
    let app = process.app();
    let mut page = Page::new(&app, "/?a");
    process.connect();
    let mut accepted = peer.online(&["a"]);
    process.told("Connected");
    let text = "x".repeat(10_000);
    let (mut taken, mut refused) = (0_u64, 0);
    // The buffers of the system take some, too. Refused ones are refused at once, and for the pages nothing changes.
    while refused < 100 {
        match process.hub.publish("a", &*text) {
            Ok(1) => taken += 1,
            Err(SendError::NotRelayed { .. }) => refused += 1,
            other => panic!("{other:?}"),
        }
        page.expect(&[&text]);
    }
    assert!(taken < 10_000, "{taken}");
    let counted = process.relay.counters();
    assert_eq!(
        (counted.relay_published, counted.relay_dropped),
        (taken, refused)
    );
    // It reads again: what was taken arrives, and the numbers have gaps for the rest.
    let mut last = 0;
    for _ in 0..taken {
        last = accepted.try_published().expect("a message").1;
    }
    assert!(last >= taken && last <= taken + refused);
    assert_eq!(process.hub.publish("a", "end"), Ok(1));
    accepted.published("a", taken + refused + 1, "data: end");
}

#[test]
fn a_broker_that_sends_and_reads_nothing_is_left() {
    let peer = Peer::new();
    let mut settings = peer.settings();
    settings.ping = SHORT;
    settings.queue_bytes = 1 << 20;
    let process = Process::start(settings);
    let mut accepted = peer.online(&[]);
    accepted.buffer(4096);
    process.told("Connected");
    let text = "x".repeat(10_000);
    // Its messages do not count as an answer for ever.
    let mut n = 0;
    wait_until("it is left", || {
        n += 1;
        // The queue may be full before the buffers of the system are.
        while process.hub.publish("a", &*text).is_ok() {}
        accepted.try_event("*", 7, n, "x");
        process.events.try_recv().is_ok()
    });
    let counted = process.relay.counters();
    assert!(counted.relay_unconfirmed > 0);
    let _again = peer.online(&[]);
}

#[test]
fn messages_do_not_wait_for_ever() {
    let peer = Peer::new();
    let (addr, mut settings) = (peer.addr(), peer.settings());
    drop(peer);
    settings.queue_time = SHORT;
    let process = Process::start(settings);
    assert_eq!(process.hub.publish("a", "old"), Ok(0));
    wait_until("it is dropped", || {
        process.relay.counters().relay_dropped == 1
    });
    let peer = Peer::on(addr);
    let mut accepted = peer.online(&[]);
    process.told("Connected");
    assert_eq!(process.hub.publish("a", "new"), Ok(0));
    accepted.published("a", 2, "data: new");
}

#[test]
fn messages_do_not_wait_for_a_login_without_an_end() {
    let peer = Peer::new();
    let mut settings = peer.settings();
    settings.queue_time = SHORT;
    // Its connections last for longer than the test waits.
    settings.connect_timeout = 2 * PATIENCE;
    let process = Process::start(settings);
    let mut silent = peer.accept();
    silent.expect("LOGIN");
    assert_eq!(process.hub.publish("a", "old"), Ok(0));
    wait_until("it is dropped", || {
        process.relay.counters().relay_dropped == 1
    });
    assert_eq!(process.watch.connections(), 0);
}

#[test]
fn a_broker_that_lies_is_left() {
    for said in [
        "NONSENSE\n",
        "PONG\nPONG\n",
        "MSG a 2000000\nxxx",
        "BYE\n",
        "\u{0}\n",
        "GO no-such-host.invalid:1\n",
    ] {
        let peer = Peer::new();
        let mut settings = peer.settings();
        settings.message_bytes = 100_000;
        let process = Process::start(settings);
        let mut accepted = peer.online(&[]);
        process.told("Connected");
        accepted.say(said);
        if said.starts_with("MSG") {
            // Not for its announcement, but when more has come than is kept.
            while accepted.try_say(&"x".repeat(10_000)) {}
        }
        process.told("Disconnected");
        accepted.closed();
        let _again = peer.online(&[]);
        process.told("Connected");
    }
}

#[test]
fn another_address_takes_over() {
    let [first, second, third] = [Peer::new(), Peer::new(), Peer::new()];
    let process = Process::start(first.settings());
    let mut accepted = first.online(&[]);
    process.told("Connected");
    accepted.say(&format!("ADDR {}\n", second.addr()));
    accepted.event("*", 7, 1, "seen");
    wait_until("it is seen", || {
        process.relay.counters().relay_received == 1
    });
    drop(first);
    accepted.reset();
    process.told("Disconnected");
    let mut accepted = second.online(&[]);
    process.told("Connected");
    // It sends the process elsewhere, as Sentinel does; who sends on from there is not followed.
    accepted.say(&format!("GO {}\n", third.addr()));
    process.told("Disconnected");
    let mut accepted = third.accept();
    accepted.log_in(&[]);
    accepted.say(&format!("GO {}\n", third.addr()));
    process.fails_with("redirected twice");
    let _again = second.online(&[]);
    process.told("Connected");
}

#[test]
fn a_relay_that_is_dropped_ends_its_connection() {
    let peer = Peer::new();
    let process = Process::start(peer.settings());
    let mut accepted = peer.online(&[]);
    process.told("Connected");
    let watch = process.watch.clone();
    drop(process);
    accepted.closed();
    wait_until("the end", || !watch.is_connected());
}

#[test]
fn a_panic_of_the_program_ends_the_relay_and_everything_counts() {
    let peer = Peer::new();
    let relay = BrokerRelay::new(Toy, peer.settings()).on_event(|event| {
        assert!(!matches!(event, Event::Lost { .. }), "of the program");
    });
    let watch = relay.watch();
    let (relay, hub) = (RelayHandle::new(relay), EventHub::new());
    assert_eq!(hub.set_relay(&relay), Ok(()));
    let mut accepted = peer.online(&[]);
    assert_eq!(hub.publish("a", "sent"), Ok(0));
    accepted.published("a", 1, "data: sent");
    accepted.event("*", 7, 1, "x");
    accepted.event("*", 7, 3, "x");
    accepted.closed();
    wait_until("it has ended", || {
        let error = watch.last_error();
        error.is_some_and(|error| error.contains("panicked"))
    });
    wait_until("it says so", || {
        let before = relay.counters().relay_dropped;
        let _ = hub.publish("a", "late");
        relay.counters().relay_dropped > before
    });
    let _ = hub.publish("a", "late");
    let counted = relay.counters();
    assert_eq!(counted.relay_unconfirmed, 1);
    let told = counted.relay_published - 1;
    assert!(counted.relay_dropped > told, "each one: {counted:?}");
    assert!(!relay.is_ready());
}
