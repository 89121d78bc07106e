//! What the server sends, and the end of it.

use super::{Pair, UNLIMITED, text};
use crate::runtime::transport::Transport;
use crate::shared::output::{FilePart, Output};
use peregrine_protocol::payload::Payload;
use std::io::{ErrorKind, Write};
use std::sync::Arc;

#[test]
fn close_notify_leaves_with_the_last_bytes() {
    for (len, writes) in [(10, 1), (16 << 10, 1), (63 << 10, 1), ((63 << 10) + 1, 2)] {
        let mut pair = Pair::connected();
        let before = pair.wire.lock().expect("no panic").writes;
        let mut output = Output::default();
        output.push(&text(len));
        pair.server.near_end();
        pair.send(&mut output, UNLIMITED);
        assert!(pair.client_eof);
        let after = pair.wire.lock().expect("no panic").writes;
        assert_eq!(after - before, writes, "{len}");
        pair.server.shutdown_write().expect("open");
        let wire = pair.wire.lock().expect("no panic");
        assert_eq!(
            (wire.writes, wire.is_shut),
            (after, true),
            "it is sent once"
        );
    }
}

#[test]
fn an_idle_connection_ends_with_close_notify_and_a_broken_one_without() {
    let mut pair = Pair::connected();
    pair.server.end_write();
    pair.client_reads();
    assert!(pair.client_eof);

    let mut pair = Pair::connected();
    pair.server.reset();
    pair.server.shutdown_write().expect("open");
    pair.client_reads();
    assert!(!pair.client_eof);
}

/// The client has closed its half of the connection, and reads on.
#[test]
fn close_notify_of_the_client_stops_no_output() {
    let mut pair = Pair::connected();
    let mut output = Output::default();
    output.push(&text(200_000));
    pair.wire.lock().expect("no panic").room = 100_000;
    let written = pair.server.send(&output).expect("room");
    output.advance(written.bytes);
    assert!(!output.is_empty());
    pair.client_reads();
    pair.client
        .writer()
        .write_all(b"the last")
        .expect("buffered");
    pair.client.send_close_notify();
    let sent = pair.client_sends();
    pair.arrive(&sent).expect("the end");
    assert_eq!((&pair.at_server[..], pair.is_eof), (&b"the last"[..], true));
    pair.server.near_end();
    pair.send(&mut output, 10_000);
    assert!(pair.at_client == text(200_000));
    assert!(pair.client_eof);
}

#[test]
fn output_of_every_kind_leaves_through_any_room() {
    let file = Arc::new(crate::runtime::tests::unnamed_file(&text(150_000)));
    for room in [1, 7, 23, 1000, 16_406, 20_000, 70_000, UNLIMITED] {
        let mut pair = Pair::connected();
        let mut output = Output::default();
        let mut expected = b"a head".to_vec();
        output.push(b"a head");
        for len in [3_000, 100_000] {
            let (offset, scale) = (50, if room < 1000 { 40 } else { 1 });
            let len = len / scale;
            output.push_segment(
                FilePart {
                    file: file.clone(),
                    offset,
                },
                len as u64,
            );
            expected.extend(&text(150_000)[50..50 + len]);
            output.push(b"between");
            expected.extend(b"between");
            output.push_payload(Payload::from(text(40_000 / scale)));
            expected.extend(text(40_000 / scale));
        }
        pair.server.near_end();
        pair.send(&mut output, room);
        assert!(pair.at_client == expected, "{room}");
        assert!(pair.client_eof, "{room}");
        assert_eq!(pair.server.held(), 0, "{room}");
    }
}

#[test]
fn a_file_that_has_become_shorter_is_an_error() {
    let file = Arc::new(crate::runtime::tests::unnamed_file(b"short"));
    let mut pair = Pair::connected();
    let mut output = Output::default();
    output.push_segment(FilePart { file, offset: 5 }, 1);
    let error = pair.server.send(&output).expect_err("nothing is there");
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
}
