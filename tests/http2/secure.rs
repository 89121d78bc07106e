//! Listeners that speak HTTP/2 alone, where TLS is to be used.

#[allow(dead_code, reason = "clients here have no certificate")]
#[path = "../it/support/trusting.rs"]
mod trusting;

use super::LONG;
use super::sockets::exchange;
use peregrine::config::Http2;
use peregrine::{Config, Server, Tls, from_fn};
use peregrine_protocol::h2::frame::{PREFACE, write};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const HTTP1: &[u8] = b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// The preface, SETTINGS, and GET of `/` in indexes of HPACK.
fn get() -> Vec<u8> {
    let mut bytes = PREFACE.to_vec();
    write::settings(&[], &mut bytes);
    bytes.extend_from_slice(b"\0\0\x06\x01\x05\0\0\0\x01\x82\x87\x84\x41\x01a");
    bytes
}

/// What the server sends to these bytes over TLS, until it closes or `has_all` is true.
fn exchange_tls(
    addr: SocketAddr,
    protocols: &[&str],
    bytes: &[u8],
    has_all: impl Fn(&[u8]) -> bool,
) -> Vec<u8> {
    let mut config = trusting::client_config();
    config.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().into())
        .collect();
    let name = ServerName::try_from("localhost").expect("a name");
    let client = ClientConnection::new(Arc::new(config), name).expect("a client");
    let socket = TcpStream::connect(addr).expect("a connection");
    socket.set_read_timeout(Some(LONG)).expect("a timeout");
    let mut stream = StreamOwned::new(client, socket);
    stream.write_all(bytes).expect("the server reads");
    let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
    while !has_all(&all) {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => all.extend_from_slice(&buffer[..n]),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => break,
            Err(error) => panic!("{error}"),
        }
    }
    all
}

#[test]
fn http2_alone_serves_no_request_without_tls() {
    let calls = Arc::new(AtomicUsize::new(0));
    let called = calls.clone();
    let app = from_fn(move |req, res| {
        called.fetch_add(1, Ordering::SeqCst);
        res.text(format!("{} {}", req.version(), req.is_secure()))
    });
    let tls = Tls::self_signed(&["localhost"]).expect("a certificate");
    let server = Server::new(app)
        .config(Config::default().workers(1).http2(Http2::Only))
        .bind_tls("127.0.0.1:0", tls.clone())
        .redirect_to_https("127.0.0.1:0")
        .start()
        .expect("a server");
    let addrs: Vec<SocketAddr> = server
        .local_addrs()
        .iter()
        .filter_map(|addr| addr.to_string().rsplit_once('/')?.1.parse().ok())
        .collect();
    let [https, http] = addrs[..] else {
        panic!("{addrs:?}");
    };
    for addr in [https, http] {
        let refused = exchange(addr, &get());
        assert!(refused.starts_with(b"HTTP/1.1 400 "), "{refused:?}");
        let redirected = exchange(addr, HTTP1);
        assert!(redirected.starts_with(b"HTTP/1.1 308 "), "{redirected:?}");
    }
    assert_eq!(calls.load(Ordering::SeqCst), 0);

    let body = b"HTTP/2.0 true";
    let has_body = |all: &[u8]| all.windows(body.len()).any(|part| part == body);
    assert!(has_body(&exchange_tls(https, &[], &get(), has_body)));
    let refused = exchange_tls(https, &[], HTTP1, |_| false);
    assert!(refused.ends_with(b"the client preface is missing"));
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    drop(server);

    let tls = Tls::self_signed(&["localhost"]).expect("a certificate");
    let server = Server::new(from_fn(|_, res| res.text("never")))
        .bind_tls("127.0.0.1:0", tls)
        .http2(Http2::Only)
        .start()
        .expect("a server");
    let addr = server.local_addr().expect("an address");
    let refused = exchange(addr, &get());
    assert!(refused.starts_with(b"HTTP/1.1 400 "), "{refused:?}");
    drop(server);
}

/// RFC 9113 sections 3.2 and 3.4: after `h2` in ALPN the client has to begin with the preface.
#[test]
fn a_client_that_has_chosen_http2_cannot_speak_http1() {
    let tls = Tls::self_signed(&["localhost"]).expect("a certificate");
    let server = Server::new(from_fn(|req, res| res.text(req.version().to_string())))
        .bind_tls("127.0.0.1:0", tls)
        .start()
        .expect("a server");
    let addr = server.local_addr().expect("an address");
    let has =
        |text: &'static [u8]| move |all: &[u8]| all.windows(text.len()).any(|part| part == text);
    for protocols in [&["h2"][..], &["http/1.1", "h2"]] {
        let response = exchange_tls(addr, protocols, &get(), has(b"HTTP/2.0"));
        assert!(has(b"HTTP/2.0")(&response), "{protocols:?}");
        let refused = exchange_tls(addr, protocols, HTTP1, |_| false);
        assert!(
            refused.ends_with(b"the client preface is missing"),
            "{protocols:?}"
        );
    }
    for protocols in [&[][..], &["http/1.1"], &["http/1.0"]] {
        let response = exchange_tls(addr, protocols, HTTP1, |_| false);
        assert!(response.ends_with(b"HTTP/1.1"), "{protocols:?}");
    }
    drop(server);
}

/// RFC 7838: the responses of both versions say where HTTP/3 is, if it is there.
#[cfg(feature = "http3")]
#[test]
fn responses_over_tls_say_where_http3_is() {
    use peregrine::config::Http3;
    let own = "127.0.0.1:0";
    let tls = || Tls::self_signed(&["localhost"]).expect("a certificate");
    let server = Server::from_fn(|_, res| res.text("fine")).bind_tls(own, tls());
    let server = server.bind_tls(own, tls()).http3(Http3::Off).bind(own);
    let running = server.start().expect("a server");
    let addrs: Vec<SocketAddr> = running
        .local_addrs()
        .iter()
        .filter_map(|addr| addr.to_string().rsplit_once('/')?.1.parse().ok())
        .collect();
    assert_eq!(addrs.len(), 3, "{addrs:?}");
    let values = addrs
        .iter()
        .map(|addr| format!("h3=\":{}\"; ma=86400", addr.port()));
    for (at, (addr, value)) in addrs.iter().zip(values).enumerate() {
        if at < 2 {
            let answer = exchange_tls(*addr, &["http/1.1"], HTTP1, |_| false);
            let answer = String::from_utf8_lossy(&answer).into_owned();
            let field = format!("\r\nAlt-Svc: {value}\r\n");
            assert_eq!(answer.contains(&field), at == 0, "{answer}");
            let has_fields = |all: &[u8]| !fields_of(all).is_empty();
            let answer = exchange_tls(*addr, &["h2"], &get(), has_fields);
            let fields = fields_of(&answer);
            let field = format!("alt-svc{value}");
            let fields = String::from_utf8_lossy(&fields).into_owned();
            assert_eq!(fields.contains(&field), at == 0, "{fields}");
        } else {
            let answer = exchange(*addr, HTTP1);
            let answer = String::from_utf8_lossy(&answer).into_owned();
            assert!(answer.ends_with("fine") && !answer.contains("Alt-Svc"));
        }
    }
    running.stop();
}

/// The fields of the first HEADERS frame, names and values in a row.
#[cfg(feature = "http3")]
fn fields_of(mut bytes: &[u8]) -> Vec<u8> {
    use peregrine_protocol::h2::frame::{FrameHeader, HEADER};
    use peregrine_protocol::hpack::Decoder;
    let mut fields = Vec::new();
    while let Some(first) = bytes.first_chunk::<HEADER>() {
        let header = FrameHeader::parse(first);
        let Some(payload) = bytes.get(HEADER..HEADER + header.len) else {
            break;
        };
        if first[3] == 1 {
            let decoded = Decoder::new().decode(payload, 1 << 16, &mut fields, |_, _| {});
            decoded.expect("a field block");
            break;
        }
        bytes = &bytes[HEADER + header.len..];
    }
    fields
}
