//! Validates UTF-8 that arrives in pieces (RFC 6455 section 8.1).

/// Remembers a character that is not complete.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Utf8 {
    /// `len` bytes of a character that can still become one.
    partial: [u8; 3],
    /// `len <= 3`
    len: u8,
}

impl Utf8 {
    /// Takes the next piece. False as soon as no continuation could be valid; it is not to be
    /// asked again then.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) -> bool {
        while self.len > 0 {
            let Some((&next, rest)) = bytes.split_first() else {
                return true;
            };
            let have = usize::from(self.len);
            let mut character = [0; 4];
            character[..have].copy_from_slice(&self.partial[..have]);
            character[have] = next;
            bytes = rest;
            match core::str::from_utf8(&character[..=have]) {
                Ok(_) => self.len = 0,
                Err(error) if error.error_len().is_some() || have == 3 => return false,
                Err(_) => {
                    self.partial[have] = next;
                    self.len += 1;
                }
            }
        }
        let Err(error) = core::str::from_utf8(bytes) else {
            return true;
        };
        let rest = &bytes[error.valid_up_to()..];
        if error.error_len().is_some() {
            return false;
        }
        self.partial[..rest.len()].copy_from_slice(rest);
        self.len = rest.len() as u8;
        true
    }

    /// Whether the text may end here.
    pub(crate) fn is_complete(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::EVERY;

    /// Every sequence of up to four bytes from the edges of the classes, byte by byte: refused at
    /// the first byte after which no continuation is valid.
    #[test]
    fn as_early_as_possible() {
        let edges = [
            0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1,
            0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff,
        ];
        for i in (0..edges.len().pow(4)).step_by(EVERY * EVERY) {
            let bytes: Vec<u8> = (0..4)
                .map(|n| edges[i / edges.len().pow(n) % edges.len()])
                .collect();
            let mut utf8 = Utf8::default();
            for end in 1..=4 {
                let expected = core::str::from_utf8(&bytes[..end]);
                let good = utf8.push(&bytes[end - 1..end]);
                assert_eq!(
                    good,
                    !expected.is_err_and(|e| e.error_len().is_some()),
                    "{bytes:x?}"
                );
                if !good {
                    break;
                }
                assert_eq!(utf8.is_complete(), expected.is_ok(), "{bytes:x?}");
            }
        }
    }

    #[test]
    fn every_split_in_three() {
        let text = "a\u{7f}\u{80}\u{7ff}\u{800}\u{d7ff}\u{e000}\u{ffff}\u{10000}\u{10ffff}z";
        for broken in [false, true] {
            let mut bytes = text.as_bytes().to_vec();
            if broken {
                let at = bytes.len() - 2;
                bytes[at] = b'x';
            }
            for first in 0..=bytes.len() {
                for second in first..=bytes.len() {
                    let mut utf8 = Utf8::default();
                    let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                    let good = pieces.iter().all(|piece| utf8.push(piece));
                    assert_eq!(good && utf8.is_complete(), !broken, "{first} {second}");
                }
            }
        }
    }
}
