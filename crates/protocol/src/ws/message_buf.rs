//! Received bytes, and the message that is being assembled.

use super::frame::{self, Header, Small};
use super::utf8::Utf8;
use crate::Seconds;
use crate::rate::{Rate, RateMeter};
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

/// The size of a new buffer: many small frames, or a few of 16 KiB.
const ROOM: usize = 64 << 10;

/// The minimum size of a buffer that a connection keeps.
const LEAST: usize = 8 << 10;

/// The maximum size of a buffer that is kept after a large message.
const KEEP: usize = 4 << 20;

/// With less room than this at its end, a buffer is compacted before the next read.
const TIGHT: usize = 4 << 10;

/// Leased to a connection while it has bytes of an incomplete frame or message.
///
/// ```text
///   0        start            start+kept       at                 end        bytes.len()
///   | (free) | message so far | (old headers)  | not handled yet  | (free)   |
/// ```
///
/// A message in one frame is never moved, because its payload is the message. The payloads of further frames
/// are moved to the end of the first.
///
/// Invariant: `start + kept <= at <= end <= bytes.len()`.
pub struct WsInput {
    bytes: Vec<u8>,
    start: usize,
    kept: usize,
    at: usize,
    end: usize,
    decoder: Decoder,
    /// Whether a connection has kept it after its turn.
    has_stayed: bool,
    /// Bytes that have arrived since the last count.
    fresh: usize,
}

/// The frame and the message of the bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Decoder {
    /// The incomplete frame, after its header was read.
    pub(super) current: Option<Current>,
    pub(super) message: Option<Started>,
    pub(super) utf8: Utf8,
    /// Its rate, if a connection waits for the rest of it.
    meter: Option<RateMeter>,
}

/// An incomplete data frame or control frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Current {
    pub(super) header: Header,
    /// How many bytes of the payload are unmasked and, in text, checked.
    pub(super) done: usize,
}

/// A message that has begun.
#[derive(Clone, Copy, Debug)]
pub(super) struct Started {
    pub(super) text: bool,
    pub(super) compressed: bool,
    pub(super) fragments: u32,
    /// Its text is checked piece by piece, because it did not arrive in one piece.
    pub(super) checked: bool,
}

/// A few bytes that a connection keeps without a whole buffer.
#[derive(Debug, Default)]
pub struct Stash {
    bytes: Vec<u8>,
    kept: usize,
    decoder: Decoder,
}

/// The most bytes that are stashed. It costs two copies, and a client cannot make the server hold a multiple
/// of the bytes that it sends.
const STASH: usize = 4 << 10;

impl WsInput {
    /// The bytes that have arrived and are not handled.
    pub fn raw(&self) -> &[u8] {
        &self.bytes[self.at..self.end]
    }

    pub(super) fn decoder(&mut self) -> &mut Decoder {
        &mut self.decoder
    }

    /// The decoder, and the bytes of [`WsInput::raw`].
    pub(super) fn parts(&mut self) -> (&mut Decoder, &mut [u8]) {
        (&mut self.decoder, &mut self.bytes[self.at..self.end])
    }

    pub(super) fn started(&self) -> Option<Started> {
        self.decoder.message
    }

    /// Whether all bytes are handled, and neither a frame nor a message has begun.
    pub fn is_empty(&self) -> bool {
        let decoder = &self.decoder;
        self.holds_nothing() && decoder.current.is_none() && decoder.message.is_none()
    }

    fn holds_nothing(&self) -> bool {
        self.kept == 0 && self.at == self.end
    }

    /// Counts the bytes of an incomplete message. Its time begins now if it `is_new`.
    pub(super) fn count(&mut self, is_new: bool, now: Seconds, rate: &Rate) {
        let fresh = core::mem::take(&mut self.fresh);
        let meter = self.decoder.meter.filter(|_| !is_new);
        let mut meter = meter.unwrap_or_else(|| RateMeter::new(now, rate));
        meter.count(fresh, now, rate);
        self.decoder.meter = Some(meter);
    }

    /// Restarts the time of the incomplete message.
    pub fn forget_meter(&mut self) {
        self.decoder.meter = None;
        self.fresh = 0;
    }

    /// Of the message under way.
    pub fn meter(&self) -> Option<RateMeter> {
        self.decoder.meter
    }

    /// Consumes `n` bytes.
    pub fn skip(&mut self, n: usize) {
        self.at += n;
        debug_assert!(self.at <= self.end);
        if self.holds_nothing() {
            (self.start, self.at, self.end) = (0, 0, 0);
        }
    }

    /// The next `n` bytes belong to the message.
    pub fn keep(&mut self, n: usize) {
        debug_assert!(self.at + n <= self.end);
        let to = self.start + self.kept;
        match self.kept {
            0 => self.start = self.at,
            _ if to == self.at => {}
            _ => self.bytes.copy_within(self.at..self.at + n, to),
        }
        self.kept += n;
        self.at += n;
    }

    /// Begins a message that [`frame::small`] finds, with up to `most` bytes, and keeps its payload, which is not masked any
    /// more. False if there is none, or if something is under way.
    ///
    /// It is the same as the steps for all frames. They cost a short message twice the instructions.
    #[inline]
    pub(super) fn begin_small(&mut self, most: usize) -> bool {
        let decoder = &mut self.decoder;
        if decoder.message.is_some() || decoder.current.is_some() {
            return false;
        }
        let raw = &mut self.bytes[self.at..self.end];
        let Some(Small { text, mask, len }) = frame::small(raw).filter(|small| small.len <= most)
        else {
            return false;
        };
        frame::unmask(&mut raw[Small::HEADER..Small::HEADER + len], mask, 0);
        decoder.message = Some(Started {
            text,
            compressed: false,
            fragments: 1,
            checked: false,
        });
        self.start = self.at + Small::HEADER;
        self.kept = len;
        self.at = self.start + len;
        true
    }

    /// The message so far.
    pub fn message(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.kept]
    }

    /// The bytes of the message that have arrived.
    pub(crate) fn message_len(&self) -> usize {
        self.kept
    }

    /// The message has been handled.
    pub(crate) fn drop_message(&mut self) {
        self.decoder.message = None;
        self.decoder.meter = None;
        self.kept = 0;
        self.start = self.at;
        self.skip(0);
    }

    /// Room for the next bytes, never empty.
    pub fn space(&mut self) -> &mut [u8] {
        if self.bytes.len() - self.end < TIGHT {
            self.make_room();
        }
        &mut self.bytes[self.end..]
    }

    /// Whether the next read would need more memory than the connection held before its turn.
    pub fn needs_memory(&self) -> bool {
        let used = self.kept + self.end - self.at;
        let is_full = self.bytes.len() - self.end < TIGHT && used > self.bytes.len() / 2;
        let is_small = self.is_empty() || used <= STASH;
        !is_small && (is_full || !self.has_stayed)
    }

    /// Bytes of memory that it takes.
    pub fn held(&self) -> usize {
        size_of::<WsInput>() + self.bytes.capacity()
    }

    /// Removes the gaps, or doubles the size. Both cost about as much as the bytes that have arrived since
    /// the last time.
    fn make_room(&mut self) {
        let raw = self.end - self.at;
        let used = self.kept + raw;
        if used > self.bytes.len() / 2 {
            let mut larger = vec![0; self.bytes.len() * 2];
            larger[..self.kept].copy_from_slice(self.message());
            larger[self.kept..used].copy_from_slice(self.raw());
            self.bytes = larger;
        } else {
            let message = self.start..self.start + self.kept;
            self.bytes.copy_within(message, 0);
            self.bytes.copy_within(self.at..self.end, self.kept);
        }
        (self.start, self.at, self.end) = (0, self.kept, used);
    }

    /// `n` bytes of [`WsInput::space`] have been filled.
    pub fn filled(&mut self, n: usize) {
        self.end += n;
        self.fresh += n;
        debug_assert!(self.end <= self.bytes.len());
    }

    /// All its bytes, if they are few.
    pub fn stash(&self) -> Option<Box<Stash>> {
        let small = self.kept + self.end - self.at <= STASH;
        small.then(|| {
            Box::new(Stash {
                // Exactly as large as needed, because it may be kept for long.
                bytes: [self.message(), self.raw()].concat(),
                kept: self.kept,
                decoder: self.decoder,
            })
        })
    }

    /// Restores stashed bytes. The buffer must be empty.
    pub fn unstash(&mut self, stash: Stash) {
        debug_assert!(self.is_empty());
        let bytes = stash.bytes;
        while self.bytes.len() < bytes.len() {
            self.make_room();
        }
        self.bytes[..bytes.len()].copy_from_slice(&bytes);
        (self.start, self.kept, self.at) = (0, stash.kept, stash.kept);
        self.end = bytes.len();
        self.decoder = stash.decoder;
    }
}

impl Stash {
    /// Of the message under way.
    pub fn meter(&self) -> Option<RateMeter> {
        self.decoder.meter
    }

    /// Bytes of memory that it takes.
    pub fn held(&self) -> usize {
        size_of::<Stash>() + self.bytes.capacity()
    }

    /// Bytes that have not been handled; `None` if there are none.
    pub fn of(bytes: Vec<u8>) -> Option<Box<Stash>> {
        if bytes.is_empty() {
            return None;
        }
        Some(Box::new(Stash {
            bytes,
            ..Stash::default()
        }))
    }
}

impl WsInput {
    fn fresh() -> WsInput {
        WsInput {
            bytes: vec![0; ROOM],
            start: 0,
            kept: 0,
            at: 0,
            end: 0,
            decoder: Decoder::default(),
            has_stayed: false,
            fresh: 0,
        }
    }

    /// Drops its content, so that no byte of one connection can reach another.
    fn recycle(&mut self) {
        (self.start, self.kept, self.at, self.end) = (0, 0, 0, 0);
        self.decoder = Decoder::default();
        self.has_stayed = false;
        self.fresh = 0;
        if self.bytes.len() > KEEP {
            self.bytes.truncate(ROOM);
            self.bytes.shrink_to_fit();
        }
    }

    /// A copy with at most half of its room free, if that is smaller.
    fn fitted(&self) -> Option<Box<WsInput>> {
        let used = self.kept + self.end - self.at;
        let room = used.next_power_of_two().max(LEAST);
        (room < self.bytes.len()).then(|| {
            let mut bytes = vec![0; room];
            bytes[..self.kept].copy_from_slice(self.message());
            bytes[self.kept..used].copy_from_slice(self.raw());
            Box::new(WsInput {
                bytes,
                start: 0,
                kept: self.kept,
                at: self.kept,
                end: used,
                decoder: self.decoder,
                has_stayed: false,
                fresh: self.fresh,
            })
        })
    }

    fn is_large(&self) -> bool {
        self.bytes.len() > ROOM
    }
}

/// Buffers that the connections of one thread share: last in, first out.
#[derive(Default)]
pub struct WsInputs {
    #[expect(clippy::vec_box, reason = "the boxes are what connections take")]
    free: Vec<Box<WsInput>>,
}

/// How many buffers are kept, and how many of those may be large.
const SPARE: usize = 16;
const SPARE_LARGE: usize = 8;

impl WsInputs {
    /// A buffer, empty.
    pub fn take(&mut self) -> Box<WsInput> {
        let fresh = || Box::new(WsInput::fresh());
        self.free.pop().unwrap_or_else(fresh)
    }

    /// Reduces a buffer to the size that a connection needs after its turn. The rest goes back to the pool.
    pub fn keep(&mut self, mut input: Box<WsInput>) -> Box<WsInput> {
        if !core::mem::replace(&mut input.has_stayed, true) {
            if let Some(fitted) = input.fitted() {
                self.give(core::mem::replace(&mut input, fitted));
                input.has_stayed = true;
            }
        }
        input
    }

    /// Takes a buffer back.
    pub fn give(&mut self, mut input: Box<WsInput>) {
        if input.bytes.len() < ROOM {
            return;
        }
        input.recycle();
        let large = || self.free.iter().filter(|input| input.is_large()).count();
        if self.free.len() < SPARE && (!input.is_large() || large() < SPARE_LARGE) {
            self.free.push(input);
        }
    }

    /// Called once a second: frees a large buffer, so the memory of a burst is given back within seconds.
    pub fn trim(&mut self) {
        if let Some(at) = self.free.iter().position(|input| input.is_large()) {
            self.free.swap_remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise a connection with a few bytes in a large buffer would hold sixteen times the bytes that it
    /// has sent.
    #[test]
    fn a_kept_buffer_is_as_large_as_needed() {
        let mut inputs = WsInputs::default();
        for len in [1, LEAST, LEAST + 1, 40_000, ROOM, ROOM + 1] {
            let mut input = inputs.take();
            for byte in 0..len {
                input.space()[0] = byte as u8;
                input.filled(1);
            }
            input.keep(len / 2);
            let mut input = inputs.keep(input);
            assert!(
                input.held() <= 2 * len.max(LEAST) + size_of::<WsInput>(),
                "{len}"
            );
            assert_eq!(input.message_len(), len / 2);
            let all = [input.message(), input.raw()].concat();
            assert!((0..len).all(|i| all[i] == i as u8), "{len}");
            let place = input.bytes.as_ptr();
            input.space()[0] = 0;
            let grown = input.bytes.as_ptr() != place;
            let input = inputs.keep(input);
            assert!(grown || input.bytes.as_ptr() == place, "it is fitted once");
            inputs.give(input);
            assert!(inputs.free.iter().all(|input| input.bytes.len() >= ROOM));
        }
    }

    /// Pieces with gaps between them, through growth, compaction and stashing.
    #[test]
    fn a_message_of_pieces() {
        let pieces = [1, 100, STASH, ROOM / 2, ROOM, 3 * ROOM];
        let quick = |piece: &usize| !cfg!(miri) || *piece <= STASH;
        for piece in pieces.into_iter().filter(quick) {
            for stashed in [false, true] {
                let mut input = WsInput::fresh();
                let mut expected = Vec::new();
                for n in 0..9u8 {
                    for part in [&[0xee; 14][..], &vec![n; piece]] {
                        let mut rest = part;
                        while !rest.is_empty() {
                            let space = input.space();
                            let len = rest.len().min(space.len());
                            space[..len].copy_from_slice(&rest[..len]);
                            input.filled(len);
                            rest = &rest[len..];
                            let stash = input.stash().filter(|_| stashed);
                            if let Some(stash) = stash {
                                input.recycle();
                                input.unstash(*stash);
                            }
                        }
                    }
                    assert_eq!(input.raw().len(), 14 + piece);
                    input.skip(14);
                    input.keep(piece);
                    expected.resize(expected.len() + piece, n);
                    assert!(input.message() == expected, "{piece}");
                }
                assert!(input.bytes.len() <= 4 * (expected.len() + ROOM));
                input.drop_message();
                assert!(input.is_empty());
            }
        }
    }
}
