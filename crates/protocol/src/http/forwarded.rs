//! What proxies say about requests: `Forwarded` (RFC 7239) and `X-Forwarded-*`.
//!
//! Each proxy appends an element. So the elements are read from the last one to the first one, and what a client has
//! written in front of them cannot change how the last ones are read. The caller decides how many elements it trusts.

use crate::syntax;
use core::net::{IpAddr, Ipv6Addr, SocketAddr};

/// What one proxy says about the request that it has received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hop<'a> {
    /// The address from which it has received the request. The port is 0 if the proxy does not tell it. `None` if it
    /// does not tell the address: the element is malformed, has an obfuscated identifier or `unknown` (RFC 7239 section
    /// 6).
    pub client: Option<SocketAddr>,
    /// The scheme of the request: `http` or `https`.
    pub scheme: Option<&'static str>,
    /// The `Host` of the request.
    pub host: Option<&'a str>,
}

/// The hops of one field `Forwarded`, the last one first. Empty elements are left out (RFC 9110 section 5.6.1).
///
/// An element with a backslash is malformed here: no address, scheme or host needs one, and a client could otherwise
/// make proxies and servers disagree about the end of a quoted string.
pub fn forwarded(value: &[u8]) -> impl Iterator<Item = Hop<'_>> {
    Backwards { rest: Some(value) }
        .map(syntax::trim)
        .filter(|element| !element.is_empty())
        .map(|element| hop(element).unwrap_or_default())
}

/// The hops of one field `X-Forwarded-For`, the last one first. Empty elements are left out.
pub fn x_forwarded_for(value: &[u8]) -> impl Iterator<Item = Hop<'_>> {
    let elements = value.rsplit(|&b| b == b',').map(syntax::trim);
    elements
        .filter(|element| !element.is_empty())
        .map(|element| Hop {
            client: core::str::from_utf8(element).ok().and_then(address),
            ..Hop::default()
        })
}

/// The last element of a field `X-Forwarded-Proto` or `X-Forwarded-Host`.
pub fn last(value: &[u8]) -> Option<&[u8]> {
    let mut elements = value.rsplit(|&b| b == b',').map(syntax::trim);
    elements.find(|element| !element.is_empty())
}

/// The scheme with this name; `ws` and `wss` are WebSockets over `http` and `https` (RFC 6455 section 3).
pub fn scheme(name: &[u8]) -> Option<&'static str> {
    let is = |scheme: &&&str| name.eq_ignore_ascii_case(scheme.as_bytes());
    match ["http", "https", "ws", "wss"].iter().find(is)? {
        &"http" | &"ws" => Some("http"),
        _ => Some("https"),
    }
}

/// A host that may stand in `Host`, and is not empty.
pub fn host(name: &[u8]) -> Option<&str> {
    let is_good = !name.is_empty() && syntax::is_host(name);
    core::str::from_utf8(name).ok().filter(|_| is_good)
}

/// The elements of a list from the last one to the first one. A comma in a quoted string ends none.
struct Backwards<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Iterator for Backwards<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest?;
        let mut is_quoted = false;
        let comma = rest.iter().rposition(|&b| {
            is_quoted ^= b == b'"';
            b == b',' && !is_quoted
        });
        let (before, element) = match comma {
            Some(at) => (Some(&rest[..at]), &rest[at + 1..]),
            None => (None, rest),
        };
        self.rest = before;
        Some(element)
    }
}

/// The parameters of an element of `Forwarded`. `None` if it is malformed.
fn hop(mut rest: &[u8]) -> Option<Hop<'_>> {
    const NAMES: [&str; 4] = ["for", "proto", "host", "by"];
    let mut values: [Option<&[u8]>; 4] = [None; 4];
    while !rest.is_empty() {
        // A pair may be empty (RFC 7239 section 4).
        if let [b';', after @ ..] = rest {
            rest = syntax::trim_start(after);
            continue;
        }
        let (name, value, after) = pair(rest)?;
        let known = NAMES
            .iter()
            .position(|known| name.eq_ignore_ascii_case(known.as_bytes()));
        if let Some(known) = known {
            // A parameter must not occur twice (RFC 7239 section 4).
            if values[known].replace(value).is_some() {
                return None;
            }
        }
        rest = after;
    }
    let [client, proto, named, _] = values;
    Some(Hop {
        client: client.and_then(|node| address(core::str::from_utf8(node).ok()?)),
        scheme: proto.and_then(scheme),
        host: named.and_then(host),
    })
}

/// `name=value`, and what stands behind it and its semicolon. The value has no quotes any more.
fn pair(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let equals = bytes.iter().position(|&b| b == b'=')?;
    let (name, rest) = (syntax::trim_start(&bytes[..equals]), &bytes[equals + 1..]);
    let (value, rest) = match rest {
        [b'"', quoted @ ..] => {
            let end = quoted.iter().position(|&b| b == b'"')?;
            (&quoted[..end], &quoted[end + 1..])
        }
        _ => {
            let end = rest.iter().position(|b| b"; \t".contains(b));
            let (value, rest) = rest.split_at(end.unwrap_or(rest.len()));
            if !syntax::is_token(value) {
                return None;
            }
            (value, rest)
        }
    };
    let rest = match syntax::trim_start(rest) {
        [] => &[][..],
        [b';', rest @ ..] => syntax::trim_start(rest),
        _ => return None,
    };
    let is_good = syntax::is_token(name) && !value.contains(&b'\\');
    is_good.then_some((name, value, rest))
}

/// The address of a node: `192.0.2.1`, `192.0.2.1:80`, `[2001:db8::1]`, `[2001:db8::1]:80`; `2001:db8::1`, which
/// `X-Forwarded-For` has. The port is 0 if there is none, or an obfuscated one (RFC 7239 section 6.3).
fn address(node: &str) -> Option<SocketAddr> {
    let (ip, port): (IpAddr, &str) = match node.strip_prefix('[') {
        Some(node) => {
            let (ip, port) = node.split_once(']')?;
            (ip.parse::<Ipv6Addr>().ok()?.into(), port)
        }
        None => match node.parse() {
            Ok(ip) => (ip, ""),
            Err(_) => {
                let (ip, _) = node.split_once(':')?;
                (ip.parse().ok()?, &node[ip.len()..])
            }
        },
    };
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => 0,
        None => return None,
        Some(hidden) if is_obfuscated(hidden) => 0,
        // The parser of the standard library would accept a sign.
        Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => port.parse().ok()?,
        Some(_) => return None,
    };
    Some(SocketAddr::new(ip.to_canonical(), port))
}

/// An underscore, then letters, digits and `._-` (RFC 7239 section 6.3).
fn is_obfuscated(text: &str) -> bool {
    let is_good = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    let hidden = text.strip_prefix('_');
    hidden.is_some_and(|hidden| !hidden.is_empty() && hidden.bytes().all(is_good))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::{String, ToString};
    use alloc::vec::Vec;

    /// What a field says, the last hop first: `address scheme host`, `-` for what is not told.
    fn said<'a>(hops: impl Iterator<Item = Hop<'a>>) -> String {
        let shown = hops.map(|hop| {
            let client = hop.client.map_or("-".into(), |addr| match addr.port() {
                0 => addr.ip().to_string(),
                _ => addr.to_string(),
            });
            let (scheme, host) = (hop.scheme.unwrap_or("-"), hop.host.unwrap_or("-"));
            alloc::format!("{client} {scheme} {host}")
        });
        shown.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn elements_of_forwarded() {
        for (value, hops) in [
            // The examples of RFC 7239.
            ("for=\"_gazonk\"", "- - -"),
            (
                "For=\"[2001:db8:cafe::17]:4711\"",
                "[2001:db8:cafe::17]:4711 - -",
            ),
            (
                "for=192.0.2.60;proto=http;by=203.0.113.43",
                "192.0.2.60 http -",
            ),
            (
                "for=192.0.2.60; proto=http; by=203.0.113.43",
                "192.0.2.60 http -",
            ),
            (
                "for=192.0.2.43, for=198.51.100.17",
                "198.51.100.17 - -, 192.0.2.43 - -",
            ),
            ("for=_hidden, for=_SEVKISEK", "- - -, - - -"),
            ("for=unknown;host=a.example", "- - a.example"),
            ("for=\"192.0.2.43:47011\"", "192.0.2.43:47011 - -"),
            ("for=\"192.0.2.43:_port\"", "192.0.2.43 - -"),
            // Empty elements, and none.
            ("", ""),
            (" , ,\t", ""),
            ("for=1.1.1.1,, for=2.2.2.2,", "2.2.2.2 - -, 1.1.1.1 - -"),
            // Quotes.
            (
                "for=\"1.1.1.1\";host=\"a, b\";proto=\"https\"",
                "1.1.1.1 https -",
            ),
            ("host=\"[::1]:80\";for=\"[::1]\"", "::1 - [::1]:80"),
            ("x=\"a;b,c=\";for=1.1.1.1", "1.1.1.1 - -"),
            // Case, and unknown parameters.
            ("FOR=1.1.1.1;PROTO=HTTPS;HOST=A;secret=x", "1.1.1.1 https A"),
            ("proto=wss", "- https -"),
            ("proto=ftp;for=1.1.1.1", "1.1.1.1 - -"),
            ("for=1.1.1.1;host=\"\"", "1.1.1.1 - -"),
            ("for=1.1.1.1;host=\"a/b\"", "1.1.1.1 - -"),
            ("for=1.1.1.1;", "1.1.1.1 - -"),
            (";for=1.1.1.1; ;;proto=http;", "1.1.1.1 http -"),
            // Malformed: nothing of the element is believed.
            ("for", "- - -"),
            ("for=", "- - -"),
            ("=1.1.1.1", "- - -"),
            ("for=1.1.1.1 proto=http", "- - -"),
            ("for=[::1];proto=http", "- - -"),
            ("for=1.1.1.1:80;proto=http", "- - -"),
            ("for=1.1.1.1;for=2.2.2.2;proto=http", "- - -"),
            ("for=\"1.1.1.1\"x;proto=http", "- - -"),
            ("for=\"1.1.1\\.1\";proto=http", "- - -"),
            ("for =1.1.1.1;proto=http", "- - -"),
            ("for=\u{1}1.1.1.1;proto=http", "- - -"),
        ] {
            assert_eq!(said(forwarded(value.as_bytes())), hops, "{value}");
        }
    }

    /// What a client writes in front of the element of a proxy does not change how that is read.
    #[test]
    fn the_last_element_is_read_whatever_stands_before_it() {
        let proxy = "for=192.0.2.1;proto=https;host=\"a:1\"";
        for before in [
            "\"",
            "for=\"",
            "for=6.6.6.6",
            "\\",
            "for=\"\\",
            "a=\"\\\"",
            ",\",",
            ";=;",
            "\"\"\"",
        ] {
            let value = alloc::format!("{before}, {proxy}");
            let first = forwarded(value.as_bytes()).next();
            assert_eq!(said(first.into_iter()), "192.0.2.1 https a:1", "{before}");
        }
        // A proxy that escapes what a client has sent as its host.
        for host in ["a\\\"", ";y=\\\"", "\\\\"] {
            for before in ["for=6.6.6.6;x=\"", "for=6.6.6.6", "\""] {
                let value = alloc::format!("{before}, for=192.0.2.1;host=\"{host}\"");
                let first = forwarded(value.as_bytes()).next().expect("an element");
                assert_eq!(first, Hop::default(), "{value}");
            }
        }
    }

    #[test]
    fn elements_of_x_forwarded_for() {
        for (value, hops) in [
            ("192.0.2.1", "192.0.2.1 - -"),
            ("192.0.2.1:80", "192.0.2.1:80 - -"),
            ("2001:db8::1", "2001:db8::1 - -"),
            ("[2001:db8::1]", "2001:db8::1 - -"),
            ("[2001:db8::1]:80", "[2001:db8::1]:80 - -"),
            ("::ffff:192.0.2.1", "192.0.2.1 - -"),
            ("[::ffff:192.0.2.1]:80", "192.0.2.1:80 - -"),
            (" 1.1.1.1 ,\t2.2.2.2", "2.2.2.2 - -, 1.1.1.1 - -"),
            ("1.1.1.1,,, ", "1.1.1.1 - -"),
            (",", ""),
            ("unknown, 1.1.1.1", "1.1.1.1 - -, - - -"),
            ("1.1.1.1, a.example", "- - -, 1.1.1.1 - -"),
            ("1.1.1.1:", "- - -"),
            ("1.1.1.1:+80", "- - -"),
            ("1.1.1.1:65536", "- - -"),
            ("01.1.1.1", "- - -"),
            ("1.1.1.1.1", "- - -"),
            ("\"1.1.1.1\"", "- - -"),
            ("[1.1.1.1]", "- - -"),
            ("[::1", "- - -"),
            ("[::1]80", "- - -"),
            ("::1]", "- - -"),
            ("2001:db8::1:99999", "- - -"),
            ("fe80::1%eth0", "- - -"),
            ("\u{fc}", "- - -"),
        ] {
            assert_eq!(said(x_forwarded_for(value.as_bytes())), hops, "{value}");
        }
    }

    #[test]
    fn last_elements_schemes_and_hosts() {
        for (value, found) in [
            ("a", Some("a")),
            ("a, b ", Some("b")),
            ("a, ,", Some("a")),
            (" ", None),
        ] {
            assert_eq!(last(value.as_bytes()), found.map(str::as_bytes), "{value}");
        }
        for (name, found) in [
            ("HTTP", Some("http")),
            ("wss", Some("https")),
            ("httpss", None),
            ("", None),
        ] {
            assert_eq!(scheme(name.as_bytes()), found, "{name}");
        }
        for (name, found) in [
            ("a:80", true),
            ("[::1]", true),
            ("", false),
            ("a b", false),
            ("u@a", false),
        ] {
            assert_eq!(host(name.as_bytes()).is_some(), found, "{name}");
        }
    }

    /// Any bytes end, and give no more hops than they have commas.
    #[test]
    fn any_bytes_are_read() {
        let alphabet = b"\",;=for\\ [:1.\xff";
        let mut state = 1_u32;
        for length in 0..40 {
            for _ in 0..200 / crate::tests::EVERY {
                let value: Vec<u8> = (0..length)
                    .map(|_| {
                        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        alphabet[(state >> 16) as usize % alphabet.len()]
                    })
                    .collect();
                let most = value.iter().filter(|&&b| b == b',').count() + 1;
                assert!(forwarded(&value).count() <= most, "{value:?}");
                assert!(x_forwarded_for(&value).count() <= most, "{value:?}");
            }
        }
    }
}
