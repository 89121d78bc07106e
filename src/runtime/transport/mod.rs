//! `Transport`: what moves the bytes of a connection.
//!
//! Each kind is a type of its own: a server is compiled for the one that its listeners need, so that a
//! connection over plain sockets pays nothing for the others.

#[cfg(all(test, unix))]
pub(crate) mod faulty;
mod file;
mod memory;
mod plain;
mod tcp;
#[cfg(unix)]
mod unix;

pub(crate) use file::FILE_STEP;
pub(crate) use memory::Memory;
pub(crate) use plain::Plain;
pub(crate) use tcp::accept as accept_tcp;
#[cfg(unix)]
pub(crate) use unix::accept as accept_unix;

use crate::config::Config;
use crate::shared::output::{MAX_SLICES, Output, Segment};
use std::fs::File;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
#[cfg(target_os = "linux")]
pub(crate) use tcp::UNSENT;

/// A transport over sockets.
pub(crate) trait OverSocket: Transport {
    /// Takes over a socket that a listener with these settings has accepted.
    fn accepted(socket: Plain, listener: &ListenerConfig) -> Self;
}

/// The bytes of one connection, in and out. Nothing blocks.
pub(crate) trait Transport: Sized + Send + 'static {
    /// The socket beneath, which the poller watches; `None` where there is none.
    fn socket(&self) -> Option<&Plain>;

    /// What is there to be read: a signal that comes between does not make it nothing. One that comes
    /// between a write does no harm, as what is left is sent when the poller says that there is room.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Writes bytes that a file follows, which may share a packet with it.
    fn write_more(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Sends bytes of a file: what was sent, and how much of it was offered. 0 bytes: the file ends
    /// before `offset`.
    fn send_file(&mut self, file: &File, offset: u64, most: usize) -> (io::Result<usize>, usize) {
        file::copy(self, file, offset, most)
    }

    /// What it waits for, or has, that its protocol does not know of.
    #[inline(always)]
    fn wants(&self) -> Wants {
        Wants::default()
    }

    /// Goes on with what it wants to write: see [`Wants::write`].
    #[inline(always)]
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// The client sees the end of the stream when it has read what was sent.
    fn shutdown_write(&mut self) -> io::Result<()>;

    /// Has the connection, when it is closed, tell the client that something is missing: by a reset
    /// where there is such a thing.
    fn reset(&mut self);

    fn local_addr(&self) -> Option<SocketAddr>;

    /// Has the system take so many bytes beyond those that are on their way to the client, or more.
    /// What it does not know it is not asked for.
    #[cfg(feature = "websocket")]
    fn take_unsent(&mut self, _bytes: usize) {}

    /// Sends what is next in `output`, with one system call, or two where a file has to be read.
    ///
    /// # Errors
    ///
    /// Beside those of the socket: [`io::ErrorKind::UnexpectedEof`] if a file has become shorter
    /// than what was promised of it.
    fn send(&mut self, output: &Output) -> io::Result<Written> {
        let (sent, offered) = match output.next() {
            Segment::Row { bytes, more: false } => (self.write(bytes), bytes.len()),
            Segment::Row { bytes, more: true } => (self.write_more(bytes), bytes.len()),
            Segment::Segment { segment, sent, len } => {
                let most = len.min(FILE_STEP as u64) as usize;
                let (sent, offered) = self.send_file(&segment.file, segment.offset + sent, most);
                match sent {
                    Ok(0) => (Err(io::ErrorKind::UnexpectedEof.into()), offered),
                    sent => (sent, offered),
                }
            }
            Segment::Pieces => {
                let mut slices = [IoSlice::new(b""); MAX_SLICES];
                let count = output.gather(&mut slices, IoSlice::new);
                let offered = slices[..count].iter().map(|slice| slice.len()).sum();
                (self.write_vectored(&slices[..count]), offered)
            }
        };
        sent.map(|bytes| Written {
            bytes,
            full: bytes < offered,
        })
    }
}

/// See [`Transport::wants`]. A socket wants nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wants {
    /// It has bytes for the socket, though the protocol may have nothing to send: those of a handshake, or
    /// of an alert.
    pub(crate) write: bool,
    /// It has read more than it has given: a read brings that, and no event of the socket tells of it.
    pub(crate) read: bool,
}

/// What became of an attempt to send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    /// They are out of the hands of the transport. What it holds back, as encrypted bytes for which there
    /// is no room, does not count before it has left: it stays at the front of the output, and is offered
    /// again. So an output that is empty is one of which nothing is left anywhere.
    pub(crate) bytes: usize,
    /// The system took less than it was offered: it has no room for more now.
    pub(crate) full: bool,
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

/// What is set for one place to listen, and for the connections that come from there.
#[derive(Debug)]
pub(crate) struct ListenerConfig {
    pub(crate) backlog: i32,
    pub(crate) nodelay: bool,
    /// What the next connections do, where a test says so.
    #[cfg(all(test, unix))]
    pub(crate) plans: faulty::Plans,
}

impl ListenerConfig {
    pub(crate) fn new(config: &Config) -> ListenerConfig {
        ListenerConfig {
            backlog: config.backlog,
            nodelay: config.tcp_nodelay,
            #[cfg(all(test, unix))]
            plans: faulty::Plans::default(),
        }
    }
}
