//! Decoder of the chunked transfer coding (RFC 9112 section 7.1).

#[cfg(feature = "checks")]
#[doc(hidden)]
pub mod check;

use super::head;
use crate::error::ProtocolError;
use crate::http::field_block;
use crate::limits::Limits;
use crate::syntax;
use alloc::vec::Vec;

/// 16 hexadecimal digits are all that a `u64` holds.
const MAX_SIZE_DIGITS: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChunkState {
    Size,
    /// Bytes of the chunk that are missing.
    Data(u64),
    /// The CRLF after the chunk.
    DataEnd,
    Trailers,
    Complete,
}

/// Decodes in place: what is decoded moves to the front, over the framing that was there.
///
/// ```text
///   0         body        decoded          raw                 bytes.len()
///   | head    | decoded so far | (free)    | not looked at yet |
/// ```
///
/// Invariant: `decoded <= raw`; `scanned` is where the search for a line end goes on.
#[derive(Clone, Debug)]
pub struct ChunkedDecoder {
    state: ChunkState,
    /// The limit on the bytes of the body.
    most: u64,
    /// Bytes that were passed on and removed.
    released: u64,
    body: usize,
    decoded: usize,
    raw: usize,
    scanned: usize,
    extension_bytes: usize,
    trailer_bytes: usize,
    trailer_fields: usize,
    /// The trailer fields, as a block.
    trailers: Vec<u8>,
}

impl ChunkedDecoder {
    /// A decoder for a body of at most `most` bytes that begins at offset `body`.
    pub fn new(body: usize, most: u64) -> ChunkedDecoder {
        ChunkedDecoder {
            state: ChunkState::Size,
            most,
            released: 0,
            body,
            decoded: body,
            raw: body,
            scanned: body,
            extension_bytes: 0,
            trailer_bytes: 0,
            trailer_fields: 0,
            trailers: Vec::new(),
        }
    }

    /// The range of the decoded bytes. It is the whole body after [`ChunkedDecoder::decode`] has returned
    /// true.
    pub fn body(&self) -> core::ops::Range<usize> {
        self.body..self.decoded
    }

    /// Marks the decoded bytes as passed on. [`ChunkedDecoder::compact`] then removes them.
    pub fn release(&mut self) {
        self.released += self.body().len() as u64;
        self.decoded = self.body;
    }

    /// The trailer fields that have been decoded since the last call, as a [block](field_block).
    pub fn take_trailers(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.trailers)
    }

    /// Whether [`ChunkedDecoder::take_trailers`] has any.
    pub fn has_trailers(&self) -> bool {
        !self.trailers.is_empty()
    }

    /// Bytes of memory that it takes beside its own.
    pub fn held(&self) -> usize {
        self.trailers.capacity()
    }

    /// The number of bytes that have been decoded.
    pub fn consumed(&self) -> usize {
        self.raw
    }

    /// Decodes the bytes that have arrived. True when the last chunk and the trailers are complete.
    ///
    /// `bytes` is the buffer of the earlier calls, with more bytes at its end.
    pub fn decode(&mut self, bytes: &mut [u8], limits: &Limits) -> Result<bool, ProtocolError> {
        loop {
            match self.state {
                ChunkState::Complete => return Ok(true),
                ChunkState::Data(left) => {
                    let n = left.min((bytes.len() - self.raw) as u64) as usize;
                    bytes.copy_within(self.raw..self.raw + n, self.decoded);
                    self.decoded += n;
                    self.advance(n);
                    if (n as u64) < left {
                        self.state = ChunkState::Data(left - n as u64);
                        return Ok(false);
                    }
                    self.state = ChunkState::DataEnd;
                }
                ChunkState::DataEnd => match &bytes[self.raw..] {
                    [b'\r', b'\n', ..] => {
                        self.advance(2);
                        self.state = ChunkState::Size;
                    }
                    [] | [b'\r'] => return Ok(false),
                    _ => return Err(ProtocolError::ChunkEnd),
                },
                ChunkState::Size | ChunkState::Trailers => {
                    let end = memchr::memchr(b'\n', &bytes[self.scanned..]);
                    let Some(end) = end.map(|at| self.scanned + at) else {
                        self.scanned = bytes.len();
                        self.check_length(&bytes[self.raw..], limits)?;
                        return Ok(false);
                    };
                    let line = &bytes[self.raw..end];
                    self.check_length(line, limits)?;
                    // A bare LF is refused here too; see `head`.
                    let line = line.strip_suffix(b"\r").ok_or(ProtocolError::BareLf)?;
                    match self.state {
                        ChunkState::Size => self.size(line)?,
                        _ if line.is_empty() => self.state = ChunkState::Complete,
                        _ => self.trailer(&bytes[self.raw..=end])?,
                    }
                    self.advance(end + 1 - self.raw);
                }
            }
        }
    }

    /// Removes the gap between the decoded bytes and those that are not decoded yet. Returns the number of
    /// bytes that were removed.
    pub fn compact(&mut self, bytes: &mut [u8]) -> usize {
        let gap = self.raw - self.decoded;
        bytes.copy_within(self.raw.., self.decoded);
        self.raw -= gap;
        self.scanned -= gap;
        gap
    }

    fn advance(&mut self, n: usize) {
        self.raw += n;
        self.scanned = self.raw;
    }

    /// Checks the length of a line, complete or not, before anything else. So the outcome does not depend on
    /// the pieces in which it arrives.
    fn check_length(&self, line: &[u8], limits: &Limits) -> Result<(), ProtocolError> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match self.state {
            // The order is that in which a line that arrives byte by byte exceeds these limits.
            ChunkState::Trailers => match head::most(limits).checked_sub(self.trailer_bytes + 2) {
                Some(_) if self.trailer_fields >= limits.header_fields && !line.is_empty() => {
                    Err(ProtocolError::TooManyFields)
                }
                Some(room) if line.len() <= room => Ok(()),
                _ => Err(ProtocolError::HeadTooLarge),
            },
            ChunkState::Size => match line.iter().take_while(|b| b.is_ascii_hexdigit()).count() {
                digits if digits > MAX_SIZE_DIGITS => Err(ProtocolError::ChunkSize),
                digits
                    if self.extension_bytes + line.len() - digits
                        > limits.chunk_extension_bytes =>
                {
                    Err(ProtocolError::ChunkExtensionTooLong)
                }
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn size(&mut self, line: &[u8]) -> Result<(), ProtocolError> {
        let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
        let size = line[..digits].iter().fold(0u64, |size, &digit| {
            let value = char::from(digit).to_digit(16).expect("a hexadecimal digit");
            size << 4 | u64::from(value)
        });
        let extension = &line[digits..];
        self.extension_bytes += extension.len();
        if digits == 0 || !is_extension(extension) {
            return Err(match extension.first() {
                Some(b' ' | b'\t' | b';') => ProtocolError::ChunkExtension,
                _ => ProtocolError::ChunkSize,
            });
        }
        let room = self.most - self.released - self.body().len() as u64;
        self.state = match size {
            0 => ChunkState::Trailers,
            size if size <= room => ChunkState::Data(size),
            _ => return Err(ProtocolError::BodyTooLarge),
        };
        Ok(())
    }

    /// A trailer field with its CRLF. It never becomes a field of the head (RFC 9110 section 6.5.1).
    fn trailer(&mut self, line: &[u8]) -> Result<(), ProtocolError> {
        self.trailer_bytes += line.len();
        self.trailer_fields += 1;
        let (field, _) = head::split_field(line, 0)?;
        field_block::push(
            field.name.of(line),
            field.value.of(line),
            &mut self.trailers,
        );
        Ok(())
    }
}

/// `*( BWS ";" BWS name [ BWS "=" BWS value ] )`, RFC 9112 section 7.1.1.
fn is_extension(mut bytes: &[u8]) -> bool {
    fn skip_blank(bytes: &[u8]) -> &[u8] {
        let n = bytes
            .iter()
            .take_while(|b| matches!(b, b' ' | b'\t'))
            .count();
        &bytes[n..]
    }
    fn skip_token(bytes: &[u8]) -> Option<&[u8]> {
        let n = bytes
            .iter()
            .take_while(|&&b| syntax::TOKEN[usize::from(b)])
            .count();
        (n > 0).then(|| &bytes[n..])
    }
    fn skip_quoted(bytes: &[u8]) -> Option<&[u8]> {
        let mut bytes = bytes.strip_prefix(b"\"")?;
        loop {
            match bytes {
                [b'"', rest @ ..] => return Some(rest),
                [b'\\', b, rest @ ..] | [b, rest @ ..] if syntax::is_field_value(&[*b]) => {
                    bytes = rest;
                }
                _ => return None,
            }
        }
    }
    while !bytes.is_empty() {
        let Some(rest) = skip_blank(bytes).strip_prefix(b";") else {
            return false;
        };
        let Some(rest) = skip_token(skip_blank(rest)) else {
            return false;
        };
        bytes = match skip_blank(rest).strip_prefix(b"=") {
            None => rest,
            Some(value) => {
                let value = skip_blank(value);
                match skip_token(value).or_else(|| skip_quoted(value)) {
                    Some(rest) => rest,
                    None => return false,
                }
            }
        };
    }
    true
}
