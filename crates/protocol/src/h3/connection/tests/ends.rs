//! Ends of streams and connections: resets, GOAWAY, time.

use super::*;

fn goaways(client: &mut Client) -> Vec<u64> {
    let frames = client.control_frames();
    let ids = frames[1..].iter().map(|(kind, payload)| {
        assert_eq!(*kind, 7);
        varint::decode(payload).expect("an identifier").0
    });
    ids.collect()
}

fn answer(client: &mut Client, stream: u64) -> Sent {
    client.command(stream, |conn, encoder, out, now| {
        let (head, body) = (
            crate::http::response::ResponseHead::OK,
            crate::payload::Payload::Static(b"ok"),
        );
        conn.respond(stream, &head, &[], body, encoder, out, now)
    })
}

/// RFC 9114 section 5.2: in two steps, and every request is answered or known not to be.
#[test]
fn a_stop_in_two_steps() {
    let mut client = Client::open(Driver::Hold);
    client.send(0, &get(), true);
    client.stop();
    assert_eq!(goaways(&mut client), [(1 << 62) - 4]);
    assert!(client.conn.is_stopping());
    // It was on its way.
    client.send(4, &get(), true);
    client.later(2);
    assert_eq!(goaways(&mut client), [(1 << 62) - 4, 8]);
    client.send(8, &get(), true);
    let rejected = Next::Reset {
        stream: 8,
        code: ErrorCode::H3_REQUEST_REJECTED,
        fault: Some("a request behind the last GOAWAY"),
    };
    assert_eq!(client.events.last(), Some(&rejected));
    client.stop();
    assert_eq!(goaways(&mut client).len(), 2);
    assert_eq!(answer(&mut client, 0), Sent::Complete { stop: false });
    client.poll();
    assert_eq!(client.close(), None);
    answer(&mut client, 4);
    client.poll();
    assert_eq!(client.close(), Some(CloseReason::Finished));
    let close = Close {
        reason: CloseReason::Finished,
    };
    assert_eq!(close.code(), ErrorCode::H3_NO_ERROR);
    assert_eq!(client.conn.deadline(&client.limits), Seconds::NEVER);
}

/// A stream that came before one with a lower number: the lower one is waited for.
#[test]
fn a_stop_with_a_stream_on_its_way() {
    let mut client = Client::open(Driver::Echo);
    client.send(8, &get(), true);
    client.send(4, &get(), true);
    client.stop();
    client.later(2);
    assert_eq!(goaways(&mut client), [(1 << 62) - 4, 12]);
    assert_eq!(client.close(), None);
    client.send(0, &get(), true);
    client.poll();
    assert_eq!(client.close(), Some(CloseReason::Finished));
    assert_eq!(client.take(0).len(), 2);

    let mut client = Client::open(Driver::Echo);
    client.send(8, &get(), true);
    client.stop();
    client.later(12);
    assert_eq!(client.close(), None);
    client.later(1);
    assert_eq!(client.close(), Some(CloseReason::Finished));
}

#[test]
fn the_last_request_of_a_connection() {
    let mut client = Client::raw(Driver::Echo);
    client.limits = client.limits.requests_per_connection(2);
    client.renew();
    client.send(0, &get(), true);
    assert!(!client.conn.is_stopping());
    client.send(4, &get(), true);
    assert!(client.conn.is_stopping());
    client.later(2);
    assert_eq!(client.close(), Some(CloseReason::Finished));
    assert_eq!(client.take(4).len(), 2);
}

#[test]
fn idle_connections() {
    let mut client = Client::open(Driver::Echo);
    assert!(!client.conn.is_spare(client.now));
    client.send(0, &get(), true);
    client.send(4, &request("POST", &[]), false);
    assert!(!client.conn.is_spare(client.now));
    client.send(4, b"", true);
    assert!(client.conn.is_spare(client.now) && client.conn.is_idle());
    // What its streams took is given back.
    let before = client.conn.held();
    client.later(2);
    assert!(client.conn.held() < before);
    client.later(73);
    assert_eq!(client.close(), None);
    client.later(1);
    assert_eq!(client.close(), Some(CloseReason::IdleTimeout));
    assert_eq!(goaways(&mut client), [8]);

    let mut client = Client::open(Driver::Echo);
    let close = client.conn.give_way(client.now);
    assert_eq!(close.reason, CloseReason::Finished);
    assert_eq!(goaways(&mut client), [0]);
    client.poll();
    assert_eq!(client.close(), Some(CloseReason::Finished));
}

/// The client ends streams (RFC 9114 section 4.1.1): what was asked for is not answered any more.
#[test]
fn requests_that_are_taken_back() {
    let cancelled = |stream| Next::Reset {
        stream,
        code: ErrorCode::H3_REQUEST_CANCELLED,
        fault: None,
    };
    let mut client = Client::open(Driver::Hold);
    client.send(0, &request("POST", &[]), false);
    client.reset(0);
    assert_eq!(client.events.last(), Some(&cancelled(0)));
    client.stopped(0);
    client.send(4, &get(), true);
    client.stopped(4);
    assert_eq!(client.events.last(), Some(&cancelled(4)));
    // Half a head, and nothing at all.
    client.send(8, &get()[..3], false);
    client.reset(8);
    client.reset(16);
    assert_eq!(client.events.last(), Some(&cancelled(16)));
    assert_eq!(answer(&mut client, 4), Sent::Gone);
    assert_eq!((client.conn.streams(), client.conn.partial), (0, 0));
    let counts = client.conn.take_counts();
    assert_eq!(
        (counts.resets_received, counts.resets_sent, counts.rejected),
        (5, 0, 0)
    );
    // The one that was passed over.
    client.send(12, &get(), true);
    assert_eq!(client.conn.streams(), 1);
    client.conn.abort(12, client.now);
    client.conn.abort(12, client.now);
    assert_eq!(
        (client.conn.streams(), client.conn.take_counts().resets_sent),
        (0, 1)
    );
    assert_eq!(client.close(), None);
}

/// RFC 9114 section 6.2.1 and RFC 9204 section 4.2: these streams may not end.
#[test]
fn critical_streams() {
    let closed = |client: &Client| match client.close() {
        Some(CloseReason::Error(code, _)) => Some(code),
        _ => None,
    };
    let critical = Some(ErrorCode::H3_CLOSED_CRITICAL_STREAM);
    for kind in [0, 2, 3] {
        let mut client = Client::raw(Driver::Hold);
        client.send(6, &[kind], false);
        client.reset(6);
        assert_eq!(closed(&client), critical, "{kind}");
    }
    // STOP_SENDING for the control stream of the server.
    let mut client = Client::open(Driver::Hold);
    client.stopped(3);
    assert_eq!(closed(&client), critical);
    // Others may, with a type or without (RFC 9114 section 6.2).
    let mut client = Client::open(Driver::Hold);
    client.send(6, b"\x40", false);
    client.reset(6);
    client.reset(10);
    client.send(14, b"\x21", false);
    client.reset(14);
    assert_eq!(closed(&client), None);
    assert_eq!(client.conn.unidirectional.len(), 1);
}

/// Errors of a connection do not hide what became of its streams.
#[test]
fn an_error_at_the_end() {
    let mut client = Client::open(Driver::Hold);
    client.send(0, &request("POST", &[]), false);
    client.conn.reset(0, &client.http3, client.now);
    client.conn.stopped(3, &client.http3, client.now);
    client.poll();
    assert!(matches!(
        client.events[1..],
        [Next::Reset { stream: 0, .. }, Next::Close(_)]
    ));
    // It stays over.
    client
        .conn
        .expire(&client.limits, &client.http3, client.now);
    assert!(matches!(
        client.conn.poll(&client.limits, client.now),
        Next::Close(_)
    ));
}
