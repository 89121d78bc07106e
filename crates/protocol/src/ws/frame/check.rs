//! Properties of frames for tests and fuzzing.

use super::{FrameError, OpCode, parse, unmask, write_header};
use crate::checks::split_of;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FrameHeader {
    opcode: u8,
    is_final: bool,
    rsv1: bool,
    mask: [u8; 4],
    /// Bytes of the payload.
    len: u64,
    /// Bytes of the header.
    size: usize,
}

fn header(bytes: &[u8]) -> Result<Option<FrameHeader>, FrameError> {
    Ok(parse(bytes)?.map(|header| FrameHeader {
        opcode: header.opcode.into(),
        is_final: header.is_final,
        rsv1: header.rsv1,
        mask: header.mask,
        len: header.len,
        size: header.size,
    }))
}

/// The header is the one that the model reads, is refused for the reason that the model gives, as soon as the
/// bytes for that are there, and is `None` before; what the server writes for the same frame can be read
/// again; and a payload is the same in whatever pieces it arrives.
pub fn check(bytes: &[u8]) {
    let expected = model(bytes);
    assert_eq!(header(bytes), expected);
    for end in 0..bytes.len().min(MAX_HEADER) {
        assert_eq!(header(&bytes[..end]), model(&bytes[..end]));
    }
    let Ok(Some(header)) = expected else {
        return;
    };
    if let (true, Ok(len)) = (header.is_final, usize::try_from(header.len)) {
        let mut out = Vec::new();
        write_header(OpCode::from(header.opcode), header.rsv1, len, &mut out);
        out[1] |= 0x80;
        out.extend_from_slice(&header.mask);
        assert_eq!(out, bytes[..header.size]);
    }
    payload(&bytes[header.size..], header.mask);
}

const MAX_HEADER: usize = 14;

fn payload(bytes: &[u8], mask: [u8; 4]) {
    let expected: Vec<u8> = bytes
        .iter()
        .zip(mask.iter().cycle())
        .map(|(b, m)| b ^ m)
        .collect();
    for at in [0, split_of(bytes), bytes.len() / 3] {
        let mut pieces = bytes.to_vec();
        let (first, second) = pieces.split_at_mut(at);
        unmask(first, mask, 0);
        unmask(second, mask, at);
        assert!(pieces == expected, "split at {at}");
    }
}

fn model(bytes: &[u8]) -> Result<Option<FrameHeader>, FrameError> {
    let [first, second, rest @ ..] = bytes else {
        return Ok(None);
    };
    let (is_final, opcode) = (first >> 7 == 1, first & 15);
    let reserved = first >> 4 & 7;
    if reserved & 3 != 0 {
        return Err(FrameError::ReservedBits);
    }
    if ![0, 1, 2, 8, 9, 10].contains(&opcode) {
        return Err(FrameError::Opcode);
    }
    let short = u64::from(second & 0x7f);
    if opcode >= 8 {
        match (reserved, is_final, short) {
            (1.., _, _) => return Err(FrameError::ReservedBits),
            (_, false, _) => return Err(FrameError::ControlFragmented),
            (_, _, 126..) => return Err(FrameError::ControlTooLong),
            _ => {}
        }
    }
    if second >> 7 == 0 {
        return Err(FrameError::Unmasked);
    }
    let (digits, least) = match short {
        126 => (2, 126),
        127 => (8, 1 << 16),
        _ => (0, 0),
    };
    // It is judged when the mask is there, too.
    let Some(mask) = rest.get(digits..digits + 4) else {
        return Ok(None);
    };
    let long = rest[..digits]
        .iter()
        .fold(0, |len, b| len << 8 | u64::from(*b));
    let len = if digits == 0 { short } else { long };
    if len < least || len > i64::MAX as u64 {
        return Err(FrameError::Length);
    }
    Ok(Some(FrameHeader {
        opcode,
        is_final,
        rsv1: reserved == 4,
        mask: mask.try_into().expect("four bytes"),
        len,
        size: 2 + digits + 4,
    }))
}
