//! A connection of HTTP/3 and its client, above two endpoints of QUIC in memory.

mod attacks;
mod bodies;
mod ends;
mod left;
mod requests;
mod responses;

use crate::access_log::{AccessLog, LogWriter};
use crate::runtime::quic::OverQuic;
use crate::testing::http3::{Http3, Manner};
use crate::{Config, Handler, Responder, from_fn};
use left::{Left, deferring};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Longer than anything takes.
const LONG: Duration = Duration::from_secs(60);

const NO_ERROR: u64 = 0x100;
const INTERNAL_ERROR: u64 = 0x102;
const EXCESSIVE_LOAD: u64 = 0x107;
const REJECTED: u64 = 0x10b;
const CANCELLED: u64 = 0x10c;
const MESSAGE_ERROR: u64 = 0x10e;

/// Bytes that the connection holds.
fn held<H: Handler>(client: &Http3<'_, H>) -> usize {
    client.served.as_ref().map_or(0, OverQuic::held)
}

/// A client that lets the server send so many bytes of a response, until it reads them.
fn with_window<H: Handler>(app: &H, window: u32) -> Http3<'_, H> {
    let manner = Manner {
        window,
        ..Manner::USUAL
    };
    let mut client = Http3::with_manner(app, &Config::default(), manner);
    client.is_reading = false;
    client
}

type Line = (String, u16, Option<u64>);

/// The handler in an access log, and its lines.
fn logged<H: Handler>(app: H) -> (impl Handler, Left<Line>) {
    let lines = Left::new();
    let put = lines.also();
    let writer = LogWriter::new(std::io::sink()).expect("a thread");
    let app = AccessLog::with_format(app, writer, move |entry, _line| {
        let path = entry.request().map_or("none", |request| request.path());
        put.put((path.to_owned(), entry.status(), entry.body_bytes()));
    });
    (app, lines)
}

fn line(path: &str, status: u16, bytes: u64) -> Line {
    (path.to_owned(), status, Some(bytes))
}
