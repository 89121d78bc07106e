//! Faults of presence that were found once.

use super::{MS, number};
use crate::support::{Gate, Node, SILENCE, Server, config, wait_until};
use peregrine::presence::{Change, Stay};
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

/// A process has more persons than a reply may have bytes: after an outage its entries are compared all the same.
#[test]
fn more_persons_than_fit_into_a_reply_are_compared() {
    let server = Server::start();
    let gate = Gate::to(server.addr());
    let small = Config::new(&gate.addr()).reply_bytes(20_000);
    let small = small.lease(Duration::from_secs(600));
    let node = Node::connect(small.connect_timeout(1000 * MS).backoff(MS, 5 * MS)).ready();
    let enter = |n: u32| node.enter("room", &format!("person {n}"));
    let stays: Vec<_> = (0..2000).map(enter).collect();
    wait_until("all", || number(&server, &ROOM) == 2000);
    gate.hold(true);
    gate.break_all();
    wait_until("no connection", || !node.redis.is_connected());
    drop(stays);
    let _stays: Vec<_> = (1_000_000..1_001_000).map(enter).collect();
    // These are of an earlier time.
    let fill = "\"local node = redis.call('ZRANGE', 'peregrine:nodes', 0, -1)[1] \
        for i = 1, 2000 do redis.call('HSET', 'peregrine:t:room', 'old' .. i, node) \
        redis.call('SADD', 'peregrine:e:' .. node, '4:roomold' .. i) end\"";
    server.command(&["EVAL", fill, "0"]);
    let before = node.redis.connections();
    gate.hold(false);
    wait_until("those who are there", || number(&server, &ROOM) == 1000);
    let there = ["HEXISTS", "peregrine:t:room", "\"person 1000000\""];
    assert_eq!(number(&server, &there), 1);
    assert_eq!(node.redis.connections(), before + 1);
    assert_eq!(server.calls("smembers"), 0);
}

/// Several processes died with more persons than one command removes.
#[test]
fn all_persons_of_dead_processes_vanish_at_once() {
    let server = Server::start();
    let fill = "\"for n = 1, 3 do for i = 1, 2500 do local p = n .. '-' .. i \
        redis.call('HSET', 'peregrine:t:room', p, 'dead' .. n) \
        redis.call('SADD', 'peregrine:e:dead' .. n, '4:room' .. p) end \
        redis.call('ZADD', 'peregrine:nodes', 1, 'dead' .. n) end \
        redis.call('ZADD', 'peregrine:nodes', '9e15', 'living')\"";
    server.command(&["EVAL", fill, "0"]);
    assert_eq!(number(&server, &ROOM), 7500);
    // Its next sign of life is 20 minutes away.
    let node = Node::connect(config(&server).lease(Duration::from_secs(3600)));
    wait_until("none", || number(&server, &ROOM) == 0);
    wait_until("its own, and the other one", || {
        number(&server, &["ZCARD", "peregrine:nodes"]) == 2
    });
    drop(node);
}

/// The process of Ann, which was away, is back: both processes see her and Bob, and no one is told to have left.
fn both_are_there(away: &Node, node: &Node) {
    wait_until("the other one", || away.members("room") == ["ann", "bob"]);
    assert_eq!(node.members("room"), ["ann", "bob"]);
    let has_left = |told: &(String, Change)| told.1 == Change::Left;
    assert!(!node.told().iter().any(has_left));
}

/// All leases have ended, because Redis was away, and a process that is new is the first one that comes back.
#[test]
fn persons_stay_when_a_new_process_is_the_first_one() {
    let server = Server::start();
    let gate = Gate::to(server.addr());
    let lease = Duration::from_secs(600);
    let away = Config::new(&gate.addr()).lease(lease);
    let away = Node::connect(away.ping_interval(SILENCE).backoff(MS, 5 * MS));
    wait_until("connected", || away.redis.is_connected());
    let _ann = away.enter("room", "ann");
    wait_until("ann", || number(&server, &ROOM) == 1);
    gate.hold(true);
    wait_until("no connection", || !away.redis.is_connected());
    let end = "\"for _, n in ipairs(redis.call('ZRANGE', 'peregrine:nodes', 0, -1)) do \
        redis.call('ZADD', 'peregrine:nodes', 1, n) end\"";
    server.command(&["EVAL", end, "0"]);
    let beats = || server.calls("zrangebyscore");
    let before = beats();
    let node = Node::connect(config(&server).lease(lease));
    wait_until("a sign of life", || beats() > before);
    let _bob = node.enter("room", "bob");
    wait_until("bob", || node.members("room").contains(&"bob".to_owned()));
    assert_eq!(node.members("room"), ["ann", "bob"]);
    gate.hold(false);
    both_are_there(&away, &node);
}

/// The first one has Ann and is cut off, the second one has Bob.
fn one_is_away(server: &Server, gates: &[Gate; 2]) -> ([Node; 2], [Stay; 2]) {
    let nodes = gates.each_ref().map(|gate| {
        let config = Config::new(&gate.addr()).lease(Duration::from_secs(600));
        Node::connect(config.ping_interval(SILENCE).backoff(MS, 5 * MS)).ready()
    });
    let ann = nodes[0].enter("room", "ann");
    wait_until("ann", || number(server, &ROOM) == 1);
    let bob = nodes[1].enter("room", "bob");
    wait_until("bob", || nodes[1].members("room") == ["ann", "bob"]);
    gates[0].hold(true);
    wait_until("no connection", || !nodes[0].redis.is_connected());
    (nodes, [ann, bob])
}

/// The lease of the process that is away has ended, and that of Bob's has a quarter left.
fn end_one_lease(server: &Server) {
    let end = "\"local bob = redis.call('HGET', 'peregrine:t:room', 'bob') \
        for _, n in ipairs(redis.call('ZRANGE', 'peregrine:nodes', 0, -1)) do \
        local left = n == bob and 150000 or 0 \
        redis.call('ZADD', 'peregrine:nodes', redis.call('TIME')[1] * 1000 + left, n) end\"";
    server.command(&["EVAL", end, "0"]);
}

/// Redis was away for less than a lease: that of the process that comes back first is there, that of the other one has ended.
#[test]
fn persons_stay_when_some_leases_have_ended() {
    let server = Server::start();
    let gates = [0, 1].map(|_| Gate::to(server.addr()));
    let ([away, node], _stays) = one_is_away(&server, &gates);
    end_one_lease(&server);
    let beats = || server.calls("zrangebyscore");
    let before = beats();
    gates[1].break_all();
    wait_until("a sign of life", || beats() > before);
    wait_until("a list", || !node.members("room").is_empty());
    assert_eq!(node.members("room"), ["ann", "bob"]);
    gates[0].hold(false);
    both_are_there(&away, &node);
}

/// The same, and Ann, who is on both, leaves the one that comes back first before it is connected.
#[test]
fn a_person_who_leaves_one_process_stays_on_the_other_one() {
    let server = Server::start();
    let gates = [0, 1].map(|_| Gate::to(server.addr()));
    let ([away, node], _stays) = one_is_away(&server, &gates);
    let second = node.enter("room", "ann");
    let processes = || server.command(&["HGET", "peregrine:t:room", "ann"]);
    wait_until("two processes", || processes().contains(','));
    end_one_lease(&server);
    // An attempt to connect waits, and her leave waits for the connection.
    server.signal("-STOP");
    gates[1].break_all();
    wait_until("an attempt", || gates[1].has_client());
    drop(second);
    server.signal("-CONT");
    wait_until("she has left one", || !processes().contains(','));
    wait_until("a list", || !node.members("room").is_empty());
    assert_eq!(node.members("room"), ["ann", "bob"]);
    gates[0].hold(false);
    both_are_there(&away, &node);
}

/// The only process is started again after more than a lease: those of the one before are not kept for ever.
#[test]
fn persons_from_before_a_restart_vanish() {
    let server = Server::start();
    let fill = "\"redis.call('HSET', 'peregrine:t:room', 'ann', 'dead') \
        redis.call('SADD', 'peregrine:e:dead', '4:roomann') \
        redis.call('ZADD', 'peregrine:nodes', 1, 'dead')\"";
    server.command(&["EVAL", fill, "0"]);
    let node = Node::connect(config(&server).lease(Duration::from_millis(300)));
    wait_until("none", || number(&server, &ROOM) == 0);
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
    // The names that are asked for do not fit into a reply.
    let node = Node::connect(config(&server).reply_bytes(20_000)).ready();
    for (topic, count) in [("room", 5000), ("large", 7000)] {
        let members = node.counted(topic);
        assert_eq!(members.count, count);
        assert!((100..200).contains(&members.names.len()));
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
