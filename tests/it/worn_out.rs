//! Limits of a connection as a whole, and host names that the server does not accept.

use super::support::{Asked, Client, OnOwnAddr, Witness, ended, limits, start, workers};
use peregrine::testing::Connection;
use peregrine::{BodyPlan, Config, Done, Handler, Limits, Request, Response, Server, from_fn};
use std::time::Duration;

fn hello(_: &Request<'_>, res: Response<'_>) -> Done {
    res.text("hi")
}

fn with(limits: Limits) -> Config {
    workers(1).limits(limits)
}

// ------------------------------------------------------------------------- requests and age

#[test]
fn the_last_request_of_a_connection_is_announced() {
    for (most, answers) in [(0, 1), (1, 1), (3, 3)] {
        let limits = limits().requests_per_connection(most);
        let (server, addr) = start(from_fn(hello), with(limits));
        let mut one_by_one = Client::connect(addr);
        for n in 1..=answers {
            assert_eq!(
                one_by_one.get("/").closes(),
                n == answers,
                "{n} of {answers}"
            );
        }
        one_by_one.expect_end();
        drop(one_by_one);

        let mut pipelined = Client::connect(addr);
        pipelined.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(5));
        for n in 1..=answers {
            let answer = pipelined.answer(Asked::Other);
            assert_eq!((answer.status, answer.closes()), (200, n == answers));
        }
        pipelined.expect_end();
        drop(pipelined);
        assert_eq!(
            server.counters().requests,
            2 * answers,
            "no more than were promised"
        );
        server.stop();
        ended(server);
    }
}

#[test]
fn the_age_counts_from_the_accept() {
    let app = from_fn(hello);
    let limits = Limits::default().connection_age(Duration::from_secs(60));
    let mut client = Connection::with_limits(&app, limits);
    let mut asks_at = |seconds| {
        client.elapse(Duration::from_secs(seconds));
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let answer = String::from_utf8(client.take_received()).expect("text");
        assert!(answer.ends_with("\r\n\r\nhi"), "{answer}");
        (
            answer.contains("\r\nConnection: close\r\n"),
            client.is_closed(),
        )
    };
    assert_eq!(asks_at(0), (false, false));
    assert_eq!(asks_at(59), (false, false));
    assert_eq!(asks_at(1), (true, true));
}

/// By the clock of a real server.
#[test]
fn an_old_connection_ends_with_a_response() {
    let limits = limits().connection_age(Duration::from_secs(1));
    let (server, addr) = start(from_fn(hello), with(limits));
    let mut client = Client::connect(addr);
    super::support::wait_until("the connection is old", || {
        let answer = client.get("/");
        assert_eq!(answer.status, 200);
        answer.closes()
    });
    client.expect_end();
    drop(client);
    server.stop();
    ended(server);
}

// ------------------------------------------------------------------------------------- hosts

fn ours(names: &[&str]) -> Config {
    workers(1).allowed_hosts(names.iter().copied())
}

#[test]
fn other_host_names_are_refused() {
    let witness = Witness::new(hello);
    let (server, addr) = start(
        witness.clone(),
        ours(&["localhost", "a.example:81", "[::1]"]),
    );
    let cases = [
        ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
        ("GET / HTTP/1.1\r\nHost: LocalHost:8080\r\n\r\n", 200),
        ("GET / HTTP/1.0\r\nHost: [::1]:8080\r\n\r\n", 200),
        ("GET / HTTP/1.1\r\nHost: a.example:81\r\n\r\n", 200),
        ("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", 421),
        (
            "GET / HTTP/1.1\r\nHost: localhost.evil.example\r\n\r\n",
            421,
        ),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", 421),
        ("GET / HTTP/1.0\r\n\r\n", 421),
        (
            "GET http://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
            200,
        ),
        (
            "GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n",
            421,
        ),
        // Two that differ could be read differently.
        (
            "GET http://localhost/ HTTP/1.1\r\nHost: evil.example\r\n\r\n",
            400,
        ),
        (
            "GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
            400,
        ),
        // What is malformed stays that.
        (
            "GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
            400,
        ),
    ];
    let mut refused = 0;
    for (request, status) in cases {
        let mut client = Client::connect(addr);
        let peer = client.stream.local_addr().expect("an address");
        client.send(request);
        let answer = client.answer(Asked::Other);
        assert_eq!(answer.status, status, "{request}");
        if status == 421 {
            assert!(answer.closes());
            assert_eq!(answer.text(), "this server does not serve that host name\n");
            client.expect_end();
        }
        if status != 200 {
            witness.one_error("refused", peer);
            refused += 1;
        }
        drop(client);
    }
    assert_eq!(server.counters().refused, refused);
    assert!(witness.take_errors().is_empty());
    server.stop();
    ended(server);
}

/// Neither its plan nor its body: nothing of such a request is looked at.
#[test]
fn no_body_is_accepted_for_another_host() {
    struct App;
    impl Handler for App {
        fn body_plan(&self, req: &Request<'_>) -> BodyPlan {
            assert_eq!(req.host(), Some("ours"), "the handler gets no other host");
            BodyPlan::Buffer
        }

        fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
            res.body(req.body())
        }
    }
    let (server, addr) = start(App, ours(&["ours"]));
    let post = |host: &str, body: &str| {
        format!("POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 4\r\n{body}")
    };
    let mut client = Client::connect(addr);
    client.send(post("ours", "\r\nbody"));
    assert_eq!(client.answer(Asked::Other).text(), "body");
    // No `100 Continue`: the response is the first thing that comes.
    client.send(post("theirs", "Expect: 100-continue\r\n\r\n"));
    assert_eq!(client.answer(Asked::Other).status, 421);
    client.expect_end();
    drop(client);

    let mut client = Client::connect(addr);
    // What follows on the connection is lost with it.
    client.send(post("theirs", "\r\nbody") + &post("ours", "\r\nbody"));
    assert_eq!(client.answer(Asked::Other).status, 421);
    client.expect_end();
    drop(client);
    assert_eq!(server.counters().handler_errors, 0);
    server.stop();
    ended(server);
}

#[cfg(feature = "websocket")]
#[test]
fn no_websocket_for_another_host() {
    use crate::support::{PATIENCE, Stream};
    use peregrine::ws::{Message, Upgrade, WebSocketHandler, Ws};

    struct App;
    impl Handler for App {
        fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
            res.text("no WebSocket")
        }
    }
    impl WebSocketHandler for App {
        type Conn = ();
        fn accept_ws(&self, req: &Request<'_>, _: &mut Upgrade<'_>) -> Option<()> {
            assert_eq!(req.host(), Some("ours"));
            Some(())
        }
        fn handle_ws_frame(&self, _: &mut Ws<'_, ()>, _: Message<'_>) {}
    }
    let server = Server::new(App).websocket().config(ours(&["ours"]));
    let server = server.on_own_addr().start().expect("a server");
    let addr = server.local_addr().expect("an address");
    for (host, accepted) in [("ours", true), ("theirs", false)] {
        let stream = Stream::connect(addr).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let shake = tungstenite::client(format!("ws://{host}/"), stream);
        match shake {
            Ok(_) => assert!(accepted, "{host}"),
            Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(answer))) => {
                assert_eq!((accepted, answer.status().as_u16()), (false, 421));
            }
            Err(error) => panic!("{host}: {error}"),
        }
    }
    server.stop();
    ended(server);
}

#[test]
fn names_that_are_none_are_refused_at_the_start() {
    let server = Server::from_fn(hello).config(ours(&["*"]));
    let error = server.on_own_addr().start().expect_err("no host");
    assert!(error.to_string().contains("`*`"), "{error}");
    for wrong in ["", "a b", "http://a", "a/", "user@a", "*", "*.a", "a:*"] {
        let server = Server::from_fn(hello).config(ours(&["fine", wrong]));
        let error = server.on_own_addr().start().expect_err("no host");
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains("allowed_hosts"), "{error}");
    }
}
