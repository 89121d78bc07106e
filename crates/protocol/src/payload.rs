//! Bytes of a body, owned or shared, that are sent without a copy.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// The whole body of a response. A payload of 16 KiB or more is not copied.
///
/// `into()` makes it from static bytes and text, `Vec<u8>`, `String`, `Arc<[u8]>`, and `Arc<Vec<u8>>`.
///
/// ```
/// # use peregrine_protocol::payload::Payload;
/// assert_eq!(Payload::from("static").len(), 6);
/// assert!(Payload::from(Vec::new()).is_empty());
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Payload {
    /// Static bytes.
    Static(&'static [u8]),
    /// Bytes that several responses share.
    Shared(Arc<[u8]>),
    /// A vector that several responses share.
    SharedVec(Arc<Vec<u8>>),
    /// Bytes of this response alone.
    Owned(Vec<u8>),
}

impl Payload {
    /// The bytes.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Payload::Static(bytes) => bytes,
            Payload::Shared(bytes) => bytes,
            Payload::SharedVec(bytes) => bytes,
            Payload::Owned(bytes) => bytes,
        }
    }

    /// The number of bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Whether there are no bytes.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<&'static [u8]> for Payload {
    fn from(bytes: &'static [u8]) -> Payload {
        Payload::Static(bytes)
    }
}

impl<const N: usize> From<&'static [u8; N]> for Payload {
    fn from(bytes: &'static [u8; N]) -> Payload {
        Payload::Static(bytes)
    }
}

impl From<&'static str> for Payload {
    fn from(text: &'static str) -> Payload {
        Payload::Static(text.as_bytes())
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Payload {
        Payload::Owned(bytes)
    }
}

impl From<String> for Payload {
    fn from(text: String) -> Payload {
        Payload::Owned(text.into_bytes())
    }
}

impl From<Arc<[u8]>> for Payload {
    fn from(bytes: Arc<[u8]>) -> Payload {
        Payload::Shared(bytes)
    }
}

impl From<Arc<Vec<u8>>> for Payload {
    fn from(bytes: Arc<Vec<u8>>) -> Payload {
        Payload::SharedVec(bytes)
    }
}
