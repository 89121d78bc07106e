//! Exceptions that no caller sees are written to the log.

use crate::raw;
use pyo3::exceptions::PySystemExit;
use pyo3::prelude::*;

/// Logs an exception: `peregrine.log.report`. In a child of `fork` it ends the process, with the code of a `SystemExit`.
#[cold]
pub(crate) fn report(py: Python<'_>, what: &str, error: PyErr) {
    if error.is_instance_of::<PySystemExit>(py) {
        let code = error.value(py).getattr("code");
        raw::end_child(py, code.and_then(|code| code.extract()).unwrap_or(0));
    }
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
    raw::end_child(py, 1);
}
