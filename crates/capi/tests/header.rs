//! `include/peregrine.h` and `symbols.txt` are those of the source.

use std::path::Path;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn header() -> String {
    let config = cbindgen::Config::from_file(root().join("cbindgen.toml")).expect("settings");
    let bindings = cbindgen::Builder::new()
        .with_crate(root())
        .with_config(config)
        .generate()
        .expect("a header");
    let mut header = Vec::new();
    bindings.write(&mut header);
    String::from_utf8(header).expect("UTF-8")
}

/// The functions that a header declares: what the library exports.
fn functions(header: &str) -> Vec<&str> {
    let lines = header
        .lines()
        .filter(|line| !line.starts_with([' ', '/', '#', '}']) && !line.starts_with("static"));
    let names = lines.filter_map(|line| {
        let before = line.split_once('(')?.0;
        before.rsplit([' ', '*']).next()
    });
    let mut names: Vec<_> = names.filter(|name| name.starts_with("prg_")).collect();
    names.sort_unstable();
    names
}

#[track_caller]
fn same(path: &str, now: &str) {
    let path = root().join(path);
    if std::env::var_os("RENEW").is_some() {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(&path, now).expect("written");
    }
    let before = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        before == now,
        "{} is not that of the source: RENEW=1 cargo test --test header",
        path.display()
    );
}

#[test]
fn the_header_is_that_of_the_source() {
    same("include/peregrine.h", &header());
}

/// A symbol that disappears breaks programs that are built already.
#[test]
fn the_symbols_are_known() {
    let header = header();
    let functions = functions(&header);
    assert!(functions.len() > 50, "{functions:?}");
    same("symbols.txt", &(functions.join("\n") + "\n"));
}

/// Ownership, threads and errors of every function are in its comment.
#[test]
fn every_comment_has_the_rules() {
    let header = header();
    let mut faults = Vec::new();
    for name in functions(&header) {
        let at = header.find(&format!("{name}(")).expect("it is declared");
        let comment: Vec<_> = header[..at]
            .lines()
            .rev()
            .skip(1)
            .take_while(|line| line.starts_with("//"))
            .collect();
        let comment = comment.join("\n");
        if !comment.contains("Thread:") {
            faults.push(format!("{name}: no word about threads"));
        }
        let is_code = header[..at]
            .lines()
            .last()
            .is_some_and(|line| line.starts_with("int32_t"));
        if is_code
            && !comment.contains("Errors:")
            && !comment.contains("1 if")
            && !comment.contains("Returns 1")
            && !comment.contains("PRG_ARGUMENT")
        {
            faults.push(format!("{name}: no word about errors"));
        }
        if name.ends_with("_free")
            && !comment.contains("NULL is\n// allowed")
            && !comment.contains("NULL")
        {
            faults.push(format!("{name}: no word about NULL"));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}
