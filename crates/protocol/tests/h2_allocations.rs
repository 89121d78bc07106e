//! A connection of HTTP/2 that has warmed up allocates nothing for a request, whether it is answered at once, has
//! a body, or is answered later.
#![cfg(feature = "http2")]

#[allow(dead_code)]
#[path = "../../../tests/counting/mod.rs"]
mod counting;

use counting::{allocations, count_here};
use peregrine_protocol::Seconds;
use peregrine_protocol::h1::read_buf::Input;
use peregrine_protocol::h2::connection::{Http2, Next};
use peregrine_protocol::h2::frame::{PREFACE, write};
use peregrine_protocol::h2::head::HeadBuf;
use peregrine_protocol::h2::limits::Http2Limits;
use peregrine_protocol::http::response::ResponseHead;
use peregrine_protocol::limits::Limits;
use peregrine_protocol::payload::Payload;
use peregrine_protocol::write_buf::WriteBuf;

/// Requests in one read.
const AT_ONCE: u32 = 50;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    AtOnce,
    Later,
    Body,
}

struct Server {
    conn: Http2,
    input: Input,
    head: HeadBuf,
    out: WriteBuf,
    limits: Limits,
    http2: Http2Limits,
    pending: Vec<u32>,
    answered: u32,
    written: u64,
}

impl Server {
    fn new() -> Server {
        let http2 = Http2Limits::default();
        Server {
            conn: Http2::new(Seconds::START, &http2),
            input: Input::new(),
            head: HeadBuf::new(),
            out: WriteBuf::default(),
            limits: Limits::default(),
            http2,
            pending: Vec::new(),
            answered: 0,
            written: 0,
        }
    }

    fn receive(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let space = self.input.space();
            let n = rest.len().min(space.len());
            space[..n].copy_from_slice(&rest[..n]);
            self.input.filled(n);
            rest = &rest[n..];
            self.turn();
        }
        while let Some(stream) = self.pending.pop() {
            self.answer(stream);
        }
        self.turn();
        self.written += self.out.len();
        self.out.advance(self.out.len() as usize);
    }

    fn turn(&mut self) {
        let now = Seconds::START;
        loop {
            let (input, head, out) = (&mut self.input, &mut self.head, &mut self.out);
            match self
                .conn
                .next(input, head, out, &self.limits, &self.http2, now)
            {
                Next::Read => return,
                Next::Request(request) if head.fields().any(|field| field.0 == b"later") => {
                    self.pending.push(request.stream);
                }
                Next::Request(request) => {
                    if head.head.method.of(head.bytes()) == b"GET" {
                        self.answer(request.stream);
                    }
                }
                Next::Data {
                    stream,
                    piece,
                    is_last,
                } => {
                    self.conn.release(stream, piece.len(), out, now);
                    if is_last {
                        self.answer(stream);
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn answer(&mut self, stream: u32) {
        let common = b"Server: peregrine\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
        let own = b"Content-Type: text/plain\r\nX-Own: value\r\n";
        let (body, now) = (Payload::Static(b"Hello, World!"), Seconds::START);
        let head = ResponseHead::OK;
        let is_sent = self
            .conn
            .respond(stream, &head, &[common, own], body, &mut self.out, now);
        assert!(is_sent);
        self.answered += 1;
    }
}

/// What a client sends that has sent the same before: indexes.
fn burst(kind: Kind, first: u32, is_first: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    for n in 0..AT_ONCE {
        let stream = first + 2 * n;
        let method = if kind == Kind::Body { 0x83 } else { 0x82 };
        write::headers(stream, kind != Kind::Body, 16_384, &mut bytes, |block| {
            block.extend_from_slice(&[method, 0x86, 0x84]);
            match is_first && n == 0 {
                true => {
                    block.extend_from_slice(b"\x41\x09localhost\x7a\x06client");
                    block.extend_from_slice(b"\x40\x05other\x01x");
                }
                false => block.extend_from_slice(&[0xc0, 0xbf, 0xbe]),
            }
            if kind == Kind::Later {
                block.extend_from_slice(b"\x00\x05later\x011");
            }
        });
        if kind == Kind::Body {
            write::data(5, true, stream, &mut bytes);
            bytes.extend_from_slice(b"hello");
        }
    }
    // The windows of the responses, as often as clients open them.
    write::window_update(0, 13 * AT_ONCE, &mut bytes);
    bytes
}

#[test]
fn no_allocation_for_a_request() {
    for kind in [Kind::AtOnce, Kind::Later, Kind::Body] {
        let mut server = Server::new();
        let mut hello = PREFACE.to_vec();
        write::settings(&[], &mut hello);
        write::settings_ack(&mut hello);
        server.receive(&hello);
        let bursts: Vec<_> = (0..400)
            .map(|n| burst(kind, 1 + 2 * AT_ONCE * n, n == 0))
            .collect();
        let (warm_up, counted) = bursts.split_at(100);
        warm_up.iter().for_each(|burst| server.receive(burst));
        let written = server.written;
        count_here();
        let before = allocations();
        counted.iter().for_each(|burst| server.receive(burst));
        assert_eq!(allocations() - before, 0, "{kind:?}");
        assert_eq!(server.answered, 400 * AT_ONCE, "{kind:?}");
        let each = (server.written - written) as f64 / f64::from(300 * AT_ONCE);
        // Two frame headers, 13 bytes of body, indexes, and the field that is not indexed.
        assert!(each < 56.0, "{kind:?}: {each} bytes each");
    }
}
