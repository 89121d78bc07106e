//! Sentinels and clusters that speak TLS with each other and with the process. The plain ports are for the test.

use super::cluster::Cluster;
use super::tls::{settings, start, tls_args};
use super::{MS, texts};
use crate::support::{Node, SILENCE, Server, followed, page, wait_until};
use peregrine_redis::Config;
use std::collections::BTreeSet;
use std::time::Duration;

/// What Sentinels and nodes of a cluster name are addresses, and the certificate has a name.
fn trusting(config: Config) -> Config {
    config
        .backoff(MS, 20 * MS)
        .ping_interval(SILENCE)
        .tls(settings("authority.pem"))
        .tls_name("localhost")
}

#[test]
fn a_master_is_found_and_replaced_over_tls() {
    let (mut master, master_port) = start("exact", &["--tls-replication", "yes"]);
    let of_master = ["--replicaof", "127.0.0.1", &master_port];
    let (replica, replica_port) = start(
        "exact",
        &[&["--tls-replication", "yes"], &of_master[..]].concat(),
    );
    wait_until("the replica is up to date", || {
        let info = replica.try_command(&["INFO", "replication"]);
        info.is_some_and(|info| info.contains("master_link_status:up"))
    });
    let (port, args) = tls_args("exact");
    let args: Vec<_> = args.iter().map(String::as_str).skip(2).collect();
    let args = [&args[..], &["--tls-replication", "yes"]].concat();
    let sentinel = Server::sentinel_of(&master_port, "", &args);
    wait_until("the Sentinel knows the replica", || {
        let reply = sentinel.try_command(&["SENTINEL", "REPLICAS", "m"]);
        reply.is_some_and(|reply| reply.contains(&replica_port))
    });
    let by_tls = format!("localhost:{port}");
    let strange = trusting(Config::sentinel("m", [&by_tls])).tls(settings("other-authority.pem"));
    let refused = Node::connect(strange);
    wait_until("a certificate that is not trusted", || {
        let error = refused.redis.last_error().unwrap_or_default();
        error.contains("by Sentinel") && error.contains("certificate")
    });
    let config = || trusting(Config::sentinel("m", [&by_tls]));
    let nodes = [0, 1].map(|_| Node::connect(config()).ready());
    let app = nodes[1].app();
    let mut page = page(&app, "t", None);
    page.wait_for_id();
    nodes[0].publish("t", 1);
    page.wait_until(|lines| texts(lines) == [1]);
    let _ann = nodes[0].enter("room", "ann");
    wait_until("ann", || nodes[1].members("room") == ["ann"]);
    let have_followed = followed(&nodes);
    master.kill();
    wait_until("another master", || {
        let role = replica.try_command(&["ROLE"]);
        role.is_some_and(|role| role.contains("master"))
    });
    wait_until("both are there", have_followed);
    nodes[0].publish("t", 2);
    page.wait_until(|lines| texts(lines) == [1, 2]);
    assert!(page.is_lost());
    assert_eq!(nodes[1].members("room"), ["ann"]);
    assert_eq!(refused.redis.connections(), 0);
}

#[test]
fn a_slot_is_found_and_followed_over_tls() {
    let cluster = Cluster::over_tls();
    let nodes = [0, 1].map(|_| Node::connect(trusting(cluster.config())).ready());
    let app = nodes[1].app();
    let mut page = page(&app, "t", None);
    page.wait_for_id();
    let last = cluster.move_while_messages_flow(&nodes, &mut page, 0);
    assert!(nodes[0].redis.flush(Duration::from_secs(60)));
    let got = texts(&page.lines);
    assert!(got.is_sorted());
    let different: BTreeSet<_> = got.iter().collect();
    assert_eq!(different.len(), got.len(), "a number came twice");
    assert!(page.is_lost() || got.len() as u64 == last);
    // An address without TLS at which a node listens is not used.
    let plain = Node::connect(
        Config::cluster([cluster.owner().addr()])
            .backoff(MS, 20 * MS)
            .tls(settings("authority.pem")),
    );
    wait_until("an attempt", || plain.redis.last_error().is_some());
    assert_eq!(plain.redis.connections(), 0);
}
