//! Bodies whose pieces come from a Python iterable.

use crate::raw;
use crate::report::report;
use pyo3::exceptions::{PyStopIteration, PyTypeError};
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

/// Reads pieces on the thread of a worker, when the client has room for them.
pub(crate) struct Drawn {
    pieces: Pieces,
    now: Option<PyBackedBytes>,
    from: usize,
}

impl Drawn {
    /// The body is `first`, and then `pieces`.
    pub(crate) fn new(first: Option<PyBackedBytes>, pieces: Pieces) -> Drawn {
        Drawn {
            pieces,
            now: first,
            from: 0,
        }
    }

    fn refill(&mut self) -> io::Result<()> {
        self.from = 0;
        self.now = raw::attached(|py| {
            // Dropped with the lock.
            self.now = None;
            self.pieces.next(py).map_err(|error| {
                report(py, "a response", error);
                io::Error::other("the iterable of a body failed")
            })
        })?;
        Ok(())
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
