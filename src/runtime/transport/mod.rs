//! `Transport`: what moves the bytes of a connection.
//!
//! Each kind is a separate type. A server is compiled for the kind that its listeners need, so a connection
//! over plain sockets costs nothing for the others.

#[cfg(all(test, unix))]
pub(crate) mod faulty;
mod file;
mod gather;
mod memory;
mod plain;
#[cfg(feature = "tls")]
mod secure;
mod tcp;
#[cfg(unix)]
mod unix;

pub(crate) use file::FILE_STEP;
#[cfg(feature = "http3")]
pub(crate) use file::read_at;
pub(crate) use memory::Memory;
pub(crate) use plain::Plain;
#[cfg(feature = "tls")]
pub(crate) use secure::Secure;
pub(crate) use tcp::accept as accept_tcp;
#[cfg(feature = "http3")]
pub(crate) use tcp::canonical;
#[cfg(unix)]
pub(crate) use unix::accept as accept_unix;

use crate::config::Config;
#[cfg(feature = "http2")]
use crate::config::Http2;
use crate::config::forwarded::ProxySources;
#[cfg(feature = "tls")]
use crate::runtime::tls::{Tls, TlsInfo};
use crate::shared::output::{MAX_SLICES, Output, Segment};
use peregrine_protocol::Seconds;
use peregrine_protocol::h1::response_encoder::ListenerFields;
use std::fs::File;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
#[cfg(target_os = "linux")]
pub(crate) use tcp::UNSENT;

/// A transport over sockets.
pub(crate) trait OverSocket: Transport {
    /// Wraps a socket that a listener with these settings has accepted.
    fn accepted(socket: Plain, listener: &ListenerConfig, now: Seconds) -> Self;
}

/// Receives and sends the bytes of one connection. No method blocks.
pub(crate) trait Transport: Sized + Send + 'static {
    /// The socket beneath, which the poller watches; `None` where there is none.
    fn socket(&self) -> Option<&Plain>;

    /// Reads what has arrived. A read that is interrupted by a signal is repeated. A write need not be
    /// repeated, because the rest is sent when the poller reports room.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Writes bytes before a file, which may share a packet with it.
    fn write_more(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Sends bytes of a file. Returns how many were sent and how many were offered. 0 bytes: the file ends
    /// before `offset`.
    fn send_file(&mut self, file: &File, offset: u64, most: usize) -> (io::Result<usize>, usize) {
        file::copy(self, file, offset, most)
    }

    /// What the transport itself waits for, or has read ahead.
    #[inline(always)]
    fn wants(&self) -> Wants {
        Wants::default()
    }

    /// Continues to write its own bytes; see [`Wants::write`].
    #[inline(always)]
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Whether there are connections for which [`Transport::handshake`] is something.
    const HAS_HANDSHAKE: bool = false;

    /// Until its own handshake is complete: when it has to be. The steps of a handshake take long, so the event
    /// loop makes few of them in a turn.
    #[inline(always)]
    fn handshake(&self) -> Option<Seconds> {
        None
    }

    /// Whether the client has sent a part of that handshake.
    #[cfg(feature = "tls")]
    fn has_begun_handshake(&self) -> bool {
        false
    }

    /// See [`ThreadState::set_listener_fields`](crate::runtime::event_loop::ThreadState::set_listener_fields).
    #[inline(always)]
    fn listener_fields(&self) -> ListenerFields {
        ListenerFields::default()
    }

    /// Bytes of memory that it holds for what it has read or is to write.
    #[inline(always)]
    fn held(&self) -> usize {
        0
    }

    /// What is in the output now is the last that is sent, and complete: the transport may send with it what tells
    /// the client so.
    #[inline(always)]
    fn near_end(&mut self) {}

    /// All is sent that was to be sent: tells the client so, if the transport has a way of its own and has not done
    /// it.
    #[inline(always)]
    fn end_write(&mut self) {}

    /// Why no request of it is served, if that is so.
    #[cfg(feature = "tls")]
    #[inline(always)]
    fn unserved(&self) -> Option<Unserved> {
        None
    }

    /// Whether its handshake has chosen HTTP/2 (RFC 9113 section 3.2).
    #[cfg(all(feature = "http2", feature = "tls"))]
    #[inline(always)]
    fn has_chosen_http2(&self) -> bool {
        false
    }

    /// Whether it encrypts.
    fn is_secure(&self) -> bool {
        false
    }

    /// Whether its handshake was a short one, as the client had been here before.
    fn is_resumed(&self) -> bool {
        false
    }

    /// What its own handshake has found out, if it has one.
    #[cfg(feature = "tls")]
    fn tls(&self) -> Option<TlsInfo> {
        None
    }

    /// Closes the sending half: the client sees the end of the stream after it has read everything.
    fn shutdown_write(&mut self) -> io::Result<()>;

    /// Makes the close of the connection show the client that something is missing: by a reset, if the socket
    /// supports it.
    fn reset(&mut self);

    fn local_addr(&self) -> Option<SocketAddr>;

    /// Lets the system accept at least `bytes` bytes beyond those that are on their way to the client. Does
    /// nothing on a system without this option.
    #[cfg(feature = "websocket")]
    fn take_unsent(&mut self, _bytes: usize) {}

    /// Sends the next part of `output`, with one system call, or with more if files have to be read.
    ///
    /// # Errors
    ///
    /// Those of the socket; and [`io::ErrorKind::UnexpectedEof`] if a file has become shorter than the
    /// announced length.
    fn send(&mut self, output: &Output) -> io::Result<Written> {
        let (sent, offered) = match output.next() {
            Segment::Row { bytes, more: false } => (self.write(bytes), bytes.len()),
            _ => self.send_next(output),
        };
        sent.map(|bytes| Written {
            bytes,
            full: bytes < offered,
        })
    }

    /// Sends the next part of `output`, whatever it is. Returns what [`Transport::send_file`] does.
    #[inline(never)]
    fn send_next(&mut self, output: &Output) -> (io::Result<usize>, usize) {
        let (sent, offered) = match output.next() {
            Segment::Row { .. } | Segment::Segment { .. } if gather::is_due(output) => {
                gather::send(self, output)
            }
            Segment::Row { bytes, more: false } => return (self.write(bytes), bytes.len()),
            Segment::Row { bytes, more: true } => return (self.write_more(bytes), bytes.len()),
            Segment::Segment { segment, sent, len } => {
                let most = len.min(FILE_STEP as u64) as usize;
                self.send_file(&segment.file, segment.offset + sent, most)
            }
            Segment::Pieces => {
                let mut slices = [IoSlice::new(b""); MAX_SLICES];
                let count = output.gather(&mut slices, IoSlice::new);
                let offered = slices[..count].iter().map(|slice| slice.len()).sum();
                return (self.write_vectored(&slices[..count]), offered);
            }
        };
        match sent {
            Ok(0) => (Err(io::ErrorKind::UnexpectedEof.into()), offered),
            sent => (sent, offered),
        }
    }
}

/// What becomes of requests that have come without TLS and should have come with it.
#[cfg(feature = "tls")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unserved {
    /// 400.
    Refuse,
    /// 308 to this port.
    Redirect(u16),
}

/// See [`Transport::wants`]. A socket wants nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wants {
    /// It has bytes of its own for the socket, as those of a handshake or an alert, even if the protocol has
    /// nothing to send.
    pub(crate) write: bool,
    /// It has read more bytes than it has passed on. A read returns them, and no event of the socket reports
    /// them.
    pub(crate) read: bool,
}

/// The result of an attempt to send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    /// This number of bytes has left the transport. Bytes that it still holds, such as encrypted bytes for
    /// which the socket has no room, are not counted yet: they stay at the front of the output, and are
    /// offered again. So if the output is empty, everything has been sent.
    pub(crate) bytes: usize,
    /// The system took less than it was offered, so it has no room for more now.
    pub(crate) full: bool,
}

/// Whether the system lacks memory for a valid call, which may succeed later. On Linux that is `ENOBUFS` of a
/// Unix socket and `ENOMEM` of `sendfile`, because TCP returns `EAGAIN`. On the BSDs and macOS it is
/// `ENOBUFS` of any socket.
#[cold]
fn is_starved(error: &io::Error) -> bool {
    #[cfg(unix)]
    const NO_BUFFERS: i32 = rustix::io::Errno::NOBUFS.raw_os_error();
    // WSAENOBUFS.
    #[cfg(windows)]
    const NO_BUFFERS: i32 = 10055;
    error.raw_os_error() == Some(NO_BUFFERS) || error.kind() == io::ErrorKind::OutOfMemory
}

/// Whether a failed call can be made again. If there was nothing to read or no room, the poller reports when.
/// If the system lacked memory, `starved` is set, and the call is made again after a while.
pub(crate) fn can_wait(error: &io::Error, starved: &mut bool) -> bool {
    use io::ErrorKind::{Interrupted, WouldBlock};
    if matches!(error.kind(), WouldBlock | Interrupted) {
        return true;
    }
    let is_starved = is_starved(error);
    *starved |= is_starved;
    is_starved
}

/// Settings of one listen address, and of the connections that it accepts.
#[derive(Debug)]
pub(crate) struct ListenerConfig {
    pub(crate) backlog: i32,
    pub(crate) nodelay: bool,
    #[cfg(feature = "http2")]
    pub(crate) http2: Http2,
    /// Connections begin with a PROXY header.
    pub(crate) proxied: Option<ProxySources>,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<Tls>,
    /// The port for HTTP/3 over UDP, if there is one.
    #[cfg(feature = "http3")]
    pub(crate) http3: Option<u16>,
    /// Requests without TLS are redirected to this port, as requests with TLS.
    #[cfg(feature = "tls")]
    pub(crate) redirect: Option<u16>,
    #[cfg(feature = "tls")]
    pub(crate) handshake_timeout: std::time::Duration,
    /// Plans of a test for the next connections.
    #[cfg(all(test, unix))]
    pub(crate) plans: faulty::Plans,
}

impl ListenerConfig {
    pub(crate) fn new(config: &Config) -> ListenerConfig {
        ListenerConfig {
            // What the system's type cannot hold, the system would lower.
            backlog: config.backlog.try_into().unwrap_or(i32::MAX),
            nodelay: config.tcp_nodelay,
            #[cfg(feature = "http2")]
            http2: config.http2,
            proxied: None,
            #[cfg(feature = "tls")]
            tls: None,
            #[cfg(feature = "http3")]
            http3: None,
            #[cfg(feature = "tls")]
            redirect: None,
            #[cfg(feature = "tls")]
            handshake_timeout: config.tls_handshake_timeout,
            #[cfg(all(test, unix))]
            plans: faulty::Plans::default(),
        }
    }

    /// What responses of a connection with this TLS have of their listener.
    #[cfg(feature = "tls")]
    fn fields(&self, tls: &Tls) -> ListenerFields {
        let mut fields = ListenerFields::default();
        fields.hsts = tls.hsts;
        #[cfg(feature = "http3")]
        {
            fields.http3 = self.http3;
        }
        fields
    }
}
