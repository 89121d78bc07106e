//! Functions that are called when the client of a streamed body leaves.

use std::sync::{Mutex, PoisonError};

type Call = Box<dyn FnOnce() + Send>;

/// Shared by the sender of a body and the connection. Each function is called once, and never with the lock
/// held.
#[derive(Default)]
pub(crate) struct Leave(Mutex<LeaveState>);

enum LeaveState {
    Here(Vec<Call>),
    Left,
}

impl Default for LeaveState {
    fn default() -> LeaveState {
        LeaveState::Here(Vec::new())
    }
}

impl Leave {
    /// Registers `call`. If the client has left, calls it now.
    pub(crate) fn when_left(&self, call: Call) {
        self.add(call, false);
    }

    /// The same, but `call` runs before those that were registered already.
    pub(crate) fn when_left_first(&self, call: Call) {
        self.add(call, true);
    }

    fn add(&self, call: Call, first: bool) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let LeaveState::Here(calls) = &mut *state {
            let at = if first { 0 } else { calls.len() };
            calls.insert(at, call);
            return;
        }
        drop(state);
        call();
    }

    /// The client has left, or the body is complete.
    pub(crate) fn tell(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *state, LeaveState::Left);
        drop(state);
        if let LeaveState::Here(calls) = before {
            calls.into_iter().for_each(|call| call());
        }
    }
}
