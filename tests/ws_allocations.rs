//! A WebSocket thread that has warmed up allocates nothing to echo messages, and to publish them
//! nothing for each connection that gets them: counted in that thread of a real server, by the allocator
//! of this program.
#![cfg(feature = "websocket")]

// Parts of it are for other tests.
#[allow(dead_code)]
mod counting;
#[allow(dead_code, unused_imports)]
#[path = "it/support.rs"]
mod support;

use counting::{allocations, count_this_thread, is_counted};
use peregrine::ws::{Message, PreparedMessage, Upgrade, WebSocketHandler, Ws, WsLimits};
use peregrine::{Config, Done, Handler, Request, Response, Server};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use support::{PATIENCE, ended};

struct App {
    news: PreparedMessage,
}

const NEWS: [u8; 1000] = [b'n'; 1000];

impl Handler for App {
    fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
        res.body("")
    }
}

impl WebSocketHandler for App {
    type Conn = ();

    fn accept_ws(&self, _: &Request<'_>, _: &mut Upgrade<'_>) -> Option<()> {
        Some(())
    }

    fn handle_ws_conn(&self, ws: &mut Ws<'_, ()>) {
        count_this_thread("pg-ws-0");
        assert!(ws.subscribe("news").is_ok());
    }

    fn handle_ws_frame(&self, ws: &mut Ws<'_, ()>, message: Message<'_>) {
        match message.as_text() {
            Some("publish") => ws.publish("news", self.news.clone()),
            Some("make and publish") => ws.publish("news", &NEWS[..]),
            Some("broadcast") => ws.broadcast(self.news.clone()),
            _ => ws.send(message),
        };
    }
}

fn connect(addr: SocketAddr) -> TcpStream {
    let mut client = TcpStream::connect(addr).expect("a connection");
    client.set_read_timeout(Some(PATIENCE)).expect("a time");
    client.set_nodelay(true).expect("a socket");
    let request = "GET / HTTP/1.1\r\nHost: t\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    client.write_all(request.as_bytes()).expect("sent");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).expect("a handshake");
        answer.extend_from_slice(&byte);
    }
    assert!(answer.starts_with(b"HTTP/1.1 101 "));
    client
}

/// A frame with this payload; masked with zeros if it is a client's.
fn frame(first: u8, payload: &[u8], masked: bool) -> Vec<u8> {
    let bit = if masked { 0x80 } else { 0 };
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..126 => frame.push(bit | len as u8),
        len @ 126..65536 => {
            frame.push(bit | 126);
            frame.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            frame.push(bit | 127);
            frame.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4][..if masked { 4 } else { 0 }]);
    frame.extend_from_slice(payload);
    frame
}

/// What the first client sends, and what each of the clients gets for it.
struct Kind {
    name: &'static str,
    sent: Vec<u8>,
    first: Vec<u8>,
    others: Vec<u8>,
    /// Allocations for each.
    most: u64,
}

fn kinds() -> Vec<Kind> {
    let echo = |name, first, payload: &[u8], depth| {
        let back = frame(first, payload, false).repeat(depth);
        Kind {
            name,
            sent: frame(first, payload, true).repeat(depth),
            first: back,
            others: Vec::new(),
            most: 0,
        }
    };
    let news = frame(0x82, &NEWS, false);
    let publish = |name: &'static str, most| Kind {
        name,
        sent: frame(0x81, name.as_bytes(), true),
        first: news.clone(),
        others: news.clone(),
        most,
    };
    vec![
        echo("a text", 0x81, &[b'x'; 32], 1),
        echo("many at once", 0x82, &[7; 125], 16),
        echo("16 KiB", 0x82, &[7; 16 << 10], 1),
        publish("publish", 0),
        publish("broadcast", 0),
        // The message, its frame and what they are shared by, however many get it.
        publish("make and publish", 3),
    ]
}

fn exchange(clients: &mut [TcpStream], kind: &Kind, rounds: u64) {
    let mut room = vec![0; kind.first.len().max(kind.others.len())];
    for _ in 0..rounds {
        clients[0].write_all(&kind.sent).expect("sent");
        for (i, client) in clients.iter_mut().enumerate() {
            let expected = if i == 0 { &kind.first } else { &kind.others };
            let room = &mut room[..expected.len()];
            client.read_exact(room).expect(kind.name);
            assert!(room == &expected[..], "{}", kind.name);
        }
    }
}

#[test]
fn a_warm_websocket_thread_does_not_allocate() {
    let app = App {
        news: PreparedMessage::new(&NEWS[..]),
    };
    let config = Config::default()
        .workers(1)
        .ws_threads(1)
        .ws_limits(WsLimits::default().messages(u32::MAX));
    let server = Server::new(app).websocket().config(config);
    let server = server.bind("127.0.0.1:0").start().expect("a server");
    let addr = server.local_addr().expect("a TCP address");
    let before = allocations();
    let mut clients: Vec<_> = (0..8).map(|_| connect(addr)).collect();
    for client in &mut clients {
        let probe = Kind {
            name: "a probe",
            sent: frame(0x81, b"hi", true),
            first: frame(0x81, b"hi", false),
            others: Vec::new(),
            most: 0,
        };
        exchange(std::slice::from_mut(client), &probe, 1);
    }
    assert!(!is_counted(), "this thread is not counted");
    assert!(allocations() > before, "the WebSocket thread is");

    let rounds = 1000;
    for kind in kinds() {
        exchange(&mut clients, &kind, rounds);
        // A message that arrives in pieces is put aside, which allocates and may happen at any time,
        // and an allocation that a kind of message needs is made every time.
        let made = [(); 3].map(|()| {
            let before = allocations();
            exchange(&mut clients, &kind, rounds);
            allocations() - before
        });
        // The thread may still be at work for what has been received.
        let most = (rounds + 1) * kind.most;
        assert!(
            made.iter().any(|&made| made <= most),
            "{}: {made:?} allocations, not {most}",
            kind.name
        );
    }
    drop(clients);
    server.stop();
    assert_eq!(ended(server).counters.refused, 0);
}
