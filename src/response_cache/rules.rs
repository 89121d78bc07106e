//! Which responses are kept, and for how long (RFC 9111 sections 3, 4.2 and 5.2).

use super::CacheConfig;
use crate::http::response::filter::RecordedResponse;
use peregrine_protocol::http::field_block;
use peregrine_protocol::http::response::BodySize;
use std::time::Duration;

/// More names in `Vary` than these make a response that is not kept.
pub(super) const VARY_NAMES: usize = 16;

/// What the cache does with a response.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Keep(Lifetime),
    /// A page that is for the request that caused it only. Others of the same key are probably the same.
    NotKept,
    /// There is no such page: 404 or 410.
    Gone,
    /// It is for its request only, and says nothing about those of others: 304, 401, 406, 429.
    Other,
    /// There is no response that is worth anything. The next request may have one.
    Failed,
}

/// How long a response is kept.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lifetime {
    /// Its age when it came.
    pub(super) age: Duration,
    /// Until this age it is sent.
    pub(super) fresh: Duration,
    /// For so long after that it is sent while another one is computed.
    pub(super) stale: Duration,
    /// The request fields on which it depends, in lower case.
    pub(super) vary: Vec<String>,
}

pub(super) fn judge(response: &mut RecordedResponse<'_>, config: &CacheConfig) -> Verdict {
    let status = response.head.status;
    match status {
        200 => {}
        404 | 410 => return Verdict::Gone,
        500.. => return Verdict::Failed,
        _ => return Verdict::Other,
    }
    let is_short =
        matches!(response.size, BodySize::Known(len) if len <= config.response_bytes as u64);
    let is_complete = response.streamed.is_none() && response.is_sent;
    // A response in place of another one has the fields of layers around the cache.
    let is_own = !response.is_replacement && !response.head.upgrade;
    match is_complete && is_short && is_own {
        true => lifetime(response.fields(), config).map_or(Verdict::NotKept, Verdict::Keep),
        false => Verdict::NotKept,
    }
}

/// `None` if a field says that the response must not be kept.
fn lifetime(fields: &[u8], config: &CacheConfig) -> Option<Lifetime> {
    let mut control = Control::default();
    let (mut age, mut vary, mut expires) = (0, Vec::new(), false);
    for (name, value) in field_block::fields(fields) {
        match name.to_ascii_lowercase().as_slice() {
            b"cache-control" => control.read(value),
            b"vary" => add_names(value, &mut vary)?,
            b"age" => age = seconds(value),
            b"expires" => expires = true,
            b"set-cookie"
            | b"set-cookie2"
            | b"content-range"
            | b"www-authenticate"
            | b"authentication-info"
            | b"proxy-authentication-info" => return None,
            _ => {}
        }
    }
    if control.is_private || vary.len() > VARY_NAMES {
        return None;
    }
    let told = control.s_maxage.or(control.max_age);
    let told = told.map(|s| Duration::from_secs(s.into()));
    // A date is not read: without an age of its own such a response is not kept.
    let fresh = match told {
        None if expires => return None,
        told => told.unwrap_or(config.ttl),
    };
    let age = Duration::from_secs(age.into());
    let stale = control.stale.map(|s| Duration::from_secs(s.into()));
    let stale = match control.must_revalidate || control.s_maxage.is_some() {
        true => Duration::ZERO,
        false => stale.unwrap_or(config.stale),
    };
    (age < fresh).then_some(Lifetime {
        age,
        fresh,
        stale,
        vary,
    })
}

/// Whether fields that are set before the handler is called exclude the request from the cache; if not, adds the names of `Vary`.
pub(super) fn read_outer(fields: &[u8], vary: &mut Vec<String>) -> Option<()> {
    let mut control = Control::default();
    for (name, value) in field_block::fields(fields) {
        match name.to_ascii_lowercase().as_slice() {
            b"vary" => add_names(value, vary)?,
            b"cache-control" => control.read(value),
            b"set-cookie" => return None,
            _ => {}
        }
    }
    (!control.is_private && vary.len() <= VARY_NAMES).then_some(())
}

/// Adds the names in a value of `Vary`. `None` if it has a `*`, or what is no name.
fn add_names(value: &[u8], names: &mut Vec<String>) -> Option<()> {
    for name in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
        if name.is_empty() {
            continue;
        }
        if name == b"*" || !peregrine_protocol::syntax::is_token(name) {
            return None;
        }
        let name = String::from_utf8_lossy(&name.to_ascii_lowercase()).into_owned();
        if let Err(at) = names.binary_search(&name) {
            names.insert(at, name);
        }
    }
    Some(())
}

/// The directives of `Cache-Control` (RFC 9111 section 5.2.2, RFC 5861 section 3).
#[derive(Default)]
struct Control {
    is_private: bool,
    must_revalidate: bool,
    max_age: Option<u32>,
    s_maxage: Option<u32>,
    stale: Option<u32>,
}

impl Control {
    fn read(&mut self, value: &[u8]) {
        for directive in directives(value) {
            let mut parts = directive.splitn(2, |byte| *byte == b'=');
            let name = parts.next().unwrap_or_default().trim_ascii();
            let argument = parts.next().unwrap_or_default();
            // Of two values the shorter one counts.
            let least = |old: Option<u32>| {
                let new = seconds(argument);
                Some(old.map_or(new, |old| old.min(new)))
            };
            match name.to_ascii_lowercase().as_slice() {
                b"no-store" | b"private" | b"no-cache" => self.is_private = true,
                b"must-revalidate" | b"proxy-revalidate" => self.must_revalidate = true,
                b"max-age" => self.max_age = least(self.max_age),
                b"s-maxage" => self.s_maxage = least(self.s_maxage),
                b"stale-while-revalidate" => self.stale = least(self.stale),
                _ => {}
            }
        }
    }
}

/// The elements of a list. A comma within quotes separates none.
fn directives(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let parts = value.split(move |byte| {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            b',' => return !is_quoted,
            _ => {}
        }
        false
    });
    parts.map(<[u8]>::trim_ascii)
}

/// A number of seconds, with or without quotes. What is none counts as 0, so that the response is not kept.
fn seconds(value: &[u8]) -> u32 {
    let value = value.trim_ascii();
    let inner = value
        .strip_prefix(b"\"")
        .and_then(|v| v.strip_suffix(b"\""));
    let digits = inner.unwrap_or(value);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return 0;
    }
    let text = std::str::from_utf8(digits).unwrap_or_default();
    text.parse().unwrap_or(i32::MAX as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fields of a response, and for how many seconds it is fresh and stale.
    #[test]
    fn what_fields_say_about_the_time() {
        let config = CacheConfig::default()
            .ttl(Duration::from_secs(10))
            .stale(Duration::from_secs(20));
        for (fields, expected) in [
            ("", Some((10, 20))),
            ("Cache-Control: public\r\n", Some((10, 20))),
            ("Cache-Control: max-age=5\r\n", Some((5, 20))),
            (
                "cache-control: no-transform, MAX-AGE=\"5\"\r\n",
                Some((5, 20)),
            ),
            ("Cache-Control: max-age=5, max-age=3\r\n", Some((3, 20))),
            (
                "Cache-Control: max-age=5\r\nCache-Control: s-maxage=7\r\n",
                Some((7, 0)),
            ),
            ("Cache-Control: max-age=0, s-maxage=7\r\n", Some((7, 0))),
            ("Cache-Control: must-revalidate\r\n", Some((10, 0))),
            (
                "Cache-Control: proxy-revalidate, max-age=6\r\n",
                Some((6, 0)),
            ),
            ("Cache-Control: stale-while-revalidate=1\r\n", Some((10, 1))),
            (
                "Cache-Control: stale-while-revalidate=1, must-revalidate\r\n",
                Some((10, 0)),
            ),
            (
                "Cache-Control: max-age=99999999999\r\n",
                Some((i32::MAX as u64, 20)),
            ),
            ("Cache-Control: x=\"private, no-store\"\r\n", Some((10, 20))),
            ("Cache-Control: x=\"\\\", max-age=99\"\r\n", Some((10, 20))),
            ("Age: 4\r\nCache-Control: max-age=5\r\n", Some((5, 20))),
            ("Vary: accept\r\n", Some((10, 20))),
            ("Expires: 0\r\nCache-Control: max-age=5\r\n", Some((5, 20))),
            ("Expires: Thu, 01 Jan 2099 00:00:00 GMT\r\n", None),
            ("Age: 5\r\nCache-Control: max-age=5\r\n", None),
            ("Cache-Control: max-age=0\r\n", None),
            ("Cache-Control: max-age=-1\r\n", None),
            ("Cache-Control: max-age\r\n", None),
            ("Cache-Control: max-age=5, s-maxage=0\r\n", None),
            ("Cache-Control: no-store\r\n", None),
            ("Cache-Control: max-age=5, PRIVATE\r\n", None),
            ("Cache-Control: private=\"x-a\"\r\n", None),
            ("Cache-Control: no-cache=\"a, b\"\r\n", None),
            ("Cache-Control: public\r\nCache-Control: no-cache\r\n", None),
            ("Set-Cookie: a=b\r\n", None),
            ("Content-Range: bytes 0-1/2\r\n", None),
            ("WWW-Authenticate: Basic\r\n", None),
            ("Vary: *\r\n", None),
            ("Vary: accept, *\r\n", None),
            ("Vary: a b\r\n", None),
        ] {
            let lifetime = lifetime(fields.as_bytes(), &config);
            let found = lifetime.map(|l| (l.fresh.as_secs(), l.stale.as_secs()));
            assert_eq!(found, expected, "{fields}");
        }
        let fields = b"Vary: B, a\r\nVary: ,A , c\r\n";
        let vary = lifetime(fields, &config).map(|lifetime| lifetime.vary);
        assert_eq!(vary, Some(["a", "b", "c"].map(String::from).to_vec()));
        let many: String = (0..=VARY_NAMES)
            .map(|n| format!("Vary: x-{n}\r\n"))
            .collect();
        assert_eq!(lifetime(many.as_bytes(), &config), None);
    }
}
