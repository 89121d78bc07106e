//! Decoder of field sections (RFC 9204 section 4.5).

use super::table::{INDEX, ROWS, STATIC};
use super::{DecodedField, Kind, OVERHEAD, QpackError};
use crate::field_section::Decode;
use crate::field_section::literal::{self, Rest};
use crate::http::Version;
use crate::syntax::{IN_NAME, IN_VALUE};
use alloc::vec::Vec;

/// Decodes field sections that need no dynamic table. It keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Decoder;

impl Decoder {
    /// Decodes a complete field section. Each field is appended to `out`, name and value, and `take` is told of it. Returns
    /// the size of the list as RFC 9114 section 4.2.2 counts it. If that is more than `limit`, decoding has ended at the
    /// first field above it, of which `take` is not told: there is no table that the rest could change.
    ///
    /// `take` may shorten `out` to the place where the field begins; it changes nothing before.
    ///
    /// ```
    /// # use peregrine_protocol::qpack::Decoder;
    /// let (mut bytes, mut paths) = (Vec::new(), Vec::new());
    /// // :path, with the value `/a` in place of that of the static table
    /// let section = b"\0\0\x51\x02/a";
    /// let size = Decoder.decode(section, 100, &mut bytes, |bytes, field| {
    ///     assert!(field.is_valid);
    ///     paths.extend_from_slice(&bytes[field.value..field.end]);
    /// });
    /// assert_eq!((size, &*paths), (Ok(5 + 2 + 32), &b"/a"[..]));
    /// ```
    ///
    /// # Errors
    ///
    /// After all of them but [`QpackError::Integer`] the connection has to be closed.
    pub fn decode(
        self,
        section: &[u8],
        limit: usize,
        out: &mut Vec<u8>,
        mut take: impl FnMut(&mut Vec<u8>, DecodedField),
    ) -> Result<usize, QpackError> {
        let mut section = prefix(section)?;
        let mut size = 0usize;
        while let [first, ..] = *section.0 {
            let start = out.len();
            let field = match first {
                0xc0.. => indexed(&mut section, out)?,
                0x40..=0x7f if first & 0x10 != 0 => named(&mut section, out)?,
                0x20..=0x3f => literal(&mut section, out)?,
                // A relative or post-base index, alone or for a name.
                _ => return Err(QpackError::Dynamic),
            };
            size = size.saturating_add(field.end - start + OVERHEAD);
            if size > limit {
                out.truncate(start);
                break;
            }
            take(out, field);
        }
        Ok(size)
    }
}

impl Decode for Decoder {
    type Error = QpackError;
    const VERSION: Version = Version::Http3;
    // RFC 9114 section 4.3.1.
    const IS_HOST_EXACT: bool = true;

    #[inline(always)]
    fn decode(
        &mut self,
        section: &[u8],
        limit: usize,
        out: &mut Vec<u8>,
        take: impl FnMut(&mut Vec<u8>, DecodedField),
    ) -> Result<usize, QpackError> {
        Decoder::decode(*self, section, limit, out, take)
    }
}

/// RFC 9204 section 4.5.1: without dynamic table the required insert count is 0, and so the sign of the base is not set. Its
/// delta says nothing then.
#[inline(always)]
fn prefix(section: &[u8]) -> Result<Rest<'_>, QpackError> {
    match section {
        [0, 0, rest @ ..] => Ok(Rest(rest)),
        _ => long_prefix(section),
    }
}

#[cold]
fn long_prefix(section: &[u8]) -> Result<Rest<'_>, QpackError> {
    let mut rest = Rest(section);
    if rest.integer(8)? != 0 {
        return Err(QpackError::Dynamic);
    }
    let is_negative = rest.0.first().is_some_and(|first| first & 0x80 != 0);
    rest.integer(7)?;
    match is_negative {
        true => Err(QpackError::Dynamic),
        false => Ok(rest),
    }
}

/// RFC 9204 section 4.5.2.
#[inline(always)]
fn indexed(section: &mut Rest<'_>, out: &mut Vec<u8>) -> Result<DecodedField, QpackError> {
    let at = section.integer(6)?;
    if at >= STATIC {
        return Err(QpackError::Index);
    }
    let (row, start) = (&ROWS[at], out.len());
    out.extend_from_slice(row.bytes());
    Ok(DecodedField {
        start,
        value: start + row.name().len(),
        end: out.len(),
        kind: INDEX.kinds[at],
        is_valid: true,
    })
}

/// RFC 9204 section 4.5.4.
fn named(section: &mut Rest<'_>, out: &mut Vec<u8>) -> Result<DecodedField, QpackError> {
    let at = section.integer(4)?;
    if at >= STATIC {
        return Err(QpackError::Index);
    }
    let start = out.len();
    out.extend_from_slice(ROWS[at].name());
    value(section, start, INDEX.kinds[at], IN_NAME, out)
}

/// RFC 9204 section 4.5.6.
fn literal(section: &mut Rest<'_>, out: &mut Vec<u8>) -> Result<DecodedField, QpackError> {
    let start = out.len();
    let classes = section.string(3)?.decode(out)?;
    let name = &out[start..];
    let kind = Kind::of(name);
    let classes = literal::of_name(name, kind.is_pseudo(), classes);
    value(section, start, kind, classes, out)
}

/// The value, behind a name that has been decoded.
#[inline]
fn value(
    section: &mut Rest<'_>,
    start: usize,
    kind: Kind,
    of_name: u8,
    out: &mut Vec<u8>,
) -> Result<DecodedField, QpackError> {
    let value = out.len();
    let classes = section.string(7)?.decode(out)? & IN_VALUE;
    let classes = literal::without_blanks(&out[value..], classes) | of_name;
    Ok(DecodedField {
        start,
        value,
        end: out.len(),
        kind,
        is_valid: classes == IN_NAME | IN_VALUE,
    })
}
