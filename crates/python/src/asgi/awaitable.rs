//! What `receive` and `send` return.

use pyo3::exceptions::PyStopIteration;
use pyo3::prelude::*;

/// An awaitable whose result is there already.
#[pyclass(module = "peregrine")]
pub(super) struct Ready(Option<Py<PyAny>>);

impl Ready {
    pub(super) fn awaitable(py: Python<'_>, value: Option<Py<PyAny>>) -> PyResult<Py<PyAny>> {
        Ok(Py::new(py, Ready(value))?.into_any())
    }
}

#[pymethods]
impl Ready {
    fn __await__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    /// Ends at once, with the value.
    fn __next__(&mut self) -> PyResult<Option<Py<PyAny>>> {
        match self.0.take() {
            None => Ok(None),
            Some(value) => Err(PyStopIteration::new_err((value,))),
        }
    }
}

/// Completes a future that the application may have cancelled.
pub(super) fn resolve(
    py: Python<'_>,
    future: Py<PyAny>,
    result: PyResult<Py<PyAny>>,
) -> PyResult<()> {
    let future = future.bind(py);
    if future
        .call_method0(pyo3::intern!(py, "done"))?
        .is_truthy()?
    {
        return Ok(());
    }
    match result {
        Ok(value) => future.call_method1(pyo3::intern!(py, "set_result"), (value,))?,
        Err(error) => {
            future.call_method1(pyo3::intern!(py, "set_exception"), (error.into_value(py),))?
        }
    };
    Ok(())
}
