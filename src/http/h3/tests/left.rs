//! What handlers leave for a test. The tests of HTTP/2 have it, too.

use super::{Handler, Responder, from_fn};
use std::sync::{Arc, Mutex};

/// What handlers leave for the test, in order.
pub(super) struct Left<T>(Arc<Mutex<Vec<T>>>);

impl<T> Left<T> {
    pub(super) fn new() -> Left<T> {
        Left(Arc::default())
    }

    pub(super) fn also(&self) -> Left<T> {
        Left(self.0.clone())
    }

    pub(super) fn put(&self, value: T) {
        self.0.lock().expect("no panic").push(value);
    }

    pub(super) fn take(&self) -> T {
        self.0.lock().expect("no panic").remove(0)
    }

    pub(super) fn all(&self) -> Vec<T> {
        std::mem::take(&mut *self.0.lock().expect("no panic"))
    }
}

/// A handler that defers all responses, and their responders.
pub(super) fn deferring() -> (impl Handler, Left<Responder>) {
    let left = Left::new();
    let put = left.also();
    let app = from_fn(move |_, res| {
        let (done, responder) = res.header("x-early", "1").defer();
        put.put(responder);
        done
    });
    (app, left)
}
