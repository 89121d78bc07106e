//! The stream of a client: TCP, or TLS over it where the whole run is over TLS.
//!
//! With the environment variable `OVER_TLS`, servers of [`OnOwnAddr`] have TLS, and so have clients of [`Stream`]. What
//! the tests expect is the same.

use super::{PATIENCE, own_addr};
use peregrine::Server;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// Whether servers and clients speak TLS.
pub(crate) fn over_tls() -> bool {
    cfg!(feature = "tls-self-signed") && std::env::var_os("OVER_TLS").is_some()
}

pub(crate) trait OnOwnAddr: Sized {
    /// Listens on an address of its own, with TLS if the run is over TLS.
    fn on_own_addr(self) -> Self {
        self.on_addr(own_addr())
    }

    fn on_addr(self, addr: SocketAddr) -> Self;

    /// Listens with TLS.
    fn with_tls(self, addr: SocketAddr) -> Self;
}

impl<H, M> OnOwnAddr for Server<H, M> {
    fn on_addr(self, addr: SocketAddr) -> Self {
        match over_tls() {
            true => self.with_tls(addr),
            false => self.bind(addr),
        }
    }

    #[cfg(feature = "tls-self-signed")]
    fn with_tls(self, addr: SocketAddr) -> Self {
        let tls = peregrine::Tls::self_signed(&["localhost"]).expect("a certificate");
        let server = self.bind_tls(addr, tls);
        // The same bytes as without TLS: no `Alt-Svc`.
        #[cfg(feature = "http3")]
        let server = server.http3(peregrine::config::Http3::Off);
        server
    }

    #[cfg(not(feature = "tls-self-signed"))]
    fn with_tls(self, _: SocketAddr) -> Self {
        unreachable!("needs the feature `tls-self-signed`")
    }
}

/// A stream of a client. It has the methods of a [`TcpStream`].
pub(crate) struct Stream {
    tcp: TcpStream,
    #[cfg(feature = "tls-self-signed")]
    tls: Option<std::sync::Arc<super::session::Session>>,
}

impl Stream {
    pub(crate) fn connect(addr: SocketAddr) -> io::Result<Stream> {
        TcpStream::connect(addr).map(Stream::over)
    }

    /// Makes the handshake, if the run is over TLS. Reads and writes report its error.
    pub(crate) fn over(tcp: TcpStream) -> Stream {
        match over_tls() {
            true => Stream::secure(tcp),
            false => Stream::plain(tcp),
        }
    }

    pub(crate) fn plain(tcp: TcpStream) -> Stream {
        Stream {
            tcp,
            #[cfg(feature = "tls-self-signed")]
            tls: None,
        }
    }

    pub(crate) fn secure(tcp: TcpStream) -> Stream {
        let limit = tcp.read_timeout().expect("an open socket");
        tcp.set_read_timeout(Some(PATIENCE))
            .expect("an open socket");
        tcp.set_nodelay(true).expect("an open socket");
        #[cfg(feature = "tls-self-signed")]
        let tls = super::session::Session::start(&tcp);
        tcp.set_read_timeout(limit).expect("an open socket");
        Stream {
            tcp,
            #[cfg(feature = "tls-self-signed")]
            tls: Some(tls.into()),
        }
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    pub(crate) fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.peer_addr()
    }

    pub(crate) fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.tcp.set_nodelay(nodelay)
    }

    pub(crate) fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.tcp.set_nonblocking(nonblocking)
    }

    pub(crate) fn set_read_timeout(&self, limit: Option<Duration>) -> io::Result<()> {
        self.tcp.set_read_timeout(limit)
    }

    pub(crate) fn set_write_timeout(&self, limit: Option<Duration>) -> io::Result<()> {
        self.tcp.set_write_timeout(limit)
    }

    pub(crate) fn try_clone(&self) -> io::Result<Stream> {
        Ok(Stream {
            tcp: self.tcp.try_clone()?,
            #[cfg(feature = "tls-self-signed")]
            tls: self.tls.clone(),
        })
    }

    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        #[cfg(feature = "tls-self-signed")]
        if let (Some(tls), Shutdown::Write | Shutdown::Both) = (&self.tls, how) {
            let _ = tls.close(&self.tcp);
        }
        self.tcp.shutdown(how)
    }
}

impl Read for &Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        #[cfg(feature = "tls-self-signed")]
        if let Some(tls) = &self.tls {
            return tls.read(&self.tcp, buffer);
        }
        { &self.tcp }.read(buffer)
    }
}

impl Write for &Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        #[cfg(feature = "tls-self-signed")]
        if let Some(tls) = &self.tls {
            return tls.write(&self.tcp, bytes);
        }
        { &self.tcp }.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        #[cfg(feature = "tls-self-signed")]
        if let Some(tls) = &self.tls {
            return tls.flush(&self.tcp);
        }
        Ok(())
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        { &*self }.read(buffer)
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        { &*self }.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        { &*self }.flush()
    }
}

#[cfg(unix)]
impl std::os::fd::AsFd for Stream {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.tcp.as_fd()
    }
}

#[cfg(windows)]
impl std::os::windows::io::AsSocket for Stream {
    fn as_socket(&self) -> std::os::windows::io::BorrowedSocket<'_> {
        self.tcp.as_socket()
    }
}
