//! Messages of ASGI.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

pub(super) fn request(py: Python<'_>, body: Py<PyBytes>, more: bool) -> PyResult<Py<PyAny>> {
    let message = PyDict::new(py);
    message.set_item(pyo3::intern!(py, "type"), pyo3::intern!(py, "http.request"))?;
    message.set_item(pyo3::intern!(py, "body"), body)?;
    message.set_item(pyo3::intern!(py, "more_body"), more)?;
    Ok(message.into_any().unbind())
}

pub(super) fn disconnect(py: Python<'_>) -> PyResult<Py<PyAny>> {
    let message = PyDict::new(py);
    message.set_item(
        pyo3::intern!(py, "type"),
        pyo3::intern!(py, "http.disconnect"),
    )?;
    Ok(message.into_any().unbind())
}

pub(super) fn required<'py>(
    message: &Bound<'py, PyDict>,
    key: &str,
) -> PyResult<Bound<'py, PyAny>> {
    let value = message.get_item(key)?;
    value.ok_or_else(|| PyTypeError::new_err(format!("the message has no {key:?}")))
}
