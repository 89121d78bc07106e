//! Messages of ASGI.

use crate::fields::{HeadParts, field_bytes};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyMemoryView};

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

/// Status and header fields of a message that begins a response.
pub(super) fn head(message: &Bound<'_, PyDict>) -> PyResult<HeadParts> {
    let py = message.py();
    let mut head = HeadParts::default();
    head.set_status(required(message, "status")?.extract()?)?;
    if let Some(headers) = message.get_item(pyo3::intern!(py, "headers"))? {
        for pair in headers.try_iter()? {
            let pair = pair?;
            let (name, value) = (pair.get_item(0)?, pair.get_item(1)?);
            let name = field_bytes(&name)?;
            // Frameworks of ASGI set it; the framing is the server's all the same.
            if name.eq_ignore_ascii_case(b"transfer-encoding")
                || name.eq_ignore_ascii_case(b"connection")
            {
                continue;
            }
            head.add(&name, &field_bytes(&value)?)?;
        }
    }
    Ok(head)
}

/// The piece of a body that a message has.
pub(super) fn piece(message: &Bound<'_, PyDict>) -> PyResult<Vec<u8>> {
    let py = message.py();
    let Some(body) = message.get_item(pyo3::intern!(py, "body"))? else {
        return Ok(Vec::new());
    };
    if let Ok(bytes) = body.cast::<PyBytes>() {
        return Ok(bytes.as_bytes().to_vec());
    }
    match body.is_instance_of::<PyByteArray>() || body.is_instance_of::<PyMemoryView>() {
        true => Ok(PyByteArray::from(&body)?.to_vec()),
        false => Err(PyTypeError::new_err(format!(
            "the body is {}, not bytes",
            body.get_type()
        ))),
    }
}
