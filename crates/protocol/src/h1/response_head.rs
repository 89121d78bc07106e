//! The beginnings of answers, prepared: status line, `Server` and `Date` as one row of bytes per
//! status, so that an answer starts with a single copy.

use super::encode;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

const LOWEST: u16 = 200;
const HIGHEST: u16 = 599;

/// What precedes the date in every prepared head, from its end backwards: the date and CRLF.
const DATE_FROM_END: usize = encode::DATE_LEN + 2;

/// Made on first use of a status; the date in all of them is put right when it changes.
pub struct Heads {
    /// The `Server` line, or nothing.
    server: Vec<u8>,
    date: [u8; encode::DATE_LEN],
    unix: u64,
    /// All heads in a row.
    bytes: Vec<u8>,
    /// By status: where its head ends, and how long it is. Zero if not made yet.
    at: Vec<(u32, u16)>,
}

impl Heads {
    /// With a `Server` line of this name, or without one.
    pub fn new(server: Option<&str>) -> Heads {
        Heads {
            server: server.map_or(Vec::new(), |name| {
                format!("Server: {name}\r\n").into_bytes()
            }),
            date: encode::date(0),
            unix: 0,
            bytes: Vec::new(),
            at: vec![(0, 0); usize::from(HIGHEST - LOWEST) + 1],
        }
    }

    /// For answers whose head is put before them elsewhere.
    pub fn none() -> Heads {
        Heads {
            server: Vec::new(),
            date: [0; encode::DATE_LEN],
            unix: 0,
            bytes: Vec::new(),
            at: Vec::new(),
        }
    }

    /// Makes all of them anew, as one may be half made.
    pub fn reset(&mut self) {
        self.bytes.clear();
        self.at.fill((0, 0));
    }

    /// Statuses that an answer can have. Interim ones (1xx) are the library's.
    #[inline]
    pub fn is_status(status: u16) -> bool {
        (LOWEST..=HIGHEST).contains(&status)
    }

    /// Sets the clock: seconds since 1970.
    #[inline]
    pub fn set_time(&mut self, unix: u64) {
        if unix == self.unix {
            return;
        }
        self.unix = unix;
        self.date = encode::date(unix);
        for &(end, len) in &self.at {
            if len > 0 {
                let from = end as usize - DATE_FROM_END;
                self.bytes[from..from + encode::DATE_LEN].copy_from_slice(&self.date);
            }
        }
    }

    /// Status line, `Server`, `Date`. `status` is one that [`Heads::is_status`] allows.
    #[inline(always)]
    pub fn head(&mut self, status: u16) -> &[u8] {
        if self.at[usize::from(status - LOWEST)].1 == 0 {
            self.make(status);
        }
        let (end, len) = self.at[usize::from(status - LOWEST)];
        let end = end as usize;
        &self.bytes[end - usize::from(len)..end]
    }

    #[cold]
    #[inline(never)]
    fn make(&mut self, status: u16) {
        let start = self.bytes.len();
        encode::status_line(status, &mut self.bytes);
        self.bytes.extend_from_slice(&self.server);
        self.bytes.extend_from_slice(b"Date: ");
        self.bytes.extend_from_slice(&self.date);
        self.bytes.extend_from_slice(b"\r\n");
        let len = self.bytes.len() - start;
        self.at[usize::from(status - LOWEST)] = (self.bytes.len() as u32, len as u16);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_of_every_prepared_head_moves() {
        let mut heads = Heads::new(Some("test"));
        for unix in [784_111_777, 784_111_778] {
            heads.set_time(unix);
            for status in [200, 404, 599, 200] {
                let reason = encode::reason(status);
                let date = String::from_utf8(encode::date(unix).to_vec()).expect("ASCII");
                let expected =
                    format!("HTTP/1.1 {status} {reason}\r\nServer: test\r\nDate: {date}\r\n");
                assert_eq!(String::from_utf8_lossy(heads.head(status)), expected);
            }
        }
    }

    #[test]
    fn without_a_server_line() {
        let mut heads = Heads::new(None);
        assert!(
            heads
                .head(204)
                .starts_with(b"HTTP/1.1 204 No Content\r\nDate: ")
        );
    }
}
