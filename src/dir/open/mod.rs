//! Opening files so that nothing outside the root can be reached, whatever is done to the folder
//! meanwhile.

#[cfg(not(unix))]
mod other;
#[cfg(unix)]
mod unix;

#[cfg(not(unix))]
use other as system;
#[cfg(unix)]
use unix as system;

pub(crate) use system::{Folder, Stamp};

use std::fs::{File, Metadata};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// An open file or folder, and what was known of it when it was opened.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) file: File,
    pub(crate) meta: Metadata,
}

impl Opened {
    /// Neither a folder nor a pipe, a device or a socket.
    fn new(file: File) -> io::Result<Opened> {
        let meta = file.metadata()?;
        match meta.is_file() || meta.is_dir() {
            true => Ok(Opened { file, meta }),
            false => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(crate) fn is_folder(&self) -> bool {
        self.meta.is_dir()
    }

    pub(crate) fn stamp(&self) -> Stamp {
        Stamp::new(&self.meta)
    }

    /// Seconds since 1970 of the last change; `None` before that. Not in the future (RFC 9110
    /// section 8.8.2.1).
    pub(crate) fn modified(&self) -> Option<u64> {
        let modified = self.meta.modified().ok()?.min(SystemTime::now());
        Some(modified.duration_since(UNIX_EPOCH).ok()?.as_secs())
    }

    /// How long ago it was changed; zero for the future.
    pub(crate) fn age(&self) -> Duration {
        let last = self.stamp().last_change();
        SystemTime::now().duration_since(last).unwrap_or_default()
    }
}

/// One thing in a folder.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) name: String,
    pub(crate) is_folder: bool,
    pub(crate) is_link: bool,
    pub(crate) len: u64,
    pub(crate) modified: u64,
}

/// Where files come from.
#[derive(Debug)]
pub(crate) enum Source {
    Folder(Root),
    /// One file, and its compressed siblings: the path is what is appended to its name.
    File(PathBuf),
}

impl Source {
    pub(crate) fn open(&self, path: &str) -> io::Result<Opened> {
        match self {
            Source::Folder(root) => Opened::new(root.folder()?.open(path, root.links)?),
            Source::File(file) => {
                let mut name = file.clone().into_os_string();
                name.push(path);
                Opened::new(File::open(name)?)
            }
        }
    }

    /// What is in the folder `path`, opened as `opened`, and can be served: at most `most` things.
    pub(crate) fn list(&self, path: &str, opened: &File, most: usize) -> io::Result<Vec<Item>> {
        let Source::Folder(root) = self else {
            return Ok(Vec::new());
        };
        let folder = root.folder()?;
        let mut items = system::list(&folder, path, opened, most)?;
        // A link is shown as what it leads to, and not at all if that may not be served.
        items.retain_mut(|item| {
            if !item.is_link {
                return true;
            }
            let target = folder.open(&format!("{path}{}", item.name), root.links);
            let Ok(target) = target.and_then(Opened::new) else {
                return false;
            };
            item.is_folder = target.is_folder();
            item.len = target.meta.len();
            item.modified = target.modified().unwrap_or(0);
            true
        });
        Ok(items)
    }
}

/// The folder everything is served from: an open handle. Its own path may be a link that is moved
/// to a new version of everything, so it is looked up again from time to time.
#[derive(Debug)]
pub(crate) struct Root {
    path: PathBuf,
    links: bool,
    recheck: Duration,
    folder: RwLock<(Arc<Folder>, Instant)>,
}

impl Root {
    pub(crate) fn new(path: PathBuf, links: bool, recheck: Duration) -> io::Result<Root> {
        let folder = Folder::root(&path)?;
        Ok(Root {
            path,
            links,
            recheck,
            folder: RwLock::new((Arc::new(folder), Instant::now())),
        })
    }

    fn folder(&self) -> io::Result<Arc<Folder>> {
        let (folder, since) = {
            let held = self.folder.read().unwrap_or_else(PoisonError::into_inner);
            (held.0.clone(), held.1)
        };
        if since.elapsed() < self.recheck {
            return Ok(folder);
        }
        let current = Folder::root(&self.path)?;
        let is_same = system::same(&folder.metadata()?, &current.metadata()?);
        let mut held = self.folder.write().unwrap_or_else(PoisonError::into_inner);
        if !is_same {
            held.0 = Arc::new(current);
        }
        held.1 = Instant::now();
        Ok(held.0.clone())
    }
}

/// Whether an error only says that there is nothing to be served under a name.
pub(crate) fn is_absence(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    let kind = error.kind();
    let plain = matches!(
        kind,
        Kind::NotFound
            | Kind::PermissionDenied
            | Kind::NotADirectory
            | Kind::IsADirectory
            | Kind::InvalidInput
    );
    plain || is_refusal(error)
}

/// A link in the way, or one that leads out; a socket.
#[cfg(unix)]
fn is_refusal(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let refusals = [
        Errno::LOOP,
        Errno::XDEV,
        Errno::NAMETOOLONG,
        Errno::NXIO,
        Errno::MLINK,
    ];
    Errno::from_io_error(error).is_some_and(|errno| refusals.contains(&errno))
}

/// A name that is none, or too long.
#[cfg(not(unix))]
fn is_refusal(error: &io::Error) -> bool {
    const ERROR_INVALID_NAME: i32 = 123;
    const ERROR_FILENAME_EXCED_RANGE: i32 = 206;
    matches!(
        error.raw_os_error(),
        Some(ERROR_INVALID_NAME | ERROR_FILENAME_EXCED_RANGE)
    )
}
