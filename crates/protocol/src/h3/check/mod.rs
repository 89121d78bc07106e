//! Properties of HTTP/3 for tests and fuzzing.

mod client;

pub(crate) use client::{Client, Driver};
#[cfg(test)]
pub(crate) use client::{Seen, control, get, headers, request, with_header};

use super::connection::CloseReason;
use super::frame::{FrameHeader, settings};
use super::varint;
use crate::checks::split_of;
use std::collections::BTreeMap;

/// The input is integers, frames and settings: what is read is what is written, and no piece of it is more than the whole.
pub fn check_frames(bytes: &[u8]) {
    let mut rest = bytes;
    while let Some((header, len)) = FrameHeader::parse(rest) {
        let mut again = Vec::new();
        super::frame::write::header(header.kind, header.len, &mut again);
        assert!(again.len() <= len);
        assert_eq!(FrameHeader::parse(&again), Some((header, again.len())));
        assert!((0..len).all(|cut| FrameHeader::parse(&rest[..cut]).is_none()));
        rest = &rest[len..];
    }
    assert!(rest.len() < 2 * varint::LONGEST);
    if let Ok(values) = settings(bytes, 32) {
        let mut again = Vec::new();
        super::frame::write::settings(&values, &mut again);
        let (header, at) = FrameHeader::parse(&again).expect("a header");
        assert_eq!(header.len as usize, again.len() - at);
        assert_eq!(settings(&again[at..], 32), Ok(values));
    }
}

/// A piece of a stream, or another input.
#[derive(Clone, Debug)]
enum Operation {
    Send(u64, Vec<u8>, bool),
    Reset(u64),
    Stopped(u64),
    Later(u8),
    Stop,
}

/// Operations: of each, what it is, the stream, and for pieces the length and the bytes. Nothing is sent behind the end of a
/// stream, as QUIC has it.
fn operations(bytes: &[u8]) -> Vec<Operation> {
    let (mut all, mut ended) = (Vec::new(), BTreeMap::new());
    let mut rest = bytes;
    while let [what, stream, behind @ ..] = rest {
        let id = match what & 0x40 {
            0 => u64::from(stream % 32) * 4,
            _ => u64::from(stream % 32) * 4 + 2,
        };
        rest = behind;
        let is_ended = ended.contains_key(&id);
        match what & 7 {
            5 => {
                ended.insert(id, ());
                all.extend((!is_ended).then_some(Operation::Reset(id)));
            }
            6 => all.push(Operation::Stopped(if id % 4 == 2 { 3 } else { id })),
            7 if what & 0x80 == 0 => all.push(Operation::Later(*stream)),
            7 => all.push(Operation::Stop),
            _ => {
                let [len, behind @ ..] = rest else {
                    break;
                };
                let (piece, behind) = behind.split_at(usize::from(*len).min(behind.len()));
                rest = behind;
                let is_last = what & 0x80 != 0;
                if !is_ended {
                    all.push(Operation::Send(id, piece.to_vec(), is_last));
                }
                if is_last {
                    ended.insert(id, ());
                }
            }
        }
    }
    all
}

/// How pieces are divided.
#[derive(Clone, Copy, PartialEq)]
enum Pieces {
    Whole,
    InTwo,
    ByByte,
}

/// What of a connection must not depend on how the network divides its bytes.
fn outcome(
    operations: &[Operation],
    pieces: Pieces,
    driver: Driver,
) -> (Vec<String>, Option<CloseReason>) {
    let mut client = Client::raw(driver);
    client.http3.nuisances = 100_000;
    client.renew();
    for operation in operations {
        match operation {
            Operation::Send(stream, bytes, is_last) => {
                let step = match pieces {
                    Pieces::Whole => bytes.len(),
                    Pieces::InTwo => split_of(bytes),
                    Pieces::ByByte => 1,
                };
                let (front, back) = bytes.split_at(step.min(bytes.len()));
                let rest = match pieces {
                    Pieces::ByByte => 1,
                    _ => back.len().max(1),
                };
                client.send(*stream, front, *is_last && back.is_empty());
                let mut left = back.len();
                for piece in back.chunks(rest) {
                    left -= piece.len();
                    client.send(*stream, piece, *is_last && left == 0);
                }
            }
            Operation::Reset(stream) => client.reset(*stream),
            Operation::Stopped(stream) => client.stopped(*stream),
            Operation::Later(seconds) => client.later(u64::from(*seconds)),
            Operation::Stop => client.stop(),
        }
    }
    client.check_all();
    (client.told(), client.close())
}

/// The input is what a client does. What comes of it does not depend on pieces; all that is sent back is well-formed; and
/// memory is bounded. The first byte chooses what the server does with requests.
pub fn check(bytes: &[u8]) {
    let [choice, rest @ ..] = bytes else {
        return;
    };
    let operations = operations(rest);
    let driver = match choice % 4 {
        0 => Driver::Empty,
        1 => Driver::Hold,
        2 => Driver::Echo,
        _ => Driver::Pieces,
    };
    let whole = outcome(&operations, Pieces::Whole, driver);
    assert_eq!(outcome(&operations, Pieces::InTwo, driver), whole, "in two");
    assert_eq!(
        outcome(&operations, Pieces::ByByte, driver),
        whole,
        "byte by byte"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::Changes;

    fn send(stream: u8, is_last: bool, bytes: &[u8]) -> Vec<u8> {
        let last = if is_last { 0x80 } else { 0 };
        [&[last, stream, bytes.len() as u8], bytes].concat()
    }

    fn on_control(bytes: &[u8]) -> Vec<u8> {
        [&[0x40, 0, bytes.len() as u8], bytes].concat()
    }

    #[test]
    fn some_operations_in_any_order() {
        let get = with_header(1, b"\0\0\xd1\xd7\xc1\x50\x01a");
        let post = with_header(1, b"\0\0\xd4\xd7\xc1\x50\x01a");
        let trailers = with_header(1, b"\0\0\x21a\x01b");
        let body = with_header(0, b"hello");
        let settings = b"\0\x04\x02\x06\x05";
        let all = [&post[..], &body, &body, &trailers].concat();
        let seeds = [
            [&[0][..], &on_control(settings), &send(0, true, &get)].concat(),
            [
                &[1][..],
                &on_control(settings),
                &send(1, true, &all),
                &send(0, true, &get),
            ]
            .concat(),
            [
                &[2][..],
                &send(0, false, &post),
                &send(0, true, &body),
                &[5, 1, 6, 0],
            ]
            .concat(),
            [
                &[3][..],
                &send(0, true, &all),
                &[0x87, 0, 7, 2, 7, 60],
                &send(3, true, &get),
            ]
            .concat(),
        ];
        seeds.iter().for_each(|seed| check(seed));
        let mut changes = Changes::new(9);
        for _ in 0..3000 / crate::tests::EVERY {
            let input = changes.input(&seeds);
            crate::checks::run(check, &input);
            crate::checks::run(check_frames, &input);
        }
    }
}
