//! The code map in ARCHITECTURE.md: every module is in it, and every file that it or a page of
//! docs/decisions names is there.

use super::none;
use super::source::{root, rust_files};
use std::collections::BTreeSet;
use std::fs::{read_dir, read_to_string};

/// What stands between backquotes, without the ends of file names.
fn names(text: &str) -> BTreeSet<&str> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.map(|name| name.trim_end_matches(".rs")).collect()
}

/// Whether a module is named: by its path, by its last part, or by a folder around it.
fn is_named(module: &str, names: &BTreeSet<&str>) -> bool {
    let parts: Vec<_> = module.split('/').collect();
    let folder = |part: &str| names.contains(format!("{part}/…").as_str());
    names.contains(module)
        || names.contains(parts[parts.len() - 1])
        || parts.iter().any(|part| folder(part))
}

#[test]
fn every_module_is_in_the_map() {
    let text = read_to_string(root().join("ARCHITECTURE.md")).expect("readable");
    let names = names(&text);
    let modules = rust_files(&["src", "crates"])
        .into_iter()
        .filter_map(|file| {
            let (_, module) = file.path.split_once("src/")?;
            let module = module.strip_suffix(".rs")?;
            let module = module.trim_end_matches("/mod");
            let is_test = module.ends_with("/tests") || module == "lib";
            (!is_test && !is_named(module, &names)).then(|| module.to_owned())
        });
    none(modules.map(|module| format!("ARCHITECTURE.md does not name {module}")));
}

#[test]
fn every_file_in_the_map_is_there() {
    none(files_gone("ARCHITECTURE.md"));
}

#[test]
fn every_file_in_a_decision_is_there_and_every_decision_is_listed() {
    let folder = "docs/decisions";
    let list = read_to_string(root().join(folder).join("README.md")).expect("readable");
    let pages = read_dir(root().join(folder)).expect("readable");
    let names = pages.map(|page| page.expect("readable").file_name());
    let names = names.map(|name| name.into_string().expect("UTF-8"));
    none(names.flat_map(|name| {
        let is_listed = name == "README.md" || list.contains(&format!("({name})"));
        let missing = (!is_listed).then(|| format!("{folder}/README.md does not list {name}"));
        missing
            .into_iter()
            .chain(files_gone(&format!("{folder}/{name}")))
    }));
}

/// The sources that a text names and that are not there.
fn files_gone(text: &str) -> Vec<String> {
    let content = read_to_string(root().join(text)).expect("readable");
    let quoted = content.split('`').skip(1).step_by(2);
    let files = quoted.filter(|name| name.ends_with(".rs") && !name.contains('*'));
    let is_there = |file: &&str| {
        let places =
            ["", "src", "crates/protocol/src"].map(|folder| root().join(folder).join(file));
        places.iter().any(|place| place.is_file())
    };
    let gone = files.filter(|file| !is_there(file));
    gone.map(|file| format!("{text} names {file}, which is not there"))
        .collect()
}

#[test]
fn a_module_that_is_not_named_is_reported() {
    let names = names("`io/slab.rs` and `pool` in `late/…`");
    for module in ["io/slab", "conn/pool", "late/timers"] {
        assert!(is_named(module, &names), "{module}");
    }
    for module in ["io/slabs", "slab", "later/timers"] {
        assert!(!is_named(module, &names), "{module}");
    }
}
