//! The seeds of the checks.

use std::fs;
use std::path::{Path, PathBuf};

/// Longer cases test limits. Changes to them find nothing and take long.
const MAX_SEED: usize = 4096;

/// The seeds of one check.
///
/// # Panics
///
/// If they cannot be read.
pub fn of(check: &str) -> Vec<Vec<u8>> {
    let mut seeds = files(&tests().join("seeds").join(check), "");
    seeds.extend(
        cases()
            .into_iter()
            .filter_map(|case| fit(&case.sent, check)),
    );
    seeds.retain(|seed| seed.len() <= MAX_SEED);
    seeds.sort();
    seeds.dedup();
    seeds
}

/// The bytes of one case of `tests/cases`, and its limits.
pub struct Case {
    /// As in the file: `name=number`.
    pub limits: Vec<String>,
    pub sent: Vec<u8>,
}

/// All of them.
///
/// # Panics
///
/// If they cannot be read.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for file in files(&tests().join("cases"), ".http") {
        let text = String::from_utf8(file).expect("text");
        cases.extend(text.split("\n== ").map(case));
    }
    cases
}

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn files(folder: &Path, extension: &str) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let wanted = paths.filter(|path| path.to_string_lossy().ends_with(extension));
    wanted.map(|path| fs::read(path).expect("a file")).collect()
}

fn case(text: &str) -> Case {
    let behind = |mark| text.lines().filter_map(move |line| line.strip_prefix(mark));
    let limits = behind("@ ").flat_map(|line| line.split(' '));
    Case {
        limits: limits.map(str::to_owned).collect(),
        sent: behind("> ").flat_map(unescape).collect(),
    }
}

/// The escapes that `tests/it/cases.rs` describes.
fn unescape(text: &str) -> Vec<u8> {
    let Some(at) = text.find(['\\', '{']) else {
        return text.into();
    };
    let (mark, mut rest) = text[at..].split_at(2);
    let bytes = match mark {
        "\\r" => b"\r".to_vec(),
        "\\n" => b"\n".to_vec(),
        "\\t" => b"\t".to_vec(),
        "\\0" => b"\0".to_vec(),
        "{{" => b"{".to_vec(),
        "\\x" => {
            let (hex, after) = rest.split_at(2);
            rest = after;
            vec![u8::from_str_radix(hex, 16).expect("two hex digits")]
        }
        _ if mark.starts_with('\\') => mark.as_bytes()[1..].to_vec(),
        _ => {
            let (inner, after) = text[at + 1..].split_once('}').expect("a closing brace");
            let (times, what) = inner.split_once('*').expect("{times*bytes}");
            rest = after;
            unescape(what).repeat(times.parse().expect("a number"))
        }
    };
    [&text.as_bytes()[..at], &bytes, &unescape(rest)].concat()
}

/// The part of a case that a check is about.
fn fit(sent: &[u8], check: &str) -> Option<Vec<u8>> {
    let find = |what: &[u8]| sent.windows(what.len()).position(|part| part == what);
    match check {
        "chunked" => find(b"chunked")
            .and(find(b"\r\n\r\n"))
            .map(|at| sent[at + 4..].to_vec()),
        "target" => {
            let line = &sent[..find(b"\r\n")?];
            let end = line.iter().rposition(|b| *b == b' ')?;
            Some(line[..end].to_vec())
        }
        "response" | "dir" | "multipart" | "frame" | "nats" | "resp" => None,
        _ => Some(sent.to_vec()),
    }
}
