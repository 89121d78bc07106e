//! From fields to the head of a request (RFC 9113 section 8, RFC 9114 section 4).

use super::name::Kind;
use super::{Decode, DecodedField};
use crate::error::ProtocolError;
use crate::h1::framing::{self, BodyLength, Framing};
use crate::h1::head::{Field, Head, Known, MAX_METHOD};
use crate::http::priority::Priority;
use crate::http::target::Target;
use crate::http::{Method, host};
use crate::limits::Limits;
use crate::{Span, syntax};
use alloc::vec::Vec;

/// Pieces of `cookie` that one request may have; 431 above.
pub const MAX_CRUMBS: usize = 256;

/// Bytes of them together, in one field; 431 above.
const MAX_COOKIE: usize = 8 << 10;

/// Bytes of decoded fields, so that offsets of 16 bits are enough for them, a cookie that is joined, and `host`.
const MAX_LIST: usize = 56 << 10;

/// What the fields of every request begin with: the name that `:authority` becomes (RFC 9113 section 8.3.1).
const HOST: &[u8] = b"host";

/// The head of one request, or a trailer section: a table, and the bytes that it is about. One is enough for all
/// connections of a thread.
#[derive(Default)]
pub struct HeadBuf {
    /// Where everything stands in [`HeadBuf::bytes`].
    pub head: Head,
    /// How urgent the response is.
    pub(crate) priority: Priority,
    bytes: Vec<u8>,
    /// Pieces of `cookie`.
    crumbs: Vec<Span>,
}

/// What a field section is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decoded {
    /// A request, and how the end of its body is found.
    Request(Framing),
    /// The stream ends (RFC 9113 section 8.1.1, RFC 9114 section 4.1.2).
    Malformed(&'static str),
    /// It is answered with an error.
    Refused(ProtocolError),
}

/// Why a trailer section cannot be passed on: the stream is reset, since the head of the request has been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadTrailers {
    /// It breaks a rule.
    Malformed(&'static str),
    /// It is above a limit.
    TooLarge,
}

/// Pseudo-header fields.
#[derive(Default)]
struct Pseudo {
    method: Option<Span>,
    scheme: Option<Span>,
    authority: Option<Span>,
    path: Option<Span>,
}

/// Takes the fields of one section.
struct Fields<'a> {
    head: &'a mut Head,
    crumbs: &'a mut Vec<Span>,
    priority: &'a mut Priority,
    pseudo: Pseudo,
    /// `Host` beside `:authority`.
    host: Option<Span>,
    /// The first fault.
    fault: Option<&'static str>,
    too_many: bool,
    /// A field that is no pseudo-header field has come.
    is_regular: bool,
    is_trailer: bool,
    most: usize,
}

impl HeadBuf {
    /// An empty one.
    pub fn new() -> HeadBuf {
        HeadBuf::default()
    }

    /// The bytes that the table is about.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes of memory that it takes beside its own.
    pub fn held(&self) -> usize {
        self.bytes.capacity() + self.crumbs.capacity() * size_of::<Span>()
    }

    /// Names and values, in order.
    pub fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let bytes = &self.bytes[..];
        let fields = self.head.fields().iter();
        fields.map(move |field| (field.name.of(bytes), field.value.of(bytes)))
    }

    /// Decodes a section. The last value: the list is too large.
    #[inline(always)]
    fn decode<D: Decode>(
        &mut self,
        decoder: &mut D,
        block: &[u8],
        is_trailer: bool,
        limits: &Limits,
    ) -> Result<(Fields<'_>, &mut Vec<u8>, bool), D::Error> {
        self.head.reset();
        self.head.kind = Method::Other;
        self.crumbs.clear();
        self.bytes.clear();
        self.bytes.extend_from_slice(HOST);
        self.priority = Priority::default();
        let mut fields = Fields {
            head: &mut self.head,
            crumbs: &mut self.crumbs,
            priority: &mut self.priority,
            pseudo: Pseudo::default(),
            host: None,
            fault: None,
            too_many: false,
            is_regular: false,
            is_trailer,
            most: limits.header_fields,
        };
        let limit = limits.head_bytes.min(MAX_LIST);
        let size = decoder.decode(block, limit, &mut self.bytes, |bytes, field| {
            fields.take(bytes, field);
        })?;
        Ok((fields, &mut self.bytes, size > limit))
    }

    /// Decodes the head of a request.
    pub(crate) fn decode_request<D: Decode>(
        &mut self,
        decoder: &mut D,
        block: &[u8],
        limits: &Limits,
    ) -> Result<Decoded, D::Error> {
        let (fields, bytes, is_too_large) = self.decode(decoder, block, false, limits)?;
        if let Some(fault) = fields.fault {
            return Ok(Decoded::Malformed(fault));
        }
        if is_too_large {
            let method = fields
                .pseudo
                .method
                .map_or(&b""[..], |method| method.of(bytes));
            fields.head.kind = Method::of(method);
            return Ok(Decoded::Refused(ProtocolError::HeadTooLarge));
        }
        Ok(match fields.complete::<D>(bytes, limits) {
            Ok(framing) => Decoded::Request(framing),
            Err(decoded) => decoded,
        })
    }

    /// Decodes a trailer section.
    pub(crate) fn decode_trailers<D: Decode>(
        &mut self,
        decoder: &mut D,
        block: &[u8],
        limits: &Limits,
    ) -> Result<Result<(), BadTrailers>, D::Error> {
        let (fields, _, is_too_large) = self.decode(decoder, block, true, limits)?;
        Ok(match fields.fault {
            Some(fault) => Err(BadTrailers::Malformed(fault)),
            None if is_too_large || fields.too_many => Err(BadTrailers::TooLarge),
            None => Ok(()),
        })
    }
}

impl Fields<'_> {
    #[inline(always)]
    fn take(&mut self, bytes: &[u8], field: DecodedField) {
        let value = Span::new(field.value, field.end);
        if !field.is_valid {
            self.fault
                .get_or_insert("a field with a malformed name or value");
        } else if field.kind.is_pseudo() {
            self.pseudo(field.kind, value);
        } else {
            if !self.is_regular {
                self.is_regular = true;
                self.push_host();
            }
            let name = Span::new(field.start, field.value);
            match field.kind {
                Kind::Other => self.push(name, value, None),
                kind => self.special(kind, name, value, bytes),
            }
        }
    }

    #[inline(always)]
    fn pseudo(&mut self, kind: Kind, value: Span) {
        if self.is_regular || self.is_trailer {
            self.fault
                .get_or_insert("a pseudo-header field behind other fields");
            return;
        }
        let place = match kind {
            Kind::Method => &mut self.pseudo.method,
            Kind::Scheme => &mut self.pseudo.scheme,
            Kind::Authority => &mut self.pseudo.authority,
            Kind::Path => &mut self.pseudo.path,
            _ => {
                self.fault
                    .get_or_insert("a pseudo-header field that no request has");
                return;
            }
        };
        if place.replace(value).is_some() {
            self.fault.get_or_insert("a pseudo-header field came twice");
        }
    }

    /// A field that HTTP/2 or the framing has rules about.
    fn special(&mut self, kind: Kind, name: Span, value: Span, bytes: &[u8]) {
        match kind {
            Kind::Connection => {
                self.fault.get_or_insert("a field about the connection");
            }
            Kind::Te if !value.of(bytes).eq_ignore_ascii_case(b"trailers") => {
                self.fault.get_or_insert("TE is not trailers");
            }
            Kind::Host if self.pseudo.authority.is_some() => {
                if self.host.replace(value).is_some() {
                    self.fault.get_or_insert("Host came twice");
                }
            }
            Kind::Host => self.push(name, value, Some(Known::Host)),
            Kind::Expect => self.push(name, value, Some(Known::Expect)),
            Kind::ContentLength => self.push(name, value, Some(Known::ContentLength)),
            Kind::Cookie if !self.is_trailer => self.crumb(name, value),
            Kind::Priority => {
                *self.priority = Priority::parse(value.of(bytes));
                self.push(name, value, None);
            }
            _ => self.push(name, value, None),
        }
    }

    /// The first piece is the field; the others are joined to it at the end.
    fn crumb(&mut self, name: Span, value: Span) {
        match self.crumbs.len() {
            0 => self.push(name, value, None),
            MAX_CRUMBS => return self.too_many = true,
            _ => {}
        }
        self.crumbs.push(value);
    }

    #[inline(always)]
    fn push(&mut self, name: Span, value: Span, known: Option<Known>) {
        if !self.head.push(Field { name, value }, known, self.most) {
            self.too_many = true;
        }
    }

    fn push_host(&mut self) {
        if let Some(authority) = self.pseudo.authority {
            self.push(Span::new(0, HOST.len()), authority, Some(Known::Host));
        }
    }

    /// Judges the request as a whole (RFC 9113 section 8.3.1), and how long its body is.
    #[inline(always)]
    fn complete<D: Decode>(
        mut self,
        bytes: &mut Vec<u8>,
        limits: &Limits,
    ) -> Result<Framing, Decoded> {
        if !self.is_regular {
            self.push_host();
        }
        let method = self.pseudo.method.ok_or(Decoded::Malformed("no :method"))?;
        let name = method.of(bytes);
        let kind = Method::of(name);
        self.head.kind = kind;
        if !syntax::is_token(name) {
            return Err(Decoded::Malformed(":method is no token"));
        }
        if self.too_many {
            return Err(Decoded::Refused(ProtocolError::TooManyFields));
        }
        if name.len() > MAX_METHOD {
            return Err(Decoded::Refused(ProtocolError::MethodTooLong));
        }
        let target = match kind {
            Method::Connect => self.tunnel(bytes)?,
            _ => self.target(kind, bytes)?,
        };
        let len = target.whole.of(bytes).len();
        if len > limits.target_bytes {
            return Err(Decoded::Refused(ProtocolError::TargetTooLong));
        }
        self.check_host(bytes, D::IS_HOST_EXACT)?;
        self.join_crumbs(bytes)?;
        self.head
            .complete(D::VERSION, method, kind, target, bytes.len());
        self.framing(bytes)
    }

    /// RFC 9113 section 8.5.
    #[cold]
    fn tunnel(&self, bytes: &[u8]) -> Result<Target, Decoded> {
        let malformed = Decoded::Malformed("CONNECT is not :authority alone");
        match &self.pseudo {
            Pseudo {
                authority: Some(authority),
                scheme: None,
                path: None,
                ..
            } => {
                let (start, end) = (usize::from(authority.start), usize::from(authority.end));
                let parsed = Target::parse(&bytes[..end], Method::Connect, start);
                parsed.map(|(target, _)| target).map_err(|_error| malformed)
            }
            _ => Err(malformed),
        }
    }

    #[inline(always)]
    fn target(&self, kind: Method, bytes: &[u8]) -> Result<Target, Decoded> {
        let (Some(scheme), Some(path)) = (self.pseudo.scheme, self.pseudo.path) else {
            return Err(Decoded::Malformed("no :scheme or no :path"));
        };
        if !is_scheme(scheme.of(bytes)) {
            return Err(Decoded::Malformed(":scheme is none"));
        }
        let malformed = Decoded::Malformed(":path is no path");
        let (start, end) = (usize::from(path.start), usize::from(path.end));
        match bytes[start..end] {
            [b'/', ..] => {}
            [b'*'] if kind == Method::Options => {}
            _ => return Err(malformed),
        }
        match Target::parse(&bytes[..end], kind, start) {
            Ok((target, at)) if at == end => Ok(target),
            _ => Err(malformed),
        }
    }

    /// There is a host, and no second one (RFC 9113 section 8.3.1, RFC 9114 section 4.3.1).
    #[inline(always)]
    fn check_host(&mut self, bytes: &[u8], is_exact: bool) -> Result<(), Decoded> {
        if self.head.is_repeated(Known::Host) {
            return Err(Decoded::Malformed("Host came twice"));
        }
        let Some(host) = self.head.known(Known::Host) else {
            return Err(Decoded::Malformed("neither :authority nor Host"));
        };
        let host = host.of(bytes);
        if host.is_empty() || !self.head.is_good_host(host) {
            return Err(Decoded::Malformed("the host is none"));
        }
        match self.host {
            None => Ok(()),
            Some(other) if is_exact && host != other.of(bytes) => {
                Err(Decoded::Malformed(":authority and Host differ"))
            }
            Some(other) => self.check_hosts(host, other.of(bytes), bytes),
        }
    }

    #[cold]
    fn check_hosts(&self, one: &[u8], other: &[u8], bytes: &[u8]) -> Result<(), Decoded> {
        let scheme = self
            .pseudo
            .scheme
            .map_or(&b""[..], |scheme| scheme.of(bytes));
        let port = if scheme == b"https" { "443" } else { "80" };
        let text = |bytes| core::str::from_utf8(bytes).unwrap_or_default();
        match syntax::is_host(other) && host::is_same(text(one), text(other), port) {
            true => Ok(()),
            false => Err(Decoded::Malformed(
                ":authority and Host name different hosts",
            )),
        }
    }

    /// RFC 9113 section 8.2.3: one field, before anything else sees them.
    #[inline]
    fn join_crumbs(&mut self, bytes: &mut Vec<u8>) -> Result<(), Decoded> {
        match &self.crumbs[..] {
            [] | [_] => Ok(()),
            crumbs => {
                let len = crumbs.iter().map(|crumb| crumb.of(bytes).len() + 2);
                if len.sum::<usize>() > MAX_COOKIE {
                    return Err(Decoded::Refused(ProtocolError::HeadTooLarge));
                }
                let start = bytes.len();
                for (i, crumb) in crumbs.iter().enumerate() {
                    if i > 0 {
                        bytes.extend_from_slice(b"; ");
                    }
                    bytes.extend_from_within(usize::from(crumb.start)..usize::from(crumb.end));
                }
                let joined = Span::new(start, bytes.len());
                self.head.replace_value(b"cookie", bytes, joined);
                Ok(())
            }
        }
    }

    /// RFC 9113 section 8.1.1 for the length, RFC 9110 section 10.1.1 for `Expect`.
    fn framing(&self, bytes: &[u8]) -> Result<Framing, Decoded> {
        let body = match self.head.known(Known::ContentLength) {
            None => BodyLength::Chunked,
            Some(_) => match framing::body_length(self.head, bytes) {
                Ok(length) => length,
                Err(error @ ProtocolError::BodyTooLarge) => return Err(Decoded::Refused(error)),
                Err(_) => return Err(Decoded::Malformed("malformed Content-Length")),
            },
        };
        let expects_continue =
            framing::expects_continue(self.head, bytes).map_err(Decoded::Refused)?;
        Ok(Framing {
            body,
            persistent: true,
            expects_continue,
        })
    }
}

/// RFC 3986 section 3.1.
fn is_scheme(scheme: &[u8]) -> bool {
    let is_rest = |b: &u8| b.is_ascii_alphanumeric() || b"+-.".contains(b);
    match scheme {
        b"http" | b"https" => true,
        [first, rest @ ..] => first.is_ascii_alphabetic() && rest.iter().all(is_rest),
        [] => false,
    }
}

#[cfg(all(test, feature = "http2"))]
mod tests;
