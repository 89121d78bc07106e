//! Properties of requests for tests and fuzzing.

use crate::testing::Connection;
use crate::{Done, Handler, Limits, Request, Response};
use peregrine_protocol::h1::chunked::check::is_token;
use peregrine_protocol::h1::framing::check::is_host;
use std::sync::{Arc, Mutex};

/// The parts of a request as a handler sees them, or should see them.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    method: String,
    target: String,
    path: String,
    query: Option<String>,
    host: String,
    pairs: Vec<(String, String)>,
}

const HOST: &str = "in.field";

/// An input is a method, a space and a target. The handler is called if RFC 9112 section 3.2 allows this
/// target for this method. It must see the same parts and the same decoded query as the model below.
pub(crate) fn check(bytes: &[u8]) {
    let limits = Limits::default();
    if bytes.len() > limits.target_bytes || bytes.contains(&b'\n') {
        return;
    }
    let seen = Arc::new(Mutex::new(Vec::new()));
    let handler = Witness(seen.clone());
    let mut connection = Connection::with_limits(&handler, limits);
    let expected: Vec<Seen> = model(bytes).into_iter().collect();
    let host = match expected.first() {
        Some(seen) if seen.method != "CONNECT" => seen.host.clone(),
        _ => HOST.to_owned(),
    };
    let request = [bytes, b" HTTP/1.1\r\nHost: ", host.as_bytes(), b"\r\n\r\n"].concat();
    connection.send(&request);
    let seen = std::mem::take(&mut *seen.lock().expect("no panic"));
    assert_eq!(seen, expected);
}

struct Witness(Arc<Mutex<Vec<Seen>>>);

impl Handler for Witness {
    fn takes_special(&self, _: &Request<'_>) -> bool {
        true
    }

    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        self.0.lock().expect("no panic").push(see(req));
        res.close().body("")
    }
}

fn see(req: &Request<'_>) -> Seen {
    let pairs: Vec<(String, String)> = req
        .query_pairs()
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    for (name, _) in &pairs {
        let first = pairs.iter().find(|pair| pair.0 == *name);
        assert_eq!(req.query(name).as_deref(), first.map(|pair| &pair.1[..]));
    }
    Seen {
        method: req.method().to_owned(),
        target: req.target().to_owned(),
        path: req.path().to_owned(),
        query: req.query_string().map(str::to_owned),
        host: req.host().expect("a host").to_owned(),
        pairs,
    }
}

fn model(bytes: &[u8]) -> Option<Seen> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (method, target) = text.split_once(' ')?;
    let visible = |c: char| c.is_ascii_graphic() && c != '#';
    if !is_token(method.as_bytes())
        || method.len() > 64
        || target.is_empty()
        || !target.chars().all(visible)
    {
        return None;
    }
    let mut host = HOST;
    let (path, query) = if method == "CONNECT" {
        let (name, port) = target.rsplit_once(':')?;
        port.parse::<u16>().ok().filter(|_| !name.is_empty())?;
        host = target;
        ("/", None)
    } else if target.starts_with('/') {
        split(target, "?")
    } else if (method, target) == ("OPTIONS", "*") {
        ("*", None)
    } else {
        let (scheme, rest) = target.split_once("://")?;
        let schemes = ["http", "https"];
        schemes.iter().find(|s| s.eq_ignore_ascii_case(scheme))?;
        let (before_query, query) = split(rest, "?");
        let (authority, path) = split(before_query, "/");
        host = authority;
        let from = before_query.len() - path.map_or(0, |path| path.len() + 1);
        match &before_query[from..] {
            "" => ("/", query),
            path => (path, query),
        }
    };
    if host.is_empty() || !is_host(host.as_bytes()) {
        return None;
    }
    Some(Seen {
        method: method.to_owned(),
        target: target.to_owned(),
        path: path.to_owned(),
        query: query.map(str::to_owned),
        host: host.to_owned(),
        pairs: pairs(query.unwrap_or("")),
    })
}

fn split<'a>(text: &'a str, mark: &str) -> (&'a str, Option<&'a str>) {
    match text.split_once(mark) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

/// Parses `application/x-www-form-urlencoded` by the steps of the URL standard.
fn pairs(query: &str) -> Vec<(String, String)> {
    let filled = query.split('&').filter(|piece| !piece.is_empty());
    filled
        .map(|piece| {
            let (name, value) = split(piece, "=");
            (decode(name), decode(value.unwrap_or("")))
        })
        .collect()
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        let hex = after
            .get(..2)
            .filter(|hex| hex.iter().all(u8::is_ascii_hexdigit));
        bytes.push(match (first, hex) {
            (b'+', _) => b' ',
            (b'%', Some(hex)) => {
                rest = &after[2..];
                let hex = std::str::from_utf8(hex).expect("ASCII");
                u8::from_str_radix(hex, 16).expect("two digits")
            }
            _ => *first,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
