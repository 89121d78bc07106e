//! The client behind proxies: `Forwarded`, `X-Forwarded-*`, and which proxies are believed.

use super::access_log::Kept;
use super::places::tcp_from;
use super::support::{Asked, Client, own_addr, wait_until, workers};
use peregrine::access_log::{AccessLog, LogWriter};
use peregrine::config::ForwardedFields;
use peregrine::server::Running;
use peregrine::{Config, Done, Handler, Request, Response, Server, from_fn};
use std::net::SocketAddr;

/// A proxy that is believed, one that is not, and what they tell.
const TRUSTED: [u8; 4] = [127, 0, 0, 9];
const OTHER: [u8; 4] = [127, 0, 0, 10];

const X_ALL: ForwardedFields = ForwardedFields::X {
    proto: true,
    host: true,
};
const X_FOR: ForwardedFields = ForwardedFields::X {
    proto: false,
    host: false,
};

fn config(fields: ForwardedFields) -> Config {
    let proxies = ["127.0.0.9", "10.0.0.0/8", "fd00::/8"];
    let proxies = proxies.map(|proxy| proxy.parse().expect("a network"));
    workers(1).forwarded(fields).trusted_proxies(proxies)
}

/// A server without TLS, and so are the clients here: the scheme is a part of what is told.
fn start(handler: impl Handler, config: Config) -> (Running, SocketAddr) {
    let server = Server::new(handler).config(config).bind(own_addr());
    let running = server.start().expect("a server");
    let addr = running.local_addr().expect("a TCP address");
    (running, addr)
}

/// Connects from this address, without TLS.
pub(crate) fn connect_from(own: [u8; 4], addr: SocketAddr) -> Client {
    Client::over_tcp(tcp_from(own, addr))
}

/// `client scheme host`. The port of the client is left out if it is that of the connection.
fn seen(req: &Request<'_>) -> String {
    let client = req.client_addr().map_or("none".to_owned(), |addr| {
        match addr.port() == 0 || Some(addr) == req.peer_addr() {
            true => addr.ip().to_string(),
            false => addr.to_string(),
        }
    });
    let host = req.host().unwrap_or("none");
    format!("{client} {} {host}", req.scheme())
}

/// The request is looked at on the worker, and as a copy on another thread.
fn tell(req: &Request<'_>, res: Response<'_>) -> Done {
    let here = seen(req);
    res.offload(req, move |req, res| {
        assert_eq!(seen(req), here, "the copy says the same");
        res.text(here)
    })
}

#[track_caller]
fn ask(client: &mut Client, fields: &str) -> String {
    client.send(format!("GET / HTTP/1.1\r\nHost: inner\r\n{fields}\r\n"));
    client.answer(Asked::Other).text().to_owned()
}

#[test]
fn clients_behind_proxies_that_are_believed() {
    use ForwardedFields::{Forwarded, None};
    let cases: &[(ForwardedFields, &str, &str)] = &[
        // Nothing is read unless the settings say so.
        (
            None,
            "Forwarded: for=1.1.1.1;host=a\r\nX-Forwarded-For: 1.1.1.1\r\n",
            "127.0.0.9 http inner",
        ),
        (
            Forwarded,
            "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Proto: https\r\n",
            "127.0.0.9 http inner",
        ),
        (
            X_ALL,
            "Forwarded: for=1.1.1.1;proto=https;host=a\r\n",
            "127.0.0.9 http inner",
        ),
        (
            X_FOR,
            "X-Forwarded-Proto: https\r\nX-Forwarded-Host: a\r\n",
            "127.0.0.9 http inner",
        ),
        (Forwarded, "", "127.0.0.9 http inner"),
        (X_ALL, "", "127.0.0.9 http inner"),
        // One proxy.
        (
            Forwarded,
            "Forwarded: for=1.1.1.1;proto=https;host=a\r\n",
            "1.1.1.1 https a",
        ),
        (
            Forwarded,
            "forwarded: FOR=\"1.1.1.1:80\"; Host=\"a:8\"\r\n",
            "1.1.1.1:80 http a:8",
        ),
        (
            Forwarded,
            "Forwarded: for=\"[2001:db8::1]:80\"\r\n",
            "[2001:db8::1]:80 http inner",
        ),
        (
            Forwarded,
            "Forwarded: for=\"[::ffff:1.1.1.1]\"\r\n",
            "1.1.1.1 http inner",
        ),
        (
            X_ALL,
            "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: a\r\n",
            "1.1.1.1 https a",
        ),
        (
            X_FOR,
            "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: a\r\n",
            "1.1.1.1 http inner",
        ),
        (
            X_ALL,
            "X-Forwarded-For: [2001:db8::1]:80\r\n",
            "[2001:db8::1]:80 http inner",
        ),
        // What a client has written stands before what the proxy writes.
        (
            Forwarded,
            "Forwarded: for=6.6.6.6;host=evil, for=1.1.1.1;proto=https\r\n",
            "1.1.1.1 https inner",
        ),
        (
            Forwarded,
            "Forwarded: for=10.6.6.6\r\nForwarded: for=1.1.1.1\r\n",
            "1.1.1.1 http inner",
        ),
        (
            Forwarded,
            "Forwarded: for=\", for=1.1.1.1\r\n",
            "1.1.1.1 http inner",
        ),
        (
            X_ALL,
            "X-Forwarded-For: 6.6.6.6, 1.1.1.1\r\n",
            "1.1.1.1 http inner",
        ),
        (
            X_ALL,
            "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 1.1.1.1\r\n",
            "1.1.1.1 http inner",
        ),
        (
            X_ALL,
            "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Proto: https, http\r\n",
            "1.1.1.1 http inner",
        ),
        (
            X_ALL,
            "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Host: a\r\n",
            "1.1.1.1 http a",
        ),
        // Several proxies: the last address that is none of theirs.
        (
            Forwarded,
            "Forwarded: for=6.6.6.6, for=1.1.1.1;host=a, for=10.0.0.1;host=b\r\n",
            "1.1.1.1 http a",
        ),
        (
            Forwarded,
            "Forwarded: for=1.1.1.1, for=\"[fd00::1]\", for=10.0.0.1\r\n",
            "1.1.1.1 http inner",
        ),
        (
            X_ALL,
            "X-Forwarded-For: 6.6.6.6, 1.1.1.1, fd00::1, 10.0.0.1\r\n",
            "1.1.1.1 http inner",
        ),
        // All of them are proxies: the first.
        (
            Forwarded,
            "Forwarded: for=10.0.0.2, for=10.0.0.1\r\n",
            "10.0.0.2 http inner",
        ),
        (
            X_ALL,
            "X-Forwarded-For: 10.0.0.2, 10.0.0.1\r\n",
            "10.0.0.2 http inner",
        ),
        // A proxy that does not tell where a request comes from: its own address.
        (
            Forwarded,
            "Forwarded: for=unknown;proto=https\r\n",
            "127.0.0.9 https inner",
        ),
        (
            Forwarded,
            "Forwarded: for=1.1.1.1, for=_hidden, for=10.0.0.1\r\n",
            "10.0.0.1 http inner",
        ),
        (
            Forwarded,
            "Forwarded: for=1.1.1.1, proto=https;host=a\r\n",
            "127.0.0.9 https a",
        ),
        (
            Forwarded,
            "Forwarded: for=1.1.1.1, nonsense\r\n",
            "127.0.0.9 http inner",
        ),
        (
            X_ALL,
            "X-Forwarded-For: 1.1.1.1, unknown\r\n",
            "127.0.0.9 http inner",
        ),
        (
            X_ALL,
            "X-Forwarded-For: 1.1.1.1, 10.0.0.1:x\r\n",
            "127.0.0.9 http inner",
        ),
        // Empty elements and fields.
        (
            Forwarded,
            "Forwarded:\r\nForwarded: ,for=1.1.1.1, ,\r\nForwarded:\r\n",
            "1.1.1.1 http inner",
        ),
        (
            X_ALL,
            "X-Forwarded-For: 1.1.1.1,,\r\nX-Forwarded-For:\r\nX-Forwarded-Proto:\r\n",
            "1.1.1.1 http inner",
        ),
        // Schemes and hosts that are none.
        (
            Forwarded,
            "Forwarded: for=1.1.1.1;proto=ftp;host=\"a b\"\r\n",
            "1.1.1.1 http inner",
        ),
        (
            X_ALL,
            "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Proto: wss\r\nX-Forwarded-Host: a/b\r\n",
            "1.1.1.1 https inner",
        ),
    ];
    for fields in [None, Forwarded, X_ALL, X_FOR] {
        let (_server, addr) = start(from_fn(tell), config(fields));
        let mut proxy = connect_from(TRUSTED, addr);
        let mut other = connect_from(OTHER, addr);
        for (_, sent, expected) in cases.iter().filter(|(of, ..)| *of == fields) {
            assert_eq!(ask(&mut proxy, sent), *expected, "{fields:?} {sent}");
            assert_eq!(ask(&mut other, sent), "127.0.0.10 http inner", "{sent}");
        }
        // As many elements as a head may have.
        let many = "10.0.0.1,".repeat(1000);
        let x = format!("X-Forwarded-For: 1.1.1.1,{many}\r\n");
        let many = "for=10.0.0.1,".repeat(700);
        let standard = format!("Forwarded: for=1.1.1.1,{many}\r\n");
        let expected = match fields {
            None => "127.0.0.9 http inner",
            _ => "1.1.1.1 http inner",
        };
        let sent = if fields == Forwarded { standard } else { x };
        assert_eq!(ask(&mut proxy, &sent), expected);
    }
}

#[cfg(unix)]
#[test]
fn connections_over_unix_sockets_are_believed() {
    use super::scratch::Scratch;
    let folder = Scratch::new();
    let path = folder.path("socket");
    let server = Server::from_fn(tell).config(config(X_ALL)).bind_unix(&path);
    let _server = server.start().expect("a server");
    let stream = std::os::unix::net::UnixStream::connect(&path).expect("a connection");
    let mut client = Client::over(stream);
    for (fields, seen) in [
        ("X-Forwarded-For: 6.6.6.6, 1.1.1.1", "1.1.1.1 http inner"),
        ("X-Forwarded-For: unknown", "none http inner"),
        ("A: b", "none http inner"),
    ] {
        client.send(format!("GET / HTTP/1.1\r\nHost: inner\r\n{fields}\r\n\r\n"));
        assert_eq!(client.answer(Asked::Other).text(), seen);
    }
}

/// The host that the client has sent to the proxy has to be allowed, and no other.
#[test]
fn the_host_that_a_client_has_sent_is_checked() {
    let config = config(ForwardedFields::Forwarded).allowed_hosts(["a.example", "inner"]);
    let (_server, addr) = start(from_fn(tell), config);
    for (from, fields, status) in [
        (TRUSTED, "Forwarded: for=1.1.1.1;host=a.example\r\n", 200),
        (TRUSTED, "Forwarded: for=1.1.1.1;host=evil.example\r\n", 421),
        (TRUSTED, "Forwarded: for=1.1.1.1\r\n", 200),
        (OTHER, "Forwarded: for=1.1.1.1;host=evil.example\r\n", 200),
    ] {
        let mut client = connect_from(from, addr);
        client.send(format!("GET / HTTP/1.1\r\nHost: inner\r\n{fields}\r\n"));
        assert_eq!(client.answer(Asked::Other).status, status, "{fields}");
    }
}

/// Responses of the handler, at once and later, of the library, and requests without a head.
#[test]
fn the_access_log_has_the_client() {
    let kept = Kept::default();
    let log = LogWriter::new(kept.clone()).expect("a thread");
    let app = AccessLog::new(
        from_fn(|req: &Request<'_>, res| match req.path() {
            "/later" => tell(req, res),
            _ => res.text("hi"),
        }),
        log,
    );
    let (_server, addr) = start(app, config(X_ALL));
    for (from, request) in [
        (
            TRUSTED,
            "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n",
        ),
        (
            TRUSTED,
            "GET /later HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 2.2.2.2\r\n\r\n",
        ),
        (
            TRUSTED,
            "POST / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 3.3.3.3\r\nContent-Length: 9999999\r\n\r\n",
        ),
        (TRUSTED, "bad\r\n\r\n"),
        (
            OTHER,
            "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 5.5.5.5\r\n\r\n",
        ),
    ] {
        let mut client = connect_from(from, addr);
        client.send(request);
        client.answer(Asked::Other);
    }
    wait_until("all lines", || kept.lines_so_far().len() == 5);
    let mut clients: Vec<_> = kept
        .lines()
        .iter()
        .map(|line| line.split(' ').next().unwrap_or_default().to_owned())
        .collect();
    clients.sort();
    assert_eq!(
        clients,
        ["1.1.1.1", "127.0.0.10", "127.0.0.9", "2.2.2.2", "3.3.3.3"]
    );
}

/// Sends the addresses of its client and of its connection to each WebSocket.
#[cfg(feature = "websocket")]
pub(crate) struct Tells;

#[cfg(feature = "websocket")]
impl Handler for Tells {
    fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
        res.text("no WebSocket")
    }
}

#[cfg(feature = "websocket")]
impl peregrine::ws::WebSocketHandler for Tells {
    type Conn = ();

    fn accept_ws(&self, _: &Request<'_>, _: &mut peregrine::ws::Upgrade<'_>) -> Option<()> {
        Some(())
    }

    fn handle_ws_conn(&self, ws: &mut peregrine::ws::Ws<'_, ()>) {
        let addrs = [ws.client_addr(), ws.peer_addr()];
        let addrs = addrs.map(|addr| addr.expect("TCP").ip().to_string());
        ws.send(&*addrs.join(" "));
    }

    fn handle_ws_frame(&self, _: &mut peregrine::ws::Ws<'_, ()>, _: peregrine::ws::Message<'_>) {}
}

/// Opens a WebSocket with these fields, which has to tell this.
#[cfg(feature = "websocket")]
#[track_caller]
pub(crate) fn expect_told(client: &mut Client, fields: &str, expected: &str) {
    client.send(format!(
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{fields}\r\n",
    ));
    let mut received = Vec::new();
    while !received.ends_with(expected.as_bytes()) {
        let mut byte = [0];
        client.body(&mut byte);
        received.extend_from_slice(&byte);
    }
    assert!(received.starts_with(b"HTTP/1.1 101 "));
}

/// A WebSocket remembers the client of its handshake.
#[cfg(feature = "websocket")]
#[test]
fn websockets_have_the_client_of_their_handshake() {
    let server = Server::new(Tells).websocket().config(config(X_ALL));
    let server = server.bind(own_addr()).start();
    let server = server.expect("a server");
    let addr = server.local_addr().expect("TCP");
    for (from, told) in [
        (TRUSTED, "1.1.1.1 127.0.0.9"),
        (OTHER, "127.0.0.10 127.0.0.10"),
    ] {
        let mut client = connect_from(from, addr);
        expect_told(&mut client, "X-Forwarded-For: 6.6.6.6, 1.1.1.1\r\n", told);
    }
}
