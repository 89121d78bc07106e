//! Handshakes that are slow, broken or many.

use super::client::{connect, tcp};
use super::{addrs, self_signed, start_tls, start_tls_with};
use crate::connections::let_a_second_pass;
use crate::support::session::hello;
use crate::support::{Asked, Client, PATIENCE, Witness, ended, own_addr, wait_until, workers};
use peregrine::error::ConnectionError;
use peregrine::{Done, Handler, Request, Response, Server};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

fn is_ended(stream: &mut TcpStream) -> bool {
    let mut part = [0; 4096];
    loop {
        match stream.read(&mut part) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() == ErrorKind::ConnectionReset,
        }
    }
}

#[test]
fn a_handshake_has_so_much_time() {
    let mut config = workers(1);
    // The one that is complete must have been faster.
    config.tls_handshake_timeout = Duration::from_secs(4);
    let (running, addr) = start_tls_with(config, self_signed());
    let mut kept = connect(addr);
    assert_eq!(kept.get("/").text(), "hello");

    let hello = hello();
    let mut silent = tcp(addr);
    let (mut half, mut stopped) = (tcp(addr), tcp(addr));
    half.write_all(&hello[..100]).expect("sent");
    stopped.write_all(&hello).expect("sent");
    for stream in [&mut silent, &mut half, &mut stopped] {
        assert!(is_ended(stream));
    }
    wait_until("all are counted", || {
        running.counters().handshakes_failed == 3
    });
    // One that is complete has other limits.
    assert_eq!(kept.get("/").text(), "hello");
    running.stop();
    ended(running);
}

/// A client that goes on sending does not get more time.
#[test]
fn a_hello_that_drips_ends_in_time() {
    let app = Witness::new(|_, res| res.text("hello"));
    let mut config = workers(1);
    config.tls_handshake_timeout = Duration::from_secs(1);
    let server = Server::new(app.clone()).config(config);
    let running = server.bind_tls(own_addr(), self_signed()).start();
    let running = running.expect("a server");
    let mut stream = tcp(running.local_addr().expect("an address"));
    let peer = stream.local_addr().expect("an address");
    // A message of 16 KiB in records of a byte: more than can be sent at this pace.
    stream
        .write_all(&[22, 3, 1, 0, 4, 1, 0, 0x3f, 0xf0])
        .expect("sent");
    stream
        .set_read_timeout(Some(Duration::from_millis(20)))
        .expect("an open socket");
    let mut part = [0; 100];
    let limit = std::time::Instant::now() + PATIENCE;
    loop {
        assert!(std::time::Instant::now() < limit, "it does not end");
        if stream.write_all(&[22, 3, 1, 0, 1, 0]).is_err() {
            break;
        }
        match stream.read(&mut part) {
            Ok(0) => break,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            _ => {}
        }
    }
    let text = app.one_error("handshake", peer);
    assert_eq!(text, "the TLS handshake failed: timed out");
    running.stop();
    ended(running);
}

/// The first flight in records of so many bytes of content (RFC 8446 section 5.1).
fn fragmented(hello: &[u8], size: usize) -> Vec<u8> {
    let record = |part: &[u8]| [&[22, 3, 1, 0, part.len() as u8][..], part].concat();
    hello[5..].chunks(size).flat_map(record).collect()
}

#[test]
fn a_hello_may_come_in_small_records() {
    let (running, addr) = start_tls(self_signed());
    for size in [1, 2, 7, 100] {
        let mut stream = tcp(addr);
        stream.write_all(&fragmented(&hello(), size)).expect("sent");
        let mut answer = [0; 6];
        stream.read_exact(&mut answer).expect("a response");
        assert_eq!((answer[0], answer[5]), (22, 2), "a ServerHello");
    }
    running.stop();
    ended(running);
}

/// More than 16 KiB are not taken, however they are divided.
#[test]
fn a_handshake_has_so_many_bytes() {
    let app = Witness::new(|_, res| res.text("hello"));
    let server = Server::new(app.clone()).config(workers(1));
    let running = server.bind_tls(own_addr(), self_signed()).start();
    let running = running.expect("a server");
    for size in [1, 100] {
        let mut stream = tcp(running.local_addr().expect("an address"));
        let peer = stream.local_addr().expect("an address");
        // A message of 64 KiB - 1.
        let mut message = vec![1, 0, 0xff, 0xff];
        message.resize(40_000, 0);
        let records = fragmented(&[&[0; 5][..], &message].concat(), size);
        // The server may have closed it before.
        let _ = stream.write_all(&records);
        assert!(is_ended(&mut stream));
        let text = app.one_error("handshake", peer);
        assert!(text.contains("too long"), "{text}");
    }
    running.stop();
    ended(running);
}

/// One error for each client that has begun its handshake, and none for the others.
#[test]
fn handshakes_that_are_not_completed_are_reported() {
    let app = Witness::new(|_, res| res.text("hello"));
    let server = Server::new(app.clone()).config(workers(1));
    let running = server.bind_tls(own_addr(), self_signed()).start();
    let running = running.expect("a server");
    let addr = running.local_addr().expect("an address");
    drop(tcp(addr));
    let hello = hello();
    let mut left = tcp(addr);
    left.write_all(&hello[..50]).expect("sent");
    let peer = left.local_addr().expect("an address");
    drop(left);
    let text = app.one_error("handshake", peer);
    assert!(text.contains("end of file"), "{text}");

    let mut junk = tcp(addr);
    junk.write_all(b"\x17\x03\x01\x00\x05hello").expect("sent");
    let peer = junk.local_addr().expect("an address");
    let text = app.one_error("handshake", peer);
    assert!(text.starts_with("the TLS handshake failed: "), "{text}");

    // It does not trust the certificate.
    let mut untrusting = tcp(addr);
    untrusting.write_all(&hello).expect("sent");
    untrusting.read_exact(&mut [0; 6]).expect("a response");
    untrusting
        .write_all(&[21, 3, 3, 0, 2, 2, 48])
        .expect("sent");
    let peer = untrusting.local_addr().expect("an address");
    let text = app.one_error("handshake", peer);
    assert!(text.contains("UnknownCA"), "{text}");
    wait_until("all are counted", || {
        running.counters().handshakes_failed == 4
    });
    assert_eq!(app.take_errors(), []);
    drop((junk, untrusting));
    running.stop();
    ended(running);
}

#[test]
fn what_is_no_handshake_gets_an_alert() {
    let (running, addr) = start_tls(self_signed());
    for junk in [
        &b"\x17\x03\x01\x00\x05hello"[..],
        b"\x16\x03\x01\xff\xff",
        b"\0\0\0\0\0\0\0\0",
    ] {
        let mut stream = tcp(addr);
        stream.write_all(junk).expect("sent");
        let mut alert = [0; 7];
        stream.read_exact(&mut alert).expect("an alert");
        assert_eq!(alert[..5], [21, 3, 3, 0, 2]);
        assert!(is_ended(&mut stream));
    }
    wait_until("all are counted", || {
        running.counters().handshakes_failed == 3
    });
    running.stop();
    ended(running);
}

#[test]
fn connections_that_never_finish_their_handshake_leave_room_for_others() {
    let (running, addr) = start_tls(self_signed());
    let hello = hello();
    let crowd: Vec<TcpStream> = (0..300)
        .map(|i| {
            let mut stream = tcp(addr);
            stream
                .write_all(&hello[..i * hello.len() / 299])
                .expect("sent");
            stream
        })
        .collect();
    assert_eq!(connect(addr).get("/").text(), "hello");
    drop(crowd);
    wait_until("they have gone", || {
        running.counters().handshakes_failed == 300
    });
    running.stop();
    ended(running);
}

/// A connection without a complete handshake has less time than an idle one, so it is closed first.
#[test]
fn handshakes_give_way_before_idle_connections() {
    let mut config = workers(1);
    config.connections = 5;
    config.limits.idle_timeout = 4 * PATIENCE;
    config.tls_handshake_timeout = 2 * PATIENCE;
    let (running, addr) = start_tls_with(config, self_signed());
    let mut idle = connect(addr);
    assert_eq!(idle.get("/").text(), "hello");
    let mut asking = connect(addr);
    assert_eq!(asking.get("/").text(), "hello");
    let hello = hello();
    let silent = [(); 3].map(|()| {
        let mut stream = tcp(addr);
        stream.write_all(&hello).expect("sent");
        stream.read_exact(&mut [0; 6]).expect("a ServerHello");
        stream
    });
    // A connection that has begun within this second and the one before keeps its place.
    let_a_second_pass(&mut asking);
    let_a_second_pass(&mut asking);
    let mut young = Vec::new();
    for _ in &silent {
        let mut client = connect(addr);
        assert_eq!(client.get("/").text(), "hello");
        young.push(client);
    }
    for mut stream in silent {
        assert!(is_ended(&mut stream));
    }
    for client in young.iter_mut().chain([&mut idle, &mut asking]) {
        assert_eq!(client.get("/").text(), "hello");
    }
    running.stop();
    ended(running);
}

/// What the only worker has done, in its order: `r`, a request, or `h`, a handshake that has failed.
struct Order {
    done: Mutex<String>,
    go: Mutex<mpsc::Receiver<()>>,
}

impl Handler for Order {
    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        if req.path() == "/wait" {
            let go = self.go.lock().expect("no panic");
            go.recv_timeout(PATIENCE).expect("the end of the wait");
        }
        self.done.lock().expect("no panic").push('r');
        res.text("")
    }

    fn handle_error(&self, error: &ConnectionError<'_>, _: Option<SocketAddr>) {
        if let ConnectionError::TlsHandshake(_) = error {
            self.done.lock().expect("no panic").push('h');
        }
    }
}

/// Four steps in one turn of the loop. While a turn handles one request, there may be as many before it and after it.
#[test]
fn requests_do_not_wait_for_many_handshakes() {
    const CROWD: usize = 100;
    let (sender, go) = mpsc::channel();
    let order = Arc::new(Order {
        done: Mutex::default(),
        go: Mutex::new(go),
    });
    let mut config = workers(1);
    config.limits.requests_per_turn = 1;
    let server = Server::new(order.clone()).config(config);
    let server = server.bind(own_addr()).bind_tls(own_addr(), self_signed());
    let running = server.start().expect("a server");
    let addrs = addrs(&running);
    let mut client = Client::connect(addrs[0]);
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    client.send(get("/wait") + &get("/").repeat(500));
    client.wait_until_delivered();
    // The worker waits, and all of these come meanwhile.
    let crowd: Vec<TcpStream> = (0..CROWD)
        .map(|_| {
            let mut stream = tcp(addrs[1]);
            stream
                .write_all(b"\x17\x03\x01\x00\x05hello")
                .expect("sent");
            stream
        })
        .collect();
    sender.send(()).expect("it waits");
    for _ in 0..501 {
        assert_eq!(client.answer(Asked::Other).status, 200);
    }
    wait_until("all are counted", || {
        running.counters().handshakes_failed == CROWD as u64
    });
    let done = order.done.lock().expect("no panic").clone();
    assert_eq!(done.matches('h').count(), CROWD);
    // After the last request there are none to wait.
    let (before, _) = done.rsplit_once('r').expect("requests");
    let most = before.split('r').map(str::len).max();
    assert!(most <= Some(8), "{done}");
    drop(crowd);
    running.stop();
    ended(running);
}

/// A client that speaks TLS cannot read a response without it.
#[test]
fn a_connection_for_which_there_is_no_room_gets_no_plain_text() {
    let mut config = workers(1);
    config.connections_per_address = Some(1);
    config.trusted_proxies = Vec::new();
    let (running, addr) = start_tls_with(config, self_signed());
    let mut kept = connect(addr);
    assert_eq!(kept.get("/").text(), "hello");
    let hello = hello();
    for _ in 0..20 {
        let mut stream = tcp(addr);
        // The server may have closed it before.
        let _ = stream.write_all(&hello);
        let mut received = Vec::new();
        let _ = stream.read_to_end(&mut received);
        assert_eq!(received, b"");
    }
    assert_eq!(running.counters().turned_away, 20);
    assert_eq!(kept.get("/").text(), "hello");
    running.stop();
    ended(running);
}
