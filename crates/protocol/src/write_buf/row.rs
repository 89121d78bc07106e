//! A buffer whose content goes to another one.

#[cfg(feature = "http2")]
use super::{Body, Watcher};
use super::{Mark, WriteBuf};
#[cfg(feature = "http2")]
use crate::payload::Payload;
#[cfg(feature = "http2")]
use alloc::{boxed::Box, vec::Vec};

impl<X> WriteBuf<X> {
    /// An empty buffer whose content goes to another one. A watcher waits here although nothing else does: the bytes
    /// before it are in the other buffer.
    #[cfg(feature = "http2")]
    pub(crate) fn queue() -> WriteBuf<X> {
        WriteBuf {
            is_queue: true,
            ..WriteBuf::default()
        }
    }

    /// The bytes in one row, up to their end. Nothing of them may have been sent.
    pub fn row(&self) -> &[u8] {
        debug_assert!(self.sent == 0);
        &self.bytes
    }

    /// Whether all of it is one row of bytes.
    #[cfg(any(feature = "http2", feature = "http3"))]
    pub(crate) fn is_row(&self) -> bool {
        self.large.is_empty()
    }

    /// Takes the watchers out of it, in order. What they watch goes to another buffer.
    #[cfg(feature = "http2")]
    pub(crate) fn take_watchers(&mut self) -> impl Iterator<Item = Box<dyn Watcher>> + use<X> {
        let mut taken = Vec::new();
        let unsent = self.large_sent..;
        for large in &mut self.large[unsent] {
            if let Body::Watcher(_) = large.body {
                let none = Body::Memory(Payload::Static(b""));
                if let Body::Watcher(watcher) = core::mem::replace(&mut large.body, none) {
                    taken.push(watcher);
                }
            }
        }
        taken.into_iter()
    }

    /// The bytes that were appended since `mark`.
    pub fn since(&mut self, mark: Mark) -> &mut [u8] {
        &mut self.bytes[mark.bytes..]
    }
}
