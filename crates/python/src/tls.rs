//! TLS: the certificate of the server, and what an application sees of those of its clients.

use crate::settings::Settings;
use peregrine::tls::TlsInfo;
use peregrine::{Request, Tls};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use std::fs;
use std::path::Path;

/// TLS 1.3, the only version (RFC 8446 section 4.2.1).
const VERSION: u16 = 0x0304;

/// `ssl.CERT_OPTIONAL` and `ssl.CERT_REQUIRED`.
const OPTIONAL: u8 = 1;
const REQUIRED: u8 = 2;

impl Settings {
    /// The certificate and its key, which may be in one file, and the authorities of clients. They are read now.
    pub(crate) fn tls(&self) -> PyResult<Option<Tls>> {
        let Some(certificates) = &self.ssl_certfile else {
            return Ok(None);
        };
        let key = self.ssl_keyfile.as_ref().unwrap_or(certificates);
        let tls = match &self.ssl_key {
            Some(key) => Tls::from_pem(&read(certificates)?, key),
            None => Tls::from_pem_files(certificates, key),
        };
        let tls = match (tls, &self.ssl_ca_certs) {
            (Ok(tls), Some(authorities)) if self.ssl_cert_reqs == OPTIONAL => {
                tls.ask_for_client_certificates(&read(authorities)?)
            }
            (Ok(tls), Some(authorities)) if self.ssl_cert_reqs == REQUIRED => {
                tls.require_client_certificates(&read(authorities)?)
            }
            (tls, _) => tls,
        };
        match tls {
            Ok(tls) => Ok(Some(tls)),
            Err(error) => Err(PyValueError::new_err(error.to_string())),
        }
    }
}

fn read(path: &Path) -> PyResult<Vec<u8>> {
    let found = fs::read(path);
    found.map_err(|error| PyValueError::new_err(format!("{}: {error}", path.display())))
}

/// The certificates that the client has sent and that were verified, in PEM, its own first.
pub(crate) fn client_chain<'py>(
    py: Python<'py>,
    req: &Request<'_>,
) -> PyResult<Bound<'py, PyList>> {
    match req.tls() {
        Some(tls) => chain(py, &tls),
        None => Ok(PyList::empty(py)),
    }
}

fn chain<'py>(py: Python<'py>, tls: &TlsInfo) -> PyResult<Bound<'py, PyList>> {
    let certificates = PyList::empty(py);
    for der in tls.client_chain() {
        let encode = py
            .import(pyo3::intern!(py, "ssl"))?
            .getattr(pyo3::intern!(py, "DER_cert_to_PEM_cert"))?;
        certificates.append(encode.call1((PyBytes::new(py, der),))?)?;
    }
    Ok(certificates)
}

/// The extension `tls` of ASGI. `None`: a connection without TLS.
pub(crate) fn extension<'py>(
    py: Python<'py>,
    req: &Request<'_>,
) -> PyResult<Option<Bound<'py, PyDict>>> {
    let Some(tls) = req.tls() else {
        return Ok(None);
    };
    let extension = PyDict::new(py);
    // The specification allows None for what a server cannot tell.
    extension.set_item("server_cert", py.None())?;
    extension.set_item("client_cert_chain", chain(py, &tls)?)?;
    extension.set_item("client_cert_name", py.None())?;
    extension.set_item("client_cert_error", py.None())?;
    extension.set_item("tls_version", VERSION)?;
    extension.set_item("cipher_suite", suite(tls.cipher_suite()))?;
    Ok(Some(extension))
}

/// The number of a cipher suite (RFC 8446 appendix B.4).
fn suite(name: &str) -> Option<u16> {
    match name {
        "TLS13_AES_128_GCM_SHA256" => Some(0x1301),
        "TLS13_AES_256_GCM_SHA384" => Some(0x1302),
        "TLS13_CHACHA20_POLY1305_SHA256" => Some(0x1303),
        _ => None,
    }
}
