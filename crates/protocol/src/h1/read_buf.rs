//! Received bytes that are not handled yet, with the parsed head.

use super::chunked::ChunkedDecoder;
use super::framing;
use super::framing::Framing;
use super::head::Head;
use crate::Seconds;
use crate::error::ProtocolError;
use crate::limits::Limits;
use crate::rate::{Rate, RateMeter, SOME};
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

/// The size of a new buffer: a head of the default limit, or several requests.
const ROOM: usize = 16 << 10;

/// Room for pieces of a streamed body, after the head.
const PIECE_ROOM: usize = 64 << 10;

/// Room of a wide buffer: four frames of HTTP/2 of the largest size, and a head.
const WIDE: usize = PIECE_ROOM + (1 << 10);

/// Leased to a connection while a request of it is incomplete or without its response. It contains the table
/// of the head, so an incomplete head that was parsed stays with its connection.
///
/// ```text
///   0        start                        end          bytes.len()
///   | (free) | head | body | next request  | (free)     |
/// ```
///
/// Invariant: `start <= end <= bytes.len()`. Offsets in `head` and `decoder` count from
/// `start`, so the bytes may move.
pub struct Input {
    /// The parsed head.
    pub head: Head,
    /// The decoder of a chunked body.
    pub decoder: ChunkedDecoder,
    /// Bytes of the body that were passed on piece by piece and removed.
    taken: u64,
    /// The rate of the body, and the number of bytes that were counted for it.
    meter: Option<RateMeter>,
    metered: u64,
    /// The number of bytes at the last large change, and the time of that change.
    noted: u64,
    moved: Seconds,
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Default for Input {
    fn default() -> Input {
        Input::new()
    }
}

impl Input {
    /// An empty buffer.
    pub fn new() -> Input {
        Input::with_room(ROOM)
    }

    /// An empty buffer for bodies that come in large frames: see [`Input::is_tight`].
    pub fn wide() -> Input {
        Input::with_room(WIDE)
    }

    fn with_room(room: usize) -> Input {
        Input {
            head: Head::new(),
            decoder: ChunkedDecoder::new(0, 0),
            taken: 0,
            meter: None,
            metered: 0,
            noted: 0,
            moved: Seconds::START,
            bytes: vec![0; room],
            start: 0,
            end: 0,
        }
    }

    /// Bytes of memory that it takes.
    #[inline]
    pub fn held(&self) -> usize {
        size_of::<Input>()
            + self.bytes.capacity()
            + self.decoder.held()
            + self.head.trailers().len()
    }

    /// Notes when bytes arrive and leave. Called after each turn of a connection that keeps the buffer.
    #[inline]
    pub fn note(&mut self, now: Seconds) {
        let there = self.taken + self.available() as u64;
        if self.noted == 0 || there.abs_diff(self.noted) >= SOME {
            (self.noted, self.moved) = (there.max(1), now);
        }
    }

    /// When its connection last made progress.
    #[inline]
    pub fn moved(&self) -> Seconds {
        self.moved
    }

    /// Whether the next [`Input::space`] makes it larger.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.start == 0 && self.end == self.bytes.len()
    }

    /// The buffer is full, and most of it is one incomplete frame. If that moved to the front, the next read would win
    /// little, so every byte of a body would be moved once.
    #[inline]
    pub fn is_tight(&self) -> bool {
        self.end == self.bytes.len() && self.available() > self.end / 2 && self.end < WIDE
    }

    /// Whether there is room behind what has arrived, as after a read that has not filled it.
    #[inline]
    pub fn has_room(&self) -> bool {
        self.end < self.bytes.len()
    }

    /// It has more room than a new buffer.
    #[inline]
    pub fn has_grown(&self) -> bool {
        self.bytes.len() > ROOM
    }

    /// It is one of [`Input::wide`].
    pub fn is_wide(&self) -> bool {
        self.bytes.len() == WIDE
    }

    /// Moves what is unread to the room of `other`, which is empty and larger, and leaves that its own.
    pub fn exchange_room(&mut self, other: &mut Input) {
        let len = self.available();
        debug_assert!(other.is_empty() && len < other.bytes.len());
        other.bytes[..len].copy_from_slice(&self.bytes[self.start..self.end]);
        core::mem::swap(&mut self.bytes, &mut other.bytes);
        (self.start, self.end) = (0, len);
    }

    /// The bytes that have arrived and are not consumed.
    #[inline]
    pub fn unread(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Their number. It does not read the bytes, which would cost comparisons.
    #[inline]
    pub fn available(&self) -> usize {
        self.end - self.start
    }

    /// Whether the first unread byte is CR.
    #[inline]
    pub(crate) fn begins_with_cr(&self) -> bool {
        self.unread().first() == Some(&b'\r')
    }

    /// Whether no byte is unread.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Parses the lines of the head that have arrived; see [`Head::parse`].
    pub(crate) fn parse_head(&mut self, limits: &Limits) -> Result<bool, ProtocolError> {
        self.head.parse(&self.bytes[self.start..self.end], limits)
    }

    /// Determines the framing of a complete head; see [`framing::decide`].
    pub fn framing(&mut self) -> Result<Framing, ProtocolError> {
        framing::decide(&mut self.head, &self.bytes[self.start..self.end])
    }

    /// Decodes the bytes of a chunked body that have arrived; see [`ChunkedDecoder::decode`].
    pub fn decode(&mut self, limits: &Limits) -> Result<bool, ProtocolError> {
        let complete = self
            .decoder
            .decode(&mut self.bytes[self.start..self.end], limits)?;
        if complete && self.decoder.has_trailers() {
            self.head.set_trailers(self.decoder.take_trailers());
        }
        if !complete {
            self.end -= self.decoder.compact(&mut self.bytes[self.start..self.end]);
        }
        Ok(complete)
    }

    /// The head is complete, and a body follows.
    pub fn begin_body(&mut self) {
        (self.taken, self.metered) = (0, 0);
        self.meter = None;
    }

    /// Counts the bytes of an incomplete body that have arrived. Its time began at `since`.
    pub(crate) fn count_body(
        &mut self,
        is_chunked: bool,
        since: Seconds,
        now: Seconds,
        rate: &Rate,
    ) {
        let here = match is_chunked {
            true => self.decoder.body().len(),
            false => self.available() - self.head.len(),
        };
        let received = self.taken + here as u64;
        let before = core::mem::replace(&mut self.metered, received);
        let fresh = received.saturating_sub(before);
        let new = || RateMeter::new(since, rate);
        let meter = self.meter.get_or_insert_with(new);
        meter.count(usize::try_from(fresh).unwrap_or(usize::MAX), now, rate);
    }

    /// Restarts the time for the rest of the body.
    pub fn forget_meter(&mut self) {
        self.meter = None;
    }

    /// Of the body that is coming in.
    pub fn meter(&self) -> Option<RateMeter> {
        self.meter
    }

    /// The body is passed on piece by piece: makes room for large pieces.
    pub(crate) fn widen(&mut self) {
        let room = self.head.len() + PIECE_ROOM;
        if self.bytes.len() < room {
            self.bytes.resize(room, 0);
        }
    }

    /// The number of bytes of the body that were passed on piece by piece.
    pub fn received(&self) -> u64 {
        self.taken
    }

    /// Removes a piece of the body. The head stays.
    pub fn release(&mut self, piece: Range<usize>, is_chunked: bool) {
        self.taken += piece.len() as u64;
        let bytes = &mut self.bytes[self.start..self.end];
        self.end -= match is_chunked {
            true => {
                self.decoder.release();
                self.decoder.compact(bytes)
            }
            false => {
                bytes.copy_within(piece.end.., piece.start);
                piece.len()
            }
        };
    }

    /// Room for the next bytes, never empty. It grows when a request does not fit. The limits on head and
    /// body bound it, because above them the request is refused and not read.
    #[inline]
    pub fn space(&mut self) -> &mut [u8] {
        if self.end == self.bytes.len() {
            if self.start > 0 {
                self.bytes.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            } else {
                self.bytes.resize(self.bytes.len() * 2, 0);
            }
        }
        &mut self.bytes[self.end..]
    }

    /// `n` bytes of [`Input::space`] have been filled.
    #[inline]
    pub fn filled(&mut self, n: usize) {
        self.end += n;
        debug_assert!(self.end <= self.bytes.len());
    }

    /// Drops the first `n` unread bytes, which are a request, and prepares for the next one.
    #[inline]
    pub(crate) fn consume(&mut self, n: usize) {
        self.start += n;
        debug_assert!(self.start <= self.end);
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
        }
        self.head.reset();
    }

    /// Clears it for another connection.
    pub fn recycle(&mut self) {
        self.clear();
        if self.has_grown() {
            self.bytes.truncate(ROOM);
            self.bytes.shrink_to_fit();
        }
    }

    /// Clears it, and leaves it as large as it is.
    #[inline]
    pub fn clear(&mut self) {
        self.consume(self.end - self.start);
        self.noted = 0;
        // A body that did not come to its end may have left trailers.
        self.decoder = ChunkedDecoder::new(0, 0);
    }
}
