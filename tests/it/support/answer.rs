//! A reader of responses that is as strict as a client may be.

use super::ensure;

/// What the client has asked for, as far as that decides where the response ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// HEAD: no body, whatever the length says.
    Head,
    /// CONNECT: no length, everything that follows is the other end's.
    Connect,
    /// HTTP/1.0: a response without a length lasts until the connection ends.
    Old,
    Other,
}

/// How a client finds the end of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(usize),
    Chunked,
    /// It ends with the connection.
    Close,
}

#[derive(Default, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Fields behind a chunked body.
    pub(crate) trailers: Vec<(String, String)>,
}

impl Answer {
    /// The one value of a field; twice is an error whatever the field.
    pub(crate) fn field(&self, name: &str) -> Result<Option<&str>, String> {
        let mut values = self.fields.iter().filter(|field| field.0 == name);
        let first = values.next().map(|field| field.1.as_str());
        ensure!(values.next().is_none(), "{name} twice");
        Ok(first)
    }

    /// The value of a field that must not be there twice.
    #[track_caller]
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.field(name).expect("at most once")
    }

    /// True if the server says that it closes the connection after this response.
    #[track_caller]
    pub(crate) fn closes(&self) -> bool {
        self.get("connection") == Some("close")
    }

    /// The body as text.
    #[track_caller]
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let start = &self.body[..self.body.len().min(400)];
        f.debug_struct("Answer")
            .field("status", &self.status)
            .field("fields", &self.fields)
            .field("body_bytes", &self.body.len())
            .field("body", &start.escape_ascii().to_string())
            .finish()
    }
}

fn is_clean(text: &str) -> bool {
    text.trim() == text && !text.contains(|c: char| c.is_control())
}

/// One field line, its name in lower case.
fn read_field(line: &str) -> Result<(String, String), String> {
    let (name, mut value) = line.split_once(": ").ok_or("field without a colon")?;
    let token = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    let name = name.to_ascii_lowercase();
    if name == "content-length" {
        // `write_with` fills it in from the right (RFC 9112 section 5: optional white space).
        value = value.trim_start_matches(' ');
    }
    ensure!(name.bytes().all(token), "malformed name: {line}");
    ensure!(is_clean(value), "malformed value: {line}");
    Ok((name, value.to_owned()))
}

/// Reads the head of one response as a strict client would. Returns the response without its body, the
/// length of the head and where the body ends; `None` if the head is not complete.
pub(crate) fn read_head(
    bytes: &[u8],
    asked: Asked,
) -> Result<Option<(Answer, usize, Framing)>, String> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let Some(end) = end else { return Ok(None) };
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| "UTF-8")?;
    let mut lines = head.split("\r\n");
    let line = lines.next().unwrap_or("").split_once(' ');
    let (version, line) = line.ok_or("no status line")?;
    let (status, reason) = line.split_once(' ').ok_or("no reason")?;
    ensure!(version == "HTTP/1.1" && is_clean(reason), "status line");
    ensure!(status.len() == 3, "status {status}");
    let mut answer = Answer::default();
    for line in lines {
        answer.fields.push(read_field(line)?);
    }
    answer.status = status.parse().map_err(|_| "status")?;
    ensure!(answer.field("server")? == Some("peregrine"), "Server");
    let date = answer.field("date")?.ok_or("no Date")?;
    // IMF-fixdate is the one form a server may send (RFC 9110 section 5.6.7).
    let fixdate = date.len() == 29 && httpdate::parse_http_date(date).is_ok();
    ensure!(fixdate, "Date: {date}");
    let framing = framing(&answer, asked, bytes.len() - end - 4)?;
    Ok(Some((answer, end + 4, framing)))
}

/// RFC 9112 section 6.3; `rest` bytes follow the head.
fn framing(answer: &Answer, asked: Asked, rest: usize) -> Result<Framing, String> {
    let coding = answer.field("transfer-encoding")?;
    let length = answer.field("content-length")?;
    ensure!(
        coding.is_none_or(|coding| coding == "chunked"),
        "Transfer-Encoding"
    );
    ensure!(
        coding.is_none() || asked != Asked::Old,
        "chunks to HTTP/1.0"
    );
    ensure!(coding.is_none() || length.is_none(), "two framings");
    let digits = length.is_none_or(|n| n.bytes().all(|b| b.is_ascii_digit()));
    let bodiless = matches!(answer.status, 204 | 304);
    ensure!(
        digits && !(bodiless && (length.is_some() || coding.is_some())),
        "Content-Length"
    );
    let closes = answer.field("connection")? == Some("close");
    Ok(match length {
        _ if bodiless || asked == Asked::Head => Framing::Length(0),
        None if coding.is_some() => Framing::Chunked,
        None if asked == Asked::Connect => Framing::Length(rest),
        None if asked == Asked::Old && closes => Framing::Close,
        None => return Err("no Content-Length".to_owned()),
        Some(n) => Framing::Length(n.parse().map_err(|_| "Content-Length")?),
    })
}

/// Reads one chunk as strictly: where its bytes begin, how many there are, and how long all of it
/// is. The last one has none, and the trailers follow. `None` if it is not complete.
pub(super) fn read_chunk(bytes: &[u8]) -> Result<Option<(usize, usize, usize)>, String> {
    let line = bytes.windows(2).position(|two| two == b"\r\n");
    let digits = std::str::from_utf8(&bytes[..line.unwrap_or(bytes.len().min(17))]);
    let digits = digits.map_err(|_| "chunk size")?;
    let digits = match line {
        None => digits.strip_suffix('\r').unwrap_or(digits),
        Some(_) => digits,
    };
    let hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
    let plain = digits == "0" || !digits.starts_with('0') || line.is_none();
    ensure!(hex && plain && digits.len() <= 16, "chunk size {digits}");
    let Some(line) = line else { return Ok(None) };
    let size = usize::from_str_radix(digits, 16).map_err(|_| "no chunk size")?;
    let start = line + 2;
    if size == 0 {
        return Ok(Some((start, 0, start)));
    }
    let Some(chunk) = bytes.get(start..start + size + 2) else {
        return Ok(None);
    };
    ensure!(chunk.ends_with(b"\r\n"), "a chunk is longer than its size");
    Ok(Some((start, size, start + size + 2)))
}

/// Reads a chunked body and its trailers into `answer`. Returns its length.
fn read_chunked(bytes: &[u8], answer: &mut Answer) -> Result<Option<usize>, String> {
    let mut at = 0;
    while let Some((start, size, len)) = read_chunk(&bytes[at..])? {
        answer.body.extend_from_slice(&bytes[at..][start..][..size]);
        at += len;
        if size > 0 {
            continue;
        }
        loop {
            let line = bytes[at..].windows(2).position(|two| two == b"\r\n");
            let Some(line) = line else { return Ok(None) };
            let field = std::str::from_utf8(&bytes[at..at + line]).map_err(|_| "UTF-8")?;
            at += line + 2;
            if field.is_empty() {
                return Ok(Some(at));
            }
            answer.trailers.push(read_field(field)?);
        }
    }
    Ok(None)
}

/// Reads one response. Returns it and what follows it; `None` if it is not complete, as one is that
/// ends with its connection.
pub(crate) fn read_answer(bytes: &[u8], asked: Asked) -> Result<Option<(Answer, &[u8])>, String> {
    let Some((mut answer, head, framing)) = read_head(bytes, asked)? else {
        return Ok(None);
    };
    let rest = &bytes[head..];
    let len = match framing {
        Framing::Close => None,
        Framing::Chunked => read_chunked(rest, &mut answer)?,
        Framing::Length(len) => rest.get(..len).map(|body| {
            answer.body = body.to_vec();
            len
        }),
    };
    Ok(len.map(|len| (answer, &rest[len..])))
}
