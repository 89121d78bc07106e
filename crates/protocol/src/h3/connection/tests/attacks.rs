//! Attacks on servers of HTTP/3 and HTTP/2, as far as they are of this layer, with the CVE that each stands for.

use super::*;

fn load(client: &Client) -> bool {
    matches!(
        client.close(),
        Some(CloseReason::Error(ErrorCode::H3_EXCESSIVE_LOAD, _))
    )
}

/// As often as the client gets through with it.
fn until_closed(client: &mut Client, most: u64, mut step: impl FnMut(&mut Client, u64)) -> u64 {
    for i in 0..most {
        step(client, i);
        if client.close().is_some() {
            assert!(load(client), "{:?}", client.close());
            return i;
        }
    }
    most
}

/// CVE-2023-44487 (rapid reset): requests that are taken back at once.
#[test]
fn rapid_reset() {
    let mut client = Client::open(Driver::Hold);
    let count = until_closed(&mut client, 5000, |client, i| {
        client.send(4 * i, &get(), true);
        client.stopped(4 * i);
    });
    assert_eq!(count, 1000);

    // With RESET_STREAM, before anything of the request has come.
    let mut client = Client::open(Driver::Hold);
    assert_eq!(
        until_closed(&mut client, 5000, |client, i| client.reset(4 * i)),
        1000
    );

    // The response was complete in time: the work was done nevertheless.
    let mut client = Client::open(Driver::Echo);
    let count = until_closed(&mut client, 5000, |client, i| {
        client.send(4 * i, &get(), true);
        client.stopped(4 * i);
    });
    assert_eq!(count, 1000);
}

/// A client that cancels some of its requests, as browsers do, is not closed.
#[test]
fn some_requests_are_taken_back() {
    let mut client = Client::open(Driver::Hold);
    for i in 0..6000 {
        client.send(4 * i, &get(), true);
        client.stopped(4 * i);
        if i % 30 == 29 {
            client.later(1);
        }
    }
    assert_eq!(client.close(), None);
}

/// CVE-2025-8671 (made you reset): the server resets the streams, because of the client.
#[test]
fn made_you_reset() {
    let malformed = request("GET", &[("A", "b")]);
    let short = [
        request("POST", &[("content-length", "9")]),
        with_header(0, b"x"),
    ]
    .concat();
    for bytes in [malformed, short, b"\x21\0".to_vec()] {
        let mut client = Client::open(Driver::Hold);
        let count = until_closed(&mut client, 5000, |client, i| {
            client.send(4 * i, &bytes, true)
        });
        assert_eq!(count, 1000, "{bytes:?}");
    }
}

/// Requests that are refused cost as much.
#[test]
fn refused_requests() {
    let large = "a".repeat(20_000);
    let mut client = Client::open(Driver::Echo);
    let head = request("GET", &[("a", &large)]);
    let count = until_closed(&mut client, 5000, |client, i| {
        client.send(4 * i, &head, true)
    });
    assert_eq!(count, 1000);
    assert!(
        client
            .told()
            .contains(&String::from("refused 0 request head too large"))
    );
}

/// CVE-2019-9518 and CVE-2019-9517 (empty and tiny frames).
#[test]
fn tiny_data_frames() {
    for payload in [&b""[..], b"x"] {
        let mut client = Client::open(Driver::Hold);
        client.send(0, &request("POST", &[]), false);
        let count = until_closed(&mut client, 5000, |client, _| {
            client.send(0, &with_header(0, payload), false);
        });
        assert_eq!(count, 1004);
    }
    // Large frames pay for as many small ones, and small uploads cost nothing.
    let mut client = Client::open(Driver::Echo);
    let large = with_header(0, &vec![b'x'; 100 << 10]);
    client.send(0, &request("POST", &[]), false);
    client.send(0, &large, false);
    for i in 1..300 {
        client.send(0, &with_header(0, b"x"), false);
        let small = [
            request("POST", &[]),
            with_header(0, b"x"),
            with_header(0, b"y"),
        ]
        .concat();
        client.send(4 * i, &small, true);
    }
    assert_eq!(client.close(), None);
    let mut client = Client::open(Driver::Echo);
    for i in 0..5000 {
        client.send(
            4 * i,
            &[request("POST", &[]), with_header(0, b"x")].concat(),
            true,
        );
    }
    assert_eq!(client.close(), None);
}

/// Frames and streams that are to be ignored (RFC 9114 section 10.5): of any number and any length.
#[test]
fn what_is_ignored_is_bounded() {
    let mut client = Client::open(Driver::Hold);
    client.send(0, &request("POST", &[]), false);
    let grease = with_header(0x21, b"");
    let count = until_closed(&mut client, 5000, |client, _| {
        client.send(0, &grease, false)
    });
    assert_eq!(count, 1002);

    let mut client = Client::open(Driver::Hold);
    let count = until_closed(&mut client, 5000, |client, _| {
        client.send(2, &grease, false)
    });
    assert_eq!(count, 1000);

    let mut client = Client::open(Driver::Hold);
    let count = until_closed(&mut client, 5000, |client, i| {
        client.send(6 + 4 * i, b"\x21", false)
    });
    assert_eq!(count, 1000);

    // One frame of 2^62 - 1 bytes.
    for stream in [0, 2] {
        let mut client = Client::open(Driver::Hold);
        client.send(0, &request("POST", &[]), false);
        client.send(stream, b"\x21\xff\xff\xff\xff\xff\xff\xff\xff", false);
        assert!(load(&client), "{stream}");
    }

    // A frame for each of some requests costs nothing, as clients send them.
    let mut client = Client::open(Driver::Echo);
    for i in 0..5000 {
        client.send(4 * i, &[&grease[..], &get(), &grease].concat(), true);
    }
    assert_eq!(client.close(), None);
}

/// CVE-2019-9515 (settings flood) and CVE-2019-11250: frames of the control stream.
#[test]
fn frames_of_the_control_stream() {
    let mut client = Client::open(Driver::Hold);
    let count = until_closed(&mut client, 5000, |client, _| {
        client.send(2, &with_header(0xd, b"\x40\xff"), false);
    });
    assert_eq!(count, 1000);
    let mut client = Client::open(Driver::Hold);
    let count = until_closed(&mut client, 5000, |client, i| {
        let mut payload = Vec::new();
        varint::encode(4 * i, &mut payload);
        client.send(2, &with_header(0xf_0700, &payload), false);
        assert!(client.conn.early_priorities.len() <= EARLY_PRIORITIES);
    });
    assert_eq!(count, 1000);

    // SETTINGS with many values, and one that is announced as large.
    let many: Vec<u8> = (0..33).flat_map(|i| [0x40, 0x40 + i, 0]).collect();
    for bytes in [
        [&b"\0"[..], &with_header(4, &many)].concat(),
        b"\0\x04\x44\x01".to_vec(),
    ] {
        let mut client = Client::raw(Driver::Hold);
        client.send(2, &bytes, false);
        assert!(load(&client));
    }
}

/// CVE-2024-32760 (instructions of QPACK that ended workers of nginx): here they say nothing, and may be few.
#[test]
fn instructions_of_qpack() {
    for (kind, instruction) in [(2, 0x20), (3, 0x40)] {
        let mut client = Client::open(Driver::Hold);
        client.send(6, &[kind], false);
        let count = until_closed(&mut client, 5000, |client, _| {
            client.send(6, &[instruction], false);
        });
        assert_eq!(count, 1000);
        let mut client = Client::open(Driver::Hold);
        client.send(6, &[&[kind][..], &[instruction; 1001]].concat(), false);
        assert!(load(&client));
    }
}

/// CVE-2025-64702 and CVE-2026-40898 (expansion of QPACK), CVE-2016-6581 (compression bombs): a head or a trailer section
/// that is far larger than it is encoded. Without a dynamic table two bytes can stand for 76, and decoding ends at the limit.
#[test]
fn a_compression_bomb() {
    let mut section = vec![0, 0, 0xd1, 0xd7, 0xc1, 0x50, 1, b'a'];
    // content-security-policy, with its value: 76 bytes of two.
    section.extend([0xff, 85 - 63].repeat(8000));
    let mut client = Client::open(Driver::Echo);
    client.send(0, &with_header(1, &section), true);
    assert_eq!(client.told(), ["refused 0 request head too large"]);
    client.send(4, &request("POST", &[]), false);
    let trailers = [&[0, 0][..], &[0xff, 85 - 63].repeat(8000)].concat();
    client.send(4, &with_header(1, &trailers), true);
    let reset = Next::Reset {
        stream: 4,
        code: ErrorCode::H3_EXCESSIVE_LOAD,
        fault: Some("the trailer section is too large"),
    };
    assert_eq!(client.events.last(), Some(&reset));
    assert!(client.head.held() <= 64 << 10, "{}", client.head.held());
}

/// A field section that is announced as large, and never sent.
#[test]
fn a_large_field_section() {
    let mut client = Client::open(Driver::Hold);
    client.send(0, b"\x01\xff\xff\xff\xff\xff\xff\xff\xff", false);
    assert_eq!(client.told(), ["refused 0 request head too large"]);
    client.send(4, &request("POST", &[]), false);
    client.send(4, b"\x01\x80\x01\0\0", false);
    let text = "the trailer section is too large";
    let reset =
        |event: &Next| matches!(event, Next::Reset { fault: Some(fault), .. } if *fault == text);
    assert!(client.events.iter().any(reset));
}

/// Heads that are not completed, on all streams at once: what they hold is bounded, whatever each of them may have.
#[test]
fn heads_that_are_not_completed() {
    let mut client = Client::open(Driver::Hold);
    let part = [&b"\x01\x80\0\x3f\xff"[..], &[0; 10_000]].concat();
    for i in 0..100 {
        client.send(4 * i, &part, false);
    }
    let rejected = client.events.iter().filter(|event| {
        matches!(
            event,
            Next::Reset {
                code: ErrorCode::H3_REQUEST_REJECTED,
                ..
            }
        )
    });
    assert_eq!(rejected.count(), 94);
    assert_eq!(client.conn.streams(), 6);
    assert!(client.conn.held() <= 128 << 10);
    // The same client may go on with others.
    client.send(400, &get(), true);
    assert!(
        client
            .told()
            .last()
            .expect("a request")
            .starts_with("request 400")
    );
    // Those that are left are told that they are too slow.
    client.later(11);
    let told = client.told();
    let slow = told
        .iter()
        .filter(|told| told.ends_with("the request head took too long"));
    assert_eq!(slow.count(), 6);
    assert_eq!((client.conn.streams(), client.conn.partial), (1, 0));
}

/// Streams beyond what QUIC allows: a driver with other limits is no reason to keep more.
#[test]
fn more_streams_than_are_allowed() {
    let mut client = Client::open(Driver::Hold);
    for i in 0..101 {
        client.send(4 * i, &get(), true);
    }
    assert!(matches!(
        client.events.last(),
        Some(Next::Reset {
            stream: 400,
            code: ErrorCode::H3_REQUEST_REJECTED,
            ..
        })
    ));
    client.send(4 * 1000, &get(), true);
    assert!(matches!(
        client.close(),
        Some(CloseReason::Error(ErrorCode::H3_ID_ERROR, _))
    ));

    let mut client = Client::open(Driver::Hold);
    for i in 1..16 {
        client.send(2 + 4 * i, b"\x40", false);
    }
    assert_eq!(client.close(), None);
    client.send(2 + 4 * 16, b"\x40", false);
    assert!(load(&client));
}

/// Bodies that come slowly (Slow POST), and those that the driver does not read.
#[test]
fn slow_bodies() {
    let mut client = Client::open(Driver::Hold);
    client.send(0, &request("POST", &[]), false);
    client.send(4, &request("POST", &[]), false);
    client.conn.pause(4, true, client.now);
    for _ in 0..30 {
        client.send(0, &with_header(0, b"x"), false);
        client.later(1);
    }
    let slow = |event: &Next| matches!(event, Next::Reset { stream, .. } if *stream == 0);
    assert!(client.events.iter().any(slow));
    assert_eq!(client.conn.streams(), 1);
    client.conn.pause(4, false, client.now);
    client.later(30);
    assert_eq!(client.conn.streams(), 0);

    // Frames that are ignored are no body.
    let mut client = Client::open(Driver::Hold);
    client.send(0, &request("POST", &[]), false);
    for _ in 0..30 {
        client.send(0, &with_header(0x21, &[0; 3000]), false);
        client.later(1);
    }
    assert!(client.events.iter().any(slow));
}
