//! A connected socket of any kind.

use crate::conn::output::{MAX_SLICES, Output};
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

/// Does not block.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
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
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let (n, _) = rustix::net::recv(self, buffer, rustix::net::RecvFlags::empty())?;
        Ok(n)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::net::send(
            self,
            bytes,
            rustix::net::SendFlags::NOSIGNAL,
        )?)
    }
}

#[cfg(not(target_os = "linux"))]
impl Stream {
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => (&*stream).read(buffer),
            #[cfg(unix)]
            Stream::Unix(stream) => (&*stream).read(buffer),
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => (&*stream).write(bytes),
            #[cfg(unix)]
            Stream::Unix(stream) => (&*stream).write(bytes),
        }
    }
}

impl Stream {
    fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => (&*stream).write_vectored(slices),
            #[cfg(unix)]
            Stream::Unix(stream) => (&*stream).write_vectored(slices),
        }
    }

    /// Sends what is next in `output`, with one system call.
    pub(crate) fn send(&self, output: &Output) -> io::Result<Sent> {
        let (sent, offered) = match output.single() {
            Some(bytes) => (self.write(bytes), bytes.len()),
            None => {
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

    /// The client sees the end of the stream when it has read what was sent.
    pub(crate) fn shutdown_write(&self) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            #[cfg(unix)]
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }

    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Stream::Tcp(stream) => stream.local_addr().ok(),
            #[cfg(unix)]
            Stream::Unix(_) => None,
        }
    }
}

#[cfg(unix)]
impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
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
