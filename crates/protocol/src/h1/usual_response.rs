//! A whole response in the usual case, in few pieces.
//!
//! `Content-Type` is its only field, its body follows, and the connection stays. The bytes are those of
//! [`response_encoder`](super::response_encoder). Each piece is a look at the room in the output.

use crate::http::encode::{MAX_DIGITS, decimal};
use alloc::vec::Vec;

const TYPE: &[u8] = b"Content-Type: ";
const LENGTH: &[u8] = b"\r\nContent-Length: ";
const END: &[u8] = b"\r\n\r\n";

/// Appends a response that begins with `template`, one of [`ResponseEncoder::template`](super::response_encoder::ResponseEncoder::template)
/// for a status with content. `kind` is valid as the value of a field.
#[inline(always)]
pub fn push(template: &[u8], kind: &[u8], body: &[u8], out: &mut Vec<u8>) {
    const AROUND: usize = TYPE.len() + LENGTH.len() + MAX_DIGITS + END.len();
    out.reserve(template.len() + kind.len() + body.len() + AROUND);
    out.extend_from_slice(template);
    out.extend_from_slice(TYPE);
    out.extend_from_slice(kind);
    out.extend_from_slice(LENGTH);
    match body.len() as u64 {
        len @ 0..100 => decimal(len, out),
        len => long_decimal(len, out),
    }
    out.extend_from_slice(END);
    out.extend_from_slice(body);
}

/// Not inlined: its room and its loop would keep the other case from being inlined.
#[inline(never)]
fn long_decimal(n: u64, out: &mut Vec<u8>) {
    decimal(n, out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::h1::response_encoder::{ResponseEncoder, end_head};
    use crate::http::exchange::ResponseContext;
    use crate::http::field_block;
    use crate::http::response::{BodySize, ResponseHead};

    #[test]
    fn the_bytes_are_those_of_a_response_in_parts() {
        let mut encoder = ResponseEncoder::new(Some("test"));
        let template = encoder.template(200);
        for len in (0..120).chain([999, 1000, 20_000]) {
            for kind in ["", "a", "text/plain; charset=utf-8"] {
                let body = vec![b'x'; len];
                let mut whole = b"before".to_vec();
                push(template, kind.as_bytes(), &body, &mut whole);
                let mut parts = [b"before", template].concat();
                field_block::push(b"Content-Type", kind.as_bytes(), &mut parts);
                let (size, usual) = (BodySize::Known(len as u64), ResponseContext::default());
                end_head(&ResponseHead::OK, size, usual, &mut parts);
                parts.extend_from_slice(&body);
                assert_eq!(whole, parts, "{len} bytes of {kind:?}");
            }
        }
    }
}
