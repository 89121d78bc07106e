//! Opening beneath a folder where there is no handle to open relative to: the real path of what is
//! opened must lie beneath the real path of the root.
//!
//! Between the check and the opening somebody with access to the folder could exchange it, so the
//! real path is looked up once more afterwards.

use super::Item;
use std::fs::{self, File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// A folder that others are opened beneath.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

/// What makes a file another version of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Stamp {
    pub(crate) len: u64,
    modified: Option<SystemTime>,
    created: Option<SystemTime>,
}

impl Stamp {
    pub(crate) fn new(meta: &Metadata) -> Stamp {
        Stamp {
            len: meta.len(),
            modified: meta.modified().ok(),
            created: meta.created().ok(),
        }
    }

    /// Of content, as far as the system tells.
    pub(crate) fn last_change(&self) -> SystemTime {
        let last = self.modified.max(self.created);
        last.unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

/// Whether two are the same folder.
pub(crate) fn same(a: &Metadata, b: &Metadata) -> bool {
    a.created().ok() == b.created().ok()
}

impl Folder {
    /// The folder that everything is served from, by whatever path.
    pub(crate) fn root(path: &Path) -> io::Result<Folder> {
        let path = fs::canonicalize(path)?;
        match path.metadata()?.is_dir() {
            true => Ok(Folder(path)),
            false => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    pub(crate) fn metadata(&self) -> io::Result<Metadata> {
        self.0.metadata()
    }

    /// Opens what `path`, relative and without `..`, names beneath this folder.
    pub(crate) fn open(&self, path: &str, links: bool) -> io::Result<File> {
        let mut asked = self.0.clone();
        asked.extend(path.split('/').filter(|name| !name.is_empty()));
        let real = self.beneath(&asked, links)?;
        let file = open_any(&real)?;
        if path.ends_with('/') && !file.metadata()?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        match self.beneath(&asked, links)? == real {
            true => Ok(file),
            false => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn beneath(&self, asked: &Path, links: bool) -> io::Result<PathBuf> {
        let real = fs::canonicalize(asked)?;
        let is_link = |path: &Path| path.symlink_metadata().is_ok_and(|m| m.is_symlink());
        let linked = asked
            .ancestors()
            .take_while(|path| *path != self.0)
            .any(is_link);
        match real.starts_with(&self.0) && (links || !linked) {
            true => Ok(real),
            false => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

/// A folder can be opened, too.
#[cfg(windows)]
fn open_any(path: &Path) -> io::Result<File> {
    use std::os::windows::fs::OpenOptionsExt;
    const FILE_FLAG_BACKUP_SEMANTICS: u32 = 0x0200_0000;
    fs::OpenOptions::new()
        .read(true)
        .custom_flags(FILE_FLAG_BACKUP_SEMANTICS)
        .open(path)
}

#[cfg(not(windows))]
fn open_any(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// What is in the folder `path`, in no order: at most `most` things whose names are text.
pub(crate) fn list(root: &Folder, path: &str, _: &File, most: usize) -> io::Result<Vec<Item>> {
    let mut asked = root.0.clone();
    asked.extend(path.split('/').filter(|name| !name.is_empty()));
    let mut items = Vec::new();
    for entry in fs::read_dir(root.beneath(&asked, true)?)?.take(most) {
        let entry = entry?;
        let (Ok(name), Ok(meta)) = (entry.file_name().into_string(), entry.metadata()) else {
            continue;
        };
        let modified = meta.modified().ok();
        let since = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        items.push(Item {
            name,
            is_folder: meta.is_dir(),
            is_link: meta.is_symlink(),
            len: meta.len(),
            modified: since.map_or(0, |since| since.as_secs()),
        });
    }
    Ok(items)
}
