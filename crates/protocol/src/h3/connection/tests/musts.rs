//! What RFC 9114 sections 4 to 7 and RFC 9204 ask for, by number. Those about field sections are in
//! `field_section/head/tests.rs`, those about blocks and instructions in `qpack/tests.rs`.

use super::*;

/// What comes of a case.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Want {
    Fine,
    /// The stream of the last piece is reset.
    Stream(ErrorCode),
    Malformed,
    Connection(ErrorCode),
    /// Reading a unidirectional stream stops.
    Stop(ErrorCode),
}

use Want::{Connection, Fine, Malformed, Stop};

/// Pieces: the stream, the bytes, and whether they are its last ones.
type Pieces = Vec<(u64, Vec<u8>, bool)>;
type Case = (&'static str, Pieces, Want);

const NO_SETTINGS: Want = Connection(ErrorCode::H3_MISSING_SETTINGS);
const UNEXPECTED: Want = Connection(ErrorCode::H3_FRAME_UNEXPECTED);
const FRAME: Want = Connection(ErrorCode::H3_FRAME_ERROR);
const ID: Want = Connection(ErrorCode::H3_ID_ERROR);
const SETTINGS: Want = Connection(ErrorCode::H3_SETTINGS_ERROR);
const CREATION: Want = Connection(ErrorCode::H3_STREAM_CREATION_ERROR);
const CLOSED: Want = Connection(ErrorCode::H3_CLOSED_CRITICAL_STREAM);
const LOAD: Want = Connection(ErrorCode::H3_EXCESSIVE_LOAD);
const QPACK: Want = Connection(ErrorCode::QPACK_DECOMPRESSION_FAILED);
const ENCODER: Want = Connection(ErrorCode::QPACK_ENCODER_STREAM_ERROR);
const DECODER: Want = Connection(ErrorCode::QPACK_DECODER_STREAM_ERROR);

fn outcome(client: &Client) -> Want {
    if let Some(CloseReason::Error(code, _)) = client.close() {
        return Connection(code);
    }
    let of = |event: &Next| match event {
        Next::Reset { code, .. } => Some(Want::Stream(*code)),
        Next::Malformed { .. } => Some(Malformed),
        Next::Stop { code, .. } => Some(Stop(*code)),
        _ => None,
    };
    client.events.iter().find_map(of).unwrap_or(Fine)
}

/// Each case whole, byte by byte, and split at every place of its last piece.
fn run(cases: &[Case]) {
    for (name, pieces, want) in cases {
        let mut client = Client::raw(Driver::Hold);
        for (stream, bytes, is_last) in pieces {
            client.send(*stream, bytes, *is_last);
        }
        assert_eq!(outcome(&client), *want, "{name}: {:?}", client.told());

        let mut client = Client::raw(Driver::Hold);
        for (stream, bytes, is_last) in pieces {
            let count = bytes.len();
            for (i, byte) in bytes.iter().enumerate() {
                client.send(*stream, &[*byte], *is_last && i + 1 == count);
            }
            if bytes.is_empty() {
                client.send(*stream, b"", *is_last);
            }
        }
        assert_eq!(outcome(&client), *want, "{name}, byte by byte");

        let (stream, last, is_last) = pieces.last().expect("a piece");
        for split in 0..=last.len() {
            let mut client = Client::raw(Driver::Hold);
            for (stream, bytes, is_last) in &pieces[..pieces.len() - 1] {
                client.send(*stream, bytes, *is_last);
            }
            client.send(*stream, &last[..split], false);
            client.send(*stream, &last[split..], *is_last);
            let found = outcome(&client);
            // The end of a request that has come later: its head has been passed on.
            let is_late = split == last.len() && *want == Malformed && found == BODY;
            assert!(
                found == *want || is_late,
                "{name}, split at {split}: {found:?}"
            );
        }
    }
}

fn post(more: &[(&str, &str)]) -> Vec<u8> {
    request("POST", more)
}

fn data(payload: &[u8]) -> Vec<u8> {
    with_header(0, payload)
}

/// One piece of the first request stream.
fn stream(frames: &[&[u8]], is_last: bool) -> Pieces {
    vec![(0, frames.concat(), is_last)]
}

/// A control stream with frames behind SETTINGS.
fn on_control(frames: &[&[u8]]) -> Pieces {
    vec![(2, control(frames), false)]
}

/// A unidirectional stream.
fn unidirectional(bytes: &[u8], is_last: bool) -> Pieces {
    vec![(2, bytes.to_vec(), is_last)]
}

#[test]
#[rustfmt::skip]
fn section_4_messages() {
    let trailers = headers(&[("a", "b")]);
    let (hello, incomplete) = (data(b"hello"), ErrorCode::H3_REQUEST_INCOMPLETE);
    let tail = |frames: &[&[u8]]| stream(&[&[&post(&[])[..]], frames].concat(), true);
    run(&[
        ("4.1 a request alone", stream(&[&get()], true), Fine),
        ("4.1 with a body", tail(&[&hello]), Fine),
        ("4.1 in frames of any size", tail(&[&data(b""), &hello, &data(b"x")]), Fine),
        ("4.1 with trailers", tail(&[&hello, &trailers]), Fine),
        ("4.1 with trailers alone", tail(&[&trailers]), Fine),
        ("4.1 DATA before HEADERS", stream(&[&hello, &get()], true), UNEXPECTED),
        ("4.1 HEADERS behind trailers", tail(&[&trailers, &trailers]), UNEXPECTED),
        ("4.1 DATA behind trailers", tail(&[&trailers, &hello]), UNEXPECTED),
        ("4.1 a second request", stream(&[&get(), &get()], true), Malformed4_1),
        ("4.1 no request", stream(&[], true), Want::Stream(incomplete)),
        ("4.1 a reserved frame alone", stream(&[b"\x21\x00"], true), Want::Stream(incomplete)),
        ("4.1.2 a body that is too short", stream(&[&post(&[("content-length", "6")]), &hello], true), BODY),
        ("4.1.2 a body that is too long", stream(&[&post(&[("content-length", "4")]), &hello], true), BODY),
        ("4.1.2 as long as it says", stream(&[&post(&[("content-length", "5")]), &hello], true), Fine),
        ("4.1.2 in two frames", stream(&[&post(&[("content-length", "10")]), &hello, &hello], true), Fine),
        ("4.1.2 with trailers", stream(&[&post(&[("content-length", "5")]), &hello, &trailers], true), Fine),
        ("4.1.2 too short with trailers", stream(&[&post(&[("content-length", "6")]), &hello, &trailers], true), BODY),
        ("4.1.2 no body, and a length", stream(&[&post(&[("content-length", "6")])], true), Malformed),
        ("4.1.2 a length of 0", stream(&[&post(&[("content-length", "0")])], true), Fine),
    ]);
}

/// A second request is a trailer section with pseudo-header fields (4.1, 4.3).
#[allow(non_upper_case_globals, reason = "a name beside those of `Want`")]
const Malformed4_1: Want = Want::Stream(ErrorCode::H3_MESSAGE_ERROR);
/// A body that is not as long as `Content-Length` says: its head has been passed on.
const BODY: Want = Want::Stream(ErrorCode::H3_MESSAGE_ERROR);

#[test]
#[rustfmt::skip]
fn section_4_2_to_4_4_fields() {
    let head = |more: &[(&str, &str)]| stream(&[&request("GET", more)], true);
    let tail = |more: &[(&str, &str)]| stream(&[&post(&[]), &headers(more)], true);
    let connect = headers(&[(":method", "CONNECT"), (":authority", "a:1")]);
    run(&[
        ("4.2 upper case", head(&[("A", "b")]), Malformed),
        ("4.2 a field about the connection", head(&[("connection", "close")]), Malformed),
        ("4.2 Transfer-Encoding", head(&[("transfer-encoding", "chunked")]), Malformed),
        ("4.2 TE other than trailers", head(&[("te", "gzip")]), Malformed),
        ("4.2 TE", head(&[("te", "trailers")]), Fine),
        ("4.3 :status in a request", head(&[(":status", "200")]), Malformed),
        ("4.3 an unknown one", head(&[(":x", "y")]), Malformed),
        ("4.3 behind others", head(&[("a", "b"), (":path", "/")]), Malformed),
        ("4.3 in trailers", tail(&[(":path", "/")]), BODY),
        ("4.2 upper case in trailers", tail(&[("A", "b")]), BODY),
        ("4.3.1 :method twice", head(&[(":method", "GET")]), Malformed),
        ("4.3.1 no :path", stream(&[&headers(&[(":method", "GET"), (":scheme", "https"), (":authority", "a")])], true), Malformed),
        ("4.3.1 the same Host", head(&[("host", "a")]), Fine),
        ("4.3.1 another Host", head(&[("host", "b")]), Malformed),
        ("4.3.1 the same host in other words", head(&[("host", "A")]), Malformed),
        ("4.3.1 and with its port", head(&[("host", "a:443")]), Malformed),
        ("4.4 CONNECT", stream(&[&connect], false), Fine),
        ("4.4 CONNECT with :path", stream(&[&request("CONNECT", &[])], true), Malformed),
        ("10.3 a line end in a value", head(&[("a", "b\r\nc: d")]), Malformed),
        ("10.3 NUL in a value", head(&[("a", "b\0")]), Malformed),
        ("10.3 a colon in a name", head(&[("a:b", "c")]), Malformed),
    ]);
}

/// 4.4: once CONNECT has its 2xx, there is only DATA.
#[test]
fn section_4_4_tunnels() {
    for (status, frame, want) in [
        (200, data(b"x"), Fine),
        (200, headers(&[("a", "b")]), UNEXPECTED),
        (200, with_header(0x21, b"x"), Fine),
    ] {
        let mut client = Client::open(Driver::Hold);
        let connect = headers(&[(":method", "CONNECT"), (":authority", "a:1")]);
        client.send(0, &connect, false);
        let head = crate::http::response::ResponseHead {
            status,
            ..crate::http::response::ResponseHead::OK
        };
        let size = crate::http::response::BodySize::Unknown;
        let sent = client.command(0, |conn, encoder, out, now| {
            conn.begin(0, &head, &[], size, encoder, out, now)
        });
        assert_eq!(sent, Sent::Head);
        client.send(0, &frame, false);
        assert_eq!(outcome(&client), want, "{status}: {frame:?}");
    }
}

#[test]
#[rustfmt::skip]
fn section_6_streams() {
    let with_get = |first: Pieces| [first, vec![(0, get(), true)]].concat();
    let ignored = Stop(ErrorCode::H3_STREAM_CREATION_ERROR);
    let both =
        |one: &[u8], other: &[u8]| vec![(2, one.to_vec(), false), (6, other.to_vec(), false)];
    let all_three = [
        both(&control(&[]), b"\x02"),
        vec![(10, b"\x03".to_vec(), false), (0, get(), true)],
    ]
    .concat();
    run(&[
        ("6.1 a bidirectional stream of the server", vec![(1, get(), true)], CREATION),
        ("6.2 a unidirectional stream of the server", vec![(3, b"\0".to_vec(), false)], CREATION),
        ("6.2 three streams, and a request", all_three, Fine),
        ("6.2 an unknown type", unidirectional(b"\x40\x54rest", false), ignored),
        ("6.2.3 a reserved type", unidirectional(b"\x21rest", true), ignored),
        ("6.2 a type that is not complete, closed", with_get(unidirectional(b"\x40", true)), Fine),
        ("6.2 nothing, closed", with_get(unidirectional(b"", true)), Fine),
        ("6.2.1 a frame other than SETTINGS first", unidirectional(&[&b"\0"[..], &with_header(0xd, b"\0")].concat(), false), NO_SETTINGS),
        ("6.2.1 a reserved frame first", unidirectional(&[&b"\0"[..], &with_header(0x21, b"\0")].concat(), false), NO_SETTINGS),
        ("6.2.1 DATA first", unidirectional(&[&b"\0"[..], &data(b"")].concat(), false), NO_SETTINGS),
        ("6.2.1 a second control stream", both(&control(&[]), b"\0"), CREATION),
        ("6.2.1 a control stream that is closed", unidirectional(&control(&[]), true), CLOSED),
        ("6.2.1 the same before SETTINGS", unidirectional(b"\0", true), CLOSED),
        ("6.2.2 a push stream", unidirectional(b"\x01\0", false), CREATION),
        ("9204 4.2 a second encoder stream", both(b"\x02", b"\x02"), CREATION),
        ("9204 4.2 a second decoder stream", both(b"\x03", b"\x03"), CREATION),
        ("9204 4.2 an encoder stream that is closed", unidirectional(b"\x02", true), CLOSED),
        ("9204 4.2 a decoder stream that is closed", unidirectional(b"\x03\x44", true), CLOSED),
        ("9204 4.3.1 a capacity of 0", with_get(unidirectional(b"\x02\x20", false)), Fine),
        ("9204 4.3.1 a larger capacity", unidirectional(b"\x02\x3f\xe1\x1f", false), ENCODER),
        ("9204 3.2.2 an entry", unidirectional(b"\x02\xc0\0", false), ENCODER),
        ("9204 4.4.2 a cancellation", with_get(unidirectional(b"\x03\x7f\x05", false)), Fine),
        ("9204 4.4.1 an acknowledgment", unidirectional(b"\x03\x80", false), DECODER),
        ("9204 4.4.3 an increment", unidirectional(b"\x03\x01", false), DECODER),
    ]);
}

#[test]
#[rustfmt::skip]
fn section_7_frames() {
    let tail = |frame: &[u8]| stream(&[&post(&[]), frame], true);
    let integer = |kind: u64| with_header(kind, b"\0");
    run(&[
        ("7.1 a stream that ends in a header", tail(b"\x00"), FRAME),
        ("7.1 a stream that ends in DATA", tail(b"\x00\x05hell"), FRAME),
        ("7.1 a stream that ends in HEADERS", stream(&[b"\x01\x05\0\0"], true), FRAME),
        ("7.1 a stream that ends in a reserved frame", tail(b"\x21\x05hell"), FRAME),
        ("7.1 a long form of type and length", stream(&[b"\x40\x01\xc0\0\0\0\0\0\0\x08\0\0\xd1\xd7\xc1\x50\x01a"], true), Fine),
        ("7.1 GOAWAY without an identifier", on_control(&[&with_header(7, b"")]), FRAME),
        ("7.1 GOAWAY with more than one", on_control(&[&with_header(7, b"\0\0")]), FRAME),
        ("7.1 GOAWAY with half of one", on_control(&[&with_header(7, b"\x40")]), FRAME),
        ("7.1 GOAWAY that is long", on_control(&[&with_header(7, &[0; 9])]), FRAME),
        ("7.1 MAX_PUSH_ID with more", on_control(&[&with_header(0xd, b"\0\0")]), FRAME),
        ("7.1 CANCEL_PUSH with more", on_control(&[&with_header(3, b"\0\0")]), FRAME),
        ("7.1 a setting without a value", unidirectional(b"\0\x04\x01\x06", false), FRAME),
        ("7.2.1 DATA on the control stream", on_control(&[&data(b"x")]), UNEXPECTED),
        ("7.2.2 HEADERS on the control stream", on_control(&[&get()]), UNEXPECTED),
        ("7.2.3 CANCEL_PUSH in a request", tail(&integer(3)), UNEXPECTED),
        ("7.2.3 CANCEL_PUSH of what was not promised", on_control(&[&integer(3)]), ID),
        ("7.2.4 a second SETTINGS", on_control(&[&with_header(4, b"")]), UNEXPECTED),
        ("7.2.4 SETTINGS in a request", tail(&with_header(4, b"")), UNEXPECTED),
        ("7.2.4 SETTINGS before a request", stream(&[&with_header(4, b"")], false), UNEXPECTED),
        ("7.2.4 a setting twice", unidirectional(b"\0\x04\x04\x06\x01\x06\x01", false), SETTINGS),
        ("7.2.4 settings that are not known", unidirectional(b"\0\x04\x05\x21\x01\x40\x55\x01", false), Fine),
        ("7.2.4.1 settings that are", unidirectional(b"\0\x04\x06\x01\x10\x06\x10\x07\x10", false), Fine),
        ("7.2.4.1 a setting of HTTP/2, 0", unidirectional(b"\0\x04\x02\0\x01", false), SETTINGS),
        ("7.2.4.1 ENABLE_PUSH", unidirectional(b"\0\x04\x02\x02\x01", false), SETTINGS),
        ("7.2.4.1 MAX_CONCURRENT_STREAMS", unidirectional(b"\0\x04\x02\x03\x01", false), SETTINGS),
        ("7.2.4.1 INITIAL_WINDOW_SIZE", unidirectional(b"\0\x04\x02\x04\x01", false), SETTINGS),
        ("7.2.4.1 MAX_FRAME_SIZE", unidirectional(b"\0\x04\x02\x05\x01", false), SETTINGS),
        ("7.2.5 PUSH_PROMISE in a request", tail(&with_header(5, b"\0\0\0")), UNEXPECTED),
        ("7.2.5 PUSH_PROMISE on the control stream", on_control(&[&with_header(5, b"\0\0\0")]), UNEXPECTED),
        ("7.2.6 GOAWAY", on_control(&[&integer(7)]), Fine),
        ("7.2.6 GOAWAY in a request", tail(&integer(7)), UNEXPECTED),
        ("5.2 GOAWAY that shrinks", on_control(&[&with_header(7, b"\x05"), &with_header(7, b"\x05"), &integer(7)]), Fine),
        ("5.2 GOAWAY that grows", on_control(&[&integer(7), &with_header(7, b"\x01")]), ID),
        ("7.2.7 MAX_PUSH_ID", on_control(&[&integer(0xd), &with_header(0xd, b"\x05")]), Fine),
        ("7.2.7 MAX_PUSH_ID that shrinks", on_control(&[&with_header(0xd, b"\x05"), &integer(0xd)]), ID),
        ("7.2.7 MAX_PUSH_ID in a request", tail(&integer(0xd)), UNEXPECTED),
        ("7.2.8 a reserved frame in a request", tail(&with_header(0x21, b"x")), Fine),
        ("7.2.8 before a request", stream(&[&with_header(0x40, b""), &get()], true), Fine),
        ("7.2.8 on the control stream", on_control(&[&with_header(0x21, b"x"), &with_header(0x5f, b"")]), Fine),
        ("7.2.8 frames of HTTP/2, 2", tail(&with_header(2, b"")), UNEXPECTED),
        ("7.2.8 PING", tail(&with_header(6, b"")), UNEXPECTED),
        ("7.2.8 WINDOW_UPDATE", tail(&with_header(8, b"")), UNEXPECTED),
        ("7.2.8 CONTINUATION", tail(&with_header(9, b"")), UNEXPECTED),
        ("7.2.8 PRIORITY on the control stream", on_control(&[&with_header(2, b"")]), UNEXPECTED),
        ("7.2.8 PING on the control stream", on_control(&[&with_header(6, b"")]), UNEXPECTED),
        ("7.2.8 WINDOW_UPDATE on the control stream", on_control(&[&with_header(8, b"")]), UNEXPECTED),
        ("7.2.8 CONTINUATION on the control stream", on_control(&[&with_header(9, b"")]), UNEXPECTED),
    ]);
}

#[test]
#[rustfmt::skip]
fn field_sections_of_rfc_9204() {
    let section = |section: &[u8]| stream(&[&with_header(1, section)], true);
    let large = b"\0\0\xff\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01";
    let failed = ErrorCode::QPACK_DECOMPRESSION_FAILED;
    run(&[
        ("4.5.1 no prefix", section(b""), QPACK),
        ("4.5.1 no prefix, and no end", stream(&[b"\x01\0"], false), QPACK),
        ("2.2.3 a dynamic entry", section(b"\0\0\x80"), QPACK),
        ("4.5.1.1 a required insert count", section(b"\x02\0\x80"), QPACK),
        ("4.5.1.2 a negative base", section(b"\0\x80"), QPACK),
        ("3.1 an index behind the static table", section(b"\0\0\xff\x24"), QPACK),
        ("7.4 an integer that is too large", section(large), Want::Stream(failed)),
        ("7.4 in trailers", stream(&[&post(&[]), &with_header(1, large)], true), Want::Stream(failed)),
        ("2.2.3 in trailers", stream(&[&post(&[]), &with_header(1, b"\0\0\x80")], true), QPACK),
    ]);
}

#[test]
#[rustfmt::skip]
fn section_7_of_rfc_9218() {
    let update = |payload: &[u8]| with_header(0xf_0700, payload);
    run(&[
        ("7.2 of a stream that has not begun", on_control(&[&update(b"\x04u=1")]), Fine),
        ("7.2 of a stream of the server", on_control(&[&update(b"\x01u=1")]), ID),
        ("7.2 of a unidirectional stream", on_control(&[&update(b"\x02u=1")]), ID),
        ("7.2 without an identifier", on_control(&[&update(b"")]), FRAME),
        ("7.2 of a push", on_control(&[&with_header(0xf_0701, b"\0u=1")]), ID),
        ("7.2 in a request", stream(&[&post(&[]), &update(b"\0u=1")], true), UNEXPECTED),
        ("7.2 of a push, in a request", stream(&[&post(&[]), &with_header(0xf_0701, b"\0")], true), UNEXPECTED),
        ("a large one", on_control(&[&update(&[b' '; 2000])]), LOAD),
    ]);
}

/// 6.2.1, 7.2.4: the first bytes of the server are a control stream with SETTINGS; nothing of the client is waited for.
#[test]
fn section_7_2_4_settings_of_the_server() {
    let mut client = Client::raw(Driver::Echo);
    let frames = client.control_frames();
    assert_eq!(frames.len(), 1);
    let values = crate::h3::frame::settings(&frames[0].1, 32).expect("settings");
    // RFC 9204 section 5: the default of the capacity is 0.
    assert_eq!(values[0], (setting::MAX_FIELD_SECTION_SIZE, 16 << 10));
    assert_eq!((values[1].0 - 0x21) % 0x1f, 0);
    assert_eq!(values.len(), 2);
}
