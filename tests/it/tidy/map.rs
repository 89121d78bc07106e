//! The code map in ARCHITECTURE.md: every module is in it, and every file that it names is there.

use super::none;
use super::source::{root, rust_files};
use std::collections::BTreeSet;

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
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("readable");
    let names = names(&text);
    let modules = rust_files(&["src"]).into_iter().filter_map(|file| {
        let module = file.path.strip_prefix("src/")?.strip_suffix(".rs")?;
        let module = module.trim_end_matches("/mod");
        let is_test = module.ends_with("/tests") || module == "lib";
        (!is_test && !is_named(module, &names)).then(|| module.to_owned())
    });
    none(modules.map(|module| format!("ARCHITECTURE.md does not name {module}")));
}

#[test]
fn every_file_in_the_map_is_there() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("readable");
    let quoted = text.split('`').skip(1).step_by(2);
    let files = quoted.filter(|name| name.ends_with(".rs") && !name.contains('*'));
    let is_there = |file: &&str| {
        let places = [root().join(file), root().join("src").join(file)];
        places.iter().any(|place| place.is_file())
    };
    let gone = files.filter(|file| !is_there(file));
    none(gone.map(|file| format!("ARCHITECTURE.md names {file}, which is not there")));
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
