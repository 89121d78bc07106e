//! Who is there, while a master fails over.

use super::sentinel::{Group, ask, group};
use crate::support::{Node, Server, wait_until};
use peregrine::presence::Change;
use std::time::Duration;

const ROOM: [&str; 2] = ["HLEN", "peregrine:t:room"];

/// Ann is on the first node, Bob on the second one, Cat on both. No list lacks one of them or has one twice while the master is
/// replaced, and what is told afterwards is what happens afterwards.
fn who_is_there_stays(group: &Group, lease: Duration, fail: impl FnOnce(&Group)) {
    wait_until("the Sentinel knows the replica", || group.is_known());
    let nodes = [0, 1].map(|_| Node::connect(group.config().lease(lease)).ready());
    let all = ["ann", "bob", "cat"];
    let _ann = nodes[0].enter("room", "ann");
    wait_until("ann", || nodes[0].members("room") == ["ann"]);
    let bob = nodes[1].enter("room", "bob");
    wait_until("bob", || nodes[1].members("room") == all[..2]);
    let cats = nodes.each_ref().map(|node| node.enter("room", "cat"));
    for node in &nodes {
        wait_until("all", || node.members("room") == all);
        wait_until("cat is told", || is_told(node, "cat", Change::Joined));
    }
    wait_until("the replica has all", || {
        ask(&group.replica, &ROOM).starts_with(":3")
            && ask(&group.replica, &["SCARD", &entries(group, 0)]).starts_with(":2")
            && ask(&group.replica, &["SCARD", &entries(group, 1)]).starts_with(":2")
    });
    for node in &nodes {
        node.take_told();
    }
    fail(group);
    let has_all = || {
        for node in &nodes {
            // An error while there is no master.
            if let Some(members) = node.asked("room") {
                assert_eq!(
                    (members.count, &*members.names),
                    (3, &all.map(str::to_owned)[..])
                );
            }
        }
    };
    wait_until("another master", || {
        has_all();
        ask(&group.replica, &["ROLE"]).contains("master")
    });
    wait_until("both are there", || {
        has_all();
        nodes
            .iter()
            .all(|node| node.redis.is_connected() && node.members("room") == all)
    });
    // Signs of life, with which those who are gone are removed.
    let beats = || group.replica.calls("zrangebyscore");
    let before = beats();
    wait_until("signs of life", || {
        has_all();
        beats() >= before + 6 || lease > Duration::from_secs(10)
    });
    let _dan = nodes[0].enter("room", "dan");
    let [first, second] = cats;
    drop(first);
    drop(bob);
    wait_until("bob has gone", || is_told(&nodes[0], "bob", Change::Left));
    wait_until("dan has come", || is_told(&nodes[0], "dan", Change::Joined));
    drop(second);
    wait_until("cat has gone", || is_told(&nodes[0], "cat", Change::Left));
    let told = nodes[0].told();
    assert_eq!(told.len(), 3, "{told:?}");
    assert_eq!(nodes[0].members("room"), ["ann", "dan"]);
    assert!(ask(&group.replica, &ROOM).starts_with(":2"));
}

fn is_told(node: &Node, person: &str, change: Change) -> bool {
    node.told().contains(&(person.to_owned(), change))
}

/// The key of the entries of one of the processes.
fn entries(group: &Group, n: usize) -> String {
    let reply = ask(&group.replica, &["KEYS", "peregrine:e:*"]);
    let mut keys = reply.lines().filter(|line| line.starts_with("peregrine"));
    keys.nth(n).unwrap_or("none").to_owned()
}

#[test]
fn persons_stay_when_the_master_is_killed() {
    let mut group = group("");
    let mut master = std::mem::replace(&mut group.master, Server::start());
    who_is_there_stays(&group, Duration::from_secs(60), |_| master.kill());
}

#[test]
fn persons_stay_when_the_master_hangs() {
    let group = group("");
    who_is_there_stays(&group, Duration::from_secs(60), |group| {
        group.master.signal("-STOP");
    });
}

/// No process could renew its lease for longer than that.
#[test]
fn persons_stay_when_the_failover_takes_longer_than_the_lease() {
    let mut group = group("sentinel down-after-milliseconds m 5000");
    let mut master = std::mem::replace(&mut group.master, Server::start());
    let lease = Duration::from_secs(2);
    who_is_there_stays(&group, lease, |_| master.kill());
}
