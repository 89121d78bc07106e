//! Responses.

use super::*;
use crate::http::response::{BodySize, ResponseHead};
use crate::payload::Payload;

pub(super) const OK: ResponseHead = ResponseHead::OK;

fn status(status: u16) -> ResponseHead {
    ResponseHead { status, ..OK }
}

fn fields(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let own = |(name, value): &(&str, &str)| (String::from(*name), String::from(*value));
    pairs.iter().map(own).collect()
}

impl Client {
    pub(super) fn respond(
        &mut self,
        stream: u32,
        head: &ResponseHead,
        fields: &[&[u8]],
        body: &'static str,
    ) -> bool {
        let body = Payload::from(body);
        self.conn
            .respond(stream, head, fields, body, &mut self.out, self.now)
    }
}

/// What an idle connection takes when its tables are empty.
#[test]
fn a_connection_has_less_than_a_kibibyte() {
    assert!(size_of::<Http2>() <= 1024, "{}", size_of::<Http2>());
}

#[test]
fn a_complete_response_needs_no_stream() {
    let mut client = Client::open(Driver::Hold);
    client.send(&get(1));
    let common = b"Server: peregrine\r\nDate: today\r\n";
    let own = b"Content-Type: text/plain\r\nConnection: close\r\nKeep-Alive: x\r\nUpgrade: y\r\n\
        Transfer-Encoding: chunked\r\nTE: z\r\nProxy-Connection: a\r\n";
    assert!(client.respond(1, &OK, &[common, own], "Hello"));
    let all = fields(&[
        (":status", "200"),
        ("server", "peregrine"),
        ("date", "today"),
        ("content-type", "text/plain"),
        ("content-length", "5"),
    ]);
    let data = Seen::Data(1, b"Hello".to_vec(), true);
    assert_eq!(client.take(), [Seen::Headers(1, all, false), data]);
    assert!(!client.respond(1, &OK, &[], "twice"));
    assert_eq!((client.take(), client.conn.streams()), (vec![], 0));
}

/// RFC 9110 sections 8.6, 9.3 and 15.
#[test]
fn responses_without_a_body() {
    for (method, code, length) in [
        ("HEAD", 200, Some("5")),
        ("GET", 204, None),
        ("GET", 304, None),
        ("GET", 205, Some("0")),
        ("POST", 204, None),
    ] {
        let mut client = Client::open(Driver::Hold);
        client.send(&request(1, 1, method, &[]));
        assert!(client.respond(1, &status(code), &[], "Hello"));
        let code = code.to_string();
        let mut wanted = fields(&[(":status", &code)]);
        wanted.extend(length.map(|len| (String::from("content-length"), len.into())));
        assert_eq!(
            client.take(),
            [Seen::Headers(1, wanted, true)],
            "{method} {code}"
        );
        assert_eq!(client.conn.streams(), 0);
    }
}

#[test]
fn a_response_in_pieces_with_trailers() {
    let mut client = Client::open(Driver::Hold);
    client.send(&get(1));
    let (conn, out, now) = (&mut client.conn, &mut client.out, client.now);
    assert!(conn.interim(1, 103, &[b"Link: </a>\r\n"], out));
    let begun = conn.begin(
        1,
        &OK,
        &[b"grpc-encoding: identity\r\n"],
        BodySize::Unknown,
        out,
        now,
    );
    assert_eq!(begun, Some(true));
    assert!(!conn.interim(1, 103, &[], out));
    assert_eq!(conn.begin(1, &OK, &[], BodySize::Unknown, out, now), None);
    assert_eq!(conn.send(1, now, |queue| queue.push(b"one")), Some(3));
    client.turn();
    assert_eq!(client.events.last(), Some(&Next::Drained { stream: 1 }));
    let early = fields(&[(":status", "103"), ("link", "</a>")]);
    let head = fields(&[(":status", "200"), ("grpc-encoding", "identity")]);
    let one = Seen::Data(1, b"one".to_vec(), false);
    assert_eq!(
        client.take(),
        [
            Seen::Headers(1, early, false),
            Seen::Headers(1, head, false),
            one
        ]
    );
    client.conn.send(1, now, |queue| queue.push(b"two"));
    assert!(client.conn.finish(1, b"Grpc-Status: 0\r\n"));
    assert_eq!(client.conn.send(1, now, |_| {}), None);
    client.turn();
    let trailers = Seen::Headers(1, fields(&[("grpc-status", "0")]), true);
    assert_eq!(
        client.take(),
        [Seen::Data(1, b"two".to_vec(), false), trailers]
    );
    assert!(!client.conn.finish(1, b""));
    assert_eq!(client.conn.streams(), 0);
}

#[test]
fn an_end_without_trailers_and_a_reset() {
    let mut client = Client::open(Driver::Hold);
    for (stream, is_reset) in [(1, false), (3, true)] {
        client.send(&get(stream));
        let (conn, out, now) = (&mut client.conn, &mut client.out, client.now);
        conn.begin(stream, &OK, &[], BodySize::Unknown, out, now);
        match is_reset {
            true => conn.reset(stream, ErrorCode::INTERNAL_ERROR, out, now),
            false => drop(conn.finish(stream, b"")),
        }
        client.turn();
        let last = client.take().pop();
        let end = match is_reset {
            true => Seen::Reset(stream, 2),
            false => Seen::Data(stream, vec![], true),
        };
        assert_eq!((last, client.conn.streams()), (Some(end), 0));
    }
    // A client that ends a stream itself: the driver learns it once, and nothing more goes out.
    client.send(&get(5));
    client.send(&frame(3, 0, 5, &[0, 0, 0, 8]));
    let reset = Next::Reset {
        stream: 5,
        code: ErrorCode::CANCEL,
        unsent: 0,
        fault: None,
    };
    assert_eq!(client.events.last(), Some(&reset));
    assert!(!client.respond(5, &OK, &[], "late"));
    assert_eq!(client.take(), []);
}

/// A watcher of a stream of which nothing waits any more is told when the output is sent, not when it is moved.
#[test]
fn watchers_wait_for_bytes_that_are_moved() {
    #[derive(Debug)]
    struct Note(std::sync::mpsc::Sender<Option<u64>>);
    impl crate::write_buf::Watcher for Note {
        fn sent(self: Box<Self>) {
            let _ = self.0.send(None);
        }
        fn lost(self: Box<Self>, unsent: u64) {
            let _ = self.0.send(Some(unsent));
        }
    }
    for trailers in [&b""[..], b"a: b\r\n"] {
        let mut client = Client::open(Driver::Hold);
        let (told, tells) = std::sync::mpsc::channel();
        client.send(&get(1));
        client.take();
        client
            .conn
            .begin(1, &OK, &[], BodySize::Unknown, &mut client.out, client.now);
        client
            .conn
            .send(1, client.now, |queue| queue.push(b"all of it"));
        client.turn();
        assert_eq!(client.conn.queued(1), Some(0));
        let watcher = Box::new(Note(told));
        client
            .conn
            .send(1, client.now, |queue| queue.push_watcher(watcher));
        assert!(client.conn.finish(1, trailers));
        client
            .conn
            .flush(&mut client.out, &client.limits, client.now);
        assert_eq!(client.conn.queued(1), None);
        assert!(tells.try_recv().is_err());
        client.out.advance(client.out.len() as usize - 1);
        assert!(tells.try_recv().is_err());
        client.out.advance(1);
        assert_eq!(tells.try_recv(), Ok(None));
    }
    // A reset before the end is sent.
    let mut client = Client::open(Driver::Hold);
    let (told, tells) = std::sync::mpsc::channel();
    client.send(&settings(&[(4, 4)]));
    client.send(&get(1));
    client
        .conn
        .begin(1, &OK, &[], BodySize::Unknown, &mut client.out, client.now);
    client.conn.send(1, client.now, |queue| {
        queue.push(b"half of it");
        queue.push_watcher(Box::new(Note(told)));
    });
    assert!(client.conn.finish(1, b""));
    client.turn();
    client.send(&frame(3, 0, 1, &[0, 0, 0, 8]));
    assert_eq!(tells.try_recv(), Ok(Some(6)));
}
