//! Reading source files: the tree, and the code in a file without comments and literals.

use std::fs;
use std::path::{Path, PathBuf};

/// Words, `::` and single characters.
pub(crate) fn tokens(code: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match rest.find(|c| !is_word(c)).unwrap_or(rest.len()) {
            0 if rest.starts_with("::") => 2,
            0 => first.len_utf8(),
            word => word,
        };
        tokens.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    tokens
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The source with a space for each comment and literal.
pub(crate) fn code_of(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let blank = comment_or_literal(rest);
        let word = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let length = [blank, word, first.len_utf8()]
            .into_iter()
            .find(|n| *n > 0)
            .expect("a char");
        let (piece, after) = rest.split_at(length);
        code.push_str(if blank > 0 { " " } else { piece });
        rest = after;
    }
    code
}

/// How long the comment, string or character is that `rest` starts with; 0 if it does not.
fn comment_or_literal(rest: &str) -> usize {
    let until = |from: usize, end: &str| {
        let found = rest[from..].find(end);
        found.map_or(rest.len(), |at| from + at + end.len())
    };
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return until(2, "*/");
    }
    let prefix = rest.len() - rest.trim_start_matches(['b', 'c']).len();
    let body = &rest[prefix..];
    if prefix > 1 {
        return 0;
    }
    if let Some(raw) = body.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            return until(prefix + 1 + hashes + 1, &format!("\"{}", &raw[..hashes]));
        }
    }
    let mut chars = body.char_indices();
    match chars.next() {
        Some((_, '"')) => {
            while let Some((at, c)) = chars.next() {
                match c {
                    '\\' => _ = chars.next(),
                    '"' => return prefix + at + 1,
                    _ => {}
                }
            }
            rest.len()
        }
        Some((_, '\'')) => match (chars.next(), chars.next()) {
            (Some((_, '\\')), Some((escaped, c))) => until(prefix + escaped + c.len_utf8(), "'"),
            (Some(_), Some((at, '\''))) => prefix + at + 1,
            _ => 0, // a lifetime
        },
        _ => 0,
    }
}

pub(crate) struct File {
    /// From the root of the repository, with `/` on every system.
    pub(crate) path: String,
    pub(crate) text: String,
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

pub(crate) fn rust_files(folders: &[&str]) -> Vec<File> {
    let rust = |path: &str| path.ends_with(".rs");
    folders
        .iter()
        .flat_map(|folder| files(&root().join(folder), rust))
        .collect()
}

/// The text files below `folder`, without what git and cargo keep there.
pub(crate) fn files(folder: &Path, wanted: fn(&str) -> bool) -> Vec<File> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of the repository") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy();
        // In a linked work tree `.git` is a file.
        if matches!(&*name, ".git" | "target" | "corpus" | "artifacts") {
            continue;
        }
        if path.is_dir() {
            found.extend(files(&path, wanted));
        } else if wanted(&name) {
            let relative = path.strip_prefix(root()).expect("inside the repository");
            let parts: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
            if let Ok(text) = fs::read_to_string(&path) {
                found.push(File {
                    path: parts.join("/"),
                    text,
                });
            }
        }
    }
    found
}
