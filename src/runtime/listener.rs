//! Listening sockets.

#[cfg(unix)]
use super::socket_file;
#[cfg(unix)]
use super::socket_file::SocketFile;
use super::transport;
use super::transport::ListenerConfig;
use super::transport::Plain;
#[cfg(target_os = "linux")]
use super::transport::UNSENT;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener};
#[cfg(windows)]
use std::os::windows::io::{AsRawSocket, AsSocket, BorrowedSocket, RawSocket};
#[cfg(unix)]
use std::os::{
    fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
    unix::net::UnixListener,
};
#[cfg(unix)]
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Where to listen.
#[derive(Debug)]
pub(crate) enum BindAddr {
    /// The addresses of a name; the first that can be bound is used.
    Tcp(io::Result<Vec<SocketAddr>>),
    /// Listeners of one address. Each has its own queue of connections, so none may be left out.
    Inherited(Vec<TcpListener>),
    /// The path of a Unix socket, with the mode of its file.
    #[cfg(unix)]
    Unix(PathBuf, u32),
    /// An inherited listener, with its file if this server has to remove it.
    #[cfg(unix)]
    InheritedUnix(UnixListener, Option<Arc<SocketFile>>),
}

/// The number of a listen address, in the order of the calls on the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListenerId(pub(crate) u16);

/// The listening socket. It is non-blocking.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    /// With the file, if this server created it. The field is first, so the file is removed before the
    /// listener is closed: after the close, another server may create its own file at that path.
    #[cfg(unix)]
    Unix(Option<Arc<SocketFile>>, UnixListener),
}

/// Whether the system balances connections between several listeners of one address.
pub(crate) const CAN_SHARE: bool = cfg!(any(target_os = "linux", target_os = "freebsd"));

impl Listener {
    /// Binds to `addr`. With `shared`, [`Listener::another`] can bind to the address as well. If another
    /// program has the address, this is an error in any case. `only_v6`: see [`bind`].
    pub(crate) fn tcp(
        addr: SocketAddr,
        shared: bool,
        only_v6: bool,
        config: &ListenerConfig,
    ) -> io::Result<Listener> {
        if shared && addr.port() != 0 {
            // SO_REUSEPORT would let two programs of one user take each other's connections.
            bind(Type::STREAM, addr, false, only_v6)?;
        }
        let socket = bind(Type::STREAM, addr, shared, only_v6)?;
        socket.listen(config.backlog)?;
        Listener::inherited(socket.into(), config)
    }

    /// A listener that another program has bound.
    pub(crate) fn inherited(
        listener: TcpListener,
        config: &ListenerConfig,
    ) -> io::Result<Listener> {
        listener.set_nonblocking(true)?;
        // On Linux accepted connections inherit the option; elsewhere `accept` sets it.
        socket2::SockRef::from(&listener).set_tcp_nodelay(config.nodelay)?;
        // Some systems that resemble Linux lack the option, and so do some kinds of sockets that a service
        // manager can pass (MPTCP). The server works without it.
        #[cfg(target_os = "linux")]
        let _ = socket2::SockRef::from(&listener).set_tcp_notsent_lowat(UNSENT);
        Ok(Listener::Tcp(listener))
    }

    #[cfg(unix)]
    pub(crate) fn inherited_unix(
        listener: UnixListener,
        file: Option<Arc<SocketFile>>,
    ) -> io::Result<Listener> {
        listener.set_nonblocking(true)?;
        Ok(Listener::Unix(file, listener))
    }

    /// Binds to `path`; see [`socket_file::listen`].
    #[cfg(unix)]
    pub(crate) fn unix(path: &Path, mode: u32, config: &ListenerConfig) -> io::Result<Listener> {
        let (listener, file) = socket_file::listen(path, mode, config.backlog)?;
        Listener::inherited_unix(listener, Some(Arc::new(file)))
    }

    /// Binds one more listener to the same address, with its own queue of connections; see [`CAN_SHARE`].
    pub(crate) fn another(&self, config: &ListenerConfig) -> io::Result<Listener> {
        match self {
            Listener::Tcp(listener) => {
                let addr = listener.local_addr()?;
                let only_v6 = addr.is_ipv6() && socket2::SockRef::from(listener).only_v6()?;
                let socket = bind(Type::STREAM, addr, true, only_v6)?;
                socket.listen(config.backlog)?;
                Listener::inherited(socket.into(), config)
            }
            #[cfg(unix)]
            Listener::Unix(..) => self.same(),
        }
    }

    /// Sets whether its file, if it has created one, stays when it is closed.
    #[cfg(unix)]
    pub(crate) fn keep_file(&self, kept: bool) {
        if let Listener::Unix(Some(file), _) = self {
            file.keep(kept);
        }
    }

    /// A second handle for the same queue of connections.
    pub(crate) fn same(&self) -> io::Result<Listener> {
        match self {
            Listener::Tcp(listener) => Ok(Listener::Tcp(listener.try_clone()?)),
            #[cfg(unix)]
            Listener::Unix(file, listener) => {
                Ok(Listener::Unix(file.clone(), listener.try_clone()?))
            }
        }
    }

    /// The address on which it listens.
    pub(crate) fn addr(&self) -> io::Result<ListenAddr> {
        match self {
            Listener::Tcp(listener) => listener.local_addr().map(ListenAddr::Tcp),
            #[cfg(unix)]
            Listener::Unix(_, listener) => {
                let addr = listener.local_addr()?;
                Ok(ListenAddr::Unix(
                    addr.as_pathname().map(Path::to_owned).unwrap_or_default(),
                ))
            }
        }
    }

    /// Takes the next connection.
    pub(crate) fn accept(
        &self,
        config: &ListenerConfig,
    ) -> io::Result<(Plain, Option<SocketAddr>)> {
        match self {
            Listener::Tcp(listener) => transport::accept_tcp(listener, config),
            #[cfg(unix)]
            Listener::Unix(_, listener) => transport::accept_unix(listener),
        }
    }
}

/// Binds a socket, which does not listen yet. `[::]` also accepts IPv4, whatever the default of the system
/// is, unless `only_v6` says that there is another socket for IPv4.
fn bind(kind: Type, addr: SocketAddr, shared: bool, only_v6: bool) -> io::Result<Socket> {
    let is_tcp = kind == Type::STREAM;
    let protocol = if is_tcp { Protocol::TCP } else { Protocol::UDP };
    let socket = Socket::new(Domain::for_address(addr), kind, Some(protocol))?;
    // On Windows, and for datagrams, the option of this name would let others take the port.
    if is_tcp && cfg!(not(windows)) {
        socket.set_reuse_address(true)?;
    }
    if addr.is_ipv6() && addr.ip().is_unspecified() {
        let set = socket.set_only_v6(only_v6);
        // On OpenBSD such a socket never accepts IPv4.
        set.or_else(|error| if only_v6 { Err(error) } else { Ok(()) })?;
    }
    if shared {
        share(&socket)?;
    }
    socket.bind(&addr.into())?;
    Ok(socket)
}

/// Binds a socket for datagrams. With `shared`, others of this user can be bound to the address, and the system gives each
/// client to one of them.
#[cfg(feature = "http3")]
pub(crate) fn bind_datagrams(
    addr: SocketAddr,
    shared: bool,
    only_v6: bool,
) -> io::Result<std::net::UdpSocket> {
    bind(Type::DGRAM, addr, shared, only_v6).map(Socket::into)
}

#[cfg(target_os = "linux")]
fn share(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

#[cfg(target_os = "freebsd")]
fn share(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port_lb(true)
}

#[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
fn share(_socket: &Socket) -> io::Result<()> {
    Ok(())
}

/// Where a server listens.
///
/// ```
/// let addr = peregrine::server::ListenAddr::Tcp(([127, 0, 0, 1], 8080).into());
/// assert_eq!(addr.to_string(), "http://127.0.0.1:8080");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListenAddr {
    /// An address and port, the real one where port 0 was asked for.
    Tcp(SocketAddr),
    /// The same with TLS; see [`Server::bind_tls`](crate::Server::bind_tls).
    #[cfg(feature = "tls")]
    Tls(SocketAddr),
    /// The path of a Unix socket; empty if it has none.
    #[cfg(unix)]
    Unix(PathBuf),
}

impl std::fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ListenAddr::Tcp(addr) => write!(f, "http://{addr}"),
            #[cfg(feature = "tls")]
            ListenAddr::Tls(addr) => write!(f, "https://{addr}"),
            #[cfg(unix)]
            ListenAddr::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(unix)]
impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Listener::Tcp(listener) => listener.as_fd(),
            Listener::Unix(_, listener) => listener.as_fd(),
        }
    }
}

#[cfg(unix)]
impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

#[cfg(windows)]
impl AsSocket for Listener {
    fn as_socket(&self) -> BorrowedSocket<'_> {
        let Listener::Tcp(listener) = self;
        listener.as_socket()
    }
}

#[cfg(windows)]
impl AsRawSocket for Listener {
    fn as_raw_socket(&self) -> RawSocket {
        let Listener::Tcp(listener) = self;
        listener.as_raw_socket()
    }
}
