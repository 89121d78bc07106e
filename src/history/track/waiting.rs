//! What waits for a read of a track.

use super::{Kept, Position, Start};

pub(super) struct Held<R> {
    pub(super) position: Position,
    pub(super) message: Kept<R>,
    /// A main read was made after the message came. So it knows better which epoch is the last one.
    pub(super) is_before: bool,
}

impl<R> Held<R> {
    pub(super) fn new(position: Position, message: Kept<R>) -> Held<R> {
        Held {
            position,
            message,
            is_before: false,
        }
    }
}

pub(super) struct Waiting<C> {
    pub(super) client: C,
    pub(super) start: Start,
    /// A main read was made after the client came.
    pub(super) is_late: bool,
}
