//! Properties of forms for tests and fuzzing.

use crate::checks::{Choices, split_of};
use crate::multipart::{Multipart, MultipartError, MultipartLimits, PartHead, PartSink};
use peregrine_protocol::h1::chunked::check::{is_token, is_value};

pub(crate) const CONTENT_TYPE: &str = "multipart/form-data; boundary=X-y";
const DELIMITER: &[u8] = b"\r\n--X-y";

/// What came out of a body: its parts, and how it ended.
pub(crate) type Outcome = (Vec<Part>, Result<(), MultipartError>);

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Part {
    pub name: String,
    pub file_name: Option<String>,
    pub content_type: Option<String>,
    pub data: Vec<u8>,
    pub complete: bool,
}

#[derive(Default)]
struct Parts(Vec<Part>);

impl Parts {
    fn open(&mut self) -> &mut Part {
        let part = self.0.last_mut().expect("a part begins first");
        assert!(!part.complete, "the part has ended");
        part
    }
}

impl PartSink for Parts {
    type Error = MultipartError;

    fn begin(&mut self, head: &PartHead<'_>) -> Result<(), MultipartError> {
        assert!(self.0.last().is_none_or(|part| part.complete));
        self.0.push(Part {
            name: head.name().to_owned(),
            file_name: head.file_name().map(str::to_owned),
            content_type: head.content_type().map(str::to_owned),
            ..Part::default()
        });
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), MultipartError> {
        assert!(!bytes.is_empty(), "data without a byte");
        self.open().data.extend_from_slice(bytes);
        Ok(())
    }

    fn end(&mut self) -> Result<(), MultipartError> {
        self.open().complete = true;
        Ok(())
    }
}

/// A body is understood alike as a whole, byte by byte, and in two pieces; the naive reader below
/// agrees; and a form made from these bytes comes out as it went in.
pub(crate) fn check(bytes: &[u8]) {
    let tight = MultipartLimits::default()
        .parts(3)
        .header_bytes(120)
        .text_bytes(24)
        .memory_bytes(200)
        .file_bytes(32)
        .total_bytes(600);
    for limits in [MultipartLimits::default(), tight] {
        let (split, len) = (split_of(bytes), bytes.len());
        let whole = outcome(bytes, [len], limits);
        let in_two = outcome(bytes, [split, len], limits);
        assert_eq!(in_two, whole, "split at {split}");
        assert_eq!(outcome(bytes, 1..=len, limits), whole, "byte by byte");
        within(&whole, limits);
    }
    let wide = MultipartLimits::default()
        .parts(usize::MAX)
        .header_bytes(65_535)
        .text_bytes(usize::MAX)
        .memory_bytes(usize::MAX)
        .file_bytes(u64::MAX)
        .total_bytes(u64::MAX);
    assert_eq!(outcome(bytes, [bytes.len()], wide), model(bytes), "model");
    round_trip(bytes, wide);
    // Only a media type with a boundary is accepted, and no input panics.
    let content_type = String::from_utf8_lossy(bytes);
    if let Ok(form) = Multipart::new(&content_type, wide) {
        assert_eq!(form.finish(), Err(MultipartError::Unfinished));
    }
}

/// Parses the first bytes up to each of `ends`, as they would arrive.
pub(crate) fn outcome(
    bytes: &[u8],
    ends: impl IntoIterator<Item = usize>,
    limits: MultipartLimits,
) -> Outcome {
    let mut form = Multipart::new(CONTENT_TYPE, limits).expect("a boundary");
    let mut parts = Parts::default();
    let mut from = 0;
    for end in ends {
        let written = form.write(&bytes[from..end], &mut parts);
        from = end;
        if written.is_err() {
            assert_eq!(form.finish(), written, "the error stays");
            let again = form.write(b"--X-y\r\n", &mut Parts::default());
            assert_eq!(again, written, "the error stays");
            return (parts.0, written);
        }
    }
    (parts.0, form.finish())
}

/// No more comes out than the limits allow.
fn within((parts, _): &Outcome, limits: MultipartLimits) {
    assert!(parts.len() <= limits.parts);
    let text = |part: &&Part| part.file_name.is_none();
    let texts = parts.iter().filter(text).map(|part| part.data.len());
    assert!(texts.clone().all(|len| len <= limits.text_bytes));
    assert!(texts.sum::<usize>() <= limits.memory_bytes);
    let mut files = parts.iter().filter(|part| !text(part));
    assert!(files.all(|part| part.data.len() as u64 <= limits.file_bytes));
}

// ------------------------------------------------------------------------------------ the model

/// RFC 2046 section 5.1.1 and RFC 7578, on the whole body, with vectors.
fn model(bytes: &[u8]) -> Outcome {
    // The beginning of the body is one of a line.
    let bytes = [b"\r\n", bytes].concat();
    let (mut parts, mut rest) = (Vec::<Part>::new(), &bytes[..]);
    let ended = loop {
        let at = find(rest, DELIMITER);
        if let Some(part) = parts.last_mut() {
            let data = match at {
                Some(at) => &rest[..at],
                None => without_beginning(rest),
            };
            // The line end before it is the header's.
            part.data = data.get(2..).unwrap_or_default().to_vec();
        }
        let Some(at) = at else {
            break Err(MultipartError::Unfinished);
        };
        rest = &rest[at + DELIMITER.len()..];
        let closes = rest.starts_with(b"--");
        let line = match closes {
            true => &rest[2..],
            false => rest,
        };
        let padding = line.iter().take_while(|b| b" \t".contains(b)).count();
        let end = &line[padding..];
        let complete = closes || end.starts_with(b"\r\n");
        if let Some(part) = parts.last_mut() {
            part.complete = complete;
        }
        match end {
            b"" if closes => break Ok(()),
            b"" | b"\r" => break Err(MultipartError::Unfinished),
            b"-" if padding == 0 && !closes => break Err(MultipartError::Unfinished),
            [b'\r', b'\n', ..] if closes => break Ok(()),
            [b'\r', b'\n', ..] => {}
            _ => break Err(MultipartError::BoundaryLine),
        }
        match model_header(&end[2..]) {
            Ok((part, after)) => {
                parts.push(part);
                rest = after;
            }
            Err(error) => break Err(error),
        }
    };
    (parts, ended)
}

/// A part, and what follows its header from the line end of the empty line on.
fn model_header(bytes: &[u8]) -> Result<(Part, &[u8]), MultipartError> {
    let (mut part, mut named, mut rest) = (Part::default(), false, bytes);
    loop {
        let end = find(rest, b"\n").ok_or(MultipartError::Unfinished)?;
        let line = &rest[..end];
        let line = line.strip_suffix(b"\r").ok_or(MultipartError::Header)?;
        if line.is_empty() {
            return match named {
                true => Ok((part, &rest[end - 1..])),
                false => Err(MultipartError::Disposition),
            };
        }
        rest = &rest[end + 1..];
        let colon = find(line, b":").ok_or(MultipartError::Header)?;
        let (name, value) = (&line[..colon], trim(&line[colon + 1..]));
        if !is_token(name) || !is_value(value) {
            return Err(MultipartError::Header);
        }
        match &name.to_ascii_lowercase()[..] {
            b"content-disposition" if named => return Err(MultipartError::Disposition),
            b"content-disposition" => {
                named = true;
                (part.name, part.file_name) = model_disposition(value)?;
            }
            b"content-type" if part.content_type.is_some() => return Err(MultipartError::Header),
            b"content-type" => {
                part.content_type = Some(String::from_utf8_lossy(value).into_owned());
            }
            b"content-transfer-encoding" => match &value.to_ascii_lowercase()[..] {
                b"7bit" | b"8bit" | b"binary" => {}
                _ => return Err(MultipartError::TransferEncoding),
            },
            _ => {}
        }
    }
}

fn model_disposition(value: &[u8]) -> Result<(String, Option<String>), MultipartError> {
    const WRONG: MultipartError = MultipartError::Disposition;
    let (mut pieces, mut quoted, mut escaped) = (vec![Vec::new()], false, false);
    for &b in value {
        match b {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b';' if !quoted => {
                pieces.push(Vec::new());
                continue;
            }
            _ => {}
        }
        pieces.last_mut().expect("one at least").push(b);
    }
    let mut pieces = pieces.iter().map(|piece| trim(piece));
    let first = pieces.next().expect("one at least");
    if !matches!(
        &first.to_ascii_lowercase()[..],
        b"form-data" | b"attachment"
    ) {
        return Err(WRONG);
    }
    let (mut names, mut files, mut extended) = (Vec::new(), Vec::new(), Vec::new());
    for piece in pieces.filter(|piece| !piece.is_empty()) {
        let equals = find(piece, b"=").ok_or(WRONG)?;
        let (name, value) = (&piece[..equals], &piece[equals + 1..]);
        let inside = match value {
            [b'"', inside @ .., b'"'] if closes_at_its_end(inside) => inside,
            _ if is_token(value) => value,
            _ => return Err(WRONG),
        };
        let text = String::from_utf8_lossy(&model_unescape(inside)).into_owned();
        match &name.to_ascii_lowercase()[..] {
            b"name" => names.push(text),
            b"filename" => files.push(text),
            b"filename*" => extended.push(inside),
            name if name.starts_with(b"name*") || name.starts_with(b"filename*") => {
                return Err(WRONG);
            }
            name if is_token(name) => {}
            _ => return Err(WRONG),
        }
    }
    match (names.len(), files.len(), &extended[..]) {
        (1, 0, [value]) => match model_extended(value) {
            Some(file) => Ok((names.remove(0), Some(file))),
            None => Err(MultipartError::ExtendedFileName),
        },
        (1, 0 | 1, [] | [_]) => Ok((names.remove(0), files.pop())),
        _ => Err(WRONG),
    }
}

/// RFC 8187, section 3.2.
fn model_extended(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?;
    let [charset, _, name] = text.splitn(3, '\'').collect::<Vec<_>>()[..] else {
        return None;
    };
    let mut bytes = Vec::new();
    for (i, piece) in name.split('%').enumerate() {
        let mut rest = piece;
        if i > 0 {
            let (hex, after) = piece.split_at_checked(2)?;
            let is_hex = hex.bytes().all(|b| b.is_ascii_hexdigit());
            bytes.push(u8::from_str_radix(hex, 16).ok().filter(|_| is_hex)?);
            rest = after;
        }
        let is_plain = |b: u8| is_token(&[b]) && b != b'*' && b != b'\'';
        if !rest.bytes().all(is_plain) {
            return None;
        }
        bytes.extend(rest.bytes());
    }
    match &charset.to_ascii_lowercase()[..] {
        "utf-8" => String::from_utf8(bytes).ok(),
        "iso-8859-1" => Some(bytes.iter().map(|b| char::from(*b)).collect()),
        _ => None,
    }
}

/// Whether a quote may follow: none before it is without a backslash, and none is left open.
fn closes_at_its_end(inside: &[u8]) -> bool {
    let (mut escaped, mut open) = (false, true);
    for &b in inside {
        open &= escaped || b != b'"';
        escaped = b == b'\\' && !escaped;
    }
    open && !escaped
}

fn model_unescape(value: &[u8]) -> Vec<u8> {
    let escapes: [(&[u8], u8); 7] = [
        (b"\\\"", b'"'),
        (b"\\\\", b'\\'),
        (b"%22", b'"'),
        (b"%0D", b'\r'),
        (b"%0d", b'\r'),
        (b"%0A", b'\n'),
        (b"%0a", b'\n'),
    ];
    let (mut plain, mut at) = (Vec::new(), 0);
    while at < value.len() {
        let escape = escapes
            .iter()
            .find(|(text, _)| value[at..].starts_with(text));
        let (len, byte) = escape.map_or((1, value[at]), |(text, byte)| (text.len(), *byte));
        plain.push(byte);
        at += len;
    }
    plain
}

/// What may still become a delimiter is no data yet.
fn without_beginning(bytes: &[u8]) -> &[u8] {
    let begins = |len: &usize| bytes.ends_with(&DELIMITER[..*len]);
    let held = (1..DELIMITER.len()).rev().find(begins).unwrap_or(0);
    &bytes[..bytes.len() - held]
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|part| part == what)
}

fn trim(bytes: &[u8]) -> &[u8] {
    let blank = |b: &&u8| matches!(b, b' ' | b'\t');
    let bytes = &bytes[bytes.iter().take_while(blank).count()..];
    &bytes[..bytes.len() - bytes.iter().rev().take_while(blank).count()]
}

// ------------------------------------------------------------------------------- the round trip

/// Writes a form as browsers do, of parts that the bytes say themselves, and reads it.
fn round_trip(bytes: &[u8], limits: MultipartLimits) {
    let mut choices = Choices(bytes);
    let (mut body, mut parts) = (Vec::new(), Vec::new());
    while !choices.is_empty() {
        let style = choices.byte();
        let name = String::from_utf8_lossy(choices.text(12)).into_owned();
        let file = String::from_utf8_lossy(choices.text(12)).into_owned();
        let data = choices.text(60).to_vec();
        let escapes =
            |text: &str| text.contains('%') || text.contains('\\') || !is_value(text.as_bytes());
        let framed = [b"\r\n", &data[..], b"\r\n"].concat();
        if escapes(&name) || escapes(&file) || find(&framed, DELIMITER).is_some() {
            continue;
        }
        let escape = |text: &str| text.replace('"', ["%22", "\\\""][usize::from(style & 1)]);
        body.extend_from_slice(b"--X-y\r\nContent-Disposition: form-data; name=\"");
        body.extend_from_slice(format!("{}\"", escape(&name)).as_bytes());
        let file_name = (style & 2 != 0).then_some(file);
        if let Some(file) = &file_name {
            body.extend_from_slice(format!("; filename=\"{}\"", escape(file)).as_bytes());
        }
        body.extend_from_slice(b"\r\n\r\n");
        body.extend_from_slice(&data);
        body.extend_from_slice(b"\r\n");
        parts.push(Part {
            name,
            file_name,
            content_type: None,
            data,
            complete: true,
        });
    }
    body.extend_from_slice(b"--X-y--\r\n");
    let ends = [split_of(&body), body.len()];
    assert_eq!(outcome(&body, ends, limits), (parts, Ok(())));
}
