//! The loop's side: events become exchanges and tasks.

use super::channel::Channel;
use super::exchange::Exchange;
use super::inbox::{Event, Inbox};
use super::scope::Scopes;
use super::socket::Socket;
use crate::report::report;
use peregrine::OwnedRequest;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyType};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

/// What exchanges use of the bridge.
pub(crate) struct Shared {
    pub(crate) inbox: Arc<Inbox>,
    create_future: Py<PyAny>,
    pub(super) disconnect_class: Py<PyType>,
    /// Exchanges that wait for something, by number.
    waiting: Mutex<HashMap<u64, Py<PyAny>>>,
    /// Those that ask now and then whether their client is still there.
    polled: Mutex<HashSet<u64>>,
    /// Asks the loop to call `Bridge.poll` later.
    poll_later: Py<PyAny>,
}

impl Shared {
    pub(super) fn future(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.create_future.call0(py)
    }

    /// What `send` raises when the client has gone.
    pub(super) fn disconnected(&self, py: Python<'_>) -> PyErr {
        match self.disconnect_class.call1(py, ("the client has gone",)) {
            Ok(error) => PyErr::from_value(error.into_bound(py)),
            Err(error) => error,
        }
    }

    pub(super) fn register(&self, number: u64, exchange: Py<PyAny>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.insert(number, exchange);
    }

    pub(super) fn forget(&self, number: u64) {
        let forgotten = self
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&number);
        self.polled
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&number);
        // Dropped without the lock.
        drop(forgotten);
    }

    /// Looks again later.
    pub(super) fn poll(&self, py: Python<'_>, number: u64) -> PyResult<()> {
        let mut polled = self.polled.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = polled.is_empty();
        polled.insert(number);
        drop(polled);
        if is_first {
            self.poll_later.call0(py)?;
        }
        Ok(())
    }

    fn find(&self, py: Python<'_>, number: u64) -> Option<Py<PyAny>> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.get(&number).map(|exchange| exchange.clone_ref(py))
    }
}

/// Between the threads of a server and an asyncio loop. All methods are for the thread of the loop.
#[pyclass(module = "peregrine", frozen)]
pub(crate) struct Bridge {
    pub(crate) shared: Arc<Shared>,
    scopes: Scopes,
    /// Starts a task: `spawn(scope, exchange)`.
    spawn: Py<PyAny>,
}

#[pymethods]
impl Bridge {
    #[new]
    #[expect(clippy::too_many_arguments, reason = "one place calls it, with names")]
    fn new(
        wakes: i32,
        sleeps: i32,
        places: usize,
        create_future: Py<PyAny>,
        disconnect_class: Py<PyType>,
        poll_later: Py<PyAny>,
        spawn: Py<PyAny>,
        scopes: (Py<PyDict>, Py<PyDict>, String),
    ) -> Bridge {
        let shared = Shared {
            inbox: Inbox::new(wakes, sleeps, places),
            create_future,
            disconnect_class,
            waiting: Mutex::default(),
            polled: Mutex::default(),
            poll_later,
        };
        let (http, websocket, root) = scopes;
        Bridge {
            shared: Arc::new(shared),
            scopes: Scopes::new(http, websocket, &root),
            spawn,
        }
    }

    /// Handles what has come.
    fn drain(&self, py: Python<'_>) {
        for event in self.shared.inbox.take() {
            let handled = match event {
                Event::Changed(number) => self.changed(py, number),
                Event::Request(request, responder, place) => {
                    let body = PyBytes::new(py, request.as_request().body()).unbind();
                    let is_head = request.as_request().method() == "HEAD";
                    let exchange = Exchange::whole(&self.shared, body, is_head, responder, place);
                    self.request(py, &request, exchange)
                }
                Event::Upload(request, upload, place) => {
                    let is_head = request.as_request().method() == "HEAD";
                    let exchange = Exchange::upload(&self.shared, upload, is_head, place);
                    self.request(py, &request, exchange)
                }
                Event::WebSocket(request, channel) => self.websocket(py, &request, channel),
            };
            if let Err(error) = handled {
                report(py, "the bridge to asyncio", error);
            }
        }
    }

    /// Looks whether clients have gone. Returns whether there is still one to look for.
    fn poll(&self, py: Python<'_>) -> bool {
        let polled = self
            .shared
            .polled
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for number in &polled {
            if let Err(error) = self.changed(py, *number) {
                report(py, "the bridge to asyncio", error);
            }
        }
        let polled = self
            .shared
            .polled
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        !polled.is_empty()
    }
}

impl Bridge {
    fn request(&self, py: Python<'_>, request: &OwnedRequest, exchange: Exchange) -> PyResult<()> {
        let scope = self.scopes.http(py, &request.as_request())?;
        let number = exchange.number();
        let is_upload = exchange.is_upload();
        let exchange = Py::new(py, exchange)?;
        if is_upload {
            self.shared
                .register(number, exchange.clone_ref(py).into_any());
        }
        self.spawn.call1(py, (scope, exchange)).map(drop)
    }

    fn websocket(
        &self,
        py: Python<'_>,
        request: &OwnedRequest,
        channel: Arc<Channel>,
    ) -> PyResult<()> {
        let scope = self.scopes.websocket(py, &request.as_request())?;
        let number = channel.number;
        let socket = Py::new(py, Socket::new(&self.shared, channel))?;
        self.shared
            .register(number, socket.clone_ref(py).into_any());
        self.spawn.call1(py, (scope, socket)).map(drop)
    }

    fn changed(&self, py: Python<'_>, number: u64) -> PyResult<()> {
        let Some(exchange) = self.shared.find(py, number) else {
            return Ok(());
        };
        let exchange = exchange.bind(py);
        if let Ok(exchange) = exchange.cast::<Exchange>() {
            return exchange.borrow_mut().changed(py);
        }
        exchange.cast::<Socket>()?.borrow_mut().changed(py)
    }
}
