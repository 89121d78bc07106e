//! `Request`: what a handler in Python sees of a request.

use crate::tls;
use peregrine::{OwnedRequest, Request};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString};
use scoped_tls_hkt::scoped_thread_local;
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

/// A request that is lent to Python for one call.
#[derive(Clone, Copy)]
struct Lent<'a> {
    number: u64,
    request: &'a Request<'a>,
}

scoped_thread_local!(static LENT: for<'a> &'a Lent<'a>);

/// Numbers of requests that a thread gives before it takes others. Each number is given once.
const SHARE: u64 = 1 << 32;
static SHARES: AtomicU64 = AtomicU64::new(1);

thread_local! {
    static NUMBER: Cell<u64> = Cell::new(SHARES.fetch_add(1, Ordering::Relaxed) * SHARE);
}

/// A request. It can be read while the handler runs; `keep` makes a copy that can be read later.
#[pyclass(frozen, name = "Request", module = "peregrine")]
pub(crate) struct PyRequest {
    number: u64,
    owned: Option<Box<OwnedRequest>>,
}

/// Lends `request` to `f` as a Python object.
pub(crate) fn lend<R>(
    py: Python<'_>,
    request: &Request<'_>,
    f: impl FnOnce(Py<PyRequest>) -> PyResult<R>,
) -> PyResult<R> {
    let number = NUMBER.get() + 1;
    NUMBER.set(number);
    let lent = Py::new(
        py,
        PyRequest {
            number,
            owned: None,
        },
    )?;
    LENT.set(&Lent { number, request }, || f(lent))
}

impl PyRequest {
    pub(crate) fn owned(request: OwnedRequest) -> PyRequest {
        PyRequest {
            number: 0,
            owned: Some(Box::new(request)),
        }
    }

    fn with<R>(&self, f: impl FnOnce(&Request<'_>) -> R) -> PyResult<R> {
        if let Some(owned) = &self.owned {
            return Ok(f(&owned.as_request()));
        }
        // On another thread `LENT` has another request, or none.
        if LENT.is_set() {
            let found = LENT.with(|lent| (lent.number == self.number).then(|| f(lent.request)));
            if let Some(found) = found {
                return Ok(found);
            }
        }
        Err(PyRuntimeError::new_err(
            "the handler has returned or this is another thread: use what `req.keep()` returned",
        ))
    }
}

#[pymethods]
impl PyRequest {
    /// A copy that can be kept and read on any thread.
    fn keep(&self) -> PyResult<PyRequest> {
        self.with(|request| PyRequest::owned(request.to_owned_request()))
    }

    #[getter]
    fn method<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        self.with(|request| match request.method() {
            "GET" => pyo3::intern!(py, "GET").clone(),
            "POST" => pyo3::intern!(py, "POST").clone(),
            method => PyString::new(py, method),
        })
    }

    /// The path, not percent-decoded, without the query.
    #[getter]
    fn path<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        self.with(|request| match request.path() {
            "/" => pyo3::intern!(py, "/").clone(),
            path => PyString::new(py, path),
        })
    }

    /// The target as sent.
    #[getter]
    fn target(&self, py: Python<'_>) -> PyResult<Py<PyString>> {
        self.with(|request| PyString::new(py, request.target()).unbind())
    }

    /// The query as sent, without its `?`; empty if there is none.
    #[getter]
    fn query_string(&self, py: Python<'_>) -> PyResult<Py<PyString>> {
        self.with(|request| PyString::new(py, request.query_string().unwrap_or("")).unbind())
    }

    /// The decoded value of the first pair `name` of the query, or None.
    fn query(&self, name: &str) -> PyResult<Option<String>> {
        self.with(|request| request.query(name).map(|value| value.into_owned()))
    }

    #[getter]
    fn version(&self) -> PyResult<String> {
        self.with(|request| request.version().to_string())
    }

    #[getter]
    fn scheme(&self) -> PyResult<&'static str> {
        self.with(|request| request.scheme())
    }

    /// The value of the first header field `name`, or None. Bytes that are not ASCII are Latin-1.
    fn header(&self, name: &str) -> PyResult<Option<String>> {
        self.with(|request| request.header_all(name).next().map(latin1))
    }

    /// All header fields, as pairs of names and values.
    #[getter]
    fn headers(&self) -> PyResult<Vec<(String, String)>> {
        self.with(|request| {
            let fields = request.headers();
            fields
                .map(|(name, value)| (name.to_owned(), latin1(value)))
                .collect()
        })
    }

    /// The value of the cookie `name`, or None.
    fn cookie(&self, name: &str) -> PyResult<Option<String>> {
        self.with(|request| request.cookie(name).map(str::to_owned))
    }

    /// The whole body.
    #[getter]
    fn body<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        self.with(|request| PyBytes::new(py, request.body()))
    }

    /// The body, parsed as JSON (`json.loads`).
    fn json<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let body = self.body(py)?;
        let loads = py
            .import(pyo3::intern!(py, "json"))?
            .getattr(pyo3::intern!(py, "loads"))?;
        loads.call1((body,))
    }

    /// The pairs of a URL-encoded form in the body.
    fn form(&self) -> PyResult<Vec<(String, String)>> {
        self.with(|request| match request.form_pairs() {
            Ok(pairs) => Ok(pairs
                .map(|(name, value)| (name.into_owned(), value.into_owned()))
                .collect()),
            Err(error) => Err(PyValueError::new_err(error.to_string())),
        })?
    }

    /// The certificates that the client has sent, in PEM, its own first. It is empty without them (`ssl_cert_reqs`).
    #[getter]
    fn client_certificates<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        self.with(|request| tls::client_chain(py, request))?
    }

    /// Address and port of the client, or None on a Unix socket.
    #[getter]
    fn client(&self) -> PyResult<Option<(String, u16)>> {
        self.with(|request| {
            request
                .client_addr()
                .map(|addr| (addr.ip().to_string(), addr.port()))
        })
    }

    fn __repr__(&self) -> String {
        let line =
            self.with(|request| format!("<Request {} {}>", request.method(), request.target()));
        line.unwrap_or_else(|_| "<Request (over)>".to_owned())
    }
}

/// Bytes of a field value as text, byte by byte.
pub(crate) fn latin1(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if bytes.is_ascii() => text.to_owned(),
        _ => bytes.iter().map(|&byte| char::from(byte)).collect(),
    }
}
