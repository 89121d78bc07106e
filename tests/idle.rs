//! What an idle connection takes of the server's memory, counted in the server's threads by the
//! allocator of this program. `benches/idle` asks the system the same for ten thousand of them.
#![cfg(feature = "websocket")]

// Parts of them are for other tests.
#[allow(dead_code)]
mod counting;
#[allow(dead_code, unused_imports)]
#[path = "it/support.rs"]
mod support;

#[cfg(feature = "tls-self-signed")]
#[allow(dead_code, unused_imports)]
#[path = "it/tls/client.rs"]
mod tls_client;

#[cfg(feature = "http2")]
#[allow(dead_code)]
#[path = "http2/client.rs"]
mod http2_client;

use counting::{count_here, live_bytes};
use peregrine::ws::{Message, Upgrade, WebSocketHandler, Ws};
use peregrine::{Config, Done, Handler, Request, Response, Server};
use std::io::Read;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use support::{Client, ended, wait_until};

/// Of these each may take one set of buffers that the server keeps for others.
const FIRST: usize = 128;
/// As many places as the server makes at a time, so that none is made for others.
const MORE: usize = 256;

const HTTP_BYTES: i64 = 160;
/// With 24 bytes that the handler keeps.
const WEBSOCKET_BYTES: i64 = 216;

/// With empty tables: most of it are windows, settings, and the last streams that have ended.
#[cfg(feature = "http2")]
const HTTP2_BYTES: i64 = 1024 + HTTP_BYTES;

/// Most of it is the state of `rustls`: keys, secrets, the names of the handshake.
#[cfg(feature = "tls-self-signed")]
const TLS_BYTES: i64 = 3584;

struct App;

impl Handler for App {
    fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
        count_here();
        res.text("Hello, World!")
    }
}

impl WebSocketHandler for App {
    type Conn = [u64; 3];

    fn accept_ws(&self, _: &Request<'_>, _: &mut Upgrade<'_>) -> Option<[u64; 3]> {
        Some([0; 3])
    }

    fn handle_ws_conn(&self, _: &mut Ws<'_, [u64; 3]>) {
        count_here();
    }

    fn handle_ws_frame(&self, ws: &mut Ws<'_, [u64; 3]>, message: Message<'_>) {
        ws.send(message);
    }
}

fn http(addr: SocketAddr) -> Client {
    let mut client = Client::connect(addr);
    assert_eq!(client.get("/").text(), "Hello, World!");
    client
}

fn websocket(addr: SocketAddr) -> Client {
    let mut client = Client::connect(addr);
    client.send(
        "GET / HTTP/1.1\r\nHost: t\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    // A frame masked with zeros, and its echo.
    client.send(b"\x82\x82\0\0\0\0hi");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n\x82\x02hi") {
        let mut byte = [0];
        client.stream.read_exact(&mut byte).expect("received");
        answer.extend_from_slice(&byte);
    }
    assert!(answer.starts_with(b"HTTP/1.1 101 "));
    client
}

/// The bytes that are live when nothing is given back any more: idle connections give back what they kept for a client
/// that comes again soon, after a second or two.
fn settled() -> i64 {
    let (mut last, mut since) = (live_bytes(), Instant::now());
    wait_until("nothing is given back any more", || {
        let now = live_bytes();
        if now != last {
            (last, since) = (now, Instant::now());
        }
        since.elapsed() >= Duration::from_secs(4)
    });
    last
}

/// Bytes for each of the connections that come after the first ones.
fn check<C>(name: &str, addr: SocketAddr, connect: fn(SocketAddr) -> C, most: i64) {
    let mut clients: Vec<C> = (0..FIRST).map(|_| connect(addr)).collect();
    let before = settled();
    clients.extend((0..MORE).map(|_| connect(addr)));
    let each = || (live_bytes() - before) / MORE as i64;
    // The thread may still hold a buffer for what has been received.
    wait_until("buffers are given back", || each() <= most);
    println!("{name}: {} bytes for an idle connection", each());
    assert!(each() > 64, "{name}: only {} bytes were counted", each());
}

#[test]
fn an_idle_connection_takes_little_memory() {
    let config = Config::default().workers(1).ws_threads(1);
    let server = Server::new(App).websocket().config(config);
    let server = server.bind("127.0.0.1:0").start().expect("a server");
    let addr = server.local_addr().expect("a TCP address");
    check("HTTP", addr, http, HTTP_BYTES);
    // Their descriptors are needed.
    let opened = (FIRST + MORE) as u64;
    wait_until("all are closed", || server.counters().closed == opened);
    check("WebSocket", addr, websocket, WEBSOCKET_BYTES);
    server.stop();
    assert_eq!(ended(server).counters.refused, 0);
    #[cfg(feature = "http2")]
    check_http2();
    #[cfg(feature = "tls-self-signed")]
    check_tls();
}

#[cfg(feature = "http2")]
fn check_http2() {
    let mut config = Config::default();
    (config.workers, config.ws_threads) = (1, 1);
    config.http2_limits.header_table_bytes = 0;
    let server = Server::new(App).config(config).bind("127.0.0.1:0");
    let server = server.start().expect("a server");
    let addr = server.local_addr().expect("a TCP address");
    check("HTTP/2", addr, http2, HTTP2_BYTES);
    server.stop();
    assert_eq!(ended(server).counters.refused, 0);
}

/// One request that was a stream, because it has a body.
#[cfg(feature = "http2")]
fn http2(addr: SocketAddr) -> http2_client::Client {
    use peregrine_protocol::h2::frame::Frame;
    let mut client = http2_client::Client::connect(addr);
    client.send(&[0, 0, 6, 1, 4, 0, 0, 0, 1, 0x83, 0x86, 0x84, 1, 1, b'a']);
    client.send(&[0, 0, 2, 0, 1, 0, 0, 0, 1, b'h', b'i']);
    assert_eq!(client.body(1), b"Hello, World!");
    // What is sent behind it is handled, too, when this has its response.
    client.send(&[0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
    while !matches!(client.frame(), Some((Frame::PingAck { .. }, _))) {}
    client
}

/// In the one test, as threads of another one would be counted, too.
#[cfg(feature = "tls-self-signed")]
fn check_tls() {
    let mut config = Config::default();
    (config.workers, config.ws_threads) = (1, 1);
    let tls = peregrine::Tls::self_signed(&["localhost"]).expect("a certificate");
    let server = Server::new(App).config(config).bind_tls("127.0.0.1:0", tls);
    let server = server.start().expect("a server");
    let addr = server.local_addr().expect("a TCP address");
    check("HTTP with TLS", addr, https, TLS_BYTES);
    server.stop();
    assert_eq!(ended(server).counters.refused, 0);
}

#[cfg(feature = "tls-self-signed")]
fn https(addr: SocketAddr) -> tls_client::TlsClient {
    let mut client = tls_client::connect(addr);
    assert_eq!(client.get("/").text(), "Hello, World!");
    client
}
