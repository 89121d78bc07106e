//! The receiving halves of streams: which of them is read next, and what was read ahead.
//!
//! A stream that is not read keeps what comes in QUIC, up to its window: that is the backpressure of bodies.

use bytes::Bytes;
use peregrine_protocol::h3::frame::ErrorCode;
use quinn_proto::{Connection, ReadError, StreamId, VarInt};
use std::collections::VecDeque;

/// The most bytes that are read at once.
const CHUNK: usize = 64 << 10;

/// The identifier of a stream, as QUIC has it.
pub(super) fn stream_id(id: u64) -> StreamId {
    StreamId::from(code(id))
}

/// Identifiers and codes that were received or are constants: none is too large.
pub(super) fn code(code: u64) -> VarInt {
    VarInt::from_u64(code).unwrap_or(VarInt::MAX)
}

/// What came of a read.
pub(super) enum Read {
    /// A piece, which may be empty at the end. True: nothing follows.
    Piece(Bytes, bool),
    /// The client has reset the stream.
    Reset,
    Nothing,
}

/// A stream that is not read at the moment, or of which a piece is here already.
#[derive(Default)]
struct Held {
    id: u64,
    ahead: Option<Bytes>,
    /// The sink of the body takes nothing.
    is_paused: bool,
    /// Too much is kept of all bodies.
    is_held_back: bool,
}

impl Held {
    fn is_read(&self) -> bool {
        !self.is_paused && !self.is_held_back
    }
}

/// See the module documentation.
#[derive(Default)]
pub(super) struct Reading {
    /// Each at most once, so there are no more than the client may open.
    ready: VecDeque<u64>,
    held: Vec<Held>,
    /// Bytes that were read.
    taken: u64,
}

impl Reading {
    /// Bytes that were read of all streams.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// Something may be there.
    pub(super) fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// There may be something to read.
    pub(super) fn readable(&mut self, id: u64) {
        if !self.ready.contains(&id) {
            self.ready.push_back(id);
        }
    }

    /// The next stream that may have something.
    pub(super) fn next(&mut self) -> Option<u64> {
        self.ready.pop_front()
    }

    fn position(&self, id: u64) -> Option<usize> {
        self.held.iter().position(|held| held.id == id)
    }

    fn entry(&mut self, id: u64) -> &mut Held {
        let at = self.position(id).unwrap_or_else(|| {
            self.held.push(Held {
                id,
                ..Held::default()
            });
            self.held.len() - 1
        });
        &mut self.held[at]
    }

    /// The body of a stream has to wait, or goes on.
    pub(super) fn pause(&mut self, id: u64, is_paused: bool) {
        self.entry(id).is_paused = is_paused;
        self.go_on(id);
    }

    /// As [`Reading::pause`], for another reason.
    pub(super) fn hold_back(&mut self, id: u64) {
        self.entry(id).is_held_back = true;
    }

    /// The opposite of [`Reading::hold_back`]. False if it was not.
    pub(super) fn release(&mut self, id: u64) -> bool {
        let held = self.position(id).map(|at| &mut self.held[at]);
        let Some(held) = held.filter(|held| held.is_held_back) else {
            return false;
        };
        held.is_held_back = false;
        self.go_on(id);
        true
    }

    fn go_on(&mut self, id: u64) {
        let is_read = |at: usize| self.held[at].is_read();
        if self.position(id).is_some_and(is_read) {
            self.readable(id);
        }
    }

    /// Nothing more of a stream is needed.
    pub(super) fn forget(&mut self, id: u64) {
        if let Some(at) = self.position(id) {
            self.held.swap_remove(at);
        }
        self.ready.retain(|ready| *ready != id);
    }

    /// All of a stream has been read, and its request has had its response.
    #[inline]
    pub(super) fn ended(&mut self, id: u64) {
        if !self.held.is_empty() {
            self.forget(id);
        }
    }

    /// Gives memory back, if nothing is open.
    pub(super) fn shrink(&mut self) {
        if self.ready.is_empty() && self.held.is_empty() {
            (self.ready, self.held) = (VecDeque::new(), Vec::new());
        }
    }

    /// The rest of a stream is not read: the client learns why, if it has not sent all of it.
    pub(super) fn stop(&mut self, id: u64, error: ErrorCode, quic: &mut Connection) {
        self.forget(id);
        // It may have ended.
        let _ = quic.recv_stream(stream_id(id)).stop(code(error.0));
    }

    /// Reads the next piece of a stream. It looks ahead by one, so that the last one is known as such.
    pub(super) fn read(&mut self, id: u64, quic: &mut Connection) -> Read {
        let at = self.position(id);
        if at.is_some_and(|at| !self.held[at].is_read()) {
            return has_reset(id, quic);
        }
        let ahead = at.and_then(|at| self.held[at].ahead.take());
        let mut stream = quic.recv_stream(stream_id(id));
        let Ok(mut chunks) = stream.read(true) else {
            self.forget(id);
            return Read::Nothing;
        };
        let mut read = || {
            chunks
                .next(CHUNK)
                .map(|chunk| chunk.map(|chunk| chunk.bytes))
        };
        let first = match ahead {
            Some(ahead) => Ok(Some(ahead)),
            None => read(),
        };
        let (first, second) = match first {
            Ok(Some(first)) => (first, read()),
            Ok(None) => (Bytes::new(), Ok(None)),
            Err(ReadError::Blocked) => return self.settle(at, Read::Nothing),
            Err(ReadError::Reset(_)) => (Bytes::new(), Err(ReadError::Reset(VarInt::default()))),
        };
        let _ = chunks.finalize();
        self.taken += first.len() as u64;
        match second {
            Ok(Some(second)) => {
                self.entry(id).ahead = Some(second);
                // Before others: what is open of it is short-lived.
                self.ready.push_front(id);
                Read::Piece(first, false)
            }
            Ok(None) => {
                self.forget(id);
                Read::Piece(first, true)
            }
            Err(ReadError::Blocked) => self.settle(at, Read::Piece(first, false)),
            Err(ReadError::Reset(_)) => {
                self.forget(id);
                Read::Reset
            }
        }
    }

    /// Nothing is kept of a stream that is read and has nothing more.
    fn settle(&mut self, at: Option<usize>, read: Read) -> Read {
        if let Some(at) = at {
            self.held.swap_remove(at);
        }
        read
    }

    /// Bytes of memory. What waits in QUIC is counted there.
    pub(super) fn held(&self) -> usize {
        let ahead = |held: &Held| held.ahead.as_ref().map_or(0, Bytes::len);
        let ahead: usize = self.held.iter().map(ahead).sum();
        ahead + self.held.capacity() * size_of::<Held>() + self.ready.capacity() * size_of::<u64>()
    }
}

/// A stream that is not read: all that may be is that the client has reset it.
fn has_reset(id: u64, quic: &mut Connection) -> Read {
    match quic.recv_stream(stream_id(id)).received_reset() {
        Ok(Some(_)) => Read::Reset,
        Ok(None) | Err(_) => Read::Nothing,
    }
}
