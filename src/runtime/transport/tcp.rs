//! Options of TCP sockets.

use super::Plain;
use crate::runtime::transport::ListenerConfig;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// Bytes that the system takes of a response beyond those that are on their way to the client
/// (`TCP_NOTSENT_LOWAT`; inherited by what is accepted). Left alone, Linux takes 2 MiB and more for
/// each client that reads nothing, of a store that all programs share: a thousand of them leave
/// others nothing. And it says that there is room again only when a third of that is gone, so that a
/// slow client would be taken for one that reads nothing.
#[cfg(target_os = "linux")]
pub(crate) const UNSENT: u32 = 256 << 10;

/// Takes the next connection; with one system call on Linux.
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
    // macOS refuses it for a client that has left already, which is no fault of the listener's: the
    // first read tells.
    let _ = stream.set_nodelay(config.nodelay);
    Ok((stream, Some(peer)))
}

/// IPv4 as what it is, where a listener for IPv6 takes it, too (RFC 4291 section 2.5.5.2).
pub(super) fn canonical(addr: SocketAddr) -> SocketAddr {
    match addr.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, addr.port()),
        // With its scope.
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
