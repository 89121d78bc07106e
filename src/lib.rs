#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod config;
mod conn;
mod drive;
mod handler;
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
pub use handler::{ConnectionError, FromFn, Handler, from_fn};
pub use io::listener::ListenAddr;
pub use protocol::{Version, error::ProtocolError, limits::Limits};
pub use request::{OwnedRequest, Request};
pub use response::{AnswerError, BodyWriter, Done, Response};
pub use server::{Running, Server, Stopped, Stopper};
pub use stats::Counters;
