//! The addresses of a server, the errors of binding, and which listener gets the connections.

use super::support::{Client, ended, start, wait_until, workers};
use crate::support::acceptors;
use peregrine::config::Balance;
use peregrine::config::{AcceptThreads, ConfigError};
use peregrine::server::ListenAddr;
use peregrine::{Config, Done, Request, Response, Server, from_fn};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};

pub(crate) fn path(req: &Request<'_>, res: Response<'_>) -> Done {
    res.body(req.path())
}

/// These workers and accept threads.
pub(crate) fn threads(count: usize, accept_threads: AcceptThreads) -> Config {
    workers(count).accept_threads(accept_threads)
}

// --------------------------------------------------------------------------------- places

#[test]
fn several_addresses_at_once() {
    let mut server = Server::from_fn(path).config(workers(2));
    server = server.bind("127.0.0.1:0").bind(("127.0.0.1", 0));
    let mut count = 2;
    match TcpListener::bind("[::1]:0") {
        Ok(_) => (server, count) = (server.bind("[::1]:0"), 3),
        Err(error) => println!("skipped: no IPv6: {error}"),
    }
    let running = server.start().expect("a server");
    let addrs = running.local_addrs();
    assert_eq!(addrs.len(), count);
    for (i, addr) in addrs.iter().enumerate() {
        let ListenAddr::Tcp(tcp) = addr else {
            panic!("{addr} is no TCP address");
        };
        assert_ne!(tcp.port(), 0, "the real one");
        assert_eq!(tcp.is_ipv6(), i == 2, "in the order of the calls");
        assert_eq!(addr.to_string(), format!("http://{tcp}"));
        assert_eq!(Client::connect(*tcp).get("/x").text(), "/x");
    }
    let ListenAddr::Tcp(first) = addrs[0] else {
        panic!("no TCP address");
    };
    assert_eq!(running.local_addr(), Some(first));
}

#[test]
fn an_inherited_listener() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = listener.local_addr().expect("bound");
    for accept_threads in [0, 2] {
        // As a service manager, which keeps its own handle across restarts.
        let inherited = listener.try_clone().expect("a second handle");
        let config = threads(2, acceptors(accept_threads));
        let server = Server::from_fn(path).config(config).listener(inherited);
        let running = server.start().expect("a server");
        assert_eq!(running.local_addrs(), [ListenAddr::Tcp(addr)]);
        for _ in 0..10 {
            assert_eq!(Client::connect(addr).get("/x").text(), "/x");
        }
        running.stop();
        assert_eq!(ended(running).counters.requests, 10);
    }
}

/// Every worker and every accept thread there is does its part, whatever their numbers.
#[test]
fn all_numbers_of_threads_serve() {
    for accept_threads in [
        AcceptThreads::Auto,
        acceptors(0),
        acceptors(1),
        acceptors(2),
    ] {
        for workers in [1, 2, 4] {
            let (server, addr) = start(from_fn(path), threads(workers, accept_threads));
            let mut clients: Vec<_> = (0..16).map(|_| Client::connect(addr)).collect();
            for client in &mut clients {
                assert_eq!(client.get("/x").text(), "/x");
            }
            assert_eq!(server.worker_counters().len(), workers);
            server.stop();
            let stopped = ended(server);
            let counters = stopped.counters;
            assert_eq!(
                (counters.accepted, counters.closed, counters.requests),
                (16, 16, 16)
            );
            assert_eq!((stopped.drained, stopped.aborted), (16, 0));
        }
    }
}

// --------------------------------------------------------------------------------- refusals

#[track_caller]
pub(crate) fn assert_message(result: io::Result<impl Sized>, kind: ErrorKind, words: &[&str]) {
    let error = result.err().expect("no server");
    let text = error.to_string();
    assert_eq!(error.kind(), kind, "{text}");
    for word in words {
        assert!(text.contains(word), "no {word} in: {text}");
    }
}

/// Neither by chance nor by SO_REUSEPORT does a second server get the connections of a first.
#[test]
fn a_port_in_use_is_named() {
    for first in [0, 1, 2].map(acceptors) {
        let (server, addr) = start(from_fn(path), threads(2, first));
        for second in [0, 1, 2].map(acceptors) {
            let free = Server::from_fn(path).config(threads(2, second));
            let result = free.bind("127.0.0.1:0").bind(addr).start();
            assert_message(result, ErrorKind::AddrInUse, &[&addr.to_string()]);
        }
        // A name that stands for several addresses: the next one will do.
        let free: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        let config = threads(2, first);
        let running = Server::from_fn(path).config(config).bind(&[addr, free][..]);
        let running = running.start().expect("the second address");
        assert_ne!(running.local_addr(), Some(addr));
        drop(running);
        let mut client = Client::connect(addr);
        assert_eq!(client.get("/still").text(), "/still");
        drop(server);
        // And what is free again can be bound again, at once.
        let again = Server::from_fn(path).config(threads(2, first)).bind(addr);
        let again = again.start().expect("the same address");
        assert_eq!(Client::connect(addr).get("/again").text(), "/again");
        drop(again);
    }
}

#[test]
fn settings_that_cannot_work_are_explained() {
    let server = || Server::from_fn(path);
    let invalid = ErrorKind::InvalidInput;
    assert_message(server().start(), invalid, &["address", "Server::bind"]);
    let none = server().config(workers(0)).bind("127.0.0.1:0");
    assert_message(none.start(), invalid, &["Config::workers", "0"]);
    let config = workers(1).server_name("a\r\nInjected: field");
    let named = server().config(config).bind("127.0.0.1:0");
    assert_message(named.start(), invalid, &["Config::server_name"]);
    // Whatever the system says of it.
    for unnamed in ["127.0.0.1:none", ":8080", "a.invalid:1"] {
        // For Windows this is the machine itself.
        if cfg!(windows) && unnamed == ":8080" {
            continue;
        }
        let error = server().bind(unnamed).start().expect_err("no address");
        assert!(error.to_string().contains(unnamed), "{error}");
    }
    let none: &[SocketAddr] = &[];
    assert_message(server().bind(none).start(), ErrorKind::NotFound, &["[]"]);
    let many = (0..4097).fold(server(), |server, _| server.bind("127.0.0.1:0"));
    assert_message(many.start(), invalid, &["4096 listeners"]);
}

/// Each setting that is refused names itself and its value, by a type.
#[test]
fn a_refused_setting_is_a_config_error() {
    let config = Config::default;
    let cases = [
        (
            config().workers(0),
            "Config::workers is 0, and must be from 1 to 4096",
        ),
        (
            config().workers(4097),
            "Config::workers is 4097, and must be from 1 to 4096",
        ),
        (
            config().accept_threads(AcceptThreads::Dedicated(0)),
            "Config::accept_threads is 0, and must be from 1 to 4096",
        ),
        (
            config().connections(0),
            "Config::connections is 0, and must be at least 1",
        ),
        (
            config().stack_size(1),
            "Config::stack_size is 1, and must be from 131072 to 1073741824",
        ),
        (
            config().server_name("a\nb"),
            r#"Config::server_name has "a\nb", which has other characters than visible ASCII and spaces"#,
        ),
        (
            config().allowed_hosts(["a", "b c"]),
            r#"Config::allowed_hosts has "b c", which is not a host"#,
        ),
    ];
    for (config, text) in cases {
        let server = Server::from_fn(path).config(config).bind("127.0.0.1:0");
        let error = server.start().expect_err("an invalid setting");
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{text}");
        let error = error.downcast::<ConfigError>().expect("of a setting");
        assert_eq!(error.to_string(), text);
        assert!(text.starts_with(error.setting().expect("of one setting")));
    }
    let error = Server::from_fn(path).start().expect_err("no address");
    let error = error.downcast::<ConfigError>().expect("of a setting");
    assert_eq!((error.setting(), error), (None, ConfigError::NoAddress));
}

// --------------------------------------------------------------------------------- balance

#[test]
fn idle_connections_are_spread_evenly() {
    for balance in [Balance::LeastConnections, Balance::RoundRobin] {
        let config = threads(4, acceptors(1)).balance(balance);
        let (server, addr) = start(from_fn(path), config);
        let clients: Vec<_> = (0..40).map(|_| Client::connect(addr)).collect();
        wait_until("all are accepted", || server.counters().accepted == 40);
        let accepted = server
            .worker_counters()
            .iter()
            .map(|c| c.accepted)
            .collect::<Vec<_>>();
        assert_eq!(accepted, [10; 4], "{balance:?}");
        drop(clients);
    }
}

/// The fewest open ones count, not the fewest ever.
#[test]
fn closed_connections_leave_room_for_others() {
    let (server, addr) = start(from_fn(path), threads(2, acceptors(1)));
    let mut kept = Vec::new();
    for i in 0..20 {
        let client = Client::connect(addr);
        wait_until("it is accepted", || server.counters().accepted == i + 1);
        // Every second one goes to the second worker, and goes away at once.
        if i % 2 == 0 {
            kept.push(client);
        } else {
            drop(client);
            wait_until("it is closed", || server.counters().closed == i.div_ceil(2));
        }
        let open: Vec<_> = server.worker_counters();
        let open = open
            .iter()
            .map(|c| c.accepted - c.closed)
            .collect::<Vec<_>>();
        assert!(open[0].abs_diff(open[1]) <= 1, "{open:?} after {i}");
    }
}
