//! Deferred responses: sent later, from any thread.
//!
//! The thread that makes a response records it as status, fields and body. It sends the record through a
//! mailbox to the thread of the connection, which encodes it, because only that thread knows the state of the
//! connection. A `RequestId` names the request. A worker never uses an identifier twice, so a deferred
//! response reaches its own request or none.

mod body_sender;
#[cfg(any(test, feature = "internals"))]
pub(crate) mod check;
mod event_hub;
pub(crate) mod events;
#[cfg(feature = "websocket")]
pub(crate) mod handshake;
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
pub(crate) use unlocked::Held;
