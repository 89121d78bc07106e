//! Properties of HPACK for tests and fuzzing.

use super::{DecodedField, Decoder, Encoder, HpackError, Kind, MAX_TABLE, OVERHEAD, huffman};
use crate::field_section::check::{Seen, is_valid};
use crate::http::field_block;

/// Decodes a block.
pub(crate) fn decoded(
    decoder: &mut Decoder,
    block: &[u8],
    limit: usize,
) -> Result<(Vec<Seen>, usize), HpackError> {
    let (mut out, mut fields) = (b"before".to_vec(), Vec::new());
    let take = |out: &mut Vec<u8>, field: DecodedField| {
        let seen = Seen::of(out, field);
        assert_eq!(field.kind, Kind::of(&seen.name));
        fields.push(seen);
        if field.start % 2 == 0 {
            out.truncate(field.start);
        }
    };
    let size = decoder.decode(block, limit, &mut out, take)?;
    assert!(out.starts_with(b"before"));
    assert!(decoder.held() <= 4 * MAX_TABLE);
    Ok((fields, size))
}

/// The input is a row of blocks, each behind its length. What is decoded is judged as the grammar says; a
/// decoder with a lower limit has the same table afterwards; and what is encoded again is decoded to the same
/// fields, with tables of a size that changes.
pub fn check(bytes: &[u8]) {
    check_huffman(bytes);
    let (mut decoder, mut bounded) = (Decoder::new(), Decoder::new());
    let (mut encoder, mut back) = (Encoder::new(), Decoder::new());
    let mut rest = bytes;
    while let [len, behind @ ..] = rest {
        let (block, behind) = behind.split_at(usize::from(*len).min(behind.len()));
        rest = behind;
        let whole = decoded(&mut decoder, block, 1 << 20);
        let part = decoded(&mut bounded, block, 200);
        let Ok((fields, size)) = whole else {
            let is_same = part == whole || part == Err(HpackError::TooLarge);
            assert!(is_same, "{whole:?} {part:?}");
            return;
        };
        let sum = |sum, field: &Seen| sum + field.name.len() + field.value.len() + OVERHEAD;
        assert_eq!(size, fields.iter().fold(0, sum));
        for field in &fields {
            assert_eq!(
                field.is_valid,
                is_valid(&field.name, &field.value),
                "{field:?}"
            );
        }
        match part {
            Ok((some, counted)) => assert!(fields.starts_with(&some) && counted == size),
            Err(error) => {
                assert_eq!(error, HpackError::TooLarge);
                assert!(size > 800, "{size}");
                bounded = Decoder::new();
                decoder = Decoder::new();
            }
        }
        comes_back(&mut encoder, &mut back, &fields, usize::from(*len));
    }
}

fn comes_back(encoder: &mut Encoder, back: &mut Decoder, fields: &[Seen], number: usize) {
    if number % 5 == 0 {
        encoder.set_max(number * 20);
        encoder.set_max(number * 40);
        // Not lowered: the encoder has a smaller table, which it says.
        back.set_most(MAX_TABLE);
    }
    let mut own = Vec::new();
    for field in fields {
        let name = field.name.to_ascii_uppercase();
        own.extend([&name, &b": "[..], &field.value, b"\r\n"].concat());
    }
    // A response has its fields in blocks, if they are ones that it may have; the same block comes again.
    let read = || field_block::fields(&own);
    let is_same = |((name, value), field): ((&[u8], &[u8]), &Seen)| {
        name.eq_ignore_ascii_case(&field.name) && value == field.value
    };
    let in_block = fields.iter().all(|field| field.is_valid)
        && read().count() == fields.len()
        && read().zip(fields).all(is_same);
    for _ in 0..3 {
        let mut block = Vec::new();
        encoder.begin(&mut block);
        encoder.status(200 + number as u16, &mut block);
        match in_block && number % 2 == 0 {
            true => encoder.block(&own, |_| false, &mut block),
            false => fields.iter().for_each(|field| {
                encoder.field(&field.name.to_ascii_uppercase(), &field.value, &mut block);
            }),
        }
        is_what_was_sent(back, &block, fields, number);
    }
}

fn is_what_was_sent(back: &mut Decoder, block: &[u8], fields: &[Seen], number: usize) {
    let (again, _) = decoded(back, block, usize::MAX / 4).expect("what was encoded");
    let status = (200 + number).to_string().into_bytes();
    assert_eq!(
        (&again[0].name[..], &again[0].value),
        (&b":status"[..], &status)
    );
    assert_eq!(again.len(), fields.len() + 1);
    for (again, field) in again[1..].iter().zip(fields) {
        assert_eq!(again.name, field.name.to_ascii_lowercase());
        assert_eq!(again.value, field.value);
    }
}

fn check_huffman(bytes: &[u8]) {
    let (mut code, mut text) = (Vec::new(), Vec::new());
    huffman::encode(bytes, &mut code);
    huffman::decode(&code, &mut text).expect("a code");
    assert_eq!(text, bytes);
    text.clear();
    if huffman::decode(bytes, &mut text).is_ok() {
        code.clear();
        huffman::encode(&text, &mut code);
        assert_eq!(code, bytes, "there is one code of each text");
    }
}
