//! Gathers short parts of files, and the bytes between them, in one buffer.
//!
//! That is how a file goes out in frames of HTTP/2. A `sendfile` for each frame and a write for each of its headers take
//! longer than the copy.

use super::Transport;
use crate::shared::output::{Output, Piece};
use std::cell::RefCell;
use std::fs::File;
use std::io::{self, IoSliceMut};

/// A part of a file up to this length is short.
const SHORT: u64 = 16 << 10;

/// The most bytes of one call: three frames of HTTP/2. The system sends up to 64 KiB as one packet, to a network card or to
/// itself. With a little more, as with four frames, there is a second one, which costs as much.
const GATHERED: usize = 3 * (SHORT as usize + 9);

thread_local! {
    /// What [`send`] sends. Empty until its first call.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Whether the next part of a file is short, and others wait behind it.
#[inline]
pub(super) fn is_due(output: &Output) -> bool {
    output.segments() > 1 && output.unsent().find_map(|piece| is_long(&piece)) == Some(false)
}

/// `None`: it is no part of a file.
fn is_long(piece: &Piece<'_>) -> Option<bool> {
    match piece {
        Piece::Segment(_, _, len) => Some(*len > SHORT),
        Piece::Bytes(_) => None,
    }
}

/// Sends short parts of files, and the bytes between them, with one read for each file and one write. What the socket
/// does not take is read again the next time. Returns what [`Transport::send_file`] does.
#[inline(never)]
pub(super) fn send(to: &mut impl Transport, output: &Output) -> (io::Result<usize>, usize) {
    BUFFER.with_borrow_mut(|buffer| {
        // Filled with zeros once.
        buffer.resize(GATHERED, 0);
        let pieces = output.unsent();
        match fill(
            pieces.take_while(|piece| is_long(piece) != Some(true)),
            buffer,
        ) {
            Ok(0) => (Ok(0), 1),
            Ok(n) => (to.write(&buffer[..n]), n),
            Err(error) => (Err(error), 1),
        }
    })
}

/// Copies pieces to `room` until it is full. Returns the number of bytes. It is less than it could be if a file is
/// shorter than its part, or cannot be read. Then the next call begins with that part, and returns 0 or the error.
pub(super) fn fill<'a>(
    pieces: impl Iterator<Item = Piece<'a>>,
    room: &mut [u8],
) -> io::Result<usize> {
    let (mut rest, mut len) = (room, 0);
    let mut run = Run::default();
    for piece in pieces {
        if rest.is_empty() {
            break;
        }
        let most = match piece {
            Piece::Bytes(bytes) => bytes.len(),
            Piece::Segment(_, _, unsent) => usize::try_from(unsent).unwrap_or(usize::MAX),
        };
        let (to, behind) = rest.split_at_mut(most.min(rest.len()));
        let at = len;
        (rest, len) = (behind, len + to.len());
        match piece {
            Piece::Bytes(bytes) => to.copy_from_slice(&bytes[..to.len()]),
            Piece::Segment(part, sent, _) => {
                let offset = part.offset + sent;
                if !run.goes_on(&part.file, offset) {
                    if let Some(end) = run.read()? {
                        return Ok(end);
                    }
                    run = Run::of(&part.file, offset);
                }
                run.push(at, to);
            }
        }
    }
    Ok(run.read()?.unwrap_or(len))
}

/// The most places of a run.
const PLACES: usize = 16;

/// Consecutive bytes of one file, which go to several places of a buffer.
struct Run<'a, 'b> {
    file: Option<&'a File>,
    offset: u64,
    len: u64,
    places: [IoSliceMut<'b>; PLACES],
    /// Where each of them begins.
    begins: [usize; PLACES],
    count: usize,
}

impl Default for Run<'_, '_> {
    fn default() -> Self {
        Run {
            file: None,
            offset: 0,
            len: 0,
            places: std::array::from_fn(|_| IoSliceMut::new(&mut [])),
            begins: [0; PLACES],
            count: 0,
        }
    }
}

impl<'a, 'b> Run<'a, 'b> {
    fn of(file: &'a File, offset: u64) -> Run<'a, 'b> {
        Run {
            file: Some(file),
            offset,
            ..Run::default()
        }
    }

    /// Whether what is at this offset of a file can be read with it.
    fn goes_on(&self, file: &File, offset: u64) -> bool {
        let is_same = self.file.is_some_and(|own| std::ptr::eq(own, file));
        is_same && self.count < PLACES && self.offset + self.len == offset
    }

    fn push(&mut self, begin: usize, place: &'b mut [u8]) {
        self.len += place.len() as u64;
        self.places[self.count] = IoSliceMut::new(place);
        self.begins[self.count] = begin;
        self.count += 1;
    }

    /// Reads it. If less is read, returns where that ends.
    fn read(&mut self) -> io::Result<Option<usize>> {
        let Some(file) = self.file else {
            return Ok(None);
        };
        let places = &mut self.places[..self.count];
        let mut left = match read_vectored_at(file, places, self.offset) {
            // What is before it can be sent.
            Err(_) if self.begins[0] > 0 => 0,
            read => read?,
        };
        for (begin, place) in self.begins.iter().zip(places) {
            if left < place.len() {
                return Ok(Some(begin + left));
            }
            left -= place.len();
        }
        Ok(None)
    }
}

/// Reads at an offset into several places, with one call if the system has it.
fn read_vectored_at(file: &File, places: &mut [IoSliceMut<'_>], offset: u64) -> io::Result<usize> {
    #[cfg(target_os = "linux")]
    loop {
        match rustix::io::preadv(file, places, offset) {
            Err(rustix::io::Errno::INTR) => {}
            read => return Ok(read?),
        }
    }
    #[cfg(not(target_os = "linux"))]
    {
        let mut all = 0;
        for place in places {
            let n = match super::file::read_at(file, place, offset + all as u64) {
                Err(_) if all > 0 => break,
                read => read?,
            };
            all += n;
            if n < place.len() {
                break;
            }
        }
        Ok(all)
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::runtime::tests::unnamed_file;
    use crate::shared::output::FilePart;
    use std::sync::Arc;

    /// Frames of two files, of which the second is shorter than its last part.
    fn output() -> (Output, Vec<u8>) {
        let first: Vec<u8> = (0..200_u8).collect();
        let second = vec![7; 50];
        let files = [unnamed_file(&first), unnamed_file(&second)].map(Arc::new);
        let mut output = Output::default();
        let mut expected = Vec::new();
        let parts = [
            (0, 0..40),
            (0, 40..100),
            (0, 110..130),
            (1, 0..20),
            (0, 130..200),
            (1, 20..60),
        ];
        for (n, (which, range)) in parts.into_iter().enumerate() {
            let header = format!("<{n}>");
            output.push(header.as_bytes());
            expected.extend_from_slice(header.as_bytes());
            let bytes = [&first, &second][which];
            expected.extend_from_slice(&bytes[range.start..range.end.min(bytes.len())]);
            let file = files[which].clone();
            let offset = range.start as u64;
            output.push_segment(FilePart { file, offset }, range.len() as u64);
        }
        output.push(b"behind");
        (output, expected)
    }

    #[test]
    fn any_room_is_filled_in_order() {
        for room in 1..400 {
            let (mut output, expected) = output();
            let mut buffer = vec![0xee; room];
            let mut seen = Vec::new();
            loop {
                let n = fill(output.unsent(), &mut buffer).expect("bytes");
                if n == 0 {
                    break;
                }
                // As if the socket had taken less.
                let taken = n.div_ceil(2);
                seen.extend_from_slice(&buffer[..taken]);
                output.advance(taken);
            }
            assert_eq!(seen, expected, "room for {room} bytes");
            assert_eq!(output.segments(), 1, "that of the file that is too short");
        }
    }

    #[test]
    fn an_error_comes_when_nothing_is_before_it() {
        let folder = Arc::new(File::open(".").expect("a folder"));
        let mut output = Output::default();
        output.push(b"before");
        let part = |file: &Arc<File>| FilePart {
            file: file.clone(),
            offset: 0,
        };
        output.push_segment(part(&folder), 10);
        output.push_segment(part(&folder), 10);
        let mut buffer = [0; 100];
        assert_eq!(fill(output.unsent(), &mut buffer).expect("bytes"), 6);
        assert_eq!(&buffer[..6], b"before");
        output.advance(6);
        assert!(fill(output.unsent(), &mut buffer).is_err());
    }

    #[test]
    fn long_parts_are_not_copied() {
        let file = Arc::new(unnamed_file(b""));
        let part = || FilePart {
            file: file.clone(),
            offset: 0,
        };
        for (lens, expected) in [
            (&[SHORT][..], false),
            (&[SHORT, 1], true),
            (&[SHORT + 1, 1], false),
            (&[1, SHORT + 1], true),
        ] {
            let mut output = Output::default();
            output.push(b"head");
            lens.iter()
                .for_each(|len| output.push_segment(part(), *len));
            assert_eq!(is_due(&output), expected, "{lens:?}");
        }
    }
}
