//! The static table and the dynamic tables (RFC 7541 sections 2.3 and 4, and appendix A).

use super::{Kind, MAX_TABLE, OVERHEAD};
use crate::field_section::static_table::{Index, Row, row};
use crate::syntax::{IN_NAME, IN_VALUE};
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// Entries of the static table; the first one has the index 1.
pub(super) const STATIC: usize = 61;

/// RFC 7541 appendix A.
pub(super) static ROWS: [Row; STATIC] = [
    row!(":authority", ""),
    row!(":method", "GET"),
    row!(":method", "POST"),
    row!(":path", "/"),
    row!(":path", "/index.html"),
    row!(":scheme", "http"),
    row!(":scheme", "https"),
    row!(":status", "200"),
    row!(":status", "204"),
    row!(":status", "206"),
    row!(":status", "304"),
    row!(":status", "400"),
    row!(":status", "404"),
    row!(":status", "500"),
    row!("accept-charset", ""),
    row!("accept-encoding", "gzip, deflate"),
    row!("accept-language", ""),
    row!("accept-ranges", ""),
    row!("accept", ""),
    row!("access-control-allow-origin", ""),
    row!("age", ""),
    row!("allow", ""),
    row!("authorization", ""),
    row!("cache-control", ""),
    row!("content-disposition", ""),
    row!("content-encoding", ""),
    row!("content-language", ""),
    row!("content-length", ""),
    row!("content-location", ""),
    row!("content-range", ""),
    row!("content-type", ""),
    row!("cookie", ""),
    row!("date", ""),
    row!("etag", ""),
    row!("expect", ""),
    row!("expires", ""),
    row!("from", ""),
    row!("host", ""),
    row!("if-match", ""),
    row!("if-modified-since", ""),
    row!("if-none-match", ""),
    row!("if-range", ""),
    row!("if-unmodified-since", ""),
    row!("last-modified", ""),
    row!("link", ""),
    row!("location", ""),
    row!("max-forwards", ""),
    row!("proxy-authenticate", ""),
    row!("proxy-authorization", ""),
    row!("range", ""),
    row!("referer", ""),
    row!("refresh", ""),
    row!("retry-after", ""),
    row!("server", ""),
    row!("set-cookie", ""),
    row!("strict-transport-security", ""),
    row!("transfer-encoding", ""),
    row!("user-agent", ""),
    row!("vary", ""),
    row!("via", ""),
    row!("www-authenticate", ""),
];

pub(super) static INDEX: Index<STATIC> = Index::of(&ROWS);

/// The index of the first entry of this name, in lower case.
#[inline]
pub(super) fn static_name(name: &[u8]) -> Option<usize> {
    INDEX.row_of(&ROWS, name).map(|row| row + 1)
}

/// An entry of a dynamic table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// Where its name begins; its value is behind that.
    at: u16,
    pub(super) name: u16,
    pub(super) value: u16,
    pub(super) kind: Kind,
    /// Of name and value, from [`IN_NAME`] and [`IN_VALUE`].
    pub(super) classes: u8,
}

impl Entry {
    /// Name and value may be those of a field.
    #[inline(always)]
    pub(super) fn is_valid(&self) -> bool {
        self.classes == IN_NAME | IN_VALUE
    }

    /// RFC 7541 section 4.1.
    fn size(&self) -> usize {
        usize::from(self.name) + usize::from(self.value) + OVERHEAD
    }
}

/// The newest entries, one behind the other in a row of bytes.
///
/// Invariants: `size <= max`, and `size` is the sum of the sizes of `entries`; the bytes of an entry follow
/// those of the one before it; `bytes.len() <= MAX_TABLE`.
#[derive(Debug)]
pub(super) struct Dynamic {
    bytes: Vec<u8>,
    /// The oldest one is the first.
    entries: VecDeque<Entry>,
    size: usize,
    max: usize,
    /// Entries that were ever inserted.
    inserted: u32,
}

impl Dynamic {
    pub(super) fn new() -> Dynamic {
        Dynamic {
            bytes: Vec::new(),
            entries: VecDeque::new(),
            size: 0,
            max: MAX_TABLE,
            inserted: 0,
        }
    }

    #[inline]
    pub(super) fn max(&self) -> usize {
        self.max
    }

    /// Bytes of memory that it takes.
    pub(super) fn held(&self) -> usize {
        self.bytes.capacity() + self.entries.capacity() * size_of::<Entry>()
    }

    /// RFC 7541 section 4.3. `max` is at most [`MAX_TABLE`].
    pub(super) fn set_max(&mut self, max: usize) {
        debug_assert!(max <= MAX_TABLE);
        self.max = max;
        self.evict(max);
        if max == 0 {
            (self.bytes, self.entries) = (Vec::new(), VecDeque::new());
        }
    }

    fn evict(&mut self, most: usize) {
        while self.size > most {
            let oldest = self.entries.pop_front();
            self.size -= oldest.map_or(self.size, |entry| entry.size());
        }
        if self.entries.is_empty() {
            self.bytes.clear();
        }
    }

    /// Adds the newest entry (RFC 7541 section 4.4). One that is larger than the table empties it.
    pub(super) fn insert(&mut self, name: &[u8], value: &[u8], kind: Kind, classes: u8) {
        let len = name.len() + value.len();
        if len + OVERHEAD > self.max {
            return self.evict(0);
        }
        self.evict(self.max - len - OVERHEAD);
        if self.bytes.len() + len > MAX_TABLE {
            self.compact();
        }
        self.entries.push_back(Entry {
            at: self.bytes.len() as u16,
            name: name.len() as u16,
            value: value.len() as u16,
            kind,
            classes,
        });
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(value);
        self.size += len + OVERHEAD;
        self.inserted = self.inserted.wrapping_add(1);
    }

    /// A number of an entry that does not change while others are inserted.
    #[inline]
    pub(super) fn number_of(&self, index: usize) -> u32 {
        self.inserted.wrapping_sub(index as u32)
    }

    /// The index of the entry of this number, if it is still there.
    #[inline]
    pub(super) fn index_of(&self, number: u32) -> Option<usize> {
        let index = self.inserted.wrapping_sub(number) as usize;
        (index < self.entries.len()).then_some(index)
    }

    /// Moves the entries to the front.
    fn compact(&mut self) {
        let dead = self.entries.front().map_or(0, |oldest| oldest.at);
        self.bytes.drain(..usize::from(dead));
        self.entries.iter_mut().for_each(|entry| entry.at -= dead);
    }

    /// The entry of this index, from 0 on for the newest.
    #[inline]
    pub(super) fn get(&self, index: usize) -> Option<&Entry> {
        let at = self.entries.len().checked_sub(index + 1)?;
        self.entries.get(at)
    }

    /// Name and value.
    #[inline]
    pub(super) fn bytes_of(&self, entry: &Entry) -> &[u8] {
        let at = usize::from(entry.at);
        &self.bytes[at..at + usize::from(entry.name) + usize::from(entry.value)]
    }

    /// From the newest entry to the oldest.
    #[inline]
    pub(super) fn newest(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().rev()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_static_table() {
        for (i, row) in ROWS.iter().enumerate() {
            let first = ROWS.iter().position(|other| other.name() == row.name());
            assert_eq!(static_name(row.name()), first.map(|at| at + 1));
            assert_eq!(INDEX.kinds[i], Kind::of(row.name()), "{}", row.text);
        }
        for name in [
            "",
            "x",
            "agf",
            "access-control-allow-origim",
            &"a".repeat(28),
            ":x",
            ":statu",
        ] {
            assert_eq!(static_name(name.as_bytes()), None, "{name}");
        }
    }

    /// Against a list of pairs that is as simple as can be.
    #[test]
    fn entries_come_and_go() {
        let (mut table, mut model) = (Dynamic::new(), Vec::<(Vec<u8>, Vec<u8>)>::new());
        assert_eq!(table.held(), 0);
        let size = |model: &[(Vec<u8>, Vec<u8>)]| -> usize {
            model
                .iter()
                .map(|(n, v)| n.len() + v.len() + OVERHEAD)
                .sum()
        };
        let mut max = MAX_TABLE;
        for i in 0..3000usize {
            let (name, value) = (vec![b'n'; i % 7], vec![i as u8; i * i % 611]);
            if i % 101 == 100 {
                max = [0, 100, 1000, MAX_TABLE][i % 4];
                table.set_max(max);
            }
            table.insert(&name, &value, Kind::Other, IN_NAME);
            model.insert(0, (name, value));
            while size(&model) > max {
                model.pop();
            }
            assert_eq!(table.size, size(&model));
            assert!(table.bytes.capacity() <= 2 * MAX_TABLE && table.bytes.len() <= MAX_TABLE);
            for (at, (name, value)) in model.iter().enumerate() {
                let entry = table.get(at).expect("an entry");
                assert_eq!(table.bytes_of(entry), [&name[..], value].concat());
            }
            assert!(table.get(model.len()).is_none());
        }
    }
}
