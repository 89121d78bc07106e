//! Passes listeners from one process to the next.
//!
//! The old process gives the new one a Unix socket as its standard input, because that is the only descriptor
//! that a program can take over by name without `unsafe`. Everything else goes through this socket: the
//! listeners as `SCM_RIGHTS`, one byte beside each for its kind, and then one byte in each direction. The new
//! process reports that it is ready, and the old one confirms that it stops. Only then do both act on it. So
//! if a process ends or hangs at any moment, exactly one process serves.

use super::clock;
use super::listener::{BindAddr, Listener};
use super::server_state::ServerState;
use super::socket_file::SocketFile;
use crate::log::event;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

/// The environment variable that tells a process that its standard input is our socket. Its value is the
/// version of the protocol, a colon, and the id of the old process. Processes that the new one starts inherit
/// the variable; the id shows them that it is not for them.
const VARIABLE: &str = "PEREGRINE_INHERIT";
const VERSION: &str = "2";

/// How long the old process may take for a step that it does at once. It may be suspended, or it may be
/// another program.
const PATIENCE: Duration = Duration::from_secs(30);

const TCP: u8 = b't';
const UNIX: u8 = b'u';
/// A Unix socket whose file is to be removed by the server that stops last.
const UNIX_FILE: u8 = b'f';
const END: u8 = b'.';
const READY: u8 = b'r';
const GIVE_WAY: u8 = b'g';

/// The most listeners that one process takes over. A longer list is not from this library.
const MOST: usize = 4096;

/// How often a process that waits for its successor checks whether it has to stop itself.
const LOOK: Duration = Duration::from_millis(100);

/// Starts `command` with the listeners of all `controls`, which stop when it is ready.
pub(crate) fn hand_over(
    controls: &[&Arc<ServerState>],
    command: &mut Command,
    ready_within: Duration,
) -> io::Result<Child> {
    let until = clock::after(ready_within);
    // Only one hand-over at a time: the first process that is ready stops the servers, so a second one would
    // fail. What the failure takes back would be taken from the first.
    let begun: Option<Vec<_>> = controls.iter().map(|c| c.hands_over()).collect();
    let Some(_begun) = begun else {
        return Err(io::Error::other("another process is about to take over"));
    };
    let mut listeners = Vec::new();
    for control in controls {
        listeners.extend(control.listeners()?);
    }
    let (mut ours, theirs) = UnixStream::pair()?;
    let started = command
        .env(VARIABLE, format!("{VERSION}:{}", std::process::id()))
        // It names this process, and the watchdog is for the new one then.
        .env_remove("WATCHDOG_PID")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .spawn();
    // `command` would keep the other end open, and the end of the new process would not be noticed.
    command.stdin(Stdio::null());
    let mut child = started?;
    let left_before: Vec<_> = controls.iter().map(|c| c.leaves_backlog()).collect();
    let is_stopping = || controls.iter().any(|control| !control.phase.is_serving());
    let became_ready = pass(&listeners, &ours, until)
        .and_then(|()| wait_ready(&mut ours, until, is_stopping))
        .and_then(|()| {
            // Before the message: after it the clients in the backlog belong to the new process.
            listeners
                .iter()
                .for_each(|listener| listener.keep_file(true));
            controls
                .iter()
                .for_each(|control| control.leave_backlog(true));
            ours.write_all(&[GIVE_WAY])
        });
    match became_ready {
        Ok(()) => {
            event!(Info, { pid: child.id() }, "a new process takes over");
            controls.iter().for_each(|c| c.give_way_to(child.id()));
            Ok(child)
        }
        Err(error) => {
            use ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
            if matches!(error.kind(), UnexpectedEof | BrokenPipe | ConnectionReset) {
                wait_end(&mut child, until, is_stopping);
            }
            let _ = child.kill();
            let status = child.wait();
            for (control, left) in controls.iter().zip(left_before) {
                control.leave_backlog(left);
            }
            listeners
                .iter()
                .for_each(|listener| listener.keep_file(false));
            event!(Warn, "the new process was not ready: {error}");
            let ended = status.map_or(String::new(), |status| format!(" ({status})"));
            let text = format!("the new process was not ready: {error}{ended}");
            Err(io::Error::new(error.kind(), text))
        }
    }
}

fn pass(listeners: &[Listener], to: &UnixStream, until: Instant) -> io::Result<()> {
    to.set_write_timeout(Some(left(until)?))?;
    for listener in listeners {
        let kind = match listener {
            Listener::Tcp(_) => TCP,
            Listener::Unix(None, _) => UNIX,
            Listener::Unix(Some(_), _) => UNIX_FILE,
        };
        let fds = [listener.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&fds));
        sendmsg(
            to,
            &[IoSlice::new(&[kind])],
            &mut control,
            // If the process has ended by now, this is an error, and not a SIGPIPE that ends this process.
            #[cfg(not(target_vendor = "apple"))]
            SendFlags::NOSIGNAL,
            #[cfg(target_vendor = "apple")]
            SendFlags::empty(),
        )?;
    }
    (&mut &*to).write_all(&[END])
}

/// A child that gives up closes its end of the socket first. Then it reports the reason and exits by itself.
fn wait_end(child: &mut Child, until: Instant, is_stopping: impl Fn() -> bool) {
    while matches!(child.try_wait(), Ok(None)) && Instant::now() < until && !is_stopping() {
        thread::park_timeout(Duration::from_millis(5));
    }
}

fn wait_ready(
    from: &mut UnixStream,
    until: Instant,
    is_stopping: impl Fn() -> bool,
) -> io::Result<()> {
    let mut byte = [0];
    loop {
        if is_stopping() {
            return Err(io::Error::other("this one stops"));
        }
        from.set_read_timeout(Some(left(until)?.min(LOOK)))?;
        match from.read(&mut byte) {
            Ok(1) if byte == [READY] => return Ok(()),
            Ok(0) => return Err(io::Error::new(ErrorKind::UnexpectedEof, "it ended")),
            Ok(_) => {
                return Err(io::Error::new(
                    ErrorKind::InvalidData,
                    "it said something else",
                ));
            }
            Err(error) if is_pause(error.kind()) => {}
            // It has ended without reading what was sent to it.
            Err(error) => return Err(error),
        }
    }
}

fn is_pause(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

fn left(until: Instant) -> io::Result<Duration> {
    match until.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::Error::new(ErrorKind::TimedOut, "its time is up")),
        left => Ok(left),
    }
}

/// The listeners that the process before this one has handed over, if there is one; see
/// [`hand_over`](crate::server::hand_over). Clones are the same handle. Not on Windows.
///
/// ```no_run
/// use peregrine::Server;
/// use peregrine::server::Inherited;
///
/// # fn main() -> std::io::Result<()> {
/// let inherited = Inherited::from_parent()?;
/// let running = Server::from_fn(|_, res| res.text("hi"))
///     .inherit(&inherited)
///     .bind("127.0.0.1:8080") // that of the old process, if it had this address
///     .start()?;
/// inherited.ready()?; // the old one stops now
/// running.wait()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Inherited(Arc<Mutex<Heritage>>);

#[derive(Debug, Default)]
struct Heritage {
    /// Listeners that no server has taken yet, each with whether its file is to be removed at the end.
    listeners: Vec<(Listener, bool)>,
    /// Files of the listeners that a server has taken.
    files: Vec<Arc<SocketFile>>,
    parent: Option<UnixStream>,
    /// The servers that have started.
    servers: Vec<Weak<ServerState>>,
}

impl Inherited {
    /// Takes the listeners that the parent process hands over. If it hands none over, the list is empty. The
    /// listeners come through the standard input, which afterwards is closed to everything else, so a second
    /// call and processes that this one starts find nothing there. Blocks until the list is complete, for at
    /// most 30 seconds; the parent process sends it at once.
    ///
    /// Listeners are taken from the parent of this process only, and on Linux only if the socket was made
    /// by it, as this user or as root.
    ///
    /// # Errors
    ///
    /// The other process has ended, does not send the list in time, or uses another version of the protocol.
    pub fn from_parent() -> io::Result<Inherited> {
        let mut heritage = Heritage::default();
        let parent = std::os::unix::process::parent_id();
        let said = format!("{VERSION}:{parent}");
        if std::env::var_os(VARIABLE).is_some_and(|variable| *variable == *said) {
            let stdin = io::stdin().lock();
            let addr = socket2::SockRef::from(&stdin).local_addr();
            if addr.is_ok_and(|addr| addr.is_unix()) && is_from(stdin.as_fd(), parent) {
                let parent = UnixStream::from(stdin.as_fd().try_clone_to_owned()?);
                let nowhere = std::fs::File::open("/dev/null")?;
                rustix::stdio::dup2_stdin(nowhere)?;
                heritage.listeners = receive(&parent, Instant::now() + PATIENCE)?;
                heritage.parent = Some(parent);
            }
        }
        Ok(Inherited(Arc::new(Mutex::new(heritage))))
    }

    /// An empty list, as for a process that was started by hand or by a service manager.
    pub fn is_none(&self) -> bool {
        self.lock().parent.is_none()
    }

    /// Tells the old process to stop. Call it when all servers of this process have started. Blocks until the
    /// old process has begun to stop, for at most 30 seconds. Listeners that no server has taken are closed.
    /// Does nothing if there is no old process.
    ///
    /// # Errors
    ///
    /// The old process has ended, stops without a successor, has waited too long or does not respond in time;
    /// or a server of this process is told to stop. The old process then continues to serve, and this process
    /// should end.
    pub fn ready(&self) -> io::Result<()> {
        let mut heritage = self.lock();
        heritage.listeners.clear();
        let Some(parent) = heritage.parent.take() else {
            return Ok(());
        };
        let servers = std::mem::take(&mut heritage.servers);
        let is_stopping = || {
            let mut servers = servers.iter().filter_map(Weak::upgrade);
            servers.any(|control| control.is_stopping())
        };
        wait_way(&parent, Instant::now() + PATIENCE, is_stopping)?;
        heritage.files.drain(..).for_each(|file| file.keep(false));
        Ok(())
    }

    /// Adds a server to those that [`Inherited::ready`] reports as ready.
    pub(crate) fn serves(&self, control: &Arc<ServerState>) {
        self.lock().servers.push(Arc::downgrade(control));
    }

    /// Replaces addresses by inherited listeners for them.
    pub(crate) fn claim(&self, places: Vec<BindAddr>) -> Vec<BindAddr> {
        let mut heritage = self.lock();
        let claim = |place| match place {
            BindAddr::Tcp(Ok(addrs)) => match heritage.tcp(&addrs) {
                found if found.is_empty() => BindAddr::Tcp(Ok(addrs)),
                found => BindAddr::Inherited(found),
            },
            BindAddr::Unix(path, mode) => match heritage.unix(&path) {
                Some((listener, file)) => BindAddr::InheritedUnix(listener, file),
                None => BindAddr::Unix(path, mode),
            },
            other => other,
        };
        places.into_iter().map(claim).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Heritage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Heritage {
    /// All listeners of one address, because each has its own queue of connections.
    fn tcp(&mut self, addrs: &[SocketAddr]) -> Vec<TcpListener> {
        let addr_of = |listener: &Listener| match listener {
            Listener::Tcp(listener) => listener.local_addr().ok(),
            Listener::Unix(..) => None,
        };
        let had: Vec<_> = self.listeners.iter().map(|(l, _)| addr_of(l)).collect();
        let is_for = |had: SocketAddr, wanted: SocketAddr| {
            had == wanted || wanted.port() == 0 && had.ip() == wanted.ip()
        };
        let found = addrs.iter().find_map(|&wanted| {
            let mut had = had.iter().flatten();
            had.find(|&&had| is_for(had, wanted)).copied()
        });
        if found.is_none() {
            return Vec::new();
        }
        let is_found = |listener: &Listener| addr_of(listener) == found;
        let all = std::mem::take(&mut self.listeners);
        let (taken, left) = all
            .into_iter()
            .partition(|(listener, _)| is_found(listener));
        self.listeners = left;
        let taken: Vec<_> = taken;
        let tcp = |(listener, _)| match listener {
            Listener::Tcp(listener) => Some(listener),
            Listener::Unix(..) => None,
        };
        taken.into_iter().filter_map(tcp).collect()
    }

    fn unix(&mut self, path: &std::path::Path) -> Option<(UnixListener, Option<Arc<SocketFile>>)> {
        let is_wanted = |listener: &Listener| match listener {
            Listener::Tcp(_) => false,
            Listener::Unix(_, listener) => {
                let addr = listener.local_addr();
                addr.is_ok_and(|addr| addr.as_pathname() == Some(path))
            }
        };
        let i = self.listeners.iter().position(|(l, _)| is_wanted(l))?;
        let (listener, has_file) = self.listeners.remove(i);
        let Listener::Unix(_, listener) = listener else {
            return None;
        };
        let file = has_file.then(|| {
            let file = Arc::new(SocketFile::new(path));
            // The file still belongs to the old process.
            file.keep(true);
            self.files.push(file.clone());
            file
        });
        Some((listener, file))
    }
}

/// Whether the other end of `socket` was created by the process `parent`, as this user or as root. Only Linux
/// tells this without `unsafe`.
fn is_from(socket: BorrowedFd<'_>, parent: u32) -> bool {
    #[cfg(target_os = "linux")]
    {
        let user = rustix::process::geteuid();
        rustix::net::sockopt::socket_peercred(socket).is_ok_and(|peer| {
            let pid = peer.pid.as_raw_nonzero().get();
            u32::try_from(pid) == Ok(parent) && (peer.uid == user || peer.uid.is_root())
        })
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (socket, parent);
        true
    }
}

/// Reports that this process is ready, and waits until the old one confirms that it stops.
fn wait_way(
    mut parent: &UnixStream,
    until: Instant,
    is_stopping: impl Fn() -> bool,
) -> io::Result<()> {
    parent.set_write_timeout(Some(left(until)?))?;
    parent.write_all(&[READY])?;
    let mut byte = [0];
    let error = loop {
        if is_stopping() {
            break io::Error::other("this process stops");
        }
        let Ok(wait) = left(until) else {
            let text = "the old process did not stop in time";
            break io::Error::new(ErrorKind::TimedOut, text);
        };
        parent.set_read_timeout(Some(wait.min(LOOK)))?;
        match parent.read(&mut byte) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(_) if byte == [GIVE_WAY] => return Ok(()),
            Ok(_) => return Err(unknown()),
            Err(error) if is_pause(error.kind()) => {}
            Err(error) => return Err(error),
        }
    };
    // After this the old process cannot confirm any more. If it has confirmed in the meantime, only this
    // process serves.
    parent.shutdown(Shutdown::Both)?;
    parent.set_nonblocking(true)?;
    match parent.read(&mut byte) {
        Ok(1) if byte == [GIVE_WAY] => Ok(()),
        _ => Err(error),
    }
}

fn receive(parent: &UnixStream, until: Instant) -> io::Result<Vec<(Listener, bool)>> {
    let mut listeners = Vec::new();
    loop {
        parent.set_read_timeout(Some(left(until)?))?;
        let mut byte = [0];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut into = [IoSliceMut::new(&mut byte)];
        let received = match recvmsg(parent, &mut into, &mut control, RecvFlags::empty()) {
            Err(error) if is_pause(io::Error::from(error).kind()) => continue,
            received => received?,
        };
        if received.bytes == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let fds = control.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        });
        let fd = fds.flatten().next();
        if let Some(fd) = &fd {
            // Not every system can set this while it receives. At the start of a program no other thread
            // runs.
            rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::CLOEXEC)?;
        }
        let listener = match (byte, fd) {
            ([END], _) => return Ok(listeners),
            ([TCP], Some(fd)) => Listener::Tcp(fd.into()),
            ([UNIX | UNIX_FILE], Some(fd)) => Listener::Unix(None, fd.into()),
            _ => return Err(unknown()),
        };
        if listeners.len() >= MOST {
            return Err(unknown());
        }
        listeners.push((listener, byte == [UNIX_FILE]));
    }
}

fn unknown() -> io::Error {
    let text = "the old process uses another version of the hand-over";
    io::Error::new(ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A socket of a process that lives and sends nothing.
    #[test]
    fn waits_end() {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        let soon = || Instant::now() + Duration::from_millis(20);
        let kind = |error: io::Error| error.kind();
        let received = receive(&ours, soon()).map(|_| ()).map_err(kind);
        assert_eq!(received, Err(ErrorKind::TimedOut));
        let way = wait_way(&ours, soon(), || false).map_err(kind);
        assert_eq!(way, Err(ErrorKind::TimedOut));
        let mut byte = [0];
        theirs.read_exact(&mut byte).expect("a byte");
        assert_eq!(byte, [READY]);
        let late = theirs.write_all(&[GIVE_WAY]).map_err(kind);
        assert_eq!(
            late,
            Err(ErrorKind::BrokenPipe),
            "the old process must not stop for this one"
        );

        let (ours, _theirs) = UnixStream::pair().expect("a pair");
        let stopped = wait_way(&ours, Instant::now() + PATIENCE, || true);
        let stopped = stopped.map_err(|error| error.to_string());
        assert_eq!(stopped, Err("this process stops".to_owned()));

        // The old process had confirmed before this one gave up.
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        theirs.write_all(&[GIVE_WAY]).expect("written");
        wait_way(&ours, Instant::now() + PATIENCE, || true).expect("ours");
    }
}
