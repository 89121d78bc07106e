//! A connected socket of any kind.

#[cfg(all(test, unix))]
use super::faulty::{Direction, Faulty};
use super::listener::canonical;
use crate::conn::output::{MAX_SLICES, Next, Output};
use std::fs::File;
#[cfg(not(target_os = "linux"))]
use std::io::Read;
use std::io::{self, IoSlice, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
#[cfg(windows)]
use std::os::windows::io::{AsRawSocket, AsSocket, BorrowedSocket, RawSocket};
#[cfg(unix)]
use std::os::{
    fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
    unix::net::UnixStream,
};
use std::time::Duration;

/// What one call may send of a file, and one connection in its turn: others wait meanwhile, for the
/// disk, too. And a socket that is filled to the brim costs more than one that is fed: of a file of
/// 1 MiB to 16 clients at a time, a turn of 16 KiB cost 0.58 of what a plain `write` of it costs, 48
/// and 96 KiB 0.26, 256 KiB 0.87, 1 MiB 1.06.
pub(crate) const FILE_STEP: usize = 96 << 10;

/// The same where it goes through a buffer on the stack.
const COPY_STEP: usize = 64 << 10;

/// Does not block.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
    /// Fails as a test wants it to.
    #[cfg(all(test, unix))]
    Faulty(Faulty),
}

/// What became of an attempt to send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub(crate) bytes: usize,
    /// The system took less than it was offered: it has no room for more now.
    pub(crate) full: bool,
}

/// Straight to the system: the wrappers of libc make both calls points where a thread can be
/// cancelled, which costs as much as parsing half a request.
#[cfg(target_os = "linux")]
impl Stream {
    fn read_once(&self, buffer: &mut [u8]) -> io::Result<usize> {
        #[cfg(test)]
        let buffer = self.allowed_mut(buffer)?;
        let (n, _) = rustix::net::recv(self, buffer, rustix::net::RecvFlags::empty())?;
        Ok(n)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        #[cfg(test)]
        let bytes = self.allowed(bytes)?;
        Ok(rustix::net::send(
            self,
            bytes,
            rustix::net::SendFlags::NOSIGNAL,
        )?)
    }
}

#[cfg(not(target_os = "linux"))]
impl Stream {
    fn read_once(&self, buffer: &mut [u8]) -> io::Result<usize> {
        #[cfg(all(test, unix))]
        let buffer = self.allowed_mut(buffer)?;
        match self {
            Stream::Tcp(stream) => (&*stream).read(buffer),
            #[cfg(unix)]
            Stream::Unix(stream) => (&*stream).read(buffer),
            #[cfg(all(test, unix))]
            Stream::Faulty(faulty) => faulty.socket().read(buffer),
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        #[cfg(all(test, unix))]
        let bytes = self.allowed(bytes)?;
        match self {
            Stream::Tcp(stream) => (&*stream).write(bytes),
            #[cfg(unix)]
            Stream::Unix(stream) => (&*stream).write(bytes),
            #[cfg(all(test, unix))]
            Stream::Faulty(faulty) => faulty.socket().write(bytes),
        }
    }
}

/// What the plan of a test leaves of a call, or its error.
#[cfg(all(test, unix))]
impl Stream {
    fn allowed_mut<'a>(&self, buffer: &'a mut [u8]) -> io::Result<&'a mut [u8]> {
        let most = match self {
            Stream::Faulty(faulty) => faulty.allow(Direction::Read, buffer.len())?,
            _ => buffer.len(),
        };
        Ok(&mut buffer[..most])
    }

    fn allowed<'a>(&self, bytes: &'a [u8]) -> io::Result<&'a [u8]> {
        let most = match self {
            Stream::Faulty(faulty) => faulty.allow(Direction::Write, bytes.len())?,
            _ => bytes.len(),
        };
        Ok(&bytes[..most])
    }
}

impl Stream {
    /// What is there to be read: a signal that comes between does not make it nothing. One that comes
    /// between a write does no harm, as what is left is sent when the poller says that there is room.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.read_once(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }

    /// Reads what a client still sends after its last answer, and forgets it: `left` bytes at most, and
    /// the number of them; `None` when the connection is over. With none left, nothing is to be read
    /// before the client's end has come: closing with something unread would reset the connection, and
    /// the answer might be lost with it. What the client sends meanwhile is held by the system, within
    /// the bounds of its receive buffer, and so is what is read when it has ended.
    pub(super) fn discard(&self, room: &mut [u8], left: u32, starved: &mut bool) -> Option<u32> {
        let most = match left {
            0 => room.len(),
            left => room.len().min(left as usize),
        };
        match self.read(&mut room[..most]) {
            Ok(0) => None,
            Ok(n) => Some(n as u32),
            Err(error) => can_wait(&error, starved).then_some(0),
        }
    }

    pub(super) fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => (&*stream).write_vectored(slices),
            #[cfg(unix)]
            Stream::Unix(stream) => (&*stream).write_vectored(slices),
            #[cfg(all(test, unix))]
            Stream::Faulty(_) => {
                let all: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
                self.write(&all)
            }
        }
    }

    /// Sends what is next in `output`, with one system call, or two where a file has to be read.
    ///
    /// # Errors
    ///
    /// Beside those of the socket: [`io::ErrorKind::UnexpectedEof`] if a file has become shorter
    /// than what was promised of it.
    pub(crate) fn send(&self, output: &Output) -> io::Result<Sent> {
        let (sent, offered) = match output.next() {
            Next::Row { bytes, more: false } => (self.write(bytes), bytes.len()),
            Next::Row { bytes, more: true } => (self.write_more(bytes), bytes.len()),
            Next::File { file, offset, len } => {
                let most = len.min(FILE_STEP as u64) as usize;
                let (sent, offered) = self.send_file(file, offset, most);
                match sent {
                    Ok(0) => (Err(io::ErrorKind::UnexpectedEof.into()), offered),
                    sent => (sent, offered),
                }
            }
            Next::Pieces => {
                let mut slices = [IoSlice::new(b""); MAX_SLICES];
                let count = output.gather(&mut slices);
                let offered = slices[..count].iter().map(|slice| slice.len()).sum();
                (self.write_vectored(&slices[..count]), offered)
            }
        };
        sent.map(|bytes| Sent {
            bytes,
            full: bytes < offered,
        })
    }

    /// Writes bytes that a file follows, which may share a packet with it.
    #[cfg(target_os = "linux")]
    fn write_more(&self, bytes: &[u8]) -> io::Result<usize> {
        use rustix::net::{SendFlags, send};
        #[cfg(test)]
        let bytes = self.allowed(bytes)?;
        let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
        Ok(send(self, bytes, flags)?)
    }

    #[cfg(not(target_os = "linux"))]
    fn write_more(&self, bytes: &[u8]) -> io::Result<usize> {
        self.write(bytes)
    }

    /// Returns what was sent, and how much of it the socket was offered.
    #[cfg(target_os = "linux")]
    fn send_file(&self, file: &File, offset: u64, most: usize) -> (io::Result<usize>, usize) {
        use rustix::io::Errno;
        let mut at = offset;
        let offered = most;
        #[cfg(test)]
        let most = match self {
            Stream::Faulty(faulty) => match faulty.allow(Direction::Write, most) {
                Ok(most) => most,
                Err(error) => return (Err(error), offered),
            },
            _ => most,
        };
        #[cfg(test)]
        let planned = match self {
            Stream::Faulty(faulty) => faulty.file_error(),
            _ => None,
        };
        #[cfg(not(test))]
        let planned: Option<Errno> = None;
        let call = || rustix::fs::sendfile(self, file, Some(&mut at), most);
        match planned.map_or_else(call, Err) {
            // A file system or a sandbox that cannot do it.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => {
                self.copy_file(file, offset, most)
            }
            sent => (sent.map_err(io::Error::from), offered),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn send_file(&self, file: &File, offset: u64, most: usize) -> (io::Result<usize>, usize) {
        self.copy_file(file, offset, most)
    }

    /// By way of a buffer. What the socket does not take is read again the next time.
    ///
    /// Never inlined: the compiler touches each page of a stack frame as large as this, and it would
    /// do so for every answer, 64 instructions and 16 lines of the cache.
    #[inline(never)]
    fn copy_file(&self, file: &File, offset: u64, most: usize) -> (io::Result<usize>, usize) {
        let mut buffer = [0; COPY_STEP];
        let most = most.min(COPY_STEP);
        match read_at(file, &mut buffer[..most], offset) {
            Ok(0) => (Ok(0), most),
            Ok(n) => (self.write(&buffer[..n]), n),
            Err(error) => (Err(error), most),
        }
    }

    /// The client sees the end of the stream when it has read what was sent.
    pub(crate) fn shutdown_write(&self) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            #[cfg(unix)]
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
            #[cfg(all(test, unix))]
            Stream::Faulty(faulty) => faulty.socket().shutdown(Shutdown::Write),
        }
    }

    /// Has the system take so many bytes beyond those that are on their way to the client; see
    /// [`UNSENT`](super::listener::UNSENT). What it does not know it is not asked for.
    #[cfg(all(target_os = "linux", feature = "websocket"))]
    pub(crate) fn take_unsent(&self, bytes: usize) {
        if let Stream::Tcp(stream) = self {
            let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
            let _ = socket2::SockRef::from(stream).set_tcp_notsent_lowat(bytes);
        }
    }

    /// Has the socket, when it is closed, tell the client that something is missing: by a reset
    /// where there is such a thing.
    pub(crate) fn reset(&self) {
        match self {
            Stream::Tcp(stream) => {
                let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
            }
            #[cfg(unix)]
            Stream::Unix(_) => {}
            #[cfg(all(test, unix))]
            Stream::Faulty(_) => {}
        }
    }

    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Stream::Tcp(stream) => stream.local_addr().ok().map(canonical),
            #[cfg(unix)]
            Stream::Unix(_) => None,
            #[cfg(all(test, unix))]
            Stream::Faulty(_) => None,
        }
    }
}

/// The system has no memory for a call that would be in order, and may have some again soon. On Linux
/// that is `ENOBUFS` of a Unix socket and `ENOMEM` of `sendfile`, as TCP says `EAGAIN`; on the BSDs
/// and macOS it is `ENOBUFS` of any socket.
#[cold]
fn is_starved(error: &io::Error) -> bool {
    #[cfg(unix)]
    const NO_BUFFERS: i32 = rustix::io::Errno::NOBUFS.raw_os_error();
    // WSAENOBUFS.
    #[cfg(windows)]
    const NO_BUFFERS: i32 = 10055;
    error.raw_os_error() == Some(NO_BUFFERS) || error.kind() == io::ErrorKind::OutOfMemory
}

/// Whether a call has failed that can be made again: when the poller says so, as there was nothing to
/// read or no room, or, where the system was out of memory (`starved` then), after a while.
pub(crate) fn can_wait(error: &io::Error, starved: &mut bool) -> bool {
    use io::ErrorKind::{Interrupted, WouldBlock};
    if matches!(error.kind(), WouldBlock | Interrupted) {
        return true;
    }
    let is_starved = is_starved(error);
    *starved |= is_starved;
    is_starved
}

/// Reads from a place in a file without moving anybody's position in it.
pub(crate) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    loop {
        #[cfg(unix)]
        let read = std::os::unix::fs::FileExt::read_at(file, buffer, offset);
        #[cfg(windows)]
        let read = std::os::windows::fs::FileExt::seek_read(file, buffer, offset);
        match read {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

#[cfg(unix)]
impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
            #[cfg(test)]
            Stream::Faulty(faulty) => faulty.as_fd(),
        }
    }
}

#[cfg(unix)]
impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

#[cfg(windows)]
impl AsSocket for Stream {
    fn as_socket(&self) -> BorrowedSocket<'_> {
        let Stream::Tcp(stream) = self;
        stream.as_socket()
    }
}

#[cfg(windows)]
impl AsRawSocket for Stream {
    fn as_raw_socket(&self) -> RawSocket {
        let Stream::Tcp(stream) = self;
        stream.as_raw_socket()
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::super::faulty::Plan;
    use super::*;
    use rustix::io::Errno;
    use std::io::Read;

    #[test]
    fn a_file_that_sendfile_refuses_is_read() {
        let file = crate::io::tests::unnamed_file(b"a file");
        let cannot = [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP, Errno::PERM];
        for error in cannot.into_iter().chain([Errno::IO]) {
            let plan = Plan {
                file_error: Some(error),
                ..Plan::default()
            };
            let (faulty, mut client) = Faulty::pair(plan).expect("a pair");
            let (sent, _) = Stream::Faulty(faulty).send_file(&file, 2, 3);
            let mut got = String::new();
            client.read_to_string(&mut got).expect("read");
            match cannot.contains(&error) {
                true => assert_eq!((sent.expect("sent"), got.as_str()), (3, "fil"), "{error}"),
                false => assert!(sent.is_err(), "{error}"),
            }
        }
    }
}
