//! The first lines of heads, as they are kept for all responses of a listener.

use crate::http::{encode, field_block};
use alloc::vec;
use alloc::vec::Vec;

/// Interim statuses (1xx) belong to the library.
pub(super) const STATUSES: core::ops::RangeInclusive<u16> = 200..=599;

/// The length of the end of every template: the date and CRLF.
const DATE_FROM_END: usize = encode::DATE_LEN + 2;

/// Fields that a listener adds to its responses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListenerFields {
    /// `Strict-Transport-Security` (RFC 6797), with this number of seconds.
    pub hsts: Option<u32>,
    /// `Alt-Svc` (RFC 7838): HTTP/3 on this UDP port of the same host.
    #[cfg(feature = "http3")]
    pub http3: Option<u16>,
}

impl ListenerFields {
    /// Appends them.
    pub(super) fn push(&self, out: &mut Vec<u8>) {
        if let Some(max_age) = self.hsts {
            let value = alloc::format!("max-age={max_age}");
            field_block::push(b"Strict-Transport-Security", value.as_bytes(), out);
        }
        #[cfg(feature = "http3")]
        if let Some(port) = self.http3 {
            // A day, which is the default, too (RFC 7838 section 3.1).
            let value = alloc::format!("h3=\":{port}\"; ma=86400");
            field_block::push(b"Alt-Svc", value.as_bytes(), out);
        }
    }
}

/// The templates for one listener.
#[derive(Default)]
pub(super) struct Templates {
    pub(super) fields: ListenerFields,
    /// The time in them.
    unix: u64,
    /// All templates, one after the other.
    pub(super) bytes: Vec<u8>,
    /// For each status, the end of its template and its length. Zero if it is not made yet. Empty if none is made.
    pub(super) at: Vec<(u32, u16)>,
}

impl Templates {
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.at.fill((0, 0));
    }

    pub(super) fn make_room(&mut self) {
        if self.at.is_empty() {
            self.at = vec![(0, 0); STATUSES.len()];
        }
    }

    pub(super) fn set_date(&mut self, unix: u64, date: &[u8; encode::DATE_LEN]) {
        if unix == self.unix {
            return;
        }
        self.unix = unix;
        for &(end, len) in &self.at {
            if len > 0 {
                let from = end as usize - DATE_FROM_END;
                self.bytes[from..from + encode::DATE_LEN].copy_from_slice(date);
            }
        }
    }
}
