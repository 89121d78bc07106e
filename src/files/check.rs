//! Properties of files for tests and fuzzing.

use super::open_every_way;
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Whatever the path: what it opens is beneath the root.
pub(crate) fn check(bytes: &[u8]) {
    let Ok(path) = std::str::from_utf8(bytes) else {
        return;
    };
    TREE.with(|tree| {
        for file in open_every_way(&tree.root(), path).expect("the root is there") {
            let meta = file.metadata().expect("an open file");
            assert!(tree.has(&meta), "{path:?} opens something else");
        }
    });
}

thread_local! {
    /// Removed with the thread.
    static TREE: Tree = Tree::new().expect("a folder of our own");
}

/// A folder with links of every kind, and what is beneath it.
struct Tree {
    outside: PathBuf,
    inside: Vec<Metadata>,
}

impl Tree {
    fn new() -> std::io::Result<Tree> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("peregrine-fuzz-{}-{count}", std::process::id());
        let mut tree = Tree {
            outside: std::env::temp_dir().join(name),
            inside: Vec::new(),
        };
        let root = tree.root();
        for folder in ["a/b", "a/a", ".h", "a b"] {
            fs::create_dir_all(root.join(folder))?;
        }
        for file in ["a/b/a", "a/a/b", "b", ".h/a", ".b", "a b/%41", "\u{e9}"] {
            fs::write(root.join(file), file)?;
        }
        fs::write(tree.outside.join("secret"), "secret")?;
        #[cfg(unix)]
        links(&root)?;
        tree.inside.push(root.metadata()?);
        collect(&root, &mut tree.inside)?;
        Ok(tree)
    }

    fn root(&self) -> PathBuf {
        self.outside.join("root")
    }

    #[cfg(unix)]
    fn has(&self, meta: &Metadata) -> bool {
        use std::os::unix::fs::MetadataExt;
        let is = |known: &Metadata| (known.dev(), known.ino()) == (meta.dev(), meta.ino());
        self.inside.iter().any(is)
    }

    #[cfg(not(unix))]
    fn has(&self, meta: &Metadata) -> bool {
        let is = |known: &Metadata| known.created().ok() == meta.created().ok();
        self.inside.iter().any(is)
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.outside);
    }
}

#[cfg(unix)]
fn links(root: &Path) -> std::io::Result<()> {
    for (target, name) in [
        ("..", "up"),
        ("../secret", "s"),
        ("a", "l"),
        ("../b", "a/l"),
        ("../..", "a/u"),
        ("../../secret", "a/s"),
        ("/", "r"),
        ("o", "o"),
        ("l/../../secret", "x"),
        ("./a/./b/", "d"),
        ("a/../b", "y"),
    ] {
        std::os::unix::fs::symlink(target, root.join(name))?;
    }
    Ok(())
}

fn collect(folder: &Path, into: &mut Vec<Metadata>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let meta = path.symlink_metadata()?;
        if meta.is_dir() {
            collect(&path, into)?;
        }
        if !meta.is_symlink() {
            into.push(meta);
        }
    }
    Ok(())
}
