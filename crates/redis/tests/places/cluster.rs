//! A cluster of three nodes: the slot is elsewhere, moves while messages flow, and its master dies.

use super::{MS, texts};
use crate::support::{Node, Page, Relayed, SILENCE, Server, Source, followed, page, wait_until};
use peregrine::presence::Change;
use peregrine_redis::Config;
use std::time::Duration;

/// `{peregrine:}` has this slot.
fn slot(server: &Server) -> String {
    let reply = server.command(&["CLUSTER", "KEYSLOT", "{peregrine:}"]);
    reply.lines().next().expect("a number")[1..].to_owned()
}

pub(super) struct Cluster {
    nodes: Vec<Server>,
    /// At which they know each other, and are known: those for TLS, if there are some.
    ports: Vec<String>,
    slot: String,
}

fn id(server: &Server) -> String {
    let reply = server.command(&["CLUSTER", "MYID"]);
    reply.lines().nth(1).expect("an id").to_owned()
}

/// A node that no other one hears for so long is taken for dead. Busy machines let nodes wait.
const ARGS: [&str; 8] = [
    "--save",
    "",
    "--cluster-enabled",
    "yes",
    "--cluster-node-timeout",
    "5000",
    "--cluster-replica-validity-factor",
    "0",
];

/// Three masters, and perhaps a replica of the one that has the slot.
fn cluster(has_replica: bool) -> Cluster {
    let nodes: Vec<_> = (0..3 + usize::from(has_replica))
        .map(|_| Server::start_with(&ARGS))
        .collect();
    let ports = nodes.iter().map(|node| node.port().to_owned()).collect();
    let cluster = meet(nodes, ports);
    if has_replica {
        let master = id(cluster.owner());
        wait_until("a replica", || {
            cluster.nodes[3]
                .command(&["CLUSTER", "REPLICATE", &master])
                .starts_with("+OK")
        });
        wait_until("it is up to date", || {
            let info = cluster.nodes[3].command(&["INFO", "replication"]);
            info.contains("master_link_status:up")
        });
    }
    cluster
}

/// The first three have the slots.
fn meet(nodes: Vec<Server>, ports: Vec<String>) -> Cluster {
    for (n, (from, to)) in [("0", "5460"), ("5461", "10922"), ("10923", "16383")]
        .into_iter()
        .enumerate()
    {
        assert!(
            nodes[n]
                .command(&["CLUSTER", "ADDSLOTSRANGE", from, to])
                .starts_with("+OK")
        );
    }
    for port in &ports[1..] {
        nodes[0].command(&["CLUSTER", "MEET", "127.0.0.1", port]);
    }
    let slot = slot(&nodes[0]);
    let cluster = Cluster { nodes, ports, slot };
    let is_whole = |node: &Server| {
        let info = node.command(&["CLUSTER", "INFO"]);
        info.contains("cluster_state:ok")
            && info.contains(&format!("cluster_known_nodes:{}", cluster.nodes.len()))
    };
    wait_until("the cluster", || cluster.nodes.iter().all(is_whole));
    cluster
}

fn ok(server: &Server, command: &[&str]) {
    let reply = server.command(command);
    assert!(
        reply.starts_with("+OK") || reply.starts_with("+NOKEY"),
        "{command:?}: {reply}"
    );
}

impl Cluster {
    #[cfg(feature = "tls")]
    pub(super) fn over_tls() -> Cluster {
        // Nodes of a cluster show each other certificates, on both ends.
        let [cert, key] = ["client.pem", "client.key"].map(super::tls::certs);
        let own = [
            "--tls-client-cert-file",
            &cert,
            "--tls-client-key-file",
            &key,
        ];
        let args = [&ARGS[2..], &["--tls-cluster", "yes"], &own].concat();
        let nodes = (0..3).map(|_| super::tls::start("exact", &args));
        let (nodes, ports) = nodes.unzip();
        meet(nodes, ports)
    }

    /// Which of the three masters has the slot at the beginning.
    fn place(&self) -> usize {
        let slot: u32 = self.slot.parse().expect("a number");
        [5460, 10_922, 16_383]
            .iter()
            .position(|last| slot <= *last)
            .expect("a slot")
    }

    pub(super) fn owner(&self) -> &Server {
        &self.nodes[self.place()]
    }

    /// Those that have not the slot.
    pub(super) fn others(&self) -> [&Server; 2] {
        let place = self.place();
        [&self.nodes[(place + 1) % 3], &self.nodes[(place + 2) % 3]]
    }

    /// Knows nodes that have not the slot.
    pub(super) fn config(&self) -> Config {
        let addrs = self
            .others()
            .map(|node| format!("127.0.0.1:{}", self.port(node)));
        Config::cluster(addrs)
            .backoff(MS, 20 * MS)
            .ping_interval(SILENCE)
    }

    fn port(&self, node: &Server) -> &str {
        let place = self
            .nodes
            .iter()
            .position(|other| other.addr() == node.addr());
        &self.ports[place.expect("one of them")]
    }

    /// Moves the slot, with its keys, while the first of these nodes publishes the numbers behind `last`. Returns the last one, which
    /// was published when both had followed, and has reached this page of the second node.
    pub(super) fn move_while_messages_flow<C: Source>(
        &self,
        nodes: &[Node; 2],
        page: &mut Page<C>,
        mut last: u64,
    ) -> u64 {
        let (from, to) = (self.owner(), self.others()[0]);
        let have_followed = followed(nodes);
        std::thread::scope(|scope| {
            let moving = scope.spawn(|| self.move_slot(from, to));
            while !moving.is_finished() {
                last += 1;
                nodes[0].publish("t", last);
                page.read();
            }
            moving.join().expect("no panic");
        });
        wait_until("both follow", have_followed);
        last += 1;
        nodes[0].publish("t", last);
        page.wait_until(|lines| texts(lines).contains(&last));
        last
    }

    /// Gives the slot to another node, with all keys.
    fn move_slot(&self, from: &Server, to: &Server) {
        self.move_keys(from, to);
        self.end_move(from, to);
    }

    /// The keys are on the other node, and the slot is not: it answers `ASK`.
    fn move_keys(&self, from: &Server, to: &Server) {
        let (from_id, to_id, slot) = (id(from), id(to), &self.slot[..]);
        ok(to, &["CLUSTER", "SETSLOT", slot, "IMPORTING", &from_id]);
        ok(from, &["CLUSTER", "SETSLOT", slot, "MIGRATING", &to_id]);
        loop {
            let reply = from.command(&["CLUSTER", "GETKEYSINSLOT", slot, "100"]);
            let keys: Vec<_> = reply
                .lines()
                .filter(|line| line.contains("peregrine"))
                .collect();
            if keys.is_empty() {
                break;
            }
            let mut command = vec![
                "MIGRATE",
                "127.0.0.1",
                self.port(to),
                "\"\"",
                "0",
                "5000",
                "KEYS",
            ];
            command.extend(keys);
            ok(from, &command);
        }
    }

    fn end_move(&self, from: &Server, to: &Server) {
        let (to_id, slot) = (id(to), &self.slot[..]);
        for node in [to, from].into_iter().chain(self.nodes.iter()) {
            ok(node, &["CLUSTER", "SETSLOT", slot, "NODE", &to_id]);
        }
    }
}

#[test]
fn the_slot_is_found_and_followed() {
    let cluster = cluster(false);
    let nodes = [0, 1].map(|_| Node::connect(cluster.config()).ready());
    let app = nodes[1].app();
    let mut page = page(&app, "t", None);
    page.wait_for_id();
    for n in 1..=10 {
        nodes[0].publish("t", n);
    }
    page.wait_until(|lines| texts(lines).len() == 10);
    let ann = nodes[0].enter("room", "ann");
    let _bob = nodes[1].enter("room", "bob");
    for node in &nodes {
        wait_until("both", || node.members("room") == ["ann", "bob"]);
    }
    // Messages stay on the node of the slot: no other one has their keys or channels.
    for other in cluster.others() {
        assert!(other.command(&["DBSIZE"]).starts_with(":0"));
        assert!(
            other
                .command(&["PUBSUB", "SHARDCHANNELS"])
                .starts_with("*0")
        );
    }
    // The slot moves, with its keys, while messages flow.
    let last = cluster.move_while_messages_flow(&nodes, &mut page, 10);
    drop(ann);
    wait_until("she has gone", || {
        nodes[1].told().contains(&("ann".into(), Change::Left))
    });
    assert!(nodes[0].redis.flush(Duration::from_secs(60)));
    let got = texts(&page.lines);
    assert!(
        got.is_sorted() && got.windows(2).all(|pair| pair[0] != pair[1]),
        "{got:?}"
    );
    assert!(page.is_lost() || got.len() as u64 == last);
}

/// All keys are on another node, and the slot is not: `ASK`. Messages wait until the slot is there, too.
#[test]
fn messages_wait_while_a_slot_is_on_its_way() {
    let cluster = cluster(false);
    let nodes = [0, 1].map(|_| Node::connect(cluster.config()).ready());
    let app = nodes[1].app();
    let mut page = page(&app, "t", None);
    page.wait_for_id();
    nodes[0].publish("t", 1);
    page.wait_until(|lines| texts(lines) == [1]);
    let (here, there) = (cluster.owner(), cluster.others()[0]);
    cluster.move_keys(here, there);
    for number in 2..=10 {
        nodes[0].publish("t", number);
    }
    for node in &nodes {
        wait_until("ASK", || {
            let error = node.redis.last_error().unwrap_or_default();
            !node.redis.is_connected() && error.starts_with("ASK ")
        });
    }
    // None is refused, delivered or asked there.
    assert!(!nodes[0].redis.flush(MS));
    assert_eq!(texts(&page.lines), [1]);
    assert!(
        there
            .command(&["PUBSUB", "SHARDCHANNELS"])
            .starts_with("*0")
    );
    cluster.end_move(here, there);
    wait_until("connected", || {
        nodes.iter().all(|node| node.redis.is_connected())
    });
    assert!(nodes[0].redis.flush(Duration::from_secs(60)));
    nodes[0].publish("t", 11);
    page.wait_until(|lines| texts(lines).contains(&11));
    // Another server is another epoch: the page is told, and may lack what came before its node was there.
    assert!(page.is_lost());
    let got = texts(&page.lines);
    assert!(got.is_sorted_by(|one, next| one < next), "{got:?}");
    // Each is kept once, or counted: the connection has ended before its reply was read.
    let kept = there.command(&["XLEN", "{peregrine:}s:t"]);
    let counted = nodes[0].redis.unconfirmed();
    assert!(kept.starts_with(&format!(":{}\r", 10 - counted)), "{kept}");
}

#[test]
fn a_replica_takes_over() {
    let mut cluster = cluster(true);
    let nodes = [0, 1].map(|_| Node::connect(cluster.config()).ready());
    let app = nodes[1].app();
    let mut page = page(&app, "t", None);
    page.wait_for_id();
    nodes[0].publish("t", 1);
    page.wait_until(|lines| texts(lines) == [1]);
    let place = cluster.place();
    cluster.nodes[place].kill();
    wait_until("not connected", || {
        nodes.iter().all(|node| !node.redis.is_connected())
    });
    nodes[0].publish("t", 2);
    wait_until("connected", || {
        nodes.iter().all(|node| node.redis.is_connected())
    });
    assert!(nodes[0].redis.flush(Duration::from_secs(60)));
    nodes[0].publish("t", 3);
    page.wait_until(|lines| texts(lines).contains(&3));
    // The second one may have come before the other node had subscribed. Then the page is told.
    let got = texts(&page.lines);
    assert!([&[1, 2, 3][..], &[1, 3]].contains(&&got[..]), "{got:?}");
    assert!(page.is_lost());
}

#[test]
fn a_relay_stays_on_the_node_of_the_slot() {
    let cluster = cluster(false);
    let relayed = [0, 1].map(|_| Relayed::connect(cluster.config()));
    let app = relayed[1].app();
    let mut page = page(&app, "t", None);
    relayed[0].reaches("t", &mut page);
    for other in cluster.others() {
        assert!(
            other
                .command(&["PUBSUB", "SHARDCHANNELS"])
                .starts_with("*0")
        );
    }
    assert!(
        !cluster
            .owner()
            .command(&["PUBSUB", "SHARDCHANNELS"])
            .starts_with("*0")
    );
}
