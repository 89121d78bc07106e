//! Encrypted bytes for which the socket had no room.

use super::super::Transport;
use crate::runtime::tls::{Outgoing, Record};
use std::collections::VecDeque;
use std::io;

/// Encrypted bytes of a connection that are still to be sent. Empty, it takes no memory.
#[derive(Debug, Default)]
pub(super) struct Unsent {
    kept: Option<Box<Kept>>,
    /// Bytes of plaintext that have left since [`Unsent::take_left`].
    left: usize,
}

#[derive(Debug, Default)]
struct Kept {
    bytes: Vec<u8>,
    /// How many of them are sent.
    sent: usize,
    /// Those of which something is not sent.
    records: VecDeque<Record>,
    /// Bytes of the first of them that are sent.
    gone: usize,
}

/// How much plaintext has left with the first `gone` bytes of a record: not all of it before the last byte of the
/// record, as the client cannot read it without.
fn left(record: Record, gone: usize) -> usize {
    gone.saturating_sub(record.wire - record.plain)
}

impl Unsent {
    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_none()
    }

    /// Bytes of memory that it takes.
    pub(super) fn held(&self) -> usize {
        self.kept.as_ref().map_or(0, |kept| kept.bytes.capacity())
    }

    /// Whether plaintext is here whose leaving has not been told.
    pub(super) fn has_plain(&self) -> bool {
        let waits = |kept: &Kept| kept.records.iter().any(|record| record.plain > 0);
        self.left > 0 || self.kept.as_deref().is_some_and(waits)
    }

    /// The bytes of plaintext that have left since this was last asked.
    pub(super) fn take_left(&mut self) -> usize {
        std::mem::take(&mut self.left)
    }

    /// The first `n` bytes of `out` are sent, the others are kept.
    pub(super) fn keep(&mut self, out: &mut Outgoing, n: usize) {
        let all = out.bytes().len();
        let records = out.records();
        if n == all && self.kept.is_none() {
            self.left += records.iter().map(|record| record.plain).sum::<usize>();
            return;
        }
        debug_assert!(n == 0 || self.kept.is_none());
        let kept = self.kept.get_or_insert_default();
        kept.records.extend(records);
        kept.bytes.extend_from_slice(&out.bytes()[n..]);
        self.advance(n);
    }

    /// Puts what has no plaintext in front of what is encrypted next.
    pub(super) fn move_to(&mut self, out: &mut Outgoing) {
        if let Some(kept) = self.kept.take() {
            out.push(&kept.bytes[kept.sent..]);
        }
    }

    /// Sends what it can with one write.
    pub(super) fn write(&mut self, inner: &mut impl Transport) -> io::Result<()> {
        if let Some(kept) = &mut self.kept {
            let n = inner.write(&kept.bytes[kept.sent..])?;
            kept.sent += n;
            let is_all = kept.sent == kept.bytes.len();
            self.advance(n);
            if is_all {
                self.kept = None;
            }
        }
        Ok(())
    }

    fn advance(&mut self, mut n: usize) {
        let Some(kept) = &mut self.kept else {
            return;
        };
        while let Some(&record) = kept.records.front().filter(|_| n > 0) {
            let step = n.min(record.wire - kept.gone);
            let (before, after) = (kept.gone, kept.gone + step);
            self.left += left(record, after) - left(record, before);
            (n, kept.gone) = (n - step, after);
            if after == record.wire {
                kept.records.pop_front();
                kept.gone = 0;
            }
        }
    }
}
