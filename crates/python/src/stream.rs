//! Responses that other threads of Python send.

use crate::raw;
use crate::response::{PyResponse, respond};
use peregrine::body::{BodyReader, BodySender, SendError, TrySendError};
use peregrine::{Payload, Responder};
use pyo3::exceptions::{PyBlockingIOError, PyBrokenPipeError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;
use std::io::Read;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What `send` raises.
fn raised(error: SendError) -> PyErr {
    match error {
        SendError::Gone => PyBrokenPipeError::new_err("the client has gone"),
        SendError::WouldBlock => {
            PyBlockingIOError::new_err("the event loop must not wait for a client")
        }
        other => PyValueError::new_err(other.to_string()),
    }
}

/// Tells threads that a stream may have room, or has ended.
#[derive(Default)]
struct Ready {
    /// How often it was told.
    told: Mutex<u64>,
    changed: Condvar,
}

impl Ready {
    fn lock(&self) -> MutexGuard<'_, u64> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        *self.lock() += 1;
        self.changed.notify_all();
    }

    /// Waits until it was told more often than `before`, for at most `most`. False if the time has passed.
    fn wait(&self, before: u64, most: Option<Duration>) -> bool {
        let is_same = |told: &mut u64| *told == before;
        match most {
            None => {
                let _told = self.changed.wait_while(self.lock(), is_same);
                true
            }
            Some(most) => {
                let waited = self.changed.wait_timeout_while(self.lock(), most, is_same);
                !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
            }
        }
    }
}

/// Sends the body of a response in pieces, from any thread. Unsent pieces are kept in memory up to 256 KiB and one
/// piece more.
#[pyclass(frozen, name = "Stream", module = "peregrine")]
pub(crate) struct PyStream {
    /// Invariant: no thread waits for the client while it has this lock. The worker takes it, too.
    sender: Arc<Mutex<Option<BodySender>>>,
    ready: Arc<Ready>,
}

impl PyStream {
    pub(crate) fn new(sender: Arc<Mutex<Option<BodySender>>>) -> PyStream {
        PyStream {
            sender,
            ready: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<BodySender>> {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `f` without Python's lock.
    fn with<R: Send>(
        &self,
        py: Python<'_>,
        f: impl FnOnce(&mut BodySender) -> R + Send,
    ) -> PyResult<R> {
        let found = py.detach(|| self.lock().as_mut().map(f));
        found.ok_or_else(|| PyValueError::new_err("the stream is finished"))
    }

    /// Calls `f` until it returns `Some`, each time when the stream may have room. `None`: the time has passed. An event
    /// loop does not wait.
    fn when_ready<R: Send>(
        &self,
        py: Python<'_>,
        most: Option<Duration>,
        mut f: impl FnMut(&mut BodySender) -> Option<R> + Send,
    ) -> PyResult<Option<R>> {
        let begun = Instant::now();
        let may_wait = !raw::is_server_thread();
        loop {
            let before = *self.ready.lock();
            let found = self.with(py, |sender| {
                let found = f(sender);
                if found.is_none() && may_wait {
                    let ready = self.ready.clone();
                    sender.on_ready(move || ready.tell());
                }
                found
            })?;
            if found.is_some() || !may_wait {
                return Ok(found);
            }
            let left = most.map(|most| most.saturating_sub(begun.elapsed()));
            if !py.detach(|| self.ready.wait(before, left)) {
                return Ok(None);
            }
        }
    }

    fn take(&self, py: Python<'_>) -> Option<BodySender> {
        let sender = py.detach(|| self.lock().take());
        self.ready.tell();
        sender
    }
}

#[pymethods]
impl PyStream {
    /// Sends a piece. Waits while too many bytes are unsent. Raises BrokenPipeError if the client has gone, and
    /// BlockingIOError instead of a wait on an event loop of the server.
    fn send(&self, py: Python<'_>, piece: PyBackedBytes) -> PyResult<()> {
        let mut piece = Some(Payload::from(piece.to_vec()));
        let sent = self.when_ready(py, None, |sender| match sender.try_send(piece.take()?) {
            Err(TrySendError::Full(unsent)) => {
                piece = Some(unsent);
                None
            }
            Err(TrySendError::Failed(error)) => Some(Err(error)),
            _ => Some(Ok(())),
        })?;
        sent.unwrap_or(Err(SendError::WouldBlock)).map_err(raised)
    }

    /// Sends a piece, or returns False if too many bytes are unsent. Never waits.
    fn try_send(&self, py: Python<'_>, piece: PyBackedBytes) -> PyResult<bool> {
        let piece = piece.to_vec();
        match self.with(py, |sender| sender.try_send(piece))? {
            Ok(()) => Ok(true),
            Err(TrySendError::Full(_)) => Ok(false),
            Err(TrySendError::Failed(error)) => Err(raised(error)),
            Err(_) => Ok(false),
        }
    }

    /// Waits until a piece can be sent, for so many seconds at most. Returns whether it can. An event loop of the server
    /// does not wait.
    fn wait_ready(&self, py: Python<'_>, seconds: f64) -> PyResult<bool> {
        let most = Duration::try_from_secs_f64(seconds)
            .map_err(|error| PyValueError::new_err(error.to_string()))?;
        let ready = self.when_ready(py, Some(most), |sender| sender.is_ready().then_some(()))?;
        Ok(ready.is_some())
    }

    /// Whether the client has gone.
    #[getter]
    fn is_gone(&self, py: Python<'_>) -> PyResult<bool> {
        self.with(py, |sender| sender.is_gone())
    }

    /// Ends the body. Without it the client sees the body as incomplete.
    fn finish(&self, py: Python<'_>) -> PyResult<()> {
        let finished = self.take(py).map(BodySender::finish);
        finished.unwrap_or(Ok(())).map_err(raised)
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    /// Finishes the body, or gives it up after an exception.
    fn __exit__(
        &self,
        py: Python<'_>,
        kind: &Bound<'_, PyAny>,
        _value: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) -> PyResult<bool> {
        match kind.is_none() {
            true => self.finish(py)?,
            false => drop(self.take(py)),
        }
        Ok(false)
    }
}

/// Responds to one request later, from any thread. If it is deleted unused, the client gets 500.
#[pyclass(frozen, name = "Responder", module = "peregrine")]
pub(crate) struct PyResponder {
    responder: Arc<Mutex<Option<Responder>>>,
    is_head: bool,
}

impl PyResponder {
    pub(crate) fn new(responder: Arc<Mutex<Option<Responder>>>, is_head: bool) -> PyResponder {
        PyResponder { responder, is_head }
    }
}

#[pymethods]
impl PyResponder {
    /// Calls `respond` with a `Response`, on this thread. Returns whether the client was still there.
    fn respond(&self, py: Python<'_>, call: Py<PyAny>) -> PyResult<bool> {
        let responder = self
            .responder
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let responder =
            responder.ok_or_else(|| PyRuntimeError::new_err("a second response to one request"))?;
        let sent = responder.send(|res| {
            respond(py, self.is_head, res, |object: &Py<PyResponse>| {
                call.call1(py, (object,))
            })
        });
        Ok(sent.is_ok())
    }
}

/// Reads the body of a request as it comes, on a thread of the pool, and responds to it. On an event loop of the server
/// its methods raise BlockingIOError.
#[pyclass(frozen, name = "BodyReader", module = "peregrine")]
pub(crate) struct PyBodyReader {
    reader: Mutex<Option<BodyReader>>,
    is_head: bool,
}

impl PyBodyReader {
    pub(crate) fn new(reader: BodyReader, is_head: bool) -> PyBodyReader {
        PyBodyReader {
            reader: Mutex::new(Some(reader)),
            is_head,
        }
    }

    /// A thread that has the lock may wait for the client, so an event loop must not wait for the lock.
    fn lock(&self) -> PyResult<MutexGuard<'_, Option<BodyReader>>> {
        match raw::is_server_thread() {
            true => Err(raised(SendError::WouldBlock)),
            false => Ok(self.reader.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }
}

/// The most bytes of one read.
const READ: usize = 64 << 10;

#[pymethods]
impl PyBodyReader {
    /// Waits for bytes of the body, and returns at most `size` of them and at most 64 KiB; empty at the end.
    /// Raises ConnectionAbortedError if the body never becomes complete.
    #[pyo3(signature = (size=READ))]
    fn read<'py>(&self, py: Python<'py>, size: usize) -> PyResult<Bound<'py, PyBytes>> {
        let read = py.detach(|| {
            let mut reader = self.lock()?;
            let Some(reader) = reader.as_mut() else {
                return Ok::<_, PyErr>(None);
            };
            let mut buffer = vec![0; size.clamp(1, READ)];
            let read = reader.read(&mut buffer).map(|len| {
                buffer.truncate(len);
                buffer
            });
            Ok(Some(read))
        })?;
        let bytes = read.ok_or_else(|| PyRuntimeError::new_err("the response was sent"))??;
        Ok(PyBytes::new(py, &bytes))
    }

    /// Calls `respond` with a `Response`, on this thread. Returns whether the client was still there. What was not
    /// read of the body is discarded.
    fn respond(&self, py: Python<'_>, call: Py<PyAny>) -> PyResult<bool> {
        let reader = py.detach(|| self.lock().map(|mut reader| reader.take()))?;
        let reader =
            reader.ok_or_else(|| PyRuntimeError::new_err("a second response to one request"))?;
        let sent = py.detach(|| {
            reader.respond(|res| {
                Python::attach(|py| {
                    respond(py, self.is_head, res, |object| call.call1(py, (object,)))
                })
            })
        });
        Ok(sent.is_ok())
    }
}
