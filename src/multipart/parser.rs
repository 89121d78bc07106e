//! Finding the boundaries, and what lies between them.

use super::boundary::boundary;
use super::error::MultipartError;
use super::header::{Draft, PartHead};
use super::limits::MultipartLimits;
use memchr::memmem::Finder;

/// Offsets in a header line are 16 bits wide.
const MAX_HEADER: usize = u16::MAX as usize;

/// Takes the parts of a form as they come. For each part `begin`, `data` as often as it takes, which
/// may be never, and `end`; one part after the other, in the order of the form.
///
/// An error of the sink ends the parsing: [`Multipart::write`] returns it as it is.
pub trait PartSink {
    /// What the sink and the parser can fail with.
    type Error: From<MultipartError>;

    /// A part begins. It is a file if it has a [`file_name`](PartHead::file_name).
    fn begin(&mut self, head: &PartHead<'_>) -> Result<(), Self::Error>;

    /// The next bytes of the part, never none. How they are cut means nothing.
    fn data(&mut self, bytes: &[u8]) -> Result<(), Self::Error>;

    /// The part is complete. A part whose `end` never comes was cut off.
    fn end(&mut self) -> Result<(), Self::Error>;
}

/// Reads a `multipart/form-data` body that comes in pieces, in memory that does not grow with it.
///
/// Make one for each body, hand it all pieces in order, and ask [`finish`](Multipart::finish)
/// whether that was all. It does nothing by itself and can be used on any thread. To have fields in
/// memory and files on the disk there is [`Upload`](crate::Upload).
///
/// ```
/// use peregrine::{Multipart, MultipartError, MultipartLimits, PartHead, PartSink};
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
/// # What is read
///
/// RFC 7578 and the grammar of RFC 2046 section 5.1.1, line ends as CRLF only. What stands before the
/// first boundary or behind the last one is thrown away. What two readers could understand
/// differently is refused with 400: a boundary that something else follows on its line, a header
/// field or parameter that counts and is there twice or in pieces (`name*0`, RFC 2231). Data is never decoded, and a part of type `multipart/mixed` is a part like any other.
#[derive(Debug)]
pub struct Multipart {
    state: State,
    scan: Scan,
    /// Of the boundary, what some readers take for something else: a line without it would be a boundary to
    /// them. See [`Boundary::certain`](super::boundary::Boundary::certain).
    rest: Box<[u8]>,
    meter: Meter,
    /// The header line that has not ended yet.
    line: Vec<u8>,
    draft: Draft,
    parts: usize,
    total: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In what the next delimiter ends.
    Content,
    /// In the rest of a boundary, of which so many bytes have come.
    Boundary {
        rest: usize,
    },
    /// Behind a boundary.
    Line(Line),
    Header {
        bytes: usize,
    },
    /// Behind the closing boundary.
    Closed(Line),
    Epilogue,
    Failed(MultipartError),
}

/// The rest of the line that a boundary begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Start,
    /// A hyphen that wants another.
    Hyphen,
    /// White space that a transport has added (RFC 2046 section 5.1.1).
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
            state: State::Content,
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

    /// Takes the next piece of the body, however small or large, and tells `sink` what is in it.
    ///
    /// # Errors
    ///
    /// A [`MultipartError`], as the sink's error, or what the sink failed with. The body cannot be
    /// gone on with then: each further call returns the error again, or
    /// [`MultipartError::Stopped`] if it was the sink's.
    pub fn write<S: PartSink>(&mut self, piece: &[u8], sink: &mut S) -> Result<(), S::Error> {
        if let State::Failed(error) = self.state {
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
        // After all that came before it, so that it does not matter how the body was cut.
        match within < piece.len() {
            true => Err(self.refuse(MultipartError::TooLong)),
            false => Ok(()),
        }
    }

    /// The body is at its end.
    ///
    /// # Errors
    ///
    /// [`MultipartError::Unfinished`] if the closing boundary has not come, or the error that
    /// [`Multipart::write`] would return again.
    pub fn finish(&self) -> Result<(), MultipartError> {
        match self.state {
            State::Closed(Line::Start | Line::Padding) | State::Epilogue => Ok(()),
            State::Failed(error) => Err(error),
            _ => Err(MultipartError::Unfinished),
        }
    }

    /// Takes some of `piece`, which is not empty; how much.
    fn step<S: PartSink>(&mut self, piece: &[u8], sink: &mut S) -> Result<usize, S::Error> {
        // What it stays at if the sink fails or panics.
        let state = std::mem::replace(&mut self.state, State::Failed(MultipartError::Stopped));
        let (taken, next) = match state {
            State::Content => self.content(piece, sink)?,
            State::Boundary { rest } => (1, self.boundary(rest, piece[0])?),
            State::Line(line) => (1, self.line(line, piece[0], sink)?),
            State::Header { bytes } => self.header(bytes, piece, sink)?,
            State::Closed(line) => (1, self.closed(line, piece[0])?),
            State::Epilogue => (piece.len(), State::Epilogue),
            State::Failed(error) => return Err(self.refuse(error)),
        };
        self.state = next;
        Ok(taken)
    }

    fn refuse<E: From<MultipartError>>(&mut self, error: MultipartError) -> E {
        self.state = State::Failed(error);
        error.into()
    }

    /// What is part of the content, up to the next delimiter.
    fn content<S: PartSink>(
        &mut self,
        piece: &[u8],
        sink: &mut S,
    ) -> Result<(usize, State), S::Error> {
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
                self.state = State::Failed(error);
                return Err(error.into());
            }
        }
        let next = match found {
            true => self.behind_boundary(0),
            false => State::Content,
        };
        Ok((taken, next))
    }

    /// Behind what is certain of a boundary, and so many bytes of the rest.
    fn behind_boundary(&self, rest: usize) -> State {
        match rest < self.rest.len() {
            true => State::Boundary { rest },
            false => State::Line(Line::Start),
        }
    }

    /// The next byte of the rest of a boundary.
    fn boundary(&mut self, rest: usize, byte: u8) -> Result<State, MultipartError> {
        match self.rest.get(rest) == Some(&byte) {
            true => Ok(self.behind_boundary(rest + 1)),
            false => Err(self.refuse(MultipartError::BoundaryLine)),
        }
    }

    /// Behind a boundary: CRLF, and the header of a part follows, or two hyphens, and none does.
    ///
    /// RFC 2046 would have a line that goes on otherwise be a boundary, too; many readers take it
    /// for data.
    fn line<S: PartSink>(&mut self, line: Line, byte: u8, sink: &mut S) -> Result<State, S::Error> {
        match (line, byte) {
            (Line::Start, b'-') => return Ok(State::Line(Line::Hyphen)),
            (Line::Start | Line::Padding, b' ' | b'\t') => return Ok(State::Line(Line::Padding)),
            (Line::Start | Line::Padding, b'\r') => return Ok(State::Line(Line::Cr)),
            (Line::Hyphen, b'-') | (Line::Cr, b'\n') => {}
            _ => return Err(self.refuse(MultipartError::BoundaryLine)),
        }
        if !matches!(self.meter.part, Part::Preamble { .. }) {
            sink.end()?;
        }
        if line == Line::Hyphen {
            return Ok(State::Closed(Line::Start));
        }
        if self.parts >= self.meter.limits.parts {
            return Err(self.refuse(MultipartError::TooManyParts));
        }
        self.parts += 1;
        Ok(State::Header { bytes: 0 })
    }

    /// Behind the closing boundary: nothing, or CRLF and what nobody reads.
    fn closed(&mut self, line: Line, byte: u8) -> Result<State, MultipartError> {
        match (line, byte) {
            (Line::Start | Line::Padding, b' ' | b'\t') => Ok(State::Closed(Line::Padding)),
            (Line::Start | Line::Padding, b'\r') => Ok(State::Closed(Line::Cr)),
            (Line::Cr, b'\n') => Ok(State::Epilogue),
            _ => Err(self.refuse(MultipartError::BoundaryLine)),
        }
    }

    /// A header line, or some of it; `bytes` of the header have come before this piece.
    fn header<S: PartSink>(
        &mut self,
        bytes: usize,
        piece: &[u8],
        sink: &mut S,
    ) -> Result<(usize, State), S::Error> {
        let end = memchr::memchr(b'\n', piece);
        let taken = end.map_or(piece.len(), |at| at + 1);
        self.meter
            .admit_header(bytes, taken)
            .map_err(|error| self.refuse::<S::Error>(error))?;
        self.line.extend_from_slice(&piece[..taken]);
        let bytes = bytes + taken;
        if end.is_none() {
            return Ok((taken, State::Header { bytes }));
        }
        if self.line != b"\r\n" {
            let read = self.draft.line(&self.line);
            read.map_err(|error| self.refuse::<S::Error>(error))?;
            self.line.clear();
            return Ok((taken, State::Header { bytes }));
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
        Ok((taken, State::Content))
    }
}

/// Looks for CRLF, two hyphens and the boundary.
#[derive(Debug)]
struct Scan {
    delimiter: Finder<'static>,
    /// How much of the delimiter the bytes so far end with.
    ///
    /// A CR can only be its first byte, as a boundary holds none. So if it does not go on, the only
    /// place at which it can begin anew is the byte that did not fit; and what was held back need not
    /// be kept, being the beginning of the delimiter.
    seen: usize,
    /// How much of that stood before the content. At most `seen`.
    before: usize,
}

/// What a piece turned out to be.
struct Scanned<'a> {
    /// Content that pieces before this one have brought.
    held: &'a [u8],
    content: &'a [u8],
    /// Bytes of the piece that are done with.
    taken: usize,
    /// Whether a delimiter ends there.
    found: bool,
}

impl Scan {
    /// Content begins. The CRLF before it, or the beginning of the body, may belong to a delimiter:
    /// then there is no content.
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

/// Counts what the limits are about.
#[derive(Debug)]
struct Meter {
    limits: MultipartLimits,
    part: Part,
    /// Bytes of header lines and of texts, of all parts.
    memory: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// What stands before the first part.
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
    /// How many of so many bytes of content may come, and what is wrong with the one behind them.
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

    /// Whether `len` bytes of a header may come, `bytes` having come before. Of two limits the one
    /// counts that would be met first.
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
