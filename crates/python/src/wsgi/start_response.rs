//! `start_response` of an application.

use crate::fields::{HeadParts, latin1_bytes};
use pyo3::exceptions::{PyAssertionError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyList, PyString, PyTuple};

/// The most bytes that an application may write by `write`.
const WRITTEN: usize = 64 << 20;

#[pyclass(module = "peregrine")]
#[derive(Default)]
pub(crate) struct StartResponse {
    head: Option<HeadParts>,
    /// The head is on its way to the client.
    begun: bool,
    /// What the application gave to `write`.
    pub(super) written: Vec<u8>,
}

impl StartResponse {
    /// The head, which cannot be changed from now on.
    pub(super) fn begin(this: &Py<StartResponse>, py: Python<'_>) -> PyResult<HeadParts> {
        let mut this = this.borrow_mut(py);
        this.begun = true;
        let head = this.head.take();
        head.ok_or_else(|| {
            PyRuntimeError::new_err(
                "start_response was not called before the first piece of the body",
            )
        })
    }
}

#[pymethods]
impl StartResponse {
    #[pyo3(signature = (status, headers, exc_info=None, /))]
    fn __call__<'py>(
        slf: &Bound<'py, Self>,
        status: &Bound<'py, PyAny>,
        headers: &Bound<'py, PyAny>,
        exc_info: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let exc_info = exc_info.filter(|info| !info.is_none());
        {
            let this = slf.borrow();
            match exc_info {
                Some(info) if this.begun => return Err(again(info)?),
                None if this.begun || this.head.is_some() => {
                    return Err(PyAssertionError::new_err(
                        "start_response was called a second time, without exc_info",
                    ));
                }
                _ => {}
            }
        }
        let head = parse(status, headers)?;
        let mut this = slf.borrow_mut();
        this.head = Some(head);
        // What was written belongs to the response that failed.
        this.written.clear();
        drop(this);
        slf.getattr(pyo3::intern!(py, "write"))
    }

    /// Keeps bytes that stand before the pieces of the iterable.
    fn write(&mut self, bytes: PyBackedBytes) -> PyResult<()> {
        if self.begun {
            return Err(PyAssertionError::new_err(
                "write is called before the iterable has a piece",
            ));
        }
        if self.written.len() + bytes.len() > WRITTEN {
            return Err(PyValueError::new_err(
                "more than 64 MiB were written: return an iterable",
            ));
        }
        self.written.extend_from_slice(&bytes);
        Ok(())
    }
}

/// The exception of `exc_info`, which the application raises again because the head has left.
#[cold]
fn again(info: &Bound<'_, PyAny>) -> PyResult<PyErr> {
    let value = info.get_item(1)?;
    let traceback = info.get_item(2)?;
    let value = match traceback.is_none() {
        true => value,
        false => value.call_method1("with_traceback", (traceback,))?,
    };
    Ok(PyErr::from_value(value))
}

fn parse(status: &Bound<'_, PyAny>, headers: &Bound<'_, PyAny>) -> PyResult<HeadParts> {
    let mut head = HeadParts::default();
    head.set_status(code(status)?)?;
    let headers = headers
        .cast::<PyList>()
        .map_err(|_| PyTypeError::new_err("the headers are not a list"))?;
    for pair in headers.iter() {
        let pair = pair
            .cast_into::<PyTuple>()
            .ok()
            .filter(|pair| pair.len() == 2);
        let pair = pair
            .ok_or_else(|| PyTypeError::new_err("a header is not a tuple of a name and a value"))?;
        let (name, value) = (pair.get_item(0)?, pair.get_item(1)?);
        let name = latin1_bytes(name.cast::<PyString>()?)?;
        head.add(&name, &latin1_bytes(value.cast::<PyString>()?)?)?;
    }
    Ok(head)
}

/// The number at the front of a status such as `200 OK`. The text behind it is not sent.
fn code(status: &Bound<'_, PyAny>) -> PyResult<u16> {
    let text = status
        .cast::<PyString>()
        .map_err(|_| PyTypeError::new_err("the status is not a str"))?;
    let text = text.to_cow()?;
    let digits = text
        .get(..3)
        .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    let is_separated = text.as_bytes().get(3).is_none_or(|&byte| byte == b' ');
    let has_control = text.bytes().any(|byte| byte < 0x20 || byte == 0x7f);
    match digits.and_then(|digits| digits.parse().ok()) {
        Some(code) if is_separated && !has_control => Ok(code),
        _ => Err(PyValueError::new_err(format!(
            "{text:?} is not a status such as '200 OK'"
        ))),
    }
}
