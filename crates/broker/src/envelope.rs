//! The envelope: what stands before the bytes of each message.

use peregrine::relay::{RelayKind, RelayMessage};

/// What stands before the bytes of each message on its way through a broker: 26 bytes, version 1.
///
/// | offset | bytes | what |
/// |---|---|---|
/// | 0 | 1 | version: 1. A receiver drops other versions. |
/// | 1 | 1 | kind: 1 text (UTF-8), 2 binary, 3 server-sent event (UTF-8 lines, with an empty line at the end) |
/// | 2 | 8 | node: a random number that names the process that publishes, big-endian |
/// | 10 | 8 | number: counts the messages of this node to this topic, from 1, big-endian. It may begin anew. 0: not counted. |
/// | 18 | 8 | a connection of the node that does not get the message, big-endian. All bits 1: none. |
/// | 26 | | the bytes of the message |
///
/// A program in another language publishes with a random node that it keeps, number 0, and eight bytes of 0xFF. In Python:
///
/// ```text
/// NODE = os.urandom(8)
/// def text(message): return b"\x01\x01" + NODE + bytes(8) + b"\xff" * 8 + message.encode()
/// ```
///
/// ```
/// use peregrine::relay::RelayMessage;
/// use peregrine_broker::Envelope;
///
/// let message = RelayMessage::text("hi");
/// let mut bytes = Envelope::head(&message, 0x0102030405060708, 9).to_vec();
/// assert_eq!(bytes[..10], [1, 1, 1, 2, 3, 4, 5, 6, 7, 8]);
/// bytes.extend_from_slice(b"hi");
/// let envelope = Envelope::parse(&bytes).expect("complete");
/// assert_eq!((envelope.node, envelope.number, envelope.message), (0x0102030405060708, 9, message));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Envelope<'a> {
    /// The process that publishes.
    pub node: u64,
    /// Counts the messages of the node to the topic. 0: not counted.
    pub number: u64,
    /// The message.
    pub message: RelayMessage<'a>,
}

/// Why bytes are no envelope that this version knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// Fewer than 26 bytes.
    Short,
    /// Another version.
    Version(u8),
    /// An unknown kind.
    Kind(u8),
}

impl std::fmt::Display for EnvelopeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            EnvelopeError::Short => f.write_str("the envelope has fewer than 26 bytes"),
            EnvelopeError::Version(version) => write!(f, "the envelope has version {version}"),
            EnvelopeError::Kind(kind) => write!(f, "the message has the unknown kind {kind}"),
        }
    }
}

impl std::error::Error for EnvelopeError {}

const VERSION: u8 = 1;
const NONE: u64 = u64::MAX;

impl<'a> Envelope<'a> {
    /// Bytes before those of the message.
    pub const LEN: usize = 26;

    /// The bytes that stand before those of the message.
    pub fn head(message: &RelayMessage<'_>, node: u64, number: u64) -> [u8; Envelope::LEN] {
        let mut head = [0; Envelope::LEN];
        head[0] = VERSION;
        head[1] = match message.kind() {
            RelayKind::Text => 1,
            RelayKind::Binary => 2,
            RelayKind::Event => 3,
            // A kind that this crate does not know: receivers drop it.
            _ => 0,
        };
        head[2..10].copy_from_slice(&node.to_be_bytes());
        head[10..18].copy_from_slice(&number.to_be_bytes());
        head[18..26].copy_from_slice(&message.except().unwrap_or(NONE).to_be_bytes());
        head
    }

    /// Reads an envelope and the message after it.
    ///
    /// # Errors
    ///
    /// The bytes are too few, or of another version or kind. Whether a text is UTF-8 is not looked at.
    pub fn parse(bytes: &'a [u8]) -> Result<Envelope<'a>, EnvelopeError> {
        let (head, payload) = bytes
            .split_first_chunk::<{ Envelope::LEN }>()
            .ok_or(EnvelopeError::Short)?;
        let number = |at: usize| {
            let bytes = head[at..at + 8].try_into().unwrap_or_default();
            u64::from_be_bytes(bytes)
        };
        if head[0] != VERSION {
            return Err(EnvelopeError::Version(head[0]));
        }
        let kind = match head[1] {
            1 => RelayKind::Text,
            2 => RelayKind::Binary,
            3 => RelayKind::Event,
            kind => return Err(EnvelopeError::Kind(kind)),
        };
        let except = Some(number(18)).filter(|&id| id != NONE);
        Ok(Envelope {
            node: number(2),
            number: number(10),
            message: RelayMessage::new(kind, payload).with_except(except),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_envelope_comes_back() {
        let bytes = b"data: \xff\n\n";
        for kind in [RelayKind::Text, RelayKind::Binary, RelayKind::Event] {
            for except in [None, Some(0), Some(u64::MAX - 1)] {
                let message = RelayMessage::new(kind, bytes).with_except(except);
                let mut all = Envelope::head(&message, 7, u64::MAX).to_vec();
                all.extend_from_slice(bytes);
                let envelope = Envelope::parse(&all).expect("complete");
                let number = u64::MAX;
                assert_eq!(
                    envelope,
                    Envelope {
                        node: 7,
                        number,
                        message
                    }
                );
                for len in 0..Envelope::LEN {
                    assert_eq!(Envelope::parse(&all[..len]), Err(EnvelopeError::Short));
                }
                assert!(Envelope::parse(&all[..Envelope::LEN]).is_ok());
            }
        }
        // As it is written in the documentation, for other languages.
        let documented =
            b"\x01\x01\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\x09\xff\xff\xff\xff\xff\xff\xff\xffhi";
        let head = Envelope::head(&RelayMessage::text("hi"), 7, 9);
        assert_eq!(head, documented[..Envelope::LEN]);
    }

    #[test]
    fn other_versions_and_kinds_are_refused() {
        let head = Envelope::head(&RelayMessage::text(""), 1, 1);
        for byte in 0..=255 {
            let mut other = head;
            other[0] = byte;
            assert_eq!(Envelope::parse(&other).is_ok(), byte == 1);
            let mut other = head;
            other[1] = byte;
            assert_eq!(Envelope::parse(&other).is_ok(), (1..=3).contains(&byte));
        }
    }
}
