//! A connection of bytes, without or with TLS: one thread reads it, one writes it.

use crate::config::{ADDRS, Config};
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

#[cfg(feature = "tls")]
mod tls;

/// Bytes of one read.
const READ: usize = 64 * 1024;

pub(crate) struct Link {
    tcp: TcpStream,
    #[cfg(feature = "tls")]
    tls: Option<tls::Tls>,
}

/// The time that is left, never 0.
fn left(end: Instant) -> Duration {
    let left = end.saturating_duration_since(Instant::now());
    left.max(Duration::from_millis(1))
}

/// The addresses of a name with a port, at most as many as are tried.
pub(crate) fn resolve(addr: &str) -> Result<Vec<SocketAddr>> {
    Ok(addr.to_socket_addrs()?.take(ADDRS).collect())
}

/// Tries addresses of a name one after the other, until one succeeds. Each has the same part of the time that is left: one that is
/// silent leaves some to the others.
///
/// # Errors
///
/// What a server has said, or else the error of the last address. A node of a cluster that names another one ends it.
pub(crate) fn first_of<T>(
    targets: &[SocketAddr],
    end: Instant,
    mut attempt: impl FnMut(SocketAddr, Instant) -> Result<T>,
) -> Result<T> {
    let mut failed = Error::new(ErrorKind::NotFound, "the name has no address");
    for (target, count) in targets.iter().zip((1..=targets.len()).rev()) {
        let now = Instant::now();
        let share = end.saturating_duration_since(now) / u32::try_from(count).unwrap_or(u32::MAX);
        match attempt(*target, now + share) {
            Err(error) if error.to_string().starts_with("MOVED ") => return Err(error),
            Err(_) if failed.kind() == ErrorKind::Other => {}
            Err(error) => failed = error,
            done => return done,
        }
    }
    Err(failed)
}

impl Link {
    /// Connects to an address of a name, and begins TLS if it is set, until this time.
    pub(crate) fn connect(
        config: &Config,
        name: &str,
        target: SocketAddr,
        end: Instant,
    ) -> Result<Link> {
        let tcp = TcpStream::connect_timeout(&target, left(end))?;
        tcp.set_nodelay(true)?;
        tcp.set_write_timeout(Some(2 * config.ping_interval))?;
        #[cfg(not(feature = "tls"))]
        let _ = name;
        #[cfg(feature = "tls")]
        let tls = match &config.tls {
            Some(settings) => {
                let host = name.rsplit_once(':').map_or(name, |(host, _)| host);
                let host = host.trim_matches(['[', ']']);
                let name = config.tls_name.as_deref().unwrap_or(host);
                Some(tls::Tls::begin(settings, name, &tcp, end)?)
            }
            None => None,
        };
        Ok(Link {
            tcp,
            #[cfg(feature = "tls")]
            tls,
        })
    }

    /// Bytes for [`Link::read`].
    pub(crate) fn buffer() -> Vec<u8> {
        vec![0; READ]
    }

    /// Waits for bytes, and returns how many there are. 0 at the end of the connection. For one thread.
    pub(crate) fn read(&self, buf: &mut [u8]) -> Result<usize> {
        loop {
            let read = match () {
                #[cfg(feature = "tls")]
                () if self.tls.is_some() => self
                    .tls
                    .as_ref()
                    .map_or(Ok(0), |tls| tls.read(&self.tcp, buf)),
                () => (&self.tcp).read(buf),
            };
            match read {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }

    /// The same until this time.
    pub(crate) fn read_until(&self, end: Instant, buf: &mut [u8]) -> Result<usize> {
        if Instant::now() >= end {
            return Err(ErrorKind::TimedOut.into());
        }
        self.tcp.set_read_timeout(Some(left(end)))?;
        let read = self.read(buf);
        self.tcp.set_read_timeout(None)?;
        read
    }

    /// Sends all. For one thread.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<()> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return tls.write(&self.tcp, bytes);
        }
        (&self.tcp).write_all(bytes)
    }

    /// Both threads notice it.
    pub(crate) fn close(&self) {
        let _ = self.tcp.shutdown(Shutdown::Both);
    }
}
