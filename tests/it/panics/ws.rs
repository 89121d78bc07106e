//! The hooks of a WebSocket handler.

use super::super::support::{OnOwnAddr, Stream};
use super::*;
use peregrine::Server;
use peregrine::relay::{Relay, RelayHandle, RelayMessage, Relayed};
use peregrine::server::Running;
use peregrine::ws::{Disconnect, Hub, Message, Upgrade, WebSocketHandler, Ws};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tungstenite::{Message as Theirs, WebSocket, protocol::frame::coding::CloseCode};

struct Hooks {
    raise: Raise,
    begun: AtomicU64,
    ended: AtomicU64,
}

impl Handler for Hooks {
    fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
        res.text("no WebSocket")
    }

    fn handle_error(&self, _: &ConnectionError<'_>, _: Option<SocketAddr>) {
        (self.raise)();
    }
}

impl WebSocketHandler for Hooks {
    type Conn = (String, Option<Bomb>);

    fn accept_ws(&self, req: &Request<'_>, _: &mut Upgrade<'_>) -> Option<Self::Conn> {
        match req.path() {
            "/accept" => (self.raise)(),
            "/refuse" => None,
            path => Some((
                path.to_owned(),
                path.starts_with("/drop").then(|| Bomb(self.raise)),
            )),
        }
    }

    fn handle_ws_conn(&self, ws: &mut Ws<'_, Self::Conn>) {
        self.begun.fetch_add(1, Ordering::SeqCst);
        match ws.conn.0.as_str() {
            "/conn" => (self.raise)(),
            // A pong comes back; the backlog falls when the client reads.
            "/pong" => drop(ws.ping(b"")),
            "/relay" => assert!(ws.subscribe("any").is_ok()),
            "/drain" => drop(ws.send(&vec![0; 3 << 20][..])),
            _ => {}
        }
    }

    fn handle_ws_frame(&self, ws: &mut Ws<'_, Self::Conn>, message: Message<'_>) {
        match ws.conn.0.as_str() {
            "/frame" => (self.raise)(),
            "/relay" => drop(ws.publish("any", message)),
            _ => drop(ws.send(message)),
        }
    }

    fn handle_ws_pong(&self, ws: &mut Ws<'_, Self::Conn>, _: &[u8]) {
        if ws.conn.0 == "/pong" {
            (self.raise)();
        }
    }

    fn handle_ws_drain(&self, ws: &mut Ws<'_, Self::Conn>) {
        if ws.conn.0 == "/drain" {
            (self.raise)();
        }
    }

    fn handle_ws_disconn(&self, ws: &mut Ws<'_, Self::Conn>, _: &Disconnect) {
        self.ended.fetch_add(1, Ordering::SeqCst);
        if ws.conn.0 == "/disconn" {
            (self.raise)();
        }
    }
}

struct Failing(Raise);

impl Relay for Failing {
    fn publish(&self, _: Option<&str>, _: RelayMessage<'_>) -> Relayed {
        (self.0)()
    }

    // These end nothing: no code of the program has called them.
    fn subscribed(&self, _: &str) {
        (self.0)();
    }

    fn stopping(&self) {
        (self.0)();
    }

    fn stopped(&self) {
        (self.0)();
    }
}

struct Bench {
    hooks: Arc<Hooks>,
    hub: Hub,
    server: Running,
    addr: SocketAddr,
}

fn bench(raise: Raise) -> Bench {
    let hooks = Arc::new(Hooks {
        raise,
        begun: AtomicU64::new(0),
        ended: AtomicU64::new(0),
    });
    let config = workers(1)
        .ws_threads(1)
        .ws_limits(peregrine::ws::WsLimits::default().backlog_bytes(8 << 20));
    let server = Server::new(hooks.clone()).websocket().config(config);
    let hub = server.hub();
    let relay = RelayHandle::new(Failing(raise));
    assert!(hub.set_relay(&relay).is_ok());
    let server = server.on_own_addr().start().expect("a server");
    let addr = server.local_addr().expect("a TCP address");
    Bench {
        hooks,
        hub,
        server,
        addr,
    }
}

impl Bench {
    fn connect(&self, path: &str) -> WebSocket<Stream> {
        let stream = Stream::connect(self.addr).expect("a connection");
        let limit = Some(super::super::support::PATIENCE);
        stream.set_read_timeout(limit).expect("a socket");
        let url = format!("ws://{}{path}", self.addr);
        let (client, _) = tungstenite::client(url, stream).expect("a handshake");
        client
    }

    /// All connections except `left` are gone, the end of each was reported, and the server stops well.
    #[track_caller]
    fn end(self, left: u64, panics: u64) {
        wait_until("the others are closed", || {
            let counters = self.server.counters();
            counters.accepted == counters.closed + left
        });
        self.server.stop();
        let stopped = ended(self.server);
        assert_eq!((stopped.aborted, stopped.counters.panics), (0, panics));
        let count = |n: &AtomicU64| n.load(Ordering::SeqCst);
        assert_eq!(count(&self.hooks.begun), count(&self.hooks.ended));
    }
}

fn echo(client: &mut WebSocket<Stream>) {
    client.send(Theirs::text("hello")).expect("sent");
    assert_eq!(client.read().expect("a message"), Theirs::text("hello"));
}

#[test]
fn a_panic_in_a_hook_closes_its_websocket_only() {
    RAISES.into_iter().for_each(panic_in_hooks);
}

fn panic_in_hooks(raise: Raise) {
    let bench = bench(raise);
    let mut other = bench.connect("/other");
    let mut refused = Client::connect(bench.addr);
    refused.send(
        "GET /accept HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    assert_eq!(refused.answer(Asked::Other).status, 500);
    refused.expect_end();
    drop(refused);
    for path in ["/conn", "/frame", "/pong", "/drain", "/relay"] {
        let mut client = bench.connect(path);
        if matches!(path, "/frame" | "/relay") {
            client.send(Theirs::text("hello")).expect("sent");
        }
        let code = loop {
            match client.read() {
                Ok(Theirs::Close(frame)) => break frame.map(|frame| frame.code),
                Ok(_) => {}
                Err(error) => panic!("{path}: {error}"),
            }
        };
        assert_eq!(code, Some(CloseCode::Error), "{path}");
        drop(client);
        echo(&mut other);
    }
    // Where it is the caller's own thread, it is the caller's own panic.
    let hub = bench.hub.clone();
    let publishes = thread::spawn(move || hub.publish("any", "text"));
    expect_panic(publishes);
    echo(&mut other);
    drop(other);
    // The handshake and the five hooks, and `handle_error` for each.
    bench.end(0, 12);
}

#[test]
fn a_panic_at_the_end_of_a_websocket_is_harmless() {
    RAISES.into_iter().for_each(panic_at_the_end);
}

fn panic_at_the_end(raise: Raise) {
    let bench = bench(raise);
    let mut other = bench.connect("/other");
    for path in ["/disconn", "/drop"] {
        for end in 0..4 {
            let mut client = bench.connect(path);
            echo(&mut client);
            match end {
                0 => client.close(None).expect("sent"),
                1 => {
                    let socket = socket2::SockRef::from(client.get_ref());
                    socket.set_linger(Some(Duration::ZERO)).expect("a socket");
                }
                // Not masked: refused.
                2 => std::io::Write::write_all(client.get_mut(), b"\x81\x00").expect("sent"),
                _ => {}
            }
            drop(client);
            echo(&mut other);
        }
    }
    // And one at the end of the server.
    let mut stays = bench.connect("/drop");
    echo(&mut stays);
    let reads = thread::spawn(move || while stays.read().is_ok() {});
    drop(other);
    // In four of the ends of `/disconn`, with `handle_error` for each, and five drops.
    bench.end(1, 13);
    reads.join().expect("no panic");
}
