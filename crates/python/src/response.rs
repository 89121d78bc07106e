//! `Response`: how a handler in Python responds.

use crate::fields::{HeadParts, field_bytes};
use crate::pieces::{Drawn, Pieces};
use crate::raw;
use crate::report::report;
use crate::stream::{PyResponder, PyStream};
use peregrine::body::BodySender;
use peregrine::{Done, Responder, Response};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};
use scoped_tls_hkt::scoped_thread_local;
use std::cell::Cell;
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";

/// A response that is lent to Python for one call.
pub(crate) struct Slot<'a> {
    number: u64,
    res: Option<Response<'a>>,
    done: Option<Done>,
    /// What the handler got for the rest of its response.
    begun: Begun,
    /// The request is a HEAD.
    is_head: bool,
}

/// A part that Python has too: Python's object may live on in a traceback after its handler has failed.
type Shared<T> = Arc<Mutex<Option<T>>>;

enum Begun {
    Nothing,
    Stream(Shared<BodySender>),
    Later(Shared<Responder>),
}

impl Begun {
    /// Ends what was begun: a stream is incomplete, a response becomes 500. If another thread sends at this moment, the
    /// end is up to that thread.
    fn give_up(self) {
        match self {
            Begun::Nothing => {}
            Begun::Stream(sender) => {
                drop(sender.try_lock().ok().and_then(|mut sender| sender.take()))
            }
            Begun::Later(responder) => {
                drop(
                    responder
                        .try_lock()
                        .ok()
                        .and_then(|mut responder| responder.take()),
                );
            }
        }
    }
}

/// What a handler may begin before it returns.
trait Begins {
    fn number(&self) -> u64;
    fn is_head(&self) -> bool;
    fn stream(&mut self, head: &HeadParts) -> Option<Shared<BodySender>>;
    fn defer(&mut self) -> Option<Shared<Responder>>;
}

impl Begins for Slot<'_> {
    fn number(&self) -> u64 {
        self.number
    }

    fn is_head(&self) -> bool {
        self.is_head
    }

    fn stream(&mut self, head: &HeadParts) -> Option<Shared<BodySender>> {
        let res = head.apply(self.res.take()?);
        let (done, sender) = match head.length {
            Some(length) => res.stream_exact(length),
            None => res.stream(),
        };
        self.done = Some(done);
        let sender = Arc::new(Mutex::new(Some(sender)));
        self.begun = Begun::Stream(sender.clone());
        Some(sender)
    }

    fn defer(&mut self) -> Option<Shared<Responder>> {
        let (done, responder) = self.res.take()?.defer();
        self.done = Some(done);
        let responder = Arc::new(Mutex::new(Some(responder)));
        self.begun = Begun::Later(responder.clone());
        Some(responder)
    }
}

scoped_thread_local!(static mut SLOT: for<'a> &'a mut (dyn Begins + 'a));

thread_local! {
    static NUMBER: Cell<u64> = const { Cell::new(0) };
    /// The object of the last response, used again if Python has let go of it.
    static SPARE: Cell<Option<Py<PyResponse>>> = const { Cell::new(None) };
}

#[derive(Default)]
enum Body {
    #[default]
    Missing,
    Bytes(Py<PyBytes>),
    Text(Py<PyString>, &'static str),
    File(File, u64),
    Pieces(Pieces),
    /// The response comes from a stream or a responder.
    Later,
}

/// A response. One of its last methods must be called once: `text`, `html`, `json`, `body`, `file`, `iterate`,
/// `redirect`, `stream` or `defer`. Without one the client gets 500.
#[pyclass(name = "Response", module = "peregrine")]
#[derive(Default)]
pub(crate) struct PyResponse {
    number: u64,
    head: HeadParts,
    body: Body,
}

/// Lets `call` respond to `res`, of a HEAD or another request. An exception becomes 500 and is logged.
pub(crate) fn respond(
    py: Python<'_>,
    is_head: bool,
    res: Response<'_>,
    call: impl FnOnce(&Py<PyResponse>) -> PyResult<Py<PyAny>>,
) -> Done {
    let number = NUMBER.get() + 1;
    NUMBER.set(number);
    let spare = SPARE.take().filter(|spare| raw::is_unshared(spare, py));
    let object = match spare {
        Some(spare) => spare,
        None => match Py::new(py, PyResponse::default()) {
            Ok(object) => object,
            Err(error) => return failed(py, res, error),
        },
    };
    object.borrow_mut(py).number = number;
    let mut slot = Slot {
        number,
        res: Some(res),
        done: None,
        begun: Begun::Nothing,
        is_head,
    };
    let result = SLOT.set(&mut slot, || call(&object));
    if result.is_ok() {
        raw::end_child(py, 0);
    }
    // The handler may have given it to another thread, which uses it at this moment.
    let mut response = match object.try_borrow_mut(py) {
        Ok(response) => response,
        Err(error) => return given_up(py, slot, result.err().unwrap_or(error.into())),
    };
    let done = match (result, slot.res.take(), slot.done.take()) {
        (Ok(returned), Some(res), _) => {
            let body = std::mem::take(&mut response.body);
            finish(py, &response.head, is_head, body, returned, res)
        }
        (Ok(_), None, Some(done)) => done,
        (Ok(_), None, None) => unreachable!("a response is taken with its end"),
        (Err(error), res, done) => given_up(py, Slot { res, done, ..slot }, error),
    };
    response.head.clear();
    response.body = Body::Missing;
    response.number = 0;
    drop(response);
    SPARE.set(Some(object));
    done
}

#[cold]
fn given_up(py: Python<'_>, slot: Slot<'_>, error: PyErr) -> Done {
    match (slot.done, slot.res) {
        (Some(done), _) => {
            report(py, "a handler, after it has begun its response", error);
            slot.begun.give_up();
            done
        }
        (None, Some(res)) => failed(py, res, error),
        (None, None) => unreachable!("a response is taken with its end"),
    }
}

#[cold]
pub(crate) fn failed(py: Python<'_>, res: Response<'_>, error: PyErr) -> Done {
    report(py, "a handler", error);
    res.status(500).text(crate::app::FAILED)
}

fn finish(
    py: Python<'_>,
    head: &HeadParts,
    is_head: bool,
    body: Body,
    returned: Py<PyAny>,
    res: Response<'_>,
) -> Done {
    let body = match body {
        Body::Missing => match returned_body(returned.bind(py)) {
            Some(body) => body,
            None => {
                let error = PyRuntimeError::new_err("the handler has not responded");
                return failed(py, res, error);
            }
        },
        body => body,
    };
    match body {
        Body::Bytes(bytes) => whole(py, head, is_head, bytes.as_bytes(py), None, res),
        Body::Text(text, kind) => match text.bind(py).to_cow() {
            Ok(text) => whole(py, head, is_head, text.as_bytes(), Some(kind), res),
            Err(error) => failed(py, res, error),
        },
        Body::File(file, len) => match head.check_length(len, is_head) {
            Ok(()) => head.apply(res).send_file(Arc::new(file), 0..len),
            Err(error) => failed(py, res, error),
        },
        Body::Pieces(pieces) => {
            let drawn = Drawn::new(None, pieces, head.length);
            head.apply(res).send_reader(drawn, head.length)
        }
        Body::Missing | Body::Later => unreachable!("handled above"),
    }
}

/// Responds with all bytes of a body, and with this type unless the handler has set one.
fn whole(
    py: Python<'_>,
    head: &HeadParts,
    is_head: bool,
    body: &[u8],
    kind: Option<&'static str>,
    res: Response<'_>,
) -> Done {
    if let Err(error) = head.check_length(body.len() as u64, is_head) {
        return failed(py, res, error);
    }
    let mut res = head.apply(res);
    if let Some(kind) = kind.filter(|_| !head.has("content-type")) {
        res = res.header("Content-Type", kind);
    }
    match head.length {
        // The handler has made no body for a HEAD.
        Some(length) if is_head && body.is_empty() => res.stream_exact(length).0,
        _ => res.body(body),
    }
}

/// A handler may return the body instead of calling a method.
fn returned_body(returned: &Bound<'_, PyAny>) -> Option<Body> {
    if let Ok(bytes) = returned.cast::<PyBytes>() {
        return Some(Body::Bytes(bytes.clone().unbind()));
    }
    let text = returned.cast::<PyString>().ok()?;
    Some(Body::Text(text.clone().unbind(), TEXT))
}

impl PyResponse {
    fn end(&mut self, body: Body) -> PyResult<()> {
        self.check_open()?;
        self.body = body;
        Ok(())
    }

    fn check_open(&self) -> PyResult<()> {
        if self.number == 0 {
            return Err(PyRuntimeError::new_err("the handler has returned"));
        }
        if !matches!(self.body, Body::Missing) {
            return Err(PyRuntimeError::new_err("a second response to one request"));
        }
        Ok(())
    }

    /// Calls `f` with the slot, if this is the thread of the handler and it runs.
    fn begin<R>(
        &mut self,
        f: impl FnOnce(&mut (dyn Begins + '_), &HeadParts) -> Option<R>,
    ) -> PyResult<R> {
        self.check_open()?;
        let (number, head) = (self.number, &self.head);
        let begun = match SLOT.is_set() {
            true => SLOT.with(|slot| (slot.number() == number).then(|| f(slot, head)).flatten()),
            false => None,
        };
        let begun = begun.ok_or_else(|| {
            PyRuntimeError::new_err("this is not the thread of the handler, or it has returned")
        })?;
        self.body = Body::Later;
        Ok(begun)
    }
}

#[pymethods]
impl PyResponse {
    /// Sets the status, from 200 to 599.
    fn status(mut slf: PyRefMut<'_, Self>, status: u16) -> PyResult<PyRefMut<'_, Self>> {
        slf.head.set_status(status)?;
        Ok(slf)
    }

    /// Adds a header field. A malformed name or value raises ValueError.
    fn header<'py>(
        mut slf: PyRefMut<'py, Self>,
        name: &Bound<'py, PyAny>,
        value: &Bound<'py, PyAny>,
    ) -> PyResult<PyRefMut<'py, Self>> {
        slf.head.add(&field_bytes(name)?, &field_bytes(value)?)?;
        Ok(slf)
    }

    /// Responds with these bytes. No `Content-Type` is added.
    fn body(&mut self, body: Py<PyBytes>) -> PyResult<()> {
        self.end(Body::Bytes(body))
    }

    /// Responds with text, as `text/plain; charset=utf-8` unless `Content-Type` was set.
    fn text(&mut self, text: Py<PyString>) -> PyResult<()> {
        self.end(Body::Text(text, TEXT))
    }

    /// Responds with a page, as `text/html; charset=utf-8` unless `Content-Type` was set.
    fn html(&mut self, page: Py<PyString>) -> PyResult<()> {
        self.end(Body::Text(page, HTML))
    }

    /// Responds with a value as JSON (`json.dumps`).
    fn json(slf: &Bound<'_, Self>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        // Code of the value may run, which may use this object.
        let py = value.py();
        let dumps = py
            .import(pyo3::intern!(py, "json"))?
            .getattr(pyo3::intern!(py, "dumps"))?;
        let text = dumps.call1((value,))?.cast_into::<PyString>()?.unbind();
        slf.borrow_mut().end(Body::Text(text, JSON))
    }

    /// Responds with a redirect: 301, 302, 303, 307 or 308.
    #[pyo3(signature = (location, status=303))]
    fn redirect(
        &mut self,
        py: Python<'_>,
        location: &Bound<'_, PyAny>,
        status: u16,
    ) -> PyResult<()> {
        if !matches!(status, 301 | 302 | 303 | 307 | 308) {
            return Err(PyValueError::new_err(format!("{status} is no redirect")));
        }
        self.head.set_status(status)?;
        self.head.add(b"Location", &field_bytes(location)?)?;
        self.end(Body::Bytes(PyBytes::new(py, b"").unbind()))
    }

    /// Responds with a file. It is read when the client takes it, and by `sendfile` if the system has it.
    fn file(&mut self, path: PathBuf) -> PyResult<()> {
        let file = File::open(path)?;
        let about = file.metadata()?;
        if !about.is_file() {
            return Err(PyValueError::new_err("not a file"));
        }
        self.end(Body::File(file, about.len()))
    }

    /// Responds with the pieces of an iterable of bytes. Its `__next__` is called on the event loop when the client
    /// has room, so it must not block.
    fn iterate(slf: &Bound<'_, Self>, iterable: &Bound<'_, PyAny>) -> PyResult<()> {
        let pieces = Pieces::new(iterable)?;
        slf.borrow_mut().end(Body::Pieces(pieces))
    }

    /// Sends the head now and the body later, from any thread.
    fn stream(&mut self) -> PyResult<PyStream> {
        self.begin(|slot, head| slot.stream(head))
            .map(PyStream::new)
    }

    /// Responds later, from any thread.
    fn defer(&mut self) -> PyResult<PyResponder> {
        let begun = self.begin(|slot, _| Some((slot.defer()?, slot.is_head())));
        begun.map(|(responder, is_head)| PyResponder::new(responder, is_head))
    }
}
