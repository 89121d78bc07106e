//! How much a WebSocket client may send in which time, without sockets.

use super::ws_protocol::{connect, failed, frame};
use peregrine::ws::{Disconnect, FrameError, WsLimits};
use std::time::Duration;

/// As a request body has: for its first seconds any will do.
#[test]
fn an_incomplete_message_has_a_minimum_rate() {
    let second = Duration::from_secs(1);
    let with = |first: u8, payload: &[u8]| {
        let mut client = connect(WsLimits::default());
        client.send(&frame(first, payload)[..6]);
        client
    };
    // Of a frame, and between two.
    let large = vec![b'x'; 100_000];
    for mut client in [with(0x81, b"half"), with(0x02, b"")] {
        client.elapse(10 * second);
        assert!(!client.is_closed());
        client.elapse(second);
        let why = FrameError::MessageTimeout;
        assert_eq!(client.take_received(), failed(why));
        assert_eq!(why.close_code(), 1008);
    }
    let bytes = frame(0x82, &large);
    for (step, ends) in [(1000, false), (400, true)] {
        let mut client = with(0x82, &large);
        let mut rest = bytes[6..].chunks(step).take(99);
        let slow = rest.any(|bytes| {
            client.elapse(second);
            client.send(bytes);
            client.is_closed()
        });
        let is_late = slow || {
            client.elapse(second);
            client.is_closed()
        };
        assert_eq!(is_late, ends, "{step} bytes a second");
    }
    // The first megabyte does not pay for a quarter of an hour.
    let mut client = connect(WsLimits::default());
    client.send(&frame(0x82, vec![0; 1 << 20])[..1 << 19]);
    for _ in 0..6 {
        client.elapse(10 * second);
        client.send(b"x");
        assert!(!client.is_closed());
    }
    client.elapse(2 * second);
    assert!(matches!(
        client.disconnect(),
        Some(Disconnect::Failed(FrameError::MessageTimeout))
    ));
    // With no rate it may take as long as the client says something.
    let mut client = connect(WsLimits::default().message_rate(0));
    client.send(&bytes[..6]);
    for at in 6..20 {
        client.elapse(50 * second);
        client.send(&bytes[at..=at]);
    }
    assert!(!client.is_closed());
}

/// The time in which the server reads nothing, as the client does not take its messages, is not counted.
#[test]
fn a_message_waits_for_a_crowded_backlog() {
    let mut client = connect(
        WsLimits::default()
            .backlog_mark(100)
            .write_timeout(Duration::from_secs(1000))
            .write_rate(0),
    );
    client.hold(true);
    let echo = frame(0x82, [b'x'; 200]);
    client.send(&[&echo[..], &echo[..100]].concat());
    client.elapse(Duration::from_secs(30));
    assert!(!client.is_closed());
    client.hold(false);
    client.elapse(Duration::from_secs(10));
    assert!(!client.is_closed());
    client.elapse(Duration::from_secs(1));
    assert!(client.is_closed());
}

/// On average, and ten seconds' worth at once.
#[test]
fn the_messages_a_second_are_limited() {
    let second = Duration::from_secs(1);
    let mut client = connect(WsLimits::default().messages(5));
    client.send(&frame(0x81, "x").repeat(50));
    client.elapse(second);
    client.send(&frame(0x81, "x").repeat(5));
    client.elapse(20 * second);
    client.send(&frame(0x81, "x").repeat(50));
    assert!(!client.is_closed());
    client.take_received();
    client.send(&frame(0x81, "x"));
    let why = FrameError::TooManyMessages;
    assert_eq!(client.take_received(), failed(why));
    assert_eq!(why.close_code(), 1008);
}
