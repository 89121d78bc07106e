//! A request body that another thread reads.

use super::{BodyPlan, BodySink, Incoming, Resumer};
use crate::http::deferred::worker_handle::WorkerHandle;
use crate::http::deferred::{Responder, SendError};
use crate::http::request::Request;
use crate::http::request_body::flow::Flow;
use crate::http::response::{Done, Response};
use crate::shared::memory_budget::Reservation;
use peregrine_protocol::http::field_block;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The most bytes that wait to be read.
const ROOM: usize = 256 << 10;

/// Reads the body of one request on another thread, as an [`io::Read`], and responds to it. It is for work
/// that takes long or blocks; the worker serves other connections meanwhile. While 256 KiB wait to be read,
/// nothing more is read from the client.
///
/// A read fails with `ConnectionAborted` if the body never becomes complete. On the thread of a worker, which
/// must not wait, it fails with `WouldBlock` if there is nothing to read. If the reader is dropped before it
/// has responded, the client gets 500.
///
/// The example starts a thread for each body. A server that many clients may send to gives its readers to a
/// fixed number of threads instead; the bodies that wait are not read meanwhile.
///
/// ```
/// use peregrine::{BodyPlan, Done, Handler, Request, Response};
/// use peregrine::body::BodyReader;
///
/// struct App;
///
/// impl Handler for App {
///     fn body_plan(&self, _: &Request<'_>) -> BodyPlan {
///         let (plan, mut body) = BodyReader::new();
///         std::thread::spawn(move || match std::io::copy(&mut body, &mut std::io::sink()) {
///             Ok(len) => body.respond(|res| res.text(format!("{len} bytes"))),
///             Err(_) => Ok(()),
///         });
///         plan
///     }
///
///     fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
///         res.text("send me something")
///     }
/// }
/// # let mut client = peregrine::testing::Connection::new(&App);
/// # client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nfive.");
/// # assert!(client.wait(std::time::Duration::from_secs(60)));
/// # assert!(client.received().ends_with(b"5 bytes"));
/// ```
#[must_use = "a drop without a response sends 500"]
pub struct BodyReader(Arc<BodyChannel>);

#[derive(Default)]
struct BodyChannel {
    state: Mutex<ReaderState>,
    changed: Condvar,
}

#[derive(Default)]
struct ReaderState {
    bytes: VecDeque<u8>,
    charge: Option<Reservation>,
    /// Wakes the sink, from its begin on.
    resumer: Option<Resumer>,
    paused: bool,
    /// The reader wants no more of the body.
    enough: bool,
    /// The sink has ended. With a responder the request can get its response; without one the body will never
    /// be complete.
    over: bool,
    responder: Option<Responder>,
    /// A block of fields.
    trailers: Vec<u8>,
}

impl BodyChannel {
    fn lock(&self) -> MutexGuard<'_, ReaderState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(
        &'a self,
        state: MutexGuard<'a, ReaderState>,
        until: impl Fn(&ReaderState) -> bool,
    ) -> MutexGuard<'a, ReaderState> {
        let waited = self.changed.wait_while(state, |state| !until(state));
        waited.unwrap_or_else(PoisonError::into_inner)
    }
}

impl BodyReader {
    /// What [`Handler::body_plan`](crate::Handler::body_plan) returns, and the reader to give to
    /// another thread.
    #[allow(clippy::new_ret_no_self, reason = "the plan is half of it")]
    pub fn new() -> (BodyPlan, BodyReader) {
        let shared = Arc::<BodyChannel>::default();
        let plan = BodyPlan::stream(Inlet(shared.clone()));
        (plan, BodyReader(shared))
    }

    /// Responds to the request, as [`Responder::send`] does. If the body is not complete yet, the response is
    /// sent at once, without the rest of it, as with [`Flow::Respond`].
    ///
    /// # Errors
    ///
    /// [`SendError::Gone`] if the client is gone. [`SendError::WouldBlock`] on the thread of a worker if the call
    /// would have to wait. The closure is not called then.
    pub fn respond(self, respond: impl FnOnce(Response<'_>) -> Done) -> Result<(), SendError> {
        match self.responder() {
            Some(responder) => responder.send(respond),
            None if self.0.lock().over => Err(SendError::Gone),
            None => Err(SendError::WouldBlock),
        }
    }

    /// The value of the first trailer field `name`, as [`Request::trailer`] has it. `None` before the end of the body was
    /// read.
    pub fn trailer(&self, name: &str) -> Option<String> {
        let state = self.0.lock();
        if !state.bytes.is_empty() {
            return None;
        }
        let value = field_block::value(&state.trailers, name)?;
        String::from_utf8(value.into()).ok()
    }

    /// The responder of the request; `None` if its client has gone.
    fn responder(&self) -> Option<Responder> {
        let mut state = self.0.lock();
        state.enough = true;
        if let (false, Some(resumer)) = (state.over, &state.resumer) {
            resumer.respond();
        }
        match WorkerHandle::is_worker() {
            true => state.responder.take(),
            false => self.0.wait(state, |state| state.over).responder.take(),
        }
    }
}

impl Read for BodyReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let state = self.0.lock();
        if state.bytes.is_empty() && !state.over && WorkerHandle::is_worker() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let mut state = self
            .0
            .wait(state, |state| state.over || !state.bytes.is_empty());
        if state.bytes.is_empty() && state.responder.is_none() {
            return Err(ErrorKind::ConnectionAborted.into());
        }
        let n = state.bytes.read(into)?;
        // The sink is not resumed for every byte, because that costs a wake-up.
        if state.paused && state.bytes.len() <= ROOM / 2 {
            state.paused = false;
            if let Some(resumer) = &state.resumer {
                resumer.resume();
            }
        }
        Ok(n)
    }
}

impl Drop for BodyReader {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.enough = true;
        let abandoned = state.responder.take();
        if let (false, Some(resumer)) = (state.over, &state.resumer) {
            resumer.respond();
        }
        drop(state);
        drop(abandoned);
    }
}

impl std::fmt::Debug for BodyReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.0.lock();
        f.debug_struct("BodyReader")
            .field("unread", &state.bytes.len())
            .field("over", &state.over)
            .finish()
    }
}

/// The end of the worker.
struct Inlet(Arc<BodyChannel>);

impl BodySink for Inlet {
    fn begin(&mut self, body: &mut Incoming<'_>) {
        let resumer = body.resumer();
        let mut state = self.0.lock();
        if state.enough {
            resumer.respond();
        }
        state.resumer = Some(resumer);
    }

    fn piece(&mut self, piece: &[u8], body: &mut Incoming<'_>) -> Flow {
        let mut state = self.0.lock();
        if state.enough {
            return Flow::Respond;
        }
        state.bytes.extend(piece);
        let held = state.bytes.capacity();
        match &mut state.charge {
            Some(charge) => charge.set(held),
            None => state.charge = Some(body.handle.budget.charge(held)),
        }
        state.paused = state.bytes.len() >= ROOM;
        self.0.changed.notify_all();
        match state.paused {
            true => Flow::Pause,
            false => Flow::Continue,
        }
    }

    fn finish(self: Box<Self>, req: &Request<'_>, res: Response<'_>) -> Done {
        let (done, responder) = res.defer();
        let mut state = self.0.lock();
        state.trailers = req.trailer_block().into();
        // If the reader is gone, the responder is dropped here, and the drop sends 500.
        if Arc::strong_count(&self.0) > 1 {
            state.responder = Some(responder);
        }
        drop(state);
        done
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        self.0.lock().over = true;
        self.0.changed.notify_all();
    }
}
