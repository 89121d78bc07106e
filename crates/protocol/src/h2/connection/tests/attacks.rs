//! The attacks on HTTP/2 servers that are known, with the CVE that they stand for. Each is sent to a connection;
//! it ends, or it is bounded and still of use.

use super::*;

/// How it ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// ENHANCE_YOUR_CALM, before all of it was taken.
    Calm,
    /// Nothing grows, and a request is answered.
    Bounded,
}
use End::*;

struct Attack {
    row: u8,
    name: &'static str,
    ids: &'static str,
    driver: Driver,
    /// The n-th part of it.
    part: fn(u32) -> Vec<u8>,
    parts: u32,
    end: End,
}

fn id(n: u32) -> u32 {
    2 * n + 1
}

fn reset(stream: u32) -> Vec<u8> {
    frame(3, 0, stream, &[0, 0, 0, 8])
}

fn update(stream: u32, by: u32) -> Vec<u8> {
    frame(8, 0, stream, &by.to_be_bytes())
}

/// The first part opens stream 1 by POST, the others are `part`.
fn on_post(n: u32, part: Vec<u8>) -> Vec<u8> {
    match n {
        0 => request(1, 0, "POST", &[]),
        _ => part,
    }
}

/// HEADERS with a block of this prefix, and `count` times a byte.
fn block(stream: u32, prefix: &[u8], byte: u8, count: usize) -> Vec<u8> {
    let mut block = vec![0x82, 0x86, 0x84, 0x01, 1, b'a'];
    block.extend_from_slice(prefix);
    block.resize(block.len() + count, byte);
    frame(1, 5, stream, &block)
}

const EMPTY_NAME: &[(&str, &str)] = &[("", "x")];
const SMUGGLED: &[(&str, &str)] = &[("a", "b\r\ntransfer-encoding: chunked")];

#[rustfmt::skip]
const ATTACKS: &[Attack] = &[
    Attack { row: 1, name: "rapid reset", ids: "CVE-2023-44487, CVE-2023-39325, CVE-2023-45802", driver: Driver::Hold,
        part: |n| [get(id(n)), reset(id(n))].concat(), parts: 2000, end: Calm },
    Attack { row: 1, name: "rapid reset of what is answered", ids: "CVE-2023-44487", driver: Driver::Echo,
        part: |n| [get(id(n)), reset(id(n))].concat(), parts: 2000, end: Calm },
    Attack { row: 2, name: "made you reset: window by nothing", ids: "CVE-2025-8671", driver: Driver::Hold,
        part: |n| [get(id(n)), update(id(n), 0)].concat(), parts: 2000, end: Calm },
    Attack { row: 2, name: "made you reset: window too large", ids: "CVE-2025-55163", driver: Driver::Hold,
        part: |n| [get(id(n)), update(id(n), MAX_31)].concat(), parts: 2000, end: Calm },
    Attack { row: 2, name: "made you reset: DATA behind the end", ids: "CVE-2025-8671", driver: Driver::Hold,
        part: |n| [get(id(n)), frame(0, 0, id(n), b"x")].concat(), parts: 2000, end: Calm },
    Attack { row: 3, name: "a small MAX_HEADER_LIST_SIZE", ids: "CVE-2026-50560", driver: Driver::Echo,
        part: |n| match n { 0 => settings(&[(6, 1)]), n => get(id(n)) }, parts: 50, end: Bounded },
    Attack { row: 5, name: "CONTINUATION flood", ids: "CVE-2024-27316, CVE-2023-45288, CVE-2024-28182", driver: Driver::Hold,
        part: |n| match n { 0 => frame(1, 1, 1, &[0x82]), _ => frame(9, 0, 1, &[0x01, 1, b'a']) }, parts: 20, end: Calm },
    Attack { row: 5, name: "CONTINUATION with much in it", ids: "CVE-2024-27919", driver: Driver::Hold,
        part: |n| match n { 0 => frame(1, 1, 1, &[0x82]), _ => frame(9, 0, 1, &[0; 9000]) }, parts: 4, end: Calm },
    Attack { row: 6, name: "CONTINUATION with nothing in it", ids: "CVE-2026-33871", driver: Driver::Hold,
        part: |n| match n { 0 => frame(1, 1, 1, &[0x82]), _ => frame(9, 0, 1, &[]) }, parts: 4, end: Calm },
    Attack { row: 7, name: "HPACK bomb", ids: "CVE-2016-6581", driver: Driver::Echo,
        part: |n| block(id(n), &[&[0x40, 1, b'x', 0x7f, 0x81, 0x1e][..], &[b'v'; 3968]].concat(), 0xbe, 9000), parts: 2, end: Calm },
    Attack { row: 8, name: "HTTP/2 bomb: small entries", ids: "CVE-2026-49975, CVE-2026-47774", driver: Driver::Echo,
        part: |n| block(id(n), &[0x40, 1, b'x', 0], 0xbe, 400), parts: 50, end: Bounded },
    Attack { row: 8, name: "HTTP/2 bomb: crumbs of cookies", ids: "CVE-2026-49975", driver: Driver::Echo,
        part: |n| block(id(n), &[0x60, 0], 0xbe, 400), parts: 50, end: Bounded },
    Attack { row: 9, name: "an initial window of zero", ids: "CVE-2016-1546, CVE-2019-9517, CVE-2023-43622", driver: Driver::Large,
        part: |n| match n { 0 => settings(&[(4, 0)]), n => get(id(n)) }, parts: 2000, end: Calm },
    Attack { row: 9, name: "data dribble", ids: "CVE-2019-9511", driver: Driver::Large,
        part: |n| match n { 0 => [settings(&[(4, 0)]), get(1)].concat(), _ => update(1, 1) }, parts: 500, end: Bounded },
    Attack { row: 10, name: "PING flood", ids: "CVE-2019-9512", driver: Driver::Echo,
        part: |_| frame(6, 0, 0, &[0; 8]), parts: 2000, end: Calm },
    Attack { row: 10, name: "SETTINGS flood", ids: "CVE-2019-9515", driver: Driver::Echo,
        part: |_| settings(&[]), parts: 2000, end: Calm },
    Attack { row: 11, name: "SETTINGS with thousands of values", ids: "CVE-2020-11080", driver: Driver::Echo,
        part: |_| settings(&[(6, 1); 2000]), parts: 1, end: Calm },
    Attack { row: 13, name: "a table of 4 GiB", ids: "capped in h2 0.4.17", driver: Driver::Echo,
        part: |n| match n { 0 => settings(&[(1, u32::MAX)]), n => get(id(n)) }, parts: 50, end: Bounded },
    Attack { row: 13, name: "a table whose size flaps", ids: "capped in h2 0.4.17", driver: Driver::Echo,
        part: |n| [settings(&[(1, n % 2 * 4096)]), get(id(n))].concat(), parts: 2000, end: Calm },
    Attack { row: 13, name: "a table that flaps in each block", ids: "RFC 7541 section 4.2", driver: Driver::Echo,
        part: |n| frame(1, 5, id(n), &[0x20, 0x3f, 0xe1, 0x1f, 0x82, 0x86, 0x84, 0x41, 1, b'a']), parts: 100, end: Bounded },
    Attack { row: 14, name: "PRIORITY loops", ids: "CVE-2019-9513, CVE-2015-8659", driver: Driver::Echo,
        part: |n| frame(2, 0, id(n % 7), &[0, 0, 0, id(n % 5) as u8, 1]), parts: 2000, end: Calm },
    Attack { row: 14, name: "PRIORITY_UPDATE flood", ids: "CVE-2019-9513", driver: Driver::Echo,
        part: |n| frame(16, 0, 0, &[&id(n).to_be_bytes()[..], b"u=1"].concat()), parts: 2000, end: Calm },
    Attack { row: 15, name: "reset flood", ids: "CVE-2019-9514", driver: Driver::Echo,
        part: |n| [get(id(n)), frame(0, 1, id(n), b"x")].concat(), parts: 2000, end: Calm },
    Attack { row: 16, name: "names of no bytes", ids: "CVE-2019-9516", driver: Driver::Echo,
        part: |n| request(id(n), 1, "GET", EMPTY_NAME), parts: 2000, end: Calm },
    Attack { row: 17, name: "empty DATA", ids: "CVE-2019-9518, RUSTSEC-2026-0258", driver: Driver::Hold,
        part: |n| on_post(n, frame(0, 0, 1, b"")), parts: 2000, end: Calm },
    Attack { row: 17, name: "DATA of one byte", ids: "chunkloris", driver: Driver::Hold,
        part: |n| on_post(n, frame(0, 0, 1, b"x")), parts: 2000, end: Calm },
    Attack { row: 17, name: "empty DATA with END_STREAM of a stream that was reset", ids: "CVE-2019-9518", driver: Driver::Hold,
        part: |n| match n { 0 => [request(1, 0, "POST", &[]), update(1, 0)].concat(), _ => frame(0, 1, 1, b"") }, parts: 2000, end: Calm },
    Attack { row: 18, name: "DATA of padding", ids: "RFC 9113 section 10.5", driver: Driver::Hold,
        part: |n| on_post(n, frame(0, 8, 1, &[&[255][..], &[0; 255]].concat())), parts: 2000, end: Calm },
    Attack { row: 19, name: "WINDOW_UPDATE flood", ids: "CVE-2019-9517", driver: Driver::Echo,
        part: |_| update(0, 1), parts: 2000, end: Calm },
    Attack { row: 20, name: "Huffman codes in refused blocks", ids: "CVE-2022-41723", driver: Driver::Hold,
        part: |n| block(id(n), &[&[0, 1, b'x', 0xff, 0x81, 0x0e][..], &[0x07; 1920]].concat(), 0x07, 0), parts: 2000, end: Calm },
    Attack { row: 21, name: "one name, many times", ids: "CVE-2025-53020", driver: Driver::Echo,
        part: |n| block(id(n), &[0x40, 4, b'n', b'a', b'm', b'e', 1, b'v'], 0xbe, 90), parts: 500, end: Bounded },
    Attack { row: 22, name: "more requests than may run", ids: "CVE-2016-0150", driver: Driver::Hold,
        part: |n| get(id(n)), parts: 2000, end: Calm },
    Attack { row: 22, name: "requests that are refused", ids: "CVE-2016-0150", driver: Driver::Echo,
        part: |n| block(id(n), &[0x40, 1, b'x', 0], 0xbe, 120), parts: 2000, end: Calm },
    Attack { row: 23, name: "a field within a value", ids: "request smuggling", driver: Driver::Echo,
        part: |n| request(id(n), 1, "GET", SMUGGLED), parts: 100, end: Bounded },
    Attack { row: 25, name: "100 streams, all reset, again and again", ids: "CVE-2021-32778", driver: Driver::Hold,
        part: |n| (n * 100..n * 100 + 100).map(id).flat_map(get).chain((n * 100..n * 100 + 100).map(id).flat_map(reset)).collect(),
        parts: 20, end: Calm },
];

#[test]
fn every_known_attack() {
    for attack in ATTACKS {
        let name = format!("{} {} ({})", attack.row, attack.name, attack.ids);
        let mut client = Client::open(attack.driver);
        let (mut sent, mut calm, mut taken) = (0, false, 0);
        for n in 0..attack.parts {
            let part = (attack.part)(n);
            sent += part.len();
            client.send(&part);
            for seen in client.take() {
                calm |= matches!(seen, Seen::GoAway(_, 11));
                taken += 1;
            }
            if calm {
                break;
            }
            // Responses that wait count up to the limit, but for the largest, and one more.
            let most = client.limits.output_bytes + (300 << 10);
            assert!(
                client.conn.held() < most,
                "{name}: {} bytes",
                client.conn.held()
            );
            assert!(
                client.head.held() < 200 << 10,
                "{name}: {} bytes",
                client.head.held()
            );
        }
        assert_eq!(
            calm,
            attack.end == Calm,
            "{name}: {sent} bytes, {taken} frames"
        );
        if attack.end == Bounded && attack.driver == Driver::Echo {
            client.send(&get(9999));
            let seen = client.take();
            let is_head = |frame: &Seen| matches!(frame, Seen::Headers(9999, _, false));
            assert!(seen.iter().any(is_head), "{name}: {seen:?}");
        }
    }
    // 4 and 12 need a handshake of their own, below; 24 is about HTTP/3.
    let rows: Vec<u8> = (1..=25).filter(|row| ![4, 12, 24].contains(row)).collect();
    assert!(
        rows.iter()
            .all(|row| ATTACKS.iter().any(|attack| attack.row == *row))
    );
}

/// Row 4 (CVE-2025-53506, CVE-2026-47774): the limit on streams holds before it is acknowledged.
#[test]
fn streams_before_the_acknowledgement() {
    let mut client = Client::raw(Driver::Hold);
    client.send(PREFACE);
    client.send(&settings(&[]));
    client.take();
    (0..101).for_each(|n| client.send(&get(id(n))));
    assert_eq!(client.take(), [Seen::Reset(201, 7)]);
    assert_eq!(client.conn.streams(), 100);
}

/// Row 22: requests behind the last GOAWAY, which are not handled.
#[test]
fn requests_behind_the_end() {
    let mut client = Client::open(Driver::Hold);
    client.send(&get(1));
    client.conn.stop(&mut client.out, client.now);
    client.send(&frame(6, 1, 0, b"stopping"));
    assert!(client.take().contains(&Seen::GoAway(1, 0)));
    let calm = (1..2000).find(|n| {
        client.send(&get(id(*n)));
        client.take().contains(&Seen::GoAway(1, 11))
    });
    assert!(calm.is_some_and(|n| n > 900), "{calm:?}");
}

/// Row 12: SETTINGS that are never acknowledged, and a preface that does not come.
#[test]
fn settings_that_are_not_acknowledged() {
    for has_settings in [false, true] {
        let mut client = Client::raw(Driver::Echo);
        client.send(&PREFACE[..20]);
        if has_settings {
            client.send(&PREFACE[20..]);
            client.send(&settings(&[]));
            client.send(&get(1));
        }
        client.take();
        let due = client.conn.deadline(&client.limits);
        assert_eq!(due, Seconds::START.after(client.limits.head_timeout));
        let (out, limits) = (&mut client.out, &client.limits);
        let close = client.conn.expire(out, limits, &client.http2, due);
        let code = close.map(|close| close.reason);
        assert!(matches!(
            code,
            Some(CloseReason::Error(ErrorCode::SETTINGS_TIMEOUT, _))
        ));
        assert!(matches!(client.take()[..], [Seen::GoAway(_, 4)]));
    }
}

/// Row 9: a window that is opened by a byte a second does not keep a response for long.
#[test]
fn a_window_that_is_opened_byte_by_byte() {
    for by in [0, 1, 100] {
        let mut client = Client::open(Driver::Large);
        client.send(&settings(&[(4, 0)]));
        client.send(&get(1));
        let mut ended = None;
        for now in 1..200 {
            client.now = Seconds::of(now);
            if client.conn.deadline(&client.limits) <= client.now {
                let (out, limits) = (&mut client.out, &client.limits);
                let close = client.conn.expire(out, limits, &client.http2, client.now);
                assert_eq!(close, None);
                client.turn();
                ended = Some(now);
                break;
            }
            if by > 0 {
                client.send(&update(1, by));
            }
        }
        let ended = ended.expect("an end");
        assert!((11..=60).contains(&ended), "{by} bytes a second: {ended} s");
        assert!(client.take().contains(&Seen::Reset(1, 8)));
        let is_reset = |next: &Next| {
            matches!(
                next,
                Next::Reset {
                    stream: 1,
                    code: ErrorCode::CANCEL,
                    unsent: 90_000..,
                    fault: Some(_),
                }
            )
        };
        assert!(client.events.last().is_some_and(is_reset));
        assert_eq!(client.conn.streams(), 0);
    }
    // What is fast enough comes to its end.
    let mut client = Client::open(Driver::Large);
    client.send(&settings(&[(4, 0)]));
    client.send(&get(1));
    for now in 1.. {
        client.now = Seconds::of(now);
        assert!(client.conn.deadline(&client.limits) > client.now, "{now} s");
        client.send(&update(1, 1000));
        client.send(&update(0, 1000));
        if client.conn.streams() == 0 {
            break;
        }
    }
    assert!(matches!(client.take().last(), Some(Seen::Data(1, _, true))));
}

/// The windows of a stream and of the connection are opened in turns, by a byte each: neither stays closed for long, and
/// next to nothing is sent.
#[test]
fn two_windows_that_are_opened_in_turns() {
    let mut client = Client::open(Driver::Large);
    // One byte is left of the window of the connection.
    client.send(&settings(&[(4, 65_534)]));
    client.send(&get(1));
    client.send(&reset(1));
    client.send(&settings(&[(4, 0)]));
    client.send(&get(3));
    client.take();
    client.send(&update(3, 2));
    for step in 1..20 {
        client.now = Seconds::of(9 * step);
        if client.conn.deadline(&client.limits) <= client.now {
            let (out, limits) = (&mut client.out, &client.limits);
            let close = client.conn.expire(out, limits, &client.http2, client.now);
            let code = close.map(|close| close.reason);
            assert!(
                matches!(
                    code,
                    Some(CloseReason::Error(ErrorCode::ENHANCE_YOUR_CALM, _))
                ),
                "{code:?}"
            );
            return;
        }
        client.send(&update(0, 2));
        client.send(&update(3, 2));
    }
    panic!("it goes on for ever");
}
