//! Options of TCP sockets.

use super::Plain;
use crate::runtime::transport::ListenerConfig;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// How many bytes of a response the system accepts beyond those that are on their way to the client
/// (`TCP_NOTSENT_LOWAT`; accepted connections inherit it). By default Linux accepts 2 MiB and more for each
/// client that reads nothing, from memory that all programs share, so a thousand such clients leave nothing
/// for others. It also reports room only when a third of that is free, so a slow client would look like one
/// that reads nothing.
#[cfg(target_os = "linux")]
pub(crate) const UNSENT: u32 = 256 << 10;

/// Accepts the next connection, with one system call on Linux.
pub(crate) fn accept(
    listener: &TcpListener,
    config: &ListenerConfig,
) -> io::Result<(Plain, Option<SocketAddr>)> {
    let (stream, peer) = accept_raw(listener, config)?;
    Ok((Plain::Tcp(stream), peer.map(canonical)))
}

#[cfg(target_os = "linux")]
fn accept_raw(
    listener: &TcpListener,
    _config: &ListenerConfig,
) -> io::Result<(TcpStream, Option<SocketAddr>)> {
    use rustix::net::{SocketFlags, acceptfrom_with};

    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let (socket, peer) = acceptfrom_with(listener, flags)?;
    Ok((socket.into(), peer.and_then(|peer| peer.try_into().ok())))
}

#[cfg(not(target_os = "linux"))]
fn accept_raw(
    listener: &TcpListener,
    config: &ListenerConfig,
) -> io::Result<(TcpStream, Option<SocketAddr>)> {
    let (stream, peer) = listener.accept()?;
    stream.set_nonblocking(true)?;
    // macOS refuses the option for a client that has left already. This is not an error of the listener, and
    // the first read reports it.
    let _ = stream.set_nodelay(config.nodelay);
    Ok((stream, Some(peer)))
}

/// Converts an IPv4 address that a listener for IPv6 reports in IPv6 form (RFC 4291 section 2.5.5.2).
pub(crate) fn canonical(addr: SocketAddr) -> SocketAddr {
    match addr.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, addr.port()),
        // With its scope id.
        IpAddr::V6(_) => addr,
    }
}

/// See [`Transport::reset`](super::Transport::reset).
pub(super) fn reset(stream: &TcpStream) {
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// See [`Transport::take_unsent`](super::Transport::take_unsent).
#[cfg(all(target_os = "linux", feature = "websocket"))]
pub(super) fn take_unsent(stream: &TcpStream, bytes: usize) {
    let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).max(UNSENT);
    let _ = socket2::SockRef::from(stream).set_tcp_notsent_lowat(bytes);
}
