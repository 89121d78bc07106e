//! A message that is framed once and sent to many connections.

use super::frame;
use super::frame::{Data, Message, OpCode};
use crate::payload::Payload;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// A message that is framed once and can be sent to any number of clients. A large one is not copied for each
/// client. The frames of a server are not masked, so they are the same for all.
///
/// ```
/// # use peregrine_protocol::ws::prepared::PreparedMessage;
/// let news = PreparedMessage::new("the same for all");
/// assert_eq!(news.len(), 16);
/// let again = news.clone(); // shares the bytes
/// # assert!(!again.is_empty());
/// ```
#[derive(Clone, Debug)]
pub struct PreparedMessage(Arc<Forms>);

#[derive(Debug)]
struct Forms {
    /// Header and payload.
    plain: Arc<Vec<u8>>,
    /// Where the payload begins.
    payload: usize,
    #[cfg(feature = "deflate")]
    deflated: std::sync::OnceLock<Option<Arc<Vec<u8>>>>,
}

impl PreparedMessage {
    /// Frames a message.
    pub fn new<'a>(message: impl Into<Message<'a>>) -> PreparedMessage {
        let message = message.into();
        let bytes = message.as_bytes();
        let payload = frame::header_len(bytes.len());
        let mut plain = Vec::with_capacity(payload + bytes.len());
        frame::write_header(OpCode::Data(message.data()), false, bytes.len(), &mut plain);
        debug_assert_eq!(plain.len(), payload);
        plain.extend_from_slice(bytes);
        PreparedMessage(Arc::new(Forms {
            plain: Arc::new(plain),
            payload,
            #[cfg(feature = "deflate")]
            deflated: std::sync::OnceLock::new(),
        }))
    }

    /// Bytes of the message.
    pub fn len(&self) -> usize {
        self.0.plain.len() - self.0.payload
    }

    /// True if the message has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of the message.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0.plain[self.0.payload..]
    }

    /// Whether it is a text, else binary.
    ///
    /// ```
    /// # use peregrine_protocol::ws::prepared::PreparedMessage;
    /// assert!(PreparedMessage::new("text").is_text() && !PreparedMessage::new(&[0][..]).is_text());
    /// ```
    pub fn is_text(&self) -> bool {
        self.opcode() == OpCode::Data(Data::Text)
    }

    fn opcode(&self) -> OpCode {
        OpCode::from(self.0.plain[0] & 0x0f)
    }

    /// The length of the uncompressed frame, which counts in a backlog.
    pub fn frame_len(&self) -> usize {
        self.0.plain.len()
    }

    /// The frame for a client without compression.
    pub(crate) fn plain(&self) -> Payload {
        Payload::SharedVec(self.0.plain.clone())
    }

    /// The compressed frame. The first call makes it by `deflate`. `None` if it would not be smaller.
    #[cfg(feature = "deflate")]
    pub(crate) fn deflated(
        &self,
        deflate: impl FnOnce(&[u8]) -> Option<Vec<u8>>,
    ) -> Option<Payload> {
        let make = || {
            let bytes = deflate(self.as_bytes()).filter(|bytes| bytes.len() < self.len())?;
            let mut frame = Vec::with_capacity(frame::MAX_HEADER + bytes.len());
            frame::write_header(self.opcode(), true, bytes.len(), &mut frame);
            frame.extend_from_slice(&bytes);
            Some(Arc::new(frame))
        };
        let made = self.0.deflated.get_or_init(make).clone();
        made.map(Payload::SharedVec)
    }
}

impl<'a, M: Into<Message<'a>>> From<M> for PreparedMessage {
    fn from(message: M) -> PreparedMessage {
        PreparedMessage::new(message)
    }
}

/// A text that was made for this, as by `format!`.
impl From<String> for PreparedMessage {
    fn from(text: String) -> PreparedMessage {
        PreparedMessage::new(&text)
    }
}
