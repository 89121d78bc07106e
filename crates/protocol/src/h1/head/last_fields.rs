//! The header fields of the last head. Most clients send the same fields with each request, so they are compared before
//! they are parsed: equal bytes have an equal table.

use super::{Field, Head, KNOWN, Stage};
use crate::Span;
use crate::h1::message_length::Framing;
use crate::http::{Method, Version};
use crate::limits::Limits;
use alloc::vec::Vec;

/// The maximum length of fields that are kept. A longer copy would cost more than it saves.
const MOST: usize = 1024;

/// Whether a field of this name identifies a user. Then it is not kept, because the next request with this table may be
/// one of another connection.
#[inline]
fn is_credential(name: &[u8]) -> bool {
    // By length first: the fields of most heads have none of these.
    let credential: &[u8] = match name.len() {
        6 => b"cookie",
        13 => b"authorization",
        19 => b"proxy-authorization",
        _ => return false,
    };
    name.eq_ignore_ascii_case(credential)
}

/// The bytes of the fields, up to the end of the empty line after them, and what they were parsed to. The table itself
/// is that of the head: it has them until another field is written to it.
pub(super) struct LastFields {
    /// Empty if the table has other fields.
    bytes: Vec<u8>,
    /// The length of the last fields, kept or not.
    seen: usize,
    /// Where they began in their head.
    start: usize,
    count: u16,
    known: [u16; KNOWN],
    repeated: u8,
    /// The framing of a request with them, if it depends on nothing else.
    framing: Option<Framing>,
}

/// A copy of a head keeps nothing.
impl Clone for LastFields {
    fn clone(&self) -> LastFields {
        LastFields::new()
    }
}

impl LastFields {
    pub(super) fn new() -> LastFields {
        LastFields {
            bytes: Vec::new(),
            seen: 0,
            start: 0,
            count: 0,
            known: [0; KNOWN],
            repeated: 0,
            framing: None,
        }
    }

    /// The table changes.
    #[inline]
    pub(super) fn forget(&mut self) {
        self.bytes.clear();
    }

    /// Keeps the bytes of the fields that begin at `start`.
    fn keep(&mut self, section: &[u8], start: usize) {
        self.bytes.clear();
        self.bytes.reserve_exact(MOST);
        self.bytes.extend_from_slice(section);
        self.start = start;
        self.framing = None;
    }

    /// Whether there are fields, so that a request with them may have the same framing.
    #[inline]
    fn is_kept(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// The length of the fields, if `bytes` begins with the same ones. `at` is where they begin in the head; `table` has
    /// their offsets.
    #[inline]
    fn repeat(&mut self, bytes: &[u8], at: usize, table: &mut [Field]) -> Option<usize> {
        if self.bytes.is_empty() || !bytes.starts_with(&self.bytes) {
            return None;
        }
        if at != self.start {
            self.shift(at, table);
        }
        Some(self.bytes.len())
    }

    /// The offsets count from the beginning of the head, and its request line has another length.
    #[inline(never)]
    fn shift(&mut self, at: usize, table: &mut [Field]) {
        let moved = |offset: u16| (usize::from(offset) - self.start + at) as u16;
        let span = |span: Span| Span {
            start: moved(span.start),
            end: moved(span.end),
        };
        for field in &mut table[..usize::from(self.count)] {
            *field = Field {
                name: span(field.name),
                value: span(field.value),
            };
        }
        self.start = at;
    }
}

impl Head {
    /// Completes the head at once if its fields are those of the last one. Returns their length, or 0.
    #[inline]
    pub(super) fn repeat_fields(&mut self, head: &[u8], at: usize, limits: &Limits) -> usize {
        let last = &mut self.last;
        match last.repeat(&head[at..], at, &mut self.fields) {
            Some(len) if usize::from(last.count) <= limits.header_fields => {
                self.count = last.count;
                (self.known, self.repeated) = (last.known, last.repeated);
                self.stage = Stage::Complete;
                len
            }
            _ => 0,
        }
    }

    /// The head is complete. Its fields are kept, to be compared with the next ones, if the head before had as many bytes
    /// of them. So fields that always differ are not copied.
    #[inline]
    pub(super) fn keep_fields(&mut self, head: &[u8]) {
        if self.count == 0 {
            return self.last.forget();
        }
        let start = usize::from(self.fields[0].name.start);
        let section = &head[start..];
        if core::mem::replace(&mut self.last.seen, section.len()) == section.len() {
            self.keep_section(head, section, start);
        }
    }

    #[inline(never)]
    fn keep_section(&mut self, head: &[u8], section: &[u8], start: usize) {
        let is_secret = |field: &Field| is_credential(field.name.of(head));
        if section.len() > MOST || self.fields().iter().any(is_secret) {
            return;
        }
        let (count, known, repeated) = (self.count, self.known, self.repeated);
        self.last.keep(section, start);
        (self.last.count, self.last.known, self.last.repeated) = (count, known, repeated);
    }

    /// The framing of the last request, if it depended on its fields alone, and this one has the same.
    #[inline]
    pub(crate) fn last_framing(&self) -> Option<Framing> {
        match self.last.is_kept() && self.is_usual() {
            true => self.last.framing,
            false => None,
        }
    }

    /// Keeps the framing for requests with the same fields, if it depends on nothing else.
    #[inline]
    pub(crate) fn keep_framing(&mut self, framing: Framing) {
        if self.is_usual() {
            self.last.framing = Some(framing);
        }
    }

    /// Whether the framing depends only on the fields.
    #[inline]
    fn is_usual(&self) -> bool {
        self.version == Version::Http11
            && self.kind != Method::Connect
            && self.target.authority.is_none()
    }
}
