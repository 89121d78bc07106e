//! The tree of folders in ARCHITECTURE.md has one line for each file: the first sentence of its documentation.
//! Every file that ARCHITECTURE.md or a page of docs/decisions names is there.
//!
//! `RENEW=1 cargo test --test tidy map` writes the tree anew.

use super::none;
use super::source::{root, rust_files};
use std::fs;

/// Where the tree stands in ARCHITECTURE.md.
const BEGIN: &str = "```text\nCargo.toml";
const END: &str = "```\n";

/// The column that the sentences begin in.
const COLUMN: usize = 34;
const WIDTH: usize = 120;

/// The first sentence of the module documentation.
fn summary(text: &str) -> Option<String> {
    let lines = text.lines().map_while(|line| line.strip_prefix("//!"));
    let paragraph: Vec<_> = lines.map(str::trim).take_while(|l| !l.is_empty()).collect();
    let paragraph = paragraph.join(" ");
    let end = paragraph.find(". ").map_or(paragraph.len(), |at| at + 1);
    (end > 0).then(|| paragraph[..end].to_owned())
}

/// One line for each folder and file below `folder`, in order. A folder has the sentence of its `mod.rs`.
fn tree(folder: &str, faults: &mut Vec<String>) -> String {
    let mut tree = format!("{folder}/\n");
    let mut files = rust_files(&[folder]);
    files.retain(|file| !file.path.contains("/tests/") && !file.path.ends_with("/tests.rs"));
    files.sort_by_cached_key(|file| file.path.replace("/mod.rs", ""));
    for file in files {
        let path = &file.path[folder.len() + 1..];
        if path == "lib.rs" {
            continue;
        }
        let Some(summary) = summary(&file.text) else {
            faults.push(format!("{}: no documentation of the module", file.path));
            continue;
        };
        let shown = path.replace("mod.rs", "");
        let depth = shown.trim_end_matches('/').matches('/').count();
        let name = shown
            .trim_end_matches('/')
            .rsplit('/')
            .next()
            .unwrap_or_default();
        let slash = if shown.ends_with('/') { "/" } else { "" };
        let start = format!("{}{name}{slash}", "  ".repeat(depth + 1));
        let line = format!("{start:COLUMN$}{summary}");
        if line.chars().count() > WIDTH {
            faults.push(format!(
                "{}: its first sentence is too long for the tree",
                file.path
            ));
        }
        tree.push_str(line.trim_end());
        tree.push('\n');
    }
    tree
}

#[test]
fn the_tree_has_every_file() {
    let mut faults = Vec::new();
    let trees: String = FOLDERS.map(|folder| tree(folder, &mut faults)).concat();
    none(faults);
    let path = root().join("ARCHITECTURE.md");
    let text = fs::read_to_string(&path).expect("readable");
    let begin = text.find(BEGIN).expect("the tree");
    let begin = begin + BEGIN.len();
    let begin = begin + text[begin..].find('\n').expect("a line") + 1;
    let end = begin + text[begin..].find(END).expect("the end of the tree");
    if text[begin..end] == trees {
        return;
    }
    if std::env::var_os("RENEW").is_some() {
        fs::write(&path, [&text[..begin], &trees, &text[end..]].concat()).expect("written");
        return;
    }
    let there: Vec<_> = text[begin..end].lines().collect();
    let missing = trees.lines().filter(|line| !there.contains(line));
    let missing: Vec<_> = missing.collect();
    panic!("ARCHITECTURE.md: the tree is not that of the files; RENEW=1 renews it\n{missing:#?}");
}

/// The folders of the tree.
const FOLDERS: [&str; 2] = ["crates/protocol/src", "src"];

#[test]
fn every_file_in_the_map_is_there() {
    none(files_gone("ARCHITECTURE.md"));
}

#[test]
fn every_file_in_a_decision_is_there_and_every_decision_is_listed() {
    let folder = "docs/decisions";
    let list = fs::read_to_string(root().join(folder).join("README.md")).expect("readable");
    let pages = fs::read_dir(root().join(folder)).expect("readable");
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

#[test]
fn the_documentation_has_its_own_target_for_each_guide_of_the_readme() {
    let text = |file| fs::read_to_string(root().join(file)).expect("readable");
    let (readme, library) = (text("README.md"), text("src/lib.rs"));
    let guides = readme
        .lines()
        .filter_map(|line| line.split_once("]: src/guide/"));
    let names = guides.map(|(name, _)| format!("{name}]: "));
    let missing = names.filter(|name| !library.contains(&format!("doc = \"{name}")));
    none(missing.map(|name| format!("src/lib.rs does not define {name}")));
}

/// The sources that a text names and that are not there.
fn files_gone(text: &str) -> Vec<String> {
    let content = fs::read_to_string(root().join(text)).expect("readable");
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
fn a_summary_is_the_first_sentence() {
    let text = "//! One sentence, over\n//! two lines. Another.\n//!\n//! More.\n\nuse a;\n";
    assert_eq!(
        summary(text).as_deref(),
        Some("One sentence, over two lines.")
    );
    assert_eq!(summary("use a;\n"), None);
}
