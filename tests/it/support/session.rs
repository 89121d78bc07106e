//! The TLS of a client over a socket, for two threads, of which one reads and one writes.

use super::trusting::client_config;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};

pub(crate) struct Session {
    state: Mutex<State>,
    /// Encrypted bytes for which the socket had no room. Its lock is taken before that of the state.
    unsent: Mutex<Vec<u8>>,
}

struct State {
    connection: ClientConnection,
    /// Decrypted and not read yet, from `start`.
    plain: Vec<u8>,
    start: usize,
    /// Whether the server has ended the connection, and said so.
    end: Option<bool>,
}

/// The first record of a client.
pub(crate) fn hello() -> Vec<u8> {
    let mut client = client();
    let mut sent = Vec::new();
    client.write_tls(&mut sent).expect("memory");
    sent
}

fn client() -> ClientConnection {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    let config = || {
        let mut config = client_config();
        // Each handshake is a full one.
        config.resumption = rustls::client::Resumption::disabled();
        Arc::new(config)
    };
    let name = ServerName::try_from("localhost").expect("a name");
    let config = CONFIG.get_or_init(config).clone();
    ClientConnection::new(config, name).expect("a client")
}

/// The server sends so many tickets. A client that has not read them resets its connection when it closes.
const TICKETS: u32 = 2;

impl Session {
    /// Makes the handshake. An error ends it, and the next call meets the same one.
    pub(crate) fn start(tcp: &TcpStream) -> Session {
        let session = Session {
            state: Mutex::new(State {
                connection: client(),
                plain: Vec::new(),
                start: 0,
                end: None,
            }),
            unsent: Mutex::default(),
        };
        while session.is_shaking() {
            let done = session.flush(tcp).and_then(|()| session.receive(tcp));
            if done.is_err() {
                break;
            }
        }
        session
    }

    fn is_shaking(&self) -> bool {
        let state = lock(&self.state);
        let connection = &state.connection;
        let is_complete = connection.tls13_tickets_received() >= TICKETS;
        !is_complete && state.plain.is_empty() && state.end.is_none()
    }

    pub(crate) fn read(&self, tcp: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            {
                let mut state = lock(&self.state);
                let n = state.take(buffer);
                match state.end {
                    _ if n > 0 => return Ok(n),
                    Some(true) => return Ok(0),
                    Some(false) => return Err(ErrorKind::UnexpectedEof.into()),
                    None => {}
                }
            }
            self.flush_if_free(tcp)?;
            self.receive(tcp)?;
        }
    }

    /// One read from the socket.
    fn receive(&self, tcp: &TcpStream) -> io::Result<()> {
        // Much at once: a client that waits for a large response looks at all of it after each read.
        let mut wire = vec![0; 256 << 10];
        let n = { tcp }.read(&mut wire)?;
        lock(&self.state).received(&wire[..n])
    }

    /// Encrypts bytes, and sends what it can.
    pub(crate) fn write(&self, tcp: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
        self.flush(tcp)?;
        let n = bytes.len().min(16 << 10);
        lock(&self.state)
            .connection
            .writer()
            .write_all(&bytes[..n])?;
        match self.flush(tcp) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(n),
        }
    }

    pub(crate) fn close(&self, tcp: &TcpStream) -> io::Result<()> {
        lock(&self.state).connection.send_close_notify();
        self.flush(tcp)
    }

    pub(crate) fn flush(&self, tcp: &TcpStream) -> io::Result<()> {
        self.send(&mut lock(&self.unsent), tcp)
    }

    /// Unless another thread is sending, which does it then.
    fn flush_if_free(&self, tcp: &TcpStream) -> io::Result<()> {
        let sent = match self.unsent.try_lock() {
            Ok(mut unsent) => self.send(&mut unsent, tcp),
            Err(TryLockError::WouldBlock | TryLockError::Poisoned(_)) => Ok(()),
        };
        match sent {
            // What the server has sent before is still to be read.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            sent => sent,
        }
    }

    fn send(&self, unsent: &mut Vec<u8>, mut tcp: &TcpStream) -> io::Result<()> {
        {
            let connection = &mut lock(&self.state).connection;
            while connection.wants_write() {
                connection.write_tls(unsent)?;
            }
        }
        while !unsent.is_empty() {
            let n = tcp.write(unsent)?;
            unsent.drain(..n);
        }
        Ok(())
    }
}

impl State {
    fn take(&mut self, buffer: &mut [u8]) -> usize {
        let n = buffer.len().min(self.plain.len() - self.start);
        buffer[..n].copy_from_slice(&self.plain[self.start..self.start + n]);
        self.start += n;
        if self.start == self.plain.len() {
            (self.plain, self.start) = (Vec::new(), 0);
        }
        n
    }

    /// These bytes have come; none: the end.
    fn received(&mut self, mut wire: &[u8]) -> io::Result<()> {
        if wire.is_empty() {
            self.end.get_or_insert(false);
        }
        // After `close_notify` nothing more is taken.
        while !wire.is_empty() && self.connection.read_tls(&mut wire)? > 0 {
            let processed = self.connection.process_new_packets();
            processed.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
            let mut part = [0; 16 << 10];
            loop {
                match self.connection.reader().read(&mut part) {
                    Ok(0) => break self.end = Some(true),
                    Ok(n) => self.plain.extend_from_slice(&part[..n]),
                    Err(_) => break,
                }
            }
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
