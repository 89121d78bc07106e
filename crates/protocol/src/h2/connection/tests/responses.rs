//! Responses, and the end of connections.

use super::*;
use crate::http::response::{BodySize, ResponseHead};
use crate::payload::Payload;

const OK: ResponseHead = ResponseHead::OK;

fn status(status: u16) -> ResponseHead {
    ResponseHead { status, ..OK }
}

fn fields(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let own = |(name, value): &(&str, &str)| (String::from(*name), String::from(*value));
    pairs.iter().map(own).collect()
}

impl Client {
    fn respond(
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

    fn tell_eof(&mut self) -> CloseReason {
        self.conn.eof();
        self.turn();
        match self.events.last() {
            Some(Next::Close(close)) => close.reason,
            other => panic!("{other:?}"),
        }
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
            true => conn.reset(stream, ErrorCode::INTERNAL_ERROR, out),
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
    };
    assert_eq!(client.events.last(), Some(&reset));
    assert!(!client.respond(5, &OK, &[], "late"));
    assert_eq!(client.take(), []);
}

/// 6.8: no request is lost.
#[test]
fn the_end_in_two_steps() {
    let mut client = Client::open(Driver::Hold);
    client.send(&get(1));
    client.conn.stop(&mut client.out, client.now);
    let ping = Seen::Ping(false, STOPPING.to_vec());
    assert_eq!(client.take(), [Seen::GoAway(MAX_31, 0), ping]);
    // It was on its way.
    client.send(&get(3));
    client.send(&frame(6, 1, 0, &STOPPING));
    assert_eq!(client.take(), [Seen::GoAway(3, 0)]);
    client.send(&get(5));
    client.send(&frame(0, 1, 5, b"x"));
    assert_eq!((client.take(), client.conn.streams()), (vec![], 2));
    assert!(client.respond(1, &OK, &[], "one") && client.respond(3, &OK, &[], "two"));
    client.turn();
    let close = Close {
        reason: CloseReason::Finished,
        linger: true,
    };
    assert_eq!(client.events.last(), Some(&Next::Close(close)));
}

/// 3.4: our settings come first, whatever happens before the client has sent anything.
#[test]
fn settings_come_before_the_end() {
    let is_greeting = |seen: &[Seen]| matches!(seen[0], Seen::Settings(_));
    let mut client = Client::raw(Driver::Hold);
    client.conn.stop(&mut client.out, client.now);
    client.turn();
    let seen = client.take();
    let ping = Seen::Ping(false, STOPPING.to_vec());
    assert!(is_greeting(&seen), "{seen:?}");
    assert!(seen.ends_with(&[Seen::GoAway(MAX_31, 0), ping]), "{seen:?}");

    let mut client = Client::raw(Driver::Hold);
    let due = client.conn.deadline(&client.limits);
    let (out, limits) = (&mut client.out, &client.limits);
    let close = client.conn.expire(out, limits, &client.http2, due);
    let seen = client.take();
    assert!(close.is_some() && is_greeting(&seen), "{seen:?}");
    assert!(matches!(seen.last(), Some(Seen::GoAway(0, 4))), "{seen:?}");
}

/// A request whose response is complete owes nothing of its body, even if the response waits for a window.
#[test]
fn a_body_behind_a_complete_response() {
    let mut client = Client::open(Driver::Hold);
    client.limits.body_grace = core::time::Duration::from_secs(1);
    client.send(&settings(&[(4, 0)]));
    client.send(&request(1, 0, "POST", &[]));
    assert!(client.respond(1, &OK, &[], "early"));
    client.turn();
    assert_eq!(client.conn.streams(), 1);
    let due = client.conn.deadline(&client.limits);
    assert!(due > Seconds::START.after(client.limits.body_grace));
}

/// A request that is refused counts among those of its connection.
#[test]
fn refused_requests_count() {
    let mut client = Client::open(Driver::Echo);
    client.limits.requests_per_connection = 2;
    client.limits.target_bytes = 0;
    client.send(&get(1));
    client.take();
    client.send(&get(3));
    let seen = client.take();
    assert!(client.told.iter().any(|told| told.starts_with("refused 3")));
    assert!(seen.contains(&Seen::GoAway(MAX_31, 0)), "{seen:?}");
}

/// The same without the answer to our PING, and by what ends connections from time to time.
#[test]
fn the_end_by_time_and_by_limits() {
    for by in 0..3 {
        let mut client = Client::open(Driver::Echo);
        match by {
            0 => client.limits.requests_per_connection = 2,
            1 => client.limits.connection_age = core::time::Duration::from_secs(1),
            _ => {}
        }
        client.send(&get(1));
        let (out, now) = (&mut client.out, Seconds::of(5));
        client.now = now;
        if by == 2 {
            client.conn.stop(out, now);
        }
        client.send(&get(3));
        assert!(client.take().contains(&Seen::GoAway(MAX_31, 0)), "{by}");
        let due = client.conn.deadline(&client.limits);
        assert_eq!(due, now.after(client.limits.stop_grace));
        let (out, limits) = (&mut client.out, &client.limits);
        let close = client.conn.expire(out, limits, &client.http2, due);
        assert_eq!(close.map(|close| close.reason), Some(CloseReason::Finished));
        assert_eq!(client.take(), [Seen::GoAway(3, 0)]);
    }
    let mut client = Client::open(Driver::Hold);
    client.send(&get(1));
    let close = ResponseHead { close: true, ..OK };
    assert!(client.respond(1, &close, &[], ""));
    assert!(client.take().contains(&Seen::GoAway(MAX_31, 0)));
}

#[test]
fn an_idle_connection_ends() {
    let mut client = Client::open(Driver::Echo);
    client.now = Seconds::of(7);
    client.send(&get(1));
    client.take();
    let due = client.conn.deadline(&client.limits);
    assert_eq!(due, client.now.after(client.limits.idle_timeout));
    let (out, limits) = (&mut client.out, &client.limits);
    let close = client.conn.expire(out, limits, &client.http2, due);
    assert_eq!(
        close.map(|close| close.reason),
        Some(CloseReason::IdleTimeout)
    );
    assert_eq!(client.take(), [Seen::GoAway(1, 0)]);
}

#[test]
fn what_takes_too_long() {
    // The rest of a field block.
    let mut client = Client::open(Driver::Hold);
    client.send(&frame(1, 1, 1, &[0x82]));
    let due = client.conn.deadline(&client.limits);
    assert_eq!(due, Seconds::START.after(client.limits.head_timeout));
    let (out, limits) = (&mut client.out, &client.limits);
    assert!(
        client
            .conn
            .expire(out, limits, &client.http2, due)
            .is_some()
    );
    assert!(matches!(client.take()[..], [Seen::GoAway(_, 11)]));

    // The rest of a body: the stream ends, and no other.
    let mut client = Client::open(Driver::Hold);
    client.send(&request(1, 0, "POST", &[]));
    client.send(&get(3));
    let due = client.conn.deadline(&client.limits);
    assert_eq!(due, Seconds::START.after(client.limits.body_grace));
    let (out, limits) = (&mut client.out, &client.limits);
    assert_eq!(client.conn.expire(out, limits, &client.http2, due), None);
    client.turn();
    let reset = Next::Reset {
        stream: 1,
        code: ErrorCode::CANCEL,
        unsent: 0,
    };
    assert_eq!(
        (client.events.last(), client.conn.streams()),
        (Some(&reset), 1)
    );
    assert_eq!(client.conn.deadline(&client.limits), Seconds::NEVER);

    // A body that the driver does not take is not late.
    let mut client = Client::open(Driver::Ignore);
    client.send(&request(1, 0, "POST", &[]));
    (0..3).for_each(|_| client.send(&frame(0, 0, 1, &[b'x'; 16_384])));
    assert_eq!(client.conn.deadline(&client.limits), Seconds::NEVER);
    client
        .conn
        .release(1, 3 * 16_384, &mut client.out, Seconds::of(100));
    let due = Seconds::of(100).after(client.limits.body_grace);
    assert_eq!(client.conn.deadline(&client.limits), due);
}

#[test]
fn the_client_closes() {
    assert_eq!(
        Client::raw(Driver::Echo).tell_eof(),
        CloseReason::ClientDone
    );
    let mut client = Client::open(Driver::Echo);
    client.send(&get(1));
    assert_eq!(client.tell_eof(), CloseReason::ClientDone);
    let mut client = Client::open(Driver::Echo);
    client.send(&request(1, 0, "POST", &[]));
    assert_eq!(client.tell_eof(), CloseReason::ClientGone);
    // Its responses are still sent.
    let mut client = Client::open(Driver::Hold);
    client.send(&get(1));
    client.conn.eof();
    client.turn();
    assert_eq!(client.conn.streams(), 1);
    assert!(client.respond(1, &OK, &[], "late"));
    client.turn();
    assert_eq!(client.tell_eof(), CloseReason::ClientDone);
}
