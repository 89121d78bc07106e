//! Sockets for HTTP/3 beside the listeners for TCP.

use super::places::{Places, cannot_bind};
use crate::config::{Config, Http3};
use crate::runtime::listener::{BindAddr, CAN_SHARE, ListenAddr, ListenerId};
use crate::runtime::quic::{ConnectionIds, DatagramSocket, Port, of_listener};
use crate::runtime::transport::ListenerConfig;
use std::io;
use std::net::SocketAddr;

/// The sockets of one place, one for each worker that gets datagrams.
pub(super) type Sockets = Vec<DatagramSocket>;

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
