//! The end of connections, and what takes too long.

use super::responses::OK;
use super::*;
use crate::http::response::ResponseHead;

impl Client {
    fn tell_eof(&mut self) -> CloseReason {
        self.conn.eof();
        self.turn();
        match self.events.last() {
            Some(Next::Close(close)) => close.reason,
            other => panic!("{other:?}"),
        }
    }
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
        fault: Some("the client of a stream is too slow"),
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

/// What is complete when the client closes gets its response; the rest is lost.
#[test]
fn the_client_closes_in_the_middle_of_a_request() {
    let mut client = Client::open(Driver::Hold);
    client.send(&get(1));
    client.send(&request(3, 0, "POST", &[]));
    client.send(&frame(1, 1, 5, &[0x82]));
    client.conn.eof();
    client.turn();
    let is_lost = |next: &&Next| {
        matches!(
            next,
            Next::Reset {
                stream: 3,
                fault: None,
                ..
            }
        )
    };
    assert_eq!(client.events.iter().filter(is_lost).count(), 1);
    assert_eq!(client.conn.streams(), 1);
    assert!(client.respond(1, &OK, &[], "late"));
    assert_eq!(client.tell_eof(), CloseReason::ClientGone);
    assert!(
        client
            .take()
            .contains(&Seen::Data(1, b"late".to_vec(), true))
    );
}

/// Streams that have ended take no memory of a connection that has been idle for a second.
#[test]
fn memory_of_streams_is_given_back() {
    let mut client = Client::open(Driver::Hold);
    let empty = client.conn.held();
    (0..100).for_each(|n| client.send(&get(2 * n + 1)));
    (0..100).for_each(|n| assert!(client.respond(2 * n + 1, &OK, &[], "ok")));
    client.turn();
    assert!(client.conn.is_idle() && client.conn.held() > empty + 10_000);
    let due = client.conn.deadline(&client.limits);
    assert!(due < client.now.after(client.limits.idle_timeout));
    let (out, limits) = (&mut client.out, &client.limits);
    assert_eq!(client.conn.expire(out, limits, &client.http2, due), None);
    assert_eq!(client.conn.held(), empty);
    let due = client.conn.deadline(&client.limits);
    assert_eq!(due, client.now.after(client.limits.idle_timeout));
    client.send(&get(201));
    assert!(client.respond(201, &OK, &[], "ok"));
}

/// A connection whose place others need ends when no request is open, and a new one has had time to begin.
#[test]
fn connections_that_can_be_spared() {
    let client = Client::raw(Driver::Hold);
    assert!(!client.conn.is_spare(client.now));
    assert!(client.conn.is_spare(Seconds::of(2)));
    let mut client = Client::open(Driver::Hold);
    assert!(client.conn.is_spare(client.now));
    client.send(&get(1));
    assert!(!client.conn.is_spare(Seconds::of(100)));
}

/// The driver learns what is wrong with a request that has no stream.
#[test]
fn malformed_requests_are_told() {
    let mut client = Client::open(Driver::Echo);
    client.send(&request(1, 1, "GET", &[("connection", "close")]));
    let told = Next::Malformed {
        stream: 1,
        text: "a field about the connection",
    };
    assert_eq!(client.events.last(), Some(&told));
    let text = "no body, and Content-Length";
    client.send(&request(3, 1, "POST", &[("content-length", "1")]));
    let told = Next::Malformed { stream: 3, text };
    assert_eq!(client.events.last(), Some(&told));
    assert_eq!(client.take()[..], [Seen::Reset(1, 1), Seen::Reset(3, 1)]);
    // The one that is too many is told, too.
    let mut id = 3;
    while !matches!(client.events.last(), Some(Next::Close(_))) {
        id += 2;
        client.send(&request(id, 1, "POST", &[("content-length", "1")]));
    }
    let told = Next::Malformed { stream: id, text };
    let events = &client.events[client.events.len() - 2..];
    assert_eq!(events[0], told);
    assert!(matches!(events[1], Next::Close(_)), "{events:?}");
}

/// The time of an idle connection begins when its last stream ends, however it ends.
#[test]
fn a_reset_begins_the_idle_time() {
    let by: [fn(&mut Client); 3] = [
        |client| client.send(&frame(3, 0, 1, &[0, 0, 0, 8])),
        |client| client.send(&frame(8, 0, 1, &[0; 4])),
        |client| {
            let (out, now) = (&mut client.out, client.now);
            client.conn.reset(1, ErrorCode::CANCEL, out, now);
        },
    ];
    for end in by {
        let mut client = Client::open(Driver::Hold);
        client.send(&get(1));
        client.now = Seconds::START.after(client.limits.idle_timeout * 2);
        end(&mut client);
        assert_eq!(client.conn.streams(), 0);
        let (out, limits) = (&mut client.out, &client.limits);
        let close = client.conn.expire(out, limits, &client.http2, client.now);
        assert_eq!(close, None);
    }
}

/// Requests that a client has not sent completely before it closes are reset.
#[test]
fn a_request_that_is_lost_is_reset() {
    let mut client = Client::open(Driver::Hold);
    client.send(&request(1, 0, "POST", &[]));
    assert_eq!(client.tell_eof(), CloseReason::ClientGone);
    assert_eq!(client.take(), [Seen::Reset(1, 8)]);
}

/// DATA of all streams may be on its way when they are reset.
#[test]
fn late_data_of_many_streams_that_were_reset() {
    let mut client = Client::open(Driver::Hold);
    let ids = || (0..100).map(|n| 2 * n + 1);
    ids().for_each(|id| client.send(&request(id, 0, "POST", &[])));
    for id in ids() {
        let (out, now) = (&mut client.out, client.now);
        client.conn.reset(id, ErrorCode::CANCEL, out, now);
    }
    assert_eq!(client.take().len(), 100);
    ids().for_each(|id| client.send(&frame(0, 0, id, &[b'x'; 300])));
    assert_eq!(client.take(), []);
}

/// Trailers that are too large or malformed end their stream; the next request is served.
#[test]
fn trailers_beyond_the_limits() {
    let long = "v".repeat(20_000);
    let many = vec![("a", "b"); 101];
    let (calm, protocol) = (11, 1);
    for (fields, code) in [
        (&many[..], calm),
        (&[("a", &long[..9000]), ("b", &long[..9000])], calm),
        (&[("connection", "close")], protocol),
        (&[("te", "gzip")], protocol),
        (&[(":path", "/")], protocol),
    ] {
        for is_divided in [false, true] {
            let mut client = Client::open(Driver::Echo);
            client.send(&request(1, 0, "POST", &[]));
            client.send(&frame(0, 0, 1, b"x"));
            let whole = headers(1, 1, fields);
            let block = &whole[9..];
            if is_divided {
                let (begin, end) = block.split_at(block.len() / 2);
                client.send(&frame(1, 1, 1, begin));
                client.send(&frame(9, 4, 1, end));
            } else if block.len() <= MAX_PAYLOAD {
                client.send(&whole);
            } else {
                continue;
            }
            let seen = client.take();
            let is_over = |frame: &Seen| matches!(frame, Seen::GoAway(_, 11));
            let is_calm = code == calm && seen.iter().any(is_over);
            assert!(seen == [Seen::Reset(1, code)] || is_calm, "{seen:?}");
        }
    }
    // Fields that mean nothing behind a body are fields like others.
    let mut client = Client::open(Driver::Echo);
    client.send(&request(1, 0, "POST", &[]));
    client.send(&frame(0, 0, 1, b"x"));
    client.send(&headers(
        1,
        1,
        &[("host", "b"), ("content-length", "7"), ("te", "trailers")],
    ));
    assert!(client.told.iter().any(|told| told == "trailers 1 3"));
}
