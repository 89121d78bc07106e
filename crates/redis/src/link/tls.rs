//! TLS of a connection. The two threads share its state for the time of a calculation, not of a system call.

use super::left;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Encrypted bytes of one read. What they are when decrypted fits into the buffer of a caller.
const READ: usize = 16 * 1024;

pub(super) struct Tls(Mutex<ClientConnection>);

impl Tls {
    /// Makes the handshake.
    pub(super) fn begin(
        settings: &Arc<ClientConfig>,
        name: &str,
        mut tcp: &TcpStream,
        end: Instant,
    ) -> Result<Tls> {
        let name = ServerName::try_from(name.to_owned()).map_err(Error::other)?;
        let mut tls = ClientConnection::new(settings.clone(), name).map_err(Error::other)?;
        // `complete_io` would give each read the same time: a server that sends byte by byte would never be left.
        loop {
            while tls.wants_write() {
                tls.write_tls(&mut tcp)?;
            }
            if !tls.is_handshaking() {
                break;
            }
            if Instant::now() >= end {
                return Err(ErrorKind::TimedOut.into());
            }
            tcp.set_read_timeout(Some(left(end)))?;
            match tls.read_tls(&mut tcp) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            if let Err(error) = tls.process_new_packets() {
                // The server is told why.
                let _ = tls.write_tls(&mut tcp);
                return Err(Error::new(ErrorKind::InvalidData, error));
            }
        }
        tcp.set_read_timeout(None)?;
        Ok(Tls(Mutex::new(tls)))
    }

    fn lock(&self) -> MutexGuard<'_, ClientConnection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn read(&self, mut tcp: &TcpStream, buf: &mut [u8]) -> Result<usize> {
        let mut encrypted = [0; READ];
        // The handshake may have read more than itself.
        let mut count = take(&mut self.lock(), buf)?;
        while count == Some(0) {
            let read = tcp.read(&mut encrypted)?;
            if read == 0 {
                return Ok(0);
            }
            count = self.decrypt(&encrypted[..read], buf)?;
        }
        Ok(count.unwrap_or(0))
    }

    /// `None` at the end. What TLS wants to say itself goes with the next bytes that are written.
    fn decrypt(&self, mut encrypted: &[u8], buf: &mut [u8]) -> Result<Option<usize>> {
        let mut tls = self.lock();
        let mut all = 0;
        while !encrypted.is_empty() {
            tls.read_tls(&mut encrypted)?;
            tls.process_new_packets()
                .map_err(|error| Error::new(ErrorKind::InvalidData, error))?;
            match take(&mut tls, &mut buf[all..])? {
                Some(count) => all += count,
                None if all == 0 => return Ok(None),
                None => break,
            }
        }
        Ok(Some(all))
    }

    pub(super) fn write(&self, mut tcp: &TcpStream, bytes: &[u8]) -> Result<()> {
        let mut encrypted = Vec::new();
        // TLS keeps a limited number of bytes.
        for bytes in bytes.chunks(READ) {
            let mut tls = self.lock();
            tls.writer().write_all(bytes)?;
            while tls.wants_write() {
                tls.write_tls(&mut encrypted)?;
            }
        }
        tcp.write_all(&encrypted)
    }
}

/// What is decrypted. `None` at the end of the connection.
fn take(tls: &mut ClientConnection, buf: &mut [u8]) -> Result<Option<usize>> {
    let mut all = 0;
    while all < buf.len() {
        match tls.reader().read(&mut buf[all..]) {
            Ok(0) if all == 0 => return Ok(None),
            Ok(0) => break,
            Ok(count) => all += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(Some(all))
}
