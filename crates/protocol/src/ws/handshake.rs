//! The opening handshake (RFC 6455 section 4.2).

use crate::http::{Version, field_block};
use crate::syntax;
use alloc::vec::Vec;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use sha1::{Digest as _, Sha1};

/// The constant of RFC 6455 section 1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Base64 of 16 bytes.
const KEY_LEN: usize = 24;

/// The last character of such a key has four bits without a meaning. They should be zero (RFC 4648 section
/// 3.5), but the example of RFC 6455 section 4.1 has others.
const KEY: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// Why a request for a WebSocket is not valid (RFC 6455 section 4.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeError {
    /// It is not GET.
    Method,
    /// It is not HTTP/1.1.
    HttpVersion,
    /// It has a body.
    Body,
    /// `Connection` has no `upgrade`.
    Connection,
    /// `Sec-WebSocket-Version` is missing.
    VersionMissing,
    /// `Sec-WebSocket-Version` is not 13.
    Version,
    /// `Sec-WebSocket-Key` is missing.
    KeyMissing,
    /// `Sec-WebSocket-Key` is not 16 bytes in base64.
    Key,
    /// It is valid, but comes from a page that may not open WebSockets here.
    Origin,
}

impl HandshakeError {
    /// Status and text of the refusal.
    pub fn response(self) -> (u16, &'static str) {
        match self {
            HandshakeError::Method => (405, "a WebSocket begins with GET\n"),
            HandshakeError::HttpVersion => (400, "a WebSocket needs HTTP/1.1\n"),
            HandshakeError::Body => (413, "a WebSocket begins without a body\n"),
            HandshakeError::Connection => (400, "no Connection: Upgrade\n"),
            HandshakeError::VersionMissing => (400, "no Sec-WebSocket-Version\n"),
            HandshakeError::Version => (426, "only version 13 of WebSocket is supported here\n"),
            HandshakeError::KeyMissing => (400, "no Sec-WebSocket-Key\n"),
            HandshakeError::Key => (400, "Sec-WebSocket-Key is not 16 bytes in Base64\n"),
            HandshakeError::Origin => {
                (403, "a page of this Origin may not open a WebSocket here\n")
            }
        }
    }

    /// Fields that the refusal must have: the accepted method, protocol or version (RFC 9110 sections 15.5.6
    /// and 15.5.22, RFC 6455 section 4.4).
    pub fn fields(self) -> &'static [(&'static str, &'static str)] {
        match self {
            HandshakeError::Method => &[("Allow", "GET")],
            HandshakeError::Version => &[("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")],
            _ => &[],
        }
    }
}

/// The parts of a request that the handshake depends on.
pub struct Opening<'a, F> {
    /// The method.
    pub method: &'a str,
    /// The version of HTTP.
    pub version: Version,
    /// A body follows.
    pub has_body: bool,
    /// The values of all fields of a name.
    pub fields: F,
}

/// Whether the request asks for a WebSocket. A server ignores an `Upgrade` to a protocol that it does not
/// support (RFC 9110 section 7.8).
pub fn is_wanted<'a>(mut upgrade: impl Iterator<Item = &'a [u8]>) -> bool {
    upgrade.any(|value| holds(value, b"websocket"))
}

/// Checks a request that [`is_wanted`], in the order of RFC 6455 section 4.2.1. On success the key is valid.
pub fn judge<'a, I>(
    opening: &Opening<'a, impl Fn(&'static str) -> I>,
) -> Result<&'a [u8], HandshakeError>
where
    I: Iterator<Item = &'a [u8]>,
{
    let fields = &opening.fields;
    if opening.method != "GET" {
        return Err(HandshakeError::Method);
    }
    if opening.version < Version::Http11 {
        return Err(HandshakeError::HttpVersion);
    }
    if opening.has_body {
        return Err(HandshakeError::Body);
    }
    if !fields("connection").any(|value| holds(value, b"upgrade")) {
        return Err(HandshakeError::Connection);
    }
    let mut versions = fields("sec-websocket-version");
    match (versions.next(), versions.next()) {
        (None, _) => return Err(HandshakeError::VersionMissing),
        (Some(b"13"), None) => {}
        _ => return Err(HandshakeError::Version),
    }
    let mut keys = fields("sec-websocket-key");
    match (keys.next(), keys.next()) {
        (None, _) => Err(HandshakeError::KeyMissing),
        (Some(key), None) if is_key(key) => Ok(key),
        _ => Err(HandshakeError::Key),
    }
}

fn is_key(key: &[u8]) -> bool {
    let mut bytes = [0; 18];
    key.len() == KEY_LEN && KEY.decode_slice(key, &mut bytes) == Ok(16)
}

/// Whether a comma-separated list has this element, whatever its case.
fn holds(value: &[u8], element: &[u8]) -> bool {
    syntax::list(value).any(|one| one.eq_ignore_ascii_case(element))
}

/// Appends the field that accepts the client's key: RFC 6455 section 4.2.2.
pub fn accept(key: &[u8], block: &mut Vec<u8>) {
    let mut sha = Sha1::new();
    sha.update(key);
    sha.update(GUID);
    let mut room = [0; 28];
    let accept = match STANDARD.encode_slice(sha.finalize(), &mut room) {
        Ok(n) => &room[..n],
        Err(_) => &[],
    };
    field_block::push(b"Sec-WebSocket-Accept", accept, block);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc() {
        let mut out = Vec::new();
        accept(b"dGhlIHNhbXBsZSBub25jZQ==", &mut out);
        let field = b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
        assert_eq!(out, field);
    }

    #[test]
    fn keys_are_sixteen_bytes() {
        assert!(is_key(b"dGhlIHNhbXBsZSBub25jZQ=="));
        assert!(is_key(b"AQIDBAUGBwgJCgsMDQ4PEC=="));
        let wrong: [&[u8]; 6] = [
            b"",
            b"dGhlIHNhbXBsZSBub25jZQ",
            b"dGhlIHNhbXBsZSBub25jZQ= ",
            b"dGhlIHNhbXBsZSBub25jZSE=",
            b"dGhlIHNhbXBsZSBub25jZSEh",
            b"dGhl-HNhbXBsZSBub25jZQ==",
        ];
        for key in wrong {
            assert!(!is_key(key), "{}", String::from_utf8_lossy(key));
        }
    }

    #[test]
    fn every_violation() {
        use HandshakeError as E;
        let good: &[(&str, &[u8])] = &[
            ("connection", b"keep-alive, Upgrade"),
            ("sec-websocket-version", b"13"),
            ("sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        let judge = |method, version, has_body, list: Vec<(&'static str, &'static [u8])>| {
            judge(&Opening {
                method,
                version,
                has_body,
                fields: |name| {
                    let named = list.clone().into_iter().filter(move |(n, _)| *n == name);
                    named.map(|(_, value)| value)
                },
            })
            .map(|_| ())
        };
        let with = |name: &str, values: &[&'static [u8]]| {
            let mut list: Vec<_> = good.iter().copied().filter(|(n, _)| *n != name).collect();
            let name = good.iter().find(|(n, _)| *n == name).expect("a field").0;
            list.extend(values.iter().map(|value| (name, *value)));
            judge("GET", Version::Http11, false, list)
        };
        assert_eq!(judge("GET", Version::Http11, false, good.to_vec()), Ok(()));
        assert_eq!(
            judge("POST", Version::Http11, false, good.to_vec()),
            Err(E::Method)
        );
        assert_eq!(
            judge("GET", Version::Http10, false, good.to_vec()),
            Err(E::HttpVersion)
        );
        assert_eq!(
            judge("GET", Version::Http11, true, good.to_vec()),
            Err(E::Body)
        );
        assert_eq!(with("connection", &[]), Err(E::Connection));
        assert_eq!(with("connection", &[b"close"]), Err(E::Connection));
        assert_eq!(with("connection", &[b"close", b"UPGRADE"]), Ok(()));
        assert_eq!(with("sec-websocket-version", &[]), Err(E::VersionMissing));
        for wrong in [&b"8"[..], b"13, 8", b"", b"013"] {
            assert_eq!(with("sec-websocket-version", &[wrong]), Err(E::Version));
        }
        assert_eq!(
            with("sec-websocket-version", &[b"13", b"13"]),
            Err(E::Version)
        );
        assert_eq!(with("sec-websocket-key", &[]), Err(E::KeyMissing));
        assert_eq!(with("sec-websocket-key", &[b"short"]), Err(E::Key));
        let key = good[2].1;
        assert_eq!(with("sec-websocket-key", &[key, key]), Err(E::Key));
    }
}
