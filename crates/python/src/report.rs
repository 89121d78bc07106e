//! Exceptions that no caller sees are written to the log.

use pyo3::prelude::*;

/// Logs an exception: `peregrine.log.report`.
#[cold]
pub(crate) fn report(py: Python<'_>, what: &str, error: PyErr) {
    let logged = py.import("peregrine.log").and_then(|module| {
        let exception = error.value(py);
        module
            .getattr("report")?
            .call1((what, exception))
            .map(|_| ())
    });
    if logged.is_err() {
        error.print(py);
    }
}
