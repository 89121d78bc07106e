//! Host names.

use alloc::string::String;
/// The part of a host before its port, and the digits of the port: empty if there are none.
fn split(host: &str) -> (&str, &str) {
    match host.rsplit_once(':') {
        // The last colon of an IPv6 address is followed by its bracket.
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => (name, port),
        _ => (host, ""),
    }
}

/// Whether `host`, as a client has sent it, is one of `allowed`. A name with a port allows this port only; a
/// name without a port allows any. Case does not matter (RFC 9110 section 4.2.3). A dot at the end of the
/// name does not matter either (RFC 1034 section 3.1).
pub fn is_allowed(host: &str, allowed: &[String]) -> bool {
    let (name, port) = split(host);
    let name = relative(name);
    !name.is_empty()
        && allowed.iter().any(|allowed| {
            let (allowed_name, allowed_port) = split(allowed);
            relative(allowed_name).eq_ignore_ascii_case(name)
                && (allowed_port.is_empty() || allowed_port == port)
        })
}

/// Whether two hosts are the same for a scheme with this default port (RFC 9110 section 4.2.3).
pub fn is_same(one: &str, other: &str, default_port: &str) -> bool {
    let ((one, one_port), (other, other_port)) = (split(one), split(other));
    let or_default = |port| {
        if str::is_empty(port) {
            default_port
        } else {
            port
        }
    };
    relative(one).eq_ignore_ascii_case(relative(other))
        && or_default(one_port) == or_default(other_port)
}

fn relative(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_ports_and_addresses() {
        let allowed = [
            "example.com",
            "a.example:8080",
            "127.0.0.1",
            "[::1]",
            "dot.",
        ];
        let allowed = allowed.map(String::from);
        for good in [
            "example.com",
            "EXAMPLE.com",
            "example.com.",
            "example.com:1",
            "example.com.:1",
            "example.com:",
            "a.example:8080",
            "127.0.0.1",
            "127.0.0.1:80",
            "[::1]",
            "[::1]:80",
            "dot",
            "dot.",
        ] {
            assert!(is_allowed(good, &allowed), "{good}");
        }
        for bad in [
            "",
            ".",
            ":80",
            "example.com..",
            "xexample.com",
            "example.comx",
            "www.example.com",
            "com",
            "example.com:80:80",
            "a.example",
            "a.example:80",
            "a.example:808",
            "127.0.0.1.evil",
            "::1",
            "[::1",
            "[::2]",
            "user@example.com",
        ] {
            assert!(!is_allowed(bad, &allowed), "{bad}");
        }
        for (one, other, same) in [
            ("a", "A", true),
            ("a", "a:80", true),
            ("a:", "a", true),
            ("a.", "a:80", true),
            ("[::1]", "[::1]:80", true),
            ("a:81", "a:81", true),
            ("a", "a:81", false),
            ("a", "b", false),
            ("a", "", false),
            ("[::1]:80", "[::2]:80", false),
        ] {
            assert_eq!(is_same(one, other, "80"), same, "{one} {other}");
            assert_eq!(is_same(other, one, "80"), same, "{other} {one}");
        }
        assert!(!is_allowed("a", &[]));
        assert!(!is_allowed("", &[String::new()]));
    }
}
