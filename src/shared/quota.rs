//! Places of a limited number.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Places of which `most` can be taken at the same time, by any thread.
#[derive(Debug)]
pub(crate) struct Share {
    most: usize,
    taken: AtomicUsize,
}

impl Share {
    pub(crate) fn new(most: usize) -> Share {
        Share {
            most,
            taken: AtomicUsize::new(0),
        }
    }

    /// Takes a place, if there is one. The caller returns it by [`Share::give`].
    pub(crate) fn take(&self) -> bool {
        let has_room = self.taken.fetch_add(1, Ordering::AcqRel) < self.most;
        if !has_room {
            self.give(1);
        }
        has_room
    }

    pub(crate) fn give(&self, n: usize) {
        self.taken.fetch_sub(n, Ordering::AcqRel);
    }

    /// How many are taken now.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Takes a place until the returned value is dropped.
    pub(crate) fn hold(self: &Arc<Share>) -> Option<Held> {
        self.take().then(|| Held(self.clone()))
    }
}

/// A place that is taken. The drop returns it.
#[derive(Debug)]
pub(crate) struct Held(Arc<Share>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.give(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_come_back() {
        let share = Arc::new(Share::new(2));
        let held = share.hold();
        assert!(held.is_some() && share.take());
        assert!(share.hold().is_none() && !share.take());
        drop(held);
        assert!(share.take() && !share.take());
        share.give(2);
        assert!(share.hold().is_some());
        assert_eq!(share.taken(), 0);
    }
}
