//! Properties of HTTP/2 connections for tests and fuzzing.

mod client;

pub(crate) use client::{Client, Driver, frame, settings};
#[cfg(test)]
pub(crate) use client::{Seen, get, headers, request};

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

/// Frames: of each, the type, flags, the stream, the length and the payload. Behind 0xff stands the same, and what
/// follows it is no frame.
fn frames(bytes: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    let mut rest = bytes;
    while let [kind, flags, stream, len, behind @ ..] = rest {
        let (payload, behind) = behind.split_at(usize::from(*len).min(behind.len()));
        match kind {
            0xff => all.extend_from_slice(payload),
            // The types that are known, and some that are not.
            _ => all.extend(frame(kind % 18, *flags, u32::from(stream % 32), payload)),
        }
        rest = behind;
    }
    all
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
    all.extend(frames(rest));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::Changes;

    #[test]
    fn some_frames_in_any_order() {
        let get = [1, 5, 1, 6, 0x82, 0x86, 0x84, 0x01, 1, b'a'];
        let post = [1, 4, 3, 6, 0x83, 0x86, 0x84, 0x41, 1, b'a'];
        let data = [0, 1, 3, 2, b'h', b'i'];
        let window = [4, 0, 0, 6, 0, 4, 0, 0, 0, 9];
        let update = [8, 0, 1, 4, 0, 0, 1, 0];
        let seeds = [
            [&[0][..], &get, &post, &data].concat(),
            [&[1][..], &post, &data, &get, &[3, 0, 1, 4, 0, 0, 0, 8]].concat(),
            [&[2][..], &get, &window, &update, &post, &data].concat(),
            [&[3][..], &window, &get, &update, &post, &data].concat(),
        ];
        seeds.iter().for_each(|seed| check(seed));
        let mut changes = Changes::new(7);
        for _ in 0..3000 / crate::tests::EVERY {
            crate::checks::run(check, &changes.input(&seeds));
        }
    }
}
