//! `wsgi.input` of a body that comes while the application reads it, on a thread of the pool.

use peregrine::body::{BodyReader, SendError};
use peregrine::{Done, Responder, Response};
use pyo3::exceptions::PyConnectionAbortedError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::io::{self, Cursor, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The most bytes of one read.
const READ: usize = 64 << 10;

enum Source {
    Client(BodyReader),
    /// What was left when the response began.
    Rest(Cursor<Vec<u8>>),
    /// The client has gone.
    Gone,
}

/// What the application may read, shared with what responds.
#[derive(Clone)]
pub(crate) struct Input(Arc<Mutex<Source>>);

impl Input {
    pub(crate) fn new(reader: BodyReader) -> Input {
        Input(Arc::new(Mutex::new(Source::Client(reader))))
    }

    /// Held while the client is waited for, so only for threads that have let go of Python's lock.
    fn lock(&self) -> MutexGuard<'_, Source> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, most: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; most.clamp(1, READ)];
        let len = match &mut *self.lock() {
            Source::Client(reader) => reader.read(&mut bytes)?,
            Source::Rest(rest) => rest.read(&mut bytes)?,
            Source::Gone => return Err(io::ErrorKind::ConnectionAborted.into()),
        };
        bytes.truncate(len);
        Ok(bytes)
    }

    /// The response begins. The application reads on from memory if `keeps`; the plan of the body has limited its length.
    fn end(&self, keeps: bool) -> Option<BodyReader> {
        let mut source = self.lock();
        let Source::Client(mut reader) = std::mem::replace(&mut *source, Source::Gone) else {
            return None;
        };
        let mut rest = Vec::new();
        if keeps && reader.read_to_end(&mut rest).is_err() {
            return None;
        }
        *source = Source::Rest(Cursor::new(rest));
        Some(reader)
    }
}

/// Passes the bytes to the `io.RawIOBase` that an application sees.
#[pyclass(frozen, name = "Input", module = "peregrine")]
pub(crate) struct PyInput(pub(crate) Input);

#[pymethods]
impl PyInput {
    /// Waits for bytes of the body, beside Python's lock. Empty at the end.
    fn read<'py>(&self, py: Python<'py>, size: usize) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = py.detach(|| self.0.read(size));
        let bytes = bytes.map_err(|_| {
            PyConnectionAbortedError::new_err("the client has not sent the whole body")
        })?;
        Ok(PyBytes::new(py, &bytes))
    }
}

/// What sends a response from a thread of the pool.
pub(crate) enum Later {
    Whole(Responder),
    /// The body may still be arriving.
    Streamed(Input),
}

impl Later {
    /// Calls `respond` with Python's lock. `reads_on`: the application may read its input after this. An error: the client has gone.
    pub(crate) fn send(
        self,
        py: Python<'_>,
        reads_on: bool,
        respond: impl FnOnce(Python<'_>, Response<'_>) -> Done + Send,
    ) -> Result<(), SendError> {
        match self {
            Later::Whole(responder) => responder.send(|res| respond(py, res)),
            Later::Streamed(input) => py.detach(|| {
                let reader = input.end(reads_on).ok_or(SendError::Gone)?;
                reader.respond(|res| Python::attach(|py| respond(py, res)))
            }),
        }
    }
}
