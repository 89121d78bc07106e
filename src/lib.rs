#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod config;
mod conn;
#[cfg(feature = "dir")]
mod dir;
mod drive;
mod handler;
#[cfg(feature = "http")]
mod http_types;
#[cfg(any(test, feature = "internals"))]
#[doc(hidden)]
pub mod internals;
mod io;
mod log;
mod protocol;
mod request;
mod response;
mod server;
mod stats;
pub mod testing;

pub use config::{Balance, Config};
pub use conn::output::Payload;
#[cfg(feature = "dir")]
pub use dir::{DirConfig, DirServer, Embedded, Files};
pub use handler::{ConnectionError, FromFn, Handler, from_fn};
pub use io::listener::ListenAddr;
pub use protocol::{Version, error::ProtocolError, limits::Limits};
pub use request::{OwnedRequest, Request};
pub use response::{AnswerError, BodyWriter, Done, Response};
pub use server::{Running, Server, Stopped, Stopper};
pub use stats::Counters;

/// The properties that fuzzing checks are tests, too.
#[cfg(test)]
#[allow(unreachable_pub)]
#[path = "../fuzz/src/lib.rs"]
mod fuzz;
#[cfg(test)]
extern crate self as peregrine;
