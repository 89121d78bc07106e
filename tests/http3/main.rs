//! HTTP/3 over sockets: QUIC, its limits, and what handlers see.

mod certificates;
mod client;
mod ends;
mod extremes;
mod limits;
mod serving;
#[allow(dead_code, reason = "parts of it are for other tests")]
#[path = "../it/support/trusting.rs"]
mod trusting;

use peregrine::metrics::Counters;
use peregrine::server::{ListenAddr, Running};
use peregrine::{Config, Server, Tls};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Longer than anything takes.
const LONG: Duration = Duration::from_secs(60);

fn tls() -> Tls {
    Tls::self_signed(&["localhost"]).expect("a certificate")
}

/// A server with these settings that says hello.
fn hello(config: Config) -> Running {
    let server = Server::from_fn(|_, res| res.text("hello"));
    let server = server.config(config).bind_tls("127.0.0.1:0", tls());
    server.start().expect("a server")
}

/// The first address of a server.
fn address(server: &Running) -> SocketAddr {
    match server.local_addrs()[0] {
        ListenAddr::Tls(addr) => addr,
        ref other => panic!("no address with TLS: {other}"),
    }
}

/// Waits until the counters of a server are so.
fn counted(server: &Running, is_so: impl Fn(&Counters) -> bool) -> Counters {
    let end = Instant::now() + LONG;
    loop {
        let counters = server.counters();
        if is_so(&counters) {
            return counters;
        }
        assert!(Instant::now() < end, "{counters:?}");
        // Lets the server have the processor.
        std::thread::park_timeout(Duration::from_millis(1));
    }
}
