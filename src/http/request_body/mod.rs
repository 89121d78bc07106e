//! Plans and sinks for request bodies that are not gathered first.

pub(crate) mod flow;
mod reader;

pub use reader::BodyReader;

use super::request::Request;
use super::response::{Done, Response};
use crate::http::deferred::pending::StreamIds;
use crate::http::deferred::worker_handle::{WorkerCommand, WorkerHandle};
use crate::shared::id::{ConnId, RequestId};
use flow::Flow;
use std::sync::Arc;

/// What shall become of the body of a request; see
/// [`Handler::body_plan`](crate::Handler::body_plan).
#[non_exhaustive]
pub enum BodyPlan {
    /// Gathers it in memory, up to [`Limits::body_bytes`](crate::Limits::body_bytes): then
    /// `handle_request` is called with all of it.
    Buffer,
    /// Gathers it in memory, up to so many bytes; above, 413 before it is read where its length is
    /// declared.
    BufferUpTo(usize),
    /// Hands it to a sink piece by piece as it arrives, up to so many bytes in all; above, 413. The
    /// sink answers the request in the place of `handle_request`.
    Stream(Box<dyn BodySink>, u64),
    /// Calls `handle_request` at once, without the body, for a response that does not depend on it.
    /// The body is thrown away if it is short ([`Limits::linger_bytes`]), and otherwise the
    /// connection closes.
    ///
    /// [`Limits::linger_bytes`]: crate::Limits::linger_bytes
    Unread,
    /// Refuses the request with this status, 400 to 599, and closes the connection: 403, 404, 411,
    /// 413, 415 or 417 for the most part. No byte of the body is waited for. The response is that of
    /// [`Handler::error_response`](crate::Handler::error_response).
    ///
    /// A 401 has to say `WWW-Authenticate`, a 405 `Allow` and a 426 `Upgrade` (RFC 9110 sections
    /// 15.5.2, 15.5.6 and 15.5.22): those are for [`BodyPlan::respond`].
    Refuse(u16),
    /// As [`BodyPlan::Refuse`], with a response of the handler's own; made by [`BodyPlan::respond`].
    Respond(Respond),
}

/// Answers a request whose body is not wanted; see [`BodyPlan::respond`].
pub type Respond = Box<dyn FnOnce(&Request<'_>, Response<'_>) -> Done + Send>;

impl BodyPlan {
    /// Answers at once with what `respond` says, of any status, and closes the connection. No byte of
    /// the body is waited for. It is called instead of `handle_request`, with the request without its
    /// body; a panic in it is a 500.
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
    pub fn respond(
        respond: impl FnOnce(&Request<'_>, Response<'_>) -> Done + Send + 'static,
    ) -> BodyPlan {
        BodyPlan::Respond(Box::new(respond))
    }

    /// [`BodyPlan::Stream`] without a limit but the sink's own: it can end the body at any time with
    /// [`Flow::Respond`].
    pub fn stream(sink: impl BodySink) -> BodyPlan {
        BodyPlan::Stream(Box::new(sink), u64::MAX)
    }
}

impl std::fmt::Debug for BodyPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BodyPlan::Buffer => f.write_str("Buffer"),
            BodyPlan::BufferUpTo(most) => f.debug_tuple("BufferUpTo").field(most).finish(),
            BodyPlan::Stream(_, most) => f.debug_tuple("Stream").field(most).finish(),
            BodyPlan::Unread => f.write_str("Unread"),
            BodyPlan::Refuse(status) => f.debug_tuple("Refuse").field(status).finish(),
            BodyPlan::Respond(_) => f.write_str("Respond"),
        }
    }
}

/// Takes the body of one request as it arrives. Runs on the worker's event loop, so what it does
/// with a piece must not block for long; memory is bounded by the size of a piece, at most 64 KiB.
///
/// It is dropped without [`BodySink::finish`] when the body never becomes complete: the client has
/// gone, has been too slow, or has broken the protocol. Then whatever it has begun should be undone.
/// A panic in it is a 500 and closes the connection.
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
///         res.text(&self.0.to_string())
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
    /// Takes the next piece, of at least one byte.
    fn piece(&mut self, piece: &[u8], body: &mut Incoming<'_>) -> Flow;

    /// Answers the request: the body is complete, or the sink has asked to answer without the rest
    /// of it. `req` is the request without its body.
    fn finish(self: Box<Self>, req: &Request<'_>, res: Response<'_>) -> Done;
}

/// The body that a [`BodySink`] is being given.
pub struct Incoming<'a> {
    pub(crate) received: u64,
    pub(crate) handle: &'a Arc<WorkerHandle>,
    pub(crate) conn: ConnId,
    /// Of the request, once it has one.
    pub(crate) id: &'a mut Option<RequestId>,
    pub(crate) ids: &'a mut StreamIds,
}

impl Incoming<'_> {
    /// Bytes of the body that have been handed over, this piece included.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// What ends a [`Flow::Pause`], from any thread.
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
    /// The sink gets further pieces. Does nothing if it has not paused.
    pub fn resume(&self) {
        self.handle
            .post(WorkerCommand::Resume(self.id, Flow::Continue));
    }

    /// The sink is asked for its answer at once, paused or not, as by [`Flow::Respond`].
    pub fn respond(&self) {
        self.handle
            .post(WorkerCommand::Resume(self.id, Flow::Respond));
    }

    /// The request is over, or its client has gone.
    pub fn is_gone(&self) -> bool {
        !self.handle.is_waited_for(self.id)
    }
}
