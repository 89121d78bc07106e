//! A transport in memory, for `testing`.

use super::{Plain, Transport};
#[cfg(feature = "tls")]
use crate::runtime::tls::TlsInfo;
use std::io::{self, IoSlice, Read};
use std::net::{Ipv4Addr, SocketAddr};

/// Never registered with a poller: a read returns what the client has sent, or nothing.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Bytes that the client sent.
    arrived: Vec<u8>,
    /// How many of them have been read.
    read: usize,
    /// The client sends no more.
    is_eof: bool,
    /// Bytes sent to the client since it last took them.
    sent: Vec<u8>,
    /// The client takes nothing.
    is_held: bool,
    /// What a handler is told of TLS.
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<TlsInfo>,
}

impl Memory {
    /// The client's address.
    pub(crate) const PEER: Option<SocketAddr> = Some(SocketAddr::new(
        std::net::IpAddr::V4(Ipv4Addr::LOCALHOST),
        1,
    ));

    /// Appends bytes that the client sends.
    pub(crate) fn arrive(&mut self, bytes: &[u8]) {
        self.arrived.drain(..std::mem::take(&mut self.read));
        self.arrived.extend_from_slice(bytes);
    }

    /// The client sends no more.
    pub(crate) fn arrive_eof(&mut self) {
        self.is_eof = true;
    }

    /// Whether a read returns something: bytes, or the end of the stream.
    pub(crate) fn is_readable(&self) -> bool {
        self.read < self.arrived.len() || self.is_eof
    }

    /// Whether the client receives bytes.
    pub(crate) fn is_writable(&self) -> bool {
        !self.is_held
    }

    /// Sets whether the client receives nothing from now on.
    #[cfg(feature = "websocket")]
    pub(crate) fn hold(&mut self, held: bool) {
        self.is_held = held;
    }

    /// The bytes sent to the client since the last call.
    pub(crate) fn take_sent(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.sent)
    }

    fn room(&mut self) -> io::Result<&mut Vec<u8>> {
        match self.is_held {
            true => Err(io::ErrorKind::WouldBlock.into()),
            false => Ok(&mut self.sent),
        }
    }
}

impl Transport for Memory {
    fn socket(&self) -> Option<&Plain> {
        None
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = { &self.arrived[self.read..] }.read(buffer)?;
        self.read += n;
        match n {
            0 if !self.is_eof => Err(io::ErrorKind::WouldBlock.into()),
            n => Ok(n),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.room()?.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let room = self.room()?;
        let before = room.len();
        slices
            .iter()
            .for_each(|slice| room.extend_from_slice(slice));
        Ok(room.len() - before)
    }

    /// The client has read everything, so the close has nothing to wait for.
    fn shutdown_write(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::NotConnected.into())
    }

    fn reset(&mut self) {}

    #[cfg(feature = "tls")]
    fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    #[cfg(feature = "tls")]
    fn tls(&self) -> Option<TlsInfo> {
        self.tls.clone()
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        Some((Ipv4Addr::LOCALHOST, 80).into())
    }
}
