//! What hostile clients do, and how their connections end.

use std::sync::Arc;

/// What one client does.
#[derive(Clone)]
pub(crate) struct Script {
    /// Sent at once.
    pub(crate) first: Arc<[u8]>,
    pub(crate) then: Then,
    pub(crate) takes: Takes,
    pub(crate) expects: End,
}

#[derive(Clone)]
pub(crate) enum Then {
    Waits,
    /// A byte of this in each second, over and over.
    Dribbles(&'static [u8]),
    /// The same, in so many seconds.
    DribblesEvery(u64, &'static [u8]),
    /// This over and over, as fast as it is taken.
    Floods(Arc<[u8]>),
    /// Closes its sending side.
    HalfCloses,
    /// Sends a request after each response, this number of times in all, and closes.
    Asks {
        times: u32,
    },
    /// Ends the connection after this number of responses.
    Leaves {
        answers: u32,
        by: Leave,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    Reset,
    Close,
}

/// How it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    All,
    /// One byte in each second; see [`LATE`].
    Slowly,
    Nothing,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Refused with this status.
    Status(u16),
    /// A close frame with this code.
    Code(u16),
    /// This number of responses with 200, then closed.
    Answered(u32),
    /// Cut in the middle, or without a word.
    Cut,
    /// The client has left of itself.
    Left,
    /// Expected only: in any way, as long as it ends.
    Somehow,
}

impl End {
    /// Whether this is what was expected.
    pub(crate) fn is(self, expected: End) -> bool {
        self == expected || expected == End::Somehow
    }
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            End::Status(code) | End::Code(code) => write!(f, "{code}"),
            End::Answered(_) => f.write_str("answered"),
            End::Cut => f.write_str("cut"),
            End::Left => f.write_str("left"),
            End::Somehow => f.write_str("somehow"),
        }
    }
}
