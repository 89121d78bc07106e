//! Encoder of field blocks (RFC 7541 section 6).

use super::table::{Dynamic, Entry, STATIC, static_name};
use super::{Kind, MAX_TABLE};
use crate::field_section::name::{LONG_NAME, lower_case, never_indexed};
use crate::field_section::{integer, literal};
use crate::http::field_block;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// Entries that are searched, from the newest on.
const SEARCHED: usize = 32;

/// How a field is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Indexing {
    /// It goes into the table: it is likely to be in the next responses, too.
    Incremental,
    /// It is sent as it is.
    Without,
    /// The same, and no hop may put it into a table (RFC 7541 section 7.1.3).
    Never,
}

impl Indexing {
    /// Of a name in lower case.
    fn of(name: &[u8]) -> Indexing {
        match name {
            never_indexed!() => Indexing::Never,
            b"date"
            | b"vary"
            | b"allow"
            | b"server"
            | b"alt-svc"
            | b"content-type"
            | b"accept-ranges"
            | b"cache-control"
            | b"referrer-policy"
            | b"x-frame-options"
            | b"content-encoding"
            | b"content-language"
            | b"permissions-policy"
            | b"x-content-type-options"
            | b"content-security-policy"
            | b"strict-transport-security" => Indexing::Incremental,
            _ if name.starts_with(b"access-control-") || name.starts_with(b"cross-origin-") => {
                Indexing::Incremental
            }
            _ => Indexing::Without,
        }
    }
}

/// Fields of a block that is remembered, and its bytes.
const REMEMBERED: (usize, usize) = (8, 1024);

/// A block of fields that may come again. When it has come twice, it is known how it goes out, and it need not be read
/// again while its entries are in the table.
#[derive(Debug, Default)]
struct Remembered {
    block: Vec<u8>,
    form: Form,
    fields: [Sent; REMEMBERED.0],
    literals: Vec<u8>,
}

impl Remembered {
    /// Appends the block, if all of its `count` entries are in the table.
    #[inline]
    fn repeat(&self, count: u8, table: &Dynamic, out: &mut Vec<u8>) -> bool {
        let (start, mut from) = (out.len(), 0);
        for sent in &self.fields[..usize::from(count)] {
            match *sent {
                Sent::Entry(number) => {
                    let Some(at) = table.index_of(number) else {
                        out.truncate(start);
                        return false;
                    };
                    integer::encode((STATIC + 1 + at) as u64, 7, 0x80, out);
                }
                Sent::Literal(end) => {
                    let end = usize::from(end);
                    out.extend_from_slice(&self.literals[from..end]);
                    from = end;
                }
            }
        }
        true
    }
}

/// What is known of a block.
#[derive(Clone, Copy, Debug, Default)]
enum Form {
    /// It has come once.
    #[default]
    Unknown,
    /// So many fields are sent.
    Fields(u8),
    /// It has too many fields, or those that no hop may keep: it is read each time, as its bytes are kept in no table.
    Unfit,
}

/// How a field goes out.
#[derive(Clone, Copy, Debug)]
enum Sent {
    /// By the number of its entry.
    Entry(u32),
    /// As a literal that changes no table: where its bytes end.
    Literal(u16),
}

impl Default for Sent {
    fn default() -> Sent {
        Sent::Literal(0)
    }
}

/// The encoder of one connection.
#[derive(Debug)]
pub struct Encoder {
    table: Dynamic,
    /// The last two: what all responses have, and what this one has.
    remembered: [Option<Box<Remembered>>; 2],
    /// Which of them was the last.
    last: u8,
    /// What the other side allows, and the least of what it has allowed since the last block, if that has
    /// changed: the next block begins with both.
    update: Option<(usize, usize)>,
}

impl Default for Encoder {
    fn default() -> Encoder {
        Encoder::new()
    }
}

impl Encoder {
    /// With the table size that both sides begin with.
    pub fn new() -> Encoder {
        Encoder {
            table: Dynamic::new(),
            remembered: [None, None],
            last: 0,
            update: None,
        }
    }

    /// The other side has sent a SETTINGS_HEADER_TABLE_SIZE; of more than [`MAX_TABLE`] bytes no use is made.
    pub fn set_max(&mut self, max: usize) {
        let max = max.min(MAX_TABLE);
        if self.update.is_some() || max != self.table.max() {
            let least = self.update.map_or(max, |(_, least)| least.min(max));
            self.update = Some((max, least));
        }
    }

    /// Bytes of memory that it takes beside its own.
    pub fn held(&self) -> usize {
        let remembered = self.remembered.iter().flatten().map(|remembered| {
            size_of::<Remembered>() + remembered.block.capacity() + remembered.literals.capacity()
        });
        self.table.held() + remembered.sum::<usize>()
    }

    /// Begins a block.
    #[inline]
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        if self.update.is_some() {
            self.size_updates(out);
        }
    }

    /// RFC 7541 section 4.2.
    #[cold]
    fn size_updates(&mut self, out: &mut Vec<u8>) {
        let Some((max, least)) = self.update.take() else {
            return;
        };
        if least == 0 {
            // Without a table no memory is kept.
            self.remembered = [None, None];
        }
        for size in [least, max] {
            if size != self.table.max() {
                self.table.set_max(size);
                integer::encode(size as u64, 5, 0x20, out);
            }
        }
    }

    /// Appends `:status`, of three digits.
    #[inline]
    pub fn status(&mut self, status: u16, out: &mut Vec<u8>) {
        let index = match status {
            200 => 8,
            204 => 9,
            206 => 10,
            304 => 11,
            400 => 12,
            404 => 13,
            500 => 14,
            _ => {
                let digit = |n: u16| b'0' + (n % 10) as u8;
                let digits = [digit(status / 100), digit(status / 10), digit(status)];
                return match self.position(b":status", &digits) {
                    Some(at) => integer::encode((STATIC + 1 + at) as u64, 7, 0x80, out),
                    None => {
                        self.literal(b":status", Some(8), &digits, Indexing::Incremental, out);
                    }
                };
            }
        };
        out.push(0x80 | index);
    }

    /// Appends `content-length`, which no table gets.
    #[inline]
    pub fn content_length(&mut self, digits: &[u8], out: &mut Vec<u8>) {
        // Literal without indexing, with the name of index 28.
        out.extend_from_slice(&[0x0f, 28 - 15]);
        string(digits, out);
    }

    /// Appends the fields of a block. It costs little if it is one of the last two, as the fields that all responses
    /// have and those of the same file are. Those that `is_left_out` says so of are not sent.
    #[inline]
    pub fn block(&mut self, block: &[u8], is_left_out: fn(&[u8]) -> bool, out: &mut Vec<u8>) {
        if block.is_empty() {
            return;
        }
        let other = 1 - self.last;
        for at in [other, self.last] {
            let remembered = self.remembered[usize::from(at)].as_deref();
            if let Some(remembered) = remembered.filter(|remembered| remembered.block == block) {
                let form = remembered.form;
                self.last = at;
                let is_sent = match form {
                    Form::Fields(count) => remembered.repeat(count, &self.table, out),
                    Form::Unknown | Form::Unfit => false,
                };
                if !is_sent {
                    self.read_again(at, form, block, is_left_out, out);
                }
                return;
            }
        }
        self.read_new(other, block, is_left_out, out);
    }

    /// A block that has not come lately.
    #[inline(never)]
    fn read_new(
        &mut self,
        at: u8,
        block: &[u8],
        is_left_out: fn(&[u8]) -> bool,
        out: &mut Vec<u8>,
    ) {
        for (name, value) in field_block::fields(block) {
            if !is_left_out(name) {
                self.field(name, value, out);
            }
        }
        // Without a table no memory is kept.
        if self.table.max() == 0 || block.len() > REMEMBERED.1 {
            return;
        }
        let remembered = self.remembered[usize::from(at)].get_or_insert_default();
        remembered.form = Form::Unknown;
        remembered.block.clear();
        remembered.block.extend_from_slice(block);
        self.last = at;
    }

    /// A block that has come before, of which it is not known how it goes out, or not any more.
    #[cold]
    #[inline(never)]
    fn read_again(
        &mut self,
        at: u8,
        form: Form,
        block: &[u8],
        is_left_out: fn(&[u8]) -> bool,
        out: &mut Vec<u8>,
    ) {
        let mut remembered = self.remembered[usize::from(at)].take().unwrap_or_default();
        remembered.literals.clear();
        let mut count = match form {
            Form::Unknown | Form::Fields(_) => Some(0),
            Form::Unfit => None,
        };
        for (name, value) in field_block::fields(block) {
            if is_left_out(name) {
                continue;
            }
            let start = out.len();
            self.field(name, value, out);
            count = count.and_then(|count| {
                let sent = self.sent(name, value, &out[start..], &mut remembered.literals)?;
                *remembered.fields.get_mut(usize::from(count))? = sent;
                Some(count + 1)
            });
        }
        remembered.form = count.map_or(Form::Unfit, Form::Fields);
        self.remembered[usize::from(at)] = Some(remembered);
    }

    /// How a field has gone out, as these bytes. `None`: it has changed the table, or no hop may keep it.
    fn sent(
        &self,
        name: &[u8],
        value: &[u8],
        bytes: &[u8],
        literals: &mut Vec<u8>,
    ) -> Option<Sent> {
        let mut room = [0; LONG_NAME];
        let lower = lower_case(name, &mut room);
        if let Some(at) = lower.and_then(|lower| self.position(lower, value)) {
            return Some(Sent::Entry(self.table.number_of(at)));
        }
        let is_plain = bytes.first().is_some_and(|first| first & 0xf0 == 0);
        literals.extend_from_slice(bytes);
        let end = u16::try_from(literals.len()).ok()?;
        is_plain.then_some(Sent::Literal(end))
    }

    /// Appends a field. Case of the name does not matter: it is sent in lower case.
    #[inline]
    pub fn field(&mut self, name: &[u8], value: &[u8], out: &mut Vec<u8>) {
        let mut room = [0; LONG_NAME];
        let Some(lower) = lower_case(name, &mut room) else {
            return long_name(name, value, out);
        };
        match self.position(lower, value) {
            Some(at) => integer::encode((STATIC + 1 + at) as u64, 7, 0x80, out),
            None => self.literal(lower, static_name(lower), value, Indexing::of(lower), out),
        }
    }

    fn literal(
        &mut self,
        name: &[u8],
        index: Option<usize>,
        value: &[u8],
        indexing: Indexing,
        out: &mut Vec<u8>,
    ) {
        // One large value shall not drive out all that is of use.
        let fits = (name.len() + value.len()) * 4 <= self.table.max();
        let (prefix, first) = match indexing {
            Indexing::Incremental if fits => (6, 0x40),
            Indexing::Incremental | Indexing::Without => (4, 0),
            Indexing::Never => (4, 0x10),
        };
        integer::encode(index.unwrap_or(0) as u64, prefix, first, out);
        if index.is_none() {
            string(name, out);
        }
        string(value, out);
        if prefix == 6 {
            self.table.insert(name, value, Kind::Other, 0);
        }
    }

    /// Where the entry is, counted from the newest. Only what is indexed is in the table.
    #[inline]
    fn position(&self, name: &[u8], value: &[u8]) -> Option<usize> {
        let is = |entry: &Entry| {
            usize::from(entry.value) == value.len() && usize::from(entry.name) == name.len() && {
                let (known, of) = self.table.bytes_of(entry).split_at(name.len());
                known == name && of == value
            }
        };
        self.table.newest().take(SEARCHED).position(is)
    }
}

/// A field whose name is longer than any that is known.
#[cold]
fn long_name(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.push(0);
    integer::encode(name.len() as u64, 7, 0, out);
    out.extend(name.iter().map(u8::to_ascii_lowercase));
    string(value, out);
}

/// RFC 7541 section 5.2.
#[inline]
fn string(bytes: &[u8], out: &mut Vec<u8>) {
    literal::encode(bytes, 7, 0, out);
}
