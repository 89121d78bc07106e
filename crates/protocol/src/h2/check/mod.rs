//! Properties of HTTP/2 connections for tests and fuzzing.

mod client;

pub(crate) use client::{Client, Driver, Seen, frame, get, headers, request, settings};

use super::connection::{CloseReason, Next};
use crate::checks::split_of;

/// What of a connection must not depend on how the network divides its bytes.
#[derive(Debug, PartialEq)]
struct Outcome {
    events: Vec<String>,
    close: Option<CloseReason>,
}

fn outcome(bytes: &[u8], pieces: impl IntoIterator<Item = usize>, driver: Driver) -> Outcome {
    let mut client = Client::raw(driver);
    let mut from = 0;
    for end in pieces {
        client.send(&bytes[from..end]);
        from = end;
    }
    client.take();
    let close = client.events.iter().find_map(|event| match event {
        Next::Close(close) => Some(close.reason),
        _ => None,
    });
    Outcome {
        events: core::mem::take(&mut client.told),
        close,
    }
}

/// The input is what a client sends behind its preface. What comes of it does not depend on pieces; all that is
/// sent back is well-formed and within the windows; and memory is bounded. The first byte chooses whether
/// requests are answered at once.
pub fn check(bytes: &[u8]) {
    let [choice, rest @ ..] = bytes else {
        return;
    };
    let mut all = super::frame::PREFACE.to_vec();
    all.extend_from_slice(&settings(&[]));
    all.extend_from_slice(rest);
    let driver = match choice % 4 {
        0 => Driver::Empty,
        1 => Driver::Hold,
        2 => Driver::Echo,
        _ => Driver::Large,
    };
    let whole = outcome(&all, [all.len()], driver);
    let in_two = outcome(&all, [split_of(&all), all.len()], driver);
    let by_byte = outcome(&all, 1..=all.len(), driver);
    // When windows open decides how much of a larger response is on its way when the next frame comes.
    if matches!(driver, Driver::Empty | Driver::Hold) {
        assert_eq!(in_two, whole, "split at {}", split_of(&all));
        assert_eq!(by_byte, whole, "byte by byte");
    }
}
