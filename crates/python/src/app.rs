//! The handler of the server: files, and an application of one of the interfaces.

use crate::asgi::{Accepted, Channel, Event, Inbox, Sink, Upload};
use crate::pool::Pool;
use crate::raw;
use crate::report::report;
use crate::request::{PyRequest, lend};
use crate::response::respond;
use crate::stream::PyBodyReader;
use crate::websocket::{Hooks, PyWs};
use crate::wsgi::{self, Environ, Input, Later};
use peregrine::body::BodyReader;
use peregrine::files::DirServer;
use peregrine::ws::{Disconnect, Message, Upgrade, WebSocketHandler, Ws};
use peregrine::{BodyPlan, Done, Handler, Request, Response};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How requests reach Python.
pub(crate) enum Interface {
    /// `handle(req, res)` on the thread of the worker.
    Native {
        handle: Py<PyAny>,
        plan: Option<Py<PyAny>>,
        hooks: Option<Hooks>,
        /// Called at the end of a turn of each thread.
        before_wait: Option<Py<PyAny>>,
    },
    /// A WSGI application, on the thread of the worker, or on the pool.
    Wsgi(Arc<Wsgi>),
    /// An ASGI application, on the thread of its loop.
    Asgi(Arc<Inbox>),
}

/// The text of a 503.
pub(crate) const BUSY: &str = "the server is busy\n";

/// The text of a 500.
pub(crate) const FAILED: &str = "internal server error\n";

/// The largest body that an application gets in one piece, in bytes, if it can get it in several.
const ONE_PIECE: u64 = 64 << 10;

/// The state of a WebSocket.
pub(crate) enum Conn {
    Native(Option<Py<PyWs>>),
    Asgi(Accepted),
}

pub(crate) struct Wsgi {
    pub(crate) app: Py<PyAny>,
    pub(crate) environ: Environ,
}

/// Files of a folder, for paths that begin with a prefix.
pub(crate) struct Mount {
    pub(crate) prefix: String,
    pub(crate) files: DirServer,
}

impl Mount {
    /// The path within the folder.
    fn path<'a>(&self, path: &'a str) -> Option<&'a str> {
        path.strip_prefix(&*self.prefix)
            .filter(|rest| rest.starts_with('/'))
    }
}

/// Counts requests, and tells when there were enough.
pub(crate) struct Quota {
    left: AtomicU64,
    tell: Box<dyn Fn() + Send + Sync>,
}

impl Quota {
    pub(crate) fn new(requests: u64, tell: impl Fn() + Send + Sync + 'static) -> Quota {
        Quota {
            left: AtomicU64::new(requests),
            tell: Box::new(tell),
        }
    }

    fn count(&self) {
        if self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            (self.tell)();
        }
    }
}

pub(crate) struct App {
    pub(crate) interface: Interface,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) quota: Option<Quota>,
    /// The largest body of a WSGI application, in bytes.
    pub(crate) most_body: u64,
    /// For code that blocks. `None`: everything runs on the thread of the worker.
    pub(crate) pool: Option<Arc<Pool>>,
}

impl App {
    fn mounted<'a>(&self, path: &'a str) -> Option<(&Mount, &'a str)> {
        self.mounts
            .iter()
            .find_map(|mount| Some((mount, mount.path(path)?)))
    }
}

impl Handler for App {
    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        if let Some((mount, path)) = self.mounted(req.path()) {
            return mount.files.serve_path(path, req, res);
        }
        if let Some(quota) = &self.quota {
            quota.count();
        }
        match &self.interface {
            Interface::Native { handle, .. } => raw::attached(|py| {
                respond(py, req.method() == "HEAD", res, |object| {
                    lend(py, req, |req| handle.call1(py, (req, object)))
                })
            }),
            Interface::Wsgi(wsgi) => match &self.pool {
                None => raw::attached(|py| wsgi::call(py, &wsgi.app, &wsgi.environ, req, res)),
                Some(pool) => on_pool(pool, wsgi, req, res),
            },
            Interface::Asgi(inbox) => {
                let Some(place) = inbox.place() else {
                    return busy(res);
                };
                let request = req.to_owned_request();
                let (done, responder) = res.defer();
                inbox.push(Event::Request(request, responder, place));
                done
            }
        }
    }

    fn body_plan(&self, req: &Request<'_>) -> BodyPlan {
        if let Some((mount, _)) = self.mounted(req.path()) {
            return mount.files.body_plan(req);
        }
        match &self.interface {
            Interface::Native {
                plan: Some(plan), ..
            } => raw::attached(|py| {
                self.planned(py, plan, req).unwrap_or_else(|error| {
                    report(py, "body_plan", error);
                    BodyPlan::Refuse(500)
                })
            }),
            Interface::Asgi(inbox) => self.upload(inbox, req),
            Interface::Wsgi(wsgi) => match &self.pool {
                Some(pool) => self.input(pool, wsgi, req),
                None => BodyPlan::Buffer,
            },
            Interface::Native { .. } => BodyPlan::Buffer,
        }
    }

    fn before_wait(&self) {
        match &self.interface {
            Interface::Asgi(inbox) => inbox.end_turn(),
            Interface::Native {
                before_wait: Some(hook),
                ..
            } => raw::attached(|py| {
                if let Err(error) = hook.call0(py) {
                    report(py, "before_wait", error);
                }
            }),
            _ => {}
        }
        raw::end_turn();
    }
}

/// The response to a request for which the pool has no room.
#[cold]
fn busy(res: Response<'_>) -> Done {
    res.status(503).header("Retry-After", "1").text(BUSY)
}

fn declared_length(req: &Request<'_>) -> Option<u64> {
    req.header("content-length")?.parse().ok()
}

fn on_pool(pool: &Pool, wsgi: &Arc<Wsgi>, req: &Request<'_>, res: Response<'_>) -> Done {
    if !pool.has_room() {
        return busy(res);
    }
    let request = req.to_owned_request();
    let (done, responder) = res.defer();
    let wsgi = wsgi.clone();
    pool.submit(Box::new(move |py| {
        wsgi::call_from_pool(
            py,
            &wsgi.app,
            &wsgi.environ,
            &request.as_request(),
            Later::Whole(responder),
        );
    }));
    done
}

impl App {
    /// Asks the program how a body is read: None, the most bytes of a buffered body, or a function that reads it.
    fn planned(&self, py: Python<'_>, plan: &Py<PyAny>, req: &Request<'_>) -> PyResult<BodyPlan> {
        let answer = lend(py, req, |req| plan.call1(py, (req,)))?;
        let answer = answer.bind(py);
        if answer.is_none() {
            return Ok(BodyPlan::Buffer);
        }
        if let Ok(most) = answer.extract::<usize>() {
            return Ok(BodyPlan::BufferUpTo(most));
        }
        if !answer.is_callable() {
            return Err(PyTypeError::new_err(
                "body_plan returns None, a number of bytes, or a function",
            ));
        }
        let Some(pool) = self.pool.as_ref().filter(|pool| pool.has_room()) else {
            return Ok(BodyPlan::respond(|_, res| busy(res)));
        };
        if let Some(quota) = &self.quota {
            quota.count();
        }
        let (reads, request) = (answer.clone().unbind(), req.to_owned_request());
        let is_head = req.method() == "HEAD";
        let (plan, reader) = BodyReader::new();
        pool.submit(Box::new(move |py| {
            let called = Py::new(py, PyBodyReader::new(reader, is_head)).and_then(|reader| {
                let request = Py::new(py, PyRequest::owned(request))?;
                reads.call1(py, (request, reader))
            });
            if let Err(error) = called {
                report(py, "a function that reads a body", error);
            }
        }));
        Ok(plan)
    }
}

impl App {
    /// A thread of the pool reads a large body while it comes. One without a length is read into memory, because most
    /// applications ignore it without `CONTENT_LENGTH`; one above the limit is refused.
    fn input(&self, pool: &Arc<Pool>, wsgi: &Arc<Wsgi>, req: &Request<'_>) -> BodyPlan {
        let large = ONE_PIECE + 1..=self.most_body;
        if !declared_length(req).is_some_and(|length| large.contains(&length)) {
            return BodyPlan::Buffer;
        }
        if !pool.has_room() {
            return BodyPlan::respond(|_, res| busy(res));
        }
        if let Some(quota) = &self.quota {
            quota.count();
        }
        let (wsgi, request) = (wsgi.clone(), req.to_owned_request());
        let (plan, reader) = BodyReader::new();
        pool.submit(Box::new(move |py| {
            let later = Later::Streamed(Input::new(reader));
            let request = request.as_request();
            wsgi::call_from_pool(py, &wsgi.app, &wsgi.environ, &request, later);
        }));
        plan
    }

    /// A small body comes in one piece. The application gets others while they arrive.
    fn upload(&self, inbox: &Arc<Inbox>, req: &Request<'_>) -> BodyPlan {
        if declared_length(req).is_some_and(|length| length <= ONE_PIECE) {
            return BodyPlan::Buffer;
        }
        let Some(place) = inbox.place() else {
            return BodyPlan::respond(|_, res| busy(res));
        };
        if let Some(quota) = &self.quota {
            quota.count();
        }
        let upload = Upload::new(inbox);
        inbox.push(Event::Upload(req.to_owned_request(), upload.clone(), place));
        BodyPlan::stream(Sink::new(upload))
    }
}

impl WebSocketHandler for App {
    type Conn = Conn;

    fn accept_ws(&self, req: &Request<'_>, upgrade: &mut Upgrade<'_>) -> Option<Conn> {
        match &self.interface {
            Interface::Native {
                hooks: Some(hooks), ..
            } => hooks.accept(req, upgrade).then_some(Conn::Native(None)),
            Interface::Asgi(inbox) => Channel::offer(inbox, req, upgrade).map(Conn::Asgi),
            _ => None,
        }
    }

    fn handle_ws_conn(&self, ws: &mut Ws<'_, Conn>) {
        if let (Conn::Asgi(channel), mut ws) = ws.split() {
            channel.opened(&mut ws);
        } else if let Interface::Native {
            hooks: Some(hooks), ..
        } = &self.interface
        {
            *ws.conn = Conn::Native(hooks.open(ws));
        }
    }

    fn handle_ws_frame(&self, ws: &mut Ws<'_, Conn>, message: Message<'_>) {
        self.of_conn(
            ws,
            |channel, ws| channel.message(ws, message),
            |hooks, ws, object| hooks.message(ws, object, message),
        );
    }

    fn handle_ws_drain(&self, ws: &mut Ws<'_, Conn>) {
        self.of_conn(
            ws,
            // `send` of ASGI is told at the end of the turn.
            |_, _| {},
            |hooks, ws, object| hooks.drain(ws, object),
        );
    }

    fn handle_ws_disconn(&self, ws: &mut Ws<'_, Conn>, why: &Disconnect) {
        self.of_conn(
            ws,
            |channel, _| channel.closed(why),
            |hooks, ws, object| hooks.close(ws, object, why),
        );
    }
}

impl App {
    fn of_conn(
        &self,
        ws: &mut Ws<'_, Conn>,
        asgi: impl FnOnce(&Channel, &mut Ws<'_, ()>),
        native: impl FnOnce(&Hooks, &mut Ws<'_, ()>, &Py<PyWs>),
    ) {
        let (conn, mut ws) = ws.split();
        match (conn, &self.interface) {
            (Conn::Asgi(channel), _) => asgi(channel, &mut ws),
            (
                Conn::Native(Some(object)),
                Interface::Native {
                    hooks: Some(hooks), ..
                },
            ) => {
                native(hooks, &mut ws, object);
            }
            _ => {}
        }
    }
}
