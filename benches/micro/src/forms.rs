//! A form with a file, in pieces as a socket brings them.

use crate::Benches;
use peregrine::multipart::{Multipart, MultipartError, MultipartLimits, PartHead, PartSink};
use std::hint::black_box;

const FILE: usize = 64 << 10;
const PIECE: usize = 16 << 10;

pub(crate) fn add(benches: &mut Benches) {
    benches.add("multipart, 64 KiB", "random", form(noise));
    // Every line begins like a delimiter.
    benches.add(
        "multipart, 64 KiB",
        "false delimiters",
        form(|i| b"\r\n--bo"[i % 6]),
    );
}

/// xorshift32
fn noise(i: usize) -> u8 {
    let mut x = i as u32 + 1;
    for _ in 0..3 {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
    }
    (x >> 8) as u8
}

/// Takes a form whose file has these bytes.
fn form(byte: fn(usize) -> u8) -> impl FnMut() {
    let file: Vec<u8> = (0..FILE).map(byte).collect();
    let head =
        b"--boundary\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.bin\"\r\n\
        Content-Type: application/octet-stream\r\n\r\n";
    let body = [&head[..], &file, b"\r\n--boundary--\r\n"].concat();
    move || {
        let content_type = "multipart/form-data; boundary=boundary";
        let form = Multipart::new(content_type, MultipartLimits::default());
        let (mut form, mut bytes) = (form.expect("a boundary"), Bytes(0));
        for piece in black_box(&body).chunks(PIECE) {
            form.write(piece, &mut bytes).expect("a good form");
        }
        assert_eq!((form.finish(), bytes.0), (Ok(()), FILE));
    }
}

/// Counts what comes.
struct Bytes(usize);

impl PartSink for Bytes {
    type Error = MultipartError;

    fn begin(&mut self, _: &PartHead<'_>) -> Result<(), MultipartError> {
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), MultipartError> {
        self.0 += black_box(bytes).len();
        Ok(())
    }

    fn end(&mut self) -> Result<(), MultipartError> {
        Ok(())
    }
}
