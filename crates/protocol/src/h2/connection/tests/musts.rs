//! What RFC 9113 sections 3 to 8 ask of a server that gets something wrong, or something odd, by number.

use super::*;

const PROTOCOL: u32 = 1;
const FLOW: u32 = 3;
const CLOSED: u32 = 5;
const SIZE: u32 = 6;
const COMPRESSION: u32 = 9;
const CALM: u32 = 11;

/// What comes of it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Want {
    /// GOAWAY with this code.
    Connection(u32),
    /// RST_STREAM of this stream with this code, and the connection goes on.
    Stream(u32, u32),
    /// The connection goes on as if it had not come.
    Nothing,
}
use Want::*;

fn cat(parts: &[Vec<u8>]) -> Vec<u8> {
    parts.concat()
}

fn data(stream: u32, flags: u8, bytes: &[u8]) -> Vec<u8> {
    frame(0, flags, stream, bytes)
}

fn reset(stream: u32) -> Vec<u8> {
    frame(3, 0, stream, &[0, 0, 0, 8])
}

fn update(stream: u32, by: u32) -> Vec<u8> {
    frame(8, 0, stream, &by.to_be_bytes())
}

fn continuation(stream: u32, flags: u8, block: &[u8]) -> Vec<u8> {
    frame(9, flags, stream, block)
}

/// A POST that is not complete, on a server that does not answer.
fn post(stream: u32) -> Vec<u8> {
    request(stream, 0, "POST", &[])
}

fn judge(name: &str, client: &mut Client, bytes: &[u8], want: Want) {
    client.take();
    client.send(bytes);
    let seen = client.take();
    let goaway = seen.iter().find_map(|frame| match frame {
        Seen::GoAway(_, code) => Some(*code),
        _ => None,
    });
    let resets = seen.iter().filter_map(|frame| match frame {
        Seen::Reset(stream, code) => Some((*stream, *code)),
        _ => None,
    });
    let resets: Vec<_> = resets.collect();
    match want {
        Connection(code) => assert_eq!(goaway, Some(code), "{name}: {seen:?}"),
        Stream(id, code) => {
            assert_eq!(
                (goaway, &resets[..]),
                (None, &[(id, code)][..]),
                "{name}: {seen:?}"
            );
        }
        Nothing => assert_eq!((goaway, &resets[..]), (None, &[][..]), "{name}: {seen:?}"),
    }
    client.send(&frame(6, 0, 0, b"are here"));
    let is_alive = client
        .take()
        .contains(&Seen::Ping(true, b"are here".to_vec()));
    assert_eq!(is_alive, !matches!(want, Connection(_)), "{name}");
}

#[test]
fn the_preface() {
    let preface = PREFACE.to_vec();
    let cases = [
        (
            "3.4 another preface",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r".to_vec(),
            PROTOCOL,
        ),
        ("3.4 HTTP/1.1", b"GET / HTTP/1.1\r\n".to_vec(), PROTOCOL),
        (
            "3.4 no SETTINGS",
            cat(&[preface.clone(), frame(6, 0, 0, &[0; 8])]),
            PROTOCOL,
        ),
        (
            "3.4 an ACK as the first frame",
            cat(&[preface.clone(), frame(4, 1, 0, &[])]),
            PROTOCOL,
        ),
        (
            "3.4 a request first",
            cat(&[preface.clone(), get(1)]),
            PROTOCOL,
        ),
        (
            "3.4 SETTINGS with an error",
            cat(&[preface, frame(4, 0, 0, &[0; 5])]),
            SIZE,
        ),
    ];
    for (name, bytes, code) in cases {
        for step in [1, 1000] {
            let mut client = Client::raw(Driver::Echo);
            bytes.chunks(step).for_each(|piece| client.send(piece));
            let seen = client.take();
            assert!(
                matches!(seen[0], Seen::Settings(_)),
                "{name}: our SETTINGS come first"
            );
            assert!(seen.contains(&Seen::GoAway(0, code)), "{name}: {seen:?}");
        }
    }
    let mut client = Client::raw(Driver::Echo);
    client.send(PREFACE);
    client.send(&settings(&[(1, 0), (99, 7)]));
    let seen = client.take();
    assert_eq!(
        seen.len(),
        3,
        "SETTINGS, the window, the acknowledgement: {seen:?}"
    );
    assert_eq!(seen[2], Seen::SettingsAck);
}

/// Each behind SETTINGS, on a new connection that answers no request.
#[test]
fn on_a_new_connection() {
    let field = [0x82, 0x86, 0x84, 0x01, 1, b'a'];
    let long = vec![0; MAX_PAYLOAD + 1];
    #[rustfmt::skip]
    let cases: Vec<(&str, Vec<u8>, Want)> = vec![
        ("4.1 an unknown type", frame(0x50, 0xff, 0, b"any"), Nothing),
        ("4.1 unknown flags", frame(6, 0xfe, 0, &[0; 8]), Nothing),
        ("4.1 the reserved bit", frame(6, 0, 1 << 31, &[0; 8]), Nothing),
        ("4.2 a frame that is too large", data(1, 0, &long), Connection(SIZE)),
        ("4.2 a large SETTINGS", frame(4, 0, 0, &long), Connection(SIZE)),
        ("4.2 a large HEADERS", frame(1, 5, 1, &long), Connection(SIZE)),
        ("4.3 no such index", frame(1, 5, 1, &[0xff, 0]), Connection(COMPRESSION)),
        ("4.3 half a field", frame(1, 5, 1, &[0x40, 5]), Connection(COMPRESSION)),
        ("4.3 another frame within a block", cat(&[frame(1, 1, 1, &field), get(3)]), Connection(PROTOCOL)),
        ("4.3 DATA within a block", cat(&[frame(1, 0, 1, &field), data(1, 1, b"")]), Connection(PROTOCOL)),
        ("4.3 an unknown frame within a block", cat(&[frame(1, 1, 1, &field), frame(80, 0, 0, b"")]), Connection(PROTOCOL)),
        ("4.3 a size update behind a field", frame(1, 5, 1, &[0x82, 0x20]), Connection(COMPRESSION)),
        ("5.1 idle: DATA", data(1, 1, b"x"), Connection(PROTOCOL)),
        ("5.1 idle: RST_STREAM", reset(1), Connection(PROTOCOL)),
        ("5.1 idle: WINDOW_UPDATE", update(1, 100), Connection(PROTOCOL)),
        ("5.1 idle: CONTINUATION", continuation(1, 4, &field), Connection(PROTOCOL)),
        ("5.1 idle: PRIORITY", frame(2, 0, 1, b"\0\0\0\x03\x10"), Nothing),
        ("5.1 half-closed: DATA", cat(&[get(1), data(1, 1, b"x")]), Stream(1, CLOSED)),
        ("5.1 half-closed: HEADERS", cat(&[get(1), get(1)]), Stream(1, CLOSED)),
        ("5.1 half-closed: CONTINUATION", cat(&[get(1), continuation(1, 4, &[])]), Connection(PROTOCOL)),
        ("5.1 half-closed: WINDOW_UPDATE", cat(&[get(1), update(1, 10)]), Nothing),
        ("5.1 half-closed: PRIORITY", cat(&[get(1), frame(2, 0, 1, &[0; 5])]), Nothing),
        ("5.1 half-closed: RST_STREAM", cat(&[get(1), reset(1)]), Nothing),
        ("5.1 closed by RST_STREAM: DATA", cat(&[post(1), reset(1), data(1, 1, b"x")]), Stream(1, CLOSED)),
        ("5.1 closed by RST_STREAM: HEADERS", cat(&[post(1), reset(1), get(1)]), Connection(CLOSED)),
        ("5.1 closed by RST_STREAM: CONTINUATION", cat(&[post(1), reset(1), continuation(1, 4, &[])]), Connection(PROTOCOL)),
        ("5.1 closed by RST_STREAM: WINDOW_UPDATE", cat(&[post(1), reset(1), update(1, 9)]), Nothing),
        ("5.1 closed by RST_STREAM: RST_STREAM", cat(&[post(1), reset(1), reset(1)]), Nothing),
        ("5.1 closed by RST_STREAM: PRIORITY", cat(&[post(1), reset(1), frame(2, 0, 1, &[0; 5])]), Nothing),
        ("5.1.1 an even identifier", get(2), Connection(PROTOCOL)),
        ("5.1.1 an identifier that is too small", cat(&[get(5), get(3)]), Connection(PROTOCOL)),
        ("5.3.2 a priority in HEADERS", frame(1, 0x25, 1, &[&[0, 0, 0, 1, 9][..], &field].concat()), Nothing),
        ("5.3.2 a stream that depends on itself", frame(2, 0, 3, b"\0\0\0\x03\x10"), Nothing),
        ("5.4.1 GOAWAY of the client", cat(&[frame(7, 0, 0, &[0; 8]), get(1)]), Nothing),
        ("5.5 an unknown setting", settings(&[(0x7777, 1)]), Nothing),
        ("6.1 DATA on stream 0", data(0, 1, b"x"), Connection(PROTOCOL)),
        ("6.1 padding longer than the payload", cat(&[post(1), data(1, 8, b"\x05ab")]), Connection(PROTOCOL)),
        ("6.1 padding", cat(&[post(1), data(1, 9, b"\x02a\0\0")]), Nothing),
        ("6.2 HEADERS on stream 0", frame(1, 5, 0, &field), Connection(PROTOCOL)),
        ("6.2 padding longer than the block", frame(1, 0xd, 1, b"\x09\x82"), Connection(PROTOCOL)),
        ("6.3 PRIORITY on stream 0", frame(2, 0, 0, &[0; 5]), Connection(PROTOCOL)),
        ("6.3 PRIORITY of 4 bytes", cat(&[post(1), frame(2, 0, 1, &[0; 4])]), Stream(1, SIZE)),
        ("6.3 PRIORITY of 4 bytes, idle", frame(2, 0, 9, &[0; 4]), Connection(SIZE)),
        ("6.4 RST_STREAM on stream 0", reset(0), Connection(PROTOCOL)),
        ("6.4 RST_STREAM of 3 bytes", cat(&[post(1), frame(3, 0, 1, &[0; 3])]), Connection(SIZE)),
        ("6.5 SETTINGS with ACK and values", frame(4, 1, 0, &[0; 6]), Connection(SIZE)),
        ("6.5 SETTINGS on a stream", frame(4, 0, 1, &[]), Connection(PROTOCOL)),
        ("6.5 SETTINGS of 3 bytes", frame(4, 0, 0, &[0; 3]), Connection(SIZE)),
        ("6.5.2 ENABLE_PUSH of 2", settings(&[(2, 2)]), Connection(PROTOCOL)),
        ("6.5.2 INITIAL_WINDOW_SIZE of 2^31", settings(&[(4, 1 << 31)]), Connection(FLOW)),
        ("6.5.2 MAX_FRAME_SIZE of 16,383", settings(&[(5, 16_383)]), Connection(PROTOCOL)),
        ("6.5.2 MAX_FRAME_SIZE of 2^24", settings(&[(5, 1 << 24)]), Connection(PROTOCOL)),
        ("6.5.2 values at their limits", settings(&[(2, 0), (4, MAX_31), (5, 0xff_ffff)]), Nothing),
        ("6.6 PUSH_PROMISE", frame(5, 4, 1, &[0, 0, 0, 2, 0x82]), Connection(PROTOCOL)),
        ("6.7 PING of 6 bytes", frame(6, 0, 0, &[0; 6]), Connection(SIZE)),
        ("6.7 PING on a stream", frame(6, 0, 1, &[0; 8]), Connection(PROTOCOL)),
        ("6.7 an ACK that is not ours", frame(6, 1, 0, &[7; 8]), Nothing),
        ("6.8 GOAWAY on a stream", frame(7, 0, 1, &[0; 8]), Connection(PROTOCOL)),
        ("6.9 connection window by 0", update(0, 0), Connection(PROTOCOL)),
        ("6.9 stream window by 0", cat(&[get(1), update(1, 0)]), Stream(1, PROTOCOL)),
        ("6.9 WINDOW_UPDATE of 3 bytes", frame(8, 0, 0, &[0; 3]), Connection(SIZE)),
        ("6.9.1 connection window above 2^31-1", update(0, MAX_31), Connection(FLOW)),
        ("6.9.1 stream window above 2^31-1", cat(&[get(1), update(1, MAX_31)]), Stream(1, FLOW)),
        ("6.9.2 streams above 2^31-1 by SETTINGS", cat(&[get(1), update(1, MAX_31 - 65_535), settings(&[(4, 65_536)])]), Connection(FLOW)),
        ("6.10 CONTINUATION on stream 0", continuation(0, 4, &[]), Connection(PROTOCOL)),
        ("6.10 CONTINUATION behind END_HEADERS", cat(&[get(1), continuation(1, 4, &field)]), Connection(PROTOCOL)),
        ("6.10 CONTINUATION behind DATA", cat(&[post(1), data(1, 0, b"x"), continuation(1, 4, &field)]), Connection(PROTOCOL)),
        ("6.10 of another stream", cat(&[frame(1, 1, 1, &field), continuation(3, 4, &[])]), Connection(PROTOCOL)),
        ("6.10 parts of a block", cat(&[frame(1, 1, 1, &field[..5]), continuation(1, 0, &field[5..]), continuation(1, 4, b"")]), Nothing),
        ("7 an unknown error code", cat(&[get(1), frame(3, 0, 1, &[0xff; 4])]), Nothing),
        ("8.1 HEADERS without END_STREAM behind DATA", cat(&[post(1), data(1, 0, b"x"), headers(1, 0, &[("a", "b")])]), Stream(1, PROTOCOL)),
        ("8.1 a pseudo-header field as trailer", cat(&[post(1), headers(1, 1, &[(":path", "/")])]), Stream(1, PROTOCOL)),
        ("8.1 trailers", cat(&[post(1), data(1, 0, b"x"), headers(1, 1, &[("a", "b")])]), Nothing),
        ("8.1.1 less than Content-Length", cat(&[request(1, 0, "POST", &[("content-length", "2")]), data(1, 1, b"x")]), Stream(1, PROTOCOL)),
        ("8.1.1 more than Content-Length", cat(&[request(1, 0, "POST", &[("content-length", "1")]), data(1, 0, b"xy")]), Stream(1, PROTOCOL)),
        ("8.1.1 Content-Length and no body", request(1, 1, "POST", &[("content-length", "1")]), Stream(1, PROTOCOL)),
        ("8.1.1 less, and trailers", cat(&[request(1, 0, "POST", &[("content-length", "1")]), headers(1, 1, &[])]), Stream(1, PROTOCOL)),
        ("8.1.1 Content-Length of 0", request(1, 1, "POST", &[("content-length", "0")]), Nothing),
        ("8.2.1 an upper-case name", request(1, 1, "GET", &[("A", "b")]), Stream(1, PROTOCOL)),
        ("8.2.2 Connection", request(1, 1, "GET", &[("connection", "close")]), Stream(1, PROTOCOL)),
        ("8.3.1 no pseudo-header fields", headers(1, 5, &[("a", "b")]), Stream(1, PROTOCOL)),
        ("8.4 PUSH_PROMISE of a client", frame(5, 4, 3, &[0, 0, 0, 2]), Connection(PROTOCOL)),
        ("10.5.1 a list that is too large", request(1, 1, "GET", &[("a", &"b".repeat(16_000)), ("c", "d")]), Nothing),
        ("RFC 9218 7.1 PRIORITY_UPDATE", frame(16, 0, 0, b"\0\0\0\x07u=0, i"), Nothing),
        ("RFC 9218 7.1 on a stream", frame(16, 0, 1, b"\0\0\0\x07u=0"), Connection(PROTOCOL)),
        ("6.5.3 more values than anyone needs", settings(&[(6, 1); 33]), Connection(CALM)),
    ];
    for (name, bytes, want) in &cases {
        // Piece by piece as well: the outcome is that of the bytes.
        for step in [1 << 20, 1] {
            if bytes.len() > 1000 && step == 1 {
                continue;
            }
            let mut client = Client::open(Driver::Hold);
            let (last, first) = bytes.split_last().expect("a frame");
            first.chunks(step).for_each(|piece| client.send(piece));
            let before = client.take();
            let is_early = before.iter().any(|frame| matches!(frame, Seen::GoAway(..)));
            match is_early {
                true => {
                    let found = before.iter().any(|frame| match (frame, want) {
                        (Seen::GoAway(_, code), Connection(wanted)) => code == wanted,
                        _ => false,
                    });
                    assert!(found, "{name}: {before:?}");
                }
                false => judge(name, &mut client, &[*last], *want),
            }
        }
    }
    assert!(cases.len() > 80);
}

/// Streams that were answered, and so are closed.
#[test]
fn on_a_closed_stream() {
    for (name, bytes, want) in [
        ("5.1 closed: DATA", data(1, 1, b"x"), Stream(1, CLOSED)),
        ("5.1 closed: HEADERS", get(1), Connection(CLOSED)),
        (
            "5.1 closed: CONTINUATION",
            continuation(1, 4, &[]),
            Connection(PROTOCOL),
        ),
        ("5.1 closed: WINDOW_UPDATE", update(1, 1), Nothing),
        ("5.1 closed: RST_STREAM", reset(1), Nothing),
        ("5.1 closed: PRIORITY", frame(2, 0, 1, &[0; 5]), Nothing),
        (
            "5.1.1 a stream that was passed over",
            get(3),
            Connection(PROTOCOL),
        ),
        ("5.1.1 the next one", get(9), Nothing),
    ] {
        let mut client = Client::open(Driver::Echo);
        client.send(&get(1));
        client.send(&get(7));
        judge(name, &mut client, &bytes, want);
    }
}

/// 4.3.1: our table is smaller than the one that both sides begin with. Once that is acknowledged, the next block begins
/// with a size update.
#[test]
fn a_smaller_table() {
    for (size, update, want) in [
        (0, &[0x20][..], Nothing),
        (0, &[], Connection(COMPRESSION)),
        (100, &[0x3f, 69], Nothing),
        (100, &[0x20], Nothing),
        (100, &[0x3f, 70], Connection(COMPRESSION)),
        (100, &[], Connection(COMPRESSION)),
    ] {
        let mut client = Client::raw(Driver::Hold);
        client.http2.header_table_bytes = size;
        client.send(PREFACE);
        client.send(&settings(&[]));
        client.send(&get(1));
        client.send(&frame(4, 1, 0, &[]));
        let block = [update, &[0x82, 0x86, 0x84, 0x01, 1, b'a']].concat();
        let name = format!("4.3.1 {size} bytes, {update:x?}");
        judge(&name, &mut client, &frame(1, 5, 3, &block), want);
        // One update is enough.
        if want == Nothing {
            judge(&name, &mut client, &get(5), want);
        }
    }
}

/// 6.5.3: the values of one frame count in their order, and are acknowledged together.
#[test]
fn values_in_their_order() {
    for (values, sent) in [([(4, 0), (4, 10)], 10), ([(4, 10), (4, 0)], 0)] {
        let mut client = Client::open(Driver::Large);
        client.send(&settings(&values));
        assert_eq!(client.take(), [Seen::SettingsAck]);
        client.send(&get(1));
        let seen = client.take();
        let len = |frame: &Seen| match frame {
            Seen::Data(1, bytes, _) => bytes.len(),
            _ => 0,
        };
        assert_eq!(seen.iter().map(len).sum::<usize>(), sent, "{values:?}");
    }
}

/// 5.1.2: REFUSED_STREAM, and the tables of both sides stay the same.
#[test]
fn more_streams_than_there_may_be() {
    let mut client = Client::open(Driver::Hold);
    for stream in (1..).step_by(2).take(100) {
        client.send(&get(stream));
    }
    assert_eq!((client.take(), client.conn.streams()), (vec![], 100));
    let indexed = [0x82, 0x86, 0x84, 0x41, 1, b'a', 0x40, 1, b'x', 1, b'y'];
    client.send(&frame(1, 5, 201, &indexed));
    assert_eq!(client.take(), [Seen::Reset(201, 7)]);
    client.send(&reset(1));
    client.send(&frame(1, 5, 203, &[0x82, 0x86, 0x84, 0xbf, 0xbe]));
    assert_eq!(client.take(), []);
    let told = client.told.last().expect("a request");
    assert!(told.contains("\"host: a\", \"x: y\""), "{told}");
}

/// 8.1: a response before the request is complete, and what of it is still on its way.
#[test]
fn an_early_response() {
    let mut client = Client::open(Driver::Empty);
    client.send(&post(1));
    let ok = vec![
        (":status".into(), "200".into()),
        ("content-length".into(), "0".into()),
    ];
    assert_eq!(
        client.take(),
        [Seen::Headers(1, ok, true), Seen::Reset(1, 0)]
    );
    client.send(&data(1, 0, &[b'x'; 1000]));
    client.send(&headers(1, 1, &[("a", "b")]));
    client.send(&get(3));
    let seen = client.take();
    assert!(matches!(seen[..], [Seen::Headers(3, _, true)]), "{seen:?}");
}
