//! Reports handlers that hold their worker for long.

use super::Service;
use crate::http::request::Request;
use crate::log::warning;
use crate::metrics::WorkerCounters;
use crate::runtime::clock::LONG;
use crate::runtime::event_loop::Timing;
use std::io::Write as _;
use std::time::{Duration, Instant};

/// Bytes of a method and path that are kept for a warning.
const LABEL: usize = if cfg!(debug_assertions) { 120 } else { 0 };

/// The method and path of a request, kept beyond its end. It has a fixed size, because a request allocates
/// nothing. Empty in builds without debug assertions.
struct Label {
    bytes: [u8; LABEL],
    len: usize,
}

impl Label {
    fn of(request: &Request<'_>) -> Label {
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

/// A call of the handler that is timed.
pub(crate) struct Timed {
    label: Label,
    from: Instant,
}

impl<P> Service<P> {
    /// A call of the handler begins. `None`: it is not timed.
    pub(crate) fn begin_timing(&mut self, request: &Request<'_>) -> Option<Timed> {
        self.is_later = false;
        (self.timing != Timing::Off).then(|| Timed {
            label: Label::of(request),
            from: Instant::now(),
        })
    }

    /// The call has ended, and its response is complete, or is kept for later.
    pub(crate) fn end_timing(&self, timed: Option<Timed>, counters: &WorkerCounters) {
        let Some(Timed { label, from }) = timed else {
            return;
        };
        let now = Instant::now();
        let time = now.saturating_duration_since(from);
        if let Timing::Sampled(woke) = self.timing {
            counters.handler_took(time);
            if !self.is_later {
                let time = now.saturating_duration_since(woke);
                counters.response_times.add(time);
            }
        }
        if time >= LONG {
            counters.handlers_blocking.add(1);
            warn(time, &label);
        }
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
