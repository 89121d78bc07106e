//! Reads what a NATS server sends: one item at a time, from its first byte.

/// The longest line. INFO has the addresses of a whole cluster in it.
const MOST_LINE: usize = 64 << 10;

/// One item of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Item<'a> {
    /// The JSON of INFO.
    Info(&'a str),
    Message {
        sid: u64,
        payload: &'a [u8],
    },
    Ping,
    Pong,
    Ok,
    /// The text of -ERR without quotes.
    Error(&'a str),
}

/// Why the bytes are no item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    LongLine,
    Line,
    Verb,
    Length,
    /// No line end after a payload.
    End,
}

impl Malformed {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Malformed::LongLine => "a line is too long",
            Malformed::Line => "a malformed line",
            Malformed::Verb => "an unknown verb",
            Malformed::Length => "a malformed length",
            Malformed::End => "a payload without a line end",
        }
    }
}

/// The first item, and its length. `None` if it is not complete.
pub(crate) fn first(input: &[u8]) -> Result<Option<(usize, Item<'_>)>, Malformed> {
    let head = &input[..input.len().min(MOST_LINE)];
    let Some(end) = head.iter().position(|&b| b == b'\n') else {
        return match head.len() {
            MOST_LINE => Err(Malformed::LongLine),
            _ => Ok(None),
        };
    };
    let line = head[..end].strip_suffix(b"\r").ok_or(Malformed::Line)?;
    let line = std::str::from_utf8(line).map_err(|_| Malformed::Line)?;
    let (verb, rest) = match line.split_once([' ', '\t']) {
        Some((verb, rest)) => (verb, rest.trim_matches([' ', '\t'])),
        None => (line, ""),
    };
    let is = |name: &str| verb.eq_ignore_ascii_case(name);
    let item = match verb {
        _ if is("MSG") => return message(input, end + 1, rest, false),
        _ if is("HMSG") => return message(input, end + 1, rest, true),
        _ if is("INFO") => Item::Info(rest),
        _ if is("-ERR") => Item::Error(rest.trim_matches('\'')),
        _ if is("PING") && rest.is_empty() => Item::Ping,
        _ if is("PONG") && rest.is_empty() => Item::Pong,
        _ if is("+OK") && rest.is_empty() => Item::Ok,
        _ => return Err(Malformed::Verb),
    };
    Ok(Some((end + 1, item)))
}

/// `MSG subject sid [reply] length`, or `HMSG subject sid [reply] length-of-headers length`; then the bytes and a line end.
fn message<'a>(
    input: &'a [u8],
    at: usize,
    fields: &str,
    has_headers: bool,
) -> Result<Option<(usize, Item<'a>)>, Malformed> {
    let mut all = [""; 5];
    let mut count = 0;
    for field in fields.split([' ', '\t']).filter(|field| !field.is_empty()) {
        *all.get_mut(count).ok_or(Malformed::Line)? = field;
        count += 1;
    }
    let lengths = 1 + usize::from(has_headers);
    // The subject, the number of the subscription, and perhaps a subject for replies.
    if count != 2 + lengths && count != 3 + lengths {
        return Err(Malformed::Line);
    }
    let sid = number(all[1])?;
    let len = number(all[count - 1])?;
    let headers = match has_headers {
        true => number(all[count - 2])?,
        false => 0,
    };
    if headers > len {
        return Err(Malformed::Length);
    }
    let (headers, len) = (headers as usize, len as usize);
    let Some(rest) = input[at..].get(len..) else {
        return Ok(None);
    };
    match rest {
        [b'\r', b'\n', ..] => {
            let payload = &input[at + headers..at + len];
            Ok(Some((at + len + 2, Item::Message { sid, payload })))
        }
        [] | [b'\r'] => Ok(None),
        _ => Err(Malformed::End),
    }
}

/// A number of at most nine digits.
fn number(text: &str) -> Result<u64, Malformed> {
    let is_good = (1..=9).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let number = text.parse().ok().filter(|_| is_good);
    number.ok_or(Malformed::Length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn msg(sid: u64, payload: &[u8]) -> Item<'_> {
        Item::Message { sid, payload }
    }

    /// The bytes of an item, and what they mean.
    fn cases() -> Vec<(&'static [u8], Item<'static>)> {
        vec![
            (b"PING\r\n", Item::Ping),
            (b"pong\r\n", Item::Pong),
            (b"+OK\r\n", Item::Ok),
            (b"PING \t \r\n", Item::Ping),
            (b"INFO {\"a\":1}\r\n", Item::Info("{\"a\":1}")),
            (b"-ERR 'Slow Consumer'\r\n", Item::Error("Slow Consumer")),
            (b"-err\t'x' \r\n", Item::Error("x")),
            (b"MSG a 7 0\r\n\r\n", msg(7, b"")),
            (b"MSG a 7 5\r\nhello\r\n", msg(7, b"hello")),
            (b"msg  a\t7 reply 2\r\n\r\n\r\n", msg(7, b"\r\n")),
            (
                b"HMSG a 7 12 17\r\nNATS/1.0\r\n\r\nhello\r\n",
                msg(7, b"hello"),
            ),
            (b"HMSG a 7 r 12 12\r\nNATS/1.0\r\n\r\n\r\n", msg(7, b"")),
        ]
    }

    #[test]
    fn every_item_at_every_split() {
        for (bytes, wanted) in cases() {
            assert_eq!(first(bytes), Ok(Some((bytes.len(), wanted))));
            for len in 0..bytes.len() {
                assert_eq!(first(&bytes[..len]), Ok(None), "{len} of {wanted:?}");
            }
            for next in [&b"PING\r\n"[..], b"x", b"\r\n"] {
                let all = [bytes, next].concat();
                assert_eq!(first(&all), Ok(Some((bytes.len(), wanted))));
            }
        }
    }

    #[test]
    fn malformed_items() {
        let cases: [(&[u8], Malformed); 20] = [
            (b"PING\n", Malformed::Line),
            (b"\r\n", Malformed::Verb),
            (b" PING\r\n", Malformed::Verb),
            (b"PING 1\r\n", Malformed::Verb),
            (b"PUB a 1\r\n", Malformed::Verb),
            (b"HTTP/1.1 400 Bad Request\r\n", Malformed::Verb),
            (b"MSG\r\n", Malformed::Line),
            (b"MSG a 1\r\n", Malformed::Line),
            (b"MSG a 1 b c 1\r\n", Malformed::Line),
            (b"MSG a 1 b c d e 1\r\n", Malformed::Line),
            (b"HMSG a 1 1\r\n", Malformed::Line),
            (b"MSG a x 1\r\n", Malformed::Length),
            (b"MSG a 1 -1\r\n", Malformed::Length),
            (b"MSG a 1 +1\r\n", Malformed::Length),
            (b"MSG a 1 1234567890\r\n", Malformed::Length),
            (b"HMSG a 1 6 5\r\nhello\r\n", Malformed::Length),
            (b"MSG a 1 5\r\nhellox", Malformed::End),
            (b"MSG a 1 5\r\nhello\rx", Malformed::End),
            (b"MSG a 1 5\r\nhello\n", Malformed::End),
            (b"INFO \xff\r\n", Malformed::Line),
        ];
        for (bytes, wanted) in cases {
            assert_eq!(
                first(bytes),
                Err(wanted),
                "{:?}",
                String::from_utf8_lossy(bytes)
            );
        }
        let long = "x".repeat(MOST_LINE);
        assert_eq!(first(long.as_bytes()), Err(Malformed::LongLine));
        assert_eq!(first(&long.as_bytes()[1..]), Ok(None));
    }
}
