//! HTTP/2: what handlers see of it, in memory and over sockets.

mod bodies;
#[allow(dead_code, reason = "parts of it are for other tests")]
mod client;
mod ends;
#[path = "../../src/http/h3/tests/left.rs"]
mod left;
mod logged;
mod requests;
mod responses;
#[cfg(feature = "tls-self-signed")]
mod secure;
mod sockets;

use left::{Left, deferring};
use peregrine::{Handler, Responder, from_fn};
use std::time::Duration;

/// Longer than anything takes.
const LONG: Duration = Duration::from_secs(60);
