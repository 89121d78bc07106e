//! Opens files so that nothing outside the root can be reached.

#[cfg(not(unix))]
mod other;
#[cfg(unix)]
mod unix;

#[cfg(not(unix))]
use other as system;
#[cfg(unix)]
use unix as system;

pub(crate) use system::{Folder, Stamp, descriptors, is_out_of_descriptors};

use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Seconds since 1970 up to which a time is ignored. Archives, container images and package stores set 0 or 1
/// on all files. Then all versions of a file have the same time, and a client that asks by date would keep an
/// old version.
const NO_TIME: u64 = 1;

/// An open file or folder, and its metadata at the time of the open.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) file: File,
    pub(crate) meta: Metadata,
}

impl Opened {
    /// Refuses what is neither a file nor a folder: pipes, devices, sockets.
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

    /// Time of the last change, in seconds since 1970, never in the future (RFC 9110 section 8.8.2.1). `None`
    /// up to [`NO_TIME`].
    pub(crate) fn modified(&self) -> Option<u64> {
        seconds(&self.meta)
    }

    /// Time since the last change; zero if that is in the future.
    pub(crate) fn age(&self) -> Duration {
        let now = SystemTime::now();
        let last = self.stamp().last_change(now);
        now.duration_since(last).unwrap_or_default()
    }

    /// Whether this file may be sent instead of `plain`: it has the same owner and is neither older nor
    /// larger.
    pub(crate) fn stands_for(&self, plain: &Opened) -> bool {
        !self.is_folder()
            && self.modified() >= plain.modified()
            && self.meta.len() <= plain.meta.len()
            && system::same_owner(&self.meta, &plain.meta)
    }
}

fn seconds(meta: &Metadata) -> Option<u64> {
    let modified = meta.modified().ok()?.min(SystemTime::now());
    let seconds = modified.duration_since(UNIX_EPOCH).ok()?.as_secs();
    (seconds > NO_TIME).then_some(seconds)
}

/// One entry of a folder.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    /// The name as the system has it; on Unix it may be no text.
    pub(crate) name: Vec<u8>,
    pub(crate) is_folder: bool,
    pub(crate) is_link: bool,
    pub(crate) len: u64,
    pub(crate) modified: u64,
}

/// The entries that were read of a folder.
#[derive(Clone, Debug, Default)]
pub(crate) struct Items {
    pub(crate) items: Vec<Item>,
    /// The folder has more entries.
    pub(crate) cut: bool,
}

impl Items {
    /// Bytes it holds in memory.
    pub(crate) fn weight(&self) -> usize {
        let names = self.items.iter().map(|item| item.name.capacity());
        names.sum::<usize>() + self.items.capacity() * size_of::<Item>()
    }
}

/// Where files come from.
#[derive(Debug)]
pub(crate) enum Source {
    Folder(Root),
    /// One file and its compressed siblings. The path is a suffix of its name.
    File {
        folder: Root,
        name: Vec<u8>,
    },
}

impl Source {
    /// The folder at `path`.
    pub(crate) fn folder(path: &Path, links: bool, recheck: Duration) -> io::Result<Source> {
        let path = std::path::absolute(path)?;
        Ok(Source::Folder(Root::new(path, links, recheck)?))
    }

    /// The file at `path`. Only the folder around it is opened here.
    pub(crate) fn file(path: &Path, recheck: Duration) -> io::Result<Source> {
        let path = std::path::absolute(path)?;
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::IsADirectory.into());
        };
        Ok(Source::File {
            name: name.as_encoded_bytes().to_vec(),
            folder: Root::new(folder.to_owned(), false, recheck)?,
        })
    }

    pub(crate) fn open(&self, path: &[u8]) -> io::Result<Opened> {
        match self {
            Source::Folder(root) => Opened::new(root.folder()?.open(path, root.links)?),
            Source::File { folder, name } => {
                // The program has named the file, so its links are followed; those of its siblings are not.
                let links = path.is_empty();
                let name = [name, path].concat();
                Opened::new(folder.folder()?.entry(&name, links)?)
            }
        }
    }

    /// The entries of the folder `path`, opened as `opened`, that can be served. At most `most` entries are
    /// read, and only names that `shown` accepts are kept.
    pub(crate) fn list(
        &self,
        path: &[u8],
        opened: &File,
        most: usize,
        shown: impl Fn(&[u8]) -> bool,
    ) -> io::Result<Items> {
        let Source::Folder(root) = self else {
            return Ok(Items::default());
        };
        let folder = root.folder()?;
        let mut list = system::list(&folder, path, opened, most, shown)?;
        // A link is listed as its target, and not at all if the target may not be served.
        list.items.retain_mut(|item| {
            if !item.is_link {
                return true;
            }
            let Ok(target) = folder.look(&[path, &item.name].concat(), root.links) else {
                return false;
            };
            item.is_folder = target.is_dir();
            item.len = target.len();
            item.modified = seconds(&target).unwrap_or(0);
            target.is_dir() || target.is_file()
        });
        Ok(list)
    }
}

/// The open folder that everything is served from. Its path may be a link that is moved to a new version of
/// the folder, so the path is looked up again from time to time.
#[derive(Debug)]
pub(crate) struct Root {
    path: PathBuf,
    links: bool,
    recheck: Duration,
    folder: RwLock<(Arc<Folder>, Instant)>,
}

impl Root {
    fn new(path: PathBuf, links: bool, recheck: Duration) -> io::Result<Root> {
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

    /// The path of `relative`, whose last name need not exist. All names on the way are ones that `allow` accepts, also
    /// those that links lead to.
    pub(crate) fn place(
        &self,
        relative: &str,
        allow: impl Fn(&[u8]) -> bool,
    ) -> io::Result<PathBuf> {
        let inner = relative.strip_suffix('/').unwrap_or(relative);
        let (folders, last) = inner.rsplit_once('/').unwrap_or(("", inner));
        let root = self.path.canonicalize()?;
        let mut asked = root.clone();
        for name in folders.split('/').filter(|name| !name.is_empty()) {
            asked.push(name);
            if !self.links && asked.is_symlink() {
                return Err(io::ErrorKind::NotFound.into());
            }
        }
        let folder = asked.canonicalize()?;
        let below = folder.strip_prefix(&root).map_err(io::Error::other)?;
        let is_allowed =
            allow(last.as_bytes()) && below.iter().all(|name| allow(name.as_encoded_bytes()));
        match is_allowed && folder.is_dir() {
            true => Ok(folder.join(last)),
            false => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

/// The error with its path, in the form that the program has given.
pub(crate) fn about(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Whether an error only says that nothing can be served under a name.
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
    plain || system::is_refusal(error)
}
