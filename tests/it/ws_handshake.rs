//! Which requests become WebSockets: by the page they come from, their framing and their expectations.

use super::support::{Asked, Client, OnOwnAddr, Witness, start, workers};
use peregrine::error::ConnectionError;
use peregrine::server::Running;
use peregrine::testing::{Connection, WebSocket};
use peregrine::ws::{Hub, Message, Upgrade, WebSocketHandler, Ws, WsLimits, WsOrigins};
use peregrine::{BodyPlan, Done, Handler, Request, Response, Server};
use std::io::Read;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

/// Accepts everything, and keeps what it is told. The path says the plan for a body.
#[derive(Default)]
struct Open {
    errors: Mutex<Vec<String>>,
    messages: Mutex<Vec<String>>,
}

impl Handler for Open {
    fn body_plan(&self, req: &Request<'_>) -> BodyPlan {
        match req.path() {
            "/unread" => BodyPlan::Unread,
            "/up" => BodyPlan::BufferUpTo(1000),
            _ => BodyPlan::Buffer,
        }
    }

    fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
        res.text("no WebSocket")
    }

    fn handle_error(&self, error: &ConnectionError<'_>, _: Option<SocketAddr>) {
        let mut errors = self.errors.lock().expect("no panic");
        errors.push(error.to_string());
    }
}

impl WebSocketHandler for Open {
    type Conn = String;

    fn accept_ws(&self, req: &Request<'_>, _: &mut Upgrade<'_>) -> Option<String> {
        (req.path() != "/page").then(|| req.path().to_owned())
    }

    fn handle_ws_conn(&self, ws: &mut Ws<'_, String>) {
        assert!(ws.subscribe("room").is_ok());
    }

    fn handle_ws_frame(&self, ws: &mut Ws<'_, String>, message: Message<'_>) {
        let mut messages = self.messages.lock().expect("no panic");
        messages.push(message.as_text().unwrap_or_default().to_owned());
        let (path, mut ws) = ws.split();
        ws.send(&*path);
    }
}

fn request(path: &str, fields: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{fields}\r\n"
    )
}

/// The status of the response to these bytes.
fn status(app: &Open, request: &str) -> u16 {
    let answer = match WebSocket::connect_with(app, request.as_bytes(), WsLimits::default()) {
        Ok(client) => client.handshake().to_vec(),
        Err(answer) => answer,
    };
    let status = answer.get(9..12).and_then(|s| std::str::from_utf8(s).ok());
    let status = status.and_then(|status| status.parse().ok());
    status.unwrap_or_else(|| panic!("no status: {}", answer.escape_ascii()))
}

/// Hosts and origins, and what becomes of them if pages of the same host may come.
const PAGES: [(&str, &[&str], u16); 14] = [
    ("good.example", &[], 101),
    ("good.example", &["https://good.example"], 101),
    ("good.example", &["http://GOOD.example:80"], 101),
    ("good.example:8080", &["http://good.example:8080"], 101),
    ("[::1]:8080", &["http://[::1]:8080"], 101),
    ("good.example", &["https://evil.example"], 403),
    ("good.example", &["https://good.example.evil.example"], 403),
    ("good.example", &["https://good.example:8443"], 403),
    ("good.example:8080", &["http://good.example"], 403),
    ("good.example", &["null"], 403),
    ("good.example", &[""], 403),
    ("good.example", &["good.example"], 403),
    (
        "good.example",
        &["https://good.example", "https://good.example"],
        403,
    ),
    (
        "good.example",
        &["https://good.example", "https://evil.example"],
        403,
    ),
];

fn fields(host: &str, origins: &[&str]) -> String {
    let origins = origins.iter().map(|origin| format!("Origin: {origin}\r\n"));
    format!("Host: {host}\r\n{}", origins.collect::<String>())
}

#[test]
fn pages_of_other_sites_are_refused() {
    let app = Open::default();
    for (host, origins, expected) in PAGES {
        let got = status(&app, &request("/ws", &fields(host, origins)));
        assert_eq!(got, expected, "{host} {origins:?}");
        let told = std::mem::take(&mut *app.errors.lock().expect("no panic"));
        let text =
            "handshake refused with 403: a page of this Origin may not open a WebSocket here";
        let expected: &[&str] = if expected == 403 { &[text] } else { &[] };
        assert_eq!(told, expected, "{host} {origins:?}");
        // The same rule for forms.
        let by_rule = peregrine::from_fn(|req, res| res.text(req.is_same_origin().to_string()));
        let mut client = Connection::new(&by_rule);
        client.send(format!("POST / HTTP/1.1\r\n{}\r\n", fields(host, origins)).as_bytes());
        let is_same = got == 101;
        let end = format!("\r\n\r\n{is_same}");
        assert!(client.received().ends_with(end.as_bytes()));
    }
}

fn serve(ws_origins: WsOrigins) -> std::io::Result<Running> {
    let config = workers(1).ws_origins(ws_origins);
    let server = Server::new(Open::default()).websocket().config(config);
    server.on_own_addr().start()
}

#[test]
fn which_pages_may_come_can_be_set() {
    let ask = |server: &Running, host: &str, origins: &[&str]| {
        let mut client = Client::connect(server.local_addr().expect("an address"));
        client.send(request("/ws", &fields(host, origins)));
        let mut start = [0; 12];
        client.stream.read_exact(&mut start).expect("a response");
        let status = std::str::from_utf8(&start[9..]).expect("digits");
        status.parse::<u16>().expect("a status")
    };
    let server = serve(WsOrigins::default()).expect("a server");
    for (host, origins, expected) in PAGES {
        assert_eq!(ask(&server, host, origins), expected, "{host} {origins:?}");
    }
    let server = serve(WsOrigins::Any).expect("a server");
    for (host, origins, _) in PAGES {
        assert_eq!(ask(&server, host, origins), 101, "{host} {origins:?}");
    }
    let list = |list: &[&str]| WsOrigins::List(list.iter().map(|&one| one.to_owned()).collect());
    let server = serve(list(&["https://app.example", "null"])).expect("a server");
    for (origins, expected) in [
        (&[][..], 101),
        (&["https://APP.example:443"], 101),
        (&["null"], 101),
        (&["http://app.example"], 403),
        (&["https://good.example"], 403),
        (&["https://app.example", "https://app.example"], 403),
    ] {
        assert_eq!(
            ask(&server, "good.example", origins),
            expected,
            "{origins:?}"
        );
    }
    for wrong in ["app.example", "https://", "*", "https://app.example/path"] {
        let error = serve(list(&[wrong])).expect_err("no origin");
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    }
}

#[test]
fn a_body_is_never_parsed_as_frames() {
    let frame = "\u{1}";
    for path in ["/ws", "/unread", "/up"] {
        for (framing, body, expected) in [
            ("Content-Length: 0\r\n", "", 101),
            ("Content-Length: 1\r\n", frame, 413),
            (
                "Transfer-Encoding: chunked\r\n",
                "1\r\n\u{1}\r\n0\r\n\r\n",
                413,
            ),
            ("Transfer-Encoding: chunked\r\n", "0\r\n\r\n", 413),
        ] {
            let app = Open::default();
            let head = request(path, &format!("Host: a\r\n{framing}"));
            assert_eq!(status(&app, &(head + body)), expected, "{path} {framing}");
        }
    }
    // Over a socket: what the reviewers sent.
    let app = Arc::new(Open::default());
    let server = Server::new(app.clone()).websocket().config(workers(1));
    let server = server.on_own_addr().start().expect("a server");
    let mut client = Client::connect(server.local_addr().expect("an address"));
    client.send(request("/unread", "Host: a\r\nContent-Length: 11\r\n"));
    client.send(b"\x81\x85\0\0\0\0hello");
    assert_eq!(client.answer(Asked::Other).status, 413);
    assert!(app.messages.lock().expect("no panic").is_empty());
}

/// RFC 9110 section 7.8: a client that asks for both gets the 100 first.
#[test]
fn an_expectation_is_met_before_the_protocol_changes() {
    let app = Open::default();
    let connect = |fields: &str| {
        let request = request("/ws", &format!("Host: a\r\n{fields}"));
        WebSocket::connect_with(&app, request.as_bytes(), WsLimits::default())
    };
    let client = connect("Expect: 100-continue\r\n").expect("accepted");
    let start = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 Switching Protocols\r\n";
    assert!(client.handshake().starts_with(start));
    let client = connect("").expect("accepted");
    assert!(client.handshake().starts_with(b"HTTP/1.1 101 "));
    let refused = connect("Expect: 100-continue\r\nOrigin: http://b\r\n");
    assert!(refused.expect_err("refused").starts_with(b"HTTP/1.1 403 "));
}

#[test]
fn the_key_of_the_rfc_is_accepted() {
    let app = Open::default();
    let request = request("/ws", "Host: a\r\n")
        .replace("dGhlIHNhbXBsZSBub25jZQ==", "AQIDBAUGBwgJCgsMDQ4PEC==");
    let client = WebSocket::connect_with(&app, request.as_bytes(), WsLimits::default());
    let client = client.expect("accepted");
    let text = String::from_utf8_lossy(client.handshake());
    assert!(
        text.contains("Sec-WebSocket-Accept: OfS0wDaT5NoxF2gqm7Zj2YtetzM=\r\n"),
        "{text}"
    );
}

#[test]
fn a_server_without_websockets_says_so_to_its_handler() {
    let witness = Witness::new(|_, res| res.text("hi"));
    let (server, addr) = start(witness.clone(), workers(1));
    let mut client = Client::connect(addr);
    let peer = client.stream.local_addr().expect("a socket");
    let wanted = request("/ws", "Host: a\r\n");
    let mixed = wanted.replace("Connection: ", "Connection: keep-alive, ");
    for wanted in [wanted, mixed] {
        client.send(wanted);
        assert_eq!(client.answer(Asked::Other).body, b"hi");
        let text = witness.one_error("no websockets", peer);
        assert!(text.contains("Server::websocket"), "{text}");
    }
    for other in [
        "Connection: keep-alive",
        "Connection: upgrade\r\nUpgrade: h2c",
        "X: y",
    ] {
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{other}\r\n\r\n"));
        assert_eq!(client.answer(Asked::Other).body, b"hi");
    }
    assert!(witness.take_errors().is_empty());
    drop(server);
}

#[test]
fn messages_of_a_hub_reach_a_client_in_memory() {
    let (app, hub) = (Open::default(), Hub::new());
    let client = WebSocket::connect_with_hub(&app, "/ws", &hub);
    let mut client = client.unwrap_or_else(|_| panic!("refused"));
    assert_eq!(hub.connections(), 1);
    assert!(hub.publish("room", "a").is_queued() && hub.publish("hall", "b").is_queued());
    assert!(hub.broadcast("c").is_queued());
    assert_eq!(client.take_received(), b"\x81\x01a\x81\x01c");
    client.send_message("x");
    assert_eq!(client.take_received(), b"\x81\x03/ws");
    drop(client);
    // A hub is of one server.
    let server = Server::new(Open::default()).websocket().with_hub(&hub);
    let error = server.on_own_addr().start().expect_err("it is taken");
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
}

#[test]
fn a_hub_made_before_its_server_reaches_its_connections() {
    let hub = Hub::new();
    let server = Server::new(Open::default()).websocket().with_hub(&hub);
    let server = server.config(workers(1)).on_own_addr().start();
    let server = server.expect("a server");
    let url = format!("ws://{}/ws", server.local_addr().expect("an address"));
    let (mut client, _) = tungstenite::connect(url).expect("a handshake");
    client.send("hello".into()).expect("sent");
    assert_eq!(client.read().expect("an answer").to_string(), "/ws");
    assert!(hub.publish("room", "news").is_queued());
    assert_eq!(client.read().expect("a message").to_string(), "news");
    // A server that cannot start leaves no thread that takes messages.
    let hub = Hub::new();
    let server = Server::new(Open::default()).websocket().with_hub(&hub);
    server.start().expect_err("no address");
    assert_eq!(hub.broadcast("x"), peregrine::ws::Sent::Closed);
}

#[test]
fn a_response_with_a_file_is_no_websocket() {
    struct Files;
    impl Handler for Files {
        fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/LICENSE-MIT");
            let file = std::fs::File::open(path).expect("a file");
            res.send_file(Arc::new(file), 0..9)
        }
    }
    impl WebSocketHandler for Files {
        type Conn = ();
        fn accept_ws(&self, _: &Request<'_>, _: &mut Upgrade<'_>) -> Option<()> {
            None
        }
        fn handle_ws_frame(&self, _: &mut Ws<'_, ()>, _: Message<'_>) {}
    }
    let answer = WebSocket::connect(&Files, "/").expect_err("no WebSocket");
    let licence = include_bytes!("../../LICENSE-MIT");
    assert!(answer.ends_with(&licence[..9]), "{}", answer.escape_ascii());
}
