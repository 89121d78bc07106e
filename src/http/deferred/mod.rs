//! Deferred responses: given later, from any thread.
//!
//! A response is recorded where it is made, as status, fields and body, and encoded by the connection's
//! own thread, which gets it through its mailbox. Only that thread knows the state of the connection. A
//! `RequestId` names the request. No identifier is used twice in the life of a worker,
//! so a deferred response reaches its own request or none.

mod body_sender;
#[cfg(any(test, feature = "internals"))]
pub(crate) mod check;
mod event_hub;
mod events;
pub(crate) mod leave;
pub(crate) mod pending;
pub(crate) mod responder;
pub(crate) mod streamed_body;
mod unlocked;
pub(crate) mod worker_handle;

pub use body_sender::{BodySender, SendError, TrySendError};
pub use event_hub::{EventHub, EventLimits};
pub use events::{Event, EventSender};
pub use responder::Responder;
