//! Flow control in both directions, and priorities.

use super::*;
use crate::http::response::{BodySize, ResponseHead};

fn update(stream: u32, by: u32) -> Vec<u8> {
    frame(8, 0, stream, &by.to_be_bytes())
}

/// Bytes of bodies by stream, and which have ended.
fn bodies(seen: &[Seen]) -> Vec<(u32, usize, bool)> {
    let mut bodies: Vec<(u32, usize, bool)> = Vec::new();
    for frame in seen {
        if let Seen::Data(stream, bytes, end) = frame {
            match bodies.iter_mut().find(|body| body.0 == *stream) {
                Some(body) => (body.1, body.2) = (body.1 + bytes.len(), *end),
                None => bodies.push((*stream, bytes.len(), *end)),
            }
        }
    }
    bodies
}

fn all(client: &mut Client) -> Vec<(u32, usize, bool)> {
    bodies(&client.take())
}

/// 6.9.1: neither window is exceeded, and both are waited for.
#[test]
fn a_response_that_is_larger_than_the_windows() {
    let mut client = Client::open(Driver::Large);
    client.send(&get(1));
    assert_eq!(all(&mut client), [(1, 65_535, false)]);
    client.send(&update(1, 100_000));
    assert_eq!(all(&mut client), []);
    client.send(&update(0, 1000));
    assert_eq!(all(&mut client), [(1, 1000, false)]);
    // A small response of another stream waits for its turn.
    client.send(&get(3));
    assert!(matches!(client.take()[..], [Seen::Headers(3, _, false)]));
    client.send(&update(0, 50_000));
    assert_eq!(all(&mut client), [(1, 33_465, true), (3, 16_535, false)]);
    client.send(&update(0, 100_000));
    assert_eq!(all(&mut client), [(3, 49_000, false)]);
    assert_eq!(client.conn.streams(), 1);
    client.send(&update(3, 34_465));
    assert_eq!(all(&mut client), [(3, 34_465, true)]);
    assert_eq!(client.conn.streams(), 0);
}

/// 6.9.2: SETTINGS change the windows of all streams, below zero, too.
#[test]
fn settings_change_the_windows() {
    let mut client = Client::open(Driver::Large);
    client.send(&update(0, 1 << 20));
    client.send(&settings(&[(4, 10)]));
    client.send(&get(1));
    assert_eq!(all(&mut client), [(1, 10, false)]);
    client.send(&settings(&[(4, 0)]));
    client.send(&update(1, 9));
    assert_eq!(all(&mut client), []);
    client.send(&update(1, 2));
    assert_eq!(all(&mut client), [(1, 1, false)]);
    client.send(&settings(&[(4, 200_000)]));
    assert_eq!(all(&mut client), [(1, 99_989, true)]);
}

/// Bodies that are taken: the windows are given back when half of them is used.
#[test]
fn windows_are_given_back_at_half() {
    let mut client = Client::open(Driver::Hold);
    client.send(&request(1, 0, "POST", &[]));
    let mut updates = Vec::new();
    for _ in 0..100 {
        client.send(&frame(0, 0, 1, &[b'x'; 16_384]));
        updates.extend(client.take());
    }
    let sum = |stream| {
        let of = |frame: &Seen| match frame {
            Seen::WindowUpdate(id, more) if *id == stream => Some(*more),
            _ => None,
        };
        let more: Vec<_> = updates.iter().filter_map(of).collect();
        (more.len(), more.iter().sum::<u32>())
    };
    assert_eq!(sum(1), (50, 100 * 16_384));
    assert_eq!(sum(0), (3, 3 * (1 << 19)));
    client.send(&frame(0, 1, 1, &[b'x'; 16_384]));
    assert_eq!(client.take(), [], "nothing is given back behind the end");
}

/// A client that may send all that is missing gets no larger window. It has to send it in time.
#[test]
fn a_body_whose_rest_fits_the_window() {
    for (length, updates) in [
        (60_000, 0),
        (65_535, 0),
        (65_536, 1),
        (98_303, 1),
        (98_305, 2),
    ] {
        let mut client = Client::open(Driver::Hold);
        let field = ("content-length", &*length.to_string());
        client.send(&request(1, 0, "POST", &[field]));
        let body = vec![b'x'; length];
        let mut seen = Vec::new();
        for piece in body[1..].chunks(16_384) {
            client.send(&frame(0, 0, 1, piece));
            seen.extend(client.take());
        }
        let of_stream = |frame: &&Seen| matches!(frame, Seen::WindowUpdate(1, _));
        assert_eq!(seen.iter().filter(of_stream).count(), updates, "{length}");
        assert!(client.conn.deadline(&client.limits) < Seconds::NEVER);
        client.send(&frame(0, 1, 1, &body[..1]));
        assert_eq!(client.take(), [], "{length}");
    }
}

/// Bodies that are not taken: what is on its way is bounded, and other streams go on.
#[test]
fn a_body_that_is_not_taken() {
    let mut client = Client::open(Driver::Ignore);
    let piece = [b'x'; 16_384];
    let fill = |client: &mut Client, stream| {
        client.send(&request(stream, 0, "POST", &[]));
        (0..3).for_each(|_| client.send(&frame(0, 0, stream, &piece)));
        client.send(&frame(0, 0, stream, &piece[..16_383]));
    };
    fill(&mut client, 1);
    assert_eq!(client.take(), []);
    // 15 more are as much as the connection holds: half of its window was given back before.
    (1..16).for_each(|n| fill(&mut client, 2 * n + 1));
    assert_eq!(client.take(), []);
    client.send(&frame(0, 0, 1, b"x"));
    assert_eq!(
        client.take(),
        [Seen::Reset(1, 3)],
        "5.2, 6.9: beyond the window of the stream"
    );
    // It is let go of, and so is what it held.
    let (out, now) = (&mut client.out, client.now);
    (1..8).for_each(|n| client.conn.release(2 * n + 1, 65_535, out, now));
    let seen = client.take();
    assert!(seen.contains(&Seen::WindowUpdate(3, 65_535)), "{seen:?}");
    assert!(
        seen.iter()
            .any(|frame| matches!(frame, Seen::WindowUpdate(0, _))),
        "{seen:?}"
    );
}

#[test]
fn one_body_that_is_not_taken_holds_up_no_other() {
    let mut client = Client::open(Driver::Ignore);
    client.send(&request(1, 0, "POST", &[]));
    client.send(&frame(0, 0, 1, &[b'x'; 16_384]));
    client.send(&request(3, 0, "POST", &[]));
    let mut sent = 16_384;
    for _ in 0..500 {
        client.send(&frame(0, 0, 3, &[b'x'; 16_384]));
        sent += 16_384;
        let (out, now) = (&mut client.out, client.now);
        client.conn.release(3, 16_384, out, now);
        for frame in client.take() {
            assert!(!matches!(frame, Seen::WindowUpdate(1, _) | Seen::Reset(..)));
            assert!(!matches!(frame, Seen::GoAway(..)));
        }
    }
    assert!(sent > 7 << 20);
}

/// 6.9: more than the window of the connection is an error of the connection.
#[test]
fn beyond_the_window_of_the_connection() {
    let http2 = Http2Limits {
        connection_window: 0,
        stream_window: 200_000,
        ..Http2Limits::default()
    };
    let mut client = Client::with(Driver::Ignore, http2);
    client.shake_hands(&[]);
    client.send(&request(1, 0, "POST", &[]));
    (0..3).for_each(|_| client.send(&frame(0, 0, 1, &[b'x'; 16_384])));
    client.send(&frame(0, 0, 1, &[b'x'; 16_383]));
    assert_eq!(client.take(), []);
    client.send(&frame(0, 0, 1, b"x"));
    assert_eq!(client.take(), [Seen::GoAway(1, 3)]);
}

/// 6.1: padding counts, and is given back without the driver.
#[test]
fn padding_is_given_back() {
    let mut client = Client::open(Driver::Ignore);
    client.send(&request(1, 0, "POST", &[]));
    let padded = [&[255][..], &[b'x'; 256], &[0; 255]].concat();
    let mut given = 0;
    for _ in 0..200 {
        client.send(&frame(0, 8, 1, &padded));
        for frame in client.take() {
            match frame {
                Seen::WindowUpdate(1, more) => given += more,
                Seen::WindowUpdate(0, _) => {}
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(given % 256, 0);
    assert!((30_000..=200 * 256).contains(&given), "{given}");
}

/// RFC 9218: the most urgent first, and in turns if that is asked for.
#[test]
fn who_sends_first() {
    let order = |priorities: &[&str]| {
        let mut client = Client::open(Driver::Large);
        client.send(&settings(&[(4, 1 << 20)]));
        // The first one uses up the window of the connection.
        client.send(&get(1));
        client.take();
        for (n, priority) in priorities.iter().enumerate() {
            client.send(&request(
                3 + 2 * n as u32,
                1,
                "GET",
                &[("priority", priority)],
            ));
        }
        client.take();
        client.send(&update(0, 1 << 20));
        let mut order: Vec<u32> = Vec::new();
        for frame in client.take() {
            if let Seen::Data(stream, ..) = frame {
                order.extend((order.last() != Some(&stream)).then_some(stream));
            }
        }
        order
    };
    assert_eq!(order(&["", ""]), [1, 3, 5]);
    assert_eq!(order(&["u=5", "u=0"]), [5, 1, 3]);
    assert_eq!(order(&["i", ""]), [1, 5, 3]);
    let turns = order(&["u=1, i", "u=1, i"]);
    assert_eq!(turns[..4], [3, 5, 3, 5]);
    assert_eq!(turns.last(), Some(&1));
    // PRIORITY_UPDATE counts as well.
    let mut client = Client::open(Driver::Large);
    client.send(&get(1));
    client.send(&get(3));
    client.send(&frame(16, 0, 0, b"\0\0\0\x03u=0"));
    client.take();
    client.send(&update(0, 1000));
    assert_eq!(all(&mut client), [(3, 1000, false)]);
}

/// What waits for room in the output does not wait for the client's windows.
#[test]
fn a_full_output_is_no_stall() {
    let due = |values: &[(u16, u32)], more: &[u8]| {
        let mut client = Client::open(Driver::Large);
        client.limits.output_bytes = 1000;
        client.send(&settings(values));
        client.send(more);
        // The output takes one frame.
        client.send(&get(1));
        client.now = Seconds::of(100);
        (0..8).for_each(|_| client.turn());
        let sent: usize = all(&mut client).iter().map(|body| body.1).sum();
        assert_eq!(sent, 66_536);
        client.conn.deadline(&client.limits)
    };
    let grace = Limits::default().write_grace;
    let least = Seconds::of(100).after(grace);
    // The window of the connection is used up, and that of the stream.
    assert!(due(&[(4, 1 << 20)], &update(0, 1001)) >= least);
    assert!(due(&[(4, 66_536)], &update(0, 1 << 20)) >= least);
}

/// A segment that counts how many of it there are.
#[derive(Debug)]
struct File(std::sync::Arc<()>);

impl Part for File {
    fn part(&self, _from: u64, _len: u64) -> File {
        File(self.0.clone())
    }
}

/// Only so many files wait in the output, however small they are: the streams keep the others.
#[test]
fn files_in_the_output_are_bounded() {
    let file = std::sync::Arc::new(());
    let (limits, http2) = (Limits::default(), Http2Limits::default());
    let mut conn: Http2<File> = Http2::new(Seconds::START, &http2);
    let (mut input, mut head) = (Input::new(), HeadBuf::new());
    let (mut out, mut response) = (WriteBuf::default(), WriteBuf::default());
    let gets: Vec<u8> = (0..60).flat_map(|n| get(2 * n + 1)).collect();
    let bytes = [&PREFACE[..], &settings(&[]), &frame(4, 1, 0, &[]), &gets].concat();
    input.space()[..bytes.len()].copy_from_slice(&bytes);
    input.filled(bytes.len());
    let now = Seconds::START;
    let mut sent = 0;
    while sent < 60 {
        match conn.next(&mut input, &mut head, &mut out, &limits, &http2, now) {
            Next::Request(RequestParts { stream, .. }) => {
                response.push_segment(File(file.clone()), 1);
                let size = BodySize::Known(1);
                let ok = &ResponseHead::OK;
                conn.respond_with(stream, ok, b"", (0, size), &mut response, &mut out, now);
            }
            Next::Read => {
                assert_eq!(out.segments(), limits.output_files.min(60 - sent));
                assert_eq!(conn.streams(), 60 - sent - out.segments());
                sent += out.segments();
                out.clear();
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(std::sync::Arc::strong_count(&file), 1);
}

/// What is held of bodies that are paused does not stop the clock of the others, as long as they may go on.
#[test]
fn a_slow_body_beside_paused_ones() {
    let mut client = Client::open(Driver::Ignore);
    for n in 0..11 {
        client.send(&request(2 * n + 1, 0, "POST", &[]));
        (0..3).for_each(|_| client.send(&frame(0, 0, 2 * n + 1, &[b'x'; 16_384])));
        client.conn.pause(2 * n + 1, true, client.now);
    }
    client.send(&request(23, 0, "POST", &[]));
    let due = client.conn.deadline(&client.limits);
    assert_eq!(due, Seconds::START.after(client.limits.body_grace));
}
