//! WebSockets of handlers in Python, and `Hub`.

use crate::raw;
use crate::report::report;
use crate::request::lend;
use peregrine::Request;
use peregrine::ws::{Disconnect, Hub, Message, Sent, Upgrade, Ws, WsId};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};
use pyo3::types::{PyBool, PyBytes, PyString};
use scoped_tls_hkt::scoped_thread_local;

/// A message of Python: `str` is text, `bytes` is binary.
pub(crate) enum Given {
    Text(PyBackedStr),
    Binary(PyBackedBytes),
}

impl<'py> FromPyObject<'_, 'py> for Given {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Given> {
        if object.is_instance_of::<PyString>() {
            return Ok(Given::Text(object.extract()?));
        }
        let bytes = object.extract().map(Given::Binary);
        bytes.map_err(|_| PyTypeError::new_err("a message is str or bytes"))
    }
}

impl Given {
    pub(crate) fn message(&self) -> Message<'_> {
        match self {
            Given::Text(text) => Message::Text(text),
            Given::Binary(bytes) => Message::Binary(bytes),
        }
    }
}

/// A connection that is lent to Python for one call.
trait Lent {
    fn id(&self) -> WsId;
    fn is_open(&self) -> bool;
    fn send(&mut self, message: Message<'_>) -> Sent;
    fn close(&mut self, code: u16, reason: &str) -> Sent;
    fn subscribe(&mut self, topic: &str) -> PyResult<()>;
    fn unsubscribe(&mut self, topic: &str) -> bool;
    fn publish(&mut self, topic: &str, message: Message<'_>, own: bool) -> Sent;
}

impl<C> Lent for Ws<'_, C> {
    fn id(&self) -> WsId {
        Ws::id(self)
    }

    fn is_open(&self) -> bool {
        Ws::is_open(self)
    }

    fn send(&mut self, message: Message<'_>) -> Sent {
        Ws::send(self, message)
    }

    fn close(&mut self, code: u16, reason: &str) -> Sent {
        Ws::close(self, code, reason)
    }

    fn subscribe(&mut self, topic: &str) -> PyResult<()> {
        Ws::subscribe(self, topic).map_err(|error| PyValueError::new_err(error.to_string()))
    }

    fn unsubscribe(&mut self, topic: &str) -> bool {
        Ws::unsubscribe(self, topic)
    }

    fn publish(&mut self, topic: &str, message: Message<'_>, own: bool) -> Sent {
        match own {
            true => Ws::publish(self, topic, message),
            false => self.publish_to_others(topic, message),
        }
    }
}

scoped_thread_local!(static mut LENT: for<'a> &'a mut (dyn Lent + 'a));

/// Calls `f` with the connection, if it is lent to this thread now.
fn lent<R>(id: WsId, f: impl FnOnce(&mut (dyn Lent + '_)) -> R) -> Option<R> {
    match LENT.is_set() {
        true => LENT.with(|ws| (ws.id() == id).then(|| f(ws))),
        false => None,
    }
}

/// A WebSocket connection. It can be kept, and all threads may send to it.
#[pyclass(name = "WebSocket", module = "peregrine", frozen)]
pub(crate) struct PyWs {
    id: WsId,
    hub: Hub,
    client: Option<(String, u16)>,
}

#[pymethods]
impl PyWs {
    /// The number of this connection, which no other one of this process ever has.
    #[getter]
    fn id(&self) -> u64 {
        self.id.to_u64()
    }

    /// Address and port of the client.
    #[getter]
    fn client(&self) -> Option<(String, u16)> {
        self.client.clone()
    }

    /// Sends a message: str as text, bytes as binary. Returns False if it was dropped: the connection is closing, or
    /// too many bytes are unsent.
    fn send(&self, message: Given) -> bool {
        let sent = lent(self.id, |ws| ws.send(message.message()));
        sent.unwrap_or_else(|| self.hub.send(self.id, message.message()))
            .is_queued()
    }

    /// Begins the close handshake.
    #[pyo3(signature = (code=1000, reason=""))]
    fn close(&self, code: u16, reason: &str) -> bool {
        let sent = lent(self.id, |ws| ws.close(code, reason));
        sent.unwrap_or_else(|| self.hub.close(self.id, code, reason))
            .is_queued()
    }

    /// Subscribes to a topic. Raises ValueError at the limits: 64 topics, 256 bytes of a name.
    fn subscribe(&self, topic: &str) -> PyResult<()> {
        match lent(self.id, |ws| ws.subscribe(topic)) {
            Some(subscribed) => subscribed,
            None => {
                self.hub.subscribe(self.id, topic);
                Ok(())
            }
        }
    }

    /// Ends the subscription to a topic.
    fn unsubscribe(&self, topic: &str) {
        if lent(self.id, |ws| ws.unsubscribe(topic)).is_none() {
            self.hub.unsubscribe(self.id, topic);
        }
    }

    /// Sends a message to all connections of this process that have subscribed to the topic; without this one if
    /// `own` is False, which is for hooks of this connection only.
    #[pyo3(signature = (topic, message, own=true))]
    fn publish(&self, topic: &str, message: Given, own: bool) -> PyResult<bool> {
        let sent = match lent(self.id, |ws| ws.publish(topic, message.message(), own)) {
            Some(sent) => sent,
            None if own => self.hub.publish(topic, message.message()),
            None => {
                return Err(PyValueError::new_err(
                    "own=False is for hooks of this connection",
                ));
            }
        };
        Ok(sent.is_queued())
    }

    #[getter]
    fn is_open(&self) -> bool {
        lent(self.id, |ws| ws.is_open()).unwrap_or_else(|| self.hub.is_open(self.id))
    }

    /// Bytes that wait to be sent.
    #[getter]
    fn backlog(&self) -> usize {
        self.hub.backlog(self.id).unwrap_or(0)
    }
}

/// All WebSocket connections of a server, from any thread.
#[pyclass(name = "Hub", module = "peregrine", frozen)]
pub(crate) struct PyHub(pub(crate) Hub);

#[pymethods]
impl PyHub {
    /// Sends a message to all connections that have subscribed to the topic.
    fn publish(&self, topic: &str, message: Given) -> bool {
        self.0.publish(topic, message.message()).is_queued()
    }

    /// Sends a message to all connections.
    fn broadcast(&self, message: Given) -> bool {
        self.0.broadcast(message.message()).is_queued()
    }

    /// Sends a message to one connection.
    fn send(&self, id: u64, message: Given) -> bool {
        self.0
            .send(WsId::from_u64(id), message.message())
            .is_queued()
    }

    /// The number of open connections.
    #[getter]
    fn connections(&self) -> usize {
        self.0.connections()
    }
}

/// The hooks of an application: an object with the methods `accept`, `open`, `message`, `drain` and `close`, of which
/// only `message` must be there.
pub(crate) struct Hooks {
    accept: Option<Py<PyAny>>,
    open: Option<Py<PyAny>>,
    message: Py<PyAny>,
    drain: Option<Py<PyAny>>,
    close: Option<Py<PyAny>>,
}

impl Hooks {
    pub(crate) fn new(object: &Bound<'_, PyAny>) -> PyResult<Hooks> {
        let hook = |name: &str| Ok::<_, PyErr>(object.getattr_opt(name)?.map(Bound::unbind));
        Ok(Hooks {
            accept: hook("accept")?,
            open: hook("open")?,
            message: object.getattr("message")?.unbind(),
            drain: hook("drain")?,
            close: hook("close")?,
        })
    }

    /// Asks `accept`: True accepts, False leaves the request to the handler, a str is a subprotocol, an int refuses.
    pub(crate) fn accept(&self, req: &Request<'_>, upgrade: &mut Upgrade<'_>) -> bool {
        let Some(accept) = &self.accept else {
            return true;
        };
        raw::attached(|py| {
            let verdict = lend(py, req, |req| accept.call1(py, (req,)));
            let decided = verdict.and_then(|verdict| decide(verdict.bind(py), upgrade));
            decided.unwrap_or_else(|error| {
                report(py, "accept of a WebSocket", error);
                upgrade.refuse(500, crate::app::FAILED);
                false
            })
        })
    }

    /// Makes the object of a connection and calls `open`.
    pub(crate) fn open<C>(&self, ws: &mut Ws<'_, C>) -> Option<Py<PyWs>> {
        let (id, hub) = (ws.id(), ws.hub().clone());
        let client = ws
            .client_addr()
            .map(|addr| (addr.ip().to_string(), addr.port()));
        let made = raw::attached(|py| Py::new(py, PyWs { id, hub, client }));
        let object = match made {
            Ok(object) => object,
            Err(_no_memory) => {
                ws.close(1011, "");
                return None;
            }
        };
        self.call(ws, self.open.as_ref(), |py, open| {
            open.call1(py, (&object,))
        });
        Some(object)
    }

    pub(crate) fn message<C>(&self, ws: &mut Ws<'_, C>, object: &Py<PyWs>, message: Message<'_>) {
        self.call(ws, Some(&self.message), |py, hook| match message {
            Message::Text(text) => hook.call1(py, (object, PyString::new(py, text))),
            Message::Binary(bytes) => hook.call1(py, (object, PyBytes::new(py, bytes))),
        });
    }

    pub(crate) fn drain<C>(&self, ws: &mut Ws<'_, C>, object: &Py<PyWs>) {
        self.call(ws, self.drain.as_ref(), |py, hook| {
            hook.call1(py, (object,))
        });
    }

    pub(crate) fn close<C>(&self, ws: &mut Ws<'_, C>, object: &Py<PyWs>, why: &Disconnect) {
        let (code, reason) = close_code(why);
        self.call(ws, self.close.as_ref(), |py, hook| {
            hook.call1(py, (object, code, &*reason))
        });
    }

    /// Calls a hook with the connection lent. After an exception the connection is closed with 1011.
    fn call<C>(
        &self,
        ws: &mut Ws<'_, C>,
        hook: Option<&Py<PyAny>>,
        call: impl FnOnce(Python<'_>, &Py<PyAny>) -> PyResult<Py<PyAny>>,
    ) {
        let Some(hook) = hook else { return };
        let called = raw::attached(|py| {
            let result = LENT.set(&mut *ws, || call(py, hook));
            result
                .map(drop)
                .map_err(|error| report(py, "a WebSocket", error))
        });
        if called.is_err() {
            ws.close(1011, "");
        }
    }
}

fn decide(verdict: &Bound<'_, PyAny>, upgrade: &mut Upgrade<'_>) -> PyResult<bool> {
    if let Ok(verdict) = verdict.cast::<PyBool>() {
        return Ok(verdict.is_true());
    }
    if let Ok(protocol) = verdict.cast::<PyString>() {
        let chosen = upgrade.protocol(&protocol.to_cow()?);
        return chosen
            .map(|()| true)
            .map_err(|error| PyValueError::new_err(error.to_string()));
    }
    let wrong = |_| {
        PyTypeError::new_err("accept returns True, False, a subprotocol (str) or a status (int)")
    };
    upgrade.refuse(verdict.extract::<u16>().map_err(wrong)?, "");
    Ok(false)
}

/// Code and reason of an end: 1005 without a code of the client, 1006 without a close frame.
pub(crate) fn close_code(why: &Disconnect) -> (u16, String) {
    match why {
        Disconnect::Closed { code, reason } => (*code, reason.to_string()),
        Disconnect::Failed(error) => (error.close_code(), error.to_string()),
        Disconnect::Stopped => (1012, why.to_string()),
        other => (1006, other.to_string()),
    }
}
