//! Topics of peregrine on several machines, over NATS.
//!
//! Handlers and topics stay as they are. A relay is given to the hub:
//!
//! ```no_run
//! use peregrine::relay::RelayHandle;
//! use peregrine::sse::EventHub;
//! use peregrine_nats::NatsConfig;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let relay = RelayHandle::new(NatsConfig::new("nats://127.0.0.1:4222")?.relay());
//! let hub = EventHub::new(); // or `peregrine::ws::Hub`, or both with the same relay
//! hub.set_relay(&relay)?;
//! # Ok(())
//! # }
//! ```
//!
//! - A topic is a subject, and only topics with subscribers are subscribed; [`subject`] says how they are written.
//! - The bytes of a message are an [`Envelope`](peregrine_broker::Envelope), so other languages can publish.
//! - [`peregrine_broker`] describes the connection: what it promises, and its limits in
//!   [`Settings`].
//! - The [guide](peregrine::guide::machines) has the promises, the counters and the planning.
//!
//! The server has to be of version 2.0 or later, for `headers` and `echo`. Messages with headers are read, their headers are not
//! looked at.

mod auth;
mod config;
mod line;
#[cfg(feature = "nkeys")]
mod nkey;
mod session;
pub mod subject;

pub(crate) use config::PORT;
pub use config::{ConfigError, NatsConfig};
pub use peregrine_broker::{BrokerRelay, Event, Settings, Watch};
pub use session::{Nats, NatsSession};

#[doc(hidden)]
pub mod check;

/// The code of the README is tested.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
