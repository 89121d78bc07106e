//! `environ` of an application.

use super::input::{Input, PyInput};
use crate::request::latin1;
use crate::tls;
use percent_encoding::percent_decode_str;
use peregrine::{Request, Version};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;

/// The most names of fields that a thread remembers.
const NAMES: usize = 256;

thread_local! {
    /// The keys of fields, by names as sent.
    static KEYS: RefCell<HashMap<Box<str>, Py<PyString>>> = RefCell::default();
}

/// What is the same in the `environ` of all requests.
pub(crate) struct Environ {
    base: Py<PyDict>,
    /// `SCRIPT_NAME`, not encoded and without a slash at the end.
    root: String,
    bytes_io: Py<PyAny>,
    /// Makes a file of a body that comes while it is read.
    open_input: Py<PyAny>,
}

impl Environ {
    /// `base` has the keys that are the same for all requests.
    pub(crate) fn new(py: Python<'_>, base: Py<PyDict>, root: &str) -> PyResult<Environ> {
        let bytes_io = py.import("io")?.getattr("BytesIO")?.unbind();
        base.bind(py)
            .set_item("SCRIPT_NAME", latin1(root.as_bytes()))?;
        let module = py.import("peregrine.wsgi_input")?;
        let open_input = module.getattr("open_input")?.unbind();
        Ok(Environ {
            base,
            root: root.to_owned(),
            bytes_io,
            open_input,
        })
    }

    pub(crate) fn of<'py>(
        &self,
        py: Python<'py>,
        req: &Request<'_>,
        input: Option<Input>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let environ = self.base.bind(py).copy()?;
        let method = match req.method() {
            "GET" => pyo3::intern!(py, "GET").clone(),
            method => PyString::new(py, method),
        };
        environ.set_item(pyo3::intern!(py, "REQUEST_METHOD"), method)?;
        environ.set_item(pyo3::intern!(py, "PATH_INFO"), self.path(py, req.path()))?;
        environ.set_item(
            pyo3::intern!(py, "QUERY_STRING"),
            req.query_string().unwrap_or(""),
        )?;
        let protocol = match req.version() {
            Version::Http11 => pyo3::intern!(py, "HTTP/1.1"),
            Version::Http10 => pyo3::intern!(py, "HTTP/1.0"),
            _ => pyo3::intern!(py, "HTTP/2.0"),
        };
        environ.set_item(pyo3::intern!(py, "SERVER_PROTOCOL"), protocol)?;
        if req.scheme() != "http" {
            environ.set_item(pyo3::intern!(py, "wsgi.url_scheme"), req.scheme())?;
            if let Ok(certificate) = tls::client_chain(py, req)?.get_item(0) {
                environ.set_item(pyo3::intern!(py, "SSL_CLIENT_CERT"), certificate)?;
                environ.set_item(pyo3::intern!(py, "SSL_CLIENT_VERIFY"), "SUCCESS")?;
            }
        }
        if let Some(client) = req.client_addr() {
            environ.set_item(pyo3::intern!(py, "REMOTE_ADDR"), client.ip().to_string())?;
            environ.set_item(pyo3::intern!(py, "REMOTE_PORT"), client.port().to_string())?;
        }
        fields(py, req, &environ)?;
        let body = match req.body() {
            _ if input.is_some() => {
                let input = input.map(|input| Py::new(py, PyInput(input))).transpose()?;
                self.open_input.bind(py).call1((input,))?
            }
            [] => self.bytes_io.bind(py).call0()?,
            body => {
                // The length of a chunked body is not among its fields.
                environ.set_item(pyo3::intern!(py, "CONTENT_LENGTH"), body.len().to_string())?;
                self.bytes_io.bind(py).call1((PyBytes::new(py, body),))?
            }
        };
        environ.set_item(pyo3::intern!(py, "wsgi.input"), body)?;
        Ok(environ)
    }

    /// The path behind `SCRIPT_NAME`, decoded. A proxy may have removed `SCRIPT_NAME` already.
    fn path<'py>(&self, py: Python<'py>, path: &str) -> Bound<'py, PyString> {
        let decoded: Cow<'_, [u8]> = percent_decode_str(path).into();
        let path = match decoded.strip_prefix(self.root.as_bytes()) {
            Some(rest) if rest.is_empty() || rest.starts_with(b"/") => rest,
            _ => &decoded,
        };
        match path {
            b"/" => pyo3::intern!(py, "/").clone(),
            path => latin1_text(py, path),
        }
    }
}

/// Bytes as text, byte by byte.
fn latin1_text<'py>(py: Python<'py>, bytes: &[u8]) -> Bound<'py, PyString> {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.is_ascii() => PyString::new(py, text),
        _ => PyString::new(py, &latin1(bytes)),
    }
}

/// Adds the header fields.
fn fields(py: Python<'_>, req: &Request<'_>, environ: &Bound<'_, PyDict>) -> PyResult<()> {
    KEYS.with_borrow_mut(|keys| {
        for (name, value) in req.headers() {
            let key = match keys.get(name) {
                Some(key) => key.bind(py).clone(),
                None => {
                    let Some(key) = key(name) else { continue };
                    let key = PyString::intern(py, &key);
                    if keys.len() < NAMES {
                        keys.insert(name.into(), key.clone().unbind());
                    }
                    key
                }
            };
            let value = latin1_text(py, value);
            match environ.get_item(&key)? {
                None => environ.set_item(key, value)?,
                Some(before) => {
                    let between = if name.eq_ignore_ascii_case("cookie") {
                        "; "
                    } else {
                        ","
                    };
                    environ.set_item(key, format!("{before}{between}{value}"))?;
                }
            }
        }
        Ok(())
    })
}

/// The key of a field. `None` if the application must not see it: a name with `_` could stand for one with `-`, which a
/// proxy has checked; `Proxy` would be `HTTP_PROXY`, which libraries read as a setting; the framing is the server's.
fn key(name: &str) -> Option<String> {
    if name.contains('_') {
        return None;
    }
    let upper = name.to_ascii_uppercase().replace('-', "_");
    match &*upper {
        "PROXY" | "TRANSFER_ENCODING" => None,
        "CONTENT_TYPE" | "CONTENT_LENGTH" => Some(upper),
        _ => Some(format!("HTTP_{upper}")),
    }
}
