//! Plans and sinks for request bodies that are not buffered first.

pub(crate) mod around;
pub(crate) mod flow;
#[cfg(feature = "multipart")]
mod form;
mod reader;

pub use reader::BodyReader;

use super::request::Request;
use super::response::{Done, Response};
use crate::http::deferred::pending::StreamIds;
use crate::http::deferred::worker_handle::{WorkerCommand, WorkerHandle};
use crate::http::handler_error::HandlerResult;
use crate::shared::id::{ConnId, RequestId};
use flow::Flow;
use std::sync::Arc;

/// How the server treats the body of a request; see [`Handler::body_plan`](crate::Handler::body_plan).
#[non_exhaustive]
pub enum BodyPlan {
    /// Reads the body into memory, up to [`Limits::body_bytes`](crate::Limits::body_bytes). Then
    /// `handle_request` is called with the whole body. A larger body gets 413.
    Buffer,
    /// As [`BodyPlan::Buffer`], with this limit in bytes. If the declared length is larger, the client gets
    /// 413 before the body is read.
    BufferUpTo(usize),
    /// Passes the body in pieces to a sink as they arrive, up to
    /// [`Limits::stream_bytes`](crate::Limits::stream_bytes) in all; 413 above. The sink responds instead of
    /// `handle_request`.
    Stream(Box<dyn BodySink>),
    /// As [`BodyPlan::Stream`], up to this number of bytes; 413 above. `u64::MAX` means no limit.
    StreamUpTo(Box<dyn BodySink>, u64),
    /// Calls `handle_request` at once, without the body, for a response that does not depend on it. A body of
    /// up to [`Limits::linger_bytes`] is read and discarded. With a longer one the connection is closed.
    ///
    /// [`Limits::linger_bytes`]: crate::Limits::linger_bytes
    Unread,
    /// Refuses the request with this status, 400 to 599, and closes the connection. Usual are 403, 404, 411,
    /// 413, 415 and 417. The body is not read. The response is that of
    /// [`Handler::error_response`](crate::Handler::error_response).
    ///
    /// A 401 needs the field `WWW-Authenticate`, a 405 `Allow` and a 426 `Upgrade` (RFC 9110 sections 15.5.2,
    /// 15.5.6 and 15.5.22). Use [`BodyPlan::respond`] for them.
    Refuse(u16),
    /// As [`BodyPlan::Refuse`], with a response of the program. [`BodyPlan::respond`] makes it.
    Respond(Respond),
}

/// Responds to a request whose body is not read; see [`BodyPlan::respond`].
pub type Respond = Box<dyn FnOnce(&Request<'_>, Response<'_>) -> Done + Send>;

impl BodyPlan {
    /// Responds at once with the response of `respond`, which may have any status, and closes the connection.
    /// The body is not read. `respond` is called instead of `handle_request`, with the request without its
    /// body. If it panics, the client gets 500.
    ///
    /// ```
    /// use peregrine::{BodyPlan, Request};
    ///
    /// fn body_plan(req: &Request<'_>) -> BodyPlan {
    ///     match req.method() {
    ///         "PUT" => BodyPlan::Buffer,
    ///         _ => BodyPlan::respond(|_, res| res.status(405).header("Allow", "PUT").text("no\n")),
    ///     }
    /// }
    /// ```
    pub fn respond<F, R>(respond: F) -> BodyPlan
    where
        F: FnOnce(&Request<'_>, Response<'_>) -> R + Send + 'static,
        R: HandlerResult,
    {
        BodyPlan::Respond(Box::new(|req, mut res| {
            let result = respond(req, res.reborrow());
            result.settle(req, res)
        }))
    }

    /// Makes a [`BodyPlan::Stream`]. The sink can end the body at any time with [`Flow::Respond`].
    pub fn stream(sink: impl BodySink) -> BodyPlan {
        BodyPlan::Stream(Box::new(sink))
    }

    /// Makes a [`BodyPlan::StreamUpTo`].
    pub fn stream_up_to(sink: impl BodySink, most: u64) -> BodyPlan {
        BodyPlan::StreamUpTo(Box::new(sink), most)
    }
}

impl std::fmt::Debug for BodyPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BodyPlan::Buffer => f.write_str("Buffer"),
            BodyPlan::BufferUpTo(most) => f.debug_tuple("BufferUpTo").field(most).finish(),
            BodyPlan::Stream(_) => f.write_str("Stream"),
            BodyPlan::StreamUpTo(_, most) => f.debug_tuple("StreamUpTo").field(most).finish(),
            BodyPlan::Unread => f.write_str("Unread"),
            BodyPlan::Refuse(status) => f.debug_tuple("Refuse").field(status).finish(),
            BodyPlan::Respond(_) => f.write_str("Respond"),
        }
    }
}

/// Receives the body of one request as it arrives. It runs on the event loop of a worker, so it must not
/// block for long: on a slow disk use [`BodyReader`], which moves the work to another thread. A piece has at
/// most 64 KiB, which bounds the memory.
///
/// It is dropped without a call of [`BodySink::finish`] if the body never becomes complete: the client has
/// disconnected, was too slow, or violated the protocol. Its drop should then undo what it has begun. If it
/// panics, the client gets 500 and the connection is closed.
///
/// ```
/// use peregrine::{BodyPlan, Done, Handler, Request, Response};
/// use peregrine::body::{BodySink, Flow, Incoming};
///
/// struct Sum(u64);
///
/// impl BodySink for Sum {
///     fn piece(&mut self, piece: &[u8], _: &mut Incoming<'_>) -> Flow {
///         self.0 += piece.iter().map(|&b| u64::from(b)).sum::<u64>();
///         Flow::Continue
///     }
///
///     fn finish(self: Box<Self>, _: &Request<'_>, res: Response<'_>) -> Done {
///         res.text(self.0.to_string())
///     }
/// }
///
/// struct App;
///
/// impl Handler for App {
///     fn body_plan(&self, req: &Request<'_>) -> BodyPlan {
///         match req.path() {
///             "/sum" => BodyPlan::stream(Sum(0)),
///             _ => BodyPlan::Refuse(404),
///         }
///     }
///
///     fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
///         res.text("send me something")
///     }
/// }
/// # let mut client = peregrine::testing::Connection::new(&App);
/// # client.send(b"POST /sum HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n\x01\x02\x03");
/// # assert!(client.received().ends_with(b"\r\n\r\n6"));
/// ```
pub trait BodySink: Send + 'static {
    /// Called once, before the first piece, on the thread that has asked for the plan. [`Incoming::received`] is 0. A sink that may
    /// respond before a piece has come keeps an [`Incoming::resumer`] here. The body may still be refused, because its
    /// declared length is too large; the sink is dropped then. Default: nothing.
    fn begin(&mut self, body: &mut Incoming<'_>) {
        let _ = body;
    }

    /// Receives the next piece, of at least one byte.
    fn piece(&mut self, piece: &[u8], body: &mut Incoming<'_>) -> Flow;

    /// Responds to the request: the body is complete, or the sink has ended it by [`Flow::Respond`]. `req` is
    /// the request without its body.
    fn finish(self: Box<Self>, req: &Request<'_>, res: Response<'_>) -> Done;
}

/// The state of the body that a [`BodySink`] receives.
pub struct Incoming<'a> {
    pub(crate) received: u64,
    pub(crate) handle: &'a Arc<WorkerHandle>,
    pub(crate) conn: ConnId,
    /// The identifier of the request, if it has one yet.
    pub(crate) id: &'a mut Option<RequestId>,
    pub(crate) ids: &'a mut StreamIds,
}

impl Incoming<'_> {
    /// Bytes of the body until now, this piece included.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Returns a handle that ends a [`Flow::Pause`], from any thread.
    pub fn resumer(&mut self) -> Resumer {
        let (handle, conn, ids) = (self.handle, self.conn, &mut *self.ids);
        let id = *self.id.get_or_insert_with(|| handle.enter(conn, ids));
        Resumer {
            handle: handle.clone(),
            id,
        }
    }
}

impl std::fmt::Debug for Incoming<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Incoming")
            .field("received", &self.received)
            .finish_non_exhaustive()
    }
}

/// Continues a [`BodySink`] that has paused; see [`Incoming::resumer`]. It has no effect after its request
/// has ended.
#[derive(Clone, Debug)]
pub struct Resumer {
    handle: Arc<WorkerHandle>,
    id: RequestId,
}

impl Resumer {
    /// Lets the sink receive further pieces. Does nothing if it has not paused.
    pub fn resume(&self) {
        self.handle
            .post(WorkerCommand::Resume(self.id, Flow::Continue));
    }

    /// Lets the sink respond at once, paused or not, as by [`Flow::Respond`].
    pub fn respond(&self) {
        self.handle
            .post(WorkerCommand::Resume(self.id, Flow::Respond));
    }

    /// Whether the request is over, or its client has disconnected.
    pub fn is_gone(&self) -> bool {
        !self.handle.is_waited_for(self.id)
    }
}
