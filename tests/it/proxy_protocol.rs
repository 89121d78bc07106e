//! The PROXY protocol over sockets: who may send a header, when it has to be complete, and what it changes.

use super::connections::THREADS;
use super::proxies::connect_from;
use super::support::{Asked, Client, acceptors, ended, own_addr, wait_until, workers};
use peregrine::server::Running;
use peregrine::{Config, Done, Request, Response, Server, from_fn};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

/// A balancer that may send headers, and a host that may not.
const BALANCER: [u8; 4] = [127, 0, 0, 9];
const OTHER: [u8; 4] = [127, 0, 0, 10];

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const LINE: &str = "PROXY TCP4 192.0.2.1 192.0.2.9 56324 443\r\n";

fn config((count, accept_threads): (usize, usize)) -> Config {
    workers(count)
        .accept_threads(acceptors(accept_threads))
        .trusted_proxies(["127.0.0.9".parse().expect("a network")])
        .proxy_header_timeout(super::support::NEVER)
}

/// The client, the other end of the socket, the scheme, and what the header says of the destination.
fn tell(req: &Request<'_>, res: Response<'_>) -> Done {
    let shown = |addr: Option<SocketAddr>| addr.map_or("none".to_owned(), |addr| addr.to_string());
    let header = req.proxy_header();
    let destination = header.and_then(|header| header.addrs).map(|(_, to)| to);
    let peer = req.peer_addr().map(|peer| peer.ip().to_string());
    let client = match req.client_addr() == req.peer_addr() {
        true => "peer".to_owned(),
        false => shown(req.client_addr()),
    };
    let (peer, to) = (peer.as_deref().unwrap_or("none"), shown(destination));
    res.text(format!("{client} {peer} {} {to}", req.scheme()))
}

fn start(config: Config) -> (Running, SocketAddr) {
    let server = Server::new(from_fn(tell)).config(config);
    let server = server.bind(own_addr()).proxy_protocol();
    let running = server.start().expect("a server");
    let addr = running.local_addr().expect("a TCP address");
    (running, addr)
}

/// A header of version 2 with this command, family and block.
fn binary(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let len = (block.len() as u16).to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &len, block].concat()
}

fn headers() -> Vec<(Vec<u8>, &'static str)> {
    let v4 = [192, 0, 2, 1, 192, 0, 2, 9, 0xdc, 0x04, 0x01, 0xbb];
    let tls = [&v4[..], &[0x20, 0, 5, 1, 0, 0, 0, 0]].concat();
    vec![
        (LINE.into(), "192.0.2.1:56324 127.0.0.9 http 192.0.2.9:443"),
        (
            b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n".into(),
            "[2001:db8::1]:1 127.0.0.9 http [::1]:2",
        ),
        (b"PROXY UNKNOWN\r\n".into(), "peer 127.0.0.9 http none"),
        (
            b"PROXY UNKNOWN a b c\r\n".into(),
            "peer 127.0.0.9 http none",
        ),
        (
            binary(0x21, 0x11, &v4),
            "192.0.2.1:56324 127.0.0.9 http 192.0.2.9:443",
        ),
        (
            binary(0x21, 0x11, &tls),
            "192.0.2.1:56324 127.0.0.9 https 192.0.2.9:443",
        ),
        (binary(0x20, 0x11, &v4), "peer 127.0.0.9 http none"),
        (binary(0x20, 0, &[]), "peer 127.0.0.9 http none"),
        (binary(0x21, 0x31, &[0; 216]), "peer 127.0.0.9 http none"),
        (
            binary(0x21, 0, &[0x04, 0, 1, 0]),
            "peer 127.0.0.9 http none",
        ),
    ]
}

/// With the request behind it, alone, and byte by byte.
#[test]
fn headers_say_who_the_client_is() {
    for threads in THREADS {
        let (server, addr) = start(config(threads));
        let mut count = 0;
        for (header, seen) in headers() {
            let whole = [&header[..], GET.as_bytes()].concat();
            let pieces: [Vec<&[u8]>; 3] = [
                vec![&whole],
                vec![&header, GET.as_bytes()],
                whole.chunks(1).collect(),
            ];
            for pieces in pieces {
                let mut client = connect_from(BALANCER, addr);
                pieces.iter().for_each(|piece| client.send(piece));
                for _ in 0..2 {
                    assert_eq!(
                        client.answer(Asked::Other).text(),
                        seen,
                        "{}",
                        header.escape_ascii()
                    );
                    client.send(GET);
                }
                assert_eq!(client.answer(Asked::Other).text(), seen);
                count += 1;
            }
        }
        let counters = server.counters();
        assert_eq!((counters.accepted, counters.proxy_refused), (count, 0));
    }
}

/// The connection ends without a response, by an end or a reset.
#[track_caller]
fn expect_closed(client: &mut Client) {
    match client.try_answer(Asked::Other) {
        Ok(None) => {}
        other => panic!("not closed: {other:?}"),
    }
}

/// Sends what it can: the server may have closed already.
fn try_send(client: &mut Client, bytes: &[u8]) {
    use std::io::Write;
    if let Err(error) = client.stream.write_all(bytes) {
        let kind = error.kind();
        assert!(
            matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
            "{error}"
        );
    }
}

#[test]
fn connections_without_a_valid_header_are_closed() {
    for threads in THREADS {
        let (server, addr) = start(config(threads));
        let bad: [&[u8]; 6] = [
            GET.as_bytes(),
            b"PROXY TCP4 192.0.2.1 192.0.2.9 056324 443\r\n",
            b"PROXY UNKNOWN\n",
            b"\r\n\r\n\0\r\nQUIT\n\x11\x11\0\0",
            b"\x16\x03\x01",
            b"proxy",
        ];
        for bytes in bad {
            let mut client = connect_from(BALANCER, addr);
            try_send(&mut client, bytes);
            expect_closed(&mut client);
        }
        // It closes before its header is complete.
        let mut half = connect_from(BALANCER, addr);
        half.send("PROXY TCP4 192.");
        half.stream
            .shutdown(std::net::Shutdown::Write)
            .expect("open");
        expect_closed(&mut half);
        // One that is not trusted, whatever it sends.
        for bytes in [GET, LINE, ""] {
            let mut client = connect_from(OTHER, addr);
            try_send(&mut client, bytes.as_bytes());
            expect_closed(&mut client);
        }
        let counters = server.counters();
        assert_eq!((counters.accepted, counters.proxy_refused), (0, 10));
        // The places of all of them are free.
        let mut client = connect_from(BALANCER, addr);
        client.send(format!("{LINE}{GET}"));
        assert_eq!(client.answer(Asked::Other).status, 200);
    }
}

/// A connection whose header has not come is closed. Others go on.
#[test]
fn a_header_has_so_much_time() {
    for threads in THREADS {
        let config = config(threads).proxy_header_timeout(Duration::ZERO);
        let (server, addr) = start(config);
        for sent in ["", "PROXY TCP4 192."] {
            let mut late = connect_from(BALANCER, addr);
            try_send(&mut late, sent.as_bytes());
            expect_closed(&mut late);
        }
        assert_eq!(server.counters().proxy_refused, 2);
    }
}

/// The limit per address counts clients, and not their balancer.
#[test]
fn the_limit_per_address_counts_clients() {
    for threads in THREADS {
        let (_server, addr) = start(config(threads).connections_per_address(2));
        let connect = |client: &str| {
            let mut balancer = connect_from(BALANCER, addr);
            balancer.send(format!("PROXY TCP4 {client} 192.0.2.9 1 2\r\n{GET}"));
            let answer = balancer.try_answer(Asked::Other).ok().flatten();
            answer
                .filter(|answer| answer.status == 200)
                .map(|_| balancer)
        };
        let mut clients = [connect("192.0.2.1"), connect("192.0.2.1")];
        assert!(clients.iter().all(Option::is_some));
        for _ in 0..5 {
            assert!(connect("192.0.2.1").is_none(), "one too many");
        }
        let others: Vec<_> = (2..20).map(|n| connect(&format!("192.0.2.{n}"))).collect();
        assert!(others.iter().all(Option::is_some), "other clients");
        clients[0] = None;
        wait_until("its place is free", || {
            clients[0] = connect("192.0.2.1");
            clients[0].is_some()
        });
    }
}

/// The header and `X-Forwarded-For`: a client that is no proxy is not believed.
#[test]
fn fields_are_believed_if_the_client_of_the_balancer_is_a_proxy() {
    let config = config(THREADS[0])
        .forwarded(peregrine::config::ForwardedFields::X {
            proto: false,
            host: false,
        })
        .trusted_proxies(
            ["127.0.0.9", "10.0.0.0/8"].map(|network| network.parse().expect(network)),
        );
    let (_server, addr) = start(config);
    for (client, seen) in [("192.0.2.1", "192.0.2.1:1 "), ("10.0.0.1", "6.6.6.6:0 ")] {
        let mut balancer = connect_from(BALANCER, addr);
        balancer.send(format!("PROXY TCP4 {client} 192.0.2.9 1 2\r\n"));
        balancer.send("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n");
        let answer = balancer.answer(Asked::Other);
        assert!(
            answer.text().starts_with(seen),
            "{client}: {}",
            answer.text()
        );
    }
}

/// Over a Unix socket HAProxy does not know the address of its client, and sends these. The bytes behind are of that client.
#[test]
fn no_field_is_believed_if_the_balancer_does_not_tell_its_client() {
    let x = peregrine::config::ForwardedFields::X {
        proto: true,
        host: true,
    };
    for fields in [x, peregrine::config::ForwardedFields::Forwarded] {
        let (_server, addr) = start(config(THREADS[0]).forwarded(fields));
        let headers = [
            b"PROXY UNKNOWN\r\n".to_vec(),
            binary(0x20, 0, &[]),
            binary(0x21, 0, &[]),
            binary(0x21, 0x31, &[b'a'; 216]),
        ];
        for header in headers {
            let mut balancer = connect_from(BALANCER, addr);
            balancer.send(&header);
            balancer.send(
                "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n\
                 Forwarded: for=6.6.6.6;proto=https\r\n\r\n",
            );
            let answer = balancer.answer(Asked::Other);
            let seen = "peer 127.0.0.9 http none";
            assert_eq!(answer.text(), seen, "{}", header.escape_ascii());
        }
    }
}

/// Only the address of the call before has headers.
#[test]
fn other_addresses_have_no_headers() {
    let server = Server::new(from_fn(tell)).config(config(THREADS[1]));
    let server = server.bind(own_addr()).proxy_protocol().bind(own_addr());
    let running = server.start().expect("a server");
    let addrs: Vec<_> = running.local_addrs().to_vec();
    let [with, without] = [&addrs[0], &addrs[1]].map(|addr| match addr {
        peregrine::server::ListenAddr::Tcp(addr) => *addr,
        other => panic!("{other}"),
    });
    let mut client = connect_from(BALANCER, without);
    client.send(GET);
    assert_eq!(
        client.answer(Asked::Other).text(),
        "peer 127.0.0.9 http none"
    );
    let mut client = connect_from(BALANCER, without);
    client.send(LINE);
    assert_eq!(client.answer(Asked::Other).status, 400, "it is no request");
    let mut client = connect_from(BALANCER, with);
    try_send(&mut client, GET.as_bytes());
    expect_closed(&mut client);
}

#[test]
fn a_server_without_an_address_does_not_start() {
    let server = Server::new(from_fn(tell)).proxy_protocol().bind(own_addr());
    let error = server.start().expect_err("no address before it");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("proxy_protocol"), "{error}");
}

/// Connections without a complete header do not delay a stop, and are closed by it.
#[test]
fn a_stop_closes_connections_without_a_header() {
    for threads in THREADS {
        let (server, addr) = start(config(threads));
        let mut half = connect_from(BALANCER, addr);
        half.send("PROXY TCP4 192.");
        let mut whole = connect_from(BALANCER, addr);
        whole.send(format!("{LINE}{GET}"));
        assert_eq!(whole.answer(Asked::Other).status, 200);
        drop(whole);
        server.stop();
        ended(server);
        expect_closed(&mut half);
    }
}

#[cfg(unix)]
#[test]
fn unix_sockets_have_headers() {
    let folder = super::scratch::Scratch::new();
    let path = folder.path("socket");
    let server = Server::new(from_fn(tell)).config(config(THREADS[0]));
    let server = server.bind_unix(&path).proxy_protocol().start();
    let _server = server.expect("a server");
    let stream = std::os::unix::net::UnixStream::connect(&path).expect("a connection");
    let mut client = Client::over(stream);
    client.send(format!("{LINE}{GET}"));
    let seen = "192.0.2.1:56324 none http 192.0.2.9:443";
    assert_eq!(client.answer(Asked::Other).text(), seen);
}

/// TLS begins behind the header.
#[cfg(feature = "tls-self-signed")]
#[test]
fn tls_begins_behind_the_header() {
    use super::tls::client::{client_config, over};
    use peregrine::Tls;

    let config_of_client = std::sync::Arc::new(client_config());
    let tls = Tls::self_signed(&["localhost"]).expect("a certificate");
    for threads in THREADS {
        let server = Server::new(from_fn(tell)).config(config(threads));
        let server = server.bind_tls(own_addr(), tls.clone()).proxy_protocol();
        let running = server.start().expect("a server");
        let addr = running.local_addr().expect("TCP");
        for pieces in [1, 7, 1000] {
            let mut stream = super::places::tcp_from(BALANCER, addr);
            for piece in LINE.as_bytes().chunks(pieces) {
                std::io::Write::write_all(&mut stream, piece).expect("sent");
            }
            let mut client = over(stream, &config_of_client, "localhost");
            client.send(GET);
            let seen = "192.0.2.1:56324 127.0.0.9 https 192.0.2.9:443";
            assert_eq!(client.answer(Asked::Other).text(), seen);
        }
        let mut client = connect_from(BALANCER, addr);
        try_send(&mut client, b"\x16\x03\x01\x02\0\x01");
        expect_closed(&mut client);
    }
}

/// A WebSocket has the client of its balancer.
#[cfg(feature = "websocket")]
#[test]
fn websockets_have_the_client_of_the_balancer() {
    let server = Server::new(super::proxies::Tells)
        .websocket()
        .config(config(THREADS[0]));
    let server = server.bind(own_addr()).proxy_protocol().start();
    let server = server.expect("a server");
    let mut client = connect_from(BALANCER, server.local_addr().expect("TCP"));
    client.send(LINE);
    super::proxies::expect_told(&mut client, "", "192.0.2.1 127.0.0.9");
}
