//! A TCP or Unix socket.

use super::{OverSocket, Transport, tcp};
use crate::runtime::transport::ListenerConfig;
use peregrine_protocol::Seconds;
#[cfg(any(target_os = "linux", target_os = "macos", target_os = "freebsd"))]
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

/// A connected socket. It is non-blocking.
#[derive(Debug)]
pub(crate) enum Plain {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

/// A direct system call. The wrappers of libc allow a thread to be cancelled at both calls, which costs as
/// much as parsing half a request.
#[cfg(target_os = "linux")]
impl Plain {
    #[inline]
    fn read_once(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (n, _) = rustix::net::recv(self, buffer, rustix::net::RecvFlags::empty())?;
        Ok(n)
    }

    /// `more`: other bytes follow at once.
    #[inline]
    fn write_once(&mut self, bytes: &[u8], more: bool) -> io::Result<usize> {
        use rustix::net::SendFlags;
        let flags = match more {
            true => SendFlags::NOSIGNAL | SendFlags::MORE,
            false => SendFlags::NOSIGNAL,
        };
        Ok(rustix::net::send(self, bytes, flags)?)
    }
}

#[cfg(not(target_os = "linux"))]
impl Plain {
    fn read_once(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Plain::Tcp(stream) => stream.read(buffer),
            #[cfg(unix)]
            Plain::Unix(stream) => stream.read(buffer),
        }
    }

    fn write_once(&mut self, bytes: &[u8], _more: bool) -> io::Result<usize> {
        match self {
            Plain::Tcp(stream) => stream.write(bytes),
            #[cfg(unix)]
            Plain::Unix(stream) => stream.write(bytes),
        }
    }
}

impl Plain {
    /// Reads what has arrived, and leaves it there.
    pub(crate) fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        #[cfg(unix)]
        {
            use rustix::net::{RecvFlags, recv};
            Ok(recv(self, buffer, RecvFlags::PEEK)?.0)
        }
        #[cfg(not(unix))]
        {
            let Plain::Tcp(stream) = self;
            stream.peek(buffer)
        }
    }

    pub(super) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Plain::Tcp(stream) => stream.shutdown(how),
            #[cfg(unix)]
            Plain::Unix(stream) => stream.shutdown(how),
        }
    }

    /// Does what [`Transport::send_file`] does. `refusal`: the error that the system has returned already.
    #[cfg(target_os = "linux")]
    pub(super) fn send_file_unless(
        &mut self,
        refusal: Option<rustix::io::Errno>,
        (file, offset, most): (&File, u64, usize),
    ) -> (io::Result<usize>, usize) {
        use rustix::io::Errno;
        let mut at = offset;
        let call = || rustix::fs::sendfile(&*self, file, Some(&mut at), most);
        match refusal.map_or_else(call, Err) {
            // A file system or a sandbox does not support the call.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => {
                super::file::copy(self, file, offset, most)
            }
            sent => (sent.map_err(io::Error::from), most),
        }
    }

    /// Does what [`Transport::send_file`] does. The call reports an error beside the bytes that it has sent: those
    /// count, and the error comes again at the next call.
    #[cfg(any(target_os = "macos", target_os = "freebsd"))]
    fn send_file_at(&self, file: &File, offset: u64, most: usize) -> nix::Result<usize> {
        use nix::{errno::Errno, sys::sendfile::sendfile};
        let Ok(offset) = offset.try_into() else {
            return Err(Errno::EINVAL);
        };
        #[cfg(target_os = "macos")]
        let (result, sent) = {
            let most = most.try_into().map_err(|_| Errno::EINVAL)?;
            sendfile(file, self, offset, Some(most), None, None)
        };
        #[cfg(target_os = "freebsd")]
        let (result, sent) = {
            let flags = nix::sys::sendfile::SfFlags::empty();
            sendfile(file, self, offset, Some(most), None, None, flags, 0)
        };
        match (result, sent) {
            (Err(error), 0) => Err(error),
            (_, sent) => sent.try_into().map_err(|_| Errno::EINVAL),
        }
    }
}

impl OverSocket for Plain {
    fn accepted(socket: Plain, _: &ListenerConfig, _: Seconds) -> Plain {
        socket
    }
}

impl Transport for Plain {
    fn socket(&self) -> Option<&Plain> {
        Some(self)
    }

    #[inline]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.read_once(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }

    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_once(bytes, false)
    }

    fn write_more(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_once(bytes, true)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Plain::Tcp(stream) => stream.write_vectored(slices),
            #[cfg(unix)]
            Plain::Unix(stream) => stream.write_vectored(slices),
        }
    }

    #[cfg(target_os = "linux")]
    fn send_file(&mut self, file: &File, offset: u64, most: usize) -> (io::Result<usize>, usize) {
        self.send_file_unless(None, (file, offset, most))
    }

    #[cfg(any(target_os = "macos", target_os = "freebsd"))]
    fn send_file(&mut self, file: &File, offset: u64, most: usize) -> (io::Result<usize>, usize) {
        use nix::errno::Errno;
        match self.send_file_at(file, offset, most) {
            // The file system or this kind of socket does not support the call.
            Err(Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP | Errno::EPERM) => {
                super::file::copy(self, file, offset, most)
            }
            // Another number than EOPNOTSUPP there: of what is no regular file.
            #[cfg(target_os = "macos")]
            Err(Errno::ENOTSUP) => super::file::copy(self, file, offset, most),
            sent => (sent.map_err(io::Error::from), most),
        }
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }

    fn reset(&mut self) {
        match self {
            Plain::Tcp(stream) => tcp::reset(stream),
            #[cfg(unix)]
            Plain::Unix(_) => {}
        }
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Plain::Tcp(stream) => stream.local_addr().ok().map(tcp::canonical),
            #[cfg(unix)]
            Plain::Unix(_) => None,
        }
    }

    #[cfg(all(target_os = "linux", feature = "websocket"))]
    fn take_unsent(&mut self, bytes: usize) {
        if let Plain::Tcp(stream) = self {
            tcp::take_unsent(stream, bytes);
        }
    }
}

#[cfg(unix)]
impl AsFd for Plain {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Plain::Tcp(stream) => stream.as_fd(),
            Plain::Unix(stream) => stream.as_fd(),
        }
    }
}

#[cfg(unix)]
impl AsRawFd for Plain {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

#[cfg(windows)]
impl AsSocket for Plain {
    fn as_socket(&self) -> BorrowedSocket<'_> {
        let Plain::Tcp(stream) = self;
        stream.as_socket()
    }
}

#[cfg(windows)]
impl AsRawSocket for Plain {
    fn as_raw_socket(&self) -> RawSocket {
        let Plain::Tcp(stream) = self;
        stream.as_raw_socket()
    }
}
