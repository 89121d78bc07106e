//! Properties of framing for tests and fuzzing.

use super::decide;
use crate::checks::{limits, split_of};
use crate::error::ProtocolError;
use crate::h1::head::{Head, check as head};
use crate::http::Version;
use crate::limits::Limits;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Framing {
    /// `None` if it is chunked.
    body: Option<u64>,
    persistent: bool,
    expects_continue: bool,
}

fn framing(head: &mut Head, bytes: &[u8], limits: &Limits) -> Result<Framing, ProtocolError> {
    let framing = decide(head, bytes)?;
    Ok(Framing {
        body: framing.body.within(limits.body_bytes as u64)?,
        persistent: framing.persistent,
        expects_continue: framing.expects_continue,
    })
}

/// Whatever head is accepted, it is judged as the rules below say, by a table that has been used: the
/// same refusals, body length, persistence and expectation; and again when the `Host` is known.
pub fn check(bytes: &[u8]) {
    for limits in limits() {
        let mut table = used_table();
        let whole = head::outcome(&mut table, bytes, [bytes.len()], &limits);
        if let head::Outcome::Complete(_) = whole {
            let model = model(bytes, &limits);
            for _ in 0..2 {
                let judged = framing(&mut table, bytes, &limits);
                assert_eq!(judged.ok(), model, "{judged:?}");
            }
        }
    }
    check_repeated(bytes);
}

/// Request lines, each of which has another framing or another length.
const LINES: [&str; 9] = [
    "GET / HTTP/1.1\r\n",
    "GET /another/length HTTP/1.1\r\n",
    "HEAD / HTTP/1.1\r\n",
    "GET / HTTP/1.0\r\n",
    "GET / HTTP/1.1\r\n\r\n",
    "GET http://a/ HTTP/1.1\r\n",
    "CONNECT a:1 HTTP/1.1\r\n",
    "GET / HTTP/1.1\r\nX: y\r\n",
    "POST / HTTP/1.1\r\n",
];

/// The same fields after another request line, and other fields of the same length, have the meaning that a new table
/// finds, under any limits.
fn check_repeated(bytes: &[u8]) {
    let line = bytes.iter().position(|&b| b == b'\n');
    let fields = line.map_or(bytes, |at| &bytes[at + 1..]);
    let sections = [fields, &section(fields.len()), &section(fields.len() + 1)];
    let mut used = Head::default();
    for line in LINES {
        for section in sections {
            let text = [line.as_bytes(), section].concat();
            let (whole, cut) = (text.len(), split_of(&text));
            // Fields are kept when the same ones have come twice.
            for ends in [[whole, whole], [whole, whole], [cut, whole]] {
                for limits in limits() {
                    is_as_new(&mut used, &text, ends, &limits);
                }
            }
        }
    }
}

fn is_as_new(used: &mut Head, text: &[u8], ends: [usize; 2], limits: &Limits) {
    let mut new = Head::default();
    let known = head::outcome(used, text, ends, limits);
    assert_eq!(known, head::outcome(&mut new, text, ends, limits));
    if let head::Outcome::Complete(_) = known {
        let expected = framing(&mut new, text, limits);
        assert_eq!(framing(used, text, limits), expected);
    }
}

/// Fields of `len` bytes, if there is room for them.
fn section(len: usize) -> Vec<u8> {
    const FIELDS: &str = "Host: b\r\nContent-Length: 7\r\nX: ";
    let rest = len.saturating_sub(FIELDS.len() + 4);
    format!("{FIELDS}{}\r\n\r\n", "y".repeat(rest)).into_bytes()
}

/// A table that has seen other requests, with all that is remembered of one.
fn used_table() -> Head {
    const GOOD: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    const ALL: &str = "Host: b\r\nContent-Length: 1\r\nTransfer-Encoding: x\r\nExpect: y\r\n\
        Connection: close\r\n";
    let (mut table, limits) = (Head::default(), Limits::default());
    let twice = format!("GET / HTTP/1.0\r\n{ALL}{ALL}\r\n");
    for (text, good) in [(GOOD, true), (&twice, false)] {
        let whole = head::outcome(&mut table, text.as_bytes(), [text.len()], &limits);
        assert!(matches!(whole, head::Outcome::Complete(_)));
        assert_eq!(framing(&mut table, text.as_bytes(), &limits).is_ok(), good);
    }
    table
}

/// RFC 9112 sections 3.2, 6.3 and 9.3 and RFC 9110 section 10.1.1, over what httparse understands.
/// `None` if the request is to be refused.
fn model(bytes: &[u8], limits: &Limits) -> Option<Framing> {
    let bytes = head::of_known_version(bytes);
    let mut fields = [httparse::EMPTY_HEADER; 100];
    let mut request = httparse::Request::new(&mut fields);
    request.parse(&bytes).expect("a head that was accepted");
    let version = match request.version {
        Some(1) => Version::Http11,
        _ => Version::Http10,
    };
    let values = |name: &str| -> Vec<Vec<u8>> {
        let same = request.headers.iter();
        let same = same.filter(|field| field.name.to_ascii_lowercase() == name);
        same.map(|field| field.value.to_ascii_lowercase()).collect()
    };

    match &values("host")[..] {
        [] if version == Version::Http10 => {}
        [host] if is_host(host) && is_host_of(request.path, host) => {}
        _ => return None,
    }
    let body = match (
        &values("transfer-encoding")[..],
        &values("content-length")[..],
    ) {
        ([], []) => Some(0),
        ([], [length]) => Some(number_up_to(length, limits.body_bytes as u64)?),
        ([coding], []) if coding == b"chunked" && version == Version::Http11 => None,
        _ => return None,
    };
    let expectations = values("expect").join(&b","[..]);
    let members = expectations.split(|b| *b == b',').map(trim);
    let members: Vec<&[u8]> = members.filter(|m| !m.is_empty()).collect();
    let expects_continue = match version {
        Version::Http10 => false,
        _ if members.iter().all(|member| *member == b"100-continue") => !members.is_empty(),
        _ => return None,
    };
    let connection = values("connection").join(&b","[..]);
    let options: Vec<&[u8]> = connection.split(|b| *b == b',').map(trim).collect();
    let says = |option: &[u8]| options.contains(&option);
    let by_default = version == Version::Http11 || says(b"keep-alive");
    Some(Framing {
        body,
        persistent: by_default && !says(b"close") && request.method != Some("CONNECT"),
        expects_continue,
    })
}

/// Whether a target names the same host as `Host`, which is in lower case, if it names one.
pub fn is_host_of(target: Option<&str>, host: &[u8]) -> bool {
    let target = target.expect("a target").to_ascii_lowercase();
    let (port, rest) = match (
        target.strip_prefix("http://"),
        target.strip_prefix("https://"),
    ) {
        (Some(rest), _) => (":80", rest),
        (_, Some(rest)) => (":443", rest),
        _ => return true,
    };
    let authority = rest.split(['/', '?']).next().expect("the first");
    let host = std::str::from_utf8(host).expect("a host is ASCII");
    let whole = |host: &str| match host.rsplit_once(':') {
        Some((name, digits)) if digits.bytes().all(|b| b.is_ascii_digit()) => {
            let port = if digits.is_empty() {
                port.to_owned()
            } else {
                format!(":{digits}")
            };
            format!("{}{port}", name.strip_suffix('.').unwrap_or(name))
        }
        _ => format!("{}{port}", host.strip_suffix('.').unwrap_or(host)),
    };
    whole(authority) == whole(host)
}

fn trim(bytes: &[u8]) -> &[u8] {
    let is_text = |b: &u8| *b != b' ' && *b != b'\t';
    match (
        bytes.iter().position(is_text),
        bytes.iter().rposition(is_text),
    ) {
        (Some(first), Some(last)) => &bytes[first..=last],
        _ => b"",
    }
}

/// `1*DIGIT`, leading zeros allowed, and not above `limit`.
fn number_up_to(digits: &[u8], limit: u64) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok()?;
    if text.is_empty() || !text.chars().all(|c| c.is_ascii_digit()) {
        return None;
    }
    match text.trim_start_matches('0') {
        "" => Some(0),
        text => text.parse().ok().filter(|number| *number <= limit),
    }
}

/// `uri-host [ ":" port ]`, RFC 3986 section 3.2.
pub fn is_host(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    let port = match text.strip_prefix('[') {
        Some(text) => match text.split_once(']') {
            Some((address, port)) if address.parse::<std::net::Ipv6Addr>().is_ok() => port,
            _ => return false,
        },
        None => {
            let (name, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            if !is_reg_name(name) {
                return false;
            }
            port
        }
    };
    let digits = port.strip_prefix(':').unwrap_or("");
    (port.is_empty() || port.starts_with(':')) && digits.chars().all(|c| c.is_ascii_digit())
}

fn is_reg_name(name: &str) -> bool {
    let mut pieces = name.split('%');
    let plain = |text: &str| {
        let mark = |c| "-._~!$&'()*+,;=".contains(c);
        text.chars().all(|c| c.is_ascii_alphanumeric() || mark(c))
    };
    let hex = |text: &str| text.chars().take(2).filter(char::is_ascii_hexdigit).count() == 2;
    let first = pieces.next().unwrap_or("");
    plain(first) && pieces.all(|piece| hex(piece) && plain(piece))
}
