//! Parser of request heads (RFC 9112 sections 3 and 5).

#[cfg(feature = "checks")]
#[doc(hidden)]
pub mod check;
mod edit;
mod last_fields;

use crate::error::ProtocolError;
use crate::http::target::Target;
use crate::http::{Method, Version};
use crate::limits::Limits;
use crate::{Span, syntax};
use alloc::vec::Vec;
use last_fields::LastFields;

/// The number of fields for which a [`Head`] has room. [`Limits::header_fields`] can only be lower.
pub const MAX_FIELDS: usize = 256;

/// The maximum length of a method in bytes. The longest registered method has 17; a server may refuse longer
/// ones than it supports (RFC 9112 section 3).
pub(crate) const MAX_METHOD: usize = 64;

/// A header field.
#[derive(Clone, Copy, Debug, Default)]
pub struct Field {
    /// The name, as it was sent.
    pub name: Span,
    /// The value, without the white space around it.
    pub value: Span,
}

/// A field that determines framing or persistence. It is found without a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// `Host`
    Host,
    /// `Expect`
    Expect,
    /// `Connection`
    Connection,
    /// `Content-Length`
    ContentLength,
    /// `Transfer-Encoding`
    TransferEncoding,
}

const KNOWN: usize = 5;

impl Known {
    /// The known field with this name. The name is a token, so setting one bit makes it lower case.
    #[inline]
    fn of(name: &[u8]) -> Option<Known> {
        fn is<const N: usize>(name: &[u8], lower: &[u8; N]) -> bool {
            name.first_chunk::<N>()
                .is_some_and(|name| name[0] | 0x20 == lower[0] && name.map(|b| b | 0x20) == *lower)
        }
        match name.len() {
            4 if is(name, b"host") => Some(Known::Host),
            6 if is(name, b"expect") => Some(Known::Expect),
            10 if is(name, b"connection") => Some(Known::Connection),
            14 if is(name, b"content-length") => Some(Known::ContentLength),
            17 if is(name, b"transfer-encoding") => Some(Known::TransferEncoding),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    RequestLine,
    Fields,
    Complete,
}

/// A table of the parts of a head. It has offsets, so it borrows nothing. Its size is fixed, so it is
/// allocated once and filled again for each request.
#[derive(Clone)]
pub struct Head {
    /// The method.
    pub method: Span,
    /// The class of the method, which matters to the response.
    pub kind: Method,
    /// The parts of the target.
    pub target: Target,
    /// The version in the request line.
    pub version: Version,
    stage: Stage,
    /// The fields. `count <= MAX_FIELDS`; entries after `count` belong to an earlier request.
    count: u16,
    /// By [`Known`]: the index of the first such field and one, or 0.
    known: [u16; KNOWN],
    /// By [`Known`], a bit: there is more than one.
    repeated: u8,
    /// The beginning of the line that is not complete yet. The end of the head, when all lines are complete.
    line: usize,
    /// The position up to which the end of that line has been searched. `line <= scanned`
    scanned: usize,
    fields: [Field; MAX_FIELDS],
    /// The last valid `Host`, and its length. Nearly all clients of a server send the same value, and a
    /// comparison is faster than a check of each byte (7 % of a small request).
    good_host: ([u8; MAX_GOOD_HOST], usize),
    /// The trailer section behind the body, as a block of fields.
    trailers: Vec<u8>,
    last: LastFields,
}

const MAX_GOOD_HOST: usize = 40;

impl Default for Head {
    fn default() -> Head {
        Head::new()
    }
}

#[expect(clippy::len_without_is_empty, reason = "the length of a complete head")]
impl Head {
    /// A head of which no byte has arrived.
    pub fn new() -> Head {
        Head {
            method: Span::default(),
            kind: Method::Other,
            target: Target::default(),
            version: Version::Http11,
            stage: Stage::RequestLine,
            count: 0,
            known: [0; KNOWN],
            repeated: 0,
            line: 0,
            scanned: 0,
            fields: [Field::default(); MAX_FIELDS],
            good_host: ([0; MAX_GOOD_HOST], 0),
            trailers: Vec::new(),
            last: LastFields::new(),
        }
    }

    /// Prepares it for the next request. The table is not cleared, because `count` limits its use.
    #[inline]
    pub fn reset(&mut self) {
        self.stage = Stage::RequestLine;
        self.count = 0;
        self.known = [0; KNOWN];
        self.repeated = 0;
        self.line = 0;
        self.scanned = 0;
        if !self.trailers.is_empty() {
            self.drop_trailers();
        }
    }

    /// Out of line, as its code would cost registers on the way of every request.
    #[cold]
    #[inline(never)]
    fn drop_trailers(&mut self) {
        self.trailers = Vec::new();
    }

    /// The fields behind the body of the request (RFC 9110 section 6.5), as a [block](crate::http::field_block). Empty
    /// until the body is complete.
    pub fn trailers(&self) -> &[u8] {
        &self.trailers
    }

    /// The body of the request is complete, and this block of fields was behind it.
    #[inline(never)]
    pub fn set_trailers(&mut self, block: Vec<u8>) {
        self.trailers = block;
    }

    /// Whether the head is complete and valid.
    pub fn is_complete(&self) -> bool {
        self.stage == Stage::Complete
    }

    /// Parses the complete lines in `bytes`, which begins at the head and has all bytes of the earlier calls.
    /// True when the head is complete; then [`Head::len`] is its length.
    ///
    /// A separate function, because inlined into a turn its loops would have too few registers.
    #[inline(never)]
    pub fn parse(&mut self, bytes: &[u8], limits: &Limits) -> Result<bool, ProtocolError> {
        let window = &bytes[..bytes.len().min(most(limits))];
        if self.scanned > self.line && memchr::memchr(b'\n', &window[self.scanned..]).is_none() {
            return self.incomplete(window, limits);
        }
        if self.stage == Stage::RequestLine {
            match self.request_line(window, limits) {
                Ok(next) => (self.line, self.scanned) = (next, next),
                Err(error) => return self.judge(error, window, limits),
            }
        }
        match self.stage {
            Stage::Complete => Ok(true),
            _ => self.parse_fields(window, limits),
        }
    }

    /// The lines behind the request line. A separate function: a request with the fields of the last one does without it,
    /// and without the registers that its loops need.
    #[inline(never)]
    fn parse_fields(&mut self, window: &[u8], limits: &Limits) -> Result<bool, ProtocolError> {
        while self.stage != Stage::Complete {
            match self.field(window, limits) {
                Ok(next) => (self.line, self.scanned) = (next, next),
                Err(error) => return self.judge(error, window, limits),
            }
        }
        Ok(true)
    }

    /// The current line is not valid, or its end has not arrived yet.
    #[cold]
    fn judge(
        &mut self,
        error: ProtocolError,
        window: &[u8],
        limits: &Limits,
    ) -> Result<bool, ProtocolError> {
        // Bytes that cannot begin a method are refused at the first byte. A TLS handshake is the most
        // frequent case.
        match window {
            [b, ..] if self.scanned == 0 && !syntax::TOKEN[usize::from(*b)] => {
                return Err(ProtocolError::Method);
            }
            _ => {}
        }
        match memchr::memchr(b'\n', &window[self.line..]) {
            None => self.incomplete(window, limits),
            Some(len) => {
                self.too_long(&window[self.line..self.line + len], limits)?;
                Err(error)
            }
        }
    }

    /// The current line has no end yet.
    fn incomplete(&mut self, window: &[u8], limits: &Limits) -> Result<bool, ProtocolError> {
        self.scanned = window.len();
        self.too_long(&window[self.line..], limits)?;
        match window.len() < most(limits) {
            true => Ok(false),
            false => Err(ProtocolError::HeadTooLarge),
        }
    }

    /// Checks the length of a request line, complete or not.
    fn too_long(&self, line: &[u8], limits: &Limits) -> Result<(), ProtocolError> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match self.stage {
            Stage::RequestLine if line.len() > longest_line(limits) => {
                match syntax::count(line, &syntax::TOKEN) > MAX_METHOD {
                    true => Err(ProtocolError::MethodTooLong),
                    false => Err(ProtocolError::TargetTooLong),
                }
            }
            _ => Ok(()),
        }
    }

    /// `method SP target SP version CRLF` (RFC 9112 section 3). Returns where the next line starts.
    #[inline]
    fn request_line(&mut self, head: &[u8], limits: &Limits) -> Result<usize, ProtocolError> {
        let start = self.line;
        // 13 instructions fewer than a check of each byte.
        let (method, kind) = match head[start..].starts_with(b"GET ") {
            true => (start + 3, Method::Get),
            false => {
                let len = syntax::count(&head[start..], &syntax::TOKEN);
                (start + len, Method::of(&head[start..start + len]))
            }
        };
        match head.get(method) {
            Some(b' ') if method > start => {}
            Some(b'\r' | b'\n') => return Err(ProtocolError::RequestLine),
            _ => return Err(ProtocolError::Method),
        }
        let (target, end) = Target::parse(head, kind, method + 1)?;
        // Compared as a whole, not byte by byte as a pattern would be.
        let version = match head[end..].starts_with(b" HTTP/1.1\r\n") {
            true => Version::Http11,
            false => other_version(head, end)?,
        };
        if method - start > MAX_METHOD {
            return Err(ProtocolError::MethodTooLong);
        }
        if end - method - 1 > limits.target_bytes {
            return Err(ProtocolError::TargetTooLong);
        }
        self.version = version;
        self.method = Span::new(start, method);
        self.kind = kind;
        self.target = target;
        self.stage = Stage::Fields;
        let fields = end + VERSION + 2;
        Ok(fields + self.repeat_fields(head, fields, limits))
    }

    /// Parses a field line, or the empty line after the last field. Returns where the next line starts.
    #[inline]
    fn field(&mut self, head: &[u8], limits: &Limits) -> Result<usize, ProtocolError> {
        let start = self.line;
        if head[start..].starts_with(b"\r\n") {
            self.stage = Stage::Complete;
            self.keep_fields(&head[..start + 2]);
            return Ok(start + 2);
        }
        let (field, next) = split_field(head, start)?;
        let known = Known::of(field.name.of(head));
        match self.push(field, known, limits.header_fields) {
            true => Ok(next),
            false => Err(ProtocolError::TooManyFields),
        }
    }

    /// Appends a field to the table. False if there are `most` already.
    #[inline(always)]
    pub(crate) fn push(&mut self, field: Field, known: Option<Known>, most: usize) -> bool {
        let index = usize::from(self.count);
        if index >= most.min(MAX_FIELDS) {
            return false;
        }
        if index == 0 {
            self.last.forget();
        }
        self.fields[index] = field;
        self.count += 1;
        if let Some(known) = known {
            match &mut self.known[known as usize] {
                first @ 0 => *first = self.count,
                _ => self.repeated |= 1 << known as u8,
            }
        }
        true
    }

    /// All fields are pushed: the rest of what a head has, in HTTP/2 and HTTP/3 in place of a request line.
    #[cfg(any(feature = "http2", feature = "http3"))]
    #[inline]
    pub(crate) fn complete(
        &mut self,
        version: Version,
        method: Span,
        kind: Method,
        target: Target,
        len: usize,
    ) {
        self.method = method;
        self.kind = kind;
        self.target = target;
        self.version = version;
        self.line = len;
        self.stage = Stage::Complete;
    }

    /// Bytes of the head, with its last empty line. Valid when the head is complete.
    #[inline]
    pub fn len(&self) -> usize {
        self.line
    }

    /// All fields, in the order in which they were sent.
    #[inline]
    pub fn fields(&self) -> &[Field] {
        &self.fields[..usize::from(self.count)]
    }

    /// The value of the first field `known`.
    pub fn known(&self, known: Known) -> Option<Span> {
        match self.known[known as usize] {
            0 => None,
            index => Some(self.fields[usize::from(index) - 1].value),
        }
    }

    /// Whether `host` may be the value of `Host` (RFC 9112 section 3.2).
    pub(crate) fn is_good_host(&mut self, host: &[u8]) -> bool {
        let (good, len) = &mut self.good_host;
        if good[..*len] == *host {
            return true;
        }
        let is_good = syntax::is_host(host);
        if is_good && host.len() <= MAX_GOOD_HOST {
            good[..host.len()].copy_from_slice(host);
            *len = host.len();
        }
        is_good
    }

    /// Whether the field is present more than once.
    pub fn is_repeated(&self, known: Known) -> bool {
        self.repeated & 1 << known as u8 != 0
    }

    /// The values of all fields of this name, in order.
    pub fn values<'a>(&'a self, head: &'a [u8], name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.fields()
            .iter()
            .filter(move |field| field.name.of(head).eq_ignore_ascii_case(name))
            .map(move |field| field.value.of(head))
    }
}

/// The maximum length of a head. Offsets are 16 bits wide.
pub fn most(limits: &Limits) -> usize {
    limits.head_bytes.min(usize::from(u16::MAX))
}

/// The maximum length of a request line without its end.
fn longest_line(limits: &Limits) -> usize {
    limits.target_bytes.saturating_add(MAX_METHOD + 1 + VERSION)
}

/// Length of a version and the space before it.
const VERSION: usize = 9;

/// Parses the end of a request line after its target, if it is not the usual one. It reads nothing after the
/// line, because later bytes must make no difference.
#[cold]
fn other_version(head: &[u8], at: usize) -> Result<Version, ProtocolError> {
    match &head[at..] {
        [b' ', b'H', b'T', b'T', b'P', b'/', major, b'.', minor, ..]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            line_end(head, at + VERSION, ProtocolError::RequestLine)?;
            match [major, minor] {
                [b'1', b'0'] => Ok(Version::Http10),
                // RFC 9110 section 2.5: a higher minor version is processed as the highest that is known.
                [b'1', _] => Ok(Version::Http11),
                _ => Err(ProtocolError::Version),
            }
        }
        [] | [b' ' | b'\r' | b'\n', ..] => Err(ProtocolError::RequestLine),
        _ => Err(ProtocolError::Target),
    }
}

/// Returns where the next line starts, if `at` is the end of a line: CRLF. RFC 9112 section 2.2 allows a
/// recipient to accept a bare LF. If two recipients disagree about this, requests can be smuggled, so it is
/// refused. `otherwise` is the error for anything else.
#[inline]
fn line_end(bytes: &[u8], at: usize, otherwise: ProtocolError) -> Result<usize, ProtocolError> {
    let rest = &bytes[at..];
    if rest.starts_with(b"\r\n") {
        return Ok(at + 2);
    }
    match rest {
        [b'\n', ..] => Err(ProtocolError::BareLf),
        _ => Err(otherwise),
    }
}

/// Parses the field line at `start`, without the white space around its value (RFC 9112 section 5). Also
/// returns where the next line starts. Trailers have the same syntax.
#[inline(always)]
pub fn split_field(bytes: &[u8], start: usize) -> Result<(Field, usize), ProtocolError> {
    let name = start + syntax::count_name(&bytes[start..]);
    match bytes.get(name) {
        Some(b':') if name > start => {}
        Some(b' ' | b'\t') if name == start => return Err(ProtocolError::FoldedField),
        _ => return Err(ProtocolError::FieldName),
    }
    let mut value = name + 1;
    // One space, nearly always.
    if bytes.get(value) == Some(&b' ') {
        value += 1;
    }
    if bytes.get(value).is_some_and(|&b| b <= b' ') {
        value += white_space(&bytes[value..]);
    }
    let end = value + syntax::count_field_value(&bytes[value..]);
    let next = line_end(bytes, end, ProtocolError::FieldValue)?;
    let value = match bytes[end - 1] <= b' ' {
        true => Span::new(value, value + syntax::trim(&bytes[value..end]).len()),
        false => Span::new(value, end),
    };
    let field = Field {
        name: Span::new(start, name),
        value,
    };
    Ok((field, next))
}

/// The number of bytes at the front that are optional white space (RFC 9110 section 5.6.3).
#[cold]
fn white_space(bytes: &[u8]) -> usize {
    bytes.len() - syntax::trim_start(bytes).len()
}
