//! Bodies whose pieces come from a Python iterable.

use crate::raw;
use crate::report::report;
use pyo3::exceptions::{PyStopIteration, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyIterator;
use std::io;

/// The pieces of an iterable of `bytes`. The iterable is closed when this is dropped or at its end, once.
pub(crate) struct Pieces {
    iter: Option<Py<PyIterator>>,
    /// The iterable, if it has the method `close`.
    closes: Option<Py<PyAny>>,
}

impl Pieces {
    pub(crate) fn new(iterable: &Bound<'_, PyAny>) -> PyResult<Pieces> {
        let py = iterable.py();
        let closes = iterable.hasattr(pyo3::intern!(py, "close"))?;
        let mut pieces = Pieces {
            iter: None,
            closes: closes.then(|| iterable.clone().unbind()),
        };
        match iterable.try_iter() {
            Ok(iter) => pieces.iter = Some(iter.unbind()),
            Err(error) => {
                pieces.close(py);
                return Err(error);
            }
        }
        Ok(pieces)
    }

    /// The next piece that is not empty. `None` at the end.
    pub(crate) fn next(&mut self, py: Python<'_>) -> PyResult<Option<PyBackedBytes>> {
        loop {
            let Some(iter) = &self.iter else {
                return Ok(None);
            };
            let item = match iter.bind(py).clone().next() {
                Some(Ok(item)) => item,
                Some(Err(error)) if error.is_instance_of::<PyStopIteration>(py) => return Ok(None),
                Some(Err(error)) => return Err(error),
                None => return Ok(None),
            };
            raw::end_child(py, 0);
            let piece = bytes_of(item)?;
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
        }
    }

    /// Calls `close` of the iterable, once. An exception is reported.
    pub(crate) fn close(&mut self, py: Python<'_>) {
        self.iter = None;
        let Some(closes) = self.closes.take() else {
            return;
        };
        if let Err(error) = closes.bind(py).call_method0(pyo3::intern!(py, "close")) {
            report(py, "close of a response", error);
        }
    }
}

/// A piece of a body.
pub(crate) fn bytes_of(item: Bound<'_, PyAny>) -> PyResult<PyBackedBytes> {
    let kind = item.get_type();
    item.extract()
        .map_err(|_| PyTypeError::new_err(format!("a piece of a body is {kind}, not bytes")))
}

/// The error of a body in pieces.
pub(crate) fn wrong_length(how: &str) -> PyErr {
    PyValueError::new_err(format!("the body is {how} than Content-Length"))
}

/// Reads pieces on the thread of a worker, when the client has room for them.
pub(crate) struct Drawn {
    pieces: Pieces,
    now: Option<PyBackedBytes>,
    from: usize,
    /// Bytes of the declared length that no piece has had yet.
    missing: Option<u64>,
}

impl Drawn {
    /// The body is `first`, and then `pieces`. Of a body with another length than the declared one the client gets a part.
    pub(crate) fn new(first: Option<PyBackedBytes>, pieces: Pieces, length: Option<u64>) -> Drawn {
        let first_len = first.as_ref().map_or(0, |first| first.len() as u64);
        Drawn {
            pieces,
            now: first,
            from: 0,
            missing: length.map(|length| length.saturating_sub(first_len)),
        }
    }

    fn refill(&mut self) -> io::Result<()> {
        self.from = 0;
        self.now = raw::attached(|py| {
            // Dropped with the lock.
            self.now = None;
            let next = self.pieces.next(py);
            next.and_then(|next| self.count(next)).map_err(|error| {
                report(py, "a response", error);
                io::Error::other("the iterable of a body failed")
            })
        })?;
        Ok(())
    }

    /// Compares the bytes of a piece, or of none at the end, with the declared length.
    fn count(&mut self, next: Option<PyBackedBytes>) -> PyResult<Option<PyBackedBytes>> {
        let Some(missing) = self.missing else {
            return Ok(next);
        };
        let len = next.as_ref().map_or(0, |next| next.len() as u64);
        self.missing = missing.checked_sub(len);
        match (self.missing, len) {
            (None, _) => Err(wrong_length("longer")),
            (Some(1..), 0) => Err(wrong_length("shorter")),
            _ => Ok(next),
        }
    }
}

impl io::Read for Drawn {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.now.as_ref().is_none_or(|now| self.from == now.len()) {
            self.refill()?;
        }
        let Some(now) = &self.now else { return Ok(0) };
        let len = into.len().min(now.len() - self.from);
        into[..len].copy_from_slice(&now[self.from..self.from + len]);
        self.from += len;
        Ok(len)
    }
}

impl Drop for Drawn {
    fn drop(&mut self) {
        raw::attached(|py| {
            self.now = None;
            self.pieces.close(py);
        });
    }
}
