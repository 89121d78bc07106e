//! More than one machine: topics that reach the clients of all processes.
//!
//! A [`Relay`] passes what a process publishes to the others, over a broker such as NATS or Redis. Handlers, topics and
//! subscriptions stay as they are:
//!
//! ```
//! # use peregrine::relay::{Relay, RelayHandle, RelayMessage, Relayed};
//! # use peregrine::sse::EventHub;
//! # struct Broker;
//! # impl Relay for Broker {
//! #     fn publish(&self, _: Option<&str>, _: RelayMessage<'_>) -> Relayed { Relayed::Queued }
//! # }
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let relay = RelayHandle::new(Broker); // of `peregrine-nats`, `peregrine-redis`, or of your own
//! let hub = EventHub::new(); // or a `Hub` of WebSockets, or both
//! hub.set_relay(&relay)?;
//! hub.publish("news", "for the pages of all machines")?;
//! # Ok(())
//! # }
//! ```
//!
//! The crate `peregrine-nats` does this over NATS. With a `nats-server` on this machine, two nodes of its example share their
//! topics:
//!
//! ```sh
//! nats-server &
//! cargo run --release -p peregrine-nats --example node -- 127.0.0.1:8001 nats://127.0.0.1:4222 &
//! cargo run --release -p peregrine-nats --example node -- 127.0.0.1:8002 nats://127.0.0.1:4222 &
//! curl -N localhost:8001/events/news &
//! curl -d hello localhost:8002/publish/news
//! ```
//!
//! A client that was away for a moment misses messages. With a log that the machines share, a [`History`](super::history) gives
//! it what it has missed; [`Presence`](super::presence) knows who is there. The crate `peregrine-redis` has both. Its example `chat`
//! runs on two nodes behind HAProxy:
//!
//! ```sh
//! redis-server &
//! cargo run --release -p peregrine-redis --example chat -- --redis 127.0.0.1:6379 --port 8081 &
//! cargo run --release -p peregrine-redis --example chat -- --redis 127.0.0.1:6379 --port 8082 &
//! haproxy -f crates/redis/examples/chat/haproxy.cfg
//! ```
//!
//! # What is promised
//!
//! - **A message is delivered at most once.** What is lost is counted, and nothing is sent twice.
//! - **The broker holds up nothing.** While it is away, the process serves its own clients as before. A subscription never waits
//!   for the broker.
//! - **Only topics with subscribers are subscribed**, once for the whole process: the relay hears of the first subscriber at
//!   once, and of the last one after [`RelayHandle::with_linger`].
//! - **The publisher hears of a full queue**: `Sent::Full` for WebSockets, [`SendError::NotRelayed`] for events, with the reason and
//!   the number of pages of its own process, which have got the event. Publishing again would send it to them twice.
//!
//! # What the pages hear
//!
//! `on_event` of the relay, the same for NATS (`peregrine_nats::BrokerRelay`) and for Redis (`peregrine_redis::RedisRelay`), calls a
//! function of the program when messages may be missing:
//!
//! | event | when | what the pages have to do |
//! |---|---|---|
//! | `Connected` | the broker is connected and all topics are subscribed, for the first time or again | read their state again |
//! | `Disconnected` | the connection has ended | |
//! | `Lost` with the topic and the number of messages | the numbers of another process have a gap | those of the topic: read their state again |
//!
//! ```text
//! let pages = hub.clone();
//! let relay = relay.on_event(move |event| {
//!     if matches!(event, Event::Connected | Event::Lost { .. }) {
//!         let _ = pages.deliver(Some("room"), "lost"); // to the pages of this process
//!     }
//! });
//! ```
//!
//! It is called on the thread of the connection and must not block. A panic of it ends the relay. The example `chat` does this with
//! `--nats`, and with `--redis` and `--relay`. Without `--relay` it has a history in Redis, which says itself what a page has missed.
//!
//! # Order
//!
//! By default ([`RelayOrder::Local`]) a process delivers its own messages at once. Two processes may then see two messages
//! of two publishers in different orders. With [`RelayOrder::Broker`] a process delivers its own messages when they come
//! back, so all processes see one order, and each message takes the time of a way to the broker and back. A message that the relay
//! refuses is delivered at once, and only the others count it as lost.
//!
//! # Other languages
//!
//! A message on the broker is an envelope of 26 bytes and its own bytes: version 1, the kind (1 text, 2 binary, 3 event), 8 bytes that
//! name the process, 8 bytes of a number, 8 bytes 0xFF. A program that does not count its messages sends the number 0. The
//! documentation of `peregrine_broker::Envelope` has each byte, that of `peregrine_nats::subject` the names of subjects. In Python:
//!
//! ```text
//! NODE = os.urandom(8)
//! text = b"\x01\x01" + NODE + bytes(8) + b"\xff" * 8 + "hello".encode()
//! await nats.publish("peregrine.t.news", text)
//! ```
//!
//! # When the broker is away
//!
//! With NATS. Over Redis, a message without a connection is not queued: it reaches the clients of its own process, the publisher
//! hears `Down`, and the others count it as lost. A machine that is gone is noticed within 10 s.
//!
//! | what happens | the process | afterwards |
//! |---|---|---|
//! | the broker is not there at the start | serves its own clients; `/readyz` 503 | connects; messages of the last 10 s are sent |
//! | it is killed, or resets the connection | the same | all topics are subscribed again |
//! | it refuses some attempts | tries again after 0.1 s to 5 s, the other addresses, too | |
//! | its machine is gone without a word | notices it within two PINGs (20 s) | |
//! | it reads nothing | 8 MiB are queued, then publishers hear `Full`; after 20 s the connection is closed | |
//! | it is a server of a cluster that ends | goes on with another one | |
//! | the own process is stopped | sends what is queued, for at most 1 s | |
//!
//! **`/readyz` and one broker for all.** If all nodes use one broker, all are not ready when it is away, and a balancer that takes
//! out all of them serves no client. Either the balancer uses all nodes that live when none is ready (`haproxy.cfg` of the example
//! `chat` does), or `Settings::is_ready_without` leaves the relay out of `/readyz`, and an alarm watches the counters.
//!
//! **A machine that vanishes ends no connection.** Its clients wait for ever, unless the balancer asks: `haproxy.cfg` has keep-alive
//! packets and a limit for data that is not confirmed, so they come back by another node within 15 s.
//!
//! # What to watch
//!
//! `/readyz` of [`Health`] responds with 503 while the relay is not connected. The counters of [`Stats`]:
//!
//! | counter | what it counts | what to do |
//! |---|---|---|
//! | `relay_published` | messages that were passed to the relay | |
//! | `relay_dropped` | messages that other processes do not get: the queue was full, the message too large, or it waited too long | a larger queue, a faster broker |
//! | `relay_unconfirmed` | messages that were on their way when a connection broke; others may or may not have them | expected when a broker restarts |
//! | `relay_received` | messages of other processes | |
//! | `relay_lost` | messages of other processes that did not arrive, by the gaps in their numbers | the clients have to read their state again |
//!
//! # Planning
//!
#![doc = include_str!("planning.md")]
//!
//! Measure your own messages before you buy machines.
//!
//! - **Connections are rarely what decides.** Half a million idle WebSockets fit into two nodes. Set [`Config::connections`] and the
//!   limit of descriptors.
//! - **Fan-out** costs the nodes, not the broker: a message goes to each node once, and the node copies it to its subscribers. The
//!   CPU time of the nodes is the number of messages times the number of their subscribers. So 1,000 messages a second to a topic
//!   with half a million subscribers are hundreds of cores: that figure decides.
//! - **The broker** carries `messages x nodes with a subscriber`. A topic for each user goes to one node only. `nats bench` measures
//!   what your broker can carry.
//! - **Topics.** A node has one subscription for each topic with subscribers. 100,000 topics are subscribed again in one go after
//!   a reconnection; they are about 4 MB of commands.
//! - **When to shard.** When the broker uses more than half of its core, or its network, give each part of the topics a
//!   broker and a hub of its own, or use a cluster of NATS. Before that, shard what does not belong together by the prefix: two
//!   programs with different prefixes do not see each other.
//! - **The mailbox.** Messages of other machines wait in `Config::ws_mailbox_bytes` as those of the own process do. If it is full,
//!   subscribers with `BacklogPolicy::Close` are closed.
//!
//! [`Config::connections`]: crate::Config::connections
//! [`Health`]: crate::server::Health
//! [`Relay`]: crate::relay::Relay
//! [`RelayHandle::with_linger`]: crate::relay::RelayHandle::with_linger
//! [`RelayOrder::Broker`]: crate::relay::RelayOrder::Broker
//! [`RelayOrder::Local`]: crate::relay::RelayOrder::Local
//! [`SendError::NotRelayed`]: crate::body::SendError::NotRelayed
//! [`Stats`]: crate::metrics::Stats
