//! The limits of QUIC, each with a client that meets it.

use super::client::{Client, Settings};
use super::{LONG, address, counted, hello, tls};
use peregrine::config::QuicLimits;
use peregrine::{Config, Server};
use quinn_proto::{ConnectionError, Dir, TransportErrorCode};
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

fn quic(limits: QuicLimits) -> Config {
    Config::default().workers(1).quic(limits)
}

/// The code with which the server has closed the connection.
fn code(error: &ConnectionError) -> u64 {
    match error {
        ConnectionError::ApplicationClosed(close) => close.error_code.into_inner(),
        other => panic!("{other}"),
    }
}

/// A client that begins its handshake, and never goes on.
fn begun(server: &peregrine::server::Running) -> Client {
    let mut client = Client::new(address(server), Settings::default());
    client.flush();
    client.is_mute = true;
    client
}

#[test]
fn above_half_of_the_handshakes_clients_show_their_address() {
    let config = quic(QuicLimits::default().handshakes(2));
    let server = hello(config.tls_handshake_timeout(LONG));
    let mut client = Client::connect(address(&server));
    assert_eq!(server.counters().quic_retries, 0);
    client.close();
    counted(&server, |counters| counters.closed == 1);
    let _silent = begun(&server);
    counted(&server, |counters| counters.accepted == 2);
    let mut client = Client::connect(address(&server));
    assert_eq!(client.get("/").text(), "hello");
    assert!(server.counters().quic_retries > 0);
    client.close();
}

/// Bytes that wait in the socket of a server, of which nothing is read meanwhile.
#[cfg(target_os = "linux")]
fn waiting(server: &peregrine::server::Running) -> u64 {
    let port = format!(":{:04X}", address(server).port());
    let table = std::fs::read_to_string("/proc/net/udp").expect("readable");
    let queue = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let is_own = words[1].ends_with(&port) && words[2].ends_with(":0000");
        let received = words[4].split_once(':').expect("two numbers").1;
        is_own.then(|| u64::from_str_radix(received, 16).expect("a number"))
    };
    table.lines().skip(1).filter_map(queue).sum()
}

/// A client as that of [`begun`], whose datagram waits in the socket. A busy system may carry it there later.
#[cfg(target_os = "linux")]
fn begun_and_waiting(server: &peregrine::server::Running) -> Client {
    let before = waiting(server);
    let client = begun(server);
    let end = Instant::now() + LONG;
    while waiting(server) <= before {
        assert!(Instant::now() < end, "it does not come");
        std::thread::park_timeout(Duration::from_millis(1));
    }
    client
}

/// Other connections of the worker do not wait for many handshakes. Other systems give fewer datagrams in one turn.
#[test]
#[cfg(target_os = "linux")]
fn few_handshakes_begin_in_one_turn() {
    let (tell, has_begun) = std::sync::mpsc::channel();
    let (go_on, wait) = std::sync::mpsc::channel::<()>();
    let shared = std::sync::Mutex::new((tell, wait));
    let server = Server::from_fn(move |_, res| {
        let shared = shared.lock().expect("no panic");
        shared.0.send(()).expect("the test waits");
        shared.1.recv().expect("the test goes on");
        res.text("hello")
    });
    let server = server.config(Config::default().workers(1));
    let server = server.bind_tls("127.0.0.1:0", tls()).start();
    let server = server.expect("a server");
    let mut client = Client::connect(address(&server));
    client.ask("GET", "/", true);
    has_begun.recv_timeout(LONG).expect("a request");
    let silent: Vec<_> = (0..24).map(|_| begun_and_waiting(&server)).collect();
    go_on.send(()).expect("the handler waits");
    let counters = counted(&server, |counters| {
        counters.accepted + counters.quic_retries == 25
    });
    assert_eq!(counters.accepted, 17);
    drop(silent);
    client.close();
}

#[test]
fn above_the_handshakes_clients_wait() {
    let config = quic(QuicLimits::default().handshakes(1));
    let server = hello(config.tls_handshake_timeout(5 * SECOND));
    let mut silent = Client::new(address(&server), Settings::default());
    // The second Initial packet has the token of the Retry.
    silent.flush();
    silent.until(|client| client.received > 0);
    silent.is_mute = true;
    counted(&server, |counters| counters.accepted == 1);
    // It tries again until the time of the other one is over.
    let mut client = Client::connect(address(&server));
    assert_eq!(client.get("/").text(), "hello");
    let counters = server.counters();
    assert!(counters.turned_away > 0 && counters.handshakes_failed == 1);
    client.close();
}

#[test]
fn a_handshake_has_so_much_time() {
    let server = hello(Config::default().tls_handshake_timeout(SECOND));
    let _silent = begun(&server);
    counted(&server, |counters| counters.handshakes_failed == 1);
}

/// RFC 9000 section 8.1.
#[test]
fn an_address_that_is_not_validated_gets_three_times_what_it_sends() {
    let server = hello(Config::default().tls_handshake_timeout(3 * SECOND));
    let mut client = begun(&server);
    let sent = client.sent;
    client.until(|client| client.received > sent);
    client.until(|_| server.counters().handshakes_failed == 1);
    assert!(client.received <= 3 * sent, "{} of {sent}", client.received);
}

#[test]
fn a_silent_connection_is_gone() {
    let server = hello(quic(QuicLimits::default().idle_timeout(5 * SECOND)));
    let mut client = Client::connect(address(&server));
    assert_eq!(client.get("/").text(), "hello");
    client.is_mute = true;
    counted(&server, |counters| counters.closed == 1);
}

/// The first write takes what the client may send without a word of the server.
#[test]
fn windows_bound_what_a_client_sends() {
    let limits = QuicLimits::default();
    let server = hello(quic(limits.stream_window(10_000).connection_window(25_000)));
    let mut client = Client::connect(address(&server));
    // What the control stream has sent counts, too.
    let mut taken = Vec::new();
    for _ in 0..4 {
        let id = client.quic.streams().open(Dir::Bi).expect("allowed");
        taken.push(client.quic.send_stream(id).write(&[0; 50_000]).unwrap_or(0));
    }
    assert_eq!(taken[..2], [10_000; 2]);
    assert!((4_900..=5_000).contains(&taken[2]), "{taken:?}");
    assert_eq!(taken[3], 0);
}

#[test]
fn what_is_not_acknowledged_is_bounded() {
    let config = quic(QuicLimits::default().unacknowledged_bytes(5_000));
    let server = Server::from_fn(|_, res| res.text("x".repeat(100_000)));
    let server = server.config(config).bind_tls("127.0.0.1:0", tls());
    let server = server.start().expect("a server");
    let mut client = Client::connect(address(&server));
    assert_eq!(client.get("/").body.len(), 100_000, "with acknowledgements");
    let id = client.ask("GET", "/", true);
    client.is_mute = true;
    let length = |client: &Client| client.streams.get(&id).map_or(0, |of| of.bytes.len());
    // Bytes of the first response may be among those that are not acknowledged.
    client.until(|client| length(client) >= 1_000);
    // What comes after a while is the same, again.
    let end = Instant::now() + SECOND;
    client.until(|_| Instant::now() >= end);
    assert!(length(&client) <= 5_000, "{}", length(&client));
}

#[test]
fn idle_connections_make_room_for_others() {
    let server = hello(Config::default().connections(1));
    let mut first = Client::connect(address(&server));
    assert_eq!(first.get("/").text(), "hello");
    // It sends nothing twice, however long it waits.
    let patient = Settings {
        round_trip: LONG,
        ..Settings::default()
    };
    let mut second = Client::new(address(&server), patient);
    match second.end() {
        ConnectionError::ConnectionClosed(close) => {
            assert_eq!(close.error_code, TransportErrorCode::CONNECTION_REFUSED);
        }
        other => panic!("{other}"),
    }
    assert_eq!(code(&first.end()), 0x100);
    // The place is free at once.
    let mut third = Client::connect(address(&server));
    assert_eq!(third.get("/").text(), "hello");
    let counters = server.counters();
    assert_eq!((counters.turned_away, counters.idle_closed), (1, 1));
    // Only a client who has shown its address has another connection closed.
    assert_eq!(counters.quic_retries, 1);
    third.close();
}

/// Any host may send the first datagram in the name of another one.
#[test]
fn a_client_that_does_not_show_its_address_gets_no_room() {
    let server = hello(Config::default().connections(1));
    let mut first = Client::connect(address(&server));
    assert_eq!(first.get("/").text(), "hello");
    for n in 1..=3 {
        let _silent = begun(&server);
        counted(&server, |counters| counters.quic_retries >= n);
    }
    assert_eq!(first.get("/").text(), "hello");
    let counters = server.counters();
    assert_eq!((counters.turned_away, counters.idle_closed), (0, 0));
    first.close();
}

#[test]
fn the_connections_of_one_address_are_limited() {
    let config = Config::default().connections_per_address(1);
    let server = hello(config.trusted_proxies([]));
    let mut first = Client::connect(address(&server));
    let mut second = Client::new(address(&server), Settings::default());
    assert_eq!(code(&second.end()), 0x10b);
    assert_eq!(server.counters().turned_away_by_address, 1);
    assert_eq!(first.get("/").text(), "hello");
    first.close();
}

#[test]
fn moves_are_limited() {
    let server = hello(quic(QuicLimits::default().moves(2)));
    let mut client = Client::connect(address(&server));
    for _ in 0..2 {
        client.move_to("127.0.0.1:0");
        assert_eq!(client.get("/").text(), "hello");
    }
    client.move_to("127.0.0.1:0");
    client.ask("GET", "/", true);
    assert_eq!(code(&client.end()), 0x107);
}

/// The worker reads all of them in one turn, after which the client is where it was.
#[test]
#[cfg(target_os = "linux")]
fn moves_there_and_back_are_counted() {
    let (tell, has_begun) = std::sync::mpsc::channel();
    let (go_on, wait) = std::sync::mpsc::channel::<()>();
    let shared = std::sync::Mutex::new((tell, wait));
    let server = Server::from_fn(move |_, res| {
        let shared = shared.lock().expect("no panic");
        // The test does not wait for the second request.
        let _ = shared.0.send(());
        let _ = shared.1.recv();
        res.text("hello")
    });
    let server = server.config(quic(QuicLimits::default().moves(4)));
    let server = server.bind_tls("127.0.0.1:0", tls());
    let server = server.start().expect("started");
    let mut client = Client::connect(address(&server));
    client.ask("GET", "/", true);
    has_begun.recv_timeout(LONG).expect("a request");
    let mut other = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    for _ in 0..6 {
        std::mem::swap(&mut client.socket, &mut other);
        client.quic.ping();
        client.flush();
    }
    drop(go_on);
    let id = client.ask("GET", "/", true);
    client.until(|client| {
        let is_complete = client.streams.get(&id).is_some_and(|of| of.is_complete);
        is_complete || client.lost.is_some()
    });
    assert_eq!(code(client.lost.as_ref().expect("closed")), 0x107);
}

/// Without room for them on the way, datagrams for another worker are dropped.
#[test]
fn forwarded_datagrams_are_bounded() {
    let limits = QuicLimits::default().forwarded_bytes(0).moves(u32::MAX);
    let server = hello(quic(limits).workers(2));
    let mut client = Client::connect(address(&server));
    // Each address belongs to one of the workers, by chance.
    let end = Instant::now() + LONG;
    while server.counters().datagrams_dropped == 0 {
        assert!(Instant::now() < end, "each is passed on");
        client.move_to("127.0.0.1:0");
        let before = server.counters().datagrams_received;
        client.quic.ping();
        client.flush();
        counted(&server, |counters| counters.datagrams_received > before);
    }
}
