//! A server that knows version 2 of RESP only: two links.

use super::{MS, texts};
use crate::support::{Gate, Node, Relayed, SILENCE, Server, config, page, wait_until};
use peregrine::presence::Change;
use peregrine_redis::Config;
use std::time::Duration;

/// Messages flow while pages come and read what they have missed: a read that overtook its subscription would leave a gap.
#[test]
fn pages_that_come_while_messages_flow_miss_nothing() {
    let server = Server::version_2(&["--requirepass", "a secret"]);
    let config = || config(&server).password("a secret");
    let nodes = [0, 1].map(|_| Node::connect(config()).ready());
    let app = nodes[1].app();
    let mut pages = Vec::new();
    for round in 0..30 {
        for n in 0..20 {
            nodes[0].publish(&format!("t{}", round % 3), round * 100 + n);
            if n == 10 {
                pages.push((round, page(&app, &format!("t{}", round % 3), None)));
            }
        }
    }
    assert!(nodes[0].redis.flush(Duration::from_secs(60)));
    for (round, mut page) in pages {
        let last = (0..30).rev().find(|n| n % 3 == round % 3).expect("one") * 100 + 19;
        page.wait_for_id();
        nodes[0].publish(&format!("t{}", round % 3), 99_999);
        page.wait_until(|lines| texts(lines).last() == Some(&99_999));
        let got = texts(&page.lines);
        let got: Vec<_> = got.into_iter().filter(|number| *number <= last).collect();
        let all: Vec<u64> = (0..30)
            .filter(|n| n % 3 == round % 3)
            .flat_map(|n| (0..20).map(move |m| n * 100 + m))
            .collect();
        assert!(all.ends_with(&got), "a gap: {got:?}");
        assert!(!page.is_lost());
    }
}

#[test]
fn either_link_may_break_or_fall_silent() {
    let server = Server::version_2(&[]);
    let gate = Gate::to(server.addr());
    let node = Node::connect(
        Config::new(&gate.addr())
            .backoff(MS, 5 * MS)
            .ping_interval(SILENCE),
    );
    let other = Node::connect(config(&server)).ready();
    wait_until("connected", || node.redis.is_connected());
    let app = node.app();
    let mut page = page(&app, "t", None);
    page.wait_for_id();
    for round in 1..=6_u64 {
        let before = node.redis.connections();
        match round % 2 {
            // The link for commands, or the one for channels.
            0 => drop(server.command(&["CLIENT", "KILL", "TYPE", "pubsub"])),
            _ => drop(server.command(&["CLIENT", "KILL", "TYPE", "normal"])),
        }
        wait_until("another connection", || {
            node.redis.is_connected() && node.redis.connections() > before
        });
        [&node, &other][(round / 2 % 2) as usize].publish("t", round);
        page.wait_until(|lines| texts(lines).len() as u64 == round);
    }
    gate.hold(true);
    wait_until("not connected", || !node.redis.is_connected());
    other.publish("t", 7);
    gate.hold(false);
    page.wait_until(|lines| texts(lines) == [1, 2, 3, 4, 5, 6, 7]);
    assert!(!page.is_lost());
}

#[test]
fn presence_and_relay_work() {
    let server = Server::version_2(&[]);
    let nodes = [0, 1].map(|_| Node::connect(config(&server)).ready());
    let _watcher = nodes[1].enter("room", "watcher");
    wait_until("the watcher", || nodes[1].members("room") == ["watcher"]);
    let ann = nodes[0].enter("room", "ann");
    wait_until("ann", || {
        nodes[1].told().contains(&("ann".into(), Change::Joined))
    });
    drop(ann);
    wait_until("she has gone", || {
        nodes[1].told().contains(&("ann".into(), Change::Left))
    });
    let relayed = [0, 1].map(|_| Relayed::connect(config(&server)));
    let app = relayed[1].app();
    let mut page = page(&app, "t", None);
    relayed[0].reaches("t", &mut page);
}
