//! Options of Unix sockets.

use super::Plain;
use std::io;
use std::net::SocketAddr;
use std::os::unix::net::UnixListener;

/// Accepts the next connection. Its client has no address.
pub(crate) fn accept(listener: &UnixListener) -> io::Result<(Plain, Option<SocketAddr>)> {
    let (stream, _) = listener.accept()?;
    stream.set_nonblocking(true)?;
    Ok((Plain::Unix(stream), None))
}
