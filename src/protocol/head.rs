//! The head of a request: request line and header fields (RFC 9112 sections 3 and 5).

use super::{Span, Version, class, error::ProtocolError, limits::Limits, line, target::Target};

/// Fields that a [`Head`] has room for; [`Limits::header_fields`] can only be lower.
pub(crate) const MAX_FIELDS: usize = 64;

/// What a request line may hold beside its target: a long extension method and the version.
const METHOD_AND_VERSION: usize = 64;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Field {
    pub(crate) name: Span,
    pub(crate) value: Span,
}

/// A field that decides about framing or persistence: looked up without a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    Host,
    Expect,
    Connection,
    ContentLength,
    TransferEncoding,
}

const KNOWN: usize = 5;

impl Known {
    fn of(name: &[u8]) -> Option<Known> {
        let (known, lower): (Known, &[u8]) = match name.len() {
            4 => (Known::Host, b"host"),
            6 => (Known::Expect, b"expect"),
            10 => (Known::Connection, b"connection"),
            14 => (Known::ContentLength, b"content-length"),
            17 => (Known::TransferEncoding, b"transfer-encoding"),
            _ => return None,
        };
        name.eq_ignore_ascii_case(lower).then_some(known)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// `empty`: one empty line before the request line was skipped (RFC 9112 section 2.2).
    RequestLine {
        empty: bool,
    },
    Fields,
    Complete,
}

/// A table of where things stand in a head: offsets, so that it borrows nothing, and of a fixed
/// size, so that it is allocated once and filled again for each request.
#[derive(Clone)]
pub(crate) struct Head {
    pub(crate) method: Span,
    pub(crate) target: Target,
    pub(crate) version: Version,
    stage: Stage,
    /// `count <= MAX_FIELDS`; what is behind is of an earlier request.
    count: u8,
    /// By [`Known`]: the index of the first such field and one, or 0.
    known: [u8; KNOWN],
    /// By [`Known`], a bit: there is more than one.
    repeated: u8,
    /// Where the line begins that is not complete yet; when all is complete, the end of the head.
    line: usize,
    /// How far the end of that line has been searched for. `line <= scanned`
    scanned: usize,
    fields: [Field; MAX_FIELDS],
}

impl Head {
    pub(crate) fn new() -> Head {
        Head {
            method: Span::default(),
            target: Target::default(),
            version: Version::Http11,
            stage: Stage::RequestLine { empty: false },
            count: 0,
            known: [0; KNOWN],
            repeated: 0,
            line: 0,
            scanned: 0,
            fields: [Field::default(); MAX_FIELDS],
        }
    }

    /// Makes it ready for the next request. The table is not cleared: `count` guards it.
    pub(crate) fn reset(&mut self) {
        self.stage = Stage::RequestLine { empty: false };
        self.count = 0;
        self.known = [0; KNOWN];
        self.repeated = 0;
        self.line = 0;
        self.scanned = 0;
    }

    /// Takes the lines that are complete in `bytes`, which begins where the head does and has all
    /// that earlier calls saw. True when the head is complete: [`Head::len`] bytes of it.
    pub(crate) fn parse(&mut self, bytes: &[u8], limits: &Limits) -> Result<bool, ProtocolError> {
        let head_bytes = limits.head_bytes.min(usize::from(u16::MAX));
        let window = &bytes[..bytes.len().min(head_bytes)];
        if self.scanned == 0 {
            // What cannot become a method is refused at its first byte, a TLS hello above all.
            match window {
                [b, ..] if !class::TOKEN[usize::from(*b)] && *b != b'\r' => {
                    return Err(ProtocolError::Method);
                }
                _ => {}
            }
        }
        while self.stage != Stage::Complete {
            let start = self.line;
            let Some((line, next)) = line(window, start, &mut self.scanned)? else {
                self.too_long(window.len() - start, limits)?;
                return match window.len() < head_bytes {
                    true => Ok(false),
                    false => Err(ProtocolError::HeadTooLarge),
                };
            };
            match self.stage {
                Stage::Fields if line.is_empty() => self.stage = Stage::Complete,
                Stage::Fields => self.field(line, start, limits)?,
                Stage::RequestLine { empty: false } if line.is_empty() => {
                    self.stage = Stage::RequestLine { empty: true };
                }
                _ => {
                    self.too_long(line.len(), limits)?;
                    self.request_line(window, Span::new(start, start + line.len()), limits)?;
                    self.stage = Stage::Fields;
                }
            }
            self.line = next;
        }
        Ok(true)
    }

    /// Judges the length of a request line, complete or not.
    fn too_long(&self, len: usize, limits: &Limits) -> Result<(), ProtocolError> {
        match self.stage {
            Stage::RequestLine { .. } if len > limits.target_bytes + METHOD_AND_VERSION => {
                Err(ProtocolError::TargetTooLong)
            }
            _ => Ok(()),
        }
    }

    fn request_line(
        &mut self,
        head: &[u8],
        line: Span,
        limits: &Limits,
    ) -> Result<(), ProtocolError> {
        let bytes = line.of(head);
        let method = bytes
            .iter()
            .take_while(|&&b| class::TOKEN[usize::from(b)])
            .count();
        match bytes.get(method) {
            Some(b' ') if method > 0 => {}
            None => return Err(ProtocolError::RequestLine),
            _ => return Err(ProtocolError::Method),
        }
        let target_end = memchr::memrchr(b' ', bytes).unwrap_or(method);
        if target_end <= method + 1 {
            return Err(ProtocolError::RequestLine);
        }
        self.version = match &bytes[target_end + 1..] {
            b"HTTP/1.1" => Version::Http11,
            b"HTTP/1.0" => Version::Http10,
            [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
                if major.is_ascii_digit() && minor.is_ascii_digit() =>
            {
                return Err(ProtocolError::Version);
            }
            _ => return Err(ProtocolError::RequestLine),
        };
        let start = usize::from(line.start);
        self.method = Span::new(start, start + method);
        let target = Span::new(start + method + 1, start + target_end);
        if target_end - method - 1 > limits.target_bytes {
            return Err(ProtocolError::TargetTooLong);
        }
        self.target = Target::parse(head, target, &bytes[..method])?;
        Ok(())
    }

    fn field(&mut self, line: &[u8], start: usize, limits: &Limits) -> Result<(), ProtocolError> {
        let (name, value) = split_field(line)?;
        let index = usize::from(self.count);
        if index >= limits.header_fields.min(MAX_FIELDS) {
            return Err(ProtocolError::TooManyFields);
        }
        self.fields[index] = Field {
            name: Span::new(start, start + name),
            value: Span::new(start + value.start, start + value.end),
        };
        self.count += 1;
        if let Some(known) = Known::of(&line[..name]) {
            match &mut self.known[known as usize] {
                first @ 0 => *first = self.count,
                _ => self.repeated |= 1 << known as u8,
            }
        }
        Ok(())
    }

    /// Bytes of the head, with its last empty line. Meaningful when it is complete.
    pub(crate) fn len(&self) -> usize {
        self.line
    }

    pub(crate) fn fields(&self) -> &[Field] {
        &self.fields[..usize::from(self.count)]
    }

    /// The value of the first field `known`.
    pub(crate) fn known(&self, known: Known) -> Option<Span> {
        match self.known[known as usize] {
            0 => None,
            index => Some(self.fields[usize::from(index) - 1].value),
        }
    }

    pub(crate) fn is_repeated(&self, known: Known) -> bool {
        self.repeated & 1 << known as u8 != 0
    }

    /// The values of all fields of this name, in order.
    pub(crate) fn values<'a>(
        &'a self,
        head: &'a [u8],
        name: &'a [u8],
    ) -> impl Iterator<Item = &'a [u8]> {
        self.fields()
            .iter()
            .filter(move |field| field.name.of(head).eq_ignore_ascii_case(name))
            .map(move |field| field.value.of(head))
    }
}

/// Where the name of a field line ends and where its value stands, white space around it left out
/// (RFC 9112 section 5). Also the syntax of trailers.
pub(crate) fn split_field(line: &[u8]) -> Result<(usize, std::ops::Range<usize>), ProtocolError> {
    let name = line
        .iter()
        .take_while(|&&b| class::TOKEN[usize::from(b)])
        .count();
    match line.get(name) {
        Some(b':') if name > 0 => {}
        Some(b' ' | b'\t') if name == 0 => return Err(ProtocolError::FoldedField),
        _ => return Err(ProtocolError::FieldName),
    }
    let rest = &line[name + 1..];
    if !class::is_field_value(rest) {
        return Err(ProtocolError::FieldValue);
    }
    let blank = |b: &&u8| matches!(b, b' ' | b'\t');
    let before = rest.iter().take_while(blank).count();
    let after = rest[before..].iter().rev().take_while(blank).count();
    Ok((name, name + 1 + before..line.len() - after))
}
