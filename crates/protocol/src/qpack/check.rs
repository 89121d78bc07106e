//! Properties of QPACK for tests and fuzzing.

use super::instructions::{DecoderStream, encoder_stream};
use super::{DecodedField, Decoder, Encoder, Kind, OVERHEAD, QpackError};
use crate::checks::split_of;
use crate::field_section::check::{Seen, is_valid};
use crate::http::field_block;

fn decoded(section: &[u8], limit: usize) -> Result<(Vec<Seen>, usize), QpackError> {
    let (mut out, mut fields) = (b"before".to_vec(), Vec::new());
    let take = |out: &mut Vec<u8>, field: DecodedField| {
        let seen = Seen::of(out, field);
        assert_eq!(field.kind, Kind::of(&seen.name));
        fields.push(seen);
        if field.start % 2 == 0 {
            out.truncate(field.start);
        }
    };
    let size = Decoder.decode(section, limit, &mut out, take)?;
    assert!(out.starts_with(b"before"));
    Ok((fields, size))
}

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
        let part = decoded(section, 200);
        let Ok((fields, size)) = decoded(section, 1 << 20) else {
            continue;
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
        let (some, counted) = part.expect("the front of a section");
        assert!(fields.starts_with(&some));
        assert_eq!(counted > 200, size > 200);
        assert_eq!(some.len() == fields.len(), size <= 200);
        comes_back(&mut encoder, &fields, usize::from(*len));
    }
}

fn comes_back(encoder: &mut Encoder, fields: &[Seen], number: usize) {
    let mut own = Vec::new();
    for field in fields {
        let name = field.name.to_ascii_uppercase();
        own.extend([&name, &b": "[..], &field.value, b"\r\n"].concat());
    }
    let read = || field_block::fields(&own);
    let is_same = |((name, value), field): ((&[u8], &[u8]), &Seen)| {
        name.eq_ignore_ascii_case(&field.name) && value == field.value
    };
    let in_block = fields.iter().all(|field| field.is_valid)
        && read().count() == fields.len()
        && read().zip(fields).all(is_same);
    for _ in 0..3 {
        let mut section = Vec::new();
        encoder.begin(&mut section);
        encoder.status(200 + number as u16, &mut section);
        match in_block && number % 2 == 0 {
            true => encoder.block(&own, |_| false, &mut section),
            false => fields.iter().for_each(|field| {
                encoder.field(&field.name.to_ascii_uppercase(), &field.value, &mut section);
            }),
        }
        let (again, _) = decoded(&section, usize::MAX).expect("what was encoded");
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
