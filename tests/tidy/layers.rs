//! The modules of a crate in layers: code uses only what is below its own. No two files use each other.
//!
//! A folder and what is in it are one room: between a module and those inside it, arrows may point both ways.

use super::none;
use super::source::{code_of, rust_files, tokens};
use std::collections::{BTreeMap, BTreeSet};

/// The top-level modules of a crate, lowest first.
type Layers = &'static [&'static [&'static str]];

const LAYERS: Layers = &[
    &["log"],
    &["shared"],
    &["config"],
    &["metrics"],
    &["relay"],
    &["forms"],
    &["runtime"],
    &["http"],
    &["timers", "websocket"],
    &[
        "access_log",
        "compression",
        "dashboard",
        "files",
        "history",
        "layers",
        "presence",
        "response_cache",
        "sessions",
        "templates",
    ],
    &["router"],
    &["testing"],
    &["internals", "checks"],
    &["server", "guide"],
];

const PROTOCOL: Layers = &[
    &[
        "seconds",
        "Seconds",
        "settings",
        "span",
        "Span",
        "syntax",
        "payload",
        "proxy_header",
    ],
    &["error", "form", "limits"],
    &["http", "rate", "token_bucket"],
    &["checks", "write_buf"],
    &["h1"],
    &["field_section"],
    &["hpack", "qpack"],
    &["h2", "h3", "ws"],
];

/// A folder without sockets, threads, clocks and files. That the protocol does without them, the compiler
/// sees to: it is a crate of its own, without `std`.
const PURE: &str = "forms/multipart/";
/// Modules of `std` that it does not use, and crates.
const IMPURE: [&str; 9] = [
    "fs", "net", "os", "process", "thread", "time", "polling", "rustix", "socket2",
];

/// Source texts by module.
type Sources = BTreeMap<String, String>;

/// What is about tests, or only names the modules, does not count.
fn sources(folder: &str) -> Sources {
    let modules = rust_files(&[folder]).into_iter().filter_map(|file| {
        let module = file.path[folder.len() + 1..].strip_suffix(".rs")?;
        let module = module.trim_end_matches("/mod").to_owned();
        let last = module.rsplit('/').next();
        let is_aside = module.contains("tests") || matches!(last, Some("lib" | "check"));
        (!is_aside).then_some((module, file.text))
    });
    modules.collect()
}

#[test]
fn code_uses_only_layers_below_its_own() {
    none(layer_faults(LAYERS, &sources("src")));
    none(layer_faults(PROTOCOL, &sources("crates/protocol/src")));
}

#[test]
fn no_two_files_use_each_other() {
    for folder in ["src", "crates/protocol/src"] {
        let found = circles(&sources(folder));
        none(
            found
                .iter()
                .map(|(a, b)| format!("{a} and {b} use each other")),
        );
    }
}

fn layer_faults(layers: Layers, sources: &Sources) -> Vec<String> {
    let layer = |module: &str| layers.iter().position(|modules| modules.contains(&module));
    let mut faults = BTreeSet::new();
    for (module, text) in sources {
        let top = module.split('/').next().expect("a name");
        let Some(own) = layer(top) else {
            faults.insert(format!("{module}: add `{top}` to the layers"));
            continue;
        };
        let code = code_of(text);
        for path in used(module, &code) {
            match path[..] {
                ["std", name, ..] | [name]
                    if module.starts_with(PURE) && IMPURE.contains(&name) =>
                {
                    faults.insert(format!("{module} does without `{name}`"));
                }
                ["std", ..] | [] => {}
                [name, ..] => match layer(name) {
                    None => _ = faults.insert(format!("{module}: add `{name}` to the layers")),
                    Some(other) if other >= own && name != top => {
                        faults.insert(format!("{module} uses `{name}`, which is not below it"));
                    }
                    Some(_) => {}
                },
            }
        }
    }
    faults.into_iter().collect()
}

fn circles(sources: &Sources) -> BTreeSet<(String, String)> {
    let uses = |(module, text): (&String, &String)| {
        let code = code_of(text);
        let paths = used(module, &code).into_iter();
        let modules = paths.filter_map(|path| {
            // The module in which the last names of the path are.
            let mut prefixes = (1..=path.len()).rev().map(|n| path[..n].join("/"));
            prefixes.find(|prefix| sources.contains_key(prefix))
        });
        let others = modules.filter(|other| other != module);
        (module.clone(), others.collect::<BTreeSet<_>>())
    };
    let uses: BTreeMap<_, _> = sources.iter().map(uses).collect();
    let is_inside = |a: &str, b: &str| a.strip_prefix(b).is_some_and(|rest| rest.starts_with('/'));
    let mut circles = BTreeSet::new();
    for (a, used) in &uses {
        for b in used.iter().filter(|b| *b > a && !is_inside(b, a)) {
            if uses[b].contains(a) {
                circles.insert((a.clone(), b.clone()));
            }
        }
    }
    circles
}

/// The paths that a module uses, without those of its tests.
fn used<'a>(module: &'a str, code: &'a str) -> Vec<Vec<&'a str>> {
    let mut tokens = tokens(code);
    let tests = tokens
        .windows(3)
        .position(|three| three == ["mod", "tests", "{"]);
    tokens.truncate(tests.unwrap_or(tokens.len()));
    let crates = tokens.iter().filter(|token| IMPURE[6..].contains(token));
    let mut used: Vec<_> = crates.map(|token| vec!["std", *token]).collect();
    used.extend(paths(module, &tokens));
    used
}

/// The paths that begin with `crate` or `super`, from the root of the crate; and those that begin with `std`.
fn paths<'a>(module: &'a str, tokens: &[&'a str]) -> Vec<Vec<&'a str>> {
    let mut paths = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let begins = at == 0 || tokens[at - 1] != "::";
        let mut base: Vec<&str> = module.split('/').collect();
        match *token {
            "crate" if begins => base.clear(),
            "std" if begins => base = vec!["std"],
            "super" if begins => _ = base.pop(),
            _ => continue,
        }
        let mut at = at + 1;
        while tokens[at..].starts_with(&["::", "super"]) {
            base.pop();
            at += 2;
        }
        follow(tokens, at, &mut base, &mut paths);
    }
    paths
}

/// Collects what follows `base`: nothing, a name, or a group of paths. Returns where that ends.
fn follow<'a>(
    tokens: &[&'a str],
    mut at: usize,
    base: &mut Vec<&'a str>,
    paths: &mut Vec<Vec<&'a str>>,
) -> usize {
    let depth = base.len();
    let text = |at: usize| tokens.get(at).copied().unwrap_or("");
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

fn of(files: &[(&str, &str)]) -> Sources {
    let files = files.iter();
    files
        .map(|(module, text)| ((*module).to_owned(), (*text).to_owned()))
        .collect()
}

#[test]
fn a_wrong_arrow_is_reported() {
    let faults = |module, text| layer_faults(LAYERS, &of(&[(module, text)])).join("\n");

    let upward = "use crate::{\n    log::event,\n    server::{self, Server},\n};\n";
    assert_eq!(
        faults("shared/inbox", upward),
        "shared/inbox uses `server`, which is not below it"
    );
    assert_eq!(faults("server", upward), "");
    // Beside it.
    assert_ne!(faults("timers", "use crate::websocket::Ws;"), "");

    let wait = "super::super::runtime::wait();";
    assert!(faults("shared/inbox", wait).contains("uses `runtime`"));
    assert_eq!(faults("shared/inbox", "use super::buffer::ReadBuf;"), "");
    assert!(faults("timers", "use super::server::Wake;").contains("uses `server`"));
    let sealed = "mod sealed { use super::Handler; }";
    assert_eq!(faults("http/handler", sealed), "");

    assert!(faults("shared", "use crate::Server;").contains("add `Server` to the layers"));
    assert!(faults("novel", "").contains("add `novel` to the layers"));

    let clock = "use std::{io, thread};\nfn f() { std::time::Instant::now(); polling::wait() }";
    let found = faults("forms/multipart/parser", clock);
    for word in ["thread", "time", "polling"] {
        assert!(
            found.contains(&format!("without `{word}`")),
            "{word} in: {found}"
        );
    }
    assert_eq!(faults("runtime/poll", clock), "");

    let harmless = "// use crate::server;\nconst A: &str = \"crate::server\";\n\
        /* crate::io */ const B: &[u8] = br#\"\"crate::io\"#; fn f<'a>(c: &'a str) -> char { '\"' }\n\
        #[cfg(test)]\nmod tests {\n    use crate::server;\n}\n";
    assert_eq!(faults("shared", harmless), "");
}

#[test]
fn a_circle_is_found() {
    let files = |files: &[(&str, &str)]| Vec::from_iter(circles(&of(files)));
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
