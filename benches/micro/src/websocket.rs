//! Frames and their echo, beside tungstenite's.

use crate::Benches;
use peregrine::ws::{Message, Upgrade, WebSocketHandler, Ws, WsLimits};
use peregrine::{Done, Handler, Request, Response, testing};
use peregrine_protocol::ws::frame::{OpCode, parse, unmask, write_header};
use std::hint::black_box;
use std::io::{self, Cursor, Read, Write};
use tungstenite::protocol::{Role, frame};

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

pub(crate) fn add(benches: &mut Benches) {
    for (group, len) in [
        ("frame header, 125 B", 125),
        ("frame header, 64 KiB", 65_536),
    ] {
        benches.add(group, "peregrine", header(len));
        benches.add(group, "tungstenite", their_header(len));
    }
    for (group, len) in [("mask, 125 B", 125), ("mask, 16 KiB", 16 << 10)] {
        benches.add(group, "peregrine", mask(len));
        benches.add(group, "byte by byte", slow_mask(len));
    }
    for (group, len, times) in [
        ("echo, 16 of 125 B", 125, 16),
        ("echo, 16 KiB", 16 << 10, 1),
    ] {
        benches.add(group, "peregrine", echo(len, times));
        benches.add(group, "tungstenite", their_echo(len, times));
    }
}

/// The header of a client's frame.
fn header_bytes(len: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_header(OpCode::from(2), false, len, &mut bytes);
    bytes[1] |= 0x80;
    bytes.extend_from_slice(&MASK);
    bytes
}

/// A header in, and the one of the response out.
fn header(len: usize) -> impl FnMut() {
    let (bytes, mut out) = (header_bytes(len), Vec::new());
    move || {
        let header = parse(black_box(&bytes));
        let header = header.expect("a good one").expect("all of it");
        out.clear();
        write_header(header.opcode, false, header.len as usize, &mut out);
        black_box(&out);
    }
}

fn their_header(len: usize) -> impl FnMut() {
    let (bytes, mut out) = (header_bytes(len), Vec::new());
    move || {
        let header = frame::FrameHeader::parse(&mut Cursor::new(black_box(&bytes)));
        let (mut header, len) = header.expect("a good one").expect("all of it");
        header.mask = None;
        out.clear();
        header.format(len, &mut out).expect("a Vec takes it");
        black_box(&out);
    }
}

fn mask(len: usize) -> impl FnMut() {
    let mut bytes = vec![0; len];
    move || unmask(black_box(&mut bytes), black_box(MASK), 0)
}

fn slow_mask(len: usize) -> impl FnMut() {
    let mut bytes = vec![0u8; len];
    move || {
        let mask = black_box(MASK);
        let bytes = black_box(&mut bytes);
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte ^= mask[i % 4];
        }
    }
}

struct Echo;

impl Handler for Echo {
    fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
        res.body("")
    }
}

impl WebSocketHandler for Echo {
    type Conn = ();

    fn accept_ws(&self, _: &Request<'_>, _: &mut Upgrade<'_>) -> Option<()> {
        Some(())
    }

    fn handle_ws_frame(&self, ws: &mut Ws<'_, ()>, message: Message<'_>) {
        ws.send(message);
    }
}

fn frames(len: usize, times: usize) -> Vec<u8> {
    let frame = [header_bytes(len), vec![b'x'; len]].concat();
    frame.repeat(times)
}

/// From received bytes to bytes to be sent; per batch, not per message.
fn echo(len: usize, times: usize) -> impl FnMut() {
    let frames = frames(len, times);
    let request = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let limits = WsLimits::default()
        // Its clock stands still.
        .messages(u32::MAX);
    let client = testing::WebSocket::connect_with(&Echo, request.as_bytes(), limits);
    let mut client = client.unwrap_or_else(|_| panic!("refused"));
    move || {
        client.send(black_box(&frames));
        let echoed = black_box(client.take_received());
        assert!(echoed.len() > times * len, "closed");
    }
}

fn their_echo(len: usize, times: usize) -> impl FnMut() {
    let stream = Memory {
        bytes: frames(len, times),
        at: 0,
        out: Vec::new(),
    };
    let mut server = tungstenite::WebSocket::from_raw_socket(stream, Role::Server, None);
    move || {
        server.get_mut().at = 0;
        for _ in 0..times {
            let message = server.read().expect("a message");
            server.write(message).expect("room");
        }
        server.flush().expect("room");
        black_box(std::mem::take(&mut server.get_mut().out));
    }
}

/// A socket that has received some bytes.
struct Memory {
    bytes: Vec<u8>,
    at: usize,
    out: Vec<u8>,
}

impl Read for Memory {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = (&self.bytes[self.at..]).read(buffer)?;
        self.at += n;
        Ok(n)
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
