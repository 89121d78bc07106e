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
//! let relay = RelayHandle::new(Broker); // of `peregrine-nats`, or of your own
//! let hub = EventHub::new(); // or a `Hub` of WebSockets, or both
//! hub.set_relay(&relay)?;
//! hub.publish("news", "for the pages of all machines")?;
//! # Ok(())
//! # }
//! ```
//!
//! # What is promised
//!
//! - **A message is delivered at most once.** What is lost is counted, and nothing is sent twice.
//! - **The broker holds up nothing.** While it is away, the process serves its own clients as before. A subscription never waits
//!   for the broker.
//! - **Only topics with subscribers are subscribed**, once for the whole process: the relay hears of the first subscriber at
//!   once, and of the last one after [`RelayHandle::with_linger`].
//! - **The publisher hears of a full queue**: `Sent::Full` for WebSockets, [`SendError::NotRelayed`] for events. The clients
//!   of its own process have got the message then.
//!
//! # Order
//!
//! By default ([`RelayOrder::Local`]) a process delivers its own messages at once. Two processes may then see two messages
//! of two publishers in different orders. With [`RelayOrder::Broker`] a process delivers its own messages when they come
//! back, so all processes see one order, and each message takes the time of a way to the broker and back.
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
//! [`Health`]: crate::server::Health
//! [`Relay`]: crate::relay::Relay
//! [`RelayHandle::with_linger`]: crate::relay::RelayHandle::with_linger
//! [`RelayOrder::Broker`]: crate::relay::RelayOrder::Broker
//! [`RelayOrder::Local`]: crate::relay::RelayOrder::Local
//! [`SendError::NotRelayed`]: crate::body::SendError::NotRelayed
//! [`Stats`]: crate::metrics::Stats
