//! The traffic that every server of these tests gets.

use crate::support::{OnOwnAddr, PATIENCE, Stream, ended};
use peregrine::metrics::Stats;
use peregrine::server::Stopped;
use peregrine::sse::Event;
use peregrine::{BodyPlan, Config, Done, Handler, Request, Response, Server};
use std::thread;
use std::time::Duration;

pub(super) struct App;

impl Handler for App {
    fn body_plan(&self, req: &Request<'_>) -> BodyPlan {
        match req.path() {
            "/any" => BodyPlan::BufferUpTo(usize::MAX),
            _ => BodyPlan::Buffer,
        }
    }

    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        match req.path() {
            "/stream" => {
                let (done, mut sender) = res.stream();
                thread::spawn(move || {
                    let _ = sender.send("streamed").and_then(|()| sender.finish());
                });
                done
            }
            "/offload" => res.offload(req, |_, res| res.text("offloaded")),
            "/timer" => {
                let timers = res.timers();
                let _ = timers.every(Duration::MAX, || {});
                let (done, responder) = res.defer();
                let _ = timers.after(Duration::ZERO, move || {
                    let _ = responder.send(|res| res.text("deferred"));
                });
                done
            }
            "/events" => {
                let (done, mut page) = res.events_with_heartbeat(Duration::ZERO);
                let _ = page.send(Event::new().retry(Duration::MAX).data("one"));
                done
            }
            _ => res.body(req.body()),
        }
    }
}

#[cfg(feature = "websocket")]
impl peregrine::ws::WebSocketHandler for App {
    type Conn = ();

    fn accept_ws(&self, _: &Request<'_>, _: &mut peregrine::ws::Upgrade<'_>) -> Option<()> {
        Some(())
    }

    fn handle_ws_conn(&self, ws: &mut peregrine::ws::Ws<'_, ()>) {
        let _ = ws.subscribe("topic");
        ws.send("welcome");
    }

    fn handle_ws_frame(
        &self,
        ws: &mut peregrine::ws::Ws<'_, ()>,
        message: peregrine::ws::Message<'_>,
    ) {
        ws.send(message);
        ws.publish("topic", "published");
        ws.hub().send(ws.id(), "by another way");
    }
}

/// Requests of all kinds, one connection each. The setting decides about their outcome. The test checks that
/// they end.
fn requests() -> Vec<Vec<u8>> {
    let get = |path| format!("GET {path} HTTP/1.1\r\nHost: a\r\n");
    let post = |path| format!("POST {path} HTTP/1.1\r\nHost: a\r\n");
    let close = "Connection: close\r\n\r\n";
    let http1 = vec![
        get("/") + "\r\n" + &get("/") + close,
        get(&format!("/{}", "t".repeat(100))) + close,
        get("/stream") + close,
        get("/offload") + close,
        get("/timer") + close,
        get("/events") + close,
        post("/") + "Content-Length: 4\r\n" + close + "body",
        post("/any")
            + "Transfer-Encoding: chunked\r\n"
            + close
            + "4;x=y\r\nbody\r\n0\r\na: b\r\n\r\n",
        post("/") + "Content-Length: 18446744073709551615\r\n\r\n",
        post("/any") + "Content-Length: 18446744073709551615\r\n\r\n",
        post("/any") + "Content-Length: 9223372036854775807\r\n\r\nbody",
        post("/") + "Content-Length: 100000\r\n\r\n" + &"b".repeat(2000),
        get("/ws")
            + "Origin: http://a\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\n"
            + "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    ];
    let mut all: Vec<Vec<u8>> = http1.into_iter().map(String::into_bytes).collect();
    all.push(HTTP2.concat());
    all
}

/// The preface of HTTP/2, empty SETTINGS, GET of `/`, POST with a body of four bytes.
const HTTP2: [&[u8]; 5] = [
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\0\0\0\x04\0\0\0\0\0",
    b"\0\0\x06\x01\x05\0\0\0\x01\x82\x86\x84\x41\x01a",
    b"\0\0\x06\x01\x04\0\0\0\x03\x83\x86\x84\x41\x01a",
    b"\0\0\x04\0\x01\0\0\0\x03body",
];

/// `hello`, a ping, and a close, masked with zeros.
const FRAMES: &[u8] = b"\x81\x85\0\0\0\0hello\x89\x80\0\0\0\0\x88\x82\0\0\0\0\x03\xe8";

fn ask(addr: std::net::SocketAddr, request: &[u8]) {
    use std::io::{Read, Write};
    let Ok(mut stream) = Stream::connect(addr) else {
        return;
    };
    let limit = Some(PATIENCE);
    stream.set_read_timeout(limit).expect("a socket");
    let is_ws = request.windows(7).any(|part| part == b"Upgrade");
    let _ = stream.write_all(request);
    if is_ws {
        let _ = stream.write_all(FRAMES);
    }
    // The client says that it is done, so that nothing has to wait for a limit.
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("no end: {error}"),
    }
}

/// Refused at the start with a sentence, or served.
pub(super) fn play(name: &str, config: Config) {
    let server = Server::new(App).config(config).on_own_addr();
    #[cfg(feature = "websocket")]
    let server = server.websocket();
    let stats = Stats::new();
    let server = match server.stats(&stats).start() {
        Ok(server) => server,
        Err(error) => {
            let field = name.split(" = ").next().unwrap_or(name);
            let text = error.to_string();
            assert!(text.contains(field), "{name}: {text}");
            return;
        }
    };
    let addr = server.local_addr().expect("an address");
    for request in requests() {
        ask(addr, &request);
    }
    server.stopper().stop_now();
    let Stopped { counters, .. } = ended(server);
    assert_eq!(counters.panics + counters.internal_errors, 0, "{name}");
    assert!(counters.accepted > 0, "{name}");
}
