//! Several nodes: what they ask Redis does not grow with their number, and topics come and go while messages flow.

use crate::support::{Node, Page, Relayed, Server, Source, config, page, wait_until};
use crate::texts;
use peregrine::history::LogError;
use peregrine_redis::Config;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Without signs of life, which are commands, too.
fn quiet(server: &Server) -> Config {
    config(server).lease(Duration::from_secs(3600))
}

/// No node asks another one who is there, nor Redis how many nodes there are.
#[test]
fn who_is_there_is_one_question_for_any_number_of_nodes() {
    let asked = [1, 5].map(|count: usize| {
        let server = Server::start();
        let nodes: Vec<_> = (0..count)
            .map(|_| Node::connect(quiet(&server)).ready())
            .collect();
        let persons: Vec<_> = (0..count).map(|n| format!("person {n}")).collect();
        let stays = nodes.iter().zip(&persons);
        let _stays: Vec<_> = stays
            .map(|(node, person)| node.enter("room", person))
            .collect();
        wait_until("all", || nodes[0].members("room") == persons);
        let before = server.calls("evalsha");
        for _ in 0..50 {
            assert_eq!(nodes[0].members("room"), persons);
        }
        let stats = server.command(&["INFO", "commandstats"]);
        assert!(!stats.contains("cmdstat_pubsub"), "{stats}");
        server.calls("evalsha") - before
    });
    // A node renews its lease now and then, which is a call, too.
    assert!(
        asked.iter().all(|calls| (50..100).contains(calls)),
        "{asked:?}"
    );
}

/// A node that is started anew exchanges no state with the others.
#[test]
fn a_node_that_starts_costs_what_it_has_itself() {
    let server = Server::start();
    let first = Node::connect(quiet(&server)).ready();
    let _stays: Vec<_> = (0..500)
        .map(|n| first.enter("room", &format!("person {n:03}")))
        .collect();
    let here = |person: &str| first.members("room").contains(&person.to_owned());
    wait_until("all", || here("person 499"));
    let calls = || server.calls("evalsha") + server.calls("publish");
    let asked = std::cell::Cell::new(0);
    let before = calls();
    for n in 0..5 {
        let name = format!("one of node {n}");
        let node = Node::connect(quiet(&server)).ready();
        let stay = node.enter("room", &name);
        wait_until("it has come", || {
            asked.set(asked.get() + 1);
            here(&name)
        });
        drop(stay);
        wait_until("it has gone", || {
            asked.set(asked.get() + 1);
            !here(&name)
        });
    }
    let calls = calls() - before - asked.get();
    // For each: it enters, it leaves, each change is published, and it compares its own persons with Redis.
    assert!((20..100).contains(&calls), "{calls}");
}

const TOPICS: usize = 20;

/// Ends the flow, also when the test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Publishes numbers to all topics until all pages have been opened, and some more. What a page gets has no gap.
fn flow<C: Source>(publish: impl Fn(&str, u64) + Sync, mut open: impl FnMut(&str) -> Page<C>) {
    let topics: Vec<_> = (0..TOPICS)
        .map(|n| format!("topic {n}").replace(' ', "-"))
        .collect();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            let mut last = 0;
            let mut more = 10;
            while more > 0 {
                more -= u64::from(is_over.load(Ordering::Relaxed));
                last += 1;
                topics.iter().for_each(|topic| publish(topic, last));
                std::thread::yield_now();
            }
            last
        });
        let over = Over(&is_over);
        // What waits for a page is limited, so none waits for the others.
        let read_all = |pages: &mut [Page<C>]| pages.iter_mut().for_each(Page::read);
        let mut pages = Vec::new();
        for topic in &topics {
            pages.push(open(topic));
            read_all(&mut pages);
        }
        wait_until("each has got one", || {
            read_all(&mut pages);
            pages.iter().all(|page| !texts(&page.lines).is_empty())
        });
        drop(over);
        let last = publisher.join().expect("no panic");
        wait_until("each has got the last one", || {
            read_all(&mut pages);
            let is_last = |line: &String| *line == last.to_string();
            pages
                .iter()
                .all(|page| page.lines.last().is_some_and(is_last))
        });
        for page in pages {
            assert!(!page.is_lost());
            let got = texts(&page.lines);
            assert!((got[0]..=last).eq(got.iter().copied()), "{got:?}");
        }
    });
}

#[test]
fn topics_of_a_history_are_followed_while_messages_flow() {
    let server = Server::start();
    let nodes = [0, 1].map(|_| Node::connect(config(&server)).ready());
    let app = nodes[1].app();
    let publish = |topic: &str, number: u64| {
        while nodes[0].history.publish(topic, number.to_string()) == Err(LogError::Full) {
            std::thread::yield_now();
        }
    };
    flow(publish, |topic| {
        let mut page = page(&app, topic, None);
        page.wait_for_id();
        page
    });
}

#[test]
fn topics_of_a_relay_are_subscribed_while_messages_flow() {
    let server = Server::start();
    let nodes = [0, 1].map(|_| Relayed::connect(config(&server)));
    for node in &nodes {
        wait_until("connected", || node.relay.is_ready());
    }
    let app = nodes[1].app();
    // It counts what it takes, so a number that it has not taken would be a gap.
    let publish = |topic: &str, number: u64| {
        let sent = nodes[0].hub.publish(topic, number.to_string());
        assert!(sent.is_ok(), "{sent:?}");
        if number % 50 == 0 {
            let taken = nodes[0].relay.counters().relay_published;
            wait_until("Redis", || server.calls("publish") + 500 >= taken);
        }
    };
    flow(publish, |topic| page(&app, topic, None));
}
