//! Errors of `accept`, and how a client is refused without descriptors.

use super::clock;
use super::transport::{Plain, Transport};
use crate::config::Config;
use crate::shared::output::Output;
use peregrine_protocol::field_line;
use peregrine_protocol::h1::response_encoder::ResponseEncoder;
use peregrine_protocol::http::exchange::ResponseContext;
use peregrine_protocol::http::response::{BodySize, ResponseHead};
use socket2::{Domain, Socket, Type};
use std::io;

/// What an error of `accept` concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AcceptFailure {
    /// The backlog is empty.
    Empty,
    /// It concerns one connection, which is gone. The next one may succeed.
    One,
    /// It concerns all connections: the next one would fail too.
    All,
}

/// Linux reports network errors that are already pending on the new connection, and the BSDs report that the
/// client has left (accept(2)). These are not errors of the listener.
pub(crate) fn failure(error: &io::Error) -> AcceptFailure {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionReset, HostUnreachable, Interrupted, NetworkDown,
        NetworkUnreachable, NotConnected, PermissionDenied, TimedOut, WouldBlock,
    };
    match error.kind() {
        WouldBlock => AcceptFailure::Empty,
        // A signal interrupted the call, or a firewall forbids the connection.
        Interrupted | PermissionDenied => AcceptFailure::One,
        ConnectionAborted | ConnectionReset | NotConnected | TimedOut => AcceptFailure::One,
        NetworkDown | NetworkUnreachable | HostUnreachable => AcceptFailure::One,
        _ if error
            .raw_os_error()
            .is_some_and(|code| OF_ONE.contains(&code)) =>
        {
            AcceptFailure::One
        }
        _ => AcceptFailure::All,
    }
}

/// The process or the system has no descriptors left. The reserve helps against this; it does not help
/// against a lack of memory.
pub(crate) fn is_descriptor(error: &io::Error) -> bool {
    error
        .raw_os_error()
        .is_some_and(|code| DESCRIPTORS.contains(&code))
}

#[cfg(unix)]
mod codes {
    use rustix::io::Errno;

    /// Errors of one connection that have no [`std::io::ErrorKind`].
    #[cfg(target_os = "linux")]
    pub(crate) const OF_ONE: &[i32] = &[
        Errno::PROTO.raw_os_error(),
        Errno::NOPROTOOPT.raw_os_error(),
        Errno::HOSTDOWN.raw_os_error(),
        Errno::NONET.raw_os_error(),
        Errno::OPNOTSUPP.raw_os_error(),
    ];
    #[cfg(not(target_os = "linux"))]
    pub(crate) const OF_ONE: &[i32] = &[Errno::PROTO.raw_os_error()];

    pub(crate) const DESCRIPTORS: &[i32] =
        &[Errno::MFILE.raw_os_error(), Errno::NFILE.raw_os_error()];
}

#[cfg(not(unix))]
mod codes {
    pub(crate) const OF_ONE: &[i32] = &[];
    /// `WSAEMFILE`.
    pub(crate) const DESCRIPTORS: &[i32] = &[10024];
}

use codes::{DESCRIPTORS, OF_ONE};

/// A descriptor that is kept in reserve for the moment when there is no other.
#[derive(Debug)]
pub(crate) struct Reserve(Option<Socket>);

impl Reserve {
    /// `wanted`: whether this thread accepts connections.
    pub(crate) fn new(wanted: bool) -> Reserve {
        let mut reserve = Reserve(None);
        if wanted {
            reserve.fill();
        }
        reserve
    }

    /// Opens the reserve again if it is empty and a descriptor is free.
    pub(crate) fn fill(&mut self) {
        if self.0.is_none() {
            // An unbound socket is the cheapest descriptor that every system has.
            self.0 = Socket::new(Domain::IPV4, Type::DGRAM, None).ok();
        }
    }

    pub(crate) fn empty(&mut self) {
        self.0 = None;
    }
}

/// How many bytes of a refused client are read. A close with unread bytes is a reset, which may overtake the
/// response.
const READ: usize = 64 << 10;

/// Sends a response to a client that has sent something, and closes. Never waits.
pub(crate) fn turn_away(mut socket: Plain, config: &Config) {
    let mut buffer = [0; 4 << 10];
    let mut read = 0;
    let mut go_on = |socket: &mut Plain| {
        let n = socket.read(&mut buffer).unwrap_or(0);
        read += n;
        n > 0 && read < READ
    };
    if go_on(&mut socket) {
        let mut encoder = ResponseEncoder::new(config.server_name.as_deref());
        encoder.set_time(clock::unix());
        let head = ResponseHead {
            status: 503,
            close: true,
            upgrade: false,
        };
        let fields = field_line!("Retry-After", "1");
        // It has no body, so that it is correct for every method.
        let (size, request) = (BodySize::Known(0), ResponseContext::default());
        let mut output = Output::default();
        output.push_with(|out| encoder.head(&head, fields, size, request, out));
        // If the socket has no room for it, the client gets only the close.
        let _ = socket.send(&output);
        let _ = socket.shutdown_write();
        while go_on(&mut socket) {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_one_connection_is_not_one_of_the_listener() {
        use io::ErrorKind;
        for kind in [
            ErrorKind::Interrupted,
            ErrorKind::ConnectionAborted,
            ErrorKind::ConnectionReset,
            ErrorKind::PermissionDenied,
            ErrorKind::NetworkDown,
            ErrorKind::NotConnected,
        ] {
            assert_eq!(failure(&kind.into()), AcceptFailure::One, "{kind}");
        }
        assert_eq!(failure(&ErrorKind::WouldBlock.into()), AcceptFailure::Empty);
        assert_eq!(failure(&ErrorKind::OutOfMemory.into()), AcceptFailure::All);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_errors_that_the_manual_of_linux_names() {
        use rustix::io::Errno;
        let of = |errno: Errno| {
            let error = io::Error::from(errno);
            (failure(&error), is_descriptor(&error))
        };
        // "treat them like EAGAIN by retrying"
        for errno in [
            Errno::NETDOWN,
            Errno::PROTO,
            Errno::NOPROTOOPT,
            Errno::HOSTDOWN,
            Errno::NONET,
            Errno::HOSTUNREACH,
            Errno::OPNOTSUPP,
            Errno::NETUNREACH,
            Errno::CONNABORTED,
            Errno::INTR,
            Errno::PERM,
            Errno::TIMEDOUT,
        ] {
            assert_eq!(of(errno), (AcceptFailure::One, false), "{errno}");
        }
        assert_eq!(of(Errno::AGAIN), (AcceptFailure::Empty, false));
        for errno in [Errno::MFILE, Errno::NFILE] {
            assert_eq!(of(errno), (AcceptFailure::All, true), "{errno}");
        }
        for errno in [Errno::NOBUFS, Errno::NOMEM, Errno::BADF, Errno::INVAL] {
            assert_eq!(of(errno), (AcceptFailure::All, false), "{errno}");
        }
    }
}
