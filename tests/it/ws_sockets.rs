//! WebSockets over real sockets, with tungstenite as the client, which shares the frame header with
//! the library and nothing else.

use super::support::{
    NEVER, OnOwnAddr, PATIENCE, Random, Stream, ended, limits, wait_until, workers,
};
use peregrine::server::Running;
use peregrine::ws::{
    Disconnect, Hub, Message, Sent, Upgrade, WebSocketHandler, Ws, WsId, WsLimits,
};
use peregrine::{Config, Done, Handler, Limits, Request, Response, Server};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::protocol::{Role, WebSocketConfig, frame::Frame};
use tungstenite::{Message as Theirs, WebSocket};

#[derive(Default)]
pub(crate) struct App {
    pub(crate) open: AtomicUsize,
    ids: Mutex<Vec<WsId>>,
    ends: Mutex<Vec<String>>,
}

impl App {
    /// The ids of all connections, in their order.
    pub(crate) fn ids(&self) -> Vec<WsId> {
        self.ids.lock().expect("no panic").clone()
    }
}

impl Handler for App {
    fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
        res.text("not a WebSocket")
    }
}

impl WebSocketHandler for App {
    type Conn = &'static str;

    fn accept_ws(&self, req: &Request<'_>, _: &mut Upgrade<'_>) -> Option<&'static str> {
        match req.path() {
            "/echo" => Some(""),
            "/room" => Some("room"),
            _ => None,
        }
    }

    fn handle_ws_conn(&self, ws: &mut Ws<'_, &'static str>) {
        self.open.fetch_add(1, Ordering::SeqCst);
        self.ids.lock().expect("no panic").push(ws.id());
        if !ws.conn.is_empty() {
            assert!(ws.subscribe(ws.conn).is_ok());
        }
    }

    fn handle_ws_frame(&self, ws: &mut Ws<'_, &'static str>, message: Message<'_>) {
        match message.as_text().and_then(|text| text.split_once(' ')) {
            Some(("publish", rest)) => {
                ws.publish("room", rest);
            }
            Some(("others", rest)) => {
                ws.publish_to_others("room", rest);
            }
            Some(("leave", topic)) => assert!(ws.unsubscribe(topic)),
            _ => assert_eq!(ws.send(message), Sent::Queued),
        }
    }

    fn handle_ws_disconn(&self, _: &mut Ws<'_, &'static str>, why: &Disconnect) {
        self.open.fetch_sub(1, Ordering::SeqCst);
        self.ends.lock().expect("no panic").push(why.to_string());
    }
}

pub(crate) struct Bench {
    pub(crate) app: Arc<App>,
    pub(crate) hub: Hub,
    pub(crate) running: Running,
    pub(crate) addr: SocketAddr,
}

pub(crate) fn config(ws_threads: usize) -> Config {
    let large = 17 << 20;
    let limits = limits()
        // Clients here keep their sockets when they have seen the end.
        .linger_timeout(Limits::default().linger_timeout);
    workers(2).limits(limits).ws_threads(ws_threads).ws_limits(
        WsLimits::default()
            .message_bytes(large)
            .frame_bytes(large)
            .backlog_bytes(2 * large)
            .fragments(1 << 20)
            .idle_timeout(NEVER)
            .close_timeout(NEVER)
            .write_timeout(NEVER),
    )
}

pub(crate) fn bench(config: Config) -> Bench {
    let hub = Hub::new();
    assert_eq!(hub.broadcast("before the start"), Sent::Closed);
    bench_with(&hub, config)
}

pub(crate) fn bench_with(hub: &Hub, config: Config) -> Bench {
    let app = Arc::new(App::default());
    let server = Server::new(app.clone()).websocket().with_hub(hub);
    let hub = server.hub();
    let running = server
        .config(config)
        .on_addr(SocketAddr::from(([127, 0, 0, 1], 0)))
        .start();
    let running = running.expect("a server");
    let addr = running.local_addr().expect("a TCP address");
    Bench {
        app,
        hub,
        running,
        addr,
    }
}

impl Bench {
    pub(crate) fn connect(&self, path: &str) -> WebSocket<Chopped> {
        self.connect_with(path, None)
    }

    /// Connects with a receive buffer of this size.
    pub(crate) fn connect_with(&self, path: &str, room: Option<usize>) -> WebSocket<Chopped> {
        let domain = socket2::Domain::for_address(self.addr);
        let stream = socket2::Socket::new(domain, socket2::Type::STREAM, None);
        let stream = stream.expect("a socket");
        if let Some(room) = room {
            stream.set_recv_buffer_size(room).expect("a buffer");
        }
        stream.connect(&self.addr.into()).expect("a connection");
        let stream = Stream::over(stream.into());
        stream.set_read_timeout(Some(PATIENCE)).expect("a time");
        stream.set_nodelay(true).expect("a socket");
        let config = WebSocketConfig::default()
            .max_frame_size(None)
            .max_message_size(None);
        let url = format!("ws://{}{path}", self.addr);
        let stream = Chopped {
            stream,
            random: None,
        };
        let (client, _) = tungstenite::client::client_with_config(url, stream, Some(config))
            .expect("a handshake");
        client
    }

    pub(crate) fn wait_for(&self, count: usize) {
        wait_until("all are connected", || self.hub.connections() == count);
    }
}

/// A stream whose writes are split anywhere.
pub(crate) struct Chopped {
    pub(crate) stream: Stream,
    random: Option<Random>,
}

impl Read for Chopped {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}

impl Write for Chopped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let most = match &mut self.random {
            // A few bytes, or a lot.
            Some(random) => {
                let scale = random.below(18);
                1 + random.below(1 << scale)
            }
            None => bytes.len(),
        };
        self.stream.write(&bytes[..bytes.len().min(most)])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn text(client: &mut WebSocket<Chopped>) -> String {
    match client.read().expect("a message") {
        Theirs::Text(text) => text.to_string(),
        other => panic!("no text: {other:?}"),
    }
}

#[test]
fn every_message_comes_back_once_and_in_order() {
    let bench = bench(config(1));
    let mut client = bench.connect("/echo");
    let mut random = Random(0x5eed);
    client.get_mut().random = Some(Random(0xc0de));
    let large: Vec<u8> = (0..16usize << 20).map(|i| ((i * i) >> 7) as u8).collect();
    let mut sizes = vec![
        0,
        1,
        125,
        126,
        127,
        4095,
        65_535,
        65_536,
        65_537,
        1 << 20,
        16 << 20,
    ];
    sizes.extend((0..60).map(|_| {
        let scale = random.below(20);
        random.below(1 << scale)
    }));
    for size in sizes {
        let from = random.below(large.len() - size + 1);
        let payload = &large[from..from + size];
        let pieces = 1 + random.below(4);
        let mut left = payload;
        for piece in 0..pieces {
            let last = piece + 1 == pieces;
            let n = match last {
                true => left.len(),
                false => random.below(left.len() + 1),
            };
            let opcode = match piece {
                0 => OpCode::Data(Data::Binary),
                _ => OpCode::Data(Data::Continue),
            };
            let frame = Frame::message(left[..n].to_vec(), opcode, last);
            client.write(Theirs::Frame(frame)).expect("sent");
            if random.below(3) == 0 {
                client.write(Theirs::Ping("between".into())).expect("sent");
            }
            left = &left[n..];
        }
        client.flush().expect("sent");
        let back = loop {
            match client.read().expect("an answer") {
                Theirs::Pong(pong) => assert_eq!(&pong[..], b"between"),
                Theirs::Binary(back) => break back,
                other => panic!("{other:?}"),
            }
        };
        assert!(back[..] == *payload, "{size} bytes in {pieces} pieces");
    }
    client.get_mut().random = None;
    for burst in 0..20 {
        for i in 0..200 {
            let text = format!("{burst} {i}");
            client.write(Theirs::text(text)).expect("sent");
        }
        client.flush().expect("sent");
        for i in 0..200 {
            assert_eq!(text(&mut client), format!("{burst} {i}"));
        }
    }
    client.close(None).expect("sent");
    while client.read().is_ok() {}
    wait_until("it is closed", || {
        bench.app.open.load(Ordering::SeqCst) == 0
    });
    bench.running.stop();
    assert_eq!(ended(bench.running).aborted, 0);
    assert_eq!(
        *bench.app.ends.lock().expect("no panic"),
        ["closed with 1005"]
    );
}

#[test]
fn connections_dropped_at_every_phase() {
    let bench = bench(config(2));
    let handshake = format!(
        "GET /room HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        bench.addr
    );
    let frames = b"\x81\x85\0\0\0\0hello\x01\x83\0\0\0\0hal\x80\x80\0\0\0\0\x89\x80\0\0\0\0\
        \x81\x8c\0\0\0\0publish room\x88\x80\0\0\0\0";
    let all = [handshake.as_bytes(), frames].concat();
    let mut random = Random(7);
    let count = 2000;
    for i in 0..count {
        let mut stream = Stream::connect(bench.addr).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time");
        let to = all.len() * i / count + 1;
        let mut from = 0;
        while from < to {
            let step = 1 + random.below(to - from);
            stream.write_all(&all[from..from + step]).expect("sent");
            from += step;
        }
        if random.below(2) == 0 && to > handshake.len() {
            let mut answer = [0; 20];
            stream.read_exact(&mut answer).expect("an answer");
            assert!(answer.starts_with(b"HTTP/1.1 101 "));
        }
    }
    wait_until("all are gone", || {
        let counters = bench.running.counters();
        counters.accepted == count as u64 && counters.closed == count as u64
    });
    assert_eq!(bench.hub.connections(), 0);
    assert_eq!(bench.app.open.load(Ordering::SeqCst), 0);
    let ids = std::mem::take(&mut *bench.app.ids.lock().expect("no panic"));
    assert_eq!(ids.len() as u64, bench.running.counters().upgraded);
    for id in ids {
        assert_eq!(bench.hub.send(id, "x"), Sent::Closed);
    }
    let mut client = bench.connect("/echo");
    client.send(Theirs::text("still here")).expect("sent");
    assert_eq!(text(&mut client), "still here");
}

#[test]
fn a_hub_reaches_all_connections_from_any_thread() {
    let bench = bench(config(3));
    let mut clients: Vec<_> = (0..9).map(|_| bench.connect("/room")).collect();
    bench.wait_for(9);
    wait_until("all hooks ran", || {
        bench.app.open.load(Ordering::SeqCst) == 9
    });
    let ids = bench.app.ids.lock().expect("no panic").clone();
    thread::scope(|scope| {
        for &id in &ids {
            let hub = bench.hub.clone();
            scope.spawn(move || {
                for i in 0..100 {
                    assert_eq!(hub.send(id, format!("{i}").as_str()), Sent::Queued);
                }
            });
        }
    });
    for client in &mut clients {
        for i in 0..100 {
            assert_eq!(text(client), i.to_string());
        }
    }
    assert_eq!(bench.hub.broadcast("to all"), Sent::Queued);
    assert_eq!(bench.hub.publish("room", "to the room"), Sent::Queued);
    assert_eq!(bench.hub.publish("unknown topic", "lost"), Sent::Queued);
    for client in &mut clients {
        assert_eq!(text(client), "to all");
        assert_eq!(text(client), "to the room");
    }
    // From a hook: to subscribers of all threads.
    clients[0].send(Theirs::text("publish one")).expect("sent");
    for client in &mut clients {
        assert_eq!(text(client), "one");
    }
    clients[1].send(Theirs::text("others two")).expect("sent");
    clients[1].send(Theirs::text("own")).expect("sent");
    for (i, client) in clients.iter_mut().enumerate() {
        assert_eq!(text(client), if i == 1 { "own" } else { "two" });
    }
    clients[2].send(Theirs::text("leave room")).expect("sent");
    clients[2]
        .send(Theirs::text("publish three"))
        .expect("sent");
    clients[2].send(Theirs::text("left")).expect("sent");
    for (i, client) in clients.iter_mut().enumerate() {
        assert_eq!(text(client), if i == 2 { "left" } else { "three" });
    }

    for &id in &ids {
        assert!(bench.hub.is_open(id));
        assert_eq!(bench.hub.subscribe(id, "late"), Sent::Queued);
        assert_eq!(bench.hub.close(id, 4321, "enough"), Sent::Queued);
    }
    for client in &mut clients {
        let Theirs::Close(Some(frame)) = client.read().expect("a close frame") else {
            panic!("no close frame");
        };
        assert_eq!(
            (u16::from(frame.code), frame.reason.as_str()),
            (4321, "enough")
        );
        while client.read().is_ok() {}
    }
    bench.wait_for(0);
    wait_until("all ids are stale", || {
        ids.iter().all(|&id| !bench.hub.is_open(id))
    });
    assert!(
        ids.iter()
            .all(|&id| bench.hub.send(id, "x") == Sent::Closed)
    );
    // Their places are used again. The old ids stand for no connection.
    let _again: Vec<_> = (0..9).map(|_| bench.connect("/room")).collect();
    bench.wait_for(9);
    assert!(
        ids.iter()
            .all(|&id| bench.hub.send(id, "x") == Sent::Closed)
    );
}

#[test]
fn a_stop_says_going_away() {
    let bench = bench(config(2).stop_timeout(NEVER));
    let mut clients: Vec<_> = (0..5).map(|_| bench.connect("/echo")).collect();
    bench.wait_for(5);
    bench.running.stop();
    for client in &mut clients {
        let Theirs::Close(Some(frame)) = client.read().expect("a close frame") else {
            panic!("no close frame");
        };
        assert_eq!(u16::from(frame.code), 1001);
        while client.read().is_ok() {}
    }
    let stopped = ended(bench.running);
    assert_eq!((stopped.drained, stopped.aborted), (5, 0));
    assert_eq!(bench.hub.broadcast("x"), Sent::Closed);
    assert_eq!(
        *bench.app.ends.lock().expect("no panic"),
        vec!["closed with 1001"; 5]
    );
}

#[test]
fn a_stop_aborts_clients_that_do_not_respond() {
    let bench = bench(config(1));
    let stubborn = bench.connect("/echo");
    bench.wait_for(1);
    bench.running.stopper().stop_now();
    assert_eq!(ended(bench.running).aborted, 1);
    assert_eq!(
        *bench.app.ends.lock().expect("no panic"),
        ["the server was stopped"]
    );
    drop(stubborn);
}

#[test]
fn a_full_server_says_503() {
    let mut config = config(2);
    config.ws_connections_per_thread = 1;
    let bench = bench(config);
    let _two = [bench.connect("/echo"), bench.connect("/echo")];
    let url = format!("ws://{}/echo", bench.addr);
    let stream = Stream::connect(bench.addr).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time");
    match tungstenite::client(url, stream) {
        Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(answer))) => {
            assert_eq!(answer.status(), 503);
        }
        other => panic!("{:?}", other.map(|_| ())),
    }
}

#[test]
fn an_unmasked_frame_from_a_client_is_refused() {
    let bench = bench(config(1));
    let client = bench.connect("/echo");
    // A server's role sends without a mask.
    let mut client = WebSocket::from_raw_socket(client.into_inner(), Role::Server, None);
    client.send(Theirs::text("x")).expect("sent");
    let mut answer = Vec::new();
    let stream = &mut client.get_mut().stream;
    stream.read_to_end(&mut answer).expect("the end");
    assert_eq!(answer[..4], [0x88, 23, 0x03, 0xea]);
}
