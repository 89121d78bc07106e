//! The house rules that a program can check: layers, circles, sizes, `unsafe`, words, the table of limits, the
//! code map.
//!
//! Rules about code look at the source without comments and literals, so a word in a sentence or in
//! a string is no fault.

mod contrast;
mod layers;
mod map;
mod queues;
mod source;
mod table;

use source::{File, files, root, rust_files};
use std::fs;

/// Files that may hold `unsafe`, each with a reason at the place itself.
const UNSAFE_FILES: &[&str] = &[
    "src/runtime/poll.rs",
    "tests/counting/mod.rs",
    "crates/python/src/raw.rs",
];
const MAX_LINES: usize = 500;

#[test]
fn files_are_short() {
    let long = |file: &File| file.text.lines().count() > MAX_LINES;
    let files = rust_files(&["src", "crates", "tests"]);
    none(
        files
            .iter()
            .filter(|f| long(f))
            .map(|f| format!("{}: over {MAX_LINES} lines", f.path)),
    );
}

/// Elsewhere the lint `unsafe_code` denies it, and clippy an `unsafe` block without a reason.
#[test]
fn unsafe_is_rare() {
    let allows = concat!("allow(", "unsafe_code");
    let files = rust_files(&["src", "crates", "tests", "examples"]).into_iter();
    let files = files.filter(|file| !UNSAFE_FILES.contains(&file.path.as_str()));
    none(
        files
            .filter(|file| file.text.contains(allows))
            .map(|file| format!("{}: not in UNSAFE_FILES", file.path)),
    );
}

/// So another version of `rustls` is a change of one file, and of the two methods that take its types.
#[test]
fn rustls_is_used_in_two_files() {
    let mut faults = Vec::new();
    for file in rust_files(&["src"]) {
        let most = match &*file.path {
            "src/runtime/tls/engine.rs" => usize::MAX,
            "src/runtime/tls/mod.rs" => 2,
            // For handshakes of QUIC.
            "src/runtime/tls/quic.rs" => 3,
            path if path.contains("/tests/") => usize::MAX,
            _ => 0,
        };
        let code = source::code_of(&file.text);
        let named = source::tokens(&code).into_iter();
        let named = named.filter(|token| *token == "rustls").count();
        if named > most {
            faults.push(format!("{}: rustls, {named} times", file.path));
        }
    }
    none(faults);
}

#[test]
fn the_changelog_knows_this_version() {
    let changelog = fs::read_to_string(root().join("CHANGELOG.md")).expect("CHANGELOG.md");
    let version = env!("CARGO_PKG_VERSION");
    let mut headings = changelog.lines().filter(|line| line.starts_with("## "));
    assert!(
        headings.any(|line| line.contains(version) || line.contains("Unreleased")),
        "CHANGELOG.md has no heading for {version} and none for what is unreleased"
    );
}

#[test]
fn no_file_names_a_path_of_one_machine() {
    let mut faults = Vec::new();
    // Written in two halves, or this file would be at fault.
    for word in [concat!("/wo", "rk/"), concat!("/ro", "ot/")] {
        let files = files(&root(), |_| true).into_iter();
        let named = files.filter(|file| file.text.contains(word));
        faults.extend(named.map(|file| format!("{}: {word}", file.path)));
    }
    none(faults);
}

/// Words for persons that stand for connections or code in no sentence, comment or message.
#[test]
fn prose_names_its_subjects() {
    // Written in two halves, or this file would be at fault.
    let forbidden = [
        concat!("no", "body"),
        concat!("some", "body"),
        concat!("any", "body"),
        concat!("who", "ever"),
        concat!("who", "soever"),
        concat!("so-", "manieth"),
    ];
    let folders = ["static/", "tests/seeds/", "LICENSE"];
    let is_prose = |path: &str| !folders.iter().any(|folder| path.starts_with(folder));
    let mut faults = Vec::new();
    for file in files(&root(), |_| true) {
        if !is_prose(&file.path) {
            continue;
        }
        for (n, line) in file.text.lines().enumerate() {
            let line = line.to_lowercase();
            let found = forbidden.iter().filter(|word| {
                line.match_indices(**word).any(|(at, _)| {
                    let is_letter = |c: char| c.is_ascii_alphanumeric();
                    !line[..at].ends_with(is_letter)
                        && !line[at + word.len()..].starts_with(is_letter)
                })
            });
            faults.extend(found.map(|word| format!("{}:{}: {word}", file.path, n + 1)));
        }
    }
    none(faults);
}

/// The first sentence of a public item stands alone in a list of items, so it cannot begin with a reference to
/// another one.
#[test]
fn first_sentences_stand_alone() {
    let doc = |line: &str| line.trim_start().strip_prefix("///").map(str::to_owned);
    let mut faults = Vec::new();
    for file in rust_files(&["src", "crates/protocol/src"]) {
        let (mut first, mut before) = (None, None);
        for (n, line) in file.text.lines().enumerate() {
            let text = doc(line);
            match &text {
                Some(text) if before.is_none() => first = Some((n + 1, text.trim().to_owned())),
                _ => {}
            }
            before = text;
            if before.is_some() || line.trim_start().starts_with("#[") {
                continue;
            }
            let is_public = line.trim_start().starts_with("pub ");
            let refers = |text: &str| {
                ["As [", "The same"]
                    .iter()
                    .any(|start| text.starts_with(start))
            };
            if let Some((at, text)) = first.take().filter(|(_, text)| is_public && refers(text)) {
                faults.push(format!("{}:{at}: {text}", file.path));
            }
        }
    }
    none(faults);
}

#[track_caller]
fn none(faults: impl IntoIterator<Item = String>) {
    let faults: Vec<String> = faults.into_iter().collect();
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}
