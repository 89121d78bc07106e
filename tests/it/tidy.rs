//! The house rules that a program can check: layers, circles, sizes, `unsafe`, words, the table of limits, the
//! code map.
//!
//! Rules about code look at the source without comments and literals, so a word in a sentence or in
//! a string is no fault.

mod circles;
mod map;
mod queues;
mod source;
mod table;

use std::fs;

use source::{File, Token, code_of, files, root, rust_files, texts, tokens};

/// The modules of the crate in layers, lowest first. A module uses only those in layers below its own.
const LAYERS: &[&[&str]] = &[
    &["log"],
    &["shared"],
    &["config"],
    &["metrics"],
    &["forms"],
    &["runtime"],
    &["http"],
    &["timers", "websocket"],
    &["access_log", "files"],
    &["testing"],
    &["internals", "checks"],
    &["server", "guide"],
];

/// Layers without sockets, threads, clocks or `unsafe`. That `protocol` does without them, the compiler
/// sees to: it is a crate of its own.
const PURE: &[&str] = &["src/forms/multipart/"];
/// What they must not mention: a word, or two with `::` between.
const IMPURE: &[&str] = &[
    "std::net",
    "std::thread",
    "std::os",
    "Instant::now",
    "SystemTime",
    "polling",
    "socket2",
    "rustix",
    "unsafe",
];

/// Files that may hold `unsafe`, each with a reason at the place itself.
const UNSAFE_FILES: &[&str] = &["src/runtime/poll.rs", "tests/counting/mod.rs"];
/// Files that may sleep, because nothing can be waited for there.
const SLEEPING_FILES: &[&str] = &[];

const MAX_LINES: usize = 500;

#[test]
fn arrows_between_layers_point_down() {
    let mut faults = Vec::new();
    for file in rust_files(&["src"]) {
        faults.extend(layer_faults(&file.path, &file.text));
    }
    none(faults);
}

#[test]
fn a_wrong_arrow_is_reported() {
    let faults = |path, text| layer_faults(path, text).join("\n");

    let upward = "use crate::{\n    log::event,\n    server::{self, Server},\n};\n";
    assert_eq!(
        faults("src/shared/inbox.rs", upward),
        "src/shared/inbox.rs:3: `shared` uses `server`, which is in no layer below it"
    );
    assert_eq!(faults("src/server/mod.rs", upward), "");

    let wait = "super::super::runtime::wait();";
    assert!(faults("src/shared/inbox.rs", wait).contains("`shared` uses `runtime`"));
    assert_eq!(
        faults("src/shared/inbox.rs", "use super::buffer::ReadBuf;"),
        ""
    );
    let outward = "use super::server::Wake;";
    assert!(faults("src/timers.rs", outward).contains("`timers` uses `server`"));
    let sealed = "mod sealed { use super::Handler; }";
    assert_eq!(faults("src/http/handler.rs", sealed), "");

    assert!(faults("src/shared/mod.rs", "use crate::Server;").contains("add `Server` to LAYERS"));
    assert!(faults("src/novel/mod.rs", "").contains("add `novel` to LAYERS"));
    assert_eq!(faults("src/novel/tests.rs", upward), "");

    let clock = "use std::{io, thread};\nfn f() { Instant::now(); unsafe {} }";
    let found = faults("src/forms/multipart/parser.rs", clock);
    for word in ["std::thread", "Instant::now", "unsafe"] {
        assert!(found.contains(word), "{word} in: {found}");
    }
    assert_eq!(faults("src/runtime/poll.rs", clock), "");

    let harmless = "// use crate::server;\nconst A: &str = \"crate::server\";\n\
        /* crate::io */ const B: &[u8] = br#\"\"crate::io\"#; fn f<'a>(c: &'a str) -> char { '\"' }\n\
        #[cfg(test)]\nmod tests {\n    use crate::server;\n}\n";
    assert_eq!(faults("src/shared/mod.rs", harmless), "");
}

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
fn no_tabs_and_no_trailing_whitespace() {
    let mut faults = Vec::new();
    for file in rust_files(&["src", "crates", "tests", "examples"]) {
        for (n, line) in file.text.lines().enumerate() {
            if line.contains('\t') || line.ends_with(char::is_whitespace) {
                faults.push(format!(
                    "{}:{}: tab or trailing whitespace",
                    file.path,
                    n + 1
                ));
            }
        }
    }
    none(faults);
}

#[test]
fn no_forbidden_words() {
    let mut faults = Vec::new();
    // Written in two halves, or this file would be at fault.
    for word in [concat!("/wo", "rk/"), concat!("/ro", "ot/")] {
        for file in files(&root(), |_| true) {
            if file.text.contains(word) {
                faults.push(format!(
                    "{}: names a path of one machine, {word}",
                    file.path
                ));
            }
        }
    }
    for file in rust_files(&["src", "crates", "tests", "examples"]) {
        let code = code_of(&file.text);
        let in_src = file.path.starts_with("src/") || file.path.starts_with("crates/");
        let may_sleep =
            file.path.starts_with("examples/") || SLEEPING_FILES.contains(&file.path.as_str());
        for (word, forbidden) in [
            ("todo!(", true),
            ("unimplemented!(", true),
            ("thread::sleep", !may_sleep),
            ("println!", in_src),
            ("print!", in_src),
            ("dbg!", in_src),
        ] {
            for (n, _) in code
                .lines()
                .enumerate()
                .filter(|(_, l)| forbidden && l.contains(word))
            {
                faults.push(format!("{}:{}: {word}", file.path, n + 1));
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

// ---- layers

/// The layer of a top-level module, counted from below.
fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|modules| modules.contains(&module))
}

fn layer_faults(path: &str, source: &str) -> Vec<String> {
    let file: Vec<&str> = path
        .trim_start_matches("src/")
        .trim_end_matches(".rs")
        .split('/')
        .filter(|part| *part != "mod")
        .collect();
    let top = file[0];
    if top == "lib" || file.contains(&"tests") || file.contains(&"check") {
        return Vec::new();
    }
    let add = |name: &str| format!("add `{name}` to LAYERS in tests/it/tidy.rs");
    let Some(own) = layer(top) else {
        return vec![format!("{path}: module of no known layer; {}", add(top))];
    };

    let code = code_of(source);
    let mut tokens = tokens(&code);
    if let Some(at) = tokens
        .windows(3)
        .position(|w| texts(w) == ["mod", "tests", "{"])
    {
        tokens.truncate(at);
    }

    let mut faults = Vec::new();
    for (line, module) in arrows(&file, &tokens) {
        match layer(module) {
            None => faults.push(format!(
                "{path}:{line}: `{module}` is of no known layer; name the module it comes from, \
                 or {}",
                add(module)
            )),
            Some(other) if other >= own && module != top => faults.push(format!(
                "{path}:{line}: `{top}` uses `{module}`, which is in no layer below it"
            )),
            Some(_) => {}
        }
    }
    if PURE.iter().any(|folder| path.starts_with(folder)) {
        for (line, word) in impurities(&tokens) {
            faults.push(format!("{path}:{line}: `{top}` does without `{word}`"));
        }
    }
    faults
}

/// The top-level modules that `crate::` and `super::` paths in the file lead to.
fn arrows<'a>(file: &[&'a str], tokens: &[Token<'a>]) -> Vec<(usize, &'a str)> {
    let mut arrows = Vec::new();
    let mut depth = 0;
    // Inline modules around the token, each with the depth of braces outside it.
    let mut inline = Vec::new();
    for (i, token) in tokens.iter().enumerate() {
        match token.text {
            "{" => {
                if i >= 2 && tokens[i - 2].text == "mod" {
                    inline.push(depth);
                }
                depth += 1;
            }
            "}" => {
                depth -= 1;
                if inline.last() == Some(&depth) {
                    inline.pop();
                }
            }
            "crate" => arrows.extend(names_after(tokens, i)),
            "super" if i < 2 || tokens[i - 2].text != "super" => {
                let mut last = i;
                while tokens.get(last + 2).is_some_and(|t| t.text == "super") {
                    last += 2;
                }
                let ups = (last - i) / 2 + 1;
                if ups == file.len() + inline.len() {
                    arrows.extend(names_after(tokens, last));
                }
            }
            _ => {}
        }
    }
    arrows
}

/// The names that follow `tokens[at] ::`: one, or the first of each path in a `{}` group.
fn names_after<'a>(tokens: &[Token<'a>], at: usize) -> Vec<(usize, &'a str)> {
    let mut names = Vec::new();
    match tokens.get(at + 1..).unwrap_or_default() {
        [colons, brace, group @ ..] if texts(&[*colons, *brace]) == ["::", "{"] => {
            let mut depth = 1;
            let mut first = true;
            for token in group {
                match token.text {
                    "{" => depth += 1,
                    "}" => depth -= 1,
                    "," => {}
                    name if depth == 1 && first => names.push((token.line, name)),
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
                first = token.text == ",";
            }
        }
        [colons, name, ..] if colons.text == "::" => names.push((name.line, name.text)),
        _ => {}
    }
    names
}

fn impurities(tokens: &[Token<'_>]) -> Vec<(usize, &'static str)> {
    let mut found = Vec::new();
    for (i, token) in tokens.iter().enumerate() {
        for word in IMPURE {
            match word.split_once("::") {
                None if token.text == *word => found.push((token.line, *word)),
                Some((head, tail)) if token.text == head => {
                    let names = names_after(tokens, i);
                    let hits = names.iter().filter(|(_, name)| *name == tail);
                    found.extend(hits.map(|(line, _)| (*line, *word)));
                }
                _ => {}
            }
        }
    }
    found
}
