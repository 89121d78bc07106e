//! Topics as subjects.
//!
//! | topic | subject with the prefix `peregrine` |
//! |---|---|
//! | none: a broadcast | `peregrine.all` |
//! | `news` | `peregrine.t.news` |
//! | `room/7 é` | `peregrine.t.room%2F7%20%C3%A9` |
//! | `a.b` | `peregrine.t.a%2Eb` |
//! | the empty topic | `peregrine.t.%` |
//!
//! ASCII letters, digits, `-` and `_` stand for themselves, and each other byte of the UTF-8 for `%` and two hexadecimal digits,
//! in upper case. So a topic is one token of a subject, and none of its characters is a wildcard. In Python:
//! `"".join(c if c.isascii() and (c.isalnum() or c in "-_") else "".join("%%%02X" % b for b in c.encode()) for c in topic)`.

/// The longest subject. The broker takes 4,096 bytes for a whole line by default.
const MOST: usize = 3072;

/// Appends the subject of a topic. False if it is too long.
pub(crate) fn push(prefix: &str, topic: Option<&str>, out: &mut Vec<u8>) -> bool {
    let before = out.len();
    out.extend_from_slice(prefix.as_bytes());
    let Some(topic) = topic else {
        out.extend_from_slice(b".all");
        return true;
    };
    out.extend_from_slice(b".t.");
    if topic.is_empty() {
        // A token has at least one byte.
        out.push(b'%');
    }
    for &byte in topic.as_bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => out.push(byte),
            _ => {
                const HEX: &[u8; 16] = b"0123456789ABCDEF";
                let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
                out.extend_from_slice(&[b'%', digits[0], digits[1]]);
            }
        }
        if out.len() - before > MOST {
            return false;
        }
    }
    true
}

/// Whether a prefix is one or more tokens of ASCII letters, digits, `-` and `_`, with dots between them.
pub(crate) fn is_prefix(prefix: &str) -> bool {
    let is_token = |token: &str| {
        let is_good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        !token.is_empty() && token.bytes().all(is_good)
    };
    prefix.len() <= 256 && prefix.split('.').all(is_token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(topic: Option<&str>) -> Option<String> {
        let mut out = b"PUB ".to_vec();
        let fits = push("peregrine", topic, &mut out);
        fits.then(|| String::from_utf8(out[4..].to_vec()).expect("ASCII"))
    }

    #[test]
    fn documented_subjects() {
        let table = include_str!("subject.rs").lines();
        let rows = table.filter_map(|line| line.strip_prefix("//! | `")?.strip_suffix("` |"));
        let rows: Vec<_> = rows.filter_map(|row| row.split_once("` | `")).collect();
        assert_eq!(rows.len(), 3);
        for (topic, wanted) in rows {
            assert_eq!(subject(Some(topic)).as_deref(), Some(wanted));
        }
        assert_eq!(subject(None).as_deref(), Some("peregrine.all"));
        assert_eq!(subject(Some("")).as_deref(), Some("peregrine.t.%"));
    }

    #[test]
    fn every_character_is_safe_and_topics_stay_different() {
        let mut seen = std::collections::HashSet::new();
        let topics = (0..0x500).filter_map(char::from_u32).map(String::from);
        let further = ["%25", "all", "a b", "", "%%"].map(String::from);
        for topic in topics.chain(further) {
            let subject = subject(Some(&topic)).expect("short");
            let token = subject.strip_prefix("peregrine.t.").expect("the prefix");
            assert!(!token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic()));
            assert!(!token.contains(['.', '*', '>']), "{token}");
            assert!(seen.insert(token.to_owned()), "{topic:?}");
        }
    }

    #[test]
    fn long_topics_are_refused() {
        assert!(subject(Some(&"x".repeat(MOST - 12))).is_some());
        assert!(subject(Some(&"x".repeat(MOST - 11))).is_none());
        assert!(subject(Some(&".".repeat(MOST / 3))).is_none());
    }

    #[test]
    fn prefixes() {
        for good in ["a", "a.b", "app-1.prod_2"] {
            assert!(is_prefix(good));
        }
        for bad in ["", ".", "a.", ".a", "a..b", "a b", "a.*", ">", "é", "a\n"] {
            assert!(!is_prefix(bad), "{bad}");
        }
    }
}
