//! The means by which threads meet, under one name: `loom/` takes mailboxes and credits in with
//! others in their place, and tries every order in which threads can meet there.

pub(super) use std::sync::{Condvar, Mutex, PoisonError};

pub(super) mod atomic {
    pub(in crate::conn) use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
}
