//! Requests over HTTP/3, and clients that move.

use super::client::{Client, Settings};
use super::{address, hello, tls};
use peregrine::config::Http3;
use peregrine::{Config, Server};
use quinn_proto::{ConnectionError, TransportErrorCode};
use std::net::UdpSocket;

#[test]
fn a_request_over_a_socket() {
    for mode in [Http3::On, Http3::Only] {
        let server = Server::from_fn(|req, res| {
            let (peer, tls) = (req.peer_addr().expect("an address"), req.tls());
            let name = tls.as_ref().and_then(|tls| tls.server_name());
            let name = name.unwrap_or_default();
            res.text(format!("{} {} {peer}", req.version(), name))
        })
        .bind_tls("127.0.0.1:0", tls())
        .http3(mode)
        .start()
        .expect("a server");
        let mut client = Client::connect(address(&server));
        let response = client.get("/");
        let local = client.socket.local_addr().expect("bound");
        assert_eq!(response.status, 200);
        assert_eq!(response.text(), format!("HTTP/3.0 localhost {local}"));
        client.close();
    }
}

#[path = "../it/support/kinds.rs"]
mod kinds;

/// A response that was prepared is the response from which it was made, but for the time in `Date`.
#[test]
fn prepared_responses_of_each_kind() {
    let server = Server::new(kinds::app(|res| res.header("vary", "y")));
    let server = server.config(Config::default().workers(1));
    let server = server.bind_tls("127.0.0.1:0", tls()).http3(Http3::On);
    let server = server.start().expect("a server");
    let mut client = Client::connect(address(&server));
    for (kind, _) in kinds::KINDS.iter().filter(|kind| kind.0 != "close") {
        for method in ["GET", "HEAD"] {
            let mut ask = |way| {
                let id = client.ask(method, &format!("/{way}/{kind}"), true);
                let response = client.response(id);
                let fields = response
                    .fields
                    .into_iter()
                    .filter(|field| field.0 != "date");
                (response.status, fields.collect::<Vec<_>>(), response.body)
            };
            let expected = ask("direct");
            assert_eq!(ask("prepared"), expected, "{method} {kind}");
            assert_eq!(ask("later"), expected, "{method} {kind}");
        }
    }
    client.close();
}

/// As over TCP, handlers see the IPv4 address of a client that has come to a listener for IPv6.
#[test]
fn an_ipv4_client_of_a_listener_for_both() {
    if UdpSocket::bind("[::1]:0").is_err() {
        return;
    }
    let server = Server::from_fn(|req, res| {
        let local = req.local_addr().map(|addr| addr.ip());
        res.text(format!("{:?} {:?}", req.peer_addr(), local))
    });
    let server = server.bind_tls("[::]:0", tls()).start().expect("a server");
    let mut client = Client::connect(([127, 0, 0, 1], address(&server).port()).into());
    let seen = client.get("/");
    let peer = client.socket.local_addr().expect("bound");
    let local = "127.0.0.1".parse::<std::net::IpAddr>().ok();
    assert_eq!(seen.text(), format!("{:?} {local:?}", Some(peer)));
    client.close();
}

#[test]
fn without_http3_there_is_no_socket() {
    let is_free = |mode| {
        let server = Server::from_fn(|_, res| res.text("hello"))
            .bind_tls("127.0.0.1:0", tls())
            .http3(mode)
            .start()
            .expect("a server");
        UdpSocket::bind(address(&server)).is_ok()
    };
    // Another program may have a port by chance, but not each of them.
    assert!((0..8).any(|_| is_free(Http3::Off)));
    assert!((0..8).all(|_| !is_free(Http3::On)));
}

#[test]
fn a_client_has_to_choose_http3() {
    let server = hello(Config::default());
    for alpn in [vec![b"h2".to_vec()], Vec::new()] {
        let settings = Settings {
            alpn,
            ..Settings::default()
        };
        // The alert `no_application_protocol` (RFC 9001 section 8.1).
        match Client::new(address(&server), settings).end() {
            ConnectionError::ConnectionClosed(close) => {
                assert_eq!(close.error_code, TransportErrorCode::crypto(120));
            }
            other => panic!("{other}"),
        }
    }
}

#[test]
fn a_panic_ends_one_request() {
    let server = Server::from_fn(|req, res| match req.path() {
        "/panic" => panic!("on purpose"),
        _ => res.text("hello"),
    });
    let server = server.bind_tls("127.0.0.1:0", tls()).start();
    let server = server.expect("a server");
    let mut client = Client::connect(address(&server));
    for _ in 0..3 {
        assert_eq!(client.get("/panic").status, 500);
        assert_eq!(client.get("/").text(), "hello");
    }
    client.close();
}

/// Each address may be that of another worker, to which the system gives the datagrams.
#[test]
fn a_client_moves_between_workers() {
    let server = Server::from_fn(|req, res| res.text(req.peer_addr().expect("one").to_string()))
        .config(Config::default().workers(4))
        .bind_tls("127.0.0.1:0", tls())
        .start()
        .expect("a server");
    let mut client = Client::connect(address(&server));
    let first = client.socket.local_addr().expect("bound").to_string();
    for _ in 0..8 {
        // It stays the address of the handshake: a new one is not validated at once.
        assert_eq!(client.get("/").text(), first);
        client.move_to("127.0.0.1:0");
    }
    client.close();
}
