//! Which request paths may name a file, and which file that is: functions over text, no files here.
//!
//! The path is split at its slashes first and each component is decoded once, so that an encoded
//! slash never becomes a separator. What is decoded must be UTF-8 and a name that means the same on
//! every system: a path that is harmless on one and a device or another folder on the next is
//! refused on both.

use crate::protocol::file_name::{MAX_NAME, is_device, is_invisible, is_special};
use std::borrow::Cow;

/// Folders within folders.
const MAX_DEPTH: usize = 64;

/// Why a path names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Not the encoding of any path: 400.
    Malformed,
    /// A path that is never served: 404.
    Hidden,
}

/// The relative path that `path`, as it stands in a request, names: decoded, without the slash at
/// its beginning, with the one at its end if there is one. Empty for the root.
///
/// Borrowed unless something had to be decoded.
pub(crate) fn relative(path: &str, dotfiles: bool) -> Result<Cow<'_, str>, Refusal> {
    let rest = path.strip_prefix('/').ok_or(Refusal::Malformed)?;
    let inner = rest.strip_suffix('/').unwrap_or(rest);
    if rest.is_empty() {
        return Ok(Cow::Borrowed(rest));
    }
    for (depth, raw) in inner.split('/').enumerate() {
        let name = decoded(raw)?;
        if !is_servable(&name, depth == 0, dotfiles) || depth == MAX_DEPTH {
            return Err(match name.contains('\0') {
                true => Refusal::Malformed,
                false => Refusal::Hidden,
            });
        }
    }
    decoded(rest)
}

/// Undoes percent-encoding once. A `%` without two hexadecimal digits, or bytes that are not UTF-8,
/// overlong forms included, are an error.
fn decoded(raw: &str) -> Result<Cow<'_, str>, Refusal> {
    let bytes = raw.as_bytes();
    let is_hex = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
    let complete = |at: usize| bytes[at] != b'%' || (is_hex(at + 1) && is_hex(at + 2));
    if !memchr::memchr_iter(b'%', bytes).all(complete) {
        return Err(Refusal::Malformed);
    }
    percent_encoding::percent_decode(bytes)
        .decode_utf8()
        .map_err(|_| Refusal::Malformed)
}

/// Whether a decoded component may be looked up.
pub(crate) fn is_servable(name: &str, top: bool, dotfiles: bool) -> bool {
    let bytes = name.as_bytes();
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    let is_dots = matches!(name, "." | "..");
    // RFC 8615: what is under this name is meant to be found.
    let is_hidden = first == b'.' && !dotfiles && !(top && name == ".well-known");
    // Windows drops these from the end of a name.
    let is_trimmed = matches!(last, b'.' | b' ');
    !(is_dots || is_hidden || is_trimmed)
        && bytes.len() <= MAX_NAME
        && !bytes.iter().any(|&b| is_special(b))
        && !(cfg!(windows) && is_special_on_windows(bytes))
        && (name.is_ascii() || !name.chars().any(is_invisible))
        && !is_device(name)
}

/// What else means something in a Windows path; `~` with a digit may be the short name of a file
/// that is hidden under its long one.
fn is_special_on_windows(name: &[u8]) -> bool {
    let short = |pair: &[u8]| pair[0] == b'~' && pair[1].is_ascii_digit();
    name.windows(2).any(short) || name.iter().any(|b| b"\"<>|?*".contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let found = relative(path, false);
            assert!(
                matches!(found, Ok(Cow::Borrowed(p)) if p == expected),
                "{path}"
            );
        }
    }

    #[test]
    fn decoding_happens_once() {
        assert_eq!(relative("/a%20b", false).as_deref(), Ok("a b"));
        assert_eq!(relative("/%C3%A9.txt", false).as_deref(), Ok("é.txt"));
        assert_eq!(relative("/a%2520b", false).as_deref(), Ok("a%20b"));
        assert_eq!(relative("/%2e%2e", false), Err(Refusal::Hidden));
        assert_eq!(relative("/%252e%252e", false).as_deref(), Ok("%2e%2e"));
        for malformed in [
            "", "a", "/%", "/%4", "/%zz", "/%c0%ae", "/%ff", "/a%00", "/%e2%82",
        ] {
            assert_eq!(
                relative(malformed, false),
                Err(Refusal::Malformed),
                "{malformed}"
            );
        }
    }

    #[test]
    fn dotfiles_are_a_choice_and_dots_are_not() {
        assert_eq!(relative("/.git/config", false), Err(Refusal::Hidden));
        assert_eq!(relative("/.git/config", true).as_deref(), Ok(".git/config"));
        assert_eq!(relative("/a/.well-known/x", false), Err(Refusal::Hidden));
        for path in ["/..", "/.", "/a/../b", "/a/./b", "/..a/.."] {
            assert_eq!(relative(path, true), Err(Refusal::Hidden), "{path}");
        }
    }

    #[test]
    fn every_byte_in_a_name() {
        for b in 0..=0xff_u8 {
            let path = format!("/x%{b:02x}y");
            let expected = match b {
                0 | 0x80.. => Err(Refusal::Malformed),
                b'/' | b'\\' | b':' | 1..=0x1f | 0x7f => Err(Refusal::Hidden),
                _ if cfg!(windows) && b"\"<>|?*".contains(&b) => Err(Refusal::Hidden),
                _ => Ok(format!("x{}y", char::from(b))),
            };
            let found = relative(&path, false).map(Cow::into_owned);
            assert_eq!(found, expected, "{path}");
        }
    }
}
