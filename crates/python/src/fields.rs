//! Header fields that applications give: which ones are refused, and where they are kept until the response is made.

use peregrine::Response;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};
use std::borrow::Cow;

/// Fields of one connection (RFC 9110 section 7.6.1), which applications must not set (PEP 3333).
const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Status and fields of a response that is not begun.
#[derive(Clone, Debug)]
pub(crate) struct HeadParts {
    pub(crate) status: u16,
    /// Names and values, one after the other.
    bytes: Vec<u8>,
    /// Where each name and each value ends.
    ends: Vec<(usize, usize)>,
    /// The value of `Content-Length`.
    pub(crate) length: Option<u64>,
}

impl Default for HeadParts {
    fn default() -> HeadParts {
        HeadParts {
            status: 200,
            bytes: Vec::new(),
            ends: Vec::new(),
            length: None,
        }
    }
}

impl HeadParts {
    /// Of a short text of the server.
    pub(crate) fn of(status: u16) -> HeadParts {
        let mut head = HeadParts {
            status,
            ..HeadParts::default()
        };
        // Nothing of it is refused.
        let _ = head.add(b"content-type", b"text/plain; charset=utf-8");
        head
    }

    pub(crate) fn clear(&mut self) {
        self.status = 200;
        self.bytes.clear();
        self.ends.clear();
        self.length = None;
    }

    pub(crate) fn set_status(&mut self, status: u16) -> PyResult<()> {
        if !(200..=599).contains(&status) {
            return Err(PyValueError::new_err(format!(
                "the status {status} is not between 200 and 599"
            )));
        }
        self.status = status;
        Ok(())
    }

    /// Adds a field. Refused are malformed names and values, and fields of the connection.
    pub(crate) fn add(&mut self, name: &[u8], value: &[u8]) -> PyResult<()> {
        let is_token = !name.is_empty() && name.iter().all(|&byte| is_token(byte));
        if !is_token {
            return Err(refused("the name of a header field is not a token", name));
        }
        if value
            .iter()
            .any(|&byte| byte == 0x7f || byte < 0x20 && byte != b'\t')
        {
            return Err(refused(
                "the value of a header field has a control character",
                name,
            ));
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            let value = value.trim_ascii();
            let length = std::str::from_utf8(value)
                .ok()
                .filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
            let Some(length) = length.and_then(|text| text.parse().ok()) else {
                return Err(refused("Content-Length is not a number", value));
            };
            if self.length.is_some_and(|other| other != length) {
                return Err(refused("a second Content-Length", value));
            }
            self.length = Some(length);
            return Ok(());
        }
        if HOP_BY_HOP
            .iter()
            .any(|hop| name.eq_ignore_ascii_case(hop.as_bytes()))
        {
            return Err(refused(
                "a header field of the connection belongs to the server",
                name,
            ));
        }
        self.bytes.extend_from_slice(name);
        let name_end = self.bytes.len();
        self.bytes.extend_from_slice(value.trim_ascii());
        self.ends.push((name_end, self.bytes.len()));
        Ok(())
    }

    fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut from = 0;
        self.ends.iter().map(move |&(name_end, end)| {
            let field = (&self.bytes[from..name_end], &self.bytes[name_end..end]);
            from = end;
            field
        })
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.fields()
            .any(|(other, _)| other.eq_ignore_ascii_case(name.as_bytes()))
    }

    /// A whole body must have the length that was declared. One that the client does not get need not be there.
    pub(crate) fn check_length(&self, len: u64, is_head: bool) -> PyResult<()> {
        let may_be_bare = len == 0 && (is_head || matches!(self.status, 204 | 304));
        match self.length {
            Some(length) if length != len && !may_be_bare => Err(PyValueError::new_err(format!(
                "the body has {len} bytes and Content-Length is {length}"
            ))),
            _ => Ok(()),
        }
    }

    /// Gives status and fields to a response.
    pub(crate) fn apply<'a>(&self, res: Response<'a>) -> Response<'a> {
        let mut res = res.status(self.status);
        for (name, value) in self.fields() {
            // A token is ASCII.
            res = res.header(std::str::from_utf8(name).unwrap_or_default(), value);
        }
        res
    }
}

#[cold]
fn refused(why: &str, what: &[u8]) -> PyErr {
    PyValueError::new_err(format!("{why}: {:?}", String::from_utf8_lossy(what)))
}

/// RFC 9110 section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// A name or value that is a `str` of Latin-1 characters, or `bytes`.
pub(crate) fn field_bytes<'a>(value: &'a Bound<'_, PyAny>) -> PyResult<Cow<'a, [u8]>> {
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Ok(Cow::Borrowed(bytes.as_bytes()));
    }
    latin1_bytes(value.cast::<PyString>()?)
}

/// The bytes of a text whose characters are those of Latin-1.
pub(crate) fn latin1_bytes<'a>(text: &'a Bound<'_, PyString>) -> PyResult<Cow<'a, [u8]>> {
    let text = text.to_cow()?;
    if text.is_ascii() {
        return Ok(match text {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        });
    }
    let bytes = text.chars().map(|c| u8::try_from(u32::from(c)));
    match bytes.collect::<Result<Vec<u8>, _>>() {
        Ok(bytes) => Ok(Cow::Owned(bytes)),
        Err(_) => Err(PyValueError::new_err(format!(
            "{text:?} has characters outside Latin-1"
        ))),
    }
}
