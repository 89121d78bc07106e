//! Every header, every mask, every close code; what is written can be read.

use super::*;
use crate::tests::EVERY;

#[test]
fn masking_is_what_the_rfc_says_at_every_offset_and_length() {
    let mask = [0x12, 0x9a, 0xff, 0x01];
    let plain: Vec<u8> = (0..100u8).map(|i| i.wrapping_mul(37)).collect();
    let masked: Vec<u8> = plain
        .iter()
        .zip(0..)
        .map(|(b, i)| b ^ mask[i % 4])
        .collect();
    for from in 0..20 {
        for to in (from..plain.len()).step_by(EVERY) {
            let mut part = masked[from..to].to_vec();
            unmask(&mut part, mask, from);
            assert_eq!(part, plain[from..to], "{from}..{to}");
        }
    }
}

#[test]
fn headers_at_every_split_of_every_length() {
    for len in [0u64, 1, 125, 126, 127, 65535, 65536, 1 << 40, (1 << 63) - 1] {
        for (opcode, rsv1) in [
            (OpCode::Data(Data::Text), true),
            (OpCode::Data(Data::Continue), false),
        ] {
            let sent = FrameHeader {
                is_final: false,
                rsv1,
                opcode,
                mask: Some([1, 2, 3, 4]),
                ..FrameHeader::default()
            };
            let mut bytes = Vec::new();
            sent.format(len, &mut bytes).expect("a vector");
            for split in 0..bytes.len() {
                assert_eq!(parse(&bytes[..split]), Ok(None));
            }
            let size = bytes.len();
            bytes.push(9);
            let expected = Header {
                opcode,
                is_final: false,
                rsv1,
                mask: [1, 2, 3, 4],
                len,
                size,
            };
            assert_eq!(parse(&bytes), Ok(Some(expected)));
        }
    }
}

#[test]
fn every_pair_of_first_bytes() {
    for first in 0..=255u8 {
        for second in (0..=255u8).step_by(EVERY) {
            let mut bytes = vec![first, second];
            let length: &[u8] = match second & 0x7f {
                126 => &[1, 0],
                127 => &[0, 0, 0, 0, 1, 0, 0, 0],
                _ => &[],
            };
            bytes.extend_from_slice(length);
            bytes.extend_from_slice(&[0; 4]);
            let control = first & 8 != 0;
            let good = first & 0x30 == 0
                && second & 0x80 != 0
                && matches!(first & 0x0f, 0..=2 | 8..=10)
                && (!control || first & 0xc0 == 0x80 && second & 0x7f <= 125);
            assert_eq!(parse(&bytes).is_ok(), good, "{first:#x} {second:#x}");
            // An error is reported at the second byte already.
            assert_eq!(parse(&bytes[..2]).is_ok(), good, "{first:#x} {second:#x}");
        }
    }
}

#[test]
fn the_fast_path_equals_the_general_one() {
    for first in (0..=255u8).filter(|first| !matches!(first & 15, 3..=7 | 11..)) {
        for len in (0..126u8).step_by(EVERY) {
            let bytes = [first & 0xcf, 0x80 | len, 1, 2, 3, 4];
            if check(bytes[0], bytes[1]).is_ok() {
                assert_eq!(Ok(short(&bytes)), parse_any(&bytes), "{bytes:x?}");
            }
            let (opcode, compressed) = (OpCode::from(first & 15), first & 0x40 != 0);
            let (mut short, mut general) = (Vec::new(), Vec::new());
            write_header(opcode, compressed, usize::from(len), &mut short);
            write_any(opcode, compressed, usize::from(len), &mut general);
            assert_eq!(short, general);
        }
    }
}

#[test]
fn lengths_have_one_form() {
    let long = |bytes: &[u8]| parse(&[bytes, &[0; 4]].concat());
    assert_eq!(long(&[0x82, 0xfe, 0, 125]), Err(FrameError::Length));
    assert_eq!(
        long(&[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff]),
        Err(FrameError::Length)
    );
    assert_eq!(
        long(&[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0]),
        Err(FrameError::Length)
    );
}

#[test]
fn frames_that_are_written_can_be_read() {
    for len in [0, 1, 125, 126, 65535, 65536] {
        let mut out = Vec::new();
        write_header(OpCode::Data(Data::Binary), len == 126, len, &mut out);
        assert_eq!(out.len(), header_len(len));
        let parsed = FrameHeader::parse(&mut Cursor::new(&out)).expect("a header");
        let (header, parsed_len) = parsed.expect("complete");
        assert!(header.is_final && header.mask.is_none() && header.rsv1 == (len == 126));
        assert_eq!(parsed_len, len as u64);
    }
}

#[test]
fn close_codes() {
    for code in (0..=u16::MAX).step_by(EVERY) {
        let good = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
        let payload = [&code.to_be_bytes()[..], b"why"].concat();
        let expected = good
            .then_some(Some((code, "why")))
            .ok_or(FrameError::CloseCode);
        assert_eq!(parse_close(&payload), expected, "{code}");
    }
    assert_eq!(parse_close(b""), Ok(None));
    assert_eq!(parse_close(b"\x03"), Err(FrameError::CloseCode));
    assert_eq!(parse_close(b"\x03\xe8\xff"), Err(FrameError::Utf8));
}

#[test]
fn a_long_reason_is_truncated_between_characters() {
    let mut out = Vec::new();
    write_close(Some((1000, &"ü".repeat(100))), &mut out);
    assert_eq!(out.len(), 2 + 2 + 122);
    assert_eq!(
        parse_close(&out[2..]),
        Ok(Some((1000, "ü".repeat(61).as_str())))
    );
}
