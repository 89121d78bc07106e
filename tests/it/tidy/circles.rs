//! No two files of the library use each other. A folder and what is in it are one room: between a module and
//! those inside it, arrows may point both ways.

use super::none;
use super::source::{Token, code_of, rust_files, texts, tokens};
use std::collections::{BTreeMap, BTreeSet};

/// By module: the others that it uses.
type Uses = BTreeMap<String, BTreeSet<String>>;

#[test]
fn no_two_files_use_each_other() {
    let files = rust_files(&["src"]).into_iter().filter_map(|file| {
        let module = file.path.strip_prefix("src/")?.strip_suffix(".rs")?;
        let module = module.trim_end_matches("/mod").to_owned();
        let last = module.rsplit('/').next();
        let is_aside = module.contains("tests") || matches!(last, Some("lib" | "check"));
        (!is_aside).then_some((module, file.text))
    });
    let found = circles(&uses(&files.collect()));
    none(
        found
            .iter()
            .map(|(a, b)| format!("{a} and {b} use each other")),
    );
}

fn circles(uses: &Uses) -> BTreeSet<(String, String)> {
    let is_inside = |a: &str, b: &str| a.strip_prefix(b).is_some_and(|rest| rest.starts_with('/'));
    let mut circles = BTreeSet::new();
    for (a, used) in uses {
        for b in used.iter().filter(|b| *b > a && !is_inside(b, a)) {
            if uses[b].contains(a) {
                circles.insert((a.clone(), b.clone()));
            }
        }
    }
    circles
}

fn uses(files: &BTreeMap<String, String>) -> Uses {
    let used_by = |module: &String, text: &String| {
        let code = code_of(text);
        let mut tokens = tokens(&code);
        let tests = tokens
            .windows(3)
            .position(|three| texts(three) == ["mod", "tests", "{"]);
        tokens.truncate(tests.unwrap_or(tokens.len()));
        let paths = paths(module, &tokens);
        let modules = paths.iter().filter_map(|path| {
            // The module in which the last names of the path are.
            let prefixes = (1..=path.len()).rev().map(|n| path[..n].join("/"));
            prefixes
                .into_iter()
                .find(|prefix| files.contains_key(prefix))
        });
        modules.filter(|used| used != module).collect()
    };
    files
        .iter()
        .map(|(module, text)| (module.clone(), used_by(module, text)))
        .collect()
}

/// The paths that begin with `crate` or `super`, from the root of the crate.
fn paths<'a>(module: &'a str, tokens: &[Token<'a>]) -> Vec<Vec<&'a str>> {
    let mut paths = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let begins = at == 0 || tokens[at - 1].text != "::";
        let mut base: Vec<&str> = module.split('/').collect();
        match token.text {
            "crate" if begins => base.clear(),
            "super" if begins => _ = base.pop(),
            _ => continue,
        }
        let mut at = at + 1;
        while texts(&tokens[at..tokens.len().min(at + 2)]) == ["::", "super"] {
            base.pop();
            at += 2;
        }
        follow(tokens, at, &mut base, &mut paths);
    }
    paths
}

/// Collects what follows `base`: nothing, a name, or a group of paths. Returns where that ends.
fn follow<'a>(
    tokens: &[Token<'a>],
    mut at: usize,
    base: &mut Vec<&'a str>,
    paths: &mut Vec<Vec<&'a str>>,
) -> usize {
    let depth = base.len();
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text);
    while text(at) == "::" && text(at + 1) != "{" {
        base.push(text(at + 1));
        at += 2;
    }
    if text(at) == "::" {
        at += 2;
        while !matches!(text(at), "}" | "") {
            if matches!(text(at), "," | "self" | "*") {
                if text(at) != "," {
                    paths.push(base.clone());
                }
                at += 1;
                continue;
            }
            base.push(text(at));
            at = follow(tokens, at + 1, base, paths);
            base.pop();
            while text(at) == "as" {
                at += 2;
            }
        }
        at += 1;
    } else {
        paths.push(base.clone());
    }
    base.truncate(depth);
    at
}

#[test]
fn a_circle_is_found() {
    let files = |files: &[(&str, &str)]| {
        let files = files
            .iter()
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()));
        circles(&uses(&files.collect()))
            .into_iter()
            .collect::<Vec<_>>()
    };
    let pair = |a: &str, b: &str| vec![(a.to_owned(), b.to_owned())];
    let grouped = "use crate::{log, b::{C, c::D}};";
    assert_eq!(
        files(&[
            ("a", grouped),
            ("b", ""),
            ("b/c", "use super::super::a::X;")
        ]),
        pair("a", "b/c")
    );
    assert_eq!(
        files(&[("b/a", "super::c::f();"), ("b/c", "use crate::b::a;")]),
        pair("b/a", "b/c")
    );
    // One way only; a room and what is in it; in a test.
    assert_eq!(
        files(&[
            ("a", "use crate::b::X;"),
            ("b", "use crate::c::Y;"),
            ("c", "")
        ]),
        []
    );
    assert_eq!(
        files(&[("a", "use crate::a::b::X;"), ("a/b", "use super::Y;")]),
        []
    );
    assert_eq!(
        files(&[
            ("a", "mod tests { use crate::b::X; }"),
            ("b", "use crate::a::Y;")
        ]),
        []
    );
}
