//! Responses that are completed later: deferred, offloaded, streamed.

use super::recorder::{RequestRef, ResponseState};
use super::{Done, Response};
use crate::http::deferred::responder::Begun;
use crate::http::deferred::streamed_body::{BodySource, Feed, StreamedBody};
use crate::http::deferred::worker_handle::WorkerHandle;
use crate::http::deferred::{BodySender, EventSender, Responder};
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

/// Bytes that are read at a time from a reader.
const READ: usize = 16 << 10;

/// Of event streams that are not told otherwise.
const HEARTBEAT: Duration = Duration::from_secs(15);

impl Response<'_> {
    /// Defers the response: the [`Responder`] gives it later, from any thread. Status and
    /// header fields that were set until here are kept.
    ///
    /// A [`Request`](crate::Request) is a view of the connection and stays on its thread: take what you
    /// need out of it first, or all of it by [`Request::to_owned`](crate::Request::to_owned).
    pub fn defer(mut self) -> (Done, Responder) {
        let recorder = &mut *self.recorder;
        let begun = Begun {
            head: recorder.head,
            fields: self.output.since(recorder.mark)[recorder.fields_from()..].to_vec(),
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
        };
        (done, responder)
    }

    /// Lets `handle` answer on a thread of the server's pool, with a copy of the request: for what
    /// blocks, as a query of a database, a slow computation or a large file on a slow disk. It
    /// answers as any handler does; status and header fields that were set until here are kept. The
    /// request's headers and body are copied, so where a little of it is enough, [`Response::defer`]
    /// and a thread of your own are cheaper.
    ///
    /// At most [`Config::pool_threads`](crate::Config::pool_threads) run at a time and
    /// [`Config::pool_queue`](crate::Config::pool_queue) wait. Beyond that `handle` is not called, and
    /// the response is 503 with `Retry-After: 1` and the text `the server is busy`, and nothing that was
    /// set until here. It is not called either if the client has closed the connection before its turn
    /// comes, or [`Limits::response_timeout`](crate::Limits::response_timeout) has passed, which waiting in the
    /// queue counts for. A panic in it is a 500, reported as that of a handler.
    ///
    /// When the server stops, what has been taken in is answered within
    /// [`Config::stop_timeout`](crate::Config::stop_timeout); after that it is dropped, and what still runs is
    /// left to itself.
    ///
    /// ```
    /// use peregrine::{Done, Request, Response};
    ///
    /// fn handle(req: &Request<'_>, res: Response<'_>) -> Done {
    ///     match req.path() {
    ///         "/report" => res.offload(req, |req, res| match std::fs::read("Cargo.toml") {
    ///             Ok(report) => res.body(&report),
    ///             Err(error) => res.status(500).text(&format!("{}: {error}", req.path())),
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
    pub fn offload<F>(self, req: &Request<'_>, handle: F) -> Done
    where
        F: FnOnce(&Request<'_>, Response<'_>) -> Done + Send + 'static,
    {
        let Some(place) = self.recorder.handle.pool.reserve() else {
            return self.busy();
        };
        let request = req.to_owned();
        let charge = self.recorder.handle.budget.charge(request.held());
        let (done, responder) = self.defer();
        place.submit(move || {
            // As long as the request.
            let _charge = charge;
            responder.send_or_panicked(|res| handle(&request.as_request(), res));
        });
        done
    }

    /// In the place of what has been said of the response until here.
    #[cold]
    fn busy(self) -> Done {
        let recorder = &mut *self.recorder;
        self.output.truncate(recorder.mark);
        recorder.head.upgrade = false;
        if !recorder.is_late() {
            recorder.begun = 0;
        }
        self.status(503)
            .header("Retry-After", "1")
            .text("the server is busy\n")
    }

    /// Answers with a body that is sent piece by piece through the [`BodySender`], from any thread: in
    /// chunks (RFC 9112 section 7.1), or until the connection closes for an
    /// HTTP/1.0 client. The head goes out at once.
    ///
    /// The sender of a response that has no body, as to a HEAD, says [`SendError::Gone`].
    ///
    /// [`SendError::Gone`]: crate::body::SendError::Gone
    pub fn stream(self) -> (Done, BodySender) {
        self.stream_as(None)
    }

    /// As [`Response::stream`], with a declared length: exactly so many bytes are to be sent.
    pub fn stream_exact(self, len: u64) -> (Done, BodySender) {
        self.stream_as(Some(len))
    }

    /// Answers with the pieces of an iterator. Each is drawn on the worker's thread when there is
    /// room for it, a few at a time between which others get their turn; so `next` must not block.
    /// A panic in it cuts the connection.
    ///
    /// An iterator that gives empty pieces only, 64 of them, is left alone for 10 ms, in which
    /// [`Limits::response_timeout`](crate::Limits::response_timeout) goes on.
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

    /// Answers with all that a reader has, read on the worker's thread 16 KiB at a time when the
    /// client takes it. So it must not block for long: a file or a decoder will do; for a pipe or
    /// another server's answer, use [`Response::stream`] from another thread, with [`io::copy`].
    /// `len` declares how much there is; without it the response is sent in chunks. An error, or
    /// another length than was declared, cuts the connection.
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

    /// Answers with server-sent events (WHATWG HTML section 9.2), for a page's `EventSource`, as
    /// `text/event-stream`. They are sent through the [`EventSender`], from any thread.
    ///
    /// Unless the handler has set these fields, the response says `Cache-Control: no-cache,
    /// no-transform`, against caches and against proxies that compress, and `X-Accel-Buffering: no`,
    /// without which nginx holds back events until it has several kilobytes of them.
    ///
    /// After 15 s without one the worker sends a comment; see
    /// [`Response::events_with_heartbeat`].
    ///
    /// A status other than 200 tells an `EventSource` to give up, a 204 among them.
    pub fn events(self) -> (Done, EventSender) {
        self.events_with_heartbeat(HEARTBEAT)
    }

    /// As [`Response::events`], with another time without an event after which the worker sends a
    /// comment, in whole seconds from 1 on. Proxies close connections that are silent for
    /// long. A client that has disappeared is detected because it does not acknowledge the comment.
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
        let (sender, feed) = BodySender::new(handle, id, size);
        let mut body = StreamedBody::new(framing, feed);
        body.heartbeat = heartbeat;
        (self.streamed(body, len), sender)
    }

    pub(crate) fn worker_handle(&self) -> &Arc<WorkerHandle> {
        &self.recorder.handle
    }

    fn send_drawn(mut self, len: Option<u64>, source: Box<dyn BodySource>) -> Done {
        let Some(framing) = self.end_streamed_head(size(len)) else {
            return self.recorder.done(0);
        };
        let body = StreamedBody::new(framing, Feed::Drawn(Quiet::new(source)));
        self.streamed(body, len)
    }

    /// How the body is sent, if it is.
    fn end_streamed_head(&mut self, size: BodySize) -> Option<ResponseFraming> {
        if self.recorder.is_late() {
            // What it is will be seen by the thread that encodes it.
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
        // Pieces that are sent from here on must not overtake the head.
        self.recorder.post_late(0, self.output);
        Done {
            status: self.recorder.head.status,
            is_deferred: false,
            body_bytes: len.unwrap_or(0),
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
