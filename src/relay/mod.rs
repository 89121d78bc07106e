//! Topics of more than one process: what a broker between them has to do.
//!
//! A [`Relay`] carries the messages of `Hub` and [`EventHub`](crate::sse::EventHub) to other processes,
//! for example over NATS or Redis. The crate `peregrine-nats` is one. The [guide](crate::guide::machines) has the first
//! steps.
//!
//! ```
//! use peregrine::relay::{Local, Relay, RelayHandle, RelayMessage, Relayed};
//! use peregrine::sse::EventHub;
//! use std::sync::Mutex;
//! use std::sync::mpsc::{Receiver, Sender, channel};
//!
//! /// Two processes of one test: what one publishes the other delivers.
//! struct Pipe {
//!     to_other: Mutex<Sender<(Option<String>, Vec<u8>)>>,
//!     from_other: Mutex<Option<Receiver<(Option<String>, Vec<u8>)>>>,
//! }
//!
//! impl Relay for Pipe {
//!     fn publish(&self, topic: Option<&str>, message: RelayMessage<'_>) -> Relayed {
//!         let item = (topic.map(str::to_owned), message.bytes().to_vec());
//!         match self.to_other.lock().expect("no panic").send(item) {
//!             Ok(()) => Relayed::Queued,
//!             Err(_) => Relayed::Down,
//!         }
//!     }
//!
//!     fn started(&self, local: Local) {
//!         let from_other = self.from_other.lock().expect("no panic").take();
//!         std::thread::spawn(move || {
//!             for (topic, bytes) in from_other.into_iter().flatten() {
//!                 local.deliver(topic.as_deref(), RelayMessage::event(&bytes));
//!             }
//!         });
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (to_b, from_a) = channel();
//! let (to_a, from_b) = channel();
//! let pipe = |to, from| Pipe { to_other: Mutex::new(to), from_other: Mutex::new(Some(from)) };
//! let (a, b) = (EventHub::new(), EventHub::new());
//! a.set_relay(&RelayHandle::new(pipe(to_b, from_b)))?;
//! b.set_relay(&RelayHandle::new(pipe(to_a, from_a)))?;
//! a.publish("news", "for the pages of both")?;
//! # Ok(())
//! # }
//! ```

mod handle;
mod interest;

pub(crate) use handle::LocalHub;
pub use handle::{Local, RelayHandle};

/// Carries published messages to other processes, and theirs to this one. [`RelayHandle`] connects it to hubs.
///
/// No method may block, except [`Relay::stopped`]: they are called on the threads of handlers. [`Relay::subscribed`] and
/// [`Relay::unsubscribed`] are called with locks held, so they must not call a hub.
pub trait Relay: Send + Sync + 'static {
    /// A message was published in this process. `topic` is `None` for a broadcast.
    ///
    /// Called on the thread that publishes. The result goes to the publisher and to the counters
    /// [`relay_published`](crate::metrics::Counters::relay_published) and
    /// [`relay_dropped`](crate::metrics::Counters::relay_dropped).
    fn publish(&self, topic: Option<&str>, message: RelayMessage<'_>) -> Relayed;

    /// The process has a subscriber of the topic now, and had none. Calls for one topic do not overlap.
    ///
    /// Called on the thread that subscribes, which does not wait for the broker: messages of this process reach the
    /// subscriber at once, those of others as soon as the broker knows of it.
    fn subscribed(&self, topic: &str) {
        let _ = topic;
    }

    /// The process has had no subscriber of the topic for the time of [`RelayHandle::with_linger`]. Called on a thread of the handle.
    fn unsubscribed(&self, topic: &str) {
        let _ = topic;
    }

    /// The first hub was connected: messages of other processes go to `local` from now on. Called once.
    fn started(&self, local: Local) {
        let _ = local;
    }

    /// A server with this relay begins to stop. It still publishes. Called on the thread that stops.
    fn stopping(&self) {}

    /// All servers with this relay have ended: nothing more is published, and it does not start again. It may block for a
    /// second or so to send what is queued. Called once, on the thread that waits for the last server.
    fn stopped(&self) {}

    /// Whether messages reach other processes now. While it is false, `/readyz` of [`Health`](crate::server::Health)
    /// responds with 503.
    fn is_ready(&self) -> bool {
        true
    }

    /// Whether this process delivers its own messages at once, or when they come back. It must not change.
    fn order(&self) -> RelayOrder {
        RelayOrder::Local
    }

    /// Most bytes that a message may have now; `None` if that is not known. [`Relay::publish`] gets no larger one.
    fn max_message(&self) -> Option<usize> {
        None
    }
}

/// In which order the subscribers of a process get the messages that the process publishes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RelayOrder {
    /// At once, before the broker has them. Two processes may see two messages of two publishers in different orders.
    #[default]
    Local,
    /// When they come back from the broker, so all processes see the order of the broker. A message that the relay does not
    /// take is delivered at once. A message that is lost with a connection to the broker is lost for this process, too.
    Broker,
}

/// What a [`Relay`] did with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Relayed {
    /// It will be sent.
    Queued,
    /// The queue to the broker is full: the message was dropped, and other processes do not get it.
    Full,
    /// The message or the name of its topic is larger than the broker takes: it was dropped.
    TooLarge,
    /// There is no connection to the broker, and the relay keeps nothing: the message was dropped.
    Down,
}

impl Relayed {
    /// True for [`Relayed::Queued`].
    pub fn is_queued(self) -> bool {
        self == Relayed::Queued
    }
}

/// The kind of a [`RelayMessage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RelayKind {
    /// A WebSocket message of text: UTF-8.
    Text,
    /// A WebSocket message of bytes.
    Binary,
    /// A server-sent event: its lines as they are sent, with an empty line at the end.
    Event,
}

/// A message on its way from one process to another.
///
/// ```
/// use peregrine::relay::{RelayKind, RelayMessage};
///
/// let message = RelayMessage::text("hello");
/// assert_eq!((message.kind(), message.bytes()), (RelayKind::Text, &b"hello"[..]));
/// assert_eq!(RelayMessage::binary(&[0]).kind(), RelayKind::Binary);
/// assert_eq!(RelayMessage::event(b"data: 1\n\n").except(), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayMessage<'a> {
    kind: RelayKind,
    bytes: &'a [u8],
    except: Option<u64>,
}

impl<'a> RelayMessage<'a> {
    /// A message of a kind. [`Local::deliver`] drops a text that is not UTF-8.
    pub fn new(kind: RelayKind, bytes: &'a [u8]) -> RelayMessage<'a> {
        RelayMessage {
            kind,
            bytes,
            except: None,
        }
    }

    /// A WebSocket message of text.
    pub fn text(text: &'a str) -> RelayMessage<'a> {
        RelayMessage::new(RelayKind::Text, text.as_bytes())
    }

    /// A WebSocket message of bytes.
    pub fn binary(bytes: &'a [u8]) -> RelayMessage<'a> {
        RelayMessage::new(RelayKind::Binary, bytes)
    }

    /// A server-sent event.
    pub fn event(lines: &'a [u8]) -> RelayMessage<'a> {
        RelayMessage::new(RelayKind::Event, lines)
    }

    /// What the bytes are.
    pub fn kind(&self) -> RelayKind {
        self.kind
    }

    /// The bytes, as [`RelayKind`] describes them.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// A connection of the publishing process that does not get the message:
    /// `WsId::to_u64`. It matters only with [`RelayOrder::Broker`], when the process gets its own
    /// message back.
    pub fn except(&self) -> Option<u64> {
        self.except
    }

    /// Whether it can be sent to a client as it is.
    fn is_sound(&self) -> bool {
        let is_text = || std::str::from_utf8(self.bytes).is_ok();
        match self.kind {
            RelayKind::Binary => true,
            RelayKind::Text => is_text(),
            RelayKind::Event => self.bytes.ends_with(b"\n\n") && is_text(),
        }
    }

    /// Sets the connection of [`RelayMessage::except`].
    #[must_use]
    pub fn with_except(mut self, id: Option<u64>) -> RelayMessage<'a> {
        self.except = id;
        self
    }
}

/// Why a hub cannot have a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RelayError {
    /// It has one already, and keeps that one.
    AlreadySet,
    /// Its server has started: the relay would not know the topics that have subscribers.
    Started,
}

impl std::fmt::Display for RelayError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            RelayError::AlreadySet => "the hub has a relay already",
            RelayError::Started => "the server of the hub has started",
        })
    }
}

impl std::error::Error for RelayError {}
