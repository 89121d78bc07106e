//! Streams that outlive the turn in which their request came (RFC 9114 section 6).

use super::frame::{FrameHeader, MAX_HEADER};
use crate::Seconds;
use crate::http::Method;
use crate::limits::Limits;
use crate::rate::{Rate, RateMeter};
use alloc::vec::Vec;

/// Finds the headers of frames, which may come in pieces.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HeaderReader {
    held: [u8; MAX_HEADER],
    len: u8,
}

impl HeaderReader {
    /// How many of the bytes are of the header, and the header if that completes it.
    #[inline]
    pub(super) fn read(&mut self, bytes: &[u8]) -> (usize, Option<FrameHeader>) {
        match FrameHeader::parse(bytes) {
            Some((header, len)) if self.len == 0 => (len, Some(header)),
            _ => self.read_part(bytes),
        }
    }

    #[cold]
    fn read_part(&mut self, bytes: &[u8]) -> (usize, Option<FrameHeader>) {
        let had = usize::from(self.len);
        let n = bytes.len().min(MAX_HEADER - had);
        self.held[had..had + n].copy_from_slice(&bytes[..n]);
        match FrameHeader::parse(&self.held[..had + n]) {
            Some((header, len)) => {
                self.len = 0;
                (len - had, Some(header))
            }
            None => {
                self.len += n as u8;
                (n, None)
            }
        }
    }

    /// A part of a header has come.
    pub(super) fn has_part(&self) -> bool {
        self.len > 0
    }
}

/// What of a request has come (RFC 9114 section 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Head,
    Body,
    /// The trailer section has come.
    Trailers,
    /// The client has closed the stream.
    Received,
}

/// The frame that is being received, and how much of it is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OpenFrame {
    None,
    Data(u64),
    Headers(usize),
    /// It is ignored.
    Ignored(u64),
}

/// A request of which something is kept: it is not complete, or its response is not.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: u64,
    pub(super) method: Method,
    pub(super) phase: Phase,
    pub(super) reader: HeaderReader,
    pub(super) frame: OpenFrame,
    /// A field section that is not complete.
    pub(super) section: Vec<u8>,
    /// `Content-Length`.
    pub(super) length: Option<u64>,
    /// Bytes of the body, those of the frame that is being received included.
    pub(super) received: u64,
    /// DATA frames.
    pub(super) frames: u64,
    /// Frames that were ignored.
    pub(super) ignored: u32,
    /// The head of the response is written.
    pub(super) is_answered: bool,
    /// CONNECT has got 2xx.
    pub(super) is_tunnel: bool,
    /// The driver does not need the rest of the request.
    pub(super) is_unwanted: bool,
    /// The driver takes nothing of the body at the moment.
    pub(super) is_paused: bool,
    /// When it began; then, when the body was last asked for, and how fast it has come since.
    pub(super) since: Seconds,
    pub(super) meter: Option<RateMeter>,
}

impl Stream {
    /// One that begins.
    pub(super) fn new(id: u64, now: Seconds) -> Stream {
        Stream {
            id,
            method: Method::Other,
            phase: Phase::Head,
            reader: HeaderReader::default(),
            frame: OpenFrame::None,
            section: Vec::new(),
            length: None,
            received: 0,
            frames: 0,
            ignored: 0,
            is_answered: false,
            is_tunnel: false,
            is_unwanted: false,
            is_paused: false,
            since: now,
            meter: None,
        }
    }

    /// More of the request is to come.
    pub(super) fn is_receiving(&self) -> bool {
        self.phase != Phase::Received && !self.is_unwanted
    }

    /// `n` bytes behind the head have come.
    pub(super) fn count(&mut self, n: usize, limits: &Limits, now: Seconds) {
        let rate = Rate::of_bodies(limits);
        let since = self.since;
        let meter = self
            .meter
            .get_or_insert_with(|| RateMeter::new(since, &rate));
        meter.count(n, now, &rate);
    }

    /// When the client is too slow with the request.
    pub(super) fn due(&self, limits: &Limits) -> Seconds {
        match self.phase {
            _ if !self.is_receiving() || self.is_paused => Seconds::NEVER,
            Phase::Head => self.since.after(limits.head_timeout),
            _ => {
                let rate = Rate::of_bodies(limits);
                let first = rate.first_due(self.since);
                self.meter.map_or(first, |meter| meter.due(&rate))
            }
        }
    }

    /// When something of it last came.
    pub(super) fn moved(&self) -> Seconds {
        self.meter.map_or(self.since, |meter| meter.moved())
    }
}

/// A request that was announced and is not answered: what a stream is made of, if one is needed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Current {
    pub(super) id: u64,
    pub(super) method: Method,
    pub(super) is_received: bool,
    /// It is refused: the rest of it is not needed.
    pub(super) is_unwanted: bool,
    pub(super) length: Option<u64>,
}

impl Current {
    pub(super) fn into_stream(self, now: Seconds) -> Stream {
        Stream {
            method: self.method,
            phase: match self.is_received {
                true => Phase::Received,
                false => Phase::Body,
            },
            is_unwanted: self.is_unwanted,
            length: self.length,
            ..Stream::new(self.id, now)
        }
    }
}

/// Which streams of a client have begun. A stream opens those of its kind with lower numbers (RFC 9000 section 2.1), but
/// their bytes may come later.
///
/// Invariant: those of `late` are lower than `next`, and none of them has begun.
#[derive(Debug)]
pub(super) struct Begun {
    /// One behind the highest that has begun.
    next: u64,
    late: Vec<u64>,
}

/// Streams of one kind are so far apart (RFC 9000 section 2.1).
pub(super) const STEP: u64 = 4;

impl Begun {
    /// `first` is the lowest of the kind.
    pub(super) fn new(first: u64) -> Begun {
        Begun {
            next: first,
            late: Vec::new(),
        }
    }

    /// Whether a stream has not begun.
    #[inline]
    pub(super) fn is_new(&self, id: u64) -> bool {
        id >= self.next || self.late.contains(&id)
    }

    /// A new stream begins. False if there are more than `most` below it that have not: QUIC does not allow a client to
    /// open so many.
    #[inline]
    pub(super) fn begin(&mut self, id: u64, most: usize) -> bool {
        if id == self.next {
            self.next += STEP;
            return true;
        }
        self.begin_out_of_order(id, most)
    }

    #[cold]
    fn begin_out_of_order(&mut self, id: u64, most: usize) -> bool {
        if id < self.next {
            self.late.retain(|late| *late != id);
            return true;
        }
        let skipped = (id - self.next) / STEP;
        let fits = skipped <= (most.saturating_sub(self.late.len())) as u64;
        if fits {
            self.late.extend((self.next..id).step_by(STEP as usize));
            self.next = id + STEP;
        }
        fits
    }

    /// One behind the highest that has begun.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Lower ones are missing.
    pub(super) fn has_gaps(&self) -> bool {
        !self.late.is_empty()
    }

    pub(super) fn held(&self) -> usize {
        self.late.capacity() * size_of::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_in_any_order() {
        let mut begun = Begun::new(0);
        assert!(begun.is_new(0) && begun.begin(0, 3) && !begun.is_new(0));
        assert!(begun.is_new(12) && begun.begin(12, 3));
        assert_eq!((begun.next(), begun.has_gaps()), (16, true));
        assert!(begun.is_new(4) && begun.is_new(8) && !begun.is_new(12));
        assert!(begun.begin(8, 3) && !begun.is_new(8) && begun.is_new(4));
        // Two more may be missing, and not three.
        assert!(!begun.begin(28, 3) && begun.is_new(28));
        assert!(begun.begin(24, 3));
        for id in [4, 16, 20] {
            assert!(begun.is_new(id) && begun.begin(id, 0));
        }
        assert!(!begun.has_gaps() && (0..28).step_by(4).all(|id| !begun.is_new(id)));
        assert!(!Begun::new(2).begin(varint_max(), usize::MAX >> 20));
    }

    fn varint_max() -> u64 {
        (1 << 62) - 2
    }

    #[test]
    fn headers_in_pieces() {
        let bytes = b"\xc0\0\0\0\0\x0f\x07\x00\xc0\0\0\0\0\0\0\x05rest";
        let wanted = FrameHeader {
            kind: 0xf_0700,
            len: 5,
        };
        for split in 1..16 {
            let mut reader = HeaderReader::default();
            assert_eq!(reader.read(&bytes[..split]), (split, None));
            assert!(reader.has_part());
            assert_eq!(reader.read(&bytes[split..]), (16 - split, Some(wanted)));
            assert!(!reader.has_part());
        }
        assert_eq!(HeaderReader::default().read(bytes), (16, Some(wanted)));
    }
}
