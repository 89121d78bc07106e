//! The parser: finds boundaries and hands over what is between them.

use super::boundary::boundary;
use super::error::MultipartError;
use super::header::{Draft, PartHead};
use super::limits::MultipartLimits;
use memchr::memmem::Finder;

/// Offsets in a header line are 16 bits wide.
const MAX_HEADER: usize = u16::MAX as usize;

/// Receives the parts of a form as they arrive.
///
/// For each part the parser calls `begin`, then `data` any number of times (or never), then `end`. The parts
/// come one after the other, in the order of the form. An error of the sink ends the parsing:
/// [`Multipart::write`] returns it.
pub trait PartSink {
    /// The error of the sink; errors of the parser are converted to it.
    type Error: From<MultipartError>;

    /// A part begins. It is a file if it has a [`file_name`](PartHead::file_name).
    fn begin(&mut self, head: &PartHead<'_>) -> Result<(), Self::Error>;

    /// The next bytes of the part, at least one. Where the data is split has no meaning.
    fn data(&mut self, bytes: &[u8]) -> Result<(), Self::Error>;

    /// The part is complete. If `end` is never called, the part is incomplete.
    fn end(&mut self) -> Result<(), Self::Error>;
}

/// Parses a `multipart/form-data` body that comes in pieces, in memory that does not grow with the body.
///
/// Make one value for each body, call [`write`](Multipart::write) for all pieces in order, and then
/// [`finish`](Multipart::finish), which checks that the body was complete. The parser can be used on any
/// thread. [`Upload`](crate::multipart::Upload) keeps fields in memory and files on the disk.
///
/// ```
/// use peregrine::multipart::{Multipart, MultipartError, MultipartLimits, PartHead, PartSink};
///
/// /// Counts the bytes of each part and keeps none.
/// #[derive(Default)]
/// struct Sizes(Vec<(String, usize)>);
///
/// impl PartSink for Sizes {
///     type Error = MultipartError;
///
///     fn begin(&mut self, head: &PartHead<'_>) -> Result<(), MultipartError> {
///         self.0.push((head.name().to_owned(), 0));
///         Ok(())
///     }
///
///     fn data(&mut self, bytes: &[u8]) -> Result<(), MultipartError> {
///         self.0.last_mut().unwrap().1 += bytes.len();
///         Ok(())
///     }
///
///     fn end(&mut self) -> Result<(), MultipartError> {
///         Ok(())
///     }
/// }
///
/// # fn main() -> Result<(), MultipartError> {
/// let content_type = "multipart/form-data; boundary=xyz";
/// let body = b"--xyz\r\nContent-Disposition: form-data; name=note\r\n\r\nHello\r\n--xyz--\r\n";
///
/// let mut sizes = Sizes::default();
/// let mut multipart = Multipart::new(content_type, MultipartLimits::default())?;
/// for piece in body.chunks(7) {
///     multipart.write(piece, &mut sizes)?;
/// }
/// multipart.finish()?;
/// assert_eq!(sizes.0, [("note".to_owned(), 5)]);
/// # Ok(())
/// # }
/// ```
///
/// # Syntax
///
/// The syntax is that of RFC 7578 and RFC 2046 section 5.1.1, with CRLF as the only line end. Bytes before
/// the first boundary and after the last one are dropped. Data is never decoded. A part of type
/// `multipart/mixed` is a part like any other.
///
/// Syntax that two parsers could understand differently is refused with 400: other bytes after a boundary on
/// its line; a header field or parameter that is used and present twice, or in pieces (`name*0`, RFC 2231).
#[derive(Debug)]
pub struct Multipart {
    state: ParserState,
    scan: Scan,
    /// The end of a boundary that some parsers do not count as part of it. A line without it would be a
    /// boundary to them. See [`Boundary::certain`](super::boundary::Boundary::certain).
    rest: Box<[u8]>,
    meter: Meter,
    /// The incomplete header line.
    line: Vec<u8>,
    draft: Draft,
    parts: usize,
    total: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ParserState {
    /// In content, up to the next delimiter.
    Content,
    /// In the rest of a boundary, after this number of its bytes.
    Boundary {
        rest: usize,
    },
    /// After a boundary.
    Line(Line),
    Header {
        bytes: usize,
    },
    /// After the closing boundary.
    Closed(Line),
    Epilogue,
    Failed(MultipartError),
}

/// The rest of the line of a boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Start,
    /// After a first hyphen; a second must follow.
    Hyphen,
    /// In white space that a transport has added (RFC 2046 section 5.1.1).
    Padding,
    Cr,
}

impl Multipart {
    /// A parser for one body with this `Content-Type`.
    ///
    /// # Errors
    ///
    /// [`MultipartError::NotFormData`] (415), [`MultipartError::Boundary`] (400).
    pub fn new(content_type: &str, limits: MultipartLimits) -> Result<Multipart, MultipartError> {
        let boundary = boundary(content_type.as_bytes())?;
        let (certain, rest) = boundary.bytes.split_at(boundary.certain);
        let mut scan = Scan {
            delimiter: Finder::new(&[b"\r\n--", certain].concat()).into_owned(),
            seen: 0,
            before: 0,
        };
        scan.begin();
        Ok(Multipart {
            state: ParserState::Content,
            scan,
            rest: rest.into(),
            meter: Meter {
                limits,
                part: Part::Preamble { bytes: 0 },
                memory: 0,
            },
            line: Vec::new(),
            draft: Draft::default(),
            parts: 0,
            total: 0,
        })
    }

    /// Parses the next piece of the body, of any size, and calls `sink` with its content.
    ///
    /// # Errors
    ///
    /// A [`MultipartError`], converted to the error of the sink, or the error of the sink. After an error the
    /// body cannot be continued: each further call returns the same error, or [`MultipartError::Stopped`]
    /// after an error of the sink.
    pub fn write<S: PartSink>(&mut self, piece: &[u8], sink: &mut S) -> Result<(), S::Error> {
        if let ParserState::Failed(error) = self.state {
            return Err(error.into());
        }
        let room = self.meter.limits.total_bytes - self.total;
        let within = usize::try_from(room).map_or(piece.len(), |room| room.min(piece.len()));
        self.total += within as u64;
        let mut rest = &piece[..within];
        while !rest.is_empty() {
            let taken = self.step(rest, sink)?;
            rest = &rest[taken..];
        }
        // This comes after everything before it in the body, so the result does not depend on the pieces.
        match within < piece.len() {
            true => Err(self.refuse(MultipartError::TooLong)),
            false => Ok(()),
        }
    }

    /// Checks that the body is complete.
    ///
    /// # Errors
    ///
    /// [`MultipartError::Unfinished`] if the closing boundary is missing, or the error that
    /// [`Multipart::write`] has returned before.
    pub fn finish(&self) -> Result<(), MultipartError> {
        match self.state {
            ParserState::Closed(Line::Start | Line::Padding) | ParserState::Epilogue => Ok(()),
            ParserState::Failed(error) => Err(error),
            _ => Err(MultipartError::Unfinished),
        }
    }

    /// Parses a part of `piece`, which is not empty, and returns its length.
    fn step<S: PartSink>(&mut self, piece: &[u8], sink: &mut S) -> Result<usize, S::Error> {
        // This state remains if the sink fails or panics.
        let state = std::mem::replace(
            &mut self.state,
            ParserState::Failed(MultipartError::Stopped),
        );
        let (taken, next) = match state {
            ParserState::Content => self.content(piece, sink)?,
            ParserState::Boundary { rest } => (1, self.boundary(rest, piece[0])?),
            ParserState::Line(line) => (1, self.line(line, piece[0], sink)?),
            ParserState::Header { bytes } => self.header(bytes, piece, sink)?,
            ParserState::Closed(line) => (1, self.closed(line, piece[0])?),
            ParserState::Epilogue => (piece.len(), ParserState::Epilogue),
            ParserState::Failed(error) => return Err(self.refuse(error)),
        };
        self.state = next;
        Ok(taken)
    }

    fn refuse<E: From<MultipartError>>(&mut self, error: MultipartError) -> E {
        self.state = ParserState::Failed(error);
        error.into()
    }

    /// Passes on the content up to the next delimiter.
    fn content<S: PartSink>(
        &mut self,
        piece: &[u8],
        sink: &mut S,
    ) -> Result<(usize, ParserState), S::Error> {
        let Scanned {
            held,
            content,
            taken,
            found,
        } = self.scan.scan(piece);
        for bytes in [held, content] {
            let (within, error) = self.meter.admit(bytes.len());
            if within > 0 && !matches!(self.meter.part, Part::Preamble { .. }) {
                sink.data(&bytes[..within])?;
            }
            if let Some(error) = error {
                self.state = ParserState::Failed(error);
                return Err(error.into());
            }
        }
        let next = match found {
            true => self.behind_boundary(0),
            false => ParserState::Content,
        };
        Ok((taken, next))
    }

    /// The state after the certain part of a boundary and `rest` bytes of the rest.
    fn behind_boundary(&self, rest: usize) -> ParserState {
        match rest < self.rest.len() {
            true => ParserState::Boundary { rest },
            false => ParserState::Line(Line::Start),
        }
    }

    /// The next byte of the rest of a boundary.
    fn boundary(&mut self, rest: usize, byte: u8) -> Result<ParserState, MultipartError> {
        match self.rest.get(rest) == Some(&byte) {
            true => Ok(self.behind_boundary(rest + 1)),
            false => Err(self.refuse(MultipartError::BoundaryLine)),
        }
    }

    /// A byte after a boundary. After CRLF comes the header of a part; after two hyphens no part follows.
    ///
    /// By RFC 2046 a line that goes on in another way is a boundary, too. Many parsers take it for data.
    fn line<S: PartSink>(
        &mut self,
        line: Line,
        byte: u8,
        sink: &mut S,
    ) -> Result<ParserState, S::Error> {
        match (line, byte) {
            (Line::Start, b'-') => return Ok(ParserState::Line(Line::Hyphen)),
            (Line::Start | Line::Padding, b' ' | b'\t') => {
                return Ok(ParserState::Line(Line::Padding));
            }
            (Line::Start | Line::Padding, b'\r') => return Ok(ParserState::Line(Line::Cr)),
            (Line::Hyphen, b'-') | (Line::Cr, b'\n') => {}
            _ => return Err(self.refuse(MultipartError::BoundaryLine)),
        }
        if !matches!(self.meter.part, Part::Preamble { .. }) {
            sink.end()?;
        }
        if line == Line::Hyphen {
            return Ok(ParserState::Closed(Line::Start));
        }
        if self.parts >= self.meter.limits.parts {
            return Err(self.refuse(MultipartError::TooManyParts));
        }
        self.parts += 1;
        Ok(ParserState::Header { bytes: 0 })
    }

    /// A byte after the closing boundary: nothing may follow, or a CRLF and bytes that are ignored.
    fn closed(&mut self, line: Line, byte: u8) -> Result<ParserState, MultipartError> {
        match (line, byte) {
            (Line::Start | Line::Padding, b' ' | b'\t') => Ok(ParserState::Closed(Line::Padding)),
            (Line::Start | Line::Padding, b'\r') => Ok(ParserState::Closed(Line::Cr)),
            (Line::Cr, b'\n') => Ok(ParserState::Epilogue),
            _ => Err(self.refuse(MultipartError::BoundaryLine)),
        }
    }

    /// A header line, or a piece of it. `bytes` of the header came before this piece.
    fn header<S: PartSink>(
        &mut self,
        bytes: usize,
        piece: &[u8],
        sink: &mut S,
    ) -> Result<(usize, ParserState), S::Error> {
        let end = memchr::memchr(b'\n', piece);
        let taken = end.map_or(piece.len(), |at| at + 1);
        self.meter
            .admit_header(bytes, taken)
            .map_err(|error| self.refuse::<S::Error>(error))?;
        self.line.extend_from_slice(&piece[..taken]);
        let bytes = bytes + taken;
        if end.is_none() {
            return Ok((taken, ParserState::Header { bytes }));
        }
        if self.line != b"\r\n" {
            let read = self.draft.line(&self.line);
            read.map_err(|error| self.refuse::<S::Error>(error))?;
            self.line.clear();
            return Ok((taken, ParserState::Header { bytes }));
        }
        self.line.clear();
        let draft = std::mem::take(&mut self.draft);
        let head = draft.head();
        let head = head.map_err(|error| self.refuse::<S::Error>(error))?;
        self.meter.part = match head.file_name() {
            Some(_) => Part::File { bytes: 0 },
            None => Part::Text { bytes: 0 },
        };
        self.scan.begin();
        sink.begin(&head)?;
        Ok((taken, ParserState::Content))
    }
}

/// Searches for CRLF, two hyphens and the boundary.
#[derive(Debug)]
struct Scan {
    delimiter: Finder<'static>,
    /// Length of the prefix of the delimiter with which the bytes so far end.
    ///
    /// A CR can only be its first byte, because a boundary has no CR. So if the next byte does not fit, only
    /// this byte can begin a new delimiter. The bytes held back need not be stored: they equal the beginning
    /// of the delimiter.
    seen: usize,
    /// Number of these bytes that came before the content. At most `seen`.
    before: usize,
}

/// The result for one piece.
struct Scanned<'a> {
    /// Content from earlier pieces.
    held: &'a [u8],
    content: &'a [u8],
    /// Bytes of the piece that are consumed.
    taken: usize,
    /// Whether a delimiter ends after them.
    found: bool,
}

impl Scan {
    /// Begins content. The CRLF before it, or the beginning of the body, may be part of a delimiter; then the
    /// content is empty.
    fn begin(&mut self) {
        (self.seen, self.before) = (2, 2);
    }

    fn scan<'a>(&'a mut self, piece: &'a [u8]) -> Scanned<'a> {
        let delimiter = self.delimiter.needle();
        if self.seen > 0 {
            let wanted = &delimiter[self.seen..];
            let pairs = wanted.iter().zip(piece);
            let taken = pairs.take_while(|(a, b)| a == b).count();
            let found = taken == wanted.len();
            let seen = self.seen + taken;
            let mut held = &delimiter[..0];
            if found {
                (self.seen, self.before) = (0, 0);
            } else if taken == piece.len() {
                self.seen = seen;
            } else {
                held = &delimiter[self.before..seen];
                (self.seen, self.before) = (0, 0);
            }
            return Scanned {
                held,
                content: b"",
                taken,
                found,
            };
        }
        let (content, taken, found) = match self.delimiter.find(piece) {
            Some(at) => (&piece[..at], at + delimiter.len(), true),
            None => {
                let last = piece.len().saturating_sub(delimiter.len() - 1);
                let begins = memchr::memrchr(b'\r', &piece[last..]).map(|at| last + at);
                let begins = begins.filter(|at| delimiter.starts_with(&piece[*at..]));
                let content = &piece[..begins.unwrap_or(piece.len())];
                self.seen = piece.len() - content.len();
                (content, piece.len(), false)
            }
        };
        Scanned {
            held: b"",
            content,
            taken,
            found,
        }
    }
}

/// Counts bytes for the limits.
#[derive(Debug)]
struct Meter {
    limits: MultipartLimits,
    part: Part,
    /// Bytes of the header lines and texts of all parts.
    memory: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// The bytes before the first part.
    Preamble {
        bytes: usize,
    },
    Text {
        bytes: usize,
    },
    File {
        bytes: u64,
    },
}

impl Meter {
    /// The number of content bytes, of `len`, that are within the limits, and the error for the next one.
    fn admit(&mut self, len: usize) -> (usize, Option<MultipartError>) {
        let memory = self.limits.memory_bytes - self.memory;
        let (room, error) = match self.part {
            Part::Preamble { bytes } => {
                let room = self.limits.header_bytes - bytes;
                (room, MultipartError::NoStart)
            }
            Part::Text { bytes } => match self.limits.text_bytes - bytes {
                room if room <= memory => (room, MultipartError::TextTooLong),
                _ => (memory, MultipartError::MemoryExceeded),
            },
            Part::File { bytes } => {
                let room = usize::try_from(self.limits.file_bytes - bytes);
                (room.unwrap_or(usize::MAX), MultipartError::FileTooLong)
            }
        };
        let within = room.min(len);
        match &mut self.part {
            Part::Preamble { bytes } => *bytes += within,
            Part::Text { bytes } => {
                *bytes += within;
                self.memory += within;
            }
            Part::File { bytes } => *bytes += within as u64,
        }
        (within, (within < len).then_some(error))
    }

    /// Whether `len` more bytes of a header are within the limits, after `bytes`. If both limits are
    /// exceeded, the error is that of the one reached first.
    fn admit_header(&mut self, bytes: usize, len: usize) -> Result<(), MultipartError> {
        let memory = self.limits.memory_bytes - self.memory;
        let header = self.limits.header_bytes.min(MAX_HEADER) - bytes;
        if len > header && header <= memory {
            return Err(MultipartError::HeaderTooLong);
        }
        if len > memory {
            return Err(MultipartError::MemoryExceeded);
        }
        self.memory += len;
        Ok(())
    }
}
