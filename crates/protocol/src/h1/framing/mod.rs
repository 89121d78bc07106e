//! Where a request ends, and whether another may follow (RFC 9112 sections 6.3 and 9.3).

#[cfg(feature = "checks")]
#[doc(hidden)]
pub mod check;

use super::head::{Head, Known};
pub use super::message_length::{BodyLength, Framing};
use crate::error::ProtocolError;
use crate::http::{Method, Version, host};
use crate::syntax;

/// Checks a complete head and determines the framing. `bytes` begins with the head.
#[inline]
pub fn decide(head: &mut Head, bytes: &[u8]) -> Result<Framing, ProtocolError> {
    match head.last_framing() {
        Some(framing) => Ok(framing),
        None => decide_anew(head, bytes),
    }
}

#[inline(never)]
fn decide_anew(head: &mut Head, bytes: &[u8]) -> Result<Framing, ProtocolError> {
    check_host(head, bytes)?;
    let body = body_length(head, bytes)?;
    let framing = Framing {
        body,
        persistent: is_persistent(head, bytes),
        expects_continue: expects_continue(head, bytes)?,
    };
    head.keep_framing(framing);
    Ok(framing)
}

/// RFC 9112 section 3.2.
fn check_host(head: &mut Head, bytes: &[u8]) -> Result<(), ProtocolError> {
    match head.known(Known::Host) {
        _ if head.is_repeated(Known::Host) => Err(ProtocolError::HostRepeated),
        None if head.version >= Version::Http11 => Err(ProtocolError::HostMissing),
        Some(host) => match head.is_good_host(host.of(bytes)) {
            true if head.target.authority.is_some() => check_authority(head, host.of(bytes), bytes),
            true => Ok(()),
            false => Err(ProtocolError::HostInvalid),
        },
        None => Ok(()),
    }
}

/// An absolute-form target and `Host` must name the same host. By RFC 9112 section 3.2.2 a server uses the
/// target; a server that uses `Host` would see another request. The target of CONNECT names the end of a
/// tunnel, not the host of a resource.
#[cold]
fn check_authority(head: &Head, host: &[u8], bytes: &[u8]) -> Result<(), ProtocolError> {
    let (Some(authority), false) = (head.target.authority, head.kind == Method::Connect) else {
        return Ok(());
    };
    let is_https = bytes[usize::from(head.target.whole.start)..usize::from(authority.start)].len()
        == b"https://".len();
    let default_port = if is_https { "443" } else { "80" };
    let text = |bytes| core::str::from_utf8(bytes).unwrap_or_default();
    match host::is_same(text(authority.of(bytes)), text(host), default_port) {
        true => Ok(()),
        false => Err(ProtocolError::HostConflict),
    }
}

/// RFC 9112 section 6.3, for requests. Its rules 1, 2 and 8 are about responses.
pub fn body_length(head: &Head, bytes: &[u8]) -> Result<BodyLength, ProtocolError> {
    let length = head.known(Known::ContentLength);
    if let Some(encoding) = head.known(Known::TransferEncoding) {
        // 3. Both: the RFC allows a server to use Transfer-Encoding alone. This library refuses both.
        if length.is_some() {
            return Err(ProtocolError::LengthAndEncoding);
        }
        // 6.1: HTTP/1.0 had no Transfer-Encoding; an intermediary forwarded this without understanding it.
        if head.version < Version::Http11 {
            return Err(ProtocolError::EncodingInHttp10);
        }
        // 4. The final coding must be chunked, and chunked is the only supported coding.
        let is_chunked = encoding.of(bytes).eq_ignore_ascii_case(b"chunked");
        return match is_chunked && !head.is_repeated(Known::TransferEncoding) {
            true => Ok(BodyLength::Chunked),
            false => Err(wrong_encoding(head, bytes)),
        };
    }
    let Some(length) = length else {
        // 7. Neither: no body.
        return Ok(BodyLength::Exact(0));
    };
    // 5. An invalid Content-Length. The RFC allows a list of equal values. This library refuses it.
    if head.is_repeated(Known::ContentLength) {
        return Err(ProtocolError::LengthRepeated);
    }
    // 6. A valid one.
    content_length(length.of(bytes)).map(BodyLength::Exact)
}

/// The error of a `Transfer-Encoding` that is not exactly `chunked`: 501 for a coding that may exist, 400 for
/// a value that does not define the end of the body. Several lines are one list (RFC 9110 section 5.3).
#[cold]
fn wrong_encoding(head: &Head, bytes: &[u8]) -> ProtocolError {
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let values = head.values(bytes, b"transfer-encoding");
    let mut codings = values.flat_map(syntax::list).peekable();
    while let Some(coding) = codings.next() {
        let last = codings.peek().is_none();
        // A parameter belongs to an unknown coding, unless it follows `chunked`, which has none.
        let name = coding.split(|&b| b == b';').next().unwrap_or(coding);
        if !syntax::is_token(syntax::trim(name))
            || is_chunked(syntax::trim(name)) && !(last && is_chunked(coding))
        {
            return ProtocolError::EncodingInvalid;
        }
    }
    ProtocolError::EncodingUnknown
}

/// `1*DIGIT`, of any length. The limit on the body is not checked here. But a value above `i64::MAX`, which no buffer and no file can have, is too large for any limit, so sums of lengths do not overflow.
fn content_length(value: &[u8]) -> Result<u64, ProtocolError> {
    // Not `str::parse`, because it accepts a sign.
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(ProtocolError::LengthInvalid);
    }
    let add = |sum: u64, digit: &u8| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0'));
    let length = value.iter().try_fold(0, add);
    let length = length.filter(|&length| length <= i64::MAX as u64);
    length.ok_or(ProtocolError::BodyTooLarge)
}

/// RFC 9112 section 9.3, in its order.
fn is_persistent(head: &Head, bytes: &[u8]) -> bool {
    let connect = head.kind == Method::Connect;
    let Some(connection) = head.known(Known::Connection) else {
        // A client that sent CONNECT waits for a tunnel, not for another response.
        return head.version >= Version::Http11 && !connect;
    };
    let has =
        |value: &[u8], option: &[u8]| syntax::list(value).any(|o| o.eq_ignore_ascii_case(option));
    let any = |option: &[u8]| match head.is_repeated(Known::Connection) {
        false => has(connection.of(bytes), option),
        true => head
            .values(bytes, b"connection")
            .any(|value| has(value, option)),
    };
    !any(b"close") && !connect && (head.version >= Version::Http11 || any(b"keep-alive"))
}

/// RFC 9110 section 10.1.1.
pub fn expects_continue(head: &Head, bytes: &[u8]) -> Result<bool, ProtocolError> {
    if head.known(Known::Expect).is_none() || head.version < Version::Http11 {
        return Ok(false);
    }
    let values = head.values(bytes, b"expect");
    // RFC 9110 section 5.6.1.2: empty elements of a list do not count.
    let mut members = values.flat_map(syntax::list).filter(|m| !m.is_empty());
    let mut is_expected = false;
    let is_known = members.all(|member| {
        is_expected = true;
        member.eq_ignore_ascii_case(b"100-continue")
    });
    match is_known {
        true => Ok(is_expected),
        false => Err(ProtocolError::Expectation),
    }
}
