//! Listeners for all addresses of IPv4 and of IPv6, alone and side by side.

use crate::support::{Client, workers};
use peregrine::config::AcceptThreads;
use peregrine::{Done, Request, Response, Server};
use std::net::{Ipv6Addr, SocketAddr, TcpListener};

/// A free port, or `None` where there is no IPv6.
fn port_of_both() -> Option<u16> {
    match TcpListener::bind("[::]:0") {
        Ok(listener) => Some(listener.local_addr().expect("an address").port()),
        Err(error) => {
            println!("skipped: no IPv6: {error}");
            None
        }
    }
}

/// Responds with the addresses of the client and of the server.
fn ends(req: &Request<'_>, res: Response<'_>) -> Done {
    let ip = |addr: Option<SocketAddr>| addr.expect("TCP").ip();
    res.text(format!("{} {}", ip(req.peer_addr()), ip(req.local_addr())))
}

#[test]
fn all_addresses_of_both_kinds() {
    let v4 = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let v6 = |port| SocketAddr::from((Ipv6Addr::LOCALHOST, port));
    for places in [
        &["[::]"][..],
        &["[::]", "0.0.0.0"],
        &["0.0.0.0", "[::]"],
        &["[::1]", "0.0.0.0"],
    ] {
        for count in [1, 3] {
            let start = |port| {
                let config = workers(count).accept_threads(AcceptThreads::Workers);
                let server = Server::from_fn(ends).config(config);
                let bound = |server: Server<_, _>, place| server.bind(format!("{place}:{port}"));
                places.iter().fold(server, bound).start()
            };
            // Another test may take the port meanwhile.
            let mut tries = (0..5)
                .map_while(|_| port_of_both())
                .map(|port| (port, start(port)));
            let Some(first) = tries.next() else {
                return;
            };
            let started = std::iter::once(first)
                .chain(tries)
                .find(|(_, server)| server.is_ok());
            let (port, server) = started.expect("a free port for both kinds");
            let _running = server.expect("started");
            for (addr, both) in [(v4(port), "127.0.0.1 127.0.0.1"), (v6(port), "::1 ::1")] {
                let answer = Client::connect(addr).get("/");
                assert_eq!(answer.text(), both, "{places:?}");
            }
        }
    }
}
