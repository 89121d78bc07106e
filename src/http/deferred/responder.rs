//! `Responder`: sends the response to one request later.

use super::body_sender::SendError;
use crate::http::deferred::worker_handle::{Work, WorkerCommand, WorkerHandle};
use crate::http::response::always::Always;
use crate::http::response::error::ResponseError;
use crate::http::response::filter::ResponseFilter;
use crate::http::response::{Done, Response, ResponseRecorder};
use crate::log::event;
use crate::shared::id::RequestId;
use crate::shared::output::Output;
use crate::shared::panic_guard::catch;
use peregrine_protocol::http::exchange::ResponseContext;
use peregrine_protocol::http::response::ResponseHead;
use std::cell::Cell;
use std::sync::Arc;

/// Sends the response to one request later, from any thread. [`Response::defer`] makes it.
///
/// Until it is used, the connection handles no further request, so pipelined responses stay in order. It
/// occupies no thread. If it is dropped unused, or its closure panics, the client gets 500. After
/// [`Limits::response_timeout`](crate::Limits::response_timeout) the client gets 503. If the connection has
/// closed, the response is discarded.
///
/// ```
/// use peregrine::{Done, Request, Response};
///
/// fn handle(req: &Request<'_>, res: Response<'_>) -> Done {
///     let name = req.query("name").unwrap_or_default().into_owned();
///     let (done, responder) = res.defer();
///     std::thread::spawn(move || {
///         // Something slow, and then:
///         responder.send(|res| res.text(format!("Hello, {name}!")));
///     });
///     done
/// }
/// # let app = peregrine::from_fn(handle);
/// # let mut client = peregrine::testing::Connection::new(&app);
/// # client.send(b"GET /?name=Ada HTTP/1.1\r\nHost: a\r\n\r\n");
/// # assert!(client.wait(std::time::Duration::from_secs(60)));
/// # assert!(client.received().ends_with(b"Hello, Ada!"));
/// ```
#[must_use = "a drop sends 500"]
pub struct Responder {
    handle: Arc<WorkerHandle>,
    id: RequestId,
    mode: ResponseContext,
    begun: Begun,
    used: bool,
}

/// What was there before the response was deferred.
pub(crate) struct Begun {
    pub(crate) head: ResponseHead,
    /// A block of header fields.
    pub(crate) fields: Vec<u8>,
    pub(crate) filters: Vec<Box<dyn ResponseFilter>>,
    pub(crate) always: Option<Box<Always>>,
}

thread_local! {
    /// The recorder of this thread.
    static SCRATCH: Cell<Option<Box<Output>>> = const { Cell::new(None) };
}

impl Responder {
    pub(crate) fn new(
        handle: Arc<WorkerHandle>,
        id: RequestId,
        mode: ResponseContext,
        begun: Begun,
    ) -> Responder {
        Responder {
            handle,
            id,
            mode,
            begun,
            used: false,
        }
    }

    /// Sends the response. The closure gets a [`Response`], like a handler, with the status and header fields
    /// that were set before it was deferred. It runs on the calling thread and may use every method of
    /// `Response`, including streams. If the response cannot be sent, the client gets 500, and
    /// [`Handler::handle_error`](crate::Handler::handle_error) is called on the thread of the worker.
    ///
    /// # Errors
    ///
    /// [`SendError::Gone`] if the client was known to be gone. The closure is not called then.
    pub fn send(mut self, respond: impl FnOnce(Response<'_>) -> Done) -> Result<(), SendError> {
        self.respond(respond)
    }

    /// As [`Responder::send`]. A panic of the closure is reported as the reason of the 500.
    pub(crate) fn send_or_panicked(mut self, respond: impl FnOnce(Response<'_>) -> Done) {
        // If the closure panics, only the response to this request is affected.
        let responded = catch(|| self.respond(respond));
        let Err(panic) = responded else { return };
        self.used = true;
        if self.handle.is_waited_for(self.id) {
            let always = self.begun.always.take();
            let command = WorkerCommand::Panicked(self.id, panic, always);
            self.handle.post(command);
        } else {
            event!(
                Error,
                "a deferred response panicked, and its client has gone"
            );
        }
    }

    /// Accepts the handshake that waits, with a block of fields.
    #[cfg(feature = "websocket")]
    pub(crate) fn accept(mut self, fields: Vec<u8>) -> Result<(), SendError> {
        self.used = true;
        if !self.is_waited_for() {
            return Err(SendError::Gone);
        }
        self.handle.post(WorkerCommand::Accept(self.id, fields));
        Ok(())
    }

    /// Lets `work` respond on the thread of the connection. If the response is not waited for any more, `work` is dropped.
    pub(crate) fn on_worker(self, work: impl FnOnce(Responder) + Send + 'static) {
        let (handle, id) = (self.handle.clone(), self.id);
        if handle.is_waited_for(id) {
            let work = Work::new(move || work(self));
            handle.post(WorkerCommand::Run(id, work));
        }
    }

    /// Whether a response can still reach the client. One that has closed only its sending half can receive it.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.handle.is_waited_for(self.id) && !self.handle.is_closed()
    }

    /// Whether both belong to connections of the same worker.
    pub(crate) fn is_of_worker_of(&self, other: &Responder) -> bool {
        Arc::ptr_eq(&self.handle, &other.handle)
    }

    fn respond(&mut self, respond: impl FnOnce(Response<'_>) -> Done) -> Result<(), SendError> {
        if !self.handle.is_waited_for(self.id) {
            self.used = true;
            return Err(SendError::Gone);
        }
        let mut scratch = SCRATCH.take().unwrap_or_default();
        let mut recorder = ResponseRecorder::late(self.handle.clone(), self.id);
        let response = recorder.late_response(self.mode, &mut self.begun, &mut scratch);
        // If it panics, this responder is still unused: its drop, or `send_or_panicked`, posts the failure with what stays.
        let done = match catch(|| respond(response)) {
            Ok(done) => done,
            Err(panic) => {
                self.begun.always = recorder.always.take();
                drop(recorder);
                panic.resume()
            }
        };
        self.used = true;
        recorder.post_late(done.known_bytes(), &mut scratch);
        SCRATCH.set(Some(scratch));
        Ok(())
    }

    /// Whether the client has closed the connection or its sending half, or the response timeout has passed.
    /// A client that has closed only its sending half can still receive the response; few clients do this.
    pub fn is_gone(&self) -> bool {
        self.handle.is_gone(self.id)
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        if !self.used && self.handle.is_waited_for(self.id) {
            let command =
                WorkerCommand::Fail(self.id, ResponseError::Abandoned, self.begun.always.take());
            self.handle.post(command);
        }
    }
}

impl std::fmt::Debug for Responder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Responder")
            .field("is_gone", &self.is_gone())
            .finish_non_exhaustive()
    }
}
