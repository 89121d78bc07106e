//! HTTP/2: what handlers see of it, in memory and over sockets.

mod bodies;
#[allow(dead_code, reason = "parts of it are for other tests")]
mod client;
mod ends;
mod logged;
mod requests;
mod responses;
#[cfg(feature = "tls-self-signed")]
mod secure;
mod sockets;

use peregrine::{Handler, Responder, from_fn};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Longer than anything takes.
const LONG: Duration = Duration::from_secs(60);

/// What handlers leave for the test, in order.
struct Left<T>(Arc<Mutex<Vec<T>>>);

impl<T> Left<T> {
    fn new() -> Left<T> {
        Left(Arc::default())
    }

    fn also(&self) -> Left<T> {
        Left(self.0.clone())
    }

    fn put(&self, value: T) {
        self.0.lock().expect("no panic").push(value);
    }

    fn take(&self) -> T {
        self.0.lock().expect("no panic").remove(0)
    }

    fn all(&self) -> Vec<T> {
        std::mem::take(&mut *self.0.lock().expect("no panic"))
    }
}

/// A handler that defers all responses, and their responders.
fn deferring() -> (impl Handler, Left<Responder>) {
    let left = Left::new();
    let put = left.also();
    let app = from_fn(move |_, res| {
        let (done, responder) = res.header("x-early", "1").defer();
        put.put(responder);
        done
    });
    (app, left)
}
