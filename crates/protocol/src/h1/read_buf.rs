//! Received bytes that are not answered yet, with the parsed head.

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

/// What a fresh one has room for: a head of the default limit, or several requests.
const ROOM: usize = 16 << 10;

/// Room for a body that goes piece by piece, behind the head before it.
const PIECE_ROOM: usize = 64 << 10;

/// Leased to a connection while a request of it is incomplete or being answered, with the table of
/// its head, so that what was parsed of half a head is not lost to another connection.
///
/// ```text
///   0        start                        end          bytes.len()
///   | (free) | head | body | next request  | (free)     |
/// ```
///
/// Invariant: `start <= end <= bytes.len()`. Offsets in `head` and `decoder` count from
/// `start`, so the bytes may move.
pub struct Input {
    /// What has been understood of the head.
    pub head: Head,
    /// What has been understood of a chunked body.
    pub decoder: ChunkedDecoder,
    /// Bytes of the body that were handed over piece by piece and are not here any more.
    taken: u64,
    /// How fast the body comes, and how much of it that has counted.
    meter: Option<RateMeter>,
    metered: u64,
    /// How many bytes there were when that last changed by much, and when that was.
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
    /// An empty one.
    pub fn new() -> Input {
        Input {
            head: Head::new(),
            decoder: ChunkedDecoder::new(0, 0),
            taken: 0,
            meter: None,
            metered: 0,
            noted: 0,
            moved: Seconds::START,
            bytes: vec![0; ROOM],
            start: 0,
            end: 0,
        }
    }

    /// Bytes of memory that it takes.
    #[inline]
    pub fn held(&self) -> usize {
        size_of::<Input>() + self.bytes.capacity()
    }

    /// Remembers when bytes come and go, to be called after each turn of a connection that keeps it.
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

    /// The next [`Input::space`] makes it larger.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.start == 0 && self.end == self.bytes.len()
    }

    /// What has arrived and is not consumed.
    #[inline]
    pub fn unread(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// How many those are: without a look at the bytes, which costs comparisons.
    #[inline]
    pub fn available(&self) -> usize {
        self.end - self.start
    }

    /// The first unread byte is CR.
    #[inline]
    pub(crate) fn begins_with_cr(&self) -> bool {
        self.unread().first() == Some(&b'\r')
    }

    /// Nothing is unread.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Takes the lines of the head that are there; see [`Head::parse`].
    pub(crate) fn parse_head(&mut self, limits: &Limits) -> Result<bool, ProtocolError> {
        self.head.parse(&self.bytes[self.start..self.end], limits)
    }

    /// Judges a complete head; see [`framing::decide`].
    pub fn framing(&mut self) -> Result<Framing, ProtocolError> {
        framing::decide(&mut self.head, &self.bytes[self.start..self.end])
    }

    /// Decodes what has come of a chunked body; see [`ChunkedDecoder::decode`].
    pub fn decode(&mut self, limits: &Limits) -> Result<bool, ProtocolError> {
        let complete = self
            .decoder
            .decode(&mut self.bytes[self.start..self.end], limits)?;
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

    /// Counts what has come of a body that is not complete; its time began at `since`.
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

    /// The rest of the body has its time anew.
    pub fn forget_meter(&mut self) {
        self.meter = None;
    }

    /// Of the body that is coming in.
    pub fn meter(&self) -> Option<RateMeter> {
        self.meter
    }

    /// The body shall go piece by piece: makes room for large ones.
    pub(crate) fn widen(&mut self) {
        let room = self.head.len() + PIECE_ROOM;
        if self.bytes.len() < room {
            self.bytes.resize(room, 0);
        }
    }

    /// Bytes of the body that were handed over piece by piece.
    pub fn received(&self) -> u64 {
        self.taken
    }

    /// Takes a piece of the body out, the head stays.
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

    /// Room for what comes next, never empty. It grows when a request does not fit, which the
    /// limits on head and body bound: beyond them the request is refused, not read.
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

    /// Drops the first `n` unread bytes, a request, and makes ready for the next one.
    #[inline]
    pub(crate) fn consume(&mut self, n: usize) {
        self.start += n;
        debug_assert!(self.start <= self.end);
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
        }
        self.head.reset();
    }

    /// Makes it fit for another connection.
    pub fn recycle(&mut self) {
        self.consume(self.end - self.start);
        self.noted = 0;
        if self.bytes.len() > ROOM {
            self.bytes.truncate(ROOM);
            self.bytes.shrink_to_fit();
        }
    }
}
