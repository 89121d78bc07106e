//! A connection of HTTP/3 that has warmed up allocates nothing for a request, whether it is answered at once, has
//! a body, or is answered later.
#![cfg(feature = "http3")]

#[allow(dead_code)]
#[path = "../../../tests/counting/mod.rs"]
mod counting;

use counting::{allocations, count_here};
use peregrine_protocol::Seconds;
use peregrine_protocol::h3::connection::{Http3, Next, Sent, StreamBytes};
use peregrine_protocol::h3::frame::write;
use peregrine_protocol::h3::head::HeadBuf;
use peregrine_protocol::h3::limits::Http3Limits;
use peregrine_protocol::http::response::ResponseHead;
use peregrine_protocol::limits::Limits;
use peregrine_protocol::payload::Payload;
use peregrine_protocol::qpack::Encoder;
use peregrine_protocol::write_buf::WriteBuf;

/// Requests that are open together.
const AT_ONCE: u64 = 50;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    AtOnce,
    Later,
    Body,
}

struct Server {
    conn: Http3,
    head: HeadBuf,
    encoder: Encoder,
    out: WriteBuf,
    limits: Limits,
    http3: Http3Limits,
    pending: Vec<u64>,
    answered: u64,
    written: u64,
}

impl Server {
    fn new() -> Server {
        let (limits, http3) = (Limits::default(), Http3Limits::default());
        Server {
            conn: Http3::new(Seconds::START, &limits, &http3),
            head: HeadBuf::new(),
            encoder: Encoder::new(),
            out: WriteBuf::default(),
            limits,
            http3,
            pending: Vec::new(),
            answered: 0,
            written: 0,
        }
    }

    fn receive(&mut self, kind: Kind, stream: u64, bytes: &[u8], is_last: bool) {
        let mut input = StreamBytes::new(stream, bytes, is_last);
        loop {
            let (limits, http3) = (&self.limits, &self.http3);
            let next = self
                .conn
                .next(&mut input, &mut self.head, limits, http3, Seconds::START);
            match next {
                Next::Read => return,
                Next::Request(request) if kind == Kind::Later => self.pending.push(request.stream),
                Next::Request(request) if kind == Kind::AtOnce => self.answer(request.stream),
                Next::Data {
                    stream,
                    is_last: true,
                    ..
                } => self.answer(stream),
                Next::Request(_) | Next::Data { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn answer(&mut self, stream: u64) {
        let common = b"Server: peregrine\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
        let own = b"Content-Type: text/plain\r\nX-Own: value\r\n";
        let (body, now) = (Payload::Static(b"Hello, World!"), Seconds::START);
        let (head, fields): (_, &[&[u8]]) = (ResponseHead::OK, &[common, own]);
        let (encoder, out) = (&mut self.encoder, &mut self.out);
        let sent = self
            .conn
            .respond(stream, &head, fields, body, encoder, out, now);
        assert_eq!(sent, Sent::Complete { stop: false });
        self.answered += 1;
        self.written += self.out.len();
        self.out.advance(self.out.len() as usize);
    }
}

#[test]
fn no_allocation_for_a_request() {
    for kind in [Kind::AtOnce, Kind::Later, Kind::Body] {
        let mut server = Server::new();
        let method = if kind == Kind::Body { 0xd4 } else { 0xd1 };
        let mut request = Vec::new();
        write::headers(&mut request, |section| {
            section.extend_from_slice(&[0, 0, method, 0xd7, 0xc1]);
            section.extend_from_slice(b"\x50\x09localhost\x5f\x50\x06client");
        });
        let mut body = Vec::new();
        write::data(5, &mut body);
        body.extend_from_slice(b"hello");
        let burst = |server: &mut Server, n: u64| {
            let streams = (n * AT_ONCE..(n + 1) * AT_ONCE).map(|i| 4 * i);
            for stream in streams.clone() {
                server.receive(kind, stream, &request, kind != Kind::Body);
            }
            for stream in streams.filter(|_| kind == Kind::Body) {
                server.receive(kind, stream, &body, true);
            }
            while let Some(stream) = server.pending.pop() {
                server.answer(stream);
            }
        };
        (0..100).for_each(|n| burst(&mut server, n));
        let written = server.written;
        count_here();
        let before = allocations();
        (100..400).for_each(|n| burst(&mut server, n));
        assert_eq!(allocations() - before, 0, "{kind:?}");
        assert_eq!(server.answered, 400 * AT_ONCE, "{kind:?}");
        let each = (server.written - written) as f64 / (300 * AT_ONCE) as f64;
        // Two frame headers, 13 bytes of body, and fields of which two are indexes.
        assert!(each < 80.0, "{kind:?}: {each} bytes each");
    }
}
