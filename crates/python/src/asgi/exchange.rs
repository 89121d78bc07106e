//! `receive` and `send` of a request.

use super::awaitable::{Next, Ready, Receives, Waiters, resolve};
use super::bridge::Shared;
use super::inbox::{Event, Place};
use super::message::{disconnect, head, piece, request, required};
use super::upload::{Piece, Upload};
use crate::app::FAILED;
use crate::fields::HeadParts;
use crate::pieces::wrong_length;
use crate::raw;
use crate::report::report;
use peregrine::body::{BodySender, TrySendError};
use peregrine::{Done, Responder, Response};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No `http.response.start` yet.
    Idle,
    /// The head is known.
    Head,
    /// The head has left.
    Streaming,
    Done,
}

/// A piece that waits for the client.
struct Sending {
    future: Py<PyAny>,
    piece: Vec<u8>,
    more: bool,
}

#[pyclass(module = "peregrine")]
pub(super) struct Exchange {
    shared: Arc<Shared>,
    number: u64,
    phase: Phase,
    head: HeadParts,
    is_head: bool,
    /// The whole body, until it is received.
    body: Option<Py<PyBytes>>,
    upload: Option<Arc<Upload>>,
    /// It is `Send` and not `Sync`.
    responder: Mutex<Option<Responder>>,
    sender: Option<BodySender>,
    receiving: Waiters,
    sending: Option<Sending>,
    gone: bool,
    /// Given back at the end, even if the application keeps `send` longer.
    place: Option<Place>,
}

/// Whether a part of a response was taken.
enum Taken {
    Yes,
    /// Call again when something has changed.
    Later(Vec<u8>),
}

impl Exchange {
    pub(super) fn whole(
        shared: &Arc<Shared>,
        body: Py<PyBytes>,
        is_head: bool,
        responder: Responder,
        place: Place,
    ) -> Exchange {
        let number = shared.inbox.number();
        Exchange::new(
            shared,
            number,
            is_head,
            place,
            Some(body),
            None,
            Some(responder),
        )
    }

    pub(super) fn upload(
        shared: &Arc<Shared>,
        upload: Arc<Upload>,
        is_head: bool,
        place: Place,
    ) -> Exchange {
        Exchange::new(
            shared,
            upload.number,
            is_head,
            place,
            None,
            Some(upload),
            None,
        )
    }

    fn new(
        shared: &Arc<Shared>,
        number: u64,
        is_head: bool,
        place: Place,
        body: Option<Py<PyBytes>>,
        upload: Option<Arc<Upload>>,
        responder: Option<Responder>,
    ) -> Exchange {
        Exchange {
            shared: shared.clone(),
            number,
            phase: Phase::Idle,
            head: HeadParts::default(),
            is_head,
            body,
            upload,
            responder: Mutex::new(responder),
            sender: None,
            receiving: Waiters::default(),
            sending: None,
            gone: false,
            place: Some(place),
        }
    }

    fn responder(&mut self) -> &mut Option<Responder> {
        self.responder
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn is_upload(&self) -> bool {
        self.upload.is_some()
    }

    /// The next message for the application, if there is one.
    fn next(&mut self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        if let Some(body) = self.body.take() {
            return request(py, body, false).map(Some);
        }
        if let Some(upload) = &self.upload {
            match upload.next() {
                Piece::Next(piece) => {
                    return request(py, PyBytes::new(py, &piece).unbind(), true).map(Some);
                }
                Piece::Wait => return Ok(None),
                Piece::Gone => self.gone = true,
                Piece::End => {}
            }
            if let (false, Some(upload)) = (self.gone, self.upload.take()) {
                // The responder comes with the end of the body.
                *self.responder() = match self.responder().take() {
                    Some(responder) => Some(responder),
                    None => upload.responder().unwrap_or(None),
                };
                return request(py, PyBytes::new(py, b"").unbind(), false).map(Some);
            }
        }
        match self.has_left() {
            true => disconnect(py).map(Some),
            false => Ok(None),
        }
    }

    /// Whether [`Exchange::next`] has a message.
    fn has_next(&mut self) -> bool {
        let has_piece = |upload: &Arc<Upload>| upload.has_next();
        self.body.is_some() || self.upload.as_ref().is_some_and(has_piece) || self.has_left()
    }

    /// Whether nothing more comes: the response is complete, or the client has gone.
    fn has_left(&mut self) -> bool {
        let is_gone = self.responder().as_ref().is_some_and(Responder::is_gone)
            || !self.is_head && self.sender.as_ref().is_some_and(BodySender::is_gone);
        self.gone |= is_gone;
        self.gone || self.phase == Phase::Done
    }

    fn start(&mut self, head: HeadParts) -> PyResult<()> {
        if self.phase != Phase::Idle {
            return Err(PyRuntimeError::new_err(
                "http.response.start was sent before",
            ));
        }
        self.head = head;
        self.phase = Phase::Head;
        Ok(())
    }

    /// Sends a piece of the body, as far as the client has room.
    fn body(&mut self, py: Python<'_>, piece: Vec<u8>, more: bool) -> PyResult<Taken> {
        match self.phase {
            Phase::Idle => {
                return Err(PyRuntimeError::new_err(
                    "http.response.body comes before http.response.start",
                ));
            }
            Phase::Done => return Err(PyRuntimeError::new_err("the response is complete")),
            Phase::Head => {
                if let Some(taken) = self.begin(py, &piece, more)? {
                    return Ok(match taken {
                        true => Taken::Yes,
                        false => Taken::Later(piece),
                    });
                }
            }
            Phase::Streaming => {}
        }
        self.piece(py, piece, more)
    }

    /// Sends the head. `Some(true)`: with the whole body; `Some(false)`: it is too early.
    fn begin(&mut self, py: Python<'_>, piece: &[u8], more: bool) -> PyResult<Option<bool>> {
        if self.responder().is_none() {
            let asked = self.upload.as_ref().map(|upload| upload.responder());
            match asked {
                Some(Ok(responder)) => *self.responder() = responder,
                Some(Err(())) => self.gone = true,
                None => {}
            }
        }
        if self.gone {
            return Err(self.shared.disconnected(py));
        }
        let Some(responder) = self.responder().take() else {
            return Ok(Some(false));
        };
        let length = self.head.length;
        if more {
            let mut sender = None;
            let sent = responder.send(|res| {
                let (done, body) = stream(self.head.apply(res), length);
                sender = Some(body);
                done
            });
            self.phase = Phase::Streaming;
            self.sender = sender;
            self.gone |= sent.is_err();
            self.watch();
            return Ok(None);
        }
        if let Err(error) = self.head.check_length(piece.len() as u64, self.is_head) {
            *self.responder() = Some(responder);
            return Err(error);
        }
        let sent = responder.send(|res| match self.is_head && piece.is_empty() {
            true => stream(self.head.apply(res), length).0,
            false => self.head.apply(res).body(piece),
        });
        self.phase = Phase::Done;
        match sent {
            Ok(()) => Ok(Some(true)),
            Err(_gone) => Err(self.shared.disconnected(py)),
        }
    }

    /// Lets the end of the stream reach `receive`.
    fn watch(&self) {
        if let Some(sender) = &self.sender {
            let (inbox, number) = (self.shared.inbox.clone(), self.number);
            sender.on_gone(move || inbox.tell(Event::Changed(number)));
        }
    }

    fn piece(&mut self, py: Python<'_>, piece: Vec<u8>, more: bool) -> PyResult<Taken> {
        if self.is_head {
            // It has no body.
            if !more {
                self.phase = Phase::Done;
            }
            return Ok(Taken::Yes);
        }
        let Some(sender) = &mut self.sender else {
            return Err(self.shared.disconnected(py));
        };
        if !piece.is_empty() {
            match sender.try_send(piece) {
                Ok(()) => {}
                Err(TrySendError::Full(piece)) => {
                    let (inbox, number) = (self.shared.inbox.clone(), self.number);
                    sender.on_ready(move || inbox.tell(Event::Changed(number)));
                    return Ok(Taken::Later(piece.as_bytes().to_vec()));
                }
                Err(TrySendError::Failed(peregrine::body::SendError::Length)) => {
                    return Err(wrong_length("longer"));
                }
                Err(_) => {
                    self.gone = true;
                    return Err(self.shared.disconnected(py));
                }
            }
        }
        if !more {
            self.phase = Phase::Done;
            match self.sender.take().map(BodySender::finish) {
                Some(Err(peregrine::body::SendError::Length)) => {
                    return Err(wrong_length("shorter"));
                }
                Some(Err(_)) => return Err(self.shared.disconnected(py)),
                _ => {}
            }
        }
        Ok(Taken::Yes)
    }

    /// Something has happened to this exchange.
    pub(super) fn changed(&mut self, py: Python<'_>) -> PyResult<()> {
        if let Some(Sending {
            future,
            piece,
            more,
        }) = self.sending.take()
        {
            match self.body(py, piece, more) {
                Ok(Taken::Later(piece)) => {
                    self.sending = Some(Sending {
                        future,
                        piece,
                        more,
                    })
                }
                Ok(Taken::Yes) => resolve(py, future, Ok(()))?,
                Err(error) => resolve(py, future, Err(error))?,
            }
        }
        if !self.receiving.is_empty() && self.has_next() {
            self.receiving.wake(py, || Ok(()))?;
        }
        Ok(())
    }
}

fn stream(res: Response<'_>, length: Option<u64>) -> (Done, BodySender) {
    match length {
        Some(length) => res.stream_exact(length),
        None => res.stream(),
    }
}

impl Receives for Py<Exchange> {
    fn take(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        self.borrow_mut(py).next(py)
    }

    fn wait(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let mut this = self.borrow_mut(py);
        let future = this.shared.future(py)?;
        this.receiving.add(py, &future)?;
        this.shared
            .register(this.number, self.clone_ref(py).into_any());
        // The library tells the end of a stream only.
        this.shared.poll(py, this.number)?;
        Ok(future)
    }
}

#[pymethods]
impl Exchange {
    /// Returns an awaitable of the next message.
    fn receive(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        Next::awaitable(slf.py(), slf.clone().unbind())
    }

    /// Returns an awaitable that is done when the message is on its way.
    fn send(slf: &Bound<'_, Self>, message: &Bound<'_, PyDict>) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let kind = required(message, "type")?;
        let kind = kind.cast::<PyString>()?.to_cow()?;
        raw::end_child(py, 0);
        match &*kind {
            "http.response.start" => {
                // Code of the application makes its fields, so it comes before the borrow.
                let head = head(message)?;
                slf.try_borrow_mut()?.start(head)?;
            }
            "http.response.body" => {
                let mut this = slf.try_borrow_mut()?;
                let piece = piece(message)?;
                let more = message.get_item(pyo3::intern!(py, "more_body"))?;
                let more = more.map_or(Ok(false), |more| more.is_truthy())?;
                if this.sending.is_some() {
                    return Err(PyRuntimeError::new_err("the last send has not returned"));
                }
                if let Taken::Later(piece) = this.body(py, piece, more)? {
                    let future = this.shared.future(py)?;
                    this.sending = Some(Sending {
                        future: future.clone_ref(py),
                        piece,
                        more,
                    });
                    this.shared
                        .register(this.number, slf.clone().into_any().unbind());
                    // What it waits for may have happened in between.
                    this.shared.inbox.tell(Event::Changed(this.number));
                    return Ok(future);
                }
                if this.phase == Phase::Streaming {
                    this.shared
                        .register(this.number, slf.clone().into_any().unbind());
                }
                if this.phase == Phase::Done && !this.receiving.is_empty() {
                    this.changed(py)?;
                }
            }
            other => {
                return Err(PyRuntimeError::new_err(format!(
                    "{other:?} is no message for a request"
                )));
            }
        }
        Ready::awaitable(py, None)
    }

    /// The application has returned, or raised `error`.
    #[pyo3(signature = (error=None))]
    fn finish(&mut self, py: Python<'_>, error: Option<Bound<'_, PyAny>>) -> PyResult<()> {
        self.shared.forget(self.number);
        let is_whole = self.phase == Phase::Done;
        self.phase = Phase::Done;
        match error {
            Some(error) => {
                let error = PyErr::from_value(error);
                let is_end =
                    error.is_instance(py, self.shared.disconnect_class.bind(py)) && self.gone;
                if !is_end {
                    report(py, "an ASGI application", error);
                }
            }
            None if !is_whole && !self.gone => {
                let error = PyRuntimeError::new_err(
                    "the application has returned without a complete response",
                );
                report(py, "an ASGI application", error);
            }
            None => {}
        }
        raw::end_child(py, 0);
        // Without a response the client gets 500; a stream that is not finished is cut.
        self.sender = None;
        self.receiving.clear();
        self.sending = None;
        if let Some(upload) = self.upload.take() {
            *self.responder() = self
                .responder()
                .take()
                .or(upload.responder().unwrap_or(None));
        }
        self.place = None;
        if let Some(responder) = self.responder().take() {
            let _gone = responder.send(|res| res.status(500).text(FAILED));
        }
        Ok(())
    }
}
