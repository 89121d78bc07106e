//! Responses, as frames.

use super::*;
use crate::http::response::{BodySize, ResponseHead};
use crate::payload::Payload;
use crate::write_buf::WriteBuf;

fn pairs(fields: &[(&str, &str)]) -> Seen {
    let own = |(name, value): &(&str, &str)| (String::from(*name), String::from(*value));
    Seen::Headers(fields.iter().map(own).collect())
}

fn status(status: u16) -> ResponseHead {
    ResponseHead {
        status,
        ..ResponseHead::OK
    }
}

fn respond(
    client: &mut Client,
    stream: u64,
    status_: u16,
    fields: &[&[u8]],
    body: &'static [u8],
) -> Sent {
    client.command(stream, |conn, encoder, out, now| {
        let body = Payload::Static(body);
        conn.respond(stream, &status(status_), fields, body, encoder, out, now)
    })
}

#[test]
fn complete_responses() {
    let cases: &[(&str, u16, &'static [u8], &[Seen])] = &[
        (
            "GET",
            200,
            b"hi",
            &[
                pairs(&[
                    (":status", "200"),
                    ("server", "x"),
                    ("a", "b"),
                    ("content-length", "2"),
                ]),
                Seen::Data(b"hi".to_vec()),
            ],
        ),
        (
            "GET",
            200,
            b"",
            &[pairs(&[
                (":status", "200"),
                ("server", "x"),
                ("a", "b"),
                ("content-length", "0"),
            ])],
        ),
        (
            "HEAD",
            200,
            b"hi",
            &[pairs(&[
                (":status", "200"),
                ("server", "x"),
                ("a", "b"),
                ("content-length", "2"),
            ])],
        ),
        (
            "GET",
            204,
            b"",
            &[pairs(&[(":status", "204"), ("server", "x"), ("a", "b")])],
        ),
        (
            "GET",
            304,
            b"hi",
            &[pairs(&[(":status", "304"), ("server", "x"), ("a", "b")])],
        ),
        (
            "GET",
            205,
            b"hi",
            &[pairs(&[
                (":status", "205"),
                ("server", "x"),
                ("a", "b"),
                ("content-length", "0"),
            ])],
        ),
    ];
    for (method, code, body, wanted) in cases {
        let mut client = Client::open(Driver::Hold);
        client.send(0, &request(method, &[]), true);
        // 4.2: fields about the connection are not sent.
        let own: &[u8] = b"Connection: close\r\nA: b\r\nKeep-Alive: x\r\nUpgrade: y\r\n";
        let sent = respond(&mut client, 0, *code, &[b"Server: x\r\n", own], body);
        assert_eq!(sent, Sent::Complete { stop: false });
        assert_eq!(client.take(0), *wanted, "{method} {code}");
        // It has had its response.
        assert_eq!(respond(&mut client, 0, 200, &[], b""), Sent::Gone);
        assert!(client.conn.is_idle());
    }
}

/// 4.1: the rest of a request that is answered early is not needed.
#[test]
fn responses_before_the_request_is_complete() {
    let mut client = Client::open(Driver::Hold);
    let post = [request("POST", &[]), with_header(0, b"hel")].concat();
    // In the call that hands it over, with more of it in the same piece.
    let mut input = StreamBytes::new(0, &post, false);
    let (limits, http3) = (client.limits, client.http3);
    let next = client
        .conn
        .next(&mut input, &mut client.head, &limits, &http3, client.now);
    assert!(matches!(next, Next::Request(_)));
    assert_eq!(
        respond(&mut client, 0, 200, &[], b""),
        Sent::Complete { stop: true }
    );
    let next = client
        .conn
        .next(&mut input, &mut client.head, &limits, &http3, client.now);
    assert_eq!((next, client.conn.streams()), (Next::Read, 0));
    // Later, and then bytes that were on their way.
    client.send(4, &post, false);
    assert_eq!(
        respond(&mut client, 4, 200, &[], b""),
        Sent::Complete { stop: true }
    );
    let mut input = StreamBytes::new(4, b"lo\x05\0", true);
    let next = client
        .conn
        .next(&mut input, &mut client.head, &limits, &http3, client.now);
    assert_eq!((next, client.close()), (Next::Read, None));

    // A response may go on while the rest of the request is dropped.
    client.send(8, &post, false);
    assert!(client.conn.discard(8, client.now) && !client.conn.discard(8, client.now));
    client.send(8, b"\x05\0\0", true);
    assert_eq!(
        respond(&mut client, 8, 200, &[], b""),
        Sent::Complete { stop: false }
    );
    assert_eq!(client.close(), None);
}

#[test]
fn responses_in_pieces() {
    let mut client = Client::open(Driver::Hold);
    client.send(0, &get(), true);
    let begin = |client: &mut Client, stream, size| {
        client.command(stream, |conn, encoder, out, now| {
            conn.begin(stream, &ResponseHead::OK, &[], size, encoder, out, now)
        })
    };
    client.command(0, |conn, encoder, out, _| {
        assert!(conn.interim(0, 103, &[b"Link: </a>\r\n"], encoder, out));
        Sent::Head
    });
    assert_eq!(begin(&mut client, 0, BodySize::Unknown), Sent::Head);
    assert_eq!(begin(&mut client, 0, BodySize::Unknown), Sent::Gone);
    client.command(0, |conn, encoder, out, _| {
        assert!(!conn.interim(0, 103, &[], encoder, out));
        for piece in [&b"one"[..], b"", b"two"] {
            assert!(conn.data(0, piece.len() as u64, out));
            out.push(piece);
        }
        Sent::Head
    });
    let sent = client.command(0, |conn, encoder, out, now| {
        conn.finish(0, b"Digest: x\r\n", encoder, out, now)
    });
    assert_eq!(sent, Sent::Complete { stop: false });
    let wanted = [
        pairs(&[(":status", "103"), ("link", "</a>")]),
        pairs(&[(":status", "200")]),
        Seen::Data(b"one".to_vec()),
        Seen::Data(b"two".to_vec()),
        pairs(&[("digest", "x")]),
    ];
    assert_eq!(client.take(0), wanted);

    // Without a body there is nothing to be finished.
    client.send(4, &request("HEAD", &[]), true);
    assert_eq!(
        begin(&mut client, 4, BodySize::Known(9)),
        Sent::Complete { stop: false }
    );
    assert_eq!(
        client.take(4),
        [pairs(&[(":status", "200"), ("content-length", "9")])]
    );
    let sent = client.command(4, |conn, encoder, out, now| {
        assert!(!conn.data(4, 1, out));
        conn.finish(4, b"", encoder, out, now)
    });
    assert_eq!(sent, Sent::Gone);
    // Nor is anything sent for a stream of which nothing is known.
    assert_eq!(begin(&mut client, 8, BodySize::Known(9)), Sent::Gone);
    client.send(8, &get()[..4], false);
    assert_eq!(begin(&mut client, 8, BodySize::Known(9)), Sent::Gone);
    assert_eq!(client.take(8), []);
}

/// Responses that were written as fields and body, small and large.
#[test]
fn written_responses() {
    for len in [0, 5, 100_000] {
        let mut client = Client::open(Driver::Hold);
        client.send(0, &get(), true);
        let mut response = <WriteBuf>::default();
        response.push(b"A: b\r\n");
        response.push_payload(Payload::Owned(vec![b'x'; len]));
        let size = (6, BodySize::Known(len as u64));
        let sent = client.command(0, |conn, encoder, out, now| {
            let head = &ResponseHead::OK;
            conn.respond_with(
                0,
                head,
                b"Server: x\r\n",
                size,
                &mut response,
                encoder,
                out,
                now,
            )
        });
        assert_eq!(
            (sent, response.is_empty()),
            (Sent::Complete { stop: false }, true)
        );
        let length = len.to_string();
        let mut wanted = vec![pairs(&[
            (":status", "200"),
            ("server", "x"),
            ("a", "b"),
            ("content-length", &length),
        ])];
        wanted.extend((len > 0).then(|| Seen::Data(vec![b'x'; len])));
        assert_eq!(client.take(0), wanted);
        response.push(b"A: b\r\n");
        let sent = client.command(0, |conn, encoder, out, now| {
            let head = &ResponseHead::OK;
            conn.respond_with(0, head, b"", size, &mut response, encoder, out, now)
        });
        assert_eq!((sent, response.is_empty()), (Sent::Gone, true));
    }
}

/// Priorities: of the field, of PRIORITY_UPDATE, and of one that came before its request (RFC 9218 section 7).
#[test]
fn priorities() {
    let mut client = Client::open(Driver::Hold);
    let update = |stream: u64, value: &str| {
        let mut payload = Vec::new();
        varint::encode(stream, &mut payload);
        payload.extend_from_slice(value.as_bytes());
        with_header(0xf_0700, &payload)
    };
    client.send(0, &request("GET", &[("priority", "u=1, i")]), true);
    client.send(2, &update(0, "u=5"), false);
    client.send(2, &update(4, "u=6"), false);
    client.send(2, &update(4, "u=7"), false);
    client.send(4, &request("GET", &[("priority", "u=2")]), true);
    client.send(8, &get(), true);
    respond(&mut client, 0, 200, &[], b"");
    client.send(2, &update(0, "u=0"), false);
    let of = |event: &Next| match event {
        Next::Request(parts) => Some((parts.stream, parts.priority)),
        Next::Priority { stream, priority } => Some((*stream, *priority)),
        _ => None,
    };
    let priority = |urgency, incremental| Priority {
        urgency,
        incremental,
    };
    assert_eq!(
        client.events.iter().filter_map(of).collect::<Vec<_>>(),
        [
            (0, priority(1, true)),
            (0, priority(5, false)),
            (4, priority(7, false)),
            (8, priority(3, false)),
        ]
    );
}
