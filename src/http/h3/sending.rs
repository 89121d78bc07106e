//! The sending halves of streams: what QUIC has not taken yet.
//!
//! A response that QUIC takes at once never comes here. Of the others a piece goes out at a time: those of the lowest
//! urgency first, and in turn among these.

use super::reading::{code, stream_id};
use crate::runtime::transport::read_at;
use crate::shared::buffer_pool::BufferPool;
use crate::shared::output::{FilePart, MAX_SLICES, Output, Segment};
use bytes::Bytes;
use peregrine_protocol::Seconds;
use peregrine_protocol::h3::frame::ErrorCode;
use peregrine_protocol::limits::Limits;
use peregrine_protocol::rate::{Rate, Stall};
use quinn_proto::{Connection, WriteError};
use std::io;

/// The most bytes of one stream, before others have their turn.
const STEP: usize = 32 << 10;

/// The most bytes that are read of a file at once.
const FILE_PIECE: u64 = 32 << 10;

/// What waits of one stream.
pub(super) struct Outgoing {
    pub(super) id: u64,
    /// As QUIC has it: the highest goes first.
    pub(super) priority: i32,
    pub(super) output: Box<Output>,
    /// Bytes of the file that comes next: they are read, and QUIC has not taken them.
    piece: Bytes,
    /// The header of DATA for all of the body is written.
    pub(super) is_framed: bool,
    /// Nothing follows what is here.
    pub(super) is_finished: bool,
    /// QUIC takes nothing at the moment.
    is_blocked: bool,
    /// The client has used up the window of this stream.
    stall: Option<Stall>,
}

/// How a write ended.
pub(super) enum Flushed {
    /// All is taken.
    All,
    /// There is more, and others have their turn.
    Step,
    Blocked,
    /// A file could not be read: the rest can never be sent.
    Failed(io::Error),
}

/// What came of a step of [`Sending::flush_next`].
pub(super) enum Pumped {
    /// Nothing is there that QUIC takes.
    Nothing,
    /// So many bytes were taken.
    Some(usize),
    Failed(u64, io::Error),
}

/// See the module documentation.
pub(super) struct Sending {
    /// By identifier.
    all: Vec<Outgoing>,
    /// Where the next search begins.
    next: u64,
    /// How fast the client takes what waits for the connection as a whole.
    stall: Stall,
}

impl Sending {
    pub(super) fn new(now: Seconds) -> Sending {
        Sending {
            all: Vec::new(),
            next: 0,
            stall: Stall::new(now),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    fn position(&self, id: u64) -> Option<usize> {
        let at = self.all.binary_search_by_key(&id, |outgoing| outgoing.id);
        at.ok()
    }

    pub(super) fn find(&mut self, id: u64) -> Option<&mut Outgoing> {
        let at = self.position(id)?;
        self.all.get_mut(at)
    }

    /// Bytes of a stream that wait.
    pub(super) fn queued(&self, id: u64) -> Option<u64> {
        Some(self.all[self.position(id)?].output.len())
    }

    /// Bytes of all streams.
    pub(super) fn queued_in_all(&self) -> u64 {
        let all = self.all.iter().map(|outgoing| outgoing.output.len());
        all.fold(0, u64::saturating_add)
    }

    /// A stream begins to wait, with this output.
    pub(super) fn add(
        &mut self,
        id: u64,
        output: Box<Output>,
        quic: &mut Connection,
        now: Seconds,
    ) -> &mut Outgoing {
        if self.all.iter().all(|outgoing| outgoing.output.is_empty()) {
            self.stall = Stall::new(now);
        }
        let priority = quic.send_stream(stream_id(id)).priority().unwrap_or(0);
        let at = self.all.partition_point(|outgoing| outgoing.id < id);
        let outgoing = Outgoing {
            id,
            priority,
            output,
            piece: Bytes::new(),
            is_framed: false,
            is_finished: false,
            is_blocked: false,
            stall: None,
        };
        self.all.insert(at, outgoing);
        &mut self.all[at]
    }

    /// Drops what waits of a stream. Returns how much that was.
    pub(super) fn remove(&mut self, id: u64, pool: &mut BufferPool) -> u64 {
        let Some(at) = self.position(id) else {
            return 0;
        };
        let outgoing = self.all.remove(at);
        let unsent = outgoing.output.len();
        pool.give_output(outgoing.output);
        unsent
    }

    /// The connection has ended: nothing more is sent.
    pub(super) fn clear(&mut self, pool: &mut BufferPool) {
        for outgoing in self.all.drain(..) {
            pool.give_output(outgoing.output);
        }
    }

    /// Gives memory back, if nothing waits.
    pub(super) fn shrink(&mut self) {
        if self.all.is_empty() {
            self.all = Vec::new();
        }
    }

    /// QUIC takes more of a stream.
    pub(super) fn unblock(&mut self, id: u64) {
        if let Some(outgoing) = self.find(id) {
            outgoing.is_blocked = false;
        }
    }

    /// The stream that is next.
    fn first(&self) -> Option<usize> {
        let waits = |outgoing: &Outgoing| {
            !outgoing.is_blocked && (outgoing.is_finished || !outgoing.output.is_empty())
        };
        let waiting = self.all.iter().enumerate();
        let waiting = waiting.filter(|(_, outgoing)| waits(outgoing));
        let order = |outgoing: &Outgoing| (-outgoing.priority, outgoing.id < self.next);
        let first = waiting.min_by_key(|(_, outgoing)| order(outgoing));
        first.map(|(at, _)| at)
    }

    /// Sends a piece of the next stream.
    pub(super) fn flush_next(
        &mut self,
        (quic, pool): (&mut Connection, &mut BufferPool),
        limits: &Limits,
        now: Seconds,
    ) -> Pumped {
        let Some(at) = self.first() else {
            self.judge(now);
            return Pumped::Nothing;
        };
        let outgoing = &mut self.all[at];
        let id = outgoing.id;
        self.next = id + 1;
        let before = outgoing.output.len();
        let flushed = flush(id, &mut outgoing.output, &mut outgoing.piece, quic);
        let taken = (before - outgoing.output.len()) as usize;
        if taken > 0 {
            self.took(at, taken, limits, now);
        }
        let outgoing = &mut self.all[at];
        match flushed {
            Flushed::All => {
                outgoing.output.clear();
                outgoing.stall = None;
                if outgoing.is_finished {
                    finish(id, quic);
                    self.remove(id, pool);
                }
            }
            // The window of the stream has room.
            Flushed::Step => outgoing.stall = None,
            Flushed::Blocked => outgoing.is_blocked = true,
            Flushed::Failed(error) => return Pumped::Failed(id, error),
        }
        Pumped::Some(taken)
    }

    /// QUIC has taken bytes of this stream. Those that it took nothing of wait for their own windows then, and not for
    /// that of the connection.
    fn took(&mut self, at: usize, taken: usize, limits: &Limits, now: Seconds) {
        let rate = Rate::of_responses(limits);
        self.stall.count(taken, now, &rate);
        for (other, outgoing) in self.all.iter_mut().enumerate() {
            match &mut outgoing.stall {
                Some(stall) if other == at => stall.count(taken, now, &rate),
                None if outgoing.is_blocked => outgoing.stall = Some(Stall::new(now)),
                _ => {}
            }
        }
    }

    /// If nothing waits, no client is slow.
    fn judge(&mut self, now: Seconds) {
        let waits = |outgoing: &Outgoing| !outgoing.output.is_empty() && outgoing.stall.is_none();
        if !self.all.iter().any(waits) {
            self.stall = Stall::new(now);
        }
    }

    fn due(&self, outgoing: &Outgoing, limits: &Limits) -> Seconds {
        match &outgoing.stall {
            _ if outgoing.output.is_empty() => Seconds::NEVER,
            Some(stall) => stall.due(limits),
            None => self.stall.due(limits),
        }
    }

    /// A stream whose client is too slow.
    pub(super) fn slow(&self, limits: &Limits, now: Seconds) -> Option<u64> {
        let is_slow = |outgoing: &&Outgoing| self.due(outgoing, limits) <= now;
        self.all.iter().find(is_slow).map(|outgoing| outgoing.id)
    }

    /// Bytes of memory.
    pub(super) fn held(&self) -> usize {
        let held = |outgoing: &Outgoing| outgoing.output.held() + outgoing.piece.len();
        let outputs: usize = self.all.iter().map(held).sum();
        outputs + self.all.capacity() * size_of::<Outgoing>()
    }
}

/// Nothing follows on a stream.
pub(super) fn finish(id: u64, quic: &mut Connection) {
    // The client may have stopped it: the connection is told by an event.
    let _ = quic.send_stream(stream_id(id)).finish();
}

/// The response of a stream is not complete, and never will be.
pub(super) fn reset(id: u64, error: ErrorCode, quic: &mut Connection) {
    // As above.
    let _ = quic.send_stream(stream_id(id)).reset(code(error.0));
}

/// Gives QUIC what it takes of an output, up to [`STEP`] bytes. `piece`: what was read of the file that is next.
pub(super) fn flush(
    id: u64,
    output: &mut Output,
    piece: &mut Bytes,
    quic: &mut Connection,
) -> Flushed {
    let mut left = STEP;
    while !output.is_empty() {
        if left == 0 {
            return Flushed::Step;
        }
        let written = match output.next() {
            Segment::Row { bytes, .. } => write(id, &bytes[..bytes.len().min(left)], quic),
            Segment::Pieces => {
                let mut slices = [&b""[..]; MAX_SLICES];
                output.gather(&mut slices, |bytes| bytes);
                write(id, &slices[0][..slices[0].len().min(left)], quic)
            }
            Segment::Segment { segment, sent, len } => {
                let (offset, most) = (segment.offset + sent, len.min(FILE_PIECE));
                match read_piece(segment, offset, most, piece) {
                    Ok(()) => write_piece(id, piece, quic),
                    Err(error) => return Flushed::Failed(error),
                }
            }
        };
        match written {
            Some(n) => {
                output.advance(n);
                left = left.saturating_sub(n);
            }
            None => return Flushed::Blocked,
        }
    }
    Flushed::All
}

/// Bytes that QUIC takes. `None`: none, now or ever; an event says what follows.
fn write(id: u64, bytes: &[u8], quic: &mut Connection) -> Option<usize> {
    taken(quic.send_stream(stream_id(id)).write(bytes))
}

fn write_piece(id: u64, piece: &mut Bytes, quic: &mut Connection) -> Option<usize> {
    let mut chunk = [std::mem::take(piece)];
    let written = quic.send_stream(stream_id(id)).write_chunks(&mut chunk);
    let [rest] = chunk;
    *piece = rest;
    taken(written.map(|written| written.bytes))
}

fn taken(written: Result<usize, WriteError>) -> Option<usize> {
    written.ok().filter(|n| *n > 0)
}

/// Reads the next bytes of a file, unless they are here.
fn read_piece(part: &FilePart, offset: u64, most: u64, piece: &mut Bytes) -> io::Result<()> {
    if !piece.is_empty() {
        return Ok(());
    }
    let mut buffer = vec![0; most as usize];
    match read_at(&part.file, &mut buffer, offset)? {
        // It has become shorter than its head says.
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        n => {
            buffer.truncate(n);
            *piece = buffer.into();
            Ok(())
        }
    }
}
