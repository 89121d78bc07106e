//! The text of HTTP/1 responses (RFC 9112 sections 4, 6, 7.1). No other module writes it, but
//! [`usual_response`](super::usual_response) for the usual case.
//!
//! ```text
//!   template: status line, Server, Date | fields | length or coding, Connection, empty line | body
//! ```
//!
//! The template is written before the first field, so that fields are written directly into the output. Each
//! part has its own function. [`ResponseEncoder::head`] writes a whole head that was recorded elsewhere.

use super::templates::{STATUSES, Templates};
use crate::http::encode;
use crate::http::exchange::ResponseContext;
use crate::http::response::{BodySize, Content, ResponseHead};
use crate::http::{Version, field_block};
use alloc::vec::Vec;

pub use super::templates::ListenerFields;

/// A client that waits for this then sends the body, or continues in another protocol (RFC 9110 section
/// 10.1.1).
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Room for the digits of any length, filled from the right. Spaces before a value are optional
/// white space (RFC 9110 section 5.6.3), leading zeros might be taken for octal.
const LENGTH_SLOT: &[u8] = b"          ";

/// How the client knows where the body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// By the last chunk.
    Chunked,
    /// By a length: this number of bytes is still to come.
    Exact(u64),
    /// By the end of the connection.
    Close,
}

/// What a written head has announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseFraming {
    /// How the body is sent, if it is.
    pub coding: Option<Coding>,
    /// The connection ends after the response.
    pub close: bool,
}

/// The first lines of heads, one template for each status. A template is made at the first use of its status,
/// and the date in all templates is updated when it changes. So a response begins with a single copy.
pub struct ResponseEncoder {
    /// The `Server` line, or nothing.
    server: Vec<u8>,
    date: [u8; encode::DATE_LEN],
    unix: u64,
    templates: Templates,
    /// Those of the listener before, which may be used in turn with the others.
    other: Templates,
}

impl ResponseEncoder {
    /// An encoder with this `Server` line, or without one.
    pub fn new(server: Option<&str>) -> ResponseEncoder {
        let mut encoder = ResponseEncoder::none();
        if let Some(name) = server {
            field_block::push(b"Server", name.as_bytes(), &mut encoder.server);
        }
        encoder.date = encode::date(0);
        encoder.templates.make_room();
        encoder
    }

    /// An encoder for responses that are encoded elsewhere.
    pub fn none() -> ResponseEncoder {
        ResponseEncoder {
            server: Vec::new(),
            date: [0; encode::DATE_LEN],
            unix: 0,
            templates: Templates::default(),
            other: Templates::default(),
        }
    }

    /// Removes all templates, because one may be incomplete.
    pub fn reset(&mut self) {
        self.templates.clear();
        self.other.clear();
    }

    /// Whether a response can have this status.
    #[inline]
    pub fn is_status(status: u16) -> bool {
        STATUSES.contains(&status)
    }

    /// Sets the clock: seconds since 1970.
    #[inline]
    pub fn set_time(&mut self, unix: u64) {
        if unix == self.unix {
            return;
        }
        self.unix = unix;
        self.date = encode::date(unix);
        self.templates.set_date(unix, &self.date);
    }

    /// Sets what heads have of their listener.
    #[inline]
    pub fn set_listener_fields(&mut self, fields: ListenerFields) {
        if fields != self.templates.fields {
            self.change_fields(fields);
        }
    }

    #[cold]
    #[inline(never)]
    fn change_fields(&mut self, fields: ListenerFields) {
        core::mem::swap(&mut self.templates, &mut self.other);
        if fields != self.templates.fields {
            self.templates.fields = fields;
            self.templates.clear();
        }
        self.templates.make_room();
        self.templates.set_date(self.unix, &self.date);
    }

    /// Status line, `Server`, the fields of the listener, `Date`. `status` is one that [`ResponseEncoder::is_status`] allows.
    #[inline(always)]
    pub fn template(&mut self, status: u16) -> &[u8] {
        let i = usize::from(status - STATUSES.start());
        if self.templates.at[i].1 == 0 {
            self.make(status);
        }
        let (end, len) = self.templates.at[i];
        let end = end as usize;
        &self.templates.bytes[end - usize::from(len)..end]
    }

    /// The fields that all responses have, without a status line.
    #[inline]
    pub fn common_fields(&mut self) -> &[u8] {
        &self.template(200)[b"HTTP/1.1 200 OK\r\n".len()..]
    }

    #[cold]
    #[inline(never)]
    fn make(&mut self, status: u16) {
        let Templates {
            fields, bytes, at, ..
        } = &mut self.templates;
        let start = bytes.len();
        status_line(status, bytes);
        bytes.extend_from_slice(&self.server);
        fields.push(bytes);
        field_block::push(b"Date", &self.date, bytes);
        let len = bytes.len() - start;
        at[usize::from(status - STATUSES.start())] = (bytes.len() as u32, len as u16);
    }

    /// Appends a head with these fields.
    pub fn head(
        &mut self,
        head: &ResponseHead,
        fields: &[u8],
        size: BodySize,
        request: ResponseContext,
        out: &mut Vec<u8>,
    ) -> ResponseFraming {
        out.extend_from_slice(self.template(head.status));
        out.extend_from_slice(fields);
        end_head(head, size, request, out)
    }
}

/// Appends the lines after the fields. Only this function decides how the client finds the end of the body
/// (RFC 9112 section 6.3), and whether another response may follow.
#[inline(always)]
pub fn end_head(
    head: &ResponseHead,
    size: BodySize,
    request: ResponseContext,
    out: &mut Vec<u8>,
) -> ResponseFraming {
    let content = Content::of(request.method, head.status);
    let coding = match size {
        BodySize::Known(len) => Coding::Exact(len),
        BodySize::Unknown if request.version >= Version::Http11 => Coding::Chunked,
        BodySize::Unknown => Coding::Close,
    };
    match (content, coding) {
        (Content::Sent | Content::Announced, Coding::Exact(len)) => length(out, |out| {
            encode::decimal(len, out);
        }),
        (Content::Sent | Content::Announced, Coding::Chunked) => {
            out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        }
        (Content::Empty, _) => length(out, |out| out.push(b'0')),
        (_, Coding::Close) | (Content::None, _) => {}
    }
    let close = head.close || !request.persistent || coding == Coding::Close;
    end(head, close, request, out);
    ResponseFraming {
        coding: (content == Content::Sent).then_some(coding),
        close,
    }
}

/// A head that has been written before the length of its body is known.
#[derive(Clone, Copy, Debug)]
pub struct OpenHead {
    content: Content,
    /// Bytes between the room for the length and the body.
    behind: usize,
}

impl OpenHead {
    /// Appends the lines after the fields, as [`end_head`] does, for a body whose length is passed to
    /// [`OpenHead::fill`] later.
    pub fn end(head: &ResponseHead, request: ResponseContext, out: &mut Vec<u8>) -> OpenHead {
        let content = Content::of(request.method, head.status);
        if content != Content::None {
            length(out, |out| out.extend_from_slice(LENGTH_SLOT));
        }
        let before = out.len();
        end(head, head.close || !request.persistent, request, out);
        OpenHead {
            content,
            behind: out.len() - before + b"\r\n".len(),
        }
    }

    /// The body is sent.
    pub fn is_sent(&self) -> bool {
        self.content == Content::Sent
    }

    /// Writes the length of the body into the end of `head`. False if there is no room for it.
    pub fn fill(&self, len: u64, head: &mut [u8]) -> bool {
        let len = match self.content {
            Content::None => return true,
            Content::Empty => 0,
            Content::Announced | Content::Sent => len,
        };
        let mut room = [0; encode::MAX_DIGITS];
        let digits = encode::digits(len, &mut room);
        let fits = digits.len() <= LENGTH_SLOT.len();
        if fits {
            let end = head.len() - self.behind;
            head[end - digits.len()..end].copy_from_slice(digits);
        }
        fits
    }
}

#[inline(always)]
fn length(out: &mut Vec<u8>, digits: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(b"Content-Length: ");
    digits(out);
    out.extend_from_slice(b"\r\n");
}

/// Appends `Connection` if the persistence differs from the default of the client's version (RFC 9112 section
/// 9.3), or if there is an `Upgrade` field (RFC 9110 section 7.8). Then appends the empty line.
#[inline(always)]
fn end(head: &ResponseHead, close: bool, request: ResponseContext, out: &mut Vec<u8>) {
    let line: &[u8] = match (close, head.upgrade) {
        (true, false) => b"Connection: close\r\n",
        (true, true) => b"Connection: upgrade, close\r\n",
        (false, false) if request.version < Version::Http11 => b"Connection: keep-alive\r\n",
        (false, false) => b"",
        (false, true) if request.version < Version::Http11 => {
            b"Connection: upgrade, keep-alive\r\n"
        }
        (false, true) => b"Connection: upgrade\r\n",
    };
    if !line.is_empty() {
        out.extend_from_slice(line);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends the response that changes to another protocol (RFC 9110 section 15.2.2), with the fields that
/// `fields` appends.
pub fn switch_protocols(protocol: &str, fields: impl FnOnce(&mut Vec<u8>), out: &mut Vec<u8>) {
    status_line(101, out);
    field_block::push(b"Upgrade", protocol.as_bytes(), out);
    field_block::push(b"Connection", b"Upgrade", out);
    fields(out);
    out.extend_from_slice(b"\r\n");
}

/// Appends `HTTP/1.1 404 Not Found\r\n`.
fn status_line(status: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    encode::decimal(u64::from(status), out);
    out.push(b' ');
    out.extend_from_slice(encode::reason(status).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// The end of each chunk.
pub const CHUNK_END: &[u8] = b"\r\n";

/// Appends the line before a chunk of `len` bytes (RFC 9112 section 7.1).
pub fn chunk_size(len: usize, out: &mut Vec<u8>) {
    let digits = len.max(1).ilog2() / 4 + 1;
    for i in (0..digits).rev() {
        out.push(b"0123456789abcdef"[len >> (4 * i) & 15]);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends the end of a chunked body, with a block of trailer fields.
pub fn last_chunk(trailers: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n");
    out.extend_from_slice(trailers);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Method;

    #[test]
    fn the_date_of_every_template_moves() {
        let mut encoder = ResponseEncoder::new(Some("test"));
        for unix in [784_111_777, 784_111_778] {
            encoder.set_time(unix);
            for status in [200, 404, 599, 200] {
                let reason = encode::reason(status);
                let date = String::from_utf8(encode::date(unix).to_vec()).expect("ASCII");
                let expected =
                    format!("HTTP/1.1 {status} {reason}\r\nServer: test\r\nDate: {date}\r\n");
                assert_eq!(String::from_utf8_lossy(encoder.template(status)), expected);
            }
        }
    }

    #[test]
    fn listeners_add_fields_and_take_turns() {
        let mut encoder = ResponseEncoder::new(None);
        let with_hsts = |seconds| {
            let mut fields = ListenerFields::default();
            fields.hsts.replace(seconds);
            fields
        };
        let (secure, other) = (with_hsts(300), with_hsts(7));
        for unix in [784_111_777, 784_111_778] {
            encoder.set_time(unix);
            for (fields, value) in [(secure, 300), (other, 7), (secure, 300), (other, 7)] {
                encoder.set_listener_fields(fields);
                let date = String::from_utf8(encode::date(unix).to_vec()).expect("ASCII");
                let expected =
                    format!("Strict-Transport-Security: max-age={value}\r\nDate: {date}\r\n");
                let common = encoder.common_fields();
                assert_eq!(String::from_utf8_lossy(common), expected);
            }
            encoder.set_listener_fields(ListenerFields::default());
            assert!(encoder.common_fields().starts_with(b"Date: "));
        }
        #[cfg(feature = "http3")]
        {
            let mut fields = secure;
            fields.http3 = Some(8443);
            encoder.set_listener_fields(fields);
            let common = String::from_utf8_lossy(encoder.common_fields()).into_owned();
            assert!(common.contains("\r\nAlt-Svc: h3=\":8443\"; ma=86400\r\nDate: "));
        }
    }

    #[test]
    fn without_a_server_line() {
        let mut encoder = ResponseEncoder::new(None);
        let template = encoder.template(204);
        assert!(template.starts_with(b"HTTP/1.1 204 No Content\r\nDate: "));
    }

    const METHODS: [Method; 4] = [Method::Get, Method::Other, Method::Head, Method::Connect];

    /// Each possible head, and the framing that a client derives from it (RFC 9112 section 6.3).
    #[test]
    fn the_client_finds_the_end_of_every_body() {
        for i in 0..METHODS.len() * 5 * 32 {
            let method = METHODS[i % 4];
            let status = [200, 204, 205, 304, 404][i / 4 % 5];
            let bit = |n: usize| ((i / 20) >> n) & 1 == 1;
            let version = if bit(0) {
                Version::Http11
            } else {
                Version::Http10
            };
            let request = ResponseContext {
                method,
                persistent: bit(1),
                version,
            };
            let head = ResponseHead {
                status,
                close: bit(2),
                upgrade: bit(3),
            };
            let size = if bit(4) {
                BodySize::Unknown
            } else {
                BodySize::Known(7)
            };
            let mut out = Vec::new();
            let framing = end_head(&head, size, request, &mut out);
            let what = format!("{request:?} {head:?} {size:?}");
            let block = out.strip_suffix(b"\r\n").expect("an empty line");
            let value = |name: &str| {
                let mut of = field_block::fields(block)
                    .filter(|field| field.0 == name.as_bytes())
                    .map(|field| String::from_utf8_lossy(field.1).into_owned());
                let value = of.next();
                assert!(of.next().is_none(), "{what}");
                value.unwrap_or_default()
            };
            let (length, coding) = (value("Content-Length"), value("Transfer-Encoding"));
            assert!(length.is_empty() || coding.is_empty(), "{what}");
            let has_no_body = method == Method::Head
                || matches!(status, 204 | 304)
                || method == Method::Connect && status < 300;
            let seen = match (&*length, &*coding) {
                _ if has_no_body => None,
                ("0", _) => None,
                (_, "chunked") if version == Version::Http11 => Some(Coding::Chunked),
                ("7", "") => Some(Coding::Exact(7)),
                ("", "") => Some(Coding::Close),
                other => panic!("{other:?}, {what}"),
            };
            assert_eq!(framing.coding, seen, "{what}");
            if matches!(status, 204 | 304) {
                assert_eq!((&*length, &*coding), ("", ""), "{what}");
            }
            let connection = value("Connection");
            let options: Vec<&str> = connection.split(", ").collect();
            assert_eq!(options.contains(&"upgrade"), head.upgrade, "{what}");
            let persists = match version {
                Version::Http10 => options.contains(&"keep-alive"),
                _ => !options.contains(&"close"),
            };
            assert_eq!(persists, !framing.close, "{what}");
            let may_persist = request.persistent && !head.close;
            assert!(may_persist || framing.close, "{what}");
            assert!(seen != Some(Coding::Close) || framing.close, "{what}");
        }
    }

    #[test]
    fn a_length_that_is_known_later() {
        for method in METHODS {
            for status in [200, 204, 205] {
                let head = ResponseHead {
                    status,
                    ..ResponseHead::OK
                };
                let request = ResponseContext {
                    method,
                    ..ResponseContext::default()
                };
                for len in [0, 7, 9_999_999_999] {
                    let (mut open, mut known) = (Vec::new(), Vec::new());
                    let size = BodySize::Known(len);
                    let framing = end_head(&head, size, request, &mut known);
                    let slot = OpenHead::end(&head, request, &mut open);
                    assert!(slot.fill(len, &mut open));
                    assert_eq!(slot.is_sent(), framing.coding.is_some());
                    open.retain(|b| *b != b' ');
                    known.retain(|b| *b != b' ');
                    assert_eq!(open, known);
                }
                let slot = OpenHead::end(&head, request, &mut Vec::new());
                let is_said = slot.content == Content::Sent || slot.content == Content::Announced;
                assert_eq!(slot.fill(10_000_000_000, &mut [0; 64]), !is_said);
            }
        }
    }

    #[test]
    fn chunks() {
        for (len, line) in [(0, "0"), (1, "1"), (15, "f"), (16, "10"), (0xabcd, "abcd")] {
            let mut out = Vec::new();
            chunk_size(len, &mut out);
            assert_eq!(out, format!("{line}\r\n").as_bytes());
        }
        let mut out = Vec::new();
        last_chunk(b"a: b\r\n", &mut out);
        assert_eq!(out, b"0\r\na: b\r\n\r\n");
    }
}
