//! Limits that no other file tests.

#[cfg(target_os = "linux")]
use super::support::{Client, start, wait_until, workers};
#[cfg(target_os = "linux")]
use peregrine::from_fn;

/// No client connects beyond the number that may wait to be accepted.
#[cfg(target_os = "linux")]
#[test]
fn the_backlog_is_bounded() {
    use socket2::{Domain, Socket, Type};

    const MANY: usize = 40;
    let config = workers(1).connections(1).backlog(3);
    let (server, addr) = start(from_fn(|_, res| res.text("hi")), config);
    let mut busy = Client::connect(addr);
    busy.send("GET / HT");
    wait_until("it is busy", || server.counters().bytes_read == 8);
    let sockets: Vec<_> = (0..MANY)
        .map(|_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
            socket.set_nonblocking(true).expect("a socket");
            // It is under way.
            let _ = socket.connect(&addr.into());
            socket
        })
        .collect();
    let connected = || sockets.iter().filter(|s| s.peer_addr().is_ok()).count();
    wait_until("some wait", || connected() > 0);
    // The system lets in one more, and any whose greetings crossed.
    assert!(connected() < MANY / 2, "{}", connected());
    assert_eq!(server.counters().accepted, 1);
}

#[cfg(feature = "websocket")]
#[test]
fn the_topics_of_a_connection_are_limited() {
    use peregrine::testing::WebSocket;
    use peregrine::ws::{Message, Upgrade, WebSocketHandler, Ws, WsLimits};
    use peregrine::{Done, Handler, Request, Response};

    struct App;
    impl Handler for App {
        fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
            res.text("no WebSocket")
        }
    }
    impl WebSocketHandler for App {
        type Conn = usize;
        fn accept_ws(&self, _: &Request<'_>, _: &mut Upgrade<'_>) -> Option<usize> {
            Some(0)
        }
        fn handle_ws_frame(&self, ws: &mut Ws<'_, usize>, message: Message<'_>) {
            let topic = message.as_text().expect("a topic");
            *ws.conn += usize::from(ws.subscribe(topic).is_ok());
        }
    }
    let request = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    for topics in [0, 1, 3] {
        for longest in [0, 1, 3] {
            let limits = WsLimits::default().topics(topics).topic_bytes(longest);
            let client = WebSocket::connect_with(&App, request, limits);
            let mut client = client.expect("a WebSocket");
            for topic in ["a", "aaaa", "aaa", "aa", "b", "é"] {
                client.send_message(topic);
            }
            let short_enough = [0, 2, 2, 5][longest];
            assert_eq!(*client.conn(), topics.min(short_enough));
        }
    }
}

/// The shorthands of `Server` set what they name, and nothing else.
#[test]
fn shorthands_set_parts_of_the_configuration() {
    use super::support::{Asked, Client, OnOwnAddr, workers};
    use peregrine::{Limits, Server};

    let server = Server::from_fn(|_, res| res.text("hi"))
        .config(workers(1).keep_alive(false))
        .workers(2)
        .limits(Limits::default().target_bytes(10))
        .max_body(5);
    let server = server.on_own_addr().start().expect("a server");
    assert_eq!(server.worker_counters().len(), 2);
    let addr = server.local_addr().expect("a TCP address");
    let status = |request: String| {
        let mut client = Client::connect(addr);
        client.send(request);
        let answer = client.answer(Asked::Other);
        assert!(answer.closes(), "as the configuration says");
        answer.status
    };
    let post = |len| {
        let body = "x".repeat(len);
        format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n{body}")
    };
    assert_eq!(status(post(5)), 200);
    assert_eq!(status(post(6)), 413);
    assert_eq!(
        status("GET /123456789 HTTP/1.1\r\nHost: a\r\n\r\n".into()),
        200
    );
    assert_eq!(
        status("GET /1234567890 HTTP/1.1\r\nHost: a\r\n\r\n".into()),
        414
    );
}
