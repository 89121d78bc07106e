//! Connects the hubs of peregrine to a message broker: what `peregrine-nats` and `peregrine-redis` share.
//!
//! A [`BrokerRelay`] is a [`Relay`](peregrine::relay::Relay) over a [`Protocol`], which turns topics and messages into bytes and
//! back, and knows no sockets. The relay has one thread and one connection:
//!
//! - **Handlers never wait.** [`Relay::publish`](peregrine::relay::Relay::publish) appends to a queue of at most
//!   [`Settings::queue_bytes`]; above it, it says `Full`.
//! - **All topics are subscribed before "connected" is said**, after each connection anew.
//! - **A broker that is silent is noticed**: a PING goes out each [`Settings::ping`], and a connection without an answer for the
//!   same time is closed.
//! - **A lost connection is opened again**, to the next address, after a time that doubles from 0.1 s up to
//!   [`Settings::backoff`], less a random part of up to a half.
//! - **Nothing is sent twice.** Messages that were sent and not confirmed when a connection broke are counted.
//! - **What other processes lose they know**: each message has a number, and gaps are counted ([`numbers`]) and told
//!   ([`BrokerRelay::on_event`]). [`Envelope`] describes the bytes.
//!
//! A relay that has no [`Protocol`], as the one over Redis, uses [`Envelope`], [`numbers`], [`Arrivals`] and [`Listener`].

mod arrival;
mod backoff;
mod connection;
mod driver;
mod envelope;
mod events;
pub mod numbers;
mod outbox;
mod protocol;
mod relay;
mod settings;
mod shared;
mod socket;
mod wanted;

pub use arrival::Arrivals;
pub use envelope::{Envelope, EnvelopeError};
pub use events::{Event, Listener};
pub use protocol::{Address, Protocol, ProtocolError, Received, ServerInfo, Session};
pub use relay::BrokerRelay;
pub use settings::Settings;
pub use shared::Watch;
