//! Nodes with a real server: it is killed, restarted, absent, silent; nodes are killed. What clients get has no gap and nothing
//! twice, or they are told.

mod faults;
mod nodes;
mod places;
mod support;

use peregrine::history::{HistoryLimits, LogError};
use peregrine::presence::Change;
use peregrine_redis::Config;
use std::time::{Duration, Instant};
use support::{Gate, Node, SILENCE, Server, config, page, wait_until};

/// Messages as they come, without the notices.
fn texts(lines: &[String]) -> Vec<u64> {
    let numbers = lines.iter().filter_map(|line| line.parse().ok());
    numbers.collect()
}

/// Two nodes publish at the same time: pages on both see one order, from the first message on.
#[test]
fn all_nodes_see_one_order() {
    let server = Server::start();
    let nodes = [0, 1, 2].map(|_| Node::connect(config(&server)).ready());
    let apps = nodes.each_ref().map(Node::app);
    let mut pages = apps.each_ref().map(|app| page(app, "t", None));
    for page in &mut pages {
        page.wait_for_id();
    }
    std::thread::scope(|scope| {
        for (n, node) in nodes.iter().enumerate() {
            scope.spawn(move || {
                for message in 0..200 {
                    node.publish("t", n * 1000 + message);
                }
            });
        }
    });
    let got = pages.map(|mut page| {
        page.wait_until(|lines| lines.len() >= 600);
        texts(&page.lines)
    });
    assert_eq!((&got[0], &got[0]), (&got[1], &got[2]));
    for n in 0..3 {
        let of_one = got[0].iter().copied().filter(|number| number / 1000 == n);
        assert!(of_one.eq(n * 1000..n * 1000 + 200), "{got:?}");
    }
}

/// A page that moves to another node gets what it has missed, once.
#[test]
fn a_page_continues_on_another_node() {
    let server = Server::start();
    let nodes = [0, 1].map(|_| Node::connect(config(&server)).ready());
    let apps = nodes.each_ref().map(Node::app);
    let mut first = page(&apps[0], "t", None);
    first.wait_for_id();
    nodes[1].publish("t", 1);
    first.wait_until(|lines| texts(lines) == [1]);
    let id = first.id.clone();
    drop(first);
    for n in 2..=5 {
        nodes[0].publish("t", n);
    }
    let mut second = page(&apps[1], "t", id.as_deref());
    second.wait_until(|lines| texts(lines).len() >= 4);
    nodes[0].publish("t", 6);
    second.wait_until(|lines| texts(lines) == [2, 3, 4, 5, 6]);
    assert!(!second.is_lost());
}

/// The connection breaks again and again while messages are published: nothing is lost, nothing comes twice.
#[test]
fn a_connection_that_breaks_loses_nothing() {
    let server = Server::start();
    let gates = [0, 1].map(|_| Gate::to(server.addr()));
    let nodes = gates
        .each_ref()
        .map(|gate| Node::connect(Config::new(&gate.addr()).backoff(MS, 5 * MS)));
    let apps = nodes.each_ref().map(Node::app);
    let mut pages = apps.each_ref().map(|app| page(app, "t", None));
    for page in &mut pages {
        page.wait_for_id();
    }
    let mut published = 0;
    for round in 0..10 {
        let mut publish = || {
            for _ in 0..10 {
                published += 1;
                nodes[published % 2].publish("t", published);
            }
        };
        let before = nodes[round % 2].redis.connections();
        publish();
        gates[round % 2].break_all();
        publish();
        wait_until("another connection", || {
            nodes[round % 2].redis.connections() > before
        });
    }
    for page in &mut pages {
        page.wait_until(|lines| texts(lines).len() >= published);
        let mut got = texts(&page.lines);
        // Each node has an order of its own; the two are mixed.
        for odd in [0, 1] {
            let of_one: Vec<_> = got
                .iter()
                .copied()
                .filter(|number| number % 2 == odd)
                .collect();
            assert!(of_one.is_sorted(), "{got:?}");
        }
        got.sort_unstable();
        assert!(got.iter().copied().eq(1..=published as u64), "{got:?}");
        assert!(!page.is_lost());
    }
    assert_eq!(texts(&pages[0].lines), texts(&pages[1].lines));
}

const MS: Duration = Duration::from_millis(1);

/// The first attempts are refused; then the server is there. Channels are subscribed again, and what waited is published.
#[test]
fn a_server_that_was_killed_comes_back() {
    let mut server = Server::start();
    let node = Node::connect(config(&server)).ready();
    let app = node.app();
    let mut before = page(&app, "t", None);
    before.wait_for_id();
    node.publish("t", 1);
    before.wait_until(|lines| texts(lines) == [1]);
    server.kill();
    wait_until("not connected", || !node.redis.is_connected());
    // Pages come, and messages are taken, while there is no server.
    let mut meanwhile = page(&app, "t", before.id.clone().as_deref());
    let mut other = page(&app, "other", None);
    other.wait_until(|lines| lines.contains(&"lost".to_owned()));
    node.publish("t", 2);
    node.publish("other", 3);
    wait_until("attempts that are refused", || {
        node.redis.last_error().is_some()
    });
    server.restart();
    // A new process has no data: all are told, and go on from there.
    for page in [&mut before, &mut meanwhile] {
        page.wait_until(|lines| lines.contains(&"lost".to_owned()));
    }
    wait_until("connected", || node.redis.is_connected());
    assert!(node.redis.flush(Duration::from_secs(60)));
    node.publish("t", 4);
    node.publish("other", 5);
    for page in [&mut before, &mut meanwhile] {
        page.wait_until(|lines| texts(lines).contains(&4));
        let got = texts(&page.lines);
        assert!(
            got.iter().filter(|number| **number == 4).count() == 1,
            "{got:?}"
        );
        assert!(
            got.iter().filter(|number| **number == 2).count() <= 1,
            "{got:?}"
        );
    }
    other.wait_until(|lines| texts(lines).contains(&5));
    // And a page that comes back now misses nothing more.
    let mut back = page(&app, "t", before.id.as_deref());
    node.publish("t", 6);
    back.wait_until(|lines| texts(lines) == [6]);
    assert!(!back.is_lost());
}

#[test]
fn a_restart_that_is_trusted_loses_nothing() {
    let mut server = Server::start_with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let node = Node::connect(config(&server).trust_restarts(true)).ready();
    let app = node.app();
    let mut page = page(&app, "t", None);
    page.wait_for_id();
    node.publish("t", 1);
    page.wait_until(|lines| texts(lines) == [1]);
    server.kill();
    node.publish("t", 2);
    server.restart();
    page.wait_until(|lines| texts(lines) == [1, 2]);
    assert!(!page.is_lost());
}

/// Data that is deleted while the server runs.
#[test]
fn a_page_is_told_when_data_was_deleted() {
    let server = Server::start();
    let node = Node::connect(config(&server)).ready();
    let app = node.app();
    let mut first = page(&app, "t", None);
    first.wait_for_id();
    node.publish("t", 1);
    first.wait_until(|lines| texts(lines) == [1]);
    server.command(&["FLUSHALL"]);
    let mut back = page(&app, "t", Some("00000000000000aa-1"));
    back.wait_until(|lines| lines.contains(&"lost".to_owned()));
    node.publish("t", 2);
    first.wait_until(|lines| lines.contains(&"lost".to_owned()));
    node.publish("t", 3);
    first.wait_until(|lines| texts(lines).contains(&3));
    back.wait_until(|lines| texts(lines).contains(&3));
}

/// Packets vanish, no end of the connection comes: the node notices by its PING.
#[test]
fn a_peer_that_vanished_is_noticed() {
    let server = Server::start();
    let gate = Gate::to(server.addr());
    let node = Node::connect(
        Config::new(&gate.addr())
            .ping_interval(SILENCE)
            .backoff(MS, 5 * MS),
    );
    let app = node.app();
    let mut page = page(&app, "t", None);
    page.wait_for_id();
    gate.hold(true);
    node.publish("t", 1);
    wait_until("not connected", || !node.redis.is_connected());
    gate.hold(false);
    page.wait_until(|lines| texts(lines) == [1]);
    assert!(!page.is_lost());
}

/// The queue is bounded, and the publisher is told.
#[test]
fn what_waits_is_limited() {
    let node = Node::connect(Config::new("127.0.0.1:1").queue_bytes(10_000));
    let message = "x".repeat(1000);
    let results: Vec<_> = (0..20)
        .map(|_| node.history.publish("t", message.as_str()))
        .collect();
    let taken = results.iter().filter(|result| result.is_ok()).count();
    assert!((5..10).contains(&taken), "{taken}");
    assert_eq!(results.last(), Some(&Err(LogError::Full)));
    assert_eq!(node.redis.refused() as usize, 20 - taken);
}

#[test]
fn a_password_is_needed() {
    let server = Server::start_with(&["--requirepass", "a secret"]);
    let without = Node::connect(config(&server));
    wait_until("refused", || {
        without
            .redis
            .last_error()
            .is_some_and(|error| error.contains("NOAUTH"))
    });
    assert!(!without.redis.is_connected());
    let with = Node::connect(config(&server).password("a secret"));
    wait_until("connected", || with.redis.is_connected());
}

/// 2,000 pages come back at once to a node that knows nothing of the topic: few reads.
#[test]
fn a_storm_costs_few_reads() {
    let server = Server::start();
    let first = Node::connect(config(&server)).ready();
    for n in 1..=20 {
        first.publish("t", n);
    }
    let app_of_first = first.app();
    let mut seen = page(&app_of_first, "t", None);
    seen.wait_for_id();
    let epoch = seen.id.expect("an id");
    let epoch = epoch.split_once('-').expect("an id").0.to_owned();
    let node = Node::connect(config(&server)).ready();
    wait_until("connected", || node.redis.is_connected());
    let before = server.reads();
    let app = node.app();
    let mut pages: Vec<_> = (0..2000)
        .map(|n| page(&app, "t", Some(&format!("{epoch}-{}", 10 + n % 10))))
        .collect();
    for (n, page) in pages.iter_mut().enumerate() {
        let first = 11 + n as u64 % 10;
        page.wait_until(|lines| texts(lines).len() as u64 == 21 - first);
        assert!(texts(&page.lines).into_iter().eq(first..=20));
    }
    let reads = server.reads() - before;
    assert!((1..=10).contains(&reads), "{reads}");
}

/// Joins and leaves are told once to each node, however many nodes and stays there are.
#[test]
fn a_person_on_two_nodes_is_there_once() {
    let server = Server::start();
    let nodes = [0, 1, 2].map(|_| Node::connect(config(&server)).ready());
    let watchers = nodes.each_ref().map(|node| node.enter("room", "watcher"));
    for node in &nodes {
        wait_until("the watcher", || node.members("room") == ["watcher"]);
    }
    nodes.iter().for_each(|node| drop(node.take_told()));
    let ann = [
        nodes[0].enter("room", "ann"),
        nodes[1].enter("room", "ann"),
        nodes[1].enter("room", "ann"),
    ];
    let bob = nodes[2].enter("room", "bob");
    for node in &nodes {
        wait_until("both", || node.told().len() == 2);
        let mut told = node.take_told();
        told.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(
            told,
            [
                ("ann".into(), Change::Joined),
                ("bob".into(), Change::Joined)
            ]
        );
        assert_eq!(node.members("room"), ["ann", "bob", "watcher"]);
    }
    let [a, b, c] = ann;
    drop((a, b));
    drop(bob);
    for node in &nodes {
        wait_until("bob has gone", || !node.told().is_empty());
        assert_eq!(node.take_told(), [("bob".into(), Change::Left)]);
    }
    drop(c);
    for node in &nodes {
        wait_until("ann has gone", || !node.told().is_empty());
        assert_eq!(node.take_told(), [("ann".into(), Change::Left)]);
        assert_eq!(node.members("room"), ["watcher"]);
    }
    drop(watchers);
}

/// A node that was cut off for longer than its lease: its persons leave, and join again when it is back.
#[test]
fn a_node_that_comes_back_enters_again() {
    let server = Server::start();
    let gate = Gate::to(server.addr());
    // A node that gives no sign of life for two thirds of it is taken for dead.
    let lease = Duration::from_secs(3);
    let cut_off = Config::new(&gate.addr())
        .lease(lease)
        .ping_interval(SILENCE)
        .backoff(MS, 5 * MS);
    let cut_off = Node::connect(cut_off);
    let node = Node::connect(config(&server).lease(lease));
    let _watcher = node.enter("room", "watcher");
    // Its subscription comes before this reply.
    wait_until("the watcher", || node.members("room") == ["watcher"]);
    let ann = cut_off.enter("room", "ann");
    wait_until("ann", || node.members("room") == ["ann", "watcher"]);
    gate.hold(true);
    wait_until("she has gone", || {
        node.told().contains(&("ann".into(), Change::Left))
    });
    assert_eq!(node.members("room"), ["watcher"]);
    let bob = cut_off.enter("room", "bob");
    drop(ann);
    gate.hold(false);
    wait_until("bob", || node.members("room") == ["bob", "watcher"]);
    let count = |change| {
        node.told()
            .iter()
            .filter(|told| **told == ("ann".to_owned(), change))
            .count()
    };
    assert_eq!((count(Change::Joined), count(Change::Left)), (1, 1));
    drop(bob);
    wait_until("bob has gone", || node.members("room") == ["watcher"]);
}

/// A process is killed by SIGKILL: its persons vanish, the others are told once, and its pages continue elsewhere.
#[test]
fn the_persons_of_a_killed_process_vanish() {
    let server = Server::start();
    let lease = Duration::from_secs(3);
    let nodes = [0, 1].map(|_| Node::connect(config(&server).lease(lease)));
    let _watchers = nodes.each_ref().map(|node| node.enter("room", "watcher"));
    for node in &nodes {
        wait_until("the watcher", || node.members("room") == ["watcher"]);
    }
    let mut process = support::Process::start(&server, lease);
    let _page = process.open("/present?person=ann");
    let _second = process.open("/present?person=ann");
    for node in &nodes {
        wait_until("ann", || node.members("room") == ["ann", "watcher"]);
    }
    process.kill();
    let killed = Instant::now();
    for node in &nodes {
        wait_until("she has gone", || {
            node.told().contains(&("ann".into(), Change::Left))
        });
        assert_eq!(node.members("room"), ["watcher"]);
        let left = node.told().into_iter().filter(|told| told.0 == "ann");
        assert_eq!(
            left.map(|told| told.1).collect::<Vec<_>>(),
            [Change::Joined, Change::Left]
        );
    }
    println!(
        "gone {:?} after the kill, with a lease of {lease:?}",
        killed.elapsed()
    );
}

/// Three processes: one is not there, one starts before the server, and all say whether they are ready.
#[test]
fn processes_serve_without_a_server_and_say_that_they_are_not_ready() {
    let mut server = Server::start();
    server.kill();
    let processes = [0, 1, 2].map(|_| support::Process::start(&server, Duration::from_secs(30)));
    for process in &processes {
        assert_eq!(process.get("/"), 200);
        assert_eq!(process.get("/health/readyz"), 503);
        assert_eq!(process.post("/say", "1"), 204);
    }
    server.restart();
    for process in &processes {
        wait_until("ready", || process.get("/health/readyz") == 200);
    }
    // What waited is published once.
    let mut page = processes[0].open("/room");
    page.wait_until(|lines| texts(lines) == [1, 1, 1]);
    assert_eq!(processes[2].post("/say", "2"), 204);
    page.wait_until(|lines| texts(lines) == [1, 1, 1, 2]);
}

/// Hubs without a history: each page gets each event once, also after the server was away.
#[test]
fn hubs_are_connected_by_a_relay() {
    let mut server = Server::start();
    let nodes = [0, 1].map(|_| support::Relayed::connect(config(&server)));
    let apps = nodes.each_ref().map(support::Relayed::app);
    let mut pages = apps.each_ref().map(|app| page(app, "t", None));
    let mut elsewhere = page(&apps[1], "other", None);
    for (n, node) in nodes.iter().enumerate() {
        wait_until("connected", || node.relay.is_ready());
        node.reaches("t", &mut pages[1 - n]);
    }
    pages.iter_mut().for_each(|page| page.settle());
    let publish = |n: usize| nodes[n % 2].hub.publish("t", n.to_string()).is_ok();
    assert!((1..=100).all(publish));
    // Without those that have shown that it is subscribed.
    let published = |lines: &[String]| {
        let mut got = texts(lines);
        got.retain(|number| *number > 0);
        got
    };
    for page in &mut pages {
        page.wait_until(|lines| published(lines).len() >= 100);
        page.settle();
        let mut got = published(&page.lines);
        got.sort_unstable();
        assert!(got.into_iter().eq(1..=100));
    }
    server.kill();
    wait_until("not connected", || {
        nodes.iter().all(|node| !node.relay.is_ready())
    });
    // The clients of this process get it at once, and the publisher knows that no others do.
    assert!(!publish(102));
    pages[0].wait_until(|lines| lines.contains(&"102".to_owned()));
    server.restart();
    wait_until("connected", || {
        nodes.iter().all(|node| node.relay.is_ready())
    });
    assert!(publish(103) && publish(104));
    for page in &mut pages {
        page.wait_until(|lines| texts(lines).contains(&103) && texts(lines).contains(&104));
    }
    assert!(!texts(&pages[1].lines).contains(&102));
    elsewhere.settle();
    assert_eq!(elsewhere.lines, [""; 0]);
    assert_eq!(nodes[0].relay.counters().relay_dropped, 1);
}

#[test]
fn limits_of_a_history_hold_with_redis() {
    let server = Server::start();
    let node = Node::with_limits(config(&server), HistoryLimits::default().messages(3)).ready();
    let app = node.app();
    let mut first = page(&app, "t", None);
    first.wait_for_id();
    let id = first.id.clone();
    for n in 1..=4 {
        node.publish("t", n);
    }
    first.wait_until(|lines| texts(lines) == [1, 2, 3, 4]);
    let mut back = page(&app, "t", id.as_deref());
    back.wait_until(|lines| lines.contains(&"lost".to_owned()));
}
