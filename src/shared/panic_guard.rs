//! Catches panics of users' code. This file has the only `catch_unwind`.
//!
//! The payload of a panic comes from users too, and its drop may panic again. So it is kept in a [`Panic`],
//! which drops it safely at any place. `clippy.toml` forbids `catch_unwind` in other files.

#![expect(clippy::disallowed_methods, reason = "all others go through here")]

use crate::log::event;
use std::any::Any;
use std::cell::Cell;
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// The payload of a panic. Its drop does not panic.
pub(crate) struct Panic(Option<Box<dyn Any + Send>>);

impl Panic {
    /// The error of [`std::thread::JoinHandle::join`] for a thread that has panicked.
    pub(crate) fn new(payload: Box<dyn Any + Send>) -> Panic {
        Panic(Some(payload))
    }

    /// The message of `panic!`, if the payload is text.
    pub(crate) fn message(&self) -> &str {
        let payload = self.0.as_deref();
        let text = payload.and_then(|payload| payload.downcast_ref::<&str>().copied());
        let string = || payload?.downcast_ref::<String>().map(String::as_str);
        text.or_else(string).unwrap_or("no message")
    }

    /// Resumes the panic for an outer caller.
    pub(crate) fn resume(mut self) -> ! {
        resume_unwind(self.0.take().unwrap_or_else(|| Box::new("no message")))
    }
}

impl Drop for Panic {
    fn drop(&mut self) {
        let payload = self.0.take();
        if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            // A payload whose drop panics may do so again and again.
            std::mem::forget(again);
            event!(Error, "the payload of a panic panicked when it was dropped");
        }
    }
}

impl std::fmt::Debug for Panic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Panic").field(&self.message()).finish()
    }
}

/// Calls `f`, which may panic. The caller ensures that the values that `f` was changing are dropped or
/// repaired afterwards.
#[inline]
pub(crate) fn catch<T>(f: impl FnOnce() -> T) -> Result<T, Panic> {
    catch_unwind(AssertUnwindSafe(f)).map_err(Panic::new)
}

thread_local! {
    /// Panics in [`quietly`] on this thread that are not counted yet.
    static UNCOUNTED: Cell<u64> = const { Cell::new(0) };
}

/// Calls `f`. A panic in it is logged and counted by [`uncounted`], and ends nothing.
pub(crate) fn quietly(what: &str, f: impl FnOnce()) {
    if catch(f).is_err() {
        UNCOUNTED.set(UNCOUNTED.get() + 1);
        event!(Error, "{what} panicked");
    }
}

/// Drops `value`. A panic in the drop ends nothing.
pub(crate) fn drop_quietly<T>(value: T) {
    quietly("the drop of a value of a connection or timer", || {
        drop(value);
    });
}

/// The number of panics in [`quietly`] on this thread since the last call.
#[inline]
pub(crate) fn uncounted() -> u64 {
    UNCOUNTED.take()
}

/// A value that is always dropped by [`quietly`].
pub(crate) struct Quiet<T>(Option<T>);

impl<T> Quiet<T> {
    pub(crate) fn new(value: T) -> Quiet<T> {
        Quiet(Some(value))
    }
}

impl<T> Deref for Quiet<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("there until it is dropped")
    }
}

impl<T> DerefMut for Quiet<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().expect("there until it is dropped")
    }
}

impl<T> Drop for Quiet<T> {
    fn drop(&mut self) {
        drop_quietly(self.0.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Panics when it is dropped, with a payload of the same kind.
    struct Bomb(u8);

    impl Drop for Bomb {
        fn drop(&mut self) {
            if self.0 > 0 {
                resume_unwind(Box::new(Bomb(self.0 - 1)));
            }
        }
    }

    #[test]
    fn a_payload_may_panic_when_it_is_dropped() {
        for depth in 0..4 {
            let caught = catch(|| resume_unwind(Box::new(Bomb(depth))));
            let caught: Result<(), Panic> = caught;
            assert_eq!(caught.expect_err("a panic").message(), "no message");
            drop_quietly(Bomb(depth));
            drop(Quiet::new(Bomb(depth)));
        }
    }

    #[test]
    fn messages() {
        let message = |payload: Box<dyn Any + Send>| Panic(Some(payload)).message().to_owned();
        assert_eq!(message(Box::new("text")), "text");
        assert_eq!(message(Box::new("string".to_owned())), "string");
        assert_eq!(message(Box::new(7)), "no message");
        let resumed = catch(|| Panic(Some(Box::new("text"))).resume());
        let resumed: Result<(), Panic> = resumed;
        assert_eq!(resumed.expect_err("a panic").message(), "text");
    }
}
