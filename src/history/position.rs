//! Positions of messages in the log of a topic.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

/// Where a message stands in the log of its topic.
///
/// Offsets of a topic count up by one, from 1. They are comparable only within one epoch. A log begins a new
/// epoch when it has lost messages that it had given an offset: then no earlier position is known any more.
///
/// As text it is the id of a server-sent event: 16 hexadecimal digits, a hyphen, and the offset.
///
/// ```
/// use peregrine::history::Position;
///
/// let position = Position { epoch: 0xa1, offset: 17 };
/// assert_eq!(position.to_string(), "00000000000000a1-17");
/// assert_eq!("00000000000000a1-17".parse(), Ok(position));
/// assert!("a1-17".parse::<Position>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(
    clippy::exhaustive_structs,
    reason = "logs outside of this crate make positions"
)]
pub struct Position {
    /// The epoch of the log. 0 is none: no position of a log has it.
    pub epoch: u64,
    /// The number of the message in this epoch. 0 is before the first message.
    pub offset: u64,
}

impl Position {
    /// A position that no log knows: a client that continues from it has lost messages.
    pub const UNKNOWN: Position = Position {
        epoch: 0,
        offset: 0,
    };
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.epoch, self.offset)
    }
}

/// The error of a text that is no [`Position`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PositionError;

impl fmt::Display for PositionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a position of a log")
    }
}

impl std::error::Error for PositionError {}

impl From<ParseIntError> for PositionError {
    fn from(_: ParseIntError) -> PositionError {
        PositionError
    }
}

/// Takes only what [`Display`](fmt::Display) writes.
impl FromStr for Position {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Position, PositionError> {
        let (epoch, offset) = text.split_once('-').ok_or(PositionError)?;
        let position = Position {
            epoch: u64::from_str_radix(epoch, 16)?,
            offset: offset.parse()?,
        };
        match position.to_string() == text {
            true => Ok(position),
            false => Err(PositionError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_text_in_one_form_only() {
        for (epoch, offset) in [
            (0, 0),
            (1, u64::MAX),
            (u64::MAX, 1),
            (0x1234_5678_9abc_def0, 17),
        ] {
            let position = Position { epoch, offset };
            assert_eq!(position.to_string().parse(), Ok(position));
        }
        let good = "00000000000000a1-17";
        for end in 0..good.len() - 1 {
            assert_eq!(good[..end].parse::<Position>(), Err(PositionError));
        }
        let bad = [
            "00000000000000A1-17",
            "+0000000000000a1-17",
            "00000000000000a1-+17",
            "00000000000000a1-017",
            "00000000000000a1-17 ",
            " 00000000000000a1-17",
            "000000000000000a1-17",
            "00000000000000a1-18446744073709551616",
            "00000000000000a1--1",
            "00000000000000a1-1-7",
            "00000000000000\u{e4}-17",
        ];
        for bad in bad {
            assert_eq!(bad.parse::<Position>(), Err(PositionError), "{bad}");
        }
    }
}
