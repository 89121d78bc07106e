//! `scope` of an application.

use crate::tls;
use percent_encoding::percent_decode_str;
use peregrine::{Request, Version};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// The most names of fields that are remembered.
const NAMES: usize = 256;

/// Makes scopes.
pub(super) struct Scopes {
    http: Py<PyDict>,
    websocket: Py<PyDict>,
    root: String,
    /// Names of fields in small letters, by names as sent.
    names: Mutex<HashMap<Box<str>, Py<PyBytes>>>,
}

impl Scopes {
    pub(super) fn new(http: Py<PyDict>, websocket: Py<PyDict>, root: &str) -> Scopes {
        Scopes {
            http,
            websocket,
            root: root.to_owned(),
            names: Mutex::default(),
        }
    }

    pub(super) fn http<'py>(
        &self,
        py: Python<'py>,
        req: &Request<'_>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let scope = self.http.bind(py).copy()?;
        let method = match req.method() {
            "GET" => pyo3::intern!(py, "GET").clone(),
            method => PyString::new(py, method),
        };
        scope.set_item(pyo3::intern!(py, "method"), method)?;
        scope.set_item(pyo3::intern!(py, "scheme"), req.scheme())?;
        self.common(py, req, scope)
    }

    pub(super) fn websocket<'py>(
        &self,
        py: Python<'py>,
        req: &Request<'_>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let scope = self.websocket.bind(py).copy()?;
        let scheme = if req.scheme() == "https" { "wss" } else { "ws" };
        scope.set_item(pyo3::intern!(py, "scheme"), scheme)?;
        let protocols = req.header_all("sec-websocket-protocol");
        let protocols = protocols.filter_map(|value| std::str::from_utf8(value).ok());
        let protocols = protocols
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .filter(|name| !name.is_empty());
        scope.set_item(
            pyo3::intern!(py, "subprotocols"),
            protocols.collect::<Vec<_>>(),
        )?;
        self.common(py, req, scope)
    }

    fn common<'py>(
        &self,
        py: Python<'py>,
        req: &Request<'_>,
        scope: Bound<'py, PyDict>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let version = match req.version() {
            Version::Http11 => pyo3::intern!(py, "1.1"),
            Version::Http10 => pyo3::intern!(py, "1.0"),
            _ => pyo3::intern!(py, "2"),
        };
        scope.set_item(pyo3::intern!(py, "http_version"), version)?;
        let raw = req.path();
        let decoded = percent_decode_str(raw).decode_utf8_lossy();
        let has_root = decoded
            .strip_prefix(&*self.root)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        match has_root {
            true => scope.set_item(pyo3::intern!(py, "path"), &*decoded)?,
            // A proxy has removed it.
            false => {
                scope.set_item(pyo3::intern!(py, "path"), format!("{}{decoded}", self.root))?
            }
        }
        scope.set_item(
            pyo3::intern!(py, "raw_path"),
            PyBytes::new(py, raw.as_bytes()),
        )?;
        let query = req.query_string().unwrap_or("");
        scope.set_item(
            pyo3::intern!(py, "query_string"),
            PyBytes::new(py, query.as_bytes()),
        )?;
        match req.client_addr() {
            Some(client) => {
                let client = (client.ip().to_string(), client.port());
                scope.set_item(pyo3::intern!(py, "client"), client)?;
            }
            None => scope.set_item(pyo3::intern!(py, "client"), py.None())?,
        }
        scope.set_item(pyo3::intern!(py, "headers"), self.headers(py, req)?)?;
        if let Some(extension) = tls::extension(py, req)? {
            let key = pyo3::intern!(py, "extensions");
            let extensions = scope
                .as_any()
                .get_item(key)?
                .cast_into::<PyDict>()?
                .copy()?;
            extensions.set_item(pyo3::intern!(py, "tls"), extension)?;
            scope.set_item(key, extensions)?;
        }
        if let Some(state) = scope.get_item(pyo3::intern!(py, "state"))? {
            // Each request has its own copy.
            scope.set_item(pyo3::intern!(py, "state"), state.cast::<PyDict>()?.copy()?)?;
        }
        Ok(scope)
    }

    fn headers<'py>(&self, py: Python<'py>, req: &Request<'_>) -> PyResult<Bound<'py, PyList>> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let headers = PyList::empty(py);
        for (name, value) in req.headers() {
            let name = match names.get(name) {
                Some(name) => name.bind(py).clone(),
                None => {
                    let small = PyBytes::new(py, name.to_ascii_lowercase().as_bytes());
                    if names.len() < NAMES {
                        names.insert(name.into(), small.clone().unbind());
                    }
                    small
                }
            };
            headers.append(PyTuple::new(py, [name, PyBytes::new(py, value)])?)?;
        }
        Ok(headers)
    }
}
