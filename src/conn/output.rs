//! What is on its way to one client.

use super::payload::Payload;
use std::fs::File;
use std::io::IoSlice;
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
}

impl Body {
    fn len(&self) -> u64 {
        match self {
            Body::Memory(payload) => payload.len() as u64,
            Body::File(part) => part.len,
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

    /// Where the bytes that are appended from now on begin.
    pub(crate) fn mark(&self) -> Mark {
        Mark {
            bytes: self.bytes.len(),
            large: self.large.len(),
            len: self.len,
        }
    }

    /// Takes back what was appended after `mark`. Nothing of it may have been sent.
    pub(crate) fn truncate(&mut self, mark: Mark) {
        debug_assert!(self.sent <= mark.bytes && self.large_sent <= mark.large);
        self.bytes.truncate(mark.bytes);
        self.large.truncate(mark.large);
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

    fn push_large(&mut self, body: Body) {
        self.len += body.len();
        let at = self.bytes.len();
        self.large.push(Large { at, body });
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
            self.len += large.body.len();
            let at = base + large.at;
            self.large.push(Large { at, ..large });
        }
    }

    /// Bytes appended to the row since `mark`.
    pub(crate) fn since(&mut self, mark: Mark) -> &mut [u8] {
        &mut self.bytes[mark.bytes..]
    }

    /// Replaces the first `old` bytes behind `mark` by `new`.
    pub(crate) fn replace(&mut self, mark: Mark, old: usize, new: &[u8]) {
        self.bytes
            .splice(mark.bytes..mark.bytes + old, new.iter().copied());
        self.len = self.len - old as u64 + new.len() as u64;
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
            Body::Memory(_) => Next::Pieces,
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
        let mut n = n as u64;
        debug_assert!(n <= self.len);
        self.len -= n;
        if self.len == 0 {
            self.reset();
            return;
        }
        while n > 0 {
            let next = self.large.get(self.large_sent);
            let row = next.map_or(self.bytes.len(), |large| large.at) - self.sent;
            let step = n.min(row as u64);
            self.sent += step as usize;
            n -= step;
            let Some(next) = next else { break };
            if n > 0 {
                let left = next.body.len() - self.part;
                let step = n.min(left);
                n -= step;
                self.part += step;
                if step == left {
                    // Given back as soon as it is sent, not when all is.
                    self.large[self.large_sent].body = Body::Memory(Payload::Static(b""));
                    self.large_sent += 1;
                    self.part = 0;
                }
            }
        }
    }

    /// Drops everything and keeps the allocation, within bounds.
    pub(crate) fn clear(&mut self) {
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All that is unsent, by way of `gather`.
    fn gathered(output: &Output) -> Vec<u8> {
        let mut slices = [IoSlice::new(b""); MAX_SLICES];
        let count = output.gather(&mut slices);
        slices[..count]
            .iter()
            .flat_map(|s| s.iter().copied())
            .collect()
    }

    fn sample() -> (Output, Vec<u8>) {
        let large = |byte: u8| vec![byte; LARGE + usize::from(byte)];
        let mut output = Output::default();
        let mut expected = Vec::new();
        let pieces = [
            b"head".to_vec(),
            large(1),
            large(2),
            b"x".to_vec(),
            b"small".to_vec(),
            large(3),
            b"end".to_vec(),
        ];
        for piece in pieces {
            expected.extend_from_slice(&piece);
            output.push_payload(piece.into());
        }
        (output, expected)
    }

    #[test]
    #[cfg_attr(miri, ignore = "hundreds of kilobytes, byte by byte")]
    fn every_step_width_sends_every_byte_once() {
        for step in [
            1,
            2,
            3,
            5,
            1000,
            LARGE - 1,
            LARGE,
            LARGE + 1,
            2 * LARGE,
            10 * LARGE,
        ] {
            let (mut output, expected) = sample();
            let mut sent = Vec::new();
            while !output.is_empty() {
                let next = gathered(&output);
                assert_eq!(next.len() as u64, output.len());
                let n = step.min(next.len());
                sent.extend_from_slice(&next[..n]);
                output.advance(n);
                if step < 1000 && sent.len() % 4096 > 8 {
                    // Small steps only around the joints: skip ahead in between.
                    let skip = (4096 - sent.len() % 4096).min(output.len() as usize);
                    sent.extend_from_slice(&gathered(&output)[..skip]);
                    output.advance(skip);
                }
            }
            assert!(sent == expected, "step {step}");
        }
    }

    #[test]
    fn what_is_detached_is_appended_as_it_was() {
        let (mut output, expected) = sample();
        let detached = output.detach();
        assert!(output.is_empty() && gathered(&output).is_empty());
        output.push(b"before");
        output.append(detached);
        output.push(b"behind");
        let whole = [b"before", expected.as_slice(), b"behind"].concat();
        assert_eq!(output.len(), whole.len() as u64);
        assert!(gathered(&output) == whole);
        output.advance(10);
        assert!(gathered(&output) == whole[10..]);
    }

    #[test]
    fn truncating_restores_the_mark() {
        let (mut output, expected) = sample();
        let mark = output.mark();
        output.push(b"lost");
        output.push_payload(vec![9; LARGE].into());
        output.push(b"lost too");
        output.truncate(mark);
        assert_eq!(output.len(), expected.len() as u64);
        assert!(gathered(&output) == expected);
    }

    #[test]
    #[cfg_attr(miri, ignore = "megabytes, byte by byte")]
    fn more_payloads_than_a_write_gathers() {
        let mut output = Output::default();
        let mut expected = Vec::new();
        for i in 0..3 * MAX_SLICES {
            let piece = vec![i as u8; LARGE];
            expected.extend_from_slice(&piece);
            expected.extend_from_slice(b"tail");
            output.push_payload(piece.into());
            output.push(b"tail");
        }
        let mut sent = Vec::new();
        while !output.is_empty() {
            let next = gathered(&output);
            sent.extend_from_slice(&next);
            output.advance(next.len());
        }
        assert!(sent == expected);
    }

    /// What a driver would send, files by their name in brackets.
    fn sent_in_steps(output: &mut Output, step: usize) -> String {
        let mut sent = String::new();
        while !output.is_empty() {
            let n = match output.next() {
                Next::Row { bytes, .. } => {
                    let n = step.min(bytes.len());
                    sent.push_str(std::str::from_utf8(&bytes[..n]).expect("text"));
                    n
                }
                Next::Pieces => {
                    let next = gathered(output);
                    let n = step.min(next.len());
                    sent.push_str(std::str::from_utf8(&next[..n]).expect("text"));
                    n
                }
                Next::File { offset, len, .. } => {
                    let n = (step as u64).min(len);
                    for at in offset..offset + n {
                        sent.push_str(&format!("[{at}]"));
                    }
                    n as usize
                }
            };
            output.advance(n);
        }
        sent
    }

    #[test]
    fn files_come_in_their_place() {
        let file = Arc::new(File::open("Cargo.toml").expect("the manifest"));
        let part = |offset, len| FilePart {
            file: file.clone(),
            offset,
            len,
        };
        let letters = "x".repeat(LARGE);
        let expected = format!("head[7][8][9]between{letters}[0][1]end");
        let steps = [1, 2, 3, LARGE, 2 * LARGE];
        let quick = |step: &usize| !cfg!(miri) || *step >= LARGE;
        for step in steps.into_iter().filter(quick) {
            let mut output = Output::default();
            output.push(b"head");
            output.push_file(part(7, 3));
            output.push(b"between");
            output.push_payload(letters.clone().into());
            output.push_file(part(0, 2));
            output.push_file(part(5, 0));
            output.push(b"end");
            assert!(matches!(output.next(), Next::Row { bytes, more } if bytes == b"head" && more));
            assert!(sent_in_steps(&mut output, step) == expected, "step {step}");
            assert_eq!(Arc::strong_count(&file), 1, "given back");
        }
    }
}
