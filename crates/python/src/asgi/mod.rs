//! ASGI 3: the threads of the server fill a queue, and the asyncio loop of the main thread runs the application.
//!
//! No thread of the server takes Python's lock. The loop is woken once for all requests of a turn (`inbox`). `bridge`
//! makes tasks; `exchange` and `socket` are what `receive` and `send` of an application belong to.

mod awaitable;
mod bridge;
mod channel;
mod exchange;
mod inbox;
mod message;
mod scope;
mod senders;
mod socket;
mod upload;

pub(crate) use bridge::Bridge;
pub(crate) use channel::{Accepted, Channel};
pub(crate) use inbox::{Event, Inbox};
pub(crate) use upload::{Sink, Upload};
