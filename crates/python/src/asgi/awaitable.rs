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

/// What an application receives from.
pub(super) trait Receives: Send + Sync {
    /// The next message, if there is one.
    fn take(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>>;

    /// A future that is done when there may be one.
    fn wait(&self, py: Python<'_>) -> PyResult<Py<PyAny>>;
}

/// An awaitable of the next message. The message is taken when the application goes on, so a wait that was cancelled
/// has taken none.
#[pyclass(module = "peregrine")]
pub(super) struct Next {
    source: Box<dyn Receives>,
    /// The iterator of a future.
    waits: Py<PyAny>,
}

impl Next {
    pub(super) fn awaitable(
        py: Python<'_>,
        source: impl Receives + 'static,
    ) -> PyResult<Py<PyAny>> {
        match source.take(py)? {
            Some(message) => Ready::awaitable(py, Some(message)),
            None => {
                let waits = steps(py, &source)?;
                let source = Box::new(source);
                Ok(Py::new(py, Next { source, waits })?.into_any())
            }
        }
    }
}

fn steps(py: Python<'_>, source: &dyn Receives) -> PyResult<Py<PyAny>> {
    let future = source.wait(py)?;
    future.call_method0(py, pyo3::intern!(py, "__await__"))
}

#[pymethods]
impl Next {
    fn __await__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    /// What the loop waits for. Ends with the message.
    fn __next__(&mut self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        loop {
            match self.waits.call_method0(py, pyo3::intern!(py, "__next__")) {
                Err(error) if error.is_instance_of::<PyStopIteration>(py) => {}
                waits => return waits,
            }
            if let Some(message) = self.source.take(py)? {
                return Err(PyStopIteration::new_err((message,)));
            }
            // Another wait has taken it.
            self.waits = steps(py, &*self.source)?;
        }
    }
}

/// Futures that wait for the same thing.
#[derive(Default)]
pub(super) struct Waiters(Vec<Py<PyAny>>);

impl Waiters {
    /// Adds a future. Those that were cancelled are forgotten.
    pub(super) fn add(&mut self, py: Python<'_>, future: &Py<PyAny>) -> PyResult<()> {
        let mut waiting = Vec::with_capacity(self.0.len() + 1);
        for future in self.0.drain(..) {
            if !is_done(future.bind(py))? {
                waiting.push(future);
            }
        }
        waiting.push(future.clone_ref(py));
        self.0 = waiting;
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Completes all of them.
    pub(super) fn wake(
        &mut self,
        py: Python<'_>,
        result: impl Fn() -> PyResult<()>,
    ) -> PyResult<()> {
        for future in std::mem::take(&mut self.0) {
            resolve(py, future, result())?;
        }
        Ok(())
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

fn is_done(future: &Bound<'_, PyAny>) -> PyResult<bool> {
    future
        .call_method0(pyo3::intern!(future.py(), "done"))?
        .is_truthy()
}

/// Completes a future that the application may have cancelled.
pub(super) fn resolve(py: Python<'_>, future: Py<PyAny>, result: PyResult<()>) -> PyResult<()> {
    let future = future.bind(py);
    if is_done(future)? {
        return Ok(());
    }
    match result {
        Ok(()) => future.call_method1(pyo3::intern!(py, "set_result"), (py.None(),))?,
        Err(error) => {
            future.call_method1(pyo3::intern!(py, "set_exception"), (error.into_value(py),))?
        }
    };
    Ok(())
}
