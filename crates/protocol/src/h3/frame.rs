//! Frames (RFC 9114 section 7), and PRIORITY_UPDATE (RFC 9218 section 7.2).

use super::varint;
use alloc::vec::Vec;

/// The longest header of a frame, in bytes.
pub const MAX_HEADER: usize = 2 * varint::LONGEST;

/// Why a stream or a connection ends (RFC 9114 section 8.1, RFC 9204 section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ErrorCode(pub u64);

#[allow(
    missing_docs,
    reason = "the names of RFC 9114 section 8.1 and RFC 9204 section 6"
)]
impl ErrorCode {
    pub const H3_NO_ERROR: ErrorCode = ErrorCode(0x100);
    pub const H3_GENERAL_PROTOCOL_ERROR: ErrorCode = ErrorCode(0x101);
    pub const H3_INTERNAL_ERROR: ErrorCode = ErrorCode(0x102);
    pub const H3_STREAM_CREATION_ERROR: ErrorCode = ErrorCode(0x103);
    pub const H3_CLOSED_CRITICAL_STREAM: ErrorCode = ErrorCode(0x104);
    pub const H3_FRAME_UNEXPECTED: ErrorCode = ErrorCode(0x105);
    pub const H3_FRAME_ERROR: ErrorCode = ErrorCode(0x106);
    pub const H3_EXCESSIVE_LOAD: ErrorCode = ErrorCode(0x107);
    pub const H3_ID_ERROR: ErrorCode = ErrorCode(0x108);
    pub const H3_SETTINGS_ERROR: ErrorCode = ErrorCode(0x109);
    pub const H3_MISSING_SETTINGS: ErrorCode = ErrorCode(0x10a);
    pub const H3_REQUEST_REJECTED: ErrorCode = ErrorCode(0x10b);
    pub const H3_REQUEST_CANCELLED: ErrorCode = ErrorCode(0x10c);
    pub const H3_REQUEST_INCOMPLETE: ErrorCode = ErrorCode(0x10d);
    pub const H3_MESSAGE_ERROR: ErrorCode = ErrorCode(0x10e);
    pub const H3_CONNECT_ERROR: ErrorCode = ErrorCode(0x10f);
    pub const H3_VERSION_FALLBACK: ErrorCode = ErrorCode(0x110);
    pub const QPACK_DECOMPRESSION_FAILED: ErrorCode = ErrorCode(0x200);
    pub const QPACK_ENCODER_STREAM_ERROR: ErrorCode = ErrorCode(0x201);
    pub const QPACK_DECODER_STREAM_ERROR: ErrorCode = ErrorCode(0x202);
}

/// What is wrong with what a client has sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The connection ends (RFC 9114 section 8).
    Connection(ErrorCode, &'static str),
    /// The stream ends in both directions.
    Stream(ErrorCode, &'static str),
}

/// H3_FRAME_UNEXPECTED.
pub(super) fn unexpected(text: &'static str) -> Fault {
    Fault::Connection(ErrorCode::H3_FRAME_UNEXPECTED, text)
}

/// The types of frames.
pub mod kind {
    #![allow(
        missing_docs,
        reason = "the names of RFC 9114 section 7.2 and RFC 9218 section 7.2"
    )]
    pub const DATA: u64 = 0;
    pub const HEADERS: u64 = 1;
    pub const CANCEL_PUSH: u64 = 3;
    pub const SETTINGS: u64 = 4;
    pub const PUSH_PROMISE: u64 = 5;
    pub const GOAWAY: u64 = 7;
    pub const MAX_PUSH_ID: u64 = 0xd;
    pub const PRIORITY_UPDATE: u64 = 0xf_0700;
    pub const PRIORITY_UPDATE_OF_PUSH: u64 = 0xf_0701;

    /// A type of HTTP/2 that HTTP/3 has nothing for (RFC 9114 section 7.2.8).
    pub(crate) fn is_of_http2(kind: u64) -> bool {
        matches!(kind, 2 | 6 | 8 | 9)
    }
}

/// The types of unidirectional streams (RFC 9114 section 6.2, RFC 9204 section 4.2).
pub mod stream_type {
    #![allow(
        missing_docs,
        reason = "the names of RFC 9114 section 6.2 and RFC 9204 section 4.2"
    )]
    pub const CONTROL: u64 = 0;
    pub const PUSH: u64 = 1;
    pub const QPACK_ENCODER: u64 = 2;
    pub const QPACK_DECODER: u64 = 3;
}

/// Identifiers of SETTINGS (RFC 9114 section 7.2.4.1, RFC 9204 section 5).
pub mod setting {
    #![allow(
        missing_docs,
        reason = "the names of RFC 9114 section 7.2.4.1 and RFC 9204 section 5"
    )]
    pub const QPACK_MAX_TABLE_CAPACITY: u64 = 1;
    pub const MAX_FIELD_SECTION_SIZE: u64 = 6;
    pub const QPACK_BLOCKED_STREAMS: u64 = 7;
    /// One of those that say nothing, and have to be ignored.
    pub const RESERVED: u64 = 0x1f * 0x29 + 0x21;

    /// One of HTTP/2 that HTTP/3 has nothing for (RFC 9114 section 11.2.2).
    pub(crate) fn is_of_http2(identifier: u64) -> bool {
        matches!(identifier, 0 | 2..=5)
    }
}

/// Type and length (RFC 9114 section 7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// See [`kind`].
    pub kind: u64,
    /// Bytes of the payload.
    pub len: u64,
}

impl FrameHeader {
    /// The header at the front of `bytes`, and its length. `None`: it is not complete.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Option<(FrameHeader, usize)> {
        let (kind, first) = varint::decode(bytes)?;
        let (len, second) = varint::decode(&bytes[first..])?;
        Some((FrameHeader { kind, len }, first + second))
    }
}

/// The values of SETTINGS. What follows an error means nothing.
///
/// # Errors
///
/// H3_FRAME_ERROR for a value that is not complete; H3_SETTINGS_ERROR for one that is of HTTP/2 only, or comes twice;
/// H3_EXCESSIVE_LOAD for more than `most` of them.
pub(super) fn settings(payload: &[u8], most: usize) -> Result<Vec<(u64, u64)>, Fault> {
    let mut values = Vec::<(u64, u64)>::new();
    let mut rest = payload;
    while !rest.is_empty() {
        let truncated = Fault::Connection(ErrorCode::H3_FRAME_ERROR, "a setting is not complete");
        let (header, len) = FrameHeader::parse(rest).ok_or(truncated)?;
        rest = &rest[len..];
        // A pair of integers, as a header is.
        let (identifier, value) = (header.kind, header.len);
        if values.len() >= most {
            return Err(Fault::Connection(
                ErrorCode::H3_EXCESSIVE_LOAD,
                "too many settings",
            ));
        }
        let wrong = |text| Err(Fault::Connection(ErrorCode::H3_SETTINGS_ERROR, text));
        if setting::is_of_http2(identifier) {
            return wrong("a setting of HTTP/2");
        }
        if values.iter().any(|(known, _)| *known == identifier) {
            return wrong("a setting came twice");
        }
        values.push((identifier, value));
    }
    Ok(values)
}

/// The one integer of a frame.
pub(super) fn integer(payload: &[u8]) -> Result<u64, Fault> {
    match varint::decode(payload) {
        Some((value, len)) if len == payload.len() => Ok(value),
        _ => Err(Fault::Connection(
            ErrorCode::H3_FRAME_ERROR,
            "the payload is not one integer",
        )),
    }
}

/// Writes frames.
pub mod write {
    use super::*;

    /// Bytes of a length below 16,384 that are written before it is known.
    const SHORT: usize = 2;

    /// A header; the payload follows.
    #[inline]
    pub fn header(kind: u64, len: u64, out: &mut Vec<u8>) {
        varint::encode(kind, out);
        varint::encode(len, out);
    }

    /// The header of DATA; the payload follows.
    #[inline]
    pub fn data(len: u64, out: &mut Vec<u8>) {
        header(kind::DATA, len, out);
    }

    /// HEADERS with the field section that `section` appends.
    #[inline]
    pub fn headers<T>(out: &mut Vec<u8>, section: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let start = out.len();
        out.extend_from_slice(&[kind::HEADERS as u8, 0, 0]);
        let result = section(out);
        let len = out.len() - start - 1 - SHORT;
        match u16::try_from(len).ok().filter(|len| *len < 1 << 14) {
            Some(len) => {
                let len = (len | 1 << 14).to_be_bytes();
                out[start + 1..start + 1 + SHORT].copy_from_slice(&len);
            }
            None => long_headers(start, len, out),
        }
        result
    }

    #[cold]
    fn long_headers(start: usize, len: usize, out: &mut Vec<u8>) {
        let mut header = Vec::new();
        varint::encode(len as u64, &mut header);
        out.splice(start + 1..start + 1 + SHORT, header);
    }

    /// SETTINGS, with identifiers and values.
    pub fn settings(values: &[(u64, u64)], out: &mut Vec<u8>) {
        let mut payload = Vec::new();
        for (identifier, value) in values {
            varint::encode(*identifier, &mut payload);
            varint::encode(*value, &mut payload);
        }
        header(kind::SETTINGS, payload.len() as u64, out);
        out.extend_from_slice(&payload);
    }

    /// GOAWAY.
    pub fn goaway(stream: u64, out: &mut Vec<u8>) {
        let mut payload = Vec::new();
        varint::encode(stream, &mut payload);
        header(kind::GOAWAY, payload.len() as u64, out);
        out.extend_from_slice(&payload);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_every_length() {
        for (kind, len) in [
            (0, 0),
            (1, 63),
            (0x21, 64),
            (0xf_0700, 16_383),
            (1 << 40, 1 << 50),
        ] {
            let mut bytes = Vec::new();
            write::header(kind, len, &mut bytes);
            let count = bytes.len();
            assert!((0..count).all(|cut| FrameHeader::parse(&bytes[..cut]).is_none()));
            bytes.push(0);
            assert_eq!(
                FrameHeader::parse(&bytes),
                Some((FrameHeader { kind, len }, count))
            );
        }
    }

    #[test]
    fn field_sections_of_every_size() {
        for len in [0, 1, 63, 64, 16_383, 16_384, 70_000] {
            let mut out = b"before".to_vec();
            write::headers(&mut out, |out| out.extend(vec![7; len]));
            let (header, at) = FrameHeader::parse(&out[6..]).expect("a header");
            assert_eq!((header.kind, header.len), (kind::HEADERS, len as u64));
            assert_eq!(out[6 + at..], vec![7; len]);
        }
    }

    #[test]
    fn settings_that_are_judged() {
        let code = |payload: &[u8]| match settings(payload, 3) {
            Err(Fault::Connection(code, _)) => Err(code),
            other => Ok(other.expect("settings")),
        };
        let error = Err(ErrorCode::H3_SETTINGS_ERROR);
        assert_eq!(code(b""), Ok(vec![]));
        assert_eq!(code(b"\x06\x40\x64\x21\x05"), Ok(vec![(6, 100), (0x21, 5)]));
        // 7.2.4.1 and 11.2.2
        for identifier in [0, 2, 3, 4, 5] {
            assert_eq!(code(&[identifier, 1]), error);
        }
        // 7.2.4
        assert_eq!(code(b"\x06\x01\x06\x01"), error);
        // 7.1
        assert_eq!(code(b"\x06"), Err(ErrorCode::H3_FRAME_ERROR));
        assert_eq!(code(b"\x06\x40"), Err(ErrorCode::H3_FRAME_ERROR));
        let many = b"\x06\x01\x07\x01\x08\x01\x09\x01";
        assert_eq!(code(many), Err(ErrorCode::H3_EXCESSIVE_LOAD));
        for payload in [&b""[..], b"\x40", b"\x01\x01"] {
            assert!(integer(payload).is_err(), "{payload:?}");
        }
        assert_eq!(integer(b"\x40\x01"), Ok(1));
    }
}
