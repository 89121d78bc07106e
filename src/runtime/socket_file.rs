//! The file of a Unix socket: created, replaced and removed safely.
//!
//! Invariant: a file is removed only if its device and inode show that it is the file of this server, or of a
//! server that has ended.

use rustix::fs::{FlockOperation, Mode, OFlags};
use socket2::{Domain, SockAddr, Socket, Type};
use std::fs::Metadata;
#[cfg(any(target_os = "linux", test))]
use std::fs::Permissions;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
#[cfg(any(target_os = "linux", test))]
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// The file of a Unix socket that this server created. Removed when the last of its listeners is dropped.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    /// `None`: there was no socket at the path.
    id: Option<Id>,
    /// Another process listens there.
    kept: AtomicBool,
}

/// Device and inode.
type Id = (u64, u64);

impl SocketFile {
    /// The socket that is at `path` now.
    pub(crate) fn new(path: &Path) -> SocketFile {
        SocketFile {
            path: path.to_owned(),
            id: socket_at(path),
            kept: AtomicBool::new(false),
        }
    }

    /// Whether the file outlives the listeners.
    pub(crate) fn keep(&self, kept: bool) {
        self.kept.store(kept, Ordering::Release);
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if !*self.kept.get_mut() && self.id.is_some() && socket_at(&self.path) == self.id {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn socket_at(path: &Path) -> Option<Id> {
    let file = path.symlink_metadata().ok()?;
    file.file_type().is_socket().then(|| id(&file))
}

fn id(file: &Metadata) -> Id {
    (file.dev(), file.ino())
}

/// Listens at `path`. Only processes that may write to a file of `mode` can connect. A socket file of this
/// user without a listener is replaced.
pub(crate) fn listen(
    path: &Path,
    mode: u32,
    backlog: i32,
) -> io::Result<(UnixListener, SocketFile)> {
    let _alone = lock(path);
    let addr = SockAddr::unix(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // The file gets the mode of the socket, without the bits of the umask.
    #[cfg(target_os = "linux")]
    let _ = rustix::fs::fchmod(&socket, Mode::from_raw_mode(mode & 0o777));
    match socket.bind(&addr) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            make_room(path, &addr)?;
            socket.bind(&addr)?;
        }
        bound => bound?,
    }
    let file = SocketFile::new(path);
    // Clients cannot connect before the socket listens, so there is no moment with another mode.
    set_mode(path, mode & 0o777)?;
    socket.listen(backlog)?;
    match file.id.is_some() && socket_at(path) == file.id {
        true => Ok((socket.into(), file)),
        false => Err(taken("another server was started there at the same moment")),
    }
}

/// Sets the mode of the socket at `path`. Never follows a symbolic link: another user who may write into the
/// folder may put one there at any moment.
#[cfg(target_os = "linux")]
fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = std::fs::File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let found = file.metadata()?;
    if !found.file_type().is_socket() {
        return Err(taken("another file was put there at the same moment"));
    }
    match found.mode() & 0o777 == mode {
        true => Ok(()),
        // The system has no other way to change the mode of a file that was opened in this way.
        false => {
            let opened = format!("/proc/self/fd/{}", file.as_raw_fd());
            std::fs::set_permissions(opened, Permissions::from_mode(mode))
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    use rustix::fs::{AtFlags, CWD, RawMode, chmodat};
    let mode = Mode::from_raw_mode(mode as RawMode);
    Ok(chmodat(CWD, path, mode, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Locks the folder, so that only one process at a time checks and replaces its files. Without the lock, of
/// two processes that start at once the second could take the first for one that has ended. `None` if the
/// folder cannot be locked, or if another process holds the lock for longer than this library ever does.
fn lock(path: &Path) -> Option<OwnedFd> {
    const TRIES: usize = 100;
    let folder = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(folder, flags, Mode::empty()).ok()?;
    for _ in 0..TRIES {
        match rustix::fs::flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Some(folder),
            Err(rustix::io::Errno::WOULDBLOCK) => thread::park_timeout(Duration::from_millis(10)),
            Err(_) => return None,
        }
    }
    None
}

/// Removes the file of a server that has ended. If something else is at the path, returns an error that names
/// it.
fn make_room(path: &Path, addr: &SockAddr) -> io::Result<()> {
    let file = path.symlink_metadata()?;
    let kind = file.file_type();
    if kind.is_symlink() {
        return Err(taken("a symbolic link is there"));
    }
    if !kind.is_socket() {
        return Err(taken("a file that is no socket is there"));
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    probe.set_nonblocking(true)?;
    let error = match probe.connect(addr) {
        Ok(()) => return Err(taken("a server listens there")),
        Err(error) => error,
    };
    match error.kind() {
        ErrorKind::ConnectionRefused => {}
        // Its backlog is full.
        ErrorKind::WouldBlock => return Err(taken("a server listens there")),
        ErrorKind::PermissionDenied => {
            return Err(taken(
                "a socket is there that this user must not connect to",
            ));
        }
        _ if error.raw_os_error() == Some(rustix::io::Errno::PROTOTYPE.raw_os_error()) => {
            return Err(taken("a socket of another type is there"));
        }
        kind => return Err(io::Error::new(kind, format!("a socket is there: {error}"))),
    }
    let user = rustix::process::geteuid();
    if !user.is_root() && file.uid() != user.as_raw() {
        return Err(taken("a socket of another user is there"));
    }
    match socket_at(path) == Some(id(&file)) {
        true => std::fs::remove_file(path),
        false => Err(taken("another server was started there at the same moment")),
    }
}

fn taken(what: &str) -> io::Error {
    io::Error::new(ErrorKind::AddrInUse, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// Another user who may write into the folder replaces each socket by a link as soon as the socket is
    /// there.
    #[test]
    fn a_link_in_the_place_of_the_socket_changes_no_permissions() {
        let folder = std::env::temp_dir().join(format!("peregrine-mode-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("created");
        let [socket, link, secret] = ["socket", "link", "secret"].map(|name| folder.join(name));
        fs::write(&secret, "secret").expect("written");
        fs::set_permissions(&secret, Permissions::from_mode(0o600)).expect("set");
        let mut replaced = 0;
        thread::scope(|scope| {
            let server = scope.spawn(|| {
                for _ in 0..3000 {
                    let listener = listen(&socket, 0o666, 1);
                    drop(listener);
                    let _ = fs::remove_file(&socket);
                }
            });
            while !server.is_finished() {
                let _ = symlink("secret", &link);
                if socket_at(&socket).is_some() && fs::rename(&link, &socket).is_ok() {
                    replaced += 1;
                }
            }
        });
        let mode = fs::metadata(&secret).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(replaced > 0);
        fs::remove_dir_all(folder).expect("removed");
    }
}
