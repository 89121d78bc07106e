//! The end of a server: requests under way, clients that stay, and a successor.

use super::client::{Client, Settings};
use super::{LONG, address, counted, hello, tls};
use peregrine::server::Running;
use peregrine::{Config, Handler, Limits, Responder, Server, from_fn};
use peregrine_protocol::h3::frame::write;
use quinn_proto::{ConnectionError, Dir};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Defers each response of `/late`, and says hello otherwise.
fn deferring() -> (impl Handler, Receiver<Responder>) {
    let (put, take) = channel();
    let put = std::sync::Mutex::new(put);
    let app = from_fn(move |req, res| {
        if req.path() != "/late" {
            return res.text("hello");
        }
        let (done, responder) = res.defer();
        let sent = put.lock().expect("no panic").send(responder);
        sent.expect("the test waits");
        done
    });
    (app, take)
}

/// Whether the client knows that it shall open no more streams, and that those that it has opened are served.
fn is_told(client: &Client) -> bool {
    let mut goaway = Vec::new();
    write::goaway((1 << 62) - 4, &mut goaway);
    let mut of = client.streams.iter();
    of.any(|(id, of)| {
        id.dir() == Dir::Uni && of.bytes.windows(goaway.len()).any(|bytes| bytes == goaway)
    })
}

fn is_no_error(error: &ConnectionError) -> bool {
    match error {
        ConnectionError::ApplicationClosed(close) => close.error_code.into_inner() == 0x100,
        _ => false,
    }
}

#[test]
fn a_stop_waits_for_requests() {
    let (app, responders) = deferring();
    // The worker that says that it stops is the one that refuses others.
    let server = Server::new(app).config(Config::default().workers(1));
    let server = server.bind_tls("127.0.0.1:0", tls()).start();
    let server = server.expect("a server");
    let mut client = Client::connect(address(&server));
    let id = client.ask("GET", "/late", true);
    let responder = responders.recv_timeout(LONG).expect("a request");
    assert!(!is_told(&client));
    server.stopper().stop();
    client.until(|client| is_told(client));
    let mut late = Client::new(address(&server), Settings::default());
    assert!(matches!(late.end(), ConnectionError::ConnectionClosed(_)));
    responder.send(|res| res.text("in time")).expect("pending");
    assert_eq!(client.response(id).text(), "in time");
    let error = client.end();
    assert!(is_no_error(&error), "{error}");
    let stopped = server.wait().expect("no error");
    assert_eq!((stopped.drained, stopped.aborted), (1, 0));
}

#[test]
fn a_request_that_takes_too_long_is_cut() {
    let (app, responders) = deferring();
    let config = Config::default().stop_timeout(Duration::from_secs(1));
    let server = Server::new(app).config(config);
    let server = server.bind_tls("127.0.0.1:0", tls()).start();
    let server = server.expect("a server");
    let mut client = Client::connect(address(&server));
    client.ask("GET", "/late", true);
    let _responder = responders.recv_timeout(LONG).expect("a request");
    server.stopper().stop();
    let error = client.end();
    assert!(is_no_error(&error), "{error}");
    assert_eq!(server.wait().expect("no error").aborted, 1);
}

/// Nothing but its clients ends a stop.
fn patient() -> Config {
    let limits = Limits::default().stop_grace(LONG);
    let config = Config::default().workers(2).limits(limits);
    config.stop_timeout(LONG).tls_handshake_timeout(LONG)
}

/// Clients of a server without others: some that are connected, and as many that have begun their handshake.
fn connected_and_begun(server: &Running) -> [Vec<Client>; 2] {
    let new = || Client::new(address(server), Settings::default());
    let [mut connected, mut begun] = [(); 2].map(|()| (0..4).map(|_| new()).collect::<Vec<_>>());
    connected.iter_mut().for_each(Client::complete);
    begun.iter_mut().for_each(Client::flush);
    counted(server, |counters| counters.accepted == 8);
    [connected, begun]
}

/// Those that have begun go on after the others have heard of the stop: they are served, and hear of it, too.
fn are_served([mut connected, mut begun]: [Vec<Client>; 2], text: &str) {
    for client in &mut connected {
        client.until(|client| is_told(client));
    }
    for client in &mut begun {
        client.complete();
        assert_eq!(client.get("/").text(), text);
        client.until(|client| is_told(client));
    }
    connected.iter_mut().for_each(Client::close);
    begun.iter_mut().for_each(Client::close);
}

#[test]
fn a_handshake_may_be_completed_during_a_stop() {
    let server = hello(patient());
    let clients = connected_and_begun(&server);
    server.stopper().stop();
    are_served(clients, "hello");
    let stopped = server.wait().expect("no error");
    assert_eq!((stopped.drained, stopped.aborted), (8, 0));
}

/// Of the two times the shorter one ends it.
#[test]
fn a_handshake_that_is_not_completed_ends_during_a_stop() {
    let second = Duration::from_secs(1);
    for (grace, handshake) in [(Duration::ZERO, LONG), (second, LONG), (LONG, second)] {
        let limits = Limits::default().stop_grace(grace);
        let config = patient().limits(limits).tls_handshake_timeout(handshake);
        let server = hello(config);
        let mut silent = Client::new(address(&server), Settings::default());
        silent.flush();
        counted(&server, |counters| counters.accepted == 1);
        server.stopper().stop();
        let stopped = server.wait().expect("no error");
        assert_eq!((stopped.drained, stopped.aborted), (1, 0));
    }
}

/// The successor knows nothing of it.
#[test]
#[cfg(any(target_os = "linux", target_os = "freebsd"))]
fn a_handshake_may_be_completed_during_a_hand_over() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("an address");
    let [old, new] = ["old", "new"].map(|text| {
        let server = Server::from_fn(move |_, res| res.text(text)).config(patient());
        server.listener_tls(listener.try_clone().expect("the same"), tls())
    });
    let old = old.start().expect("a server");
    let clients = connected_and_begun(&old);
    let new = new.start().expect("a server");
    old.leave_backlog();
    old.stopper().stop();
    are_served(clients, "old");
    let stopped = old.wait().expect("no error");
    assert_eq!((stopped.drained, stopped.aborted), (8, 0));
    let mut later = Client::connect(address(&new));
    assert_eq!(later.get("/").text(), "new");
    later.close();
}

/// A listener whose port is free over UDP, too.
#[cfg(any(target_os = "linux", target_os = "freebsd"))]
fn listener() -> std::net::TcpListener {
    loop {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("an address");
        let addr = listener.local_addr().expect("an address");
        if std::net::UdpSocket::bind(addr).is_ok() {
            return listener;
        }
    }
}

/// The old server goes on with the connections that it has, and the new one gets the others.
#[test]
#[cfg(any(target_os = "linux", target_os = "freebsd"))]
fn a_successor_takes_over() {
    let listener = listener();
    let (app, responders) = deferring();
    let config = Config::default().workers(2).stop_timeout(LONG);
    let old = Server::new(app).config(config);
    let old = old.listener_tls(listener.try_clone().expect("the same"), tls());
    let old = old.start().expect("a server");
    let mut clients: Vec<_> = (0..8).map(|_| Client::connect(address(&old))).collect();
    let ask = |client: &mut Client| client.ask("GET", "/late", true);
    let ids: Vec<_> = clients.iter_mut().map(ask).collect();
    let waiting: Vec<_> = (0..8)
        .map(|_| responders.recv_timeout(LONG).expect("a request"))
        .collect();

    let new = Server::from_fn(|_, res| res.text("new"));
    let new = new.config(Config::default().workers(2));
    let new = new.listener_tls(listener, tls()).start().expect("a server");
    old.leave_backlog();
    old.stopper().stop();
    for client in &mut clients {
        client.until(|client| is_told(client));
    }
    let mut later = Client::connect(address(&new));
    assert_eq!(later.get("/").text(), "new");
    // Before the others: a late acknowledgement would look like a long way, for which the server waits after the end.
    later.close();
    for responder in waiting {
        responder.send(|res| res.text("old")).expect("pending");
    }
    for (client, id) in clients.iter_mut().zip(ids) {
        assert_eq!(client.response(id).text(), "old");
        let error = client.end();
        assert!(is_no_error(&error), "{error}");
    }
    assert_eq!(old.wait().expect("no error").aborted, 0);
    for _ in 0..8 {
        let mut client = Client::connect(address(&new));
        assert_eq!(client.get("/").text(), "new");
        client.close();
    }
    counted(&new, |counters| counters.closed == 9);
}
