//! Reports handlers that hold their worker for long.

use crate::http::request::Request;
use crate::log::warning;
use crate::metrics::WorkerCounters;
use crate::runtime::clock::LONG;
use crate::runtime::event_loop::Timing;
use std::io::Write as _;
use std::time::Duration;

/// Bytes of a method and path that are kept for a warning.
const LABEL: usize = if cfg!(debug_assertions) { 120 } else { 0 };

/// The method and path of a request, kept beyond its end. It has a fixed size, because a request allocates
/// nothing. Empty in builds without debug assertions.
pub(crate) struct Label {
    bytes: [u8; LABEL],
    len: usize,
}

impl Label {
    pub(crate) fn of(request: &Request<'_>) -> Label {
        let mut label = Label {
            bytes: [0; LABEL],
            len: 0,
        };
        if cfg!(debug_assertions) {
            let mut room = &mut label.bytes[..];
            // What does not fit is left out.
            let _ = write!(room, "{} {}", request.method(), request.path());
            label.len = LABEL - room.len();
        }
        label
    }
}

/// A call of the handler has taken this long.
pub(crate) fn took(time: Duration, timing: Timing, label: &Label, counters: &WorkerCounters) {
    if timing == Timing::Sampled {
        counters.handler_took(time);
    }
    if time >= LONG {
        counters.handlers_blocking.add(1);
        warn(time, label);
    }
}

#[cold]
fn warn(time: Duration, label: &Label) {
    if cfg!(debug_assertions) {
        let label = String::from_utf8_lossy(&label.bytes[..label.len]);
        let millis = time.as_millis();
        warning!(
            "the handler of {label} held its worker for {millis} ms: use Response::offload for code that blocks"
        );
    }
}
