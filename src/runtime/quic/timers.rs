//! When connections of QUIC have something to do.

use crate::shared::id::ConnId;
use std::collections::BTreeSet;
use std::time::Instant;

/// One moment for each connection, at most.
#[derive(Default)]
pub(super) struct Moments(BTreeSet<(Instant, ConnId)>);

impl Moments {
    pub(super) fn first(&self) -> Option<Instant> {
        self.0.first().map(|(at, _)| *at)
    }

    /// Changes the moment of a connection from `set` to `next`. A moment that is only later stays: the connection looks
    /// again then. So packets that put a moment off cost nothing.
    pub(super) fn change(&mut self, id: ConnId, set: &mut Option<Instant>, next: Option<Instant>) {
        let stays = match (*set, next) {
            (Some(set), Some(next)) => set <= next,
            (None, None) => true,
            _ => false,
        };
        if stays {
            return;
        }
        if let Some(set) = *set {
            self.0.remove(&(set, id));
        }
        if let Some(next) = next {
            self.0.insert((next, id));
        }
        *set = next;
    }

    /// Removes the first moment, if it has come.
    pub(super) fn pop(&mut self, now: Instant) -> Option<ConnId> {
        let first = self.0.first().filter(|(at, _)| *at <= now)?;
        let id = first.1;
        self.0.pop_first();
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::id::Slot;
    use std::time::Duration;

    #[test]
    fn each_connection_has_one_moment() {
        let start = Instant::now();
        let at = |ms| Some(start + Duration::from_millis(ms));
        let id = |n| ConnId::new(Slot::new(n), 0);
        let (mut moments, mut one, mut two) = (Moments::default(), None, None);
        moments.change(id(1), &mut one, at(30));
        moments.change(id(2), &mut two, at(20));
        // Later: it stays. Earlier: it moves.
        moments.change(id(1), &mut one, at(40));
        assert_eq!((moments.first(), one), (at(20), at(30)));
        moments.change(id(1), &mut one, at(10));
        assert_eq!((moments.first(), moments.0.len()), (at(10), 2));
        let now = start + Duration::from_millis(20);
        assert_eq!(moments.pop(now), Some(id(1)));
        moments.change(id(2), &mut two, None);
        assert_eq!((moments.pop(now), moments.first(), two), (None, None, None));
    }
}
