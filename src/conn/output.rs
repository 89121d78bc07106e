//! What is on its way to one client.

use super::Seconds;
use super::payload::Payload;
use super::rate::{Rate, Tempo};
use std::fs::File;
use std::io::IoSlice;
use std::ops::Range;
use std::sync::Arc;

/// From this size on a payload is sent from where it lies instead of being copied: below, the copy
/// is cheaper than one more element of a gathering write.
const LARGE: usize = 16 << 10;

/// Slices that one write gathers.
pub(crate) const MAX_SLICES: usize = 32;

/// What a kept buffer may weigh; above, it is given back.
const KEEP: usize = 64 << 10;

/// Answers in the order they were given: small ones as one row of bytes, large payloads between.
///
/// ```text
///   bytes:  [head A][small body A][head B]          [head C] ...
///   large:                                ^ payload B
/// ```
///
/// Invariants: `sent <= bytes.len()`; `large` is sorted by `at`, and `at >= sent` for all that are
/// not sent; `part` is less than the length of the first of them.
#[derive(Debug, Default)]
pub(crate) struct Output {
    bytes: Vec<u8>,
    sent: usize,
    large: Vec<Large>,
    /// How many of `large` are sent.
    large_sent: usize,
    /// How much of the next one is sent.
    part: u64,
    /// Unsent bytes of all kinds.
    len: u64,
    /// Memory that the unsent of `large` take.
    large_held: usize,
    /// How many of the unsent of `large` are files.
    files: usize,
    /// How fast it is taken, since something has waited and until nothing does.
    tempo: Option<Tempo>,
}

#[derive(Debug)]
struct Large {
    /// It goes out when this much of `bytes` has.
    at: usize,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Memory(Payload),
    /// Opaque here: whoever sends it reads it.
    File(FilePart),
    /// No bytes.
    Watcher(Box<dyn Watcher>),
}

/// Is told what has become of all that stands before it in an [`Output`].
pub(crate) trait Watcher: std::fmt::Debug + Send {
    /// It is sent.
    fn sent(self: Box<Self>);

    /// The last `unsent` bytes of it will never be.
    fn lost(self: Box<Self>, unsent: u64);
}

impl Body {
    fn len(&self) -> u64 {
        match self {
            Body::Memory(payload) => payload.len() as u64,
            Body::File(part) => part.len,
            Body::Watcher(_) => 0,
        }
    }

    fn is_file(&self) -> bool {
        matches!(self, Body::File(_))
    }

    /// Memory that it takes for this client. A message of a WebSocket, which is a shared vector, counts
    /// for each client that it waits for.
    fn held(&self) -> usize {
        match self {
            // What several answers share is the program's: counted for each of them, eight clients
            // that read nothing of 64 MiB would shut out all others.
            Body::Memory(Payload::Static(_) | Payload::Shared(_))
            | Body::File(_)
            | Body::Watcher(_) => 0,
            Body::Memory(payload) => payload.len(),
        }
    }
}

/// A stretch of a file that is sent from where it lies.
#[derive(Clone, Debug)]
pub(crate) struct FilePart {
    pub(crate) file: Arc<File>,
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

/// What is to be sent next.
#[derive(Debug)]
pub(crate) enum Next<'a> {
    /// One row of bytes; `more` if a file follows it at once.
    Row { bytes: &'a [u8], more: bool },
    /// Several pieces: [`Output::gather`] has them.
    Pieces,
    /// `len` bytes of a file from `offset` on; `len > 0`.
    File {
        file: &'a File,
        offset: u64,
        len: u64,
    },
}

/// What stood in an [`Output`], to go into another one; it takes no more memory than it must.
#[derive(Debug, Default)]
pub(crate) struct Detached {
    bytes: Box<[u8]>,
    large: Vec<Large>,
}

/// A place to go back to; see [`Output::truncate`].
#[derive(Clone, Copy)]
pub(crate) struct Mark {
    bytes: usize,
    large: usize,
    len: u64,
}

impl Output {
    /// Unsent bytes.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Files, or parts of them, that wait to be sent.
    #[inline]
    pub(crate) fn files(&self) -> usize {
        self.files
    }

    /// Bytes of memory that it takes.
    pub(crate) fn held(&self) -> usize {
        let large = self.large.capacity() * size_of::<Large>();
        size_of::<Output>() + self.bytes.capacity() + large + self.large_held
    }

    /// Where the bytes that are appended from now on begin.
    pub(crate) fn mark(&self) -> Mark {
        Mark {
            bytes: self.bytes.len(),
            large: self.large.len(),
            len: self.len,
        }
    }

    /// Bytes, files included, that were appended since `mark`.
    pub(crate) fn len_since(&self, mark: Mark) -> u64 {
        self.len - mark.len
    }

    /// Takes back what was appended after `mark`. Nothing of it may have been sent.
    pub(crate) fn truncate(&mut self, mark: Mark) {
        debug_assert!(self.sent <= mark.bytes && self.large_sent <= mark.large);
        self.bytes.truncate(mark.bytes);
        for gone in self.large.drain(mark.large..) {
            self.large_held -= gone.body.held();
            self.files -= usize::from(gone.body.is_file());
        }
        self.len = mark.len;
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.len += bytes.len() as u64;
    }

    /// Appends what `write` appends to the row of bytes.
    pub(crate) fn push_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let before = self.bytes.len();
        write(&mut self.bytes);
        self.len += (self.bytes.len() - before) as u64;
    }

    /// Whether it is sent from where it lies.
    pub(crate) fn is_large(payload: &Payload) -> bool {
        payload.len() >= LARGE
    }

    pub(crate) fn push_payload(&mut self, payload: Payload) {
        match Output::is_large(&payload) {
            true => self.push_large(Body::Memory(payload)),
            false => self.push(payload.as_bytes()),
        }
    }

    pub(crate) fn push_file(&mut self, part: FilePart) {
        if part.len > 0 {
            self.push_large(Body::File(part));
        }
    }

    /// Has `watcher` told when all that is here now is sent.
    pub(crate) fn push_watcher(&mut self, watcher: Box<dyn Watcher>) {
        match self.is_empty() {
            true => watcher.sent(),
            false => self.push_large(Body::Watcher(watcher)),
        }
    }

    /// What was appended since `mark` is no more than the system is likely to take at once.
    pub(crate) fn is_small_since(&self, mark: Mark) -> bool {
        self.large.len() == mark.large && self.len - mark.len < LARGE as u64
    }

    fn push_large(&mut self, body: Body) {
        let at = self.bytes.len();
        self.add(Large { at, body });
    }

    fn add(&mut self, large: Large) {
        // Files of which too much was promised may add up to more than there is a number for.
        self.len = self.len.saturating_add(large.body.len());
        self.large_held += large.body.held();
        self.files += usize::from(large.body.is_file());
        self.large.push(large);
    }

    /// Takes out all there is; nothing of it may have been sent.
    pub(crate) fn detach(&mut self) -> Detached {
        debug_assert!(self.sent == 0 && self.large_sent == 0 && self.part == 0);
        let detached = Detached {
            bytes: self.bytes.as_slice().into(),
            large: std::mem::take(&mut self.large),
        };
        self.clear();
        detached
    }

    /// Appends what another one held.
    pub(crate) fn append(&mut self, detached: Detached) {
        let base = self.bytes.len();
        self.push(&detached.bytes);
        for large in detached.large {
            let at = base + large.at;
            self.add(Large { at, ..large });
        }
    }

    /// Bytes appended to the row since `mark`.
    pub(crate) fn since(&mut self, mark: Mark) -> &mut [u8] {
        &mut self.bytes[mark.bytes..]
    }

    /// Replaces a part of the bytes behind `mark`, behind which nothing large may stand yet.
    pub(crate) fn replace(&mut self, mark: Mark, part: Range<usize>, new: &[u8]) {
        debug_assert!(self.large.len() == mark.large);
        self.len = self.len - part.len() as u64 + new.len() as u64;
        let part = mark.bytes + part.start..mark.bytes + part.end;
        self.bytes.splice(part, new.iter().copied());
    }

    /// What is to be sent next.
    pub(crate) fn next(&self) -> Next<'_> {
        let Some(large) = self.large.get(self.large_sent) else {
            let bytes = &self.bytes[self.sent..];
            return Next::Row { bytes, more: false };
        };
        match &large.body {
            Body::File(_) if large.at > self.sent => Next::Row {
                bytes: &self.bytes[self.sent..large.at],
                more: true,
            },
            Body::File(part) => Next::File {
                file: &part.file,
                offset: part.offset + self.part,
                len: part.len - self.part,
            },
            Body::Memory(_) | Body::Watcher(_) => Next::Pieces,
        }
    }

    /// Fills `slices` with what is to be sent next, in order, up to the next file. Returns how many
    /// it took.
    pub(crate) fn gather<'a>(&'a self, slices: &mut [IoSlice<'a>; MAX_SLICES]) -> usize {
        let mut count = 0;
        let mut from = self.sent;
        let mut part = self.part as usize;
        let mut add = |bytes: &'a [u8]| {
            if !bytes.is_empty() && count < MAX_SLICES {
                slices[count] = IoSlice::new(bytes);
                count += 1;
            }
        };
        for large in self.large[self.large_sent..].iter().take(MAX_SLICES) {
            add(&self.bytes[from..large.at]);
            match &large.body {
                Body::Memory(payload) => add(&payload.as_bytes()[part..]),
                Body::File(_) => return count,
                Body::Watcher(_) => {}
            }
            (from, part) = (large.at, 0);
        }
        if self.large.len() - self.large_sent <= MAX_SLICES {
            add(&self.bytes[from..]);
        }
        count
    }

    /// `n` bytes have been sent.
    pub(crate) fn advance(&mut self, n: usize) {
        let n = n as u64;
        debug_assert!(n <= self.len);
        self.len -= n;
        if self.len == 0 {
            if !self.large.is_empty() {
                self.tell_sent();
            }
            self.reset();
            return;
        }
        self.advance_pieces(n);
        if self.sent >= KEEP && self.sent >= self.bytes.len() / 2
            || self.large_sent >= MAX_SLICES && self.large_sent >= self.large.len() / 2
        {
            self.forget_sent();
        }
    }

    /// Gives the room of what is sent back: of a stream whose client is always behind, there is
    /// always something left.
    fn forget_sent(&mut self) {
        self.bytes.drain(..self.sent);
        self.large.drain(..self.large_sent);
        for large in &mut self.large {
            large.at -= self.sent;
        }
        (self.sent, self.large_sent) = (0, 0);
    }

    /// All is sent.
    #[cold]
    fn tell_sent(&mut self) {
        for large in self.large.drain(self.large_sent..) {
            if let Body::Watcher(watcher) = large.body {
                watcher.sent();
            }
        }
    }

    /// Nothing more is sent.
    #[cold]
    fn tell_lost(&mut self) {
        let (mut from, mut part, mut unsent) = (self.sent, self.part, 0_u64);
        for large in self.large.drain(self.large_sent..) {
            unsent = large
                .body
                .len()
                .saturating_sub(part)
                .saturating_add(unsent)
                .saturating_add((large.at - from) as u64);
            (from, part) = (large.at, 0);
            if let Body::Watcher(watcher) = large.body {
                watcher.lost(unsent);
            }
        }
    }

    /// All before the next watcher is sent.
    fn is_watched(&self) -> bool {
        let next = self.large.get(self.large_sent);
        next.is_some_and(|next| next.at == self.sent && matches!(next.body, Body::Watcher(_)))
    }

    fn advance_pieces(&mut self, mut n: u64) {
        while n > 0 || self.is_watched() {
            let next = self.large.get(self.large_sent);
            let row = next.map_or(self.bytes.len(), |large| large.at) - self.sent;
            let step = n.min(row as u64);
            self.sent += step as usize;
            n -= step;
            let Some(next) = next else { break };
            if n > 0 || next.at == self.sent {
                let left = next.body.len() - self.part;
                let step = n.min(left);
                n -= step;
                self.part += step;
                if step == left {
                    // Given back as soon as it is sent, not when all is.
                    let sent = Body::Memory(Payload::Static(b""));
                    let body = std::mem::replace(&mut self.large[self.large_sent].body, sent);
                    self.large_held -= body.held();
                    self.files -= usize::from(body.is_file());
                    self.large_sent += 1;
                    self.part = 0;
                    if let Body::Watcher(watcher) = body {
                        watcher.sent();
                    }
                }
            }
        }
    }

    /// Drops everything and keeps the allocation, within bounds.
    pub(crate) fn clear(&mut self) {
        if !self.large.is_empty() {
            self.tell_lost();
        }
        self.reset();
        if self.bytes.capacity() > KEEP {
            self.bytes.shrink_to(KEEP);
        }
    }

    /// Its allocation is larger than [`Output::clear`] keeps.
    #[cfg(feature = "websocket")]
    pub(crate) fn has_grown(&self) -> bool {
        self.bytes.capacity() > KEEP
    }

    /// Drops everything and keeps the allocation.
    pub(crate) fn reset(&mut self) {
        self.bytes.clear();
        self.large.clear();
        (self.sent, self.large_sent, self.part, self.len) = (0, 0, 0, 0);
        (self.large_held, self.files) = (0, 0);
        self.tempo = None;
    }

    /// The client has taken `n` bytes of what waits since `since`, and has not taken all.
    pub(crate) fn taken(&mut self, n: usize, since: Seconds, now: Seconds, rate: &Rate) {
        let tempo = self.tempo.get_or_insert_with(|| Tempo::new(since, rate));
        tempo.count(n, now, rate);
    }

    /// When the client of what waits since `since` takes it too slowly.
    pub(crate) fn due(&self, since: Seconds, rate: &Rate) -> Seconds {
        match &self.tempo {
            Some(tempo) => tempo.due(rate),
            None => rate.first_due(since),
        }
    }

    /// When the client of what waits since `since` last took some of it.
    pub(crate) fn moved(&self, since: Seconds) -> Seconds {
        self.tempo.map_or(since, |tempo| tempo.moved())
    }
}

#[cfg(test)]
mod tests;
