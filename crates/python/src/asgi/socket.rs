//! `receive` and `send` of a WebSocket.

use super::awaitable::{Next, Ready, Receives, Waiters};
use super::bridge::Shared;
use super::channel::{Channel, Received, Verdict};
use super::message::{head, required};
use super::senders::has_room;
use crate::app::FAILED;
use crate::fields::{HeadParts, field_bytes};
use crate::raw;
use crate::report::report;
use crate::websocket::Given;
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};
use std::sync::Arc;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The application has not decided.
    Connecting,
    /// It has accepted.
    Open,
    /// It refuses, with a response whose head is known.
    Refusing,
    Closed,
}

#[pyclass(module = "peregrine")]
pub(super) struct Socket {
    shared: Arc<Shared>,
    channel: Arc<Channel>,
    phase: Phase,
    /// The last message was `websocket.accept`.
    accepting: bool,
    /// `websocket.connect` was received.
    connected: bool,
    /// `websocket.disconnect` was received.
    disconnected: bool,
    /// The response that refuses.
    head: HeadParts,
    refusal: Vec<u8>,
    receiving: Waiters,
    sending: Waiters,
}

impl Socket {
    pub(super) fn new(shared: &Arc<Shared>, channel: Arc<Channel>) -> Socket {
        Socket {
            shared: shared.clone(),
            channel,
            phase: Phase::Connecting,
            accepting: false,
            connected: false,
            disconnected: false,
            head: HeadParts::default(),
            refusal: Vec::new(),
            receiving: Waiters::default(),
            sending: Waiters::default(),
        }
    }

    fn next(&mut self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        if self.disconnected {
            return Err(PyRuntimeError::new_err(
                "websocket.disconnect was received before",
            ));
        }
        let message = PyDict::new(py);
        if !self.connected {
            self.connected = true;
            message.set_item("type", "websocket.connect")?;
            return Ok(Some(message.into_any().unbind()));
        }
        if let Some(received) = self.channel.take() {
            message.set_item(
                pyo3::intern!(py, "type"),
                pyo3::intern!(py, "websocket.receive"),
            )?;
            match received {
                Received::Text(text) => message.set_item(pyo3::intern!(py, "text"), text)?,
                Received::Binary(bytes) => {
                    message.set_item(pyo3::intern!(py, "bytes"), PyBytes::new(py, &bytes))?
                }
            }
            return Ok(Some(message.into_any().unbind()));
        }
        let Some((code, reason)) = self.channel.lock().closed.clone() else {
            return Ok(None);
        };
        self.disconnected = true;
        message.set_item("type", "websocket.disconnect")?;
        message.set_item("code", code)?;
        message.set_item("reason", reason)?;
        Ok(Some(message.into_any().unbind()))
    }

    /// Whether [`Socket::next`] has a message.
    fn has_next(&self) -> bool {
        let state = self.channel.lock();
        !self.connected || !state.received.is_empty() || state.closed.is_some()
    }

    /// Whether `send` may return: the connection is open and has room, or it is closed. `websocket.accept` is done when
    /// the connection has been open, so its application receives the end of one that was closed at once.
    fn may_send(&self, py: Python<'_>) -> Option<PyResult<()>> {
        let state = self.channel.lock();
        if self.accepting && state.open.is_some() {
            return Some(Ok(()));
        }
        if state.closed.is_some() {
            return Some(Err(self.shared.disconnected(py)));
        }
        let (id, hub) = state.open.as_ref()?;
        has_room(*id, hub).then_some(Ok(()))
    }

    /// The same. If it may not, the WebSocket thread tells the loop when it may.
    fn may_send_or_wait(&self, py: Python<'_>) -> Option<PyResult<()>> {
        self.may_send(py).or_else(|| {
            let open = self.channel.lock().open.clone();
            let (id, hub) = open?;
            let senders = &self.shared.inbox.senders;
            senders.add(self.channel.number, id, &hub);
            self.may_send(py)
        })
    }

    pub(super) fn changed(&mut self, py: Python<'_>) -> PyResult<()> {
        if !self.sending.is_empty() {
            match self.may_send_or_wait(py) {
                None => {}
                Some(Ok(())) => self.sending.wake(py, || Ok(()))?,
                Some(Err(_)) => {
                    let shared = self.shared.clone();
                    self.sending.wake(py, || Err(shared.disconnected(py)))?;
                }
            }
        }
        if !self.receiving.is_empty() && self.has_next() {
            self.receiving.wake(py, || Ok(()))?;
        }
        Ok(())
    }

    fn accept(&mut self, message: &Bound<'_, PyDict>) -> PyResult<()> {
        let protocol = message
            .get_item("subprotocol")?
            .filter(|protocol| !protocol.is_none());
        let protocol = protocol.map(|protocol| protocol.extract()).transpose()?;
        let mut fields = Vec::new();
        if let Some(headers) = message
            .get_item("headers")?
            .filter(|headers| !headers.is_none())
        {
            for pair in headers.try_iter()? {
                let pair = pair?;
                fields.push((
                    field_bytes(&pair.get_item(0)?)?.into_owned(),
                    field_bytes(&pair.get_item(1)?)?.into_owned(),
                ));
            }
        }
        self.channel.decide(Verdict::Accept { protocol, fields });
        self.phase = Phase::Open;
        self.accepting = true;
        Ok(())
    }

    fn message(&self, py: Python<'_>, message: &Bound<'_, PyDict>) -> PyResult<()> {
        let given =
            |key: &str| Ok::<_, PyErr>(message.get_item(key)?.filter(|value| !value.is_none()));
        let value = match (given("text")?, given("bytes")?) {
            (Some(text), None) if text.is_instance_of::<PyString>() => text,
            (None, Some(bytes)) if !bytes.is_instance_of::<PyString>() => bytes,
            _ => {
                return Err(PyTypeError::new_err(
                    "websocket.send has either text (str) or bytes",
                ));
            }
        };
        let value: Given = value.extract()?;
        let state = self.channel.lock();
        if state.open.is_none() && state.closed.is_none() {
            return Err(PyRuntimeError::new_err(
                "the send of websocket.accept has not returned",
            ));
        }
        let sent = match (&state.open, &state.closed) {
            (Some((id, hub)), None) => hub.send(*id, value.message()).is_queued(),
            _ => false,
        };
        match sent {
            true => Ok(()),
            false => Err(self.shared.disconnected(py)),
        }
    }

    fn close(&mut self, code: u16, reason: &str) {
        match self.phase {
            Phase::Connecting => self.refuse(HeadParts::of(403), Vec::new()),
            Phase::Open => {
                self.channel.close(code, reason);
                self.phase = Phase::Closed;
            }
            Phase::Refusing | Phase::Closed => {}
        }
    }

    fn refuse(&mut self, head: HeadParts, body: Vec<u8>) {
        self.phase = Phase::Closed;
        self.channel.decide(Verdict::Refuse { head, body });
    }
}

impl Receives for Py<Socket> {
    fn take(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        self.borrow_mut(py).next(py)
    }

    fn wait(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let mut this = self.borrow_mut(py);
        let future = this.shared.future(py)?;
        this.receiving.add(py, &future)?;
        Ok(future)
    }
}

#[pymethods]
impl Socket {
    /// Returns an awaitable of the next message.
    fn receive(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        Next::awaitable(slf.py(), slf.clone().unbind())
    }

    /// Returns an awaitable that is done when the message is on its way and the client has room for more.
    fn send(slf: &Bound<'_, Self>, message: &Bound<'_, PyDict>) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let kind = required(message, "type")?;
        let kind = kind.cast::<PyString>()?.to_cow()?;
        raw::end_child(py, 0);
        let mut this = slf.try_borrow_mut()?;
        let is_closed = this.channel.lock().closed.is_some();
        match (this.phase, &*kind) {
            (Phase::Connecting | Phase::Open | Phase::Refusing, _) if is_closed => {
                return Err(this.shared.disconnected(py));
            }
            (Phase::Connecting, "websocket.accept") => this.accept(message)?,
            (Phase::Open, "websocket.send") => {
                this.accepting = false;
                this.message(py, message)?;
            }
            (Phase::Connecting | Phase::Open, "websocket.close") => {
                let code = message
                    .get_item("code")?
                    .map_or(Ok(1000), |code| code.extract())?;
                let reason = message
                    .get_item("reason")?
                    .filter(|reason| !reason.is_none());
                let reason: String = reason.map_or(Ok(String::new()), |reason| reason.extract())?;
                this.close(code, &reason);
                return Ready::awaitable(py, None);
            }
            (Phase::Connecting, "websocket.http.response.start") => {
                this.head = head(message)?;
                this.phase = Phase::Refusing;
                return Ready::awaitable(py, None);
            }
            (Phase::Refusing, "websocket.http.response.body") => {
                if let Some(body) = message.get_item("body")? {
                    this.refusal.extend_from_slice(&field_bytes(&body)?);
                }
                if !message
                    .get_item("more_body")?
                    .map_or(Ok(false), |more| more.is_truthy())?
                {
                    let head = std::mem::take(&mut this.head);
                    let body = std::mem::take(&mut this.refusal);
                    this.refuse(head, body);
                }
                return Ready::awaitable(py, None);
            }
            (_, other) => {
                return Err(PyRuntimeError::new_err(format!(
                    "{other:?} is not allowed now"
                )));
            }
        }
        match this.may_send_or_wait(py) {
            Some(result) => result.and_then(|()| Ready::awaitable(py, None)),
            None => {
                let future = this.shared.future(py)?;
                this.sending.add(py, &future)?;
                Ok(future)
            }
        }
    }

    /// The application has returned, or raised `error`.
    #[pyo3(signature = (error=None))]
    fn finish(&mut self, py: Python<'_>, error: Option<Bound<'_, PyAny>>) -> PyResult<()> {
        self.shared.forget(self.channel.number);
        let is_closed = self.channel.lock().closed.is_some();
        let failed = error.is_some();
        if let Some(error) = error {
            let error = PyErr::from_value(error);
            if !(is_closed && error.is_instance(py, self.shared.disconnect_class.bind(py))) {
                report(py, "an ASGI application", error);
            }
        }
        raw::end_child(py, 0);
        match self.phase {
            Phase::Connecting | Phase::Refusing => {
                self.refuse(HeadParts::of(500), FAILED.into());
            }
            Phase::Open => self.close(if failed { 1011 } else { 1000 }, ""),
            Phase::Closed => {}
        }
        self.receiving.clear();
        self.sending.clear();
        Ok(())
    }
}
