//! Colours of the access log on a terminal. A log escapes what could be sent to a terminal, so they are put around the
//! columns of a line when it is written.

use std::io::{self, Write};

/// Ends a column of a line.
pub(crate) const GAP: char = '\t';

/// Writes lines with time, status, request and size, in this order, in colours.
#[derive(Debug)]
pub(crate) struct Colors<W> {
    to: W,
    column: usize,
    /// The column has no byte yet.
    begins: bool,
}

impl<W> Colors<W> {
    pub(crate) fn new(to: W) -> Colors<W> {
        Colors {
            to,
            column: 0,
            begins: true,
        }
    }

    fn add(&mut self, byte: u8, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.begins) {
            out.extend_from_slice(match (self.column, byte) {
                (0 | 3, _) => b"\x1b[2m",
                (1, b'2') => b"\x1b[32m",
                (1, b'3') => b"\x1b[36m",
                (1, b'4') => b"\x1b[33m",
                (1, _) => b"\x1b[31m",
                _ => b"",
            });
        }
        let (next, end) = match byte {
            b'\t' => (self.column + 1, b' '),
            b'\n' => (0, b'\n'),
            _ => return out.push(byte),
        };
        if self.column != 2 {
            out.extend_from_slice(b"\x1b[0m");
        }
        out.push(end);
        (self.column, self.begins) = (next, true);
    }
}

impl<W: Write> Write for Colors<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut out = Vec::with_capacity(bytes.len() * 2);
        for byte in bytes {
            self.add(*byte, &mut out);
        }
        self.to.write_all(&out)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_have_colours_however_they_are_written() {
        let lines = b"12:00:00\t200\tGET    /a\t2 B 1 ms\n12:00:01\t404\tGET /\t- 1 s\nnote\n";
        let expected = "\x1b[2m12:00:00\x1b[0m \x1b[32m200\x1b[0m GET    /a \x1b[2m2 B 1 ms\x1b[0m\n\
            \x1b[2m12:00:01\x1b[0m \x1b[33m404\x1b[0m GET / \x1b[2m- 1 s\x1b[0m\n\x1b[2mnote\x1b[0m\n";
        for size in 1..=lines.len() {
            let mut colors = Colors::new(Vec::new());
            for part in lines.chunks(size) {
                colors.write_all(part).expect("a vector");
            }
            assert_eq!(String::from_utf8_lossy(&colors.to), expected);
        }
    }
}
