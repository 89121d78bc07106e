//! Opens files beneath a root on Unix, one path component at a time.
//!
//! The system never resolves a whole path by itself.
//!
//! The type of a file is checked before the open, because an open alone can have an effect: it wakes the
//! writer of a pipe, or starts a watchdog. If the file is replaced between the two, it is opened without
//! waiting and then refused.

use super::{Item, Items};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, open, openat, readlinkat, statat};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
#[cfg(target_os = "linux")]
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Number of nested links that are followed, as in the system.
const MAX_LINKS: usize = 40;

/// The open does not wait for the other end of a pipe, and a terminal does not become that of the process.
const FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY);

/// For metadata, and for folders in which files are opened. On Linux this opens nothing.
#[cfg(target_os = "linux")]
const LOOK: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);
#[cfg(not(target_os = "linux"))]
const LOOK: OFlags = FLAGS;

/// An open folder in which files are opened.
#[derive(Debug)]
pub(crate) struct Folder(File);

/// What distinguishes files and the versions of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Stamp {
    pub(crate) len: u64,
    /// Two versions of an image without times may be equal in everything else.
    device: u64,
    inode: u64,
    modified: (i64, i64),
    /// Every change of the content changes it, and a program cannot set it.
    changed: (i64, i64),
}

impl Stamp {
    pub(crate) fn new(meta: &Metadata) -> Stamp {
        Stamp {
            len: meta.len(),
            device: meta.dev(),
            inode: meta.ino(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }

    /// Time of the last change of the content, as far as the system has it. A modification time in the future
    /// was set by a program; then only the time of the change counts.
    pub(crate) fn last_change(&self, now: SystemTime) -> SystemTime {
        let time = |(seconds, _): (i64, i64)| {
            UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
        };
        let (modified, changed) = (time(self.modified), time(self.changed));
        match modified > now {
            true => changed,
            false => modified.max(changed),
        }
    }
}

/// Whether both are the same folder.
pub(crate) fn same(a: &Metadata, b: &Metadata) -> bool {
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

/// Whether both files belong to the same user.
pub(crate) fn same_owner(a: &Metadata, b: &Metadata) -> bool {
    a.uid() == b.uid()
}

/// Number of descriptors that the process may have.
pub(crate) fn descriptors() -> usize {
    let most = getrlimit(Resource::Nofile).current;
    most.map_or(usize::MAX, |most| {
        usize::try_from(most).unwrap_or(usize::MAX)
    })
}

/// Whether a call failed because the process or the system has no descriptor left.
pub(crate) fn is_out_of_descriptors(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE))
}

/// Whether the path has a link that is not followed or leads out, a socket, or a name that the file system
/// refuses.
pub(crate) fn is_refusal(error: &io::Error) -> bool {
    let refusals = [
        Errno::LOOP,
        Errno::XDEV,
        Errno::NAMETOOLONG,
        Errno::NXIO,
        Errno::MLINK,
        Errno::ILSEQ,
    ];
    Errno::from_io_error(error).is_some_and(|errno| refusals.contains(&errno))
}

impl Folder {
    /// Opens the folder that everything is served from. Its path may be any.
    pub(crate) fn root(path: &Path) -> io::Result<Folder> {
        let folder = open(path, LOOK | OFlags::DIRECTORY, Mode::empty())?;
        Ok(Folder(folder.into()))
    }

    pub(crate) fn metadata(&self) -> io::Result<Metadata> {
        self.0.metadata()
    }

    /// Opens the file `name` in this folder. With `links` a link is followed wherever it leads; otherwise it
    /// is refused.
    pub(crate) fn entry(&self, name: &[u8], links: bool) -> io::Result<File> {
        let (flags, at) = match links {
            true => (FLAGS, AtFlags::empty()),
            false => (FLAGS | OFlags::NOFOLLOW, AtFlags::SYMLINK_NOFOLLOW),
        };
        let kind = FileType::from_raw_mode(statat(&self.0, name, at)?.st_mode);
        match is_openable(kind) {
            true => Ok(openat(&self.0, name, flags, Mode::empty())?.into()),
            false => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Opens `path`, which is relative and without `..`, beneath this folder. With `links`, links are
    /// followed as long as they stay beneath the folder. An absolute link always leaves it.
    pub(crate) fn open(&self, path: &[u8], links: bool) -> io::Result<File> {
        #[cfg(target_os = "linux")]
        if let Some(seen) = self.at_once(path, links, LOOK) {
            let meta = seen?.metadata()?;
            if !meta.is_file() && !meta.is_dir() {
                return Err(io::ErrorKind::NotFound.into());
            }
            if let Some(opened) = self.at_once(path, links, FLAGS) {
                return opened;
            }
        }
        self.walk(path, links)
    }

    /// The metadata of the same, without an open if the system can do that.
    pub(crate) fn look(&self, path: &[u8], links: bool) -> io::Result<Metadata> {
        #[cfg(target_os = "linux")]
        if let Some(seen) = self.at_once(path, links, LOOK) {
            return seen?.metadata();
        }
        self.walk(path, links)?.metadata()
    }

    /// Lets the system resolve the path. `None` if the system cannot.
    #[cfg(target_os = "linux")]
    fn at_once(&self, path: &[u8], links: bool, flags: OFlags) -> Option<io::Result<File>> {
        use rustix::fs::{ResolveFlags, openat2};
        static MISSING: AtomicBool = AtomicBool::new(false);
        if MISSING.load(Ordering::Relaxed) {
            return None;
        }
        let mut resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        if !links {
            resolve |= ResolveFlags::NO_SYMLINKS;
        }
        let call = |path, flags| openat2(&self.0, path, flags, Mode::empty(), resolve);
        let path = if path.is_empty() { b"." } else { path };
        match call(path, flags) {
            // A rename happened at the same time, so the system cannot decide.
            Err(Errno::AGAIN) => None,
            Err(error) if is_missing(error, || call(b".", LOOK).err()) => {
                MISSING.store(true, Ordering::Relaxed);
                None
            }
            opened => Some(opened.map(File::from).map_err(io::Error::from)),
        }
    }

    /// Opens the path component by component. No step follows a link or leaves an open folder. So a move or a
    /// replacement at the same time cannot lead out.
    pub(crate) fn walk(&self, path: &[u8], links: bool) -> io::Result<File> {
        let mut entered: Vec<OwnedFd> = Vec::new();
        let mut ahead: Vec<Vec<u8>> = Vec::new();
        push(&mut ahead, path);
        let mut followed = 0;
        while let Some(name) = ahead.pop() {
            let folder = entered.last().map_or(self.0.as_fd(), AsFd::as_fd);
            match name.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    // Only a link contains `..`, and it must stay within the root.
                    entered.pop().ok_or(Errno::XDEV)?;
                    continue;
                }
                _ => {}
            }
            let stat = statat(folder, &*name, AtFlags::SYMLINK_NOFOLLOW)?;
            let kind = FileType::from_raw_mode(stat.st_mode);
            if kind == FileType::Symlink {
                followed += 1;
                if !links || followed > MAX_LINKS {
                    return Err(Errno::LOOP.into());
                }
                let target = readlinkat(folder, &*name, Vec::new())?;
                if target.as_bytes().first() == Some(&b'/') {
                    return Err(Errno::XDEV.into());
                }
                push(&mut ahead, target.as_bytes());
                continue;
            }
            if !is_openable(kind) {
                return Err(io::ErrorKind::NotFound.into());
            }
            let opened = openat(folder, &*name, FLAGS | OFlags::NOFOLLOW, Mode::empty())?;
            if !ahead.iter().all(Vec::is_empty) {
                entered.push(opened);
                continue;
            }
            let file = File::from(opened);
            let is_folder_wanted = !ahead.is_empty();
            if is_folder_wanted && !file.metadata()?.is_dir() {
                return Err(Errno::NOTDIR.into());
            }
            return Ok(file);
        }
        // The path ends here: it is the folder itself.
        let folder = entered.last().map_or(self.0.as_fd(), AsFd::as_fd);
        Ok(openat(folder, ".", FLAGS, Mode::empty())?.into())
    }
}

/// Whether an error of `openat2` says that the call does not exist: Linux before 5.6, or a sandbox that does
/// not know it. A sandbox may return `EPERM`, which can also be about one path. `root` is the result of the
/// call for the root, without opening it.
#[cfg(target_os = "linux")]
fn is_missing(error: Errno, root: impl FnOnce() -> Option<Errno>) -> bool {
    error == Errno::NOSYS || (error == Errno::PERM && root() == Some(Errno::PERM))
}

fn is_openable(kind: FileType) -> bool {
    matches!(kind, FileType::RegularFile | FileType::Directory)
}

/// Puts the components of `path` in front of those in `ahead`.
fn push(ahead: &mut Vec<Vec<u8>>, path: &[u8]) {
    let names = path.split(|&b| b == b'/').map(<[u8]>::to_vec);
    ahead.extend(names.rev());
}

/// The entries of the open `folder`, in no order. At most `most` entries are read. Only files, folders and
/// links with a name that `shown` accepts are kept.
#[allow(clippy::unnecessary_cast)] // The types of `stat` differ between systems.
pub(crate) fn list(
    _: &Folder,
    _: &[u8],
    folder: &File,
    most: usize,
    shown: impl Fn(&[u8]) -> bool,
) -> io::Result<Items> {
    let mut list = Items::default();
    let mut read = 0;
    for entry in rustix::fs::Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            continue;
        }
        if read == most {
            list.cut = true;
            break;
        }
        read += 1;
        let is_listed = |kind| is_openable(kind) || kind == FileType::Symlink;
        let kind = entry.file_type();
        if !(is_listed(kind) || kind == FileType::Unknown) || !shown(name) {
            continue;
        }
        let Ok(stat) = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) else {
            continue;
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        if is_listed(kind) {
            list.items.push(Item {
                name: name.to_owned(),
                is_folder: kind == FileType::Directory,
                is_link: kind == FileType::Symlink,
                len: stat.st_size as u64,
                modified: (stat.st_mtime as i64).max(0) as u64,
            });
        }
    }
    Ok(list)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use std::fs;
    use std::io::Read;

    /// The same test as in `tests/it/dir_paths.rs` over sockets, for the code of other systems: a folder and
    /// a link that leads out exchange their names all the time.
    #[test]
    fn a_walk_stays_inside_whatever_is_exchanged() {
        let outside = std::env::temp_dir().join(format!("peregrine-walk-{}", std::process::id()));
        // Left by a killed process with the same number.
        let _ = fs::remove_dir_all(&outside);
        for (folder, text) in [("site/swap/deep", "inside"), ("elsewhere/deep", "secret")] {
            fs::create_dir_all(outside.join(folder)).expect("created");
            fs::write(outside.join(folder).join("file"), text).expect("written");
        }
        let (swap, other) = (outside.join("site/swap"), outside.join("site/other"));
        std::os::unix::fs::symlink("../elsewhere", &other).expect("a link");
        let root = Folder::root(&outside.join("site")).expect("a folder");
        let exchange = || renameat_with(CWD, &swap, CWD, &other, RenameFlags::EXCHANGE);
        // Not every file system supports the exchange.
        if exchange().and_then(|()| exchange()).is_err() {
            let _ = fs::remove_dir_all(outside);
            return;
        }
        let (mut opened, mut refused) = (0, 0);
        std::thread::scope(|scope| {
            let exchanger = scope.spawn(|| {
                for _ in 0..20_000 {
                    exchange().expect("exchanged");
                }
            });
            while !exchanger.is_finished() {
                let Ok(mut file) = root.walk(b"swap/deep/file", true) else {
                    refused += 1;
                    continue;
                };
                let mut text = String::new();
                file.read_to_string(&mut text).expect("read");
                assert_eq!(text, "inside");
                opened += 1;
            }
        });
        assert!(opened + refused > 0);
        fs::remove_dir_all(outside).expect("removed");
    }

    /// With a time in the future, a file would count as just changed again and again.
    #[test]
    fn a_modification_time_in_the_future_is_no_change() {
        let at = |seconds: i64| UNIX_EPOCH + Duration::from_secs(seconds as u64);
        let last = |modified, changed| {
            let stamp = Stamp {
                len: 0,
                device: 0,
                inode: 0,
                modified: (modified, 0),
                changed: (changed, 0),
            };
            stamp.last_change(at(1000))
        };
        assert_eq!(last(2000, 10), at(10));
        assert_eq!(last(i64::MAX, 10), at(10));
        assert_eq!(last(999, 10), at(999));
        assert_eq!(last(10, 999), at(999));
        assert_eq!(last(-10, 999), at(999));
        // The clock was set back.
        assert_eq!(last(2000, 2000), at(2000));
    }

    /// A sandbox may return `EPERM` for a call that it does not know. A program that watches one file may
    /// return it for this file.
    #[test]
    fn one_path_that_is_refused_is_no_missing_call() {
        assert!(is_missing(Errno::NOSYS, || unreachable!()));
        assert!(is_missing(Errno::PERM, || Some(Errno::PERM)));
        assert!(!is_missing(Errno::PERM, || None));
        assert!(!is_missing(Errno::PERM, || Some(Errno::MFILE)));
        assert!(!is_missing(Errno::NOENT, || unreachable!()));
    }

    /// As in two images without times, where the second replaces the first.
    #[test]
    fn the_same_on_another_device_is_another_file() {
        let here = Stamp::new(&fs::metadata("/").expect("a folder"));
        let there = Stamp {
            device: here.device + 1,
            ..here
        };
        assert_ne!(here, there);
    }

    /// In each of the ways, whatever the system supports.
    #[test]
    fn a_pipe_is_not_opened() {
        let outside = std::env::temp_dir().join(format!("peregrine-pipe-{}", std::process::id()));
        let _ = fs::remove_dir_all(&outside);
        fs::create_dir_all(outside.join("folder")).expect("created");
        fs::write(outside.join("file"), "text").expect("written");
        rustix::fs::mkfifoat(CWD, outside.join("pipe"), 0o600.into()).expect("a pipe");
        std::os::unix::fs::symlink("pipe", outside.join("link")).expect("a link");
        let root = Folder::root(&outside).expect("a folder");
        for name in [&b"pipe"[..], b"link"] {
            for opened in [
                root.open(name, true),
                root.walk(name, true),
                root.entry(name, true),
            ] {
                let kind = opened.expect_err("no file").kind();
                assert_eq!(kind, io::ErrorKind::NotFound);
            }
            assert!(root.entry(name, false).is_err());
        }
        for opened in [
            root.open(b"file", true),
            root.walk(b"file", false),
            root.entry(b"file", false),
        ] {
            assert!(opened.is_ok());
        }
        // A path behind a file, and a file with a slash.
        for name in [&b"file/x"[..], b"file/"] {
            assert!(root.open(name, true).is_err() && root.walk(name, true).is_err());
        }
        assert!(root.open(b"folder/", true).is_ok() && root.walk(b"folder/", true).is_ok());
        fs::remove_dir_all(outside).expect("removed");
    }
}
