//! A master, a replica and Sentinels: the master dies, hangs, or gives up its role.

use super::{MS, texts};
use crate::support::{Node, Page, SILENCE, Server, Source, followed, page, wait_until};
use peregrine_redis::Config;
use std::collections::BTreeSet;
use std::time::Duration;

/// Nothing if the server has closed the connection: Sentinel makes it do so, when it changes roles.
pub(super) fn ask(server: &Server, command: &[&str]) -> String {
    server.try_command(command).unwrap_or_default()
}

pub(super) struct Group {
    pub(super) master: Server,
    pub(super) replica: Server,
    pub(super) sentinel: Server,
}

pub(super) fn group(lines: &str) -> Group {
    let master = Server::start();
    let replica = Server::replica_of(&master);
    wait_until("the replica is up to date", || {
        let info = ask(&replica, &["INFO", "replication"]);
        info.contains("master_link_status:up")
    });
    let sentinel = Server::sentinel_of(master.port(), lines, &[]);
    Group {
        master,
        replica,
        sentinel,
    }
}

impl Group {
    /// With a Sentinel before it that is not there.
    pub(super) fn config(&self) -> Config {
        let config = Config::sentinel("m", ["127.0.0.1:1", self.sentinel.addr()]);
        config.backoff(MS, 20 * MS).ping_interval(SILENCE)
    }

    /// The Sentinel has seen the replica, so it can fail over.
    pub(super) fn is_known(&self) -> bool {
        let reply = self.sentinel.try_command(&["SENTINEL", "REPLICAS", "m"]);
        reply.is_some_and(|reply| reply.contains(self.replica.port()))
    }
}

/// Publishes numbers on one node until the master is another server. A page of the other node gets no number twice, each new one
/// in order, and is told if it lacks one.
fn fail_over(group: &Group, fail: impl FnOnce(&Group)) {
    wait_until("the Sentinel knows the replica", || group.is_known());
    let nodes = [0, 1].map(|_| Node::connect(group.config()).ready());
    let app = nodes[1].app();
    let mut page = page(&app, "t", None);
    page.wait_for_id();
    let mut last = 0;
    let mut publish = |page: &mut Page<_>| {
        last += 1;
        nodes[0].publish("t", last);
        read(page);
        last
    };
    for _ in 0..100 {
        publish(&mut page);
    }
    page.wait_until(|lines| texts(lines).len() == 100);
    let have_followed = followed(&nodes);
    fail(group);
    wait_until("another master", || {
        publish(&mut page);
        ask(&group.replica, &["ROLE"]).contains("master")
    });
    wait_until("both are there", || {
        publish(&mut page);
        have_followed()
    });
    for _ in 0..100 {
        publish(&mut page);
    }
    assert!(nodes[0].redis.flush(Duration::from_secs(60)));
    let last = publish(&mut page);
    page.wait_until(|lines| texts(lines).contains(&last));
    let got = texts(&page.lines);
    let different: BTreeSet<_> = got.iter().copied().collect();
    assert_eq!(different.len(), got.len(), "a number came twice");
    assert!(got.is_sorted());
    assert!(
        page.is_lost(),
        "a failover may lose messages: pages are told"
    );
    // The last hundred came by the new master.
    assert!((last - 100..=last).all(|number| different.contains(&number)));
    let missing = last - different.len() as u64;
    println!(
        "{missing} of {last} are missing, {} are unconfirmed",
        nodes[0].redis.unconfirmed()
    );
}

fn read<C: Source>(page: &mut Page<C>) {
    page.read();
}

#[test]
fn the_master_is_killed() {
    let mut group = group("");
    let mut master = std::mem::replace(&mut group.master, Server::start());
    fail_over(&group, |_| master.kill());
}

/// Its connections stay open. When it goes on, it becomes a replica of the other one.
#[test]
fn the_master_hangs() {
    let group = group("");
    fail_over(&group, |group| group.master.signal("-STOP"));
    group.master.signal("-CONT");
    wait_until("it is a replica", || {
        ask(&group.master, &["ROLE"]).contains("slave")
    });
}

#[test]
fn the_master_gives_up_its_role() {
    let group = group("");
    fail_over(&group, |group| {
        wait_until("the Sentinel begins", || {
            group
                .sentinel
                .command(&["SENTINEL", "FAILOVER", "m"])
                .starts_with("+OK")
        });
    });
}

/// A master that gives up its role and gets it back has other data: what it has lost meanwhile is not hidden.
#[test]
fn a_master_that_comes_back_has_another_epoch() {
    let group = group("");
    let node = Node::connect(group.config()).ready();
    let app = node.app();
    let mut before = page(&app, "t", None);
    before.wait_for_id();
    node.publish("t", 1);
    before.wait_until(|lines| texts(lines) == [1]);
    let id = before.id.clone();
    drop(before);
    for (to, from) in [
        (&group.replica, &group.master),
        (&group.master, &group.replica),
    ] {
        wait_until("the Sentinel begins", || {
            group
                .sentinel
                .command(&["SENTINEL", "FAILOVER", "m"])
                .starts_with("+OK")
        });
        wait_until("the roles have changed", || {
            ask(to, &["ROLE"]).contains("master") && ask(from, &["ROLE"]).contains("slave")
        });
        wait_until("the replica is up to date", || {
            let info = ask(from, &["INFO", "replication"]);
            info.contains("master_link_status:up")
        });
    }
    wait_until("connected", || {
        node.redis.is_connected() && node.redis.flush(MS)
    });
    let other = Node::connect(group.config()).ready();
    let app = other.app();
    let mut back = page(&app, "t", id.as_deref());
    back.wait_until(|lines| lines.contains(&"lost".to_owned()));
}

#[test]
fn sentinels_that_know_nothing() {
    let group = group("requirepass \"a secret\"");
    let cases = [
        (
            Config::sentinel("other", [group.sentinel.addr()]).sentinel_password("a secret"),
            "no master is called other",
        ),
        (group.config(), "NOAUTH"),
        (Config::sentinel("m", [""; 0]), "no address"),
    ];
    for (config, expected) in cases {
        let node = Node::connect(config.backoff(MS, 20 * MS));
        wait_until(expected, || {
            node.redis
                .last_error()
                .is_some_and(|error| error.contains(expected))
        });
        assert!(!node.redis.is_connected());
    }
    let node = Node::connect(group.config().sentinel_password("a secret"));
    wait_until("connected", || node.redis.is_connected());
}
