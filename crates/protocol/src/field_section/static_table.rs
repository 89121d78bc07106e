//! What static tables are made of (RFC 7541 appendix A, RFC 9204 appendix A).

use super::name::Kind;

/// An entry of a static table.
pub(crate) struct Row {
    /// The name, and the value behind it.
    pub(crate) text: &'static str,
    /// The length of the name.
    pub(crate) len: usize,
}

impl Row {
    #[inline(always)]
    pub(crate) fn name(&self) -> &'static [u8] {
        &self.text.as_bytes()[..self.len]
    }

    /// Name and value.
    #[inline(always)]
    pub(crate) fn bytes(&self) -> &'static [u8] {
        self.text.as_bytes()
    }
}

/// An entry of a static table.
macro_rules! row {
    ($name:literal, $value:literal) => {
        $crate::field_section::static_table::Row {
            text: concat!($name, $value),
            len: $name.len(),
        }
    };
}
pub(crate) use row;

/// The longest name of both tables.
const LONGEST: usize = 32;

/// What is found out about a static table once.
pub(crate) struct Index<const ROWS: usize> {
    /// By row.
    pub(crate) kinds: [Kind; ROWS],
    /// The first row of each name, by length of the name.
    by_len: [u8; ROWS],
    /// Where the names of each length begin in `by_len`.
    from: [u8; LONGEST + 2],
}

/// Whether two rows have the same name.
const fn is_same_name(one: &Row, other: &Row) -> bool {
    if one.len != other.len {
        return false;
    }
    let mut i = 0;
    while i < one.len {
        if one.text.as_bytes()[i] != other.text.as_bytes()[i] {
            return false;
        }
        i += 1;
    }
    true
}

/// No row in front of this one has its name.
const fn is_first(rows: &[Row], row: usize) -> bool {
    let mut before = 0;
    while before < row {
        if is_same_name(&rows[before], &rows[row]) {
            return false;
        }
        before += 1;
    }
    true
}

impl<const ROWS: usize> Index<ROWS> {
    /// Of these rows.
    pub(crate) const fn of(rows: &[Row; ROWS]) -> Index<ROWS> {
        let mut index = Index {
            kinds: [Kind::Other; ROWS],
            by_len: [0; ROWS],
            from: [0; LONGEST + 2],
        };
        let (mut len, mut count) = (0, 0);
        while len <= LONGEST {
            index.from[len] = count;
            let mut i = 0;
            while i < ROWS {
                if rows[i].len == len && is_first(rows, i) {
                    index.kinds[i] = Kind::of(rows[i].text.as_bytes().split_at(len).0);
                    index.by_len[count as usize] = i as u8;
                    count += 1;
                }
                i += 1;
            }
            len += 1;
        }
        index.from[LONGEST + 1] = count;
        let mut i = 0;
        while i < ROWS {
            let mut first = 0;
            while !is_same_name(&rows[first], &rows[i]) {
                first += 1;
            }
            index.kinds[i] = index.kinds[first];
            i += 1;
        }
        index
    }

    /// By row: the next one of the same name, or 0.
    #[cfg(feature = "http3")]
    pub(crate) const fn followers(&self, rows: &[Row; ROWS]) -> [u8; ROWS] {
        let (mut next, mut row) = ([0; ROWS], 0);
        while row < ROWS {
            let mut other = row + 1;
            while other < ROWS && next[row] == 0 {
                if is_same_name(&rows[row], &rows[other]) {
                    next[row] = other as u8;
                }
                other += 1;
            }
            row += 1;
        }
        next
    }

    /// The first row of this name, in lower case.
    #[inline(always)]
    pub(crate) fn row_of(&self, rows: &[Row; ROWS], name: &[u8]) -> Option<usize> {
        let len = name.len().min(LONGEST + 1);
        let from = usize::from(self.from[len.min(LONGEST)]);
        let end = usize::from(self.from[len.min(LONGEST) + 1]);
        let found = self.by_len[from..end].iter();
        let mut found = found.filter(|row| rows[usize::from(**row)].name() == name);
        found.next().map(|row| usize::from(*row))
    }
}
