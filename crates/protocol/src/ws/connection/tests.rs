//! Messages that arrive as a whole, and in pieces.

use super::*;
use crate::ws::deflate::Inflate;
use crate::ws::message_buf::WsInputs;
use alloc::borrow::ToOwned;
use alloc::vec::Vec;

const NOW: Seconds = Seconds::START;

/// A frame as a client sends it.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x11, 0x82, 0x43, 0xf4];
    let mut frame = Vec::from([first]);
    match payload.len() {
        len @ 0..=125 => frame.push(0x80 | len as u8),
        len => {
            frame.push(0xfe);
            frame.extend_from_slice(&(len as u16).to_be_bytes());
        }
    }
    frame.extend_from_slice(&mask);
    let masked = payload.iter().zip(mask.iter().cycle());
    frame.extend(masked.map(|(byte, mask)| byte ^ mask));
    frame
}

/// The messages of these pieces, text or not, and the end of the connection.
fn received(limits: &WsLimits, pieces: &[&[u8]]) -> (Vec<(bool, Vec<u8>)>, Option<End>) {
    let mut ws: WsConn = WsConn::new(NOW, Arc::new(*limits), None, None);
    let (mut input, mut inflate) = (WsInputs::default().take(), Inflate::default());
    let mut messages = Vec::new();
    for piece in pieces {
        input.space()[..piece.len()].copy_from_slice(piece);
        input.filled(piece.len());
        loop {
            match ws.next(&mut input, NOW) {
                WsNext::Message => {}
                WsNext::Pong(_) => continue,
                WsNext::Read | WsNext::Over => break,
            }
            match ws.message(&input, &mut inflate) {
                Ok(message) => {
                    messages.push((message.as_text().is_some(), message.as_bytes().to_owned()))
                }
                Err(error) => ws.fail(error, NOW),
            }
            ws.done(&mut input);
        }
    }
    (messages, ws.ended().cloned())
}

/// A small message that has arrived as a whole takes a shorter way than one that has not.
#[test]
fn whole_messages_are_those_in_pieces() {
    let limits = WsLimits::default();
    let small = limits.message_bytes(8).messages(1);
    let frames_of_8 = limits.frame_bytes(8);
    let payload: Vec<u8> = (0..130).map(|byte| byte % 0x7f).collect();
    let mut streams = Vec::new();
    for first in [
        0x81, 0x82, 0x01, 0x02, 0x80, 0x00, 0xc1, 0x91, 0x83, 0x88, 0x89, 0x8a, 0xff,
    ] {
        for len in [0, 1, 2, 3, 4, 5, 7, 8, 9, 16, 23, 124, 125, 126, 130] {
            let one = frame(first, &payload[..len]);
            let text = frame(0x81, b"next");
            streams.push([&text[..], &one, &text].concat());
            streams.push([&frame(0x01, b"begun ")[..], &one, &text].concat());
        }
    }
    streams.push(frame(0x81, b"\xff").repeat(2));
    streams.push(frame(0x82, b"\xff").repeat(12));
    streams.push(Vec::from([0x81, 0x01, b'a']));
    let mut kinds = [0, 0];
    for stream in &streams {
        for limits in [&limits, &small, &frames_of_8] {
            let whole = received(limits, &[stream]);
            kinds[usize::from(whole.1.is_some())] += 1;
            for at in 1..stream.len() {
                let (before, after) = stream.split_at(at);
                assert_eq!(
                    received(limits, &[before, after]),
                    whole,
                    "{at} {stream:x?}"
                );
            }
            let bytes: Vec<&[u8]> = stream.chunks(1).collect();
            assert_eq!(received(limits, &bytes), whole, "{stream:x?}");
        }
    }
    assert!(kinds.into_iter().all(|count| count > 100), "{kinds:?}");
}

#[test]
fn a_whole_message_is_unmasked() {
    for len in 0..=130 {
        let payload: Vec<u8> = (0..len).collect();
        let (messages, end) = received(&WsLimits::default(), &[&frame(0x82, &payload)]);
        assert_eq!(messages, [(false, payload)]);
        assert_eq!(end, None);
    }
}
