//! Bytes of a frame, and what they are: RFC 9113 sections 4 and 6, by number.

use super::*;

fn raw(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = payload.len() as u32;
    let mut bytes = len.to_be_bytes()[1..].to_vec();
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

fn parse(bytes: &[u8]) -> Result<Frame, FrameError> {
    let (header, payload) = bytes.split_first_chunk().expect("a header");
    let header = FrameHeader::parse(header);
    assert_eq!(header.len, payload.len());
    header.frame(payload)
}

const LARGE: &[u8] = &[0; MAX_PAYLOAD + 1];

/// A name, what a frame is made of, and what it is.
type Case<T> = (&'static str, u8, u8, u32, &'static [u8], T);

const SIZE: u32 = ErrorCode::FRAME_SIZE_ERROR.0;
const PROTOCOL: u32 = ErrorCode::PROTOCOL_ERROR.0;

#[test]
fn frames_that_are_errors_of_the_connection() {
    #[rustfmt::skip]
    let cases: [Case<u32>; 34] = [
        ("4.2 larger than the maximum", DATA, 0, 1, LARGE, SIZE),
        ("4.2 larger, unknown type", 0x77, 0, 1, LARGE, SIZE),
        ("4.2 HEADERS without its pad length", HEADERS, PADDED, 1, b"", SIZE),
        ("4.2 HEADERS without its priority", HEADERS, PRIORITY_FLAG, 1, b"1234", SIZE),
        ("6.1 DATA on stream 0", DATA, 0, 0, b"x", PROTOCOL),
        ("6.1 padding as long as the payload", DATA, PADDED, 1, b"\x01", PROTOCOL),
        ("6.1 padding longer than the payload", DATA, PADDED, 1, b"\x05abc", PROTOCOL),
        ("6.1 no pad length", DATA, PADDED, 1, b"", SIZE),
        ("6.2 HEADERS on stream 0", HEADERS, END_HEADERS, 0, b"\x82", PROTOCOL),
        ("6.2 padding longer than the block", HEADERS, PADDED, 1, b"\x02\x82", PROTOCOL),
        ("6.2 padding in place of the priority", HEADERS, 0x28, 1, b"\x0212345", SIZE),
        ("6.3 PRIORITY on stream 0", PRIORITY, 0, 0, b"12345", PROTOCOL),
        ("6.4 RST_STREAM on stream 0", RST_STREAM, 0, 0, b"1234", PROTOCOL),
        ("6.4 RST_STREAM of 3 bytes", RST_STREAM, 0, 1, b"123", SIZE),
        ("6.4 RST_STREAM of 5 bytes", RST_STREAM, 0, 1, b"12345", SIZE),
        ("6.5 SETTINGS on a stream", SETTINGS, 0, 1, b"", PROTOCOL),
        ("6.5 ACK with a payload", SETTINGS, ACK, 0, b"123456", SIZE),
        ("6.5 SETTINGS of 5 bytes", SETTINGS, 0, 0, b"12345", SIZE),
        ("6.5 SETTINGS of 7 bytes", SETTINGS, 0, 0, b"1234567", SIZE),
        ("6.6 PUSH_PROMISE of a client", PUSH_PROMISE, 0, 1, b"1234", PROTOCOL),
        ("8.4 PUSH_PROMISE on stream 0", PUSH_PROMISE, 0, 0, b"1234", PROTOCOL),
        ("6.7 PING on a stream", PING, 0, 1, b"12345678", PROTOCOL),
        ("6.7 PING of 7 bytes", PING, 0, 0, b"1234567", SIZE),
        ("6.7 PING of 9 bytes", PING, ACK, 0, b"123456789", SIZE),
        ("6.8 GOAWAY on a stream", GOAWAY, 0, 1, b"12345678", PROTOCOL),
        ("6.8 GOAWAY of 7 bytes", GOAWAY, 0, 0, b"1234567", SIZE),
        ("6.9 WINDOW_UPDATE of 3 bytes", WINDOW_UPDATE, 0, 1, b"123", SIZE),
        ("6.9 WINDOW_UPDATE of 5 bytes", WINDOW_UPDATE, 0, 0, b"12345", SIZE),
        ("6.9 connection window by nothing", WINDOW_UPDATE, 0, 0, &[0; 4], PROTOCOL),
        ("6.9 the reserved bit is no increment", WINDOW_UPDATE, 0, 0, &[0x80, 0, 0, 0], PROTOCOL),
        ("6.10 CONTINUATION on stream 0", CONTINUATION, 0, 0, b"", PROTOCOL),
        ("RFC 9218 7.1 on a stream", PRIORITY_UPDATE, 0, 1, b"1234u=1", PROTOCOL),
        ("RFC 9218 7.1 about stream 0", PRIORITY_UPDATE, 0, 0, &[0; 4], PROTOCOL),
        ("RFC 9218 7.1 of 3 bytes", PRIORITY_UPDATE, 0, 0, &[0; 3], SIZE),
    ];
    for (name, kind, flags, stream, payload, code) in cases {
        match parse(&raw(kind, flags, stream, payload)) {
            Err(FrameError::Connection(found, _)) => assert_eq!(found, ErrorCode(code), "{name}"),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn frames_that_are_errors_of_a_stream() {
    for (name, kind, payload, code) in [
        ("6.3 PRIORITY of 4 bytes", PRIORITY, &b"1234"[..], SIZE),
        ("6.3 PRIORITY of 6 bytes", PRIORITY, b"123456", SIZE),
        (
            "6.9 stream window by nothing",
            WINDOW_UPDATE,
            &[0; 4],
            PROTOCOL,
        ),
    ] {
        match parse(&raw(kind, 0, 3, payload)) {
            Err(FrameError::Stream(3, found, _)) => assert_eq!(found, ErrorCode(code), "{name}"),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn frames_that_are_good() {
    let cases: [Case<Frame>; 17] = [
        (
            "4.1 the reserved bit, unknown flags",
            DATA,
            0xf6,
            MAX_31 + 2,
            b"abc",
            Frame::Data {
                stream: 1,
                data: 0..3,
                len: 3,
                end_stream: false,
            },
        ),
        (
            "6.1 padding",
            DATA,
            PADDED | END_STREAM,
            1,
            b"\x02abc\0\0",
            Frame::Data {
                stream: 1,
                data: 1..4,
                len: 6,
                end_stream: true,
            },
        ),
        (
            "6.1 nothing but padding",
            DATA,
            PADDED,
            1,
            b"\x01\0",
            Frame::Data {
                stream: 1,
                data: 1..1,
                len: 2,
                end_stream: false,
            },
        ),
        (
            "6.2 all that HEADERS can have",
            HEADERS,
            0x2d,
            5,
            b"\x01\0\0\0\x05\x10\x82\0",
            Frame::Headers {
                stream: 5,
                block: 6..7,
                end_headers: true,
                end_stream: true,
            },
        ),
        (
            "6.2 nothing",
            HEADERS,
            0,
            5,
            b"",
            Frame::Headers {
                stream: 5,
                block: 0..0,
                end_headers: false,
                end_stream: false,
            },
        ),
        (
            "6.3",
            PRIORITY,
            0,
            7,
            b"12345",
            Frame::Priority { stream: 7 },
        ),
        (
            "6.4",
            RST_STREAM,
            0xff,
            7,
            &[0, 0, 1, 0],
            Frame::Reset {
                stream: 7,
                code: ErrorCode(256),
            },
        ),
        ("6.5", SETTINGS, 0, 0, b"123456", Frame::Settings),
        ("6.5 empty", SETTINGS, 0, 0, b"", Frame::Settings),
        ("6.5 ACK", SETTINGS, ACK, 0, b"", Frame::SettingsAck),
        (
            "6.7",
            PING,
            0,
            0,
            b"12345678",
            Frame::Ping { data: *b"12345678" },
        ),
        (
            "6.7 ACK",
            PING,
            ACK,
            0,
            b"12345678",
            Frame::PingAck { data: *b"12345678" },
        ),
        (
            "6.8",
            GOAWAY,
            0,
            0,
            b"\x80\0\0\x03\0\0\0\x01debug",
            Frame::GoAway {
                last: 3,
                code: ErrorCode(1),
            },
        ),
        (
            "6.9",
            WINDOW_UPDATE,
            0,
            9,
            &[0xff; 4],
            Frame::WindowUpdate {
                stream: 9,
                increment: MAX_31,
            },
        ),
        (
            "6.10",
            CONTINUATION,
            END_HEADERS,
            9,
            b"\x82",
            Frame::Continuation {
                stream: 9,
                block: 0..1,
                end_headers: true,
            },
        ),
        (
            "RFC 9218 7.1",
            PRIORITY_UPDATE,
            0,
            0,
            b"\0\0\0\x05u=1",
            Frame::PriorityUpdate {
                stream: 5,
                value: 4..7,
            },
        ),
        ("5.5 an unknown type", 0xbe, 0xff, 3, b"any", Frame::Unknown),
    ];
    for (name, kind, flags, stream, payload, frame) in cases {
        assert_eq!(
            parse(&raw(kind, flags, stream, payload)),
            Ok(frame),
            "{name}"
        );
    }
}

/// RFC 9113 section 6.5.2.
#[test]
fn settings_in_range_and_out_of_it() {
    let one = |identifier: u16, value: u32| {
        let entry = [&identifier.to_be_bytes()[..], &value.to_be_bytes()].concat();
        settings(&entry).next().expect("one")
    };
    assert_eq!(one(1, u32::MAX), Ok(Setting::HeaderTableSize(u32::MAX)));
    assert_eq!(one(4, MAX_31), Ok(Setting::InitialWindowSize(MAX_31)));
    assert_eq!(one(5, 16_384), Ok(Setting::MaxFrameSize(16_384)));
    assert_eq!(one(5, 0xff_ffff), Ok(Setting::MaxFrameSize(0xff_ffff)));
    for (identifier, value) in [(2, 0), (2, 1), (3, 7), (6, 0), (8, 1), (9, 1), (0x1a2a, 5)] {
        assert_eq!(one(identifier, value), Ok(Setting::Other));
    }
    for (identifier, value, code) in [
        (2, 2, PROTOCOL),
        (8, 2, PROTOCOL),
        (9, u32::MAX, PROTOCOL),
        (4, MAX_31 + 1, ErrorCode::FLOW_CONTROL_ERROR.0),
        (5, 16_383, PROTOCOL),
        (5, 0x100_0000, PROTOCOL),
    ] {
        match one(identifier, value) {
            Err(FrameError::Connection(found, _)) => assert_eq!(found, ErrorCode(code)),
            other => panic!("{identifier} {value}: {other:?}"),
        }
    }
}

#[test]
fn what_is_written_is_parsed_again() {
    let mut out = Vec::new();
    let mut written = |write: &dyn Fn(&mut Vec<u8>)| {
        out.clear();
        write(&mut out);
        parse(&out)
    };
    let data = [1, 2, 3, 4, 5, 6, 7, 8];
    assert_eq!(written(&write::settings_ack), Ok(Frame::SettingsAck));
    assert_eq!(
        written(&|out| write::ping(data, true, out)),
        Ok(Frame::PingAck { data })
    );
    assert_eq!(
        written(&|out| write::ping(data, false, out)),
        Ok(Frame::Ping { data })
    );
    let code = ErrorCode::CANCEL;
    assert_eq!(
        written(&|out| write::reset(3, code, out)),
        Ok(Frame::Reset { stream: 3, code })
    );
    let goaway = Ok(Frame::GoAway { last: 9, code });
    assert_eq!(written(&|out| write::goaway(9, code, "text", out)), goaway);
    let (stream, increment) = (5, MAX_31);
    let update = Ok(Frame::WindowUpdate { stream, increment });
    assert_eq!(written(&|out| write::window_update(5, MAX_31, out)), update);
    assert_eq!(
        written(&|out| write::settings(&[(3, 100), (4, 5)], out)),
        Ok(Frame::Settings)
    );
}

#[test]
fn a_long_block_is_continued() {
    for (len, most, frames) in [
        (0, 10, 1),
        (10, 10, 1),
        (11, 10, 2),
        (35, 10, 4),
        (40, 10, 4),
    ] {
        let block: Vec<u8> = (0..len).collect();
        let mut out = b"before".to_vec();
        write::headers(3, true, most, &mut out, |out| out.extend_from_slice(&block));
        let (mut rest, mut found, mut count) = (&out[6..], Vec::new(), 0);
        while let Some((header, behind)) = rest.split_first_chunk() {
            let header = FrameHeader::parse(header);
            let (payload, behind) = behind.split_at(header.len);
            count += 1;
            let (range, ends) = match header.frame(payload).expect("a frame") {
                Frame::Headers {
                    block,
                    end_headers,
                    end_stream: true,
                    ..
                } if count == 1 => (block, end_headers),
                Frame::Continuation {
                    block,
                    end_headers,
                    stream: 3,
                } if count > 1 => (block, end_headers),
                other => panic!("{other:?}"),
            };
            assert_eq!(ends, behind.is_empty());
            found.extend_from_slice(&payload[range]);
            rest = behind;
        }
        assert_eq!((found, count), (block, frames));
    }
}
