//! Properties of the chunked decoder for tests and fuzzing.

use super::ChunkedDecoder;
use crate::checks::{Choices, limits, split_of};
use crate::error::ProtocolError;
use crate::limits::Limits;

#[derive(Debug, PartialEq)]
enum Outcome<E> {
    /// What was decoded, of how many bytes, and the trailers.
    Complete(Vec<u8>, usize, Vec<u8>),
    Incomplete(Vec<u8>),
    Refused(E),
}

impl<E> Outcome<E> {
    fn without_reason(self) -> Outcome<()> {
        match self {
            Outcome::Complete(body, raw, trailers) => Outcome::Complete(body, raw, trailers),
            Outcome::Incomplete(body) => Outcome::Incomplete(body),
            Outcome::Refused(_) => REFUSED,
        }
    }
}

const REFUSED: Outcome<()> = Outcome::Refused(());

/// What stands before the body, for the decoder to leave alone.
const HEAD: &[u8] = b"head";

/// A body is understood alike as a whole, byte by byte, and in two pieces; the naive decoder below
/// agrees; and what was encoded from these bytes comes out as it was.
pub fn check(bytes: &[u8]) {
    for limits in limits() {
        let (split, len) = (split_of(bytes), bytes.len());
        let whole = outcome(bytes, [len], &limits);
        let in_two = outcome(bytes, [split, len], &limits);
        assert_eq!(in_two, whole, "split at {split}");
        assert_eq!(outcome(bytes, 1..=len, &limits), whole, "byte by byte");
        assert_eq!(whole.without_reason(), model(bytes, &limits), "model");
    }
    round_trip(bytes);
}

/// Decodes the first bytes up to each of `ends`, as they would arrive.
fn outcome(
    bytes: &[u8],
    ends: impl IntoIterator<Item = usize>,
    limits: &Limits,
) -> Outcome<ProtocolError> {
    let mut decoder = ChunkedDecoder::new(HEAD.len(), limits.body_bytes as u64);
    let mut buffer = HEAD.to_vec();
    let (mut from, mut removed) = (0, 0);
    for end in ends {
        buffer.extend_from_slice(&bytes[from..end]);
        from = end;
        match decoder.decode(&mut buffer, limits) {
            Ok(false) => {
                let gap = decoder.compact(&mut buffer);
                buffer.truncate(buffer.len() - gap);
                removed += gap;
            }
            Ok(true) => {
                let raw = decoder.consumed() + removed - HEAD.len();
                let trailers = decoder.take_trailers();
                return Outcome::Complete(buffer[decoder.body()].to_vec(), raw, trailers);
            }
            Err(error) => return Outcome::Refused(error),
        }
        assert!(buffer.starts_with(HEAD), "the head was written over");
    }
    Outcome::Incomplete(buffer[decoder.body()].to_vec())
}

/// RFC 9112 section 7.1, on the whole input, with vectors.
fn model(bytes: &[u8], limits: &Limits) -> Outcome<()> {
    let (mut at, mut extensions, mut body) = (0, 0, Vec::new());
    loop {
        let (line, next) = line(bytes, at);
        let text = line.strip_suffix(b"\r").unwrap_or(line);
        let digits = text.iter().take_while(|b| b.is_ascii_hexdigit()).count();
        extensions += text.len() - digits;
        if digits > 16 || extensions > limits.chunk_extension_bytes {
            return REFUSED;
        }
        let Some(next) = next else {
            return Outcome::Incomplete(body);
        };
        if text.len() == line.len() || digits == 0 || !is_extension(&text[digits..]) {
            return REFUSED;
        }
        let size = std::str::from_utf8(&text[..digits]).expect("digits");
        let size = u64::from_str_radix(size, 16).expect("at most 16 digits");
        at = next;
        if size == 0 {
            return model_trailers(bytes, at, body, limits);
        }
        if size > (limits.body_bytes - body.len()) as u64 {
            return REFUSED;
        }
        let data = &bytes[at..];
        let data = &data[..data.len().min(size as usize)];
        body.extend_from_slice(data);
        at += data.len();
        match &bytes[at..] {
            [] => return Outcome::Incomplete(body),
            [b'\r'] => return Outcome::Incomplete(body),
            [b'\r', b'\n', ..] => at += 2,
            _ => return REFUSED,
        }
    }
}

fn model_trailers(bytes: &[u8], start: usize, body: Vec<u8>, limits: &Limits) -> Outcome<()> {
    let (mut at, mut fields, mut block) = (start, 0, Vec::new());
    loop {
        let (line, next) = line(bytes, at);
        let text = line.strip_suffix(b"\r").unwrap_or(line);
        let too_many = !text.is_empty() && fields >= limits.header_fields;
        if at - start + text.len() + 2 > limits.head_bytes || too_many {
            return REFUSED;
        }
        let Some(next) = next else {
            return Outcome::Incomplete(body);
        };
        at = next;
        if text.len() == line.len() || !(text.is_empty() || is_field(text)) {
            return REFUSED;
        }
        if text.is_empty() {
            return Outcome::Complete(body, at, block);
        }
        let colon = text.iter().position(|b| *b == b':').expect("a field");
        let (name, value) = text.split_at(colon);
        block.extend_from_slice(
            &[name, b": ", value[1..].trim_start().trim_end(), b"\r\n"].concat(),
        );
        fields += 1;
    }
}

/// The line without its LF, and where the next one starts, if that is known.
fn line(bytes: &[u8], at: usize) -> (&[u8], Option<usize>) {
    match bytes[at..].iter().position(|b| *b == b'\n') {
        Some(len) => (&bytes[at..at + len], Some(at + len + 1)),
        None => (&bytes[at..], None),
    }
}

pub fn is_token(bytes: &[u8]) -> bool {
    let special = |b| b"\"(),/:;<=>?@[\\]{}".contains(b);
    !bytes.is_empty() && bytes.iter().all(|b| b.is_ascii_graphic() && !special(b))
}

pub fn is_value(bytes: &[u8]) -> bool {
    bytes.iter().all(|b| *b == b'\t' || !b.is_ascii_control())
}

fn is_field(line: &[u8]) -> bool {
    let mut parts = line.splitn(2, |b| *b == b':');
    let (name, value) = (parts.next(), parts.next());
    name.is_some_and(is_token) && value.is_some_and(is_value)
}

/// RFC 9112 section 7.1.1: split at the semicolons outside of quotes.
fn is_extension(bytes: &[u8]) -> bool {
    let (mut parts, mut quoted, mut escaped) = (vec![Vec::new()], false, false);
    for &b in bytes {
        let part = parts.last_mut().expect("one at least");
        match b {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b';' if !quoted => {
                parts.push(Vec::new());
                continue;
            }
            _ => {}
        }
        part.push(b);
    }
    let count = parts.len();
    parts.into_iter().enumerate().all(|(i, part)| {
        // White space may stand around each semicolon and equals sign, but not at the end.
        let last = i + 1 == count;
        let part = if last { &part[..] } else { part.trim_end() };
        match i {
            0 => part.is_empty(),
            _ => is_one_extension(part.trim_start()),
        }
    })
}

fn is_one_extension(part: &[u8]) -> bool {
    let mut sides = part.splitn(2, |b| *b == b'=');
    let (name, value) = (sides.next().unwrap_or(b""), sides.next());
    match value.map(<[u8]>::trim_start) {
        None => is_token(name),
        Some(value) => is_token(name.trim_end()) && (is_token(value) || is_quoted(value)),
    }
}

fn is_quoted(value: &[u8]) -> bool {
    let Some([inner @ .., b'"']) = value.strip_prefix(b"\"") else {
        return false;
    };
    let (mut escaped, mut open) = (false, true);
    for b in inner {
        match b {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => open = false,
            _ => {}
        }
    }
    open && !escaped && is_value(inner)
}

/// White space as HTTP has it.
trait Trim {
    fn trim_start(&self) -> &[u8];
    fn trim_end(&self) -> &[u8];
}

impl Trim for [u8] {
    fn trim_start(&self) -> &[u8] {
        let blank = |b: &&u8| matches!(b, b' ' | b'\t');
        &self[self.iter().take_while(blank).count()..]
    }

    fn trim_end(&self) -> &[u8] {
        let blank = |b: &&u8| matches!(b, b' ' | b'\t');
        &self[..self.len() - self.iter().rev().take_while(blank).count()]
    }
}

/// Encodes the bytes in chunks of the sizes they say themselves, and decodes that.
fn round_trip(bytes: &[u8]) {
    const EXTENSIONS: [&str; 6] = [
        "",
        ";a",
        " ; a=b",
        ";a=\"\\\";\"",
        "\t;\ta\t=\t\"\"",
        ";a;b=c",
    ];
    const TRAILERS: [(&str, &str); 3] = [
        ("", ""),
        ("a: b\r\n", "a: b\r\n"),
        ("a:\r\nb:\t;\r\n", "a: \r\nb: ;\r\n"),
    ];
    let mut choices = Choices(bytes);
    let (mut encoded, mut body) = (Vec::new(), Vec::new());
    while !choices.is_empty() {
        let style = choices.byte();
        let extension = EXTENSIONS[usize::from(style) % EXTENSIONS.len()];
        let data = choices.text(40);
        if data.is_empty() {
            continue;
        }
        let width = usize::from(style) % 17;
        let line = match style & 0x80 {
            0 => format!("{:0width$x}{extension}\r\n", data.len()),
            _ => format!("{:0width$X}{extension}\r\n", data.len()),
        };
        encoded.extend_from_slice(line.as_bytes());
        encoded.extend_from_slice(data);
        encoded.extend_from_slice(b"\r\n");
        body.extend_from_slice(data);
    }
    let (trailers, block) = TRAILERS[bytes.len() % TRAILERS.len()];
    encoded.extend_from_slice(format!("0\r\n{trailers}\r\n").as_bytes());
    let len = encoded.len();
    encoded.extend_from_slice(b"GET ");
    let limits = Limits::default().chunk_extension_bytes(usize::MAX / 2);
    let ends = [split_of(&encoded), encoded.len()];
    assert_eq!(
        outcome(&encoded, ends, &limits),
        Outcome::Complete(body, len, block.into())
    );
}
