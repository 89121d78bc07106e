//! HTTP over TLS, over real sockets: what a client of `rustls` sees.

#[path = "tls/certificates.rs"]
mod certificates;
#[path = "tls/client.rs"]
pub(crate) mod client;
#[path = "tls/handshakes.rs"]
mod handshakes;
#[path = "tls/settings.rs"]
mod settings;
#[cfg(feature = "websocket")]
#[path = "tls/websockets.rs"]
mod websockets;

use super::support::{Asked, Client, ended, own_addr, wait_until, workers};
use client::{client_config, connect, connect_with, tcp};
use peregrine::server::Running;
use peregrine::{BodyPlan, Config, Done, Handler, Request, Response, Server, Tls};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::thread;

/// Answers in every way that there is.
struct App;

impl Handler for App {
    fn body_plan(&self, _: &Request<'_>) -> BodyPlan {
        BodyPlan::BufferUpTo(8 << 20)
    }

    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        match req.path() {
            "/echo" => res.send(req.body().to_vec()),
            "/large" => res.send(large()),
            "/later" => res.offload(req, |req, res| {
                let is_secure = req.is_secure();
                res.text(format!("later {is_secure}"))
            }),
            "/stream" => {
                let pieces = (0..100).map(|i| vec![i; 1000]);
                res.send_iter(pieces)
            }
            "/close" => res.close().text("bye"),
            "/tls" => {
                let tls = req.tls().expect("TLS");
                let alpn = tls.alpn().unwrap_or_default().escape_ascii().to_string();
                res.text(format!(
                    "{} {:?} {alpn} {} {}",
                    req.is_secure(),
                    tls.server_name(),
                    tls.is_resumed(),
                    tls.client_chain().len(),
                ))
            }
            _ => res.text("hello"),
        }
    }
}

fn large() -> Vec<u8> {
    (0..3_000_000_u32)
        .map(|i| (i * 7 + i / 1000) as u8)
        .collect()
}

fn self_signed() -> Tls {
    Tls::self_signed(&["localhost", "127.0.0.1"]).expect("a certificate")
}

fn start_tls(tls: Tls) -> (Running, SocketAddr) {
    start_tls_with(workers(1), tls)
}

fn start_tls_with(config: Config, tls: Tls) -> (Running, SocketAddr) {
    let server = Server::new(App).config(config);
    let running = server.bind_tls(own_addr(), tls).start().expect("a server");
    let addr = running.local_addr().expect("a TCP address");
    (running, addr)
}

/// The addresses of a server, with and without TLS.
fn addrs(running: &Running) -> Vec<SocketAddr> {
    let addr = |shown: String| {
        let (_, addr) = shown.split_once("://").expect("a scheme");
        addr.parse().expect("an address")
    };
    let addrs = running.local_addrs().iter();
    addrs.map(|shown| addr(shown.to_string())).collect()
}

#[test]
fn requests_follow_one_another_on_one_connection() {
    let (running, addr) = start_tls(self_signed());
    assert_eq!(
        running.local_addrs()[0].to_string(),
        format!("https://{addr}")
    );
    let mut client = connect(addr);
    assert_eq!(client.get("/").text(), "hello");
    assert_eq!(client.get("/later").text(), "later true");
    assert_eq!(client.get("/large").body, large());
    assert_eq!(client.get("/stream").body.len(), 100_000);
    assert_eq!(
        client.get("/tls").text(),
        "true Some(\"localhost\") http/1.1 false 0"
    );

    let body = large();
    client.send(format!(
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
        body.len()
    ));
    client.send(&body);
    assert_eq!(client.answer(Asked::Other).body, body);

    // More of them than one record holds.
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1000));
    for _ in 0..1000 {
        assert_eq!(client.answer(Asked::Other).text(), "hello");
    }
    assert_eq!(client.get("/close").text(), "bye");
    // `rustls` fails a read at the end of the socket if no `close_notify` has come.
    assert_eq!(client.stream.read(&mut [0; 10]).expect("an orderly end"), 0);
    drop(client);
    let counters = running.counters();
    assert_eq!((counters.handshakes, counters.handshakes_failed), (1, 0));
    running.stop();
    ended(running);
}

#[test]
fn a_client_that_reads_slowly_gets_everything() {
    let (running, addr) = start_tls(self_signed());
    let mut client = connect(addr);
    client.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n".repeat(8));
    // All buffers between are full by now, or soon.
    let before = || running.counters().bytes_written;
    let mut last = before();
    wait_until("the server is blocked", || {
        let now = before();
        std::mem::replace(&mut last, now) == now && now > 0
    });
    for _ in 0..8 {
        assert_eq!(client.answer(Asked::Other).body, large());
    }
    running.stop();
    ended(running);
}

#[test]
fn many_clients_at_the_same_time() {
    let (running, addr) = start_tls_with(workers(2), self_signed());
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(move || {
                for _ in 0..20 {
                    let mut client = connect(addr);
                    assert_eq!(client.get("/").text(), "hello");
                    assert_eq!(client.get("/stream").body.len(), 100_000);
                }
            });
        }
    });
    assert_eq!(running.counters().handshakes, 160);
    running.stop();
    ended(running);
}

#[test]
fn http_without_tls_gets_400_in_plain_text() {
    let (running, addr) = start_tls(self_signed());
    let long = format!("X: {}\r\n", "x".repeat(5000));
    for request in [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        format!("GET / HTTP/1.1\r\nHost: a\r\n{long}\r\n"),
        format!(
            "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n{}",
            "x".repeat(100_000)
        ),
    ] {
        let mut client = Client::over_tcp(tcp(addr));
        client.send(request);
        let answer = client.answer(Asked::Other);
        assert_eq!(
            (answer.status, answer.text()),
            (400, "this port speaks TLS: use https\n")
        );
        assert!(answer.closes());
        client.expect_end();
    }
    wait_until("all are counted", || {
        running.counters().handshakes_failed == 3
    });
    running.stop();
    ended(running);
}

#[test]
fn requests_are_redirected_to_https() {
    let server = Server::new(App).config(workers(1));
    let server = server.bind_tls(own_addr(), self_signed());
    let running = server
        .redirect_to_https(own_addr())
        .start()
        .expect("a server");
    let [https, http] = addrs(&running)[..] else {
        panic!("two addresses");
    };
    assert_eq!(
        running.local_addrs()[1].to_string(),
        format!("http://{http}")
    );
    // The second is the address with TLS.
    for addr in [http, https] {
        for (host, name) in [
            ("a.example", "a.example"),
            ("a:80", "a"),
            ("[::1]:8080", "[::1]"),
        ] {
            let mut client = Client::over_tcp(tcp(addr));
            client.send(format!(
                "PUT /a?b=c HTTP/1.1\r\nHost: {host}\r\nContent-Length: 3\r\n\r\nabc"
            ));
            let answer = client.answer(Asked::Other);
            let wanted = format!("https://{name}:{}/a?b=c", https.port());
            assert_eq!(
                (answer.status, answer.get("location")),
                (308, Some(&wanted[..]))
            );
            client.expect_end();
        }
        let mut client = Client::over_tcp(tcp(addr));
        client.send("GET / HTTP/1.0\r\n\r\n");
        assert_eq!(client.answer(Asked::Other).status, 400, "no host to go to");
    }
    assert_eq!(connect(https).get("/").text(), "hello");
    running.stop();
    ended(running);

    let alone = Server::new(App).redirect_to_https(own_addr()).start();
    let error = alone.expect_err("nothing to redirect to");
    assert!(error.to_string().contains("Server::bind_tls"), "{error}");
}

#[test]
fn one_server_speaks_both() {
    let server = Server::from_fn(|req, res| res.text(req.is_secure().to_string()));
    let server = server.config(workers(1)).bind(own_addr());
    let running = server
        .bind_tls(own_addr(), self_signed())
        .start()
        .expect("a server");
    let addrs = addrs(&running);
    assert_eq!(Client::connect(addrs[0]).get("/").text(), "false");
    assert_eq!(connect(addrs[1]).get("/").text(), "true");
    running.stop();
    ended(running);
}

#[test]
fn a_stop_ends_connections_with_close_notify() {
    let (running, addr) = start_tls(self_signed());
    let mut client = connect(addr);
    assert_eq!(client.get("/").text(), "hello");
    // One in its handshake, too.
    let _silent = tcp(addr);
    running.stop();
    assert_eq!(client.stream.read(&mut [0; 10]).expect("an orderly end"), 0);
    assert_eq!(ended(running).aborted, 0);
}

#[test]
fn a_client_that_sends_no_more_gets_its_response() {
    let (running, addr) = start_tls(self_signed());
    let mut client = connect(addr);
    client.send("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
    client.stream.conn.send_close_notify();
    client.stream.flush().expect("sent");
    client
        .stream
        .sock
        .shutdown(Shutdown::Write)
        .expect("an open socket");
    assert_eq!(client.answer(Asked::Other).body.len(), 100_000);
    client.expect_end();
    running.stop();
    ended(running);
}

#[test]
#[cfg(feature = "dir")]
fn files_are_sent_in_pieces() {
    use super::scratch::Scratch;
    let scratch = Scratch::new();
    scratch.write("large.bin", large());
    scratch.write("small.txt", "small");
    let files = peregrine::files::DirServer::new(scratch.root()).expect("a folder");
    let server = Server::new(files).config(workers(1));
    let running = server
        .bind_tls(own_addr(), self_signed())
        .start()
        .expect("a server");
    let mut client = connect(running.local_addr().expect("an address"));
    for _ in 0..3 {
        assert_eq!(client.get("/large.bin").body, large());
        assert_eq!(client.get("/small.txt").text(), "small");
    }
    running.stop();
    ended(running);
}

#[test]
fn a_later_connection_resumes_the_session() {
    let (running, addr) = start_tls(self_signed());
    let config = Arc::new(client_config());
    assert_eq!(
        connect_with(addr, &config, "localhost").get("/tls").text(),
        "true Some(\"localhost\") http/1.1 false 0"
    );
    assert_eq!(
        connect_with(addr, &config, "localhost").get("/tls").text(),
        "true Some(\"localhost\") http/1.1 true 0"
    );
    wait_until("both are counted", || {
        let counters = running.counters();
        (counters.handshakes, counters.handshakes_resumed) == (2, 1)
    });
    running.stop();
    ended(running);
}
