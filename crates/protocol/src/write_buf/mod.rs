//! Bytes and opaque segments that wait to be sent.

use crate::Seconds;
use crate::limits::Limits;
use crate::payload::Payload;
use crate::rate::{Rate, RateMeter};
use alloc::{boxed::Box, vec::Vec};

/// From this size on a payload is sent without a copy. Below, a copy is cheaper than one more slice of a write.
const LARGE: usize = 16 << 10;

/// The most slices of one gathering write.
pub const MAX_SLICES: usize = 32;

/// The largest buffer that is kept. A larger one is freed.
const KEEP: usize = 64 << 10;

/// Responses in order: small ones as one contiguous buffer, large payloads between them, and segments
/// that only the driver can read (`X`, for example a range of a file).
///
/// ```text
///   bytes:  [head A][small body A][head B]          [head C] ...
///   large:                                ^ payload B
/// ```
///
/// Invariants: `sent <= bytes.len()`; `large` is sorted by `at`, and `at >= sent` for all that are
/// not sent; `part` is less than the length of the first of them.
#[derive(Debug)]
pub struct WriteBuf<X = NoSegment> {
    bytes: Vec<u8>,
    sent: usize,
    large: Vec<Large<X>>,
    /// The number of elements of `large` that are sent.
    large_sent: usize,
    /// How many bytes of the next one are sent.
    part: u64,
    /// Unsent bytes of all kinds.
    len: u64,
    /// The memory of the unsent elements of `large`.
    large_held: usize,
    /// How many unsent elements of `large` are segments.
    segments: usize,
    /// The rate at which the client receives bytes, for as long as some are waiting.
    meter: Option<RateMeter>,
    /// See [`WriteBuf::queue`].
    is_queue: bool,
}

/// For a [`WriteBuf`] without segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoSegment {}

#[derive(Debug)]
struct Large<X> {
    /// The position in `bytes` at which it is sent.
    at: usize,
    body: Body<X>,
}

#[derive(Debug)]
enum Body<X> {
    Memory(Payload),
    /// A segment of this length, which the driver reads.
    Segment(X, u64),
    /// No bytes.
    Watcher(Box<dyn Watcher>),
}

/// Called when all bytes before it in a [`WriteBuf`] have been sent, or are lost.
pub trait Watcher: core::fmt::Debug + Send {
    /// It is sent.
    fn sent(self: Box<Self>);

    /// The last `unsent` bytes will never be sent.
    fn lost(self: Box<Self>, unsent: u64);
}

impl<X> Body<X> {
    fn len(&self) -> u64 {
        match self {
            Body::Memory(payload) => payload.len() as u64,
            Body::Segment(_, len) => *len,
            Body::Watcher(_) => 0,
        }
    }

    fn is_segment(&self) -> bool {
        matches!(self, Body::Segment(..))
    }

    /// The memory that counts for this client. A WebSocket message is a shared vector, and counts for each
    /// client that it waits for.
    fn held(&self) -> usize {
        match self {
            // Bytes that several responses share belong to the program. If each response counted them,
            // eight clients that do not read 64 MiB would use up the budget of all others.
            Body::Memory(Payload::Static(_) | Payload::Shared(_))
            | Body::Segment(..)
            | Body::Watcher(_) => 0,
            Body::Memory(payload) => payload.len(),
        }
    }
}

/// The next bytes to send.
#[derive(Debug)]
pub enum Segment<'a, X> {
    /// One slice of bytes.
    Row {
        /// They may be none.
        bytes: &'a [u8],
        /// Whether a segment follows at once.
        more: bool,
    },
    /// Several pieces: [`WriteBuf::gather`] has them.
    Pieces,
    /// A part of a segment.
    Segment {
        /// The segment that was passed to [`WriteBuf::push_segment`].
        segment: &'a X,
        /// The bytes of it that are sent.
        sent: u64,
        /// The bytes of it that are unsent; at least one.
        len: u64,
    },
}

/// The content of a [`WriteBuf`], to be appended to another one. It takes no more memory than necessary.
#[derive(Debug)]
pub struct Detached<X = NoSegment> {
    bytes: Box<[u8]>,
    large: Vec<Large<X>>,
}

impl<X> Detached<X> {
    /// The first `len` bytes.
    pub fn row(&self, len: usize) -> &[u8] {
        &self.bytes[..len]
    }
}

/// A position for [`WriteBuf::truncate`].
#[derive(Clone, Copy, Default)]
pub struct Mark {
    bytes: usize,
    large: usize,
    len: u64,
}

impl<X> Default for WriteBuf<X> {
    fn default() -> WriteBuf<X> {
        WriteBuf {
            bytes: Vec::new(),
            sent: 0,
            large: Vec::new(),
            large_sent: 0,
            part: 0,
            len: 0,
            large_held: 0,
            segments: 0,
            meter: None,
            is_queue: false,
        }
    }
}

impl<X> WriteBuf<X> {
    /// Unsent bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing is unsent.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Segments, or parts of them, that wait to be sent.
    #[inline]
    pub fn segments(&self) -> usize {
        self.segments
    }

    /// So much waits that nothing more is to be added: more than [`Limits::output_bytes`], or
    /// [`Limits::output_files`] segments.
    #[inline]
    pub fn is_full(&self, limits: &Limits) -> bool {
        self.len > limits.output_bytes as u64
            || self.segments > 0 && self.segments >= limits.output_files
    }

    /// Its memory in bytes.
    pub fn held(&self) -> usize {
        let large = self.large.capacity() * size_of::<Large<X>>();
        size_of::<WriteBuf<X>>() + self.bytes.capacity() + large + self.large_held
    }

    /// The position of the bytes that are appended from now on.
    pub fn mark(&self) -> Mark {
        Mark {
            bytes: self.bytes.len(),
            large: self.large.len(),
            len: self.len,
        }
    }

    /// Bytes, segments included, that were appended since `mark`.
    pub fn len_since(&self, mark: Mark) -> u64 {
        self.len - mark.len
    }

    /// Removes everything that was appended after `mark`. Nothing of it may have been sent.
    pub fn truncate(&mut self, mark: Mark) {
        debug_assert!(self.sent <= mark.bytes && self.large_sent <= mark.large);
        self.bytes.truncate(mark.bytes);
        for gone in self.large.drain(mark.large..) {
            self.large_held -= gone.body.held();
            self.segments -= usize::from(gone.body.is_segment());
        }
        self.len = mark.len;
    }

    /// Appends bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.len += bytes.len() as u64;
    }

    /// Appends the bytes that `write` writes.
    #[inline]
    pub fn push_with<T>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let before = self.bytes.len();
        let result = write(&mut self.bytes);
        self.len += (self.bytes.len() - before) as u64;
        result
    }

    /// Whether it is sent without a copy.
    pub fn is_large(payload: &Payload) -> bool {
        payload.len() >= LARGE
    }

    /// Appends a payload: as a separate element if it is large, otherwise by a copy.
    pub fn push_payload(&mut self, payload: Payload) {
        match WriteBuf::<X>::is_large(&payload) {
            true => self.push_large(Body::Memory(payload)),
            false => self.push(payload.as_bytes()),
        }
    }

    /// Appends `len` bytes that the driver reads when it sends them.
    pub fn push_segment(&mut self, segment: X, len: u64) {
        if len > 0 {
            self.push_large(Body::Segment(segment, len));
        }
    }

    /// Registers `watcher` for the moment when all bytes that are here now are sent.
    pub fn push_watcher(&mut self, watcher: Box<dyn Watcher>) {
        match self.is_empty() && !self.is_queue {
            true => watcher.sent(),
            false => self.push_large(Body::Watcher(watcher)),
        }
    }

    /// Whether the bytes since `mark` are not more than the system usually takes at once.
    pub fn is_small_since(&self, mark: Mark) -> bool {
        self.large.len() == mark.large && self.len - mark.len < LARGE as u64
    }

    fn push_large(&mut self, body: Body<X>) {
        let at = self.bytes.len();
        self.add(Large { at, body });
    }

    fn add(&mut self, large: Large<X>) {
        // The lengths of segments may be wrong, and their sum may overflow.
        self.len = self.len.saturating_add(large.body.len());
        self.large_held += large.body.held();
        self.segments += usize::from(large.body.is_segment());
        self.large.push(large);
    }

    /// Takes the whole content. Nothing of it may have been sent.
    pub fn detach(&mut self) -> Detached<X> {
        debug_assert!(self.sent == 0 && self.large_sent == 0 && self.part == 0);
        let detached = Detached {
            bytes: self.bytes.as_slice().into(),
            large: core::mem::take(&mut self.large),
        };
        self.reset_large();
        self.clear();
        detached
    }

    /// Appends the content of another buffer without its first `from` bytes. No large element may be before
    /// that position.
    pub fn append(&mut self, detached: Detached<X>, from: usize) {
        let base = self.bytes.len();
        self.push(&detached.bytes[from..]);
        for large in detached.large {
            let at = base + large.at - from;
            self.add(Large { at, ..large });
        }
    }

    /// The next bytes to send.
    pub fn next(&self) -> Segment<'_, X> {
        let Some(large) = self.large.get(self.large_sent) else {
            let bytes = &self.bytes[self.sent..];
            return Segment::Row { bytes, more: false };
        };
        match &large.body {
            Body::Segment(..) if large.at > self.sent => Segment::Row {
                bytes: &self.bytes[self.sent..large.at],
                more: true,
            },
            Body::Segment(segment, len) => Segment::Segment {
                segment,
                sent: self.part,
                len: len - self.part,
            },
            Body::Memory(_) | Body::Watcher(_) => Segment::Pieces,
        }
    }

    /// Fills `slices` with the next bytes to send, in order, up to the next segment; `slice` makes each.
    /// Returns the number of slices.
    pub fn gather<'a, S>(
        &'a self,
        slices: &mut [S; MAX_SLICES],
        slice: impl Fn(&'a [u8]) -> S,
    ) -> usize {
        let mut count = 0;
        let mut from = self.sent;
        let mut part = self.part as usize;
        let mut add = |bytes: &'a [u8]| {
            if !bytes.is_empty() && count < MAX_SLICES {
                slices[count] = slice(bytes);
                count += 1;
            }
        };
        for large in self.large[self.large_sent..].iter().take(MAX_SLICES) {
            add(&self.bytes[from..large.at]);
            match &large.body {
                Body::Memory(payload) => add(&payload.as_bytes()[part..]),
                Body::Segment(..) => return count,
                Body::Watcher(_) => {}
            }
            (from, part) = (large.at, 0);
        }
        if self.large.len() - self.large_sent <= MAX_SLICES {
            add(&self.bytes[from..]);
        }
        count
    }

    /// Drops everything and keeps the allocation, up to a limit.
    #[inline]
    pub fn clear(&mut self) {
        if !self.large.is_empty() {
            self.tell_lost();
        }
        self.reset();
        if self.bytes.capacity() > KEEP {
            self.shrink();
        }
    }

    #[cold]
    fn shrink(&mut self) {
        self.bytes.shrink_to(KEEP);
    }

    /// Whether its allocation is larger than [`WriteBuf::clear`] keeps.
    #[cfg(feature = "websocket")]
    pub(crate) fn has_grown(&self) -> bool {
        self.bytes.capacity() > KEEP
    }

    /// Drops everything and keeps the allocation.
    #[inline]
    pub fn reset(&mut self) {
        // Where there are no large elements, all that is counted of them is 0.
        if !self.large.is_empty() {
            self.reset_large();
        }
        self.bytes.clear();
        (self.sent, self.len) = (0, 0);
        self.meter = None;
    }

    #[cold]
    fn reset_large(&mut self) {
        self.large.clear();
        (self.large_sent, self.part) = (0, 0);
        (self.large_held, self.segments) = (0, 0);
    }

    /// The client has received `n` of the bytes that wait since `since`, and not all of them.
    pub fn taken(&mut self, n: usize, since: Seconds, now: Seconds, rate: &Rate) {
        let new = || RateMeter::new(since, rate);
        self.meter.get_or_insert_with(new).count(n, now, rate);
    }

    /// When the client is too slow for the bytes that wait since `since`.
    pub fn due(&self, since: Seconds, rate: &Rate) -> Seconds {
        match &self.meter {
            Some(meter) => meter.due(rate),
            None => rate.first_due(since),
        }
    }

    /// When the client last received some of the bytes that wait since `since`.
    pub fn moved(&self, since: Seconds) -> Seconds {
        self.meter.map_or(since, |meter| meter.moved())
    }
}

mod pieces;
mod row;
mod sent;
#[cfg(test)]
mod tests;
pub mod unsent;
