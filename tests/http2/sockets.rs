//! Over sockets, with HTTP/1 beside it.

use super::LONG;
use super::client::Client;
use peregrine::config::Http2;
use peregrine::metrics::Stats;
use peregrine::server::ListenAddr;
use peregrine::{Config, Server, from_fn};
use peregrine_protocol::h2::frame::{Frame, MAX_PAYLOAD, PREFACE, write};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

/// What the server sends to these bytes, until it closes.
pub(crate) fn exchange(addr: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(addr).expect("a connection");
    socket.set_read_timeout(Some(LONG)).expect("a timeout");
    socket.write_all(bytes).expect("the server reads");
    let mut all = Vec::new();
    socket.read_to_end(&mut all).expect("the server closes");
    all
}

const HTTP1: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

#[test]
fn listeners_speak_what_they_are_set_to() {
    let app = from_fn(|req, res| res.text(req.version().to_string()));
    let server = Server::new(app)
        .config(Config::default().workers(1))
        .bind("127.0.0.1:0")
        .bind("127.0.0.1:0")
        .http2(Http2::Only)
        .bind("127.0.0.1:0")
        .http2(Http2::Off)
        .start()
        .expect("a server");
    let tcp = |addr: &ListenAddr| match addr {
        ListenAddr::Tcp(addr) => *addr,
        other => panic!("{other:?}"),
    };
    let addrs: Vec<_> = server.local_addrs().iter().map(tcp).collect();
    let [on, only, off] = addrs.try_into().expect("three");
    assert!(exchange(on, HTTP1).ends_with(b"HTTP/1.1"));
    assert!(exchange(off, HTTP1).ends_with(b"HTTP/1.1"));
    for addr in [on, only] {
        let mut client = Client::connect(addr);
        let stream = client.get("/");
        assert_eq!(client.body(stream), b"HTTP/2.0");
    }
    // SETTINGS, and then GOAWAY.
    let refused = exchange(only, HTTP1);
    assert!(!refused.starts_with(b"HTTP"));
    let text = b"the client preface is missing";
    assert!(refused.ends_with(text), "{refused:?}");
    assert!(exchange(off, PREFACE).starts_with(b"HTTP/1.1 400 "));
    drop(server);
}

/// Frames of the largest size, on three streams at once, in writes of any size: all bytes arrive, in order.
#[test]
fn large_frames_in_any_pieces() {
    let app = from_fn(|req, res| res.send(req.body().to_vec()));
    let server = Server::new(app).config(Config::default().workers(1));
    let server = server.bind("127.0.0.1:0").start().expect("a server");
    let addr = server.local_addr().expect("an address");
    let byte = |stream: u32, at: usize| (at / 251 + at + stream as usize) as u8;
    let body = |stream| -> Vec<u8> { (0..65_535).map(|at| byte(stream, at)).collect() };
    for size in [
        9, 1000, 8191, 16_383, 16_384, 16_393, 40_000, 70_000, 300_000,
    ] {
        let mut client = Client::connect(addr);
        client.open(1 << 20);
        let (mut bytes, mut streams) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let (stream, head) = client.head("POST", "/", false);
            bytes.extend_from_slice(&head);
            streams.push((stream, body(stream)));
        }
        for at in (0..65_535).step_by(MAX_PAYLOAD) {
            for (stream, body) in &streams {
                let end = body.len().min(at + MAX_PAYLOAD);
                let is_last = end == body.len();
                write::data(end - at, is_last, *stream, &mut bytes);
                bytes.extend_from_slice(&body[at..end]);
            }
        }
        for piece in bytes.chunks(size) {
            client.send(piece);
        }
        let mut received = [Vec::new(), Vec::new(), Vec::new()];
        let mut ends = 0;
        while ends < 3 {
            let (frame, payload) = client.frame().expect("a response");
            if let Frame::Data {
                stream,
                data,
                end_stream,
                ..
            } = frame
            {
                received[stream as usize / 2].extend_from_slice(&payload[data]);
                ends += usize::from(end_stream);
            }
        }
        for ((stream, body), received) in streams.iter().zip(received) {
            assert!(received == *body, "stream {stream}, writes of {size}");
        }
    }
}

/// Behind a PROXY header, in one write with it or not, both versions are spoken.
#[test]
fn a_proxy_header_comes_before_the_preface() {
    const LINE: &[u8] = b"PROXY TCP4 192.0.2.1 192.0.2.9 56324 443\r\n";
    for mode in [Http2::On, Http2::Only] {
        let app = from_fn(|req, res| match req.client_addr() {
            Some(client) => res.text(format!("{client} {}", req.version())),
            None => res.text("none"),
        });
        let proxies = ["127.0.0.1".parse().expect("a network")];
        let config = Config::default().workers(1).trusted_proxies(proxies);
        let server = Server::new(app).config(config).bind("127.0.0.1:0");
        let server = server.proxy_protocol().http2(mode);
        let server = server.start().expect("a server");
        let addr = server.local_addr().expect("an address");
        let mut client = Client::behind(addr, LINE);
        for _ in 0..2 {
            let stream = client.get("/");
            assert_eq!(client.body(stream), b"192.0.2.1:56324 HTTP/2.0", "{mode:?}");
        }
        if mode == Http2::On {
            let seen = exchange(addr, &[LINE, HTTP1].concat());
            assert!(seen.ends_with(b"192.0.2.1:56324 HTTP/1.1"));
        }
    }
}

/// Long before a drain is over, the first connections get GOAWAY, and all requests that have come are answered.
#[test]
fn a_drain_ends_connections_one_after_the_other() {
    let delay = std::time::Duration::from_secs(90);
    let app = from_fn(|_, res| res.text("hi"));
    let config = Config::default().workers(1).drain_delay(delay);
    let server = Server::new(app).config(config).bind("127.0.0.1:0");
    let server = server.start().expect("a server");
    let addr = server.local_addr().expect("an address");
    let mut clients: Vec<_> = (0..200).map(|_| Client::connect(addr)).collect();
    for client in &mut clients {
        let stream = client.get("/");
        assert_eq!(client.body(stream), b"hi");
    }
    server.drain();
    let from = std::time::Instant::now();
    let mut told = 0;
    while told == 0 {
        assert!(from.elapsed() < delay, "none is told");
        clients.retain_mut(|client| {
            let stream = client.get("/");
            let (mut last, mut is_over) = (None, false);
            loop {
                match client.frame() {
                    Some((Frame::GoAway { last: stream, .. }, _)) => last = Some(stream),
                    Some((Frame::Data { stream: of, .. }, _)) if of == stream => break,
                    Some(_) => {}
                    // A stream behind the last one gets no response, and is not lost: the client knows.
                    None => {
                        assert!(last.is_none_or(|last| last < stream), "{last:?}");
                        is_over = true;
                        break;
                    }
                }
            }
            told += usize::from(last.is_some());
            last.is_none() && !is_over
        });
    }
    assert!(!clients.is_empty(), "not all at once");
    let mut other = Client::connect(addr);
    let stream = other.get("/");
    assert_eq!(other.body(stream), b"hi");
    server.stop();
    drop((clients, other, server));
}

#[test]
fn a_stop_ends_connections_of_both_versions() {
    let app = from_fn(|_, res| res.text("fine"));
    let stats = Stats::new();
    let server = Server::new(app).stats(&stats).bind("127.0.0.1:0");
    let server = server.start().expect("a server");
    let addr = server.local_addr().expect("an address");
    let mut clients = [(); 4].map(|()| Client::connect(addr));
    for client in &mut clients {
        for _ in 0..100 {
            let stream = client.get("/");
            assert_eq!(client.body(stream), b"fine");
        }
    }
    let mut http1 = TcpStream::connect(addr).expect("a connection");
    http1.set_read_timeout(Some(LONG)).expect("a timeout");
    let get = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    http1.write_all(get).expect("the server reads");
    let mut seen = Vec::new();
    while !seen.ends_with(b"fine") {
        let mut byte = [0];
        http1.read_exact(&mut byte).expect("a response");
        seen.extend_from_slice(&byte);
    }
    server.stop();
    assert_eq!(http1.read(&mut [0]).expect("no reset"), 0);
    for client in &mut clients {
        let mut goaways = Vec::new();
        while let Some((frame, _)) = client.frame() {
            if let Frame::GoAway { last, code } = frame {
                goaways.push((last, code.0));
            }
        }
        assert_eq!(goaways, [((1 << 31) - 1, 0), (199, 0)]);
    }
    drop((clients, http1));
    let stopped = server.wait().expect("no thread failed");
    assert_eq!(stopped.aborted, 0);
    let counters = stats.counters();
    assert_eq!(
        (counters.http2_connections, counters.http2_requests),
        (4, 400)
    );
    assert_eq!((counters.accepted, counters.closed), (5, 5));
}
