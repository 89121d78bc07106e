//! Properties of HPACK for tests and fuzzing.

use super::{Decoder, Encoder, HpackError, MAX_TABLE, huffman};
use crate::field_section::check::{self, Seen, are_judged, block_of};

/// Decodes a block.
pub(crate) fn decoded(
    decoder: &mut Decoder,
    block: &[u8],
    limit: usize,
) -> Result<(Vec<Seen>, usize), HpackError> {
    let (fields, size) = check::decoded(decoder, block, limit)?;
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
        are_judged(&fields, size);
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
    // A response has its fields in blocks, if they are ones that it may have; the same block comes again.
    let own = block_of(fields);
    for _ in 0..3 {
        let mut block = Vec::new();
        encoder.begin(&mut block);
        encoder.status(200 + number as u16, &mut block);
        match &own {
            Some(own) if number % 2 == 0 => encoder.block(own, |_| false, &mut block),
            _ => fields.iter().for_each(|field| {
                encoder.field(&field.name.to_ascii_uppercase(), &field.value, &mut block);
            }),
        }
        let (again, _) = decoded(back, &block, usize::MAX / 4).expect("what was encoded");
        check::is_what_was_sent(&again, fields, number);
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
