//! Responses that are completed later: deferred, offloaded, streamed.

use super::recorder::{RequestRef, ResponseState};
use super::{Done, Response};
use crate::http::deferred::responder::Begun;
use crate::http::deferred::streamed_body::{BodySource, Feed, StreamedBody};
use crate::http::deferred::worker_handle::WorkerHandle;
use crate::http::deferred::{BodySender, EventSender, Responder};
use crate::http::handler_error::HandlerResult;
use crate::http::request::Request;
use crate::shared::id::RequestId;
use crate::shared::panic_guard::Quiet;
use peregrine_protocol::field_line;
use peregrine_protocol::h1::response_encoder::{Coding, ResponseFraming};
use peregrine_protocol::http::response::BodySize;
use peregrine_protocol::payload::Payload;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

/// The bytes that are read from a reader at a time.
const READ: usize = 16 << 10;

/// The default interval of heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(15);

impl Response<'_> {
    /// Defers the response: the [`Responder`] sends it later, from any thread. Status and header fields that
    /// were set before are kept.
    ///
    /// A [`Request`](crate::Request) is a view of the connection and stays on its thread. Copy the parts that
    /// you need first, or copy all of it by [`Request::to_owned_request`](crate::Request::to_owned_request).
    #[doc(alias = "async")]
    pub fn defer(mut self) -> (Done, Responder) {
        let fields = self.fields_so_far().to_vec();
        let recorder = &mut *self.recorder;
        let begun = Begun {
            head: recorder.head,
            fields,
            filters: std::mem::take(&mut recorder.filters),
            // The connection keeps it too, for the case that no response comes.
            always: recorder.always.clone(),
        };
        self.output.truncate(recorder.mark);
        if recorder.fault.is_some() {
            // The failure is posted before the responder exists, so no response can overtake it.
            recorder.post_late(0, self.output);
        }
        let id = self.id();
        let responder = Responder::new(self.recorder.handle.clone(), id, self.recorder.mode, begun);
        self.recorder.state = ResponseState::Deferred;
        let done = Done {
            status: self.recorder.head.status,
            is_deferred: true,
            body_bytes: 0,
            has_length: false,
        };
        (done, responder)
    }

    /// Calls `handle`, which may return an error, and responds as for a closure that is a handler: `?` works in it, and what
    /// it had begun is taken back. It is for functions that return [`Done`]: [`Handler::handle_request`](crate::Handler::handle_request),
    /// [`BodySink::finish`](crate::body::BodySink::finish).
    ///
    /// ```
    /// use peregrine::body::{BodySink, Flow, Incoming};
    /// use peregrine::error::BoxError;
    /// use peregrine::{Done, Request, Response};
    ///
    /// struct Number(Vec<u8>);
    ///
    /// impl BodySink for Number {
    ///     fn piece(&mut self, piece: &[u8], _: &mut Incoming<'_>) -> Flow {
    ///         self.0.extend(piece.iter().take(20 - self.0.len()));
    ///         Flow::Continue
    ///     }
    ///
    ///     fn finish(self: Box<Self>, req: &Request<'_>, res: Response<'_>) -> Done {
    ///         res.attempt(req, |res| -> Result<Done, BoxError> {
    ///             let number: i64 = std::str::from_utf8(&self.0)?.parse()?;
    ///             Ok(res.text((2 * number).to_string()))
    ///         })
    ///     }
    /// }
    /// # use peregrine::{BodyPlan, Router, router::Route, testing::post};
    /// # let route = Route::post("/", |_, res| res.text("")).body_plan(|_| BodyPlan::stream(Number(Vec::new())));
    /// # let app = Router::new().route(route);
    /// # assert_eq!(post(&app, "/", "21").text(), "42");
    /// # assert_eq!(post(&app, "/", "many").status(), 500);
    /// ```
    pub fn attempt<F, R>(mut self, req: &Request<'_>, handle: F) -> Done
    where
        F: FnOnce(Response<'_>) -> R,
        R: HandlerResult,
    {
        let result = handle(self.reborrow());
        result.settle(req, self)
    }

    /// Runs `handle` on a thread of the server's pool, with a copy of the request. It is for work that
    /// blocks: a database query, a slow computation, a large file on a slow disk. `handle` works like any
    /// handler; status and header fields that were set before are kept. The header fields and the body of the
    /// request are copied. If a small part of them is enough, [`Response::defer`] with a thread of your own
    /// is cheaper.
    ///
    /// At most [`Config::pool_threads`](crate::Config::pool_threads) run at a time and
    /// [`Config::pool_queue`](crate::Config::pool_queue) wait. Above that `handle` is not called, and the
    /// response is 503 with `Retry-After: 1` and the text `the server is busy`, without the fields that were
    /// set before, but with those of [`Response::header_always`]. `handle` is also not called if the client has disconnected while the request waited, or if
    /// [`Limits::response_timeout`](crate::Limits::response_timeout) has passed; the time in the queue
    /// counts. If it panics, the client gets 500, and the panic is reported like that of a handler.
    ///
    /// When the server stops, accepted jobs may finish within
    /// [`Config::stop_timeout`](crate::Config::stop_timeout). After that, waiting jobs are dropped, and the
    /// server does not wait for those that run.
    ///
    /// ```
    /// use peregrine::{Done, Request, Response};
    ///
    /// fn handle(req: &Request<'_>, res: Response<'_>) -> Done {
    ///     match req.path() {
    ///         "/report" => res.offload(req, |req, res| match std::fs::read("Cargo.toml") {
    ///             Ok(report) => res.body(&report),
    ///             Err(error) => res.status(500).text(format!("{}: {error}", req.path())),
    ///         }),
    ///         _ => res.status(404).text("nothing here"),
    ///     }
    /// }
    /// # let app = peregrine::from_fn(handle);
    /// # let mut client = peregrine::testing::Connection::new(&app);
    /// # client.send(b"GET /report HTTP/1.1\r\nHost: a\r\n\r\n");
    /// # assert!(client.wait(std::time::Duration::from_secs(60)));
    /// # assert!(client.received().starts_with(b"HTTP/1.1 200 OK\r\n"));
    /// ```
    #[doc(alias("spawn_blocking", "thread_pool", "blocking"))]
    pub fn offload<F, R>(self, req: &Request<'_>, handle: F) -> Done
    where
        F: FnOnce(&Request<'_>, Response<'_>) -> R + Send + 'static,
        R: HandlerResult,
    {
        let Some(place) = self.recorder.handle.pool.reserve() else {
            return self.busy();
        };
        let request = req.to_owned_request();
        let charge = self.recorder.handle.budget.charge(request.held());
        let (done, responder) = self.defer();
        place.submit(move || {
            // As large as the request.
            let _charge = charge;
            let request = request.as_request();
            responder.send_or_panicked(|mut res| {
                let result = handle(&request, res.reborrow());
                result.settle(&request, res)
            });
        });
        done
    }

    /// Replaces the status and the fields that were set before.
    #[cold]
    pub(crate) fn busy(self) -> Done {
        let recorder = &mut *self.recorder;
        self.output.truncate(recorder.mark);
        recorder.head.upgrade = false;
        if !recorder.is_recorded() {
            recorder.begun = 0;
        }
        recorder.begin_always(self.output);
        self.status(503)
            .header("Retry-After", "1")
            .text("the server is busy\n")
    }

    /// Sends the head now and the body later, piece by piece, through the [`BodySender`], from any thread.
    /// The body is chunked (RFC 9112 section 7.1); for an HTTP/1.0 client the close of the connection ends
    /// it.
    ///
    /// If the response has no body, as one to a HEAD, the sender returns [`SendError::Gone`].
    ///
    /// [`SendError::Gone`]: crate::body::SendError::Gone
    #[doc(alias = "chunked")]
    pub fn stream(self) -> (Done, BodySender) {
        self.stream_as(None)
    }

    /// Sends the head with `Content-Length: len` now and the body later, piece by piece, from any thread.
    /// Exactly `len` bytes have to be sent. [`Response::stream`] is for a length that is not known.
    pub fn stream_exact(self, len: u64) -> (Done, BodySender) {
        self.stream_as(Some(len))
    }

    /// Sends the pieces of an iterator as the body. `next` is called on the thread of the worker when there
    /// is room, a few times in a turn, so it must not block. If it panics, the connection is closed.
    ///
    /// After 64 empty pieces in a row the iterator is not called for 10 ms.
    /// [`Limits::response_timeout`](crate::Limits::response_timeout) continues in this time.
    ///
    /// ```
    /// # use peregrine::{Done, Request, Response};
    /// fn handle(_: &Request<'_>, res: Response<'_>) -> Done {
    ///     res.send_iter((1..=1_000_000).map(|n| format!("{n}\n")))
    /// }
    /// # let app = peregrine::from_fn(handle);
    /// # let mut client = peregrine::testing::Connection::new(&app);
    /// # client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    /// # assert!(client.received().ends_with(b"\r\n8\r\n1000000\n\r\n0\r\n\r\n"));
    /// ```
    pub fn send_iter<I>(self, pieces: I) -> Done
    where
        I: IntoIterator,
        I::IntoIter: Send + 'static,
        I::Item: Into<Payload>,
    {
        let pieces = pieces.into_iter();
        self.send_drawn(None, Box::new(Pieces(pieces)))
    }

    /// Sends all bytes of a reader as the body. The reader is read on the thread of the worker, 16 KiB at a
    /// time, when there is room. So it must not block for long. A file or a decoder is suitable; for a pipe
    /// or the response of another server, use [`Response::stream`] on another thread, with [`io::copy`].
    /// `len` declares the length; without it the body is chunked. If the read fails or the length differs,
    /// the connection is closed.
    ///
    /// ```
    /// # use peregrine::{Done, Request, Response};
    /// fn handle(_: &Request<'_>, res: Response<'_>) -> Done {
    ///     let zeros = std::io::Read::take(std::io::repeat(b'0'), 1 << 20);
    ///     res.send_reader(zeros, Some(1 << 20))
    /// }
    /// # let app = peregrine::from_fn(handle);
    /// # let mut client = peregrine::testing::Connection::new(&app);
    /// # client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    /// # assert!(client.received().len() > 1 << 20);
    /// ```
    pub fn send_reader(self, reader: impl Read + Send + 'static, len: Option<u64>) -> Done {
        self.send_drawn(len, Box::new(Reader(reader)))
    }

    /// Sends a stream of server-sent events (WHATWG HTML section 9.2) for the `EventSource` of a page, as
    /// `text/event-stream`. The [`EventSender`] sends the events, from any thread.
    ///
    /// Unless the handler has set these fields, the response has `Cache-Control: no-cache, no-transform`,
    /// against caches and against proxies that compress, and `X-Accel-Buffering: no`. Without the latter
    /// nginx holds back events until it has several kilobytes of them.
    ///
    /// After 15 s without an event the worker sends a comment; see [`Response::events_with_heartbeat`].
    ///
    /// With any status other than 200, including 204, an `EventSource` does not connect again.
    #[doc(alias("sse", "server_sent_events"))]
    pub fn events(self) -> (Done, EventSender) {
        self.events_with_heartbeat(HEARTBEAT)
    }

    /// Sends a stream of server-sent events, as [`Response::events`] does, with another interval for comments.
    /// It is in whole seconds, at least 1. The worker sends a comment after this time without an event, because proxies close connections that are silent
    /// for long. A client that has disappeared is detected because it does not acknowledge the comment.
    pub fn events_with_heartbeat(self, heartbeat: Duration) -> (Done, EventSender) {
        let response = self
            .default_field(field_line!("Content-Type", "text/event-stream"))
            .default_field(field_line!("Cache-Control", "no-cache, no-transform"))
            .default_field(field_line!("X-Accel-Buffering", "no"));
        let (done, body) = response.stream_with(None, Some(heartbeat));
        (done, EventSender::new(body))
    }

    fn stream_as(self, len: Option<u64>) -> (Done, BodySender) {
        self.stream_with(len, None)
    }

    fn stream_with(mut self, len: Option<u64>, heartbeat: Option<Duration>) -> (Done, BodySender) {
        let size = size(len);
        let handle = self.recorder.handle.clone();
        let Some(framing) = self.end_streamed_head(size) else {
            return (self.recorder.done(0), BodySender::disconnected(handle));
        };
        let id = self.id();
        let (sender, feed) = BodySender::new(handle, id, size, self.recorder.mode.version);
        let mut body = StreamedBody::new(framing, feed);
        body.heartbeat = heartbeat;
        (self.streamed(body, len), sender)
    }

    pub(crate) fn worker_handle(&self) -> &Arc<WorkerHandle> {
        &self.recorder.handle
    }

    pub(super) fn send_drawn(mut self, len: Option<u64>, source: Box<dyn BodySource>) -> Done {
        let Some(framing) = self.end_streamed_head(size(len)) else {
            return self.recorder.done(0);
        };
        let body = StreamedBody::new(framing, Feed::Drawn(Quiet::new(source)));
        self.streamed(body, len)
    }

    /// How the body is sent, if it is.
    fn end_streamed_head(&mut self, size: BodySize) -> Option<ResponseFraming> {
        if self.recorder.is_recorded() {
            // The thread that encodes the response decides the framing.
            let framing = ResponseFraming {
                coding: Some(Coding::Close),
                close: true,
            };
            return self.recorder.record(size, self.output).then_some(framing);
        }
        let framing = self.recorder.encode_end(size, self.output);
        self.recorder.head.close = framing.close;
        framing.coding.is_some().then_some(framing)
    }

    fn streamed(self, body: StreamedBody, len: Option<u64>) -> Done {
        self.recorder.body = Some(Box::new(body));
        self.recorder.state = ResponseState::Streamed;
        // Later pieces must not overtake the head.
        self.recorder.post_late(0, self.output);
        Done {
            status: self.recorder.head.status,
            is_deferred: false,
            body_bytes: len.unwrap_or(0),
            has_length: len.is_some(),
        }
    }

    /// The identifier by which other threads name this request.
    fn id(&mut self) -> RequestId {
        match self.recorder.request {
            RequestRef::Late(id) => id,
            RequestRef::Turn(conn) => self.recorder.enter(conn),
        }
    }
}

fn size(declared: Option<u64>) -> BodySize {
    declared.map_or(BodySize::Unknown, BodySize::Known)
}

struct Pieces<I>(I);

impl<I> BodySource for Pieces<I>
where
    I: Iterator + Send,
    I::Item: Into<Payload>,
{
    fn draw(&mut self) -> io::Result<Option<Payload>> {
        Ok(self.0.next().map(Into::into))
    }
}

struct Reader<R>(R);

impl<R: Read + Send> BodySource for Reader<R> {
    fn draw(&mut self) -> io::Result<Option<Payload>> {
        let mut piece = vec![0; READ];
        loop {
            match self.0.read(&mut piece) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(0) => return Ok(None),
                Ok(n) => {
                    piece.truncate(n);
                    return Ok(Some(piece.into()));
                }
            }
        }
    }
}
