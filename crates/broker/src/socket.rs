//! A connection without and with TLS, which never blocks.

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
#[cfg(feature = "tls")]
use rustls::{ClientConfig, ClientConnection, StreamOwned, pki_types::ServerName};
use std::io::{self, Read, Write};
use std::net::SocketAddr;

pub(crate) enum Socket {
    Plain(TcpStream),
    #[cfg(feature = "tls")]
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    /// Between the two.
    #[cfg(feature = "tls")]
    Taken,
}

impl Socket {
    /// Begins to connect.
    pub(crate) fn connect(
        addr: SocketAddr,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Socket> {
        let mut stream = TcpStream::connect(addr)?;
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Socket::Plain(stream))
    }

    fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Socket::Plain(stream) => Some(stream),
            #[cfg(feature = "tls")]
            Socket::Tls(stream) => Some(&stream.sock),
            #[cfg(feature = "tls")]
            Socket::Taken => None,
        }
    }

    /// Whether the connection is there. An error if it failed.
    pub(crate) fn is_connected(&self) -> io::Result<bool> {
        let Some(stream) = self.tcp() else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        match stream.peer_addr() {
            Ok(_) => stream.set_nodelay(true).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Begins TLS.
    #[cfg(feature = "tls")]
    pub(crate) fn secure(
        &mut self,
        config: std::sync::Arc<ClientConfig>,
        host: &str,
    ) -> io::Result<()> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let session = ClientConnection::new(config, name).map_err(io::Error::other)?;
        match std::mem::replace(self, Socket::Taken) {
            Socket::Plain(stream) => {
                *self = Socket::Tls(Box::new(StreamOwned::new(session, stream)));
                Ok(())
            }
            _ => Err(io::Error::other("TLS was begun twice")),
        }
    }

    /// Sends what TLS has kept. True if nothing is left.
    pub(crate) fn flush(&mut self) -> io::Result<bool> {
        match self {
            Socket::Plain(_) => Ok(true),
            #[cfg(feature = "tls")]
            Socket::Tls(stream) => match stream.flush() {
                Ok(()) => Ok(!stream.conn.wants_write()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
                Err(error) => Err(error),
            },
            #[cfg(feature = "tls")]
            Socket::Taken => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Plain(stream) => stream.read(buf),
            #[cfg(feature = "tls")]
            Socket::Tls(stream) => stream.read(buf),
            #[cfg(feature = "tls")]
            Socket::Taken => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Plain(stream) => stream.write(buf),
            #[cfg(feature = "tls")]
            Socket::Tls(stream) => stream.write(buf),
            #[cfg(feature = "tls")]
            Socket::Taken => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Socket::flush(self).map(|_| ())
    }
}
