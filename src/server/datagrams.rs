//! Sockets for HTTP/3 beside the listeners for TCP.

use super::places::{Places, cannot_bind};
use crate::config::{Config, Http3};
use crate::runtime::listener::{BindAddr, CAN_SHARE, ListenAddr, Listener, ListenerId};
use crate::runtime::quic::{ConnectionIds, DatagramSocket, Port, of_listener};
use crate::runtime::transport::ListenerConfig;
use std::io;
use std::net::SocketAddr;

/// The sockets of one place, one for each worker that gets datagrams.
pub(super) type Sockets = Vec<DatagramSocket>;

/// The listeners of a place, and its sockets for HTTP/3, if it has some.
type Beside = io::Result<(Vec<Listener>, Option<Sockets>)>;

/// What each place says of HTTP/3: whether it has sockets for it, and whether it has others.
pub(super) fn mode(places: &Places, index: usize, config: &Config) -> Http3 {
    let is_secured = places.secured.iter().any(|(place, _)| *place == index);
    // There is no PROXY header for datagrams.
    let is_proxied = places.proxied.contains(&(index + 1));
    if !is_secured || is_proxied {
        return Http3::Off;
    }
    let own = places.http3.iter().rev().find(|(place, _)| *place == index);
    own.map_or(config.http3, |(_, mode)| *mode)
}

/// Binds sockets to an address, for so many workers. `is_new`: no process of this program has the address.
pub(super) fn bind(
    addr: SocketAddr,
    workers: usize,
    only_v6: bool,
    is_new: bool,
) -> io::Result<Sockets> {
    let count = if CAN_SHARE { workers } else { 1 };
    let cannot = |error| cannot_bind(format_args!("{addr} over UDP"), &error);
    if CAN_SHARE && is_new && addr.port() != 0 {
        // As for listeners: two programs of one user would take each other's datagrams.
        DatagramSocket::bind(addr, false, only_v6).map_err(cannot)?;
    }
    // Shared in any case: a successor binds to the address, too.
    let first = DatagramSocket::bind(addr, CAN_SHARE, only_v6).map_err(cannot)?;
    let addr = first.local_addr()?;
    let others = (1..count).map(|_| DatagramSocket::bind(addr, true, only_v6).map_err(cannot));
    std::iter::once(Ok(first)).chain(others).collect()
}

/// Attempts to find a port that is free over TCP and over UDP.
const ATTEMPTS: usize = 16;

/// Listens at a place by `listen`. If it has HTTP/3, too, as its mode says, binds sockets for so many workers to the address of the
/// listeners. A port that the system has chosen over TCP may be taken over UDP: then it chooses another one.
pub(super) fn bind_beside(
    (mode, workers, v4_ports): (Http3, usize, &[u16]),
    place: BindAddr,
    mut listen: impl FnMut(BindAddr) -> io::Result<Vec<Listener>>,
) -> Beside {
    let is_new = matches!(place, BindAddr::Tcp(_));
    let any_port = match &place {
        BindAddr::Tcp(Ok(addrs)) if addrs.iter().all(|addr| addr.port() == 0) => addrs.clone(),
        _ => Vec::new(),
    };
    let mut attempt = |place| -> Beside {
        let listeners = listen(place)?;
        let sockets = match (mode, listeners[0].addr()?) {
            (Http3::On, ListenAddr::Tcp(addr)) => {
                let only_v6 = v4_ports.contains(&addr.port());
                Some(bind(addr, workers, only_v6, is_new)?)
            }
            _ => None,
        };
        Ok((listeners, sockets))
    };
    let is_taken =
        |bound: &Beside| matches!(bound, Err(error) if error.kind() == io::ErrorKind::AddrInUse);
    let mut bound = attempt(place);
    let mut left = if any_port.is_empty() { 0 } else { ATTEMPTS - 1 };
    while left > 0 && is_taken(&bound) {
        left -= 1;
        bound = attempt(BindAddr::Tcp(Ok(any_port.clone())));
    }
    bound
}

/// Binds sockets for a place without a listener for TCP.
pub(super) fn bind_place(
    place: BindAddr,
    workers: usize,
    v4_ports: &[u16],
) -> io::Result<(ListenAddr, Sockets)> {
    let (addrs, is_new) = match place {
        BindAddr::Tcp(addrs) => (addrs?, true),
        BindAddr::Inherited(listeners) => {
            let addrs = listeners.iter().map(|listener| listener.local_addr());
            (addrs.collect::<io::Result<Vec<_>>>()?, false)
        }
        #[cfg(unix)]
        _ => (Vec::new(), true),
    };
    let mut error = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for addr in addrs {
        match bind(addr, workers, v4_ports.contains(&addr.port()), is_new) {
            Ok(sockets) => return Ok((ListenAddr::Tcp(sockets[0].local_addr()?), sockets)),
            Err(e) => error = e,
        }
    }
    Err(error)
}

/// The sockets of each worker, with what is behind them.
pub(super) fn ports(
    places: Vec<(usize, Sockets)>,
    configs: &mut [ListenerConfig],
    config: &Config,
) -> io::Result<Vec<Vec<Port>>> {
    let ids = ConnectionIds::default();
    let mut of_workers: Vec<Vec<Port>> = (0..config.workers).map(|_| Vec::new()).collect();
    for (place, sockets) in places {
        let listener = &mut configs[place];
        let Some(tls) = &listener.tls else {
            continue;
        };
        let server = of_listener(tls, &config.quic, &config.http3_limits)?;
        for (worker, socket) in sockets.into_iter().enumerate() {
            listener.http3 = Some(socket.local_addr()?.port());
            let id = ListenerId(place as u16);
            of_workers[worker].push(Port::new(id, socket, &server, (&ids, worker))?);
        }
    }
    Ok(of_workers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, UdpSocket};

    /// A listener, and a socket for datagrams of another program at its port.
    fn taken() -> (TcpListener, UdpSocket) {
        loop {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
            let addr = socket.local_addr().expect("an address");
            if let Ok(listener) = TcpListener::bind(addr) {
                return (listener, socket);
            }
        }
    }

    /// Binds to a port, where the first two that are listened at are taken. Returns the attempts, too.
    fn bind_at(port: u16) -> (Beside, usize) {
        let config = ListenerConfig::new(&Config::default());
        let (mut attempts, mut others) = (0, Vec::new());
        let place = BindAddr::Tcp(Ok(vec![([127, 0, 0, 1], port).into()]));
        let bound = bind_beside((Http3::On, 2, &[]), place, |_| {
            attempts += 1;
            let listener = match attempts {
                1 | 2 => {
                    let (listener, socket) = taken();
                    others.push(socket);
                    Listener::inherited(listener, &config)
                }
                _ => Listener::tcp(([127, 0, 0, 1], 0).into(), false, false, &config),
            };
            Ok(vec![listener?])
        });
        (bound, attempts)
    }

    #[test]
    fn a_port_that_is_taken_over_udp_is_not_chosen() {
        let (bound, attempts) = bind_at(0);
        let (listeners, sockets) = bound.expect("a port that is free");
        let sockets = sockets.expect("sockets for HTTP/3");
        let own = sockets[0].local_addr().expect("an address");
        let addr = listeners[0].addr().expect("an address");
        assert_eq!(addr, ListenAddr::Tcp(own));
        assert!(attempts >= 3, "{attempts}");
        // The port that was asked for, or none.
        let (bound, attempts) = bind_at(443);
        let error = bound.err().map(|error| error.kind());
        assert_eq!((error, attempts), (Some(io::ErrorKind::AddrInUse), 1));
    }
}
