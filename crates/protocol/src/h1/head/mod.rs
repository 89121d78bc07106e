//! Parser of request heads (RFC 9112 sections 3 and 5).

#[cfg(feature = "checks")]
#[doc(hidden)]
pub mod check;

use crate::error::ProtocolError;
use crate::http::target::Target;
use crate::http::{Method, Version};
use crate::limits::Limits;
use crate::{Span, syntax};

/// Fields that a [`Head`] has room for; [`Limits::header_fields`] can only be lower.
pub const MAX_FIELDS: usize = 256;

/// Bytes of a method. The longest that is registered has 17; a server need not know a longer one
/// than it has a use for (RFC 9112 section 3).
pub(crate) const MAX_METHOD: usize = 64;

/// A header field.
#[derive(Clone, Copy, Debug, Default)]
pub struct Field {
    /// The name, as it was sent.
    pub name: Span,
    /// The value, without the blanks around it.
    pub value: Span,
}

/// A field that decides about framing or persistence: looked up without a search.
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
    /// By the name of a field, which is a token: setting one bit makes it lower case.
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

/// A table of where things stand in a head: offsets, so that it borrows nothing, and of a fixed
/// size, so that it is allocated once and filled again for each request.
#[derive(Clone)]
pub struct Head {
    /// The method.
    pub method: Span,
    /// What the method means for the response.
    pub kind: Method,
    /// The parts of the target.
    pub target: Target,
    /// The version in the request line.
    pub version: Version,
    stage: Stage,
    /// `count <= MAX_FIELDS`; what is behind is of an earlier request.
    count: u16,
    /// By [`Known`]: the index of the first such field and one, or 0.
    known: [u16; KNOWN],
    /// By [`Known`], a bit: there is more than one.
    repeated: u8,
    /// Where the line begins that is not complete yet; when all is complete, the end of the head.
    line: usize,
    /// How far the end of that line has been searched for. `line <= scanned`
    scanned: usize,
    fields: [Field; MAX_FIELDS],
    /// A `Host` that was found good, and its length: nearly all clients of a server send the same,
    /// and to compare is quicker than to look at each byte (7 % of a small request).
    good_host: ([u8; MAX_GOOD_HOST], usize),
}

const MAX_GOOD_HOST: usize = 40;

impl Default for Head {
    fn default() -> Head {
        Head::new()
    }
}

#[expect(clippy::len_without_is_empty, reason = "the length of a complete head")]
impl Head {
    /// Of which nothing has come.
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
        }
    }

    /// Makes it ready for the next request. The table is not cleared: `count` guards it.
    #[inline]
    pub fn reset(&mut self) {
        self.stage = Stage::RequestLine;
        self.count = 0;
        self.known = [0; KNOWN];
        self.repeated = 0;
        self.line = 0;
        self.scanned = 0;
    }

    /// All of it has been taken, and no fault was found in a line.
    pub fn is_complete(&self) -> bool {
        self.stage == Stage::Complete
    }

    /// Takes the lines that are complete in `bytes`, which begins where the head does and has all
    /// that earlier calls saw. True when the head is complete: [`Head::len`] bytes of it.
    ///
    /// A function of its own: among all else that a turn does, its loops would have to share their
    /// registers.
    #[inline(never)]
    pub fn parse(&mut self, bytes: &[u8], limits: &Limits) -> Result<bool, ProtocolError> {
        let window = &bytes[..bytes.len().min(most(limits))];
        if self.scanned > self.line && memchr::memchr(b'\n', &window[self.scanned..]).is_none() {
            return self.incomplete(window, limits);
        }
        while self.stage != Stage::Complete {
            let line = match self.stage {
                Stage::Fields => self.field(window, limits),
                _ => self.request_line(window, limits),
            };
            match line {
                Ok(next) => (self.line, self.scanned) = (next, next),
                Err(error) => return self.judge(error, window, limits),
            }
        }
        Ok(true)
    }

    /// Something is wrong with the current line, if only that its end has not come yet.
    #[cold]
    fn judge(
        &mut self,
        error: ProtocolError,
        window: &[u8],
        limits: &Limits,
    ) -> Result<bool, ProtocolError> {
        // What cannot become a method is refused at its first byte, a TLS hello above all.
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

    /// Bounds a request line, complete or not.
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
        // 13 instructions fewer than to look at each byte.
        let (method, kind) = match head[start..].starts_with(b"GET ") {
            true => (start + 3, Method::Other),
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
        Ok(end + VERSION + 2)
    }

    /// A field line, or the empty line behind the last. Returns where the next line starts.
    #[inline]
    fn field(&mut self, head: &[u8], limits: &Limits) -> Result<usize, ProtocolError> {
        let start = self.line;
        if head[start..].starts_with(b"\r\n") {
            self.stage = Stage::Complete;
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

    /// The value of the first field of this name is `value`.
    #[cfg(feature = "http2")]
    pub(crate) fn replace_value(&mut self, name: &[u8], bytes: &[u8], value: Span) {
        let mut fields = self.fields[..usize::from(self.count)].iter_mut();
        if let Some(field) = fields.find(|field| field.name.of(bytes) == name) {
            field.value = value;
        }
    }

    /// All fields are pushed: the rest of what a head has, in HTTP/2 in place of a request line.
    #[cfg(feature = "http2")]
    pub(crate) fn complete(&mut self, method: Span, kind: Method, target: Target) {
        self.method = method;
        self.kind = kind;
        self.target = target;
        self.version = Version::Http2;
        self.stage = Stage::Complete;
    }

    /// Bytes of the head, with its last empty line. Meaningful when it is complete.
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

    /// The field came more than once.
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

/// Bytes that a head may have. Offsets are 16 bits wide.
pub fn most(limits: &Limits) -> usize {
    limits.head_bytes.min(usize::from(u16::MAX))
}

/// Bytes that a request line may have, its end not counted.
fn longest_line(limits: &Limits) -> usize {
    limits.target_bytes.saturating_add(MAX_METHOD + 1 + VERSION)
}

/// Length of a version and the space before it.
const VERSION: usize = 9;

/// What stands behind a target, if not what ends nearly all request lines. It looks at nothing
/// behind the line: what comes there, or has not come yet, must make no difference.
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

/// Where the next line starts, if `at` is the end of one: CRLF. RFC 9112 section 2.2 lets a
/// recipient take a bare LF for it; two recipients that disagree about that are a smuggling hole,
/// so it is refused here. `otherwise` is what anything else is.
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

/// The field line that starts at `start`, white space around its value left out, and where the next
/// one starts (RFC 9112 section 5). Also the syntax of trailers.
#[inline(always)]
pub fn split_field(bytes: &[u8], start: usize) -> Result<(Field, usize), ProtocolError> {
    let name = start + syntax::count(&bytes[start..], &syntax::TOKEN);
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

/// How many bytes at the front are optional white space (RFC 9110 section 5.6.3).
#[cold]
fn white_space(bytes: &[u8]) -> usize {
    bytes.len() - syntax::trim_start(bytes).len()
}
