//! Opens files beneath a root on systems other than Unix.
//!
//! Between the check and the open, another process with access to the folder could replace the file. So the
//! real path is checked again after the open.

use super::{Item, Items};
use std::fs::{self, File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// A folder in which files are opened.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

/// What distinguishes the versions of a file.
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

    /// Time of the last change of the content, as far as the system has it.
    pub(crate) fn last_change(&self, _now: SystemTime) -> SystemTime {
        let last = self.modified.max(self.created);
        last.unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

/// Whether both are the same folder.
pub(crate) fn same(a: &Metadata, b: &Metadata) -> bool {
    a.created().ok() == b.created().ok()
}

/// Whether both files belong to the same user: not checked on these systems.
pub(crate) fn same_owner(_: &Metadata, _: &Metadata) -> bool {
    true
}

/// Number of descriptors that the process may have: no known limit.
pub(crate) fn descriptors() -> usize {
    usize::MAX
}

/// Whether a call failed because the process has too many open files.
pub(crate) fn is_out_of_descriptors(error: &io::Error) -> bool {
    const ERROR_TOO_MANY_OPEN_FILES: i32 = 4;
    error.raw_os_error() == Some(ERROR_TOO_MANY_OPEN_FILES)
}

/// Whether the name is not valid or too long.
pub(crate) fn is_refusal(error: &io::Error) -> bool {
    const ERROR_INVALID_NAME: i32 = 123;
    const ERROR_FILENAME_EXCED_RANGE: i32 = 206;
    matches!(
        error.raw_os_error(),
        Some(ERROR_INVALID_NAME | ERROR_FILENAME_EXCED_RANGE)
    )
}

/// Names are UTF-8 on these systems.
fn text(path: &[u8]) -> io::Result<&str> {
    std::str::from_utf8(path).map_err(|_| io::ErrorKind::NotFound.into())
}

impl Folder {
    /// The folder that everything is served from. Its path may be any.
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

    /// Opens the file `name` in this folder. With `links` a link is followed wherever it leads; otherwise it
    /// is refused.
    pub(crate) fn entry(&self, name: &[u8], links: bool) -> io::Result<File> {
        let path = self.0.join(text(name)?);
        match links || !path.symlink_metadata()?.is_symlink() {
            true => open_any(&path),
            false => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn asked(&self, path: &str) -> PathBuf {
        let mut asked = self.0.clone();
        asked.extend(path.split('/').filter(|name| !name.is_empty()));
        asked
    }

    /// The metadata of `path`, which names something beneath this folder.
    pub(crate) fn look(&self, path: &[u8], links: bool) -> io::Result<Metadata> {
        self.open(path, links)?.metadata()
    }

    /// Opens `path`, which is relative and without `..`, beneath this folder.
    pub(crate) fn open(&self, path: &[u8], links: bool) -> io::Result<File> {
        let path = text(path)?;
        let asked = self.asked(path);
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

/// Allows an open of a folder.
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

/// The entries of the folder `path`, in no order. At most `most` entries are read, and only names that are
/// text and that `shown` accepts are kept.
pub(crate) fn list(
    root: &Folder,
    path: &[u8],
    _: &File,
    most: usize,
    shown: impl Fn(&[u8]) -> bool,
) -> io::Result<Items> {
    let asked = root.asked(text(path)?);
    let mut list = Items::default();
    for (read, entry) in fs::read_dir(root.beneath(&asked, true)?)?.enumerate() {
        if read == most {
            list.cut = true;
            break;
        }
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if !shown(name.as_bytes()) {
            continue;
        }
        let Ok(meta) = entry.metadata() else {
            continue;
        };
        let modified = meta.modified().ok();
        let since = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        list.items.push(Item {
            name: name.into_bytes(),
            is_folder: meta.is_dir(),
            is_link: meta.is_symlink(),
            len: meta.len(),
            modified: since.map_or(0, |since| since.as_secs()),
        });
    }
    Ok(list)
}
