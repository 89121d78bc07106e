//! Faults of presence that were found once.

use super::{MS, number};
use crate::support::{Gate, Node, Server, config, wait_until};
use peregrine_redis::Config;
use std::time::Duration;

const ROOM: [&str; 2] = ["HLEN", "peregrine:t:room"];

/// More persons than the queue takes at once.
#[test]
fn many_persons_come_through_a_small_queue() {
    let server = Server::start();
    let small = config(&server).queue_bytes(20_000);
    let node = Node::connect(small.lease(Duration::from_secs(1)));
    let enter = |n| node.enter("room", &format!("person {n}"));
    let stays: Vec<_> = (0..2000).map(enter).collect();
    wait_until("all", || number(&server, &ROOM) == 2000);
    assert_eq!(node.counted("room").count, 2000);
    drop(stays);
    wait_until("none", || number(&server, &ROOM) == 0);
}

/// Persons leave while the entries are compared.
#[test]
fn those_who_leave_during_a_comparison_are_gone() {
    let server = Server::start();
    let gate = Gate::to(server.addr());
    let node = Node::connect(Config::new(&gate.addr()).backoff(MS, 5 * MS));
    wait_until("connected", || node.redis.is_connected());
    let enter = |n: u32| node.enter("room", &format!("person {n}"));
    let _stays: Vec<_> = (0..2000).map(enter).collect();
    for round in 1..=20 {
        let some: Vec<_> = (0..200).map(|n| enter(10_000 * round + n)).collect();
        let before = node.redis.connections();
        gate.break_all();
        wait_until("another connection", || {
            node.redis.is_connected() && node.redis.connections() > before
        });
        for stay in some {
            drop(stay);
            std::thread::yield_now();
        }
        wait_until("those who stay", || number(&server, &ROOM) == 2000);
    }
}

/// Several processes died with more persons than one command removes.
#[test]
fn all_persons_of_dead_processes_vanish_at_once() {
    let server = Server::start();
    let fill = "\"for n = 1, 3 do for i = 1, 2500 do local p = n .. '-' .. i \
        redis.call('HSET', 'peregrine:t:room', p, 'dead' .. n) \
        redis.call('SADD', 'peregrine:e:dead' .. n, '4:room' .. p) end \
        redis.call('ZADD', 'peregrine:nodes', 1, 'dead' .. n) end\"";
    server.command(&["EVAL", fill, "0"]);
    assert_eq!(number(&server, &ROOM), 7500);
    // Its next sign of life is 20 minutes away.
    let node = Node::connect(config(&server).lease(Duration::from_secs(3600)));
    wait_until("none", || number(&server, &ROOM) == 0);
    wait_until("its own", || {
        number(&server, &["ZCARD", "peregrine:nodes"]) == 1
    });
    drop(node);
}

#[test]
fn a_list_of_members_is_limited_in_redis() {
    let server = Server::start();
    let fill = "\"for i = 1, 12000 do \
        redis.call('HSET', 'peregrine:t:' .. (i > 5000 and 'large' or 'room'), i .. string.rep('x', 100), 'n') end \
        redis.call('ZADD', 'peregrine:nodes', '9e15', 'n')\"";
    server.command(&["EVAL", fill, "0"]);
    let node = Node::connect(config(&server).reply_bytes(150_000));
    wait_until("connected", || node.redis.is_connected());
    for (topic, count) in [("room", 5000), ("large", 7000)] {
        let members = node.counted(topic);
        assert_eq!((members.count, members.names.len()), (count, 1000));
        assert!(members.names.is_sorted());
    }
    assert_eq!(node.redis.connections(), 1);
}

#[test]
fn a_person_may_have_any_name() {
    let server = Server::start();
    let node = Node::connect(config(&server));
    let _stay = node.enter("room", "\0run");
    wait_until("the person", || node.members("room") == ["\0run"]);
}
