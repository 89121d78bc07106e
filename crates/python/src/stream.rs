//! Responses that other threads of Python send.

use crate::response::{PyResponse, respond};
use peregrine::Responder;
use peregrine::body::{BodyReader, BodySender, SendError, TrySendError};
use pyo3::exceptions::{PyBlockingIOError, PyBrokenPipeError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

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

/// Sends the body of a response in pieces, from any thread. Unsent pieces are kept in memory up to 256 KiB and one
/// piece more.
#[pyclass(frozen, name = "Stream", module = "peregrine")]
pub(crate) struct PyStream(Arc<Mutex<Option<BodySender>>>);

impl PyStream {
    pub(crate) fn new(sender: Arc<Mutex<Option<BodySender>>>) -> PyStream {
        PyStream(sender)
    }

    /// Calls `f` without Python's lock.
    fn with<R: Send>(
        &self,
        py: Python<'_>,
        f: impl FnOnce(&mut BodySender) -> R + Send,
    ) -> PyResult<R> {
        let found = py.detach(|| {
            self.0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .as_mut()
                .map(f)
        });
        found.ok_or_else(|| PyValueError::new_err("the stream is finished"))
    }
}

#[pymethods]
impl PyStream {
    /// Sends a piece. Waits while too many bytes are unsent. Raises BrokenPipeError if the client has gone.
    fn send(&self, py: Python<'_>, piece: PyBackedBytes) -> PyResult<()> {
        let piece = piece.to_vec();
        self.with(py, |sender| sender.send(piece))?.map_err(raised)
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

    /// Waits until a piece can be sent, for so many seconds at most. Returns whether it can.
    fn wait_ready(&self, py: Python<'_>, seconds: f64) -> PyResult<bool> {
        let most = Duration::try_from_secs_f64(seconds)
            .map_err(|error| PyValueError::new_err(error.to_string()))?;
        self.with(py, |sender| sender.wait_ready(most))
    }

    /// Whether the client has gone.
    #[getter]
    fn is_gone(&self, py: Python<'_>) -> PyResult<bool> {
        self.with(py, |sender| sender.is_gone())
    }

    /// Ends the body. Without it the client sees the body as incomplete.
    fn finish(&self, py: Python<'_>) -> PyResult<()> {
        let finished = py.detach(|| {
            let sender = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
            sender.map(BodySender::finish)
        });
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
            false => {
                py.detach(|| drop(self.0.lock().unwrap_or_else(PoisonError::into_inner).take()))
            }
        }
        Ok(false)
    }
}

/// Responds to one request later, from any thread. If it is deleted unused, the client gets 500.
#[pyclass(frozen, name = "Responder", module = "peregrine")]
pub(crate) struct PyResponder(Arc<Mutex<Option<Responder>>>);

impl PyResponder {
    pub(crate) fn new(responder: Arc<Mutex<Option<Responder>>>) -> PyResponder {
        PyResponder(responder)
    }
}

#[pymethods]
impl PyResponder {
    /// Calls `respond` with a `Response`, on this thread. Returns whether the client was still there.
    fn respond(&self, py: Python<'_>, call: Py<PyAny>) -> PyResult<bool> {
        let responder = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let responder =
            responder.ok_or_else(|| PyRuntimeError::new_err("a second response to one request"))?;
        let sent = responder
            .send(|res| respond(py, res, |object: &Py<PyResponse>| call.call1(py, (object,))));
        Ok(sent.is_ok())
    }
}

/// Reads the body of a request as it comes, on a thread of the pool, and responds to it.
#[pyclass(frozen, name = "BodyReader", module = "peregrine")]
pub(crate) struct PyBodyReader(Mutex<Option<BodyReader>>);

impl PyBodyReader {
    pub(crate) fn new(reader: BodyReader) -> PyBodyReader {
        PyBodyReader(Mutex::new(Some(reader)))
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
            let mut reader = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let reader = reader.as_mut()?;
            let mut buffer = vec![0; size.clamp(1, READ)];
            Some(reader.read(&mut buffer).map(|len| {
                buffer.truncate(len);
                buffer
            }))
        });
        let bytes = read.ok_or_else(|| PyRuntimeError::new_err("the response was sent"))??;
        Ok(PyBytes::new(py, &bytes))
    }

    /// Calls `respond` with a `Response`, on this thread. Returns whether the client was still there. What was not
    /// read of the body is discarded.
    fn respond(&self, py: Python<'_>, call: Py<PyAny>) -> PyResult<bool> {
        let reader = py.detach(|| self.0.lock().unwrap_or_else(PoisonError::into_inner).take());
        let reader =
            reader.ok_or_else(|| PyRuntimeError::new_err("a second response to one request"))?;
        let sent = py.detach(|| {
            reader.respond(|res| {
                Python::attach(|py| respond(py, res, |object| call.call1(py, (object,))))
            })
        });
        Ok(sent.is_ok())
    }
}
