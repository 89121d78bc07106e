//! What a log of messages has to do, and what it says.

use super::position::Position;
pub use crate::shared::log_error::LogError;
use std::fmt;
use std::sync::{Arc, Weak};

/// A message of a topic, as it is kept and sent between machines.
///
/// ```
/// use peregrine::history::LogMessage;
///
/// let text = LogMessage::from("hello");
/// assert_eq!((text.as_text(), text.len()), (Some("hello"), 5));
/// let bytes = LogMessage::from(vec![0, 255]);
/// assert_eq!((bytes.as_text(), bytes.as_bytes()), (None, &[0, 255][..]));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "the two kinds of messages of RFC 6455"
)]
pub enum LogMessage {
    /// Text.
    Text(Arc<str>),
    /// Any bytes.
    Binary(Arc<[u8]>),
}

impl LogMessage {
    /// The bytes of either kind.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            LogMessage::Text(text) => text.as_bytes(),
            LogMessage::Binary(bytes) => bytes,
        }
    }

    /// The text; `None` if it is binary.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            LogMessage::Text(text) => Some(text),
            LogMessage::Binary(_) => None,
        }
    }

    /// Number of its bytes.
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<&str> for LogMessage {
    fn from(text: &str) -> LogMessage {
        LogMessage::Text(text.into())
    }
}

impl From<String> for LogMessage {
    fn from(text: String) -> LogMessage {
        LogMessage::Text(text.into())
    }
}

impl From<&[u8]> for LogMessage {
    fn from(bytes: &[u8]) -> LogMessage {
        LogMessage::Binary(bytes.into())
    }
}

impl From<Vec<u8>> for LogMessage {
    fn from(bytes: Vec<u8>) -> LogMessage {
        LogMessage::Binary(bytes.into())
    }
}

#[cfg(feature = "websocket")]
impl From<peregrine_protocol::ws::frame::Message<'_>> for LogMessage {
    fn from(message: peregrine_protocol::ws::frame::Message<'_>) -> LogMessage {
        match message.as_text() {
            Some(text) => text.into(),
            None => message.as_bytes().into(),
        }
    }
}

/// A message of a log, with its offset.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "logs outside of this crate make entries"
)]
pub struct Entry {
    /// See [`Position::offset`].
    pub offset: u64,
    /// The message.
    pub message: LogMessage,
}

/// From where a topic is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(
    clippy::exhaustive_enums,
    reason = "logs outside of this crate have to handle all"
)]
pub enum Start {
    /// Nothing of what was sent before.
    Now,
    /// The last messages, at most this number of them.
    Last(usize),
    /// What came after this position.
    After(Position),
}

/// What a log has read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "logs outside of this crate make it"
)]
pub enum Read {
    /// All that was asked for.
    Recovered {
        /// The messages, in order, without a gap. The last one is at `last`.
        entries: Vec<Entry>,
        /// The position of the last message of the topic. Its offset is 0 if there is none.
        last: Position,
    },
    /// Messages after the position are missing: they were dropped, they are more than the limit, or the position is of
    /// another epoch.
    Lost {
        /// The position of the last message of the topic.
        last: Position,
    },
}

/// Receives what [`Log::since`] has read. It is called once, on any thread.
pub type ReadDone = Box<dyn FnOnce(Result<Read, LogError>) + Send>;

/// Keeps the messages of topics in order. [`MemoryLog`](super::MemoryLog) is one; others keep them on another machine.
///
/// No method may block: each is called on the threads of handlers. What takes time ends with a call of the
/// [`Feed`] or of the [`ReadDone`], on any thread.
///
/// [`Log::follow`] and [`Log::unfollow`] are called under a lock, so that they come in order: they must not call the feed,
/// nor the history.
///
/// # What a log promises
///
/// - Offsets of a topic count up by one, from 1, within an epoch.
/// - A message that is appended is given to the feed of each process that follows its topic, once, in the order of the
///   offsets. Where that fails, as when a connection breaks, the log calls [`Feed::interrupted`] as soon as it can be
///   read again. `History` itself drops what comes twice, and reads what is missing.
/// - What is appended after a read has been made reaches the feed, if the topic was followed before the read.
/// - When messages with an offset may have been lost, there is a new epoch.
pub trait Log: Send + Sync + 'static {
    /// Takes the feed of a history. It is called once for each history that has this log.
    fn start(&self, feed: Feed);

    /// Appends a message to a topic.
    ///
    /// # Errors
    ///
    /// [`LogError::Full`] or [`LogError::Unavailable`]: the message is not appended, and is not sent to any client. Without
    /// an error it is appended, now or later, if the log does not fail.
    fn append(&self, topic: &str, message: LogMessage) -> Result<(), LogError>;

    /// Reads a topic from `start` to its end, and calls `done` with at most `limit` messages. If there are more after a
    /// position, the result is [`Read::Lost`]. A topic whose read fails is read again later, every half minute at most.
    fn since(&self, topic: &str, start: Start, limit: usize, done: ReadDone);

    /// The topic has its first subscriber in this process: from now on its messages are given to the feed.
    fn follow(&self, topic: &str) {
        let _ = topic;
    }

    /// The topic has had no subscriber in this process for a while, or the history was dropped. It is never called while there
    /// is one.
    fn unfollow(&self, topic: &str) {
        let _ = topic;
    }

    /// Called every 30 s by each history that has this log, on a thread of the history: memory of messages that are too old
    /// can be freed.
    fn sweep(&self) {}
}

impl<L: Log + ?Sized> Log for Arc<L> {
    fn start(&self, feed: Feed) {
        (**self).start(feed);
    }

    fn append(&self, topic: &str, message: LogMessage) -> Result<(), LogError> {
        (**self).append(topic, message)
    }

    fn since(&self, topic: &str, start: Start, limit: usize, done: ReadDone) {
        (**self).since(topic, start, limit, done);
    }

    fn follow(&self, topic: &str) {
        (**self).follow(topic);
    }

    fn unfollow(&self, topic: &str) {
        (**self).unfollow(topic);
    }

    fn sweep(&self) {
        (**self).sweep();
    }
}

/// What a [`Feed`] leads to.
pub(super) trait Receive: Send + Sync {
    fn deliver(&self, topic: &str, position: Position, message: LogMessage);
    fn interrupted(&self);
}

/// Where a [`Log`] puts the messages that were appended. Clones are the same feed. It does not keep its history alive.
#[derive(Clone)]
pub struct Feed(Weak<dyn Receive>);

impl Feed {
    pub(super) fn new(target: Weak<dyn Receive>) -> Feed {
        Feed(target)
    }

    /// Sends a message to the subscribers of its topic in this process. It does not block.
    ///
    /// A message that was delivered already is dropped. Before a message after a gap, the history reads what is missing.
    pub fn deliver(&self, topic: &str, position: Position, message: LogMessage) {
        if let Some(target) = self.0.upgrade() {
            target.deliver(topic, position, message);
        }
    }

    /// Messages may not have been delivered. The log can be read again, and all its topics are followed: each is read now
    /// from the last position that was delivered.
    pub fn interrupted(&self) {
        if let Some(target) = self.0.upgrade() {
            target.interrupted();
        }
    }

    /// Whether the history has been dropped.
    pub fn is_closed(&self) -> bool {
        self.0.strong_count() == 0
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed")
            .field("is_closed", &self.is_closed())
            .finish()
    }
}
