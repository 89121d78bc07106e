//! Properties of QPACK for tests and fuzzing.

use super::instructions::{DecoderStream, encoder_stream};
use super::{Decoder, Encoder};
use crate::checks::split_of;
use crate::field_section::check::{Seen, are_judged, block_of, decoded, is_what_was_sent};

/// The input is a row of field sections, each behind its length. What is decoded is judged as the grammar says; with a
/// lower limit the same fields come, up to that; and what is encoded again is decoded to the same fields. Then it is
/// taken for instructions of both streams, of which the pieces do not matter.
pub fn check(bytes: &[u8]) {
    check_instructions(bytes);
    let mut encoder = Encoder::new();
    let mut rest = bytes;
    while let [len, behind @ ..] = rest {
        let (section, behind) = behind.split_at(usize::from(*len).min(behind.len()));
        rest = behind;
        let part = decoded(&mut Decoder, section, 200);
        let Ok((fields, size)) = decoded(&mut Decoder, section, 1 << 20) else {
            continue;
        };
        are_judged(&fields, size);
        let (some, counted) = part.expect("the front of a section");
        assert!(fields.starts_with(&some));
        assert_eq!(counted > 200, size > 200);
        assert_eq!(some.len() == fields.len(), size <= 200);
        comes_back(&mut encoder, &fields, usize::from(*len));
    }
}

fn comes_back(encoder: &mut Encoder, fields: &[Seen], number: usize) {
    let own = block_of(fields);
    for _ in 0..3 {
        let mut section = Vec::new();
        encoder.begin(&mut section);
        encoder.status(200 + number as u16, &mut section);
        match &own {
            Some(own) if number % 2 == 0 => encoder.block(own, |_| false, &mut section),
            _ => fields.iter().for_each(|field| {
                encoder.field(&field.name.to_ascii_uppercase(), &field.value, &mut section);
            }),
        }
        let (again, _) = decoded(&mut Decoder, &section, usize::MAX).expect("what was encoded");
        is_what_was_sent(&again, fields, number);
    }
}

fn check_instructions(bytes: &[u8]) {
    let (front, back) = bytes.split_at(split_of(bytes));
    let in_two = encoder_stream(front).and_then(|n| encoder_stream(back).map(|m| n + m));
    assert_eq!(in_two, encoder_stream(bytes));
    let whole = DecoderStream::new().read(bytes);
    let mut stream = DecoderStream::new();
    let in_two = stream
        .read(front)
        .and_then(|n| stream.read(back).map(|m| n + m));
    assert_eq!(in_two, whole);
    let mut stream = DecoderStream::new();
    let mut by_byte = bytes.chunks(1).map(|byte| stream.read(byte));
    let sum = by_byte.try_fold(0, |sum, count| count.map(|count| sum + count));
    assert_eq!(sum, whole);
}
