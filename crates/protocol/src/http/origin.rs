//! Origins of browsers (RFC 6454).

use super::host;
use crate::syntax;

/// Scheme and host of a page.
struct Origin<'a> {
    scheme: &'a str,
    /// With its port, if there is one.
    host: &'a str,
}

impl Origin<'_> {
    /// Parses an origin. `None` for a value that is not the origin of a host, such as `null`.
    fn parse(value: &str) -> Option<Origin<'_>> {
        let (scheme, host) = value.split_once("://")?;
        let is_named = !host.is_empty() && !host.starts_with(':');
        let is_good = syntax::is_token(scheme.as_bytes()) && syntax::is_host(host.as_bytes());
        (is_named && is_good).then_some(Origin { scheme, host })
    }

    /// The default port of its scheme. A client may send the scheme of the WebSocket instead of that of the
    /// page.
    fn default_port(&self) -> Option<&'static str> {
        let is = |name| self.scheme.eq_ignore_ascii_case(name);
        match () {
            () if is("http") || is("ws") => Some("80"),
            () if is("https") || is("wss") => Some("443"),
            () => None,
        }
    }
}

/// Whether a page of `origin` was loaded from `host`, the host of a request. The scheme of the request is not
/// known, because a proxy may have ended its TLS. So a host without a port has the default port of the page's
/// scheme.
pub fn is_same(origin: &[u8], host: &str) -> bool {
    let origin = core::str::from_utf8(origin).ok().and_then(Origin::parse);
    origin.is_some_and(|origin| {
        let port = origin.default_port();
        port.is_some_and(|port| host::is_same(origin.host, host, port))
    })
}

/// Whether `origin` is `listed`: the same scheme, host and port, or `null` both.
pub fn is_listed(origin: &[u8], listed: &str) -> bool {
    let Ok(origin) = core::str::from_utf8(origin) else {
        return false;
    };
    match (Origin::parse(origin), Origin::parse(listed)) {
        (Some(a), Some(b)) => {
            let port = a.default_port().unwrap_or_default();
            a.scheme.eq_ignore_ascii_case(b.scheme) && host::is_same(a.host, b.host, port)
        }
        _ => origin == NULL && listed == NULL,
    }
}

/// Whether a value can be in the list of origins.
pub fn can_be_listed(origin: &str) -> bool {
    origin == NULL || Origin::parse(origin).is_some()
}

/// The value that pages without an origin send: files, sandboxes, and pages after a redirect from another
/// origin.
pub const NULL: &str = "null";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_host_and_port() {
        for (origin, host) in [
            ("http://a.example", "a.example"),
            ("https://a.example", "a.example"),
            ("https://A.example", "a.EXAMPLE"),
            ("HTTPS://a.example", "a.example."),
            ("http://a.example", "a.example:80"),
            ("http://a.example:80", "a.example"),
            ("https://a.example", "a.example:443"),
            ("https://a.example:443", "a.example:"),
            ("http://a.example:8080", "a.example:8080"),
            ("https://a.example:8080", "a.example:8080"),
            ("ws://a.example", "a.example"),
            ("wss://a.example:443", "a.example"),
            ("http://127.0.0.1:8080", "127.0.0.1:8080"),
            ("http://[::1]", "[::1]"),
            ("http://[::1]:8080", "[::1]:8080"),
        ] {
            assert!(is_same(origin.as_bytes(), host), "{origin} {host}");
        }
    }

    #[test]
    fn another_or_none() {
        for (origin, host) in [
            ("https://evil.example", "a.example"),
            ("https://a.example.evil.example", "a.example"),
            ("https://xa.example", "a.example"),
            ("http://a.example", "a.example:8080"),
            ("http://a.example:8080", "a.example"),
            ("http://a.example:8080", "a.example:8081"),
            ("http://a.example", "a.example:443"),
            ("https://a.example", "a.example:80"),
            ("http://a.example:65616", "a.example:80"),
            ("http://a.example:80", "a.example:65616"),
            ("null", "a.example"),
            ("null", "null"),
            ("", ""),
            ("http://", ""),
            ("http://:80", ":80"),
            ("a.example", "a.example"),
            ("://a.example", "a.example"),
            ("file://a.example", "a.example"),
            ("chrome-extension://a.example", "a.example"),
            ("http://user@a.example", "a.example"),
            ("http://a.example/", "a.example"),
            ("http://a.example http://evil.example", "a.example"),
            ("http://evil.example http://a.example", "a.example"),
            ("http://[::1]", "::1"),
            ("http://[::1]", "[::2]"),
        ] {
            assert!(!is_same(origin.as_bytes(), host), "{origin} {host}");
        }
        assert!(!is_same(b"http://\xff", "\u{fffd}"));
    }

    #[test]
    fn lists() {
        for (origin, listed) in [
            ("https://a.example", "https://A.example"),
            ("https://a.example", "https://a.example:443"),
            ("http://a.example:81", "http://a.example:81"),
            ("chrome-extension://abc", "chrome-extension://abc"),
            ("null", "null"),
        ] {
            assert!(can_be_listed(listed));
            assert!(is_listed(origin.as_bytes(), listed), "{origin} {listed}");
        }
        for (origin, listed) in [
            ("http://a.example", "https://a.example"),
            ("https://b.example", "https://a.example"),
            ("https://a.example:444", "https://a.example"),
            ("null", "https://a.example"),
            ("https://a.example", "null"),
        ] {
            assert!(can_be_listed(listed));
            assert!(!is_listed(origin.as_bytes(), listed), "{origin} {listed}");
        }
        for bad in [
            "",
            "a.example",
            "*",
            "https://",
            "https://a.example/",
            "https://*.example:x",
        ] {
            assert!(!can_be_listed(bad), "{bad}");
            assert!(!is_listed(bad.as_bytes(), bad), "{bad}");
        }
    }
}
