//! Which request paths may name a file, and which file that is.
//!
//! The path is split at its slashes first, and then each component is decoded once. So an encoded slash never
//! becomes a separator. A decoded component may be any name that the system can have and that is not hidden.
//! With [`Names::portable`], and on Windows, it must be a name that means the same on every system: UTF-8, no
//! device, no separator of another system.

use crate::shared::file_name::{MAX_NAME, is_device, is_ignorable, is_invisible, is_special};
use std::borrow::Cow;

/// Maximum depth of folders.
const MAX_DEPTH: usize = 64;

/// Why a path names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The percent-encoding is wrong: 400.
    Malformed,
    /// The path is never served: 404.
    Hidden,
}

/// The rule for names that are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    /// Names that begin with a dot are served too.
    pub(crate) dotfiles: bool,
    /// Only names that mean the same on every system are served.
    pub(crate) portable: bool,
}

/// The relative path that the request path `path` names: decoded, without the slash at its beginning, with
/// the slash at its end if there is one. Empty for the root.
///
/// It is borrowed unless something had to be decoded.
pub(crate) fn relative(path: &str, names: Names) -> Result<Cow<'_, [u8]>, Refusal> {
    let rest = path.strip_prefix('/').ok_or(Refusal::Malformed)?;
    if !names.portable && is_plain(rest.as_bytes()) {
        return Ok(Cow::Borrowed(rest.as_bytes()));
    }
    checked(rest, names)
}

/// Whether a path has nothing to decode, and only names that are allowed everywhere but on Windows: a quick look at most
/// paths. What it says no to may be allowed.
fn is_plain(rest: &[u8]) -> bool {
    let (mut begins, mut depth) = (true, 0);
    for &b in rest {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => begins = false,
            b'.' if !begins => {}
            b'/' if !begins => (begins, depth) = (true, depth + 1),
            _ => return false,
        }
    }
    rest.len() <= MAX_NAME && depth < MAX_DEPTH
}

/// As [`relative`], of a path without its first slash.
fn checked(rest: &str, names: Names) -> Result<Cow<'_, [u8]>, Refusal> {
    let inner = rest.strip_suffix('/').unwrap_or(rest);
    if rest.is_empty() {
        return Ok(Cow::Borrowed(b""));
    }
    for (depth, raw) in inner.split('/').enumerate() {
        let name = decoded(raw)?;
        if !names.allow(&name, depth == 0) || depth == MAX_DEPTH {
            let is_text = !names.portable || std::str::from_utf8(&name).is_ok();
            return Err(match is_text && !name.contains(&0) {
                true => Refusal::Hidden,
                false => Refusal::Malformed,
            });
        }
    }
    decoded(rest)
}

/// Undoes percent-encoding once. A `%` without two hexadecimal digits is an error.
fn decoded(raw: &str) -> Result<Cow<'_, [u8]>, Refusal> {
    let bytes = raw.as_bytes();
    let is_hex = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
    let complete = |at: usize| bytes[at] != b'%' || (is_hex(at + 1) && is_hex(at + 2));
    match memchr::memchr_iter(b'%', bytes).all(complete) {
        true => Ok(percent_encoding::percent_decode(bytes).into()),
        false => Err(Refusal::Malformed),
    }
}

impl Names {
    /// Whether a decoded component may be looked up. `top`: it is the first component.
    ///
    /// It is judged a second time without its invisible characters, because some file systems ignore those.
    pub(crate) fn allow(self, name: &[u8], top: bool) -> bool {
        let seen = visible(name);
        name.len() <= MAX_NAME
            && !name.iter().any(|b| matches!(b, 0 | b'/'))
            && self.shows(name, top)
            && (name.is_ascii() || self.shows(&seen, top))
            && (!self.portable || (is_portable(name) && is_portable(&seen)))
    }

    fn shows(self, name: &[u8], top: bool) -> bool {
        match name {
            b"" | b"." | b".." => false,
            // RFC 8615: files under this name are public.
            b".well-known" if top => true,
            _ => self.dotfiles || name[0] != b'.',
        }
    }
}

/// A name without invisible characters. Bytes that are not UTF-8 count as visible.
fn visible(name: &[u8]) -> Cow<'_, [u8]> {
    if name.is_ascii() {
        return Cow::Borrowed(name);
    }
    let text = String::from_utf8_lossy(name);
    let seen = |c: &char| !is_invisible(*c) && !is_ignorable(*c);
    let seen: String = text.chars().filter(seen).collect();
    Cow::Owned(seen.into_bytes())
}

/// Whether a name means the same on every system. These are the names that Windows can have.
fn is_portable(name: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(name) else {
        return false;
    };
    // `~` with a digit may be part of a short name, for a file that is hidden under its long name.
    let is_short = |pair: &[u8]| pair[0] == b'~' && pair[1].is_ascii_digit();
    let has_meaning = |b: &u8| is_special(*b) || b"\"<>|?*".contains(b);
    // Windows drops these at the end of a name.
    let is_trimmed = text.ends_with(['.', ' ']);
    !is_trimmed
        && !name.iter().any(has_meaning)
        && !name.windows(2).any(is_short)
        && !is_device(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: Names = Names {
        dotfiles: false,
        portable: false,
    };
    const PORTABLE: Names = Names {
        dotfiles: false,
        portable: true,
    };
    const DOTFILES: Names = Names {
        dotfiles: true,
        portable: false,
    };

    fn found(path: &str, names: Names) -> Result<Vec<u8>, Refusal> {
        relative(path, names).map(Cow::into_owned)
    }

    fn is(name: &str) -> Result<Vec<u8>, Refusal> {
        Ok(name.as_bytes().to_vec())
    }

    #[test]
    fn plain_paths_borrow() {
        for (path, expected) in [
            ("/", ""),
            ("/a", "a"),
            ("/a/b.txt", "a/b.txt"),
            ("/dir/", "dir/"),
            ("/.well-known/acme", ".well-known/acme"),
            ("/console", "console"),
            ("/com", "com"),
            ("/com10", "com10"),
            ("/nullable.js", "nullable.js"),
            ("/a..b", "a..b"),
            ("/~user", "~user"),
        ] {
            for names in [ANY, PORTABLE] {
                let found = relative(path, names);
                let is_it = matches!(found, Ok(Cow::Borrowed(p)) if p == expected.as_bytes());
                assert!(is_it, "{path}");
            }
        }
    }

    /// The quick look allows nothing that the rules refuse.
    #[test]
    fn plain_paths_pass_the_rules() {
        let parts = [
            "a", ".", "..", "/", "Z9", "-_", "%", "~", " ", "\u{e9}", "\\", "0",
        ];
        let mut plain = 0;
        for n in 0..parts.len().pow(4) {
            let at = |place: u32| parts[n / parts.len().pow(place) % parts.len()];
            let path = [at(0), at(1), at(2), at(3)].concat();
            if is_plain(path.as_bytes()) {
                plain += 1;
                let found = checked(&path, ANY);
                assert!(
                    matches!(found, Ok(Cow::Borrowed(found)) if found == path.as_bytes()),
                    "{path}"
                );
            }
        }
        assert!(plain > 100, "{plain}");
        let deep = |n: usize| ["a"].repeat(n).join("/");
        for path in [
            deep(64),
            deep(65),
            deep(64) + "/",
            "a".repeat(255),
            "a".repeat(256),
        ] {
            assert!(
                !is_plain(path.as_bytes()) || checked(&path, ANY).is_ok(),
                "{path}"
            );
        }
    }

    #[test]
    fn decoding_happens_once() {
        for names in [ANY, PORTABLE] {
            assert_eq!(found("/a%20b", names), is("a b"));
            assert_eq!(found("/%C3%A9.txt", names), is("é.txt"));
            assert_eq!(found("/a%2520b", names), is("a%20b"));
            assert_eq!(found("/%2e%2e", names), Err(Refusal::Hidden));
            assert_eq!(found("/%252e%252e", names), is("%2e%2e"));
            assert_eq!(found("/a%2fb", names), Err(Refusal::Hidden));
            for malformed in ["", "a", "/%", "/%4", "/%zz", "/a%00"] {
                let found = found(malformed, names);
                assert_eq!(found, Err(Refusal::Malformed), "{malformed}");
            }
        }
        // Valid names on some systems, but not UTF-8.
        for (path, name) in [
            ("/%c0%ae", &b"\xc0\xae"[..]),
            ("/%ff", b"\xff"),
            ("/%e2%82", b"\xe2\x82"),
        ] {
            assert_eq!(found(path, ANY), Ok(name.to_vec()));
            assert_eq!(found(path, PORTABLE), Err(Refusal::Malformed));
        }
    }

    #[test]
    fn dotfiles_are_a_choice_and_dots_are_not() {
        assert_eq!(found("/.git/config", ANY), Err(Refusal::Hidden));
        assert_eq!(found("/.git/config", DOTFILES), is(".git/config"));
        assert_eq!(found("/a/.well-known/x", ANY), Err(Refusal::Hidden));
        for path in ["/..", "/.", "/a/../b", "/a/./b", "/..a/..", "//", "/a//b"] {
            assert_eq!(found(path, DOTFILES), Err(Refusal::Hidden), "{path}");
        }
    }

    /// A name with the character is refused if the rest of the name means something else, and only then.
    #[test]
    fn invisible_characters_change_nothing() {
        let names = [
            ("%E2%80%8C", '\u{200c}'),
            ("%C2%AD", '\u{ad}'),
            ("%D8%9C", '\u{61c}'),
            ("%E2%80%A8", '\u{2028}'),
            ("%F3%A0%80%81", '\u{e0001}'),
            // Ignored in folders of Linux that ignore case.
            ("%CD%8F", '\u{34f}'),
            ("%E1%85%9F", '\u{115f}'),
            ("%E1%9E%B4", '\u{17b4}'),
            ("%E1%A0%8F", '\u{180f}'),
            ("%E3%85%A4", '\u{3164}'),
            ("%EF%B8%8F", '\u{fe0f}'),
            ("%EF%BE%A0", '\u{ffa0}'),
            ("%EF%BF%B0", '\u{fff0}'),
            ("%F0%9B%B2%A0", '\u{1bca0}'),
            ("%F0%9D%85%B3", '\u{1d173}'),
            ("%F3%A0%84%80", '\u{e0100}'),
        ];
        for (raw, c) in names {
            for (path, expected) in [
                (format!("/a{raw}b"), Some(format!("a{c}b"))),
                (format!("/a.{raw}"), Some(format!("a.{c}"))),
                (format!("/{raw}.git"), None),
                (format!("/.{raw}git"), None),
                (format!("/a/{raw}.{raw}.{raw}"), None),
                (format!("/{raw}"), None),
            ] {
                let expected = expected.map_or(Err(Refusal::Hidden), |name| is(&name));
                assert_eq!(found(&path, ANY), expected, "{path}");
            }
            for path in [
                format!("/co{raw}n"),
                format!("/a.{raw}"),
                format!("/{raw}nul.txt"),
            ] {
                assert_eq!(found(&path, PORTABLE), Err(Refusal::Hidden), "{path}");
            }
            assert_eq!(found(&format!("/..{raw}"), DOTFILES), Err(Refusal::Hidden));
        }
    }

    #[test]
    fn every_byte_in_a_name() {
        for b in 0..=0xff_u8 {
            let path = format!("/x%{b:02x}y");
            let expected = match b {
                0 => Err(Refusal::Malformed),
                b'/' => Err(Refusal::Hidden),
                _ => Ok(vec![b'x', b, b'y']),
            };
            assert_eq!(found(&path, ANY), expected, "{path}");
            let expected = match b {
                0 | 0x80.. => Err(Refusal::Malformed),
                1..=0x1f | 0x7f => Err(Refusal::Hidden),
                _ if b"/\\:\"<>|?*".contains(&b) => Err(Refusal::Hidden),
                _ => expected,
            };
            assert_eq!(found(&path, PORTABLE), expected, "{path}");
        }
    }
}
