//! `Response`: how a handler responds.

pub(crate) mod always;
mod apart;
#[cfg(any(test, feature = "internals"))]
pub(crate) mod check;
mod deferred;
pub(crate) mod error;
mod error_context;
mod fields;
pub(crate) mod filter;
mod filtering;
#[cfg(feature = "json")]
mod json;
#[cfg_attr(
    not(feature = "dir"),
    expect(dead_code, reason = "files alone use all of it")
)]
pub(crate) mod prepared;
mod recorder;
mod restart;

pub use error_context::ErrorContext;
pub use prepared::PreparedResponse;
pub(crate) use recorder::ResponseRecorder;

use super::access_entry::PendingEntry;
#[cfg(feature = "websocket")]
use super::deferred::handshake::Handshake;
use super::request::route::RoutePattern;
use crate::shared::memory_budget::MemoryBudget;
use crate::shared::output::{FilePart, Output};
use error::ResponseError;
use peregrine_protocol::field_line;
#[cfg(feature = "websocket")]
use peregrine_protocol::h1::response_encoder as encode;
use peregrine_protocol::h1::usual_response;
use peregrine_protocol::http::response::{BodySize, ResponseHead};
use peregrine_protocol::payload::Payload;
use peregrine_protocol::syntax;
use recorder::ResponseState;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// Proof that a handler has responded. Only the methods of [`Response`] that send it make one. So a branch of
/// a handler without a response does not compile, and neither does a branch with two:
///
/// ```compile_fail
/// # use peregrine::{Done, Request, Response};
/// fn handle(req: &Request<'_>, res: Response<'_>) -> Done {
///     if req.path() == "/" {
///         res.body("home");
///     }
///     res.status(404).body("nothing here") // error: use of moved value
/// }
/// ```
#[must_use = "return it from the handler"]
#[derive(Debug)]
pub struct Done {
    status: u16,
    is_deferred: bool,
    /// 0 if it is not known.
    body_bytes: u64,
    has_length: bool,
}

impl Done {
    /// The status of the response, for a log. If the response cannot be sent, the client gets 500 instead;
    /// see [`ResponseError`].
    #[doc(alias = "status_code")]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Whether the response comes later ([`Response::defer`]), so that its status and its body are not known
    /// yet.
    pub fn is_deferred(&self) -> bool {
        self.is_deferred
    }

    /// Bytes of the body that follow the head: 0 in a response to HEAD. `None` if the length is not known yet:
    /// for a response that comes later, or is streamed without a declared length.
    pub fn body_bytes(&self) -> Option<u64> {
        self.has_length.then_some(self.body_bytes)
    }

    /// As [`Done::body_bytes`], with 0 for a length that is not known yet.
    pub(crate) fn known_bytes(&self) -> u64 {
        self.body_bytes
    }
}

/// The response to one request. It is written directly into the output of the connection.
///
/// `Content-Length`, `Transfer-Encoding`, `Connection`, `Keep-Alive`, `Proxy-Connection`, `Date` and
/// `Server` belong to the library. [`Response::header`] omits them, and a debug build writes a warning to `log` or `tracing`, or else to standard error. [`Response::close`] sends
/// `Connection: close`. The body is omitted in a response to HEAD, and in a 204, 205 or 304 (RFC 9110 sections 9.3.2 and 15).
///
/// Each of these methods ends the response:
///
/// | method | the body | `Content-Length` |
/// |---|---|---|
/// | [`text`](Response::text), [`html`](Response::html), [`body`](Response::body), [`body_as`](Response::body_as) | bytes, copied | yes |
/// | [`send`](Response::send) | an owned or shared [`Payload`]; 16 KiB or more are not copied | yes |
/// | [`send_prepared`](Response::send_prepared) | a whole response that was built once | yes |
/// | [`write_with`](Response::write_with) | written by a closure into the output of the connection, before it returns | yes |
/// | [`send_file`](Response::send_file) | a part of a file, read when the client takes it | yes |
/// | [`redirect`](Response::redirect), [`redirect_local`](Response::redirect_local) | none | 0 |
/// | [`send_iter`](Response::send_iter) | pieces of an iterator, drawn on the worker when the client takes them | no: chunks |
/// | [`send_reader`](Response::send_reader) | read on the worker when the client takes it | if it is declared |
/// | [`stream`](Response::stream), [`stream_exact`](Response::stream_exact) | pieces from any thread, which can wait for the client | no: chunks; yes |
/// | [`events`](Response::events) | server-sent events from any thread | no: chunks |
/// | [`defer`](Response::defer) | any of these, later, from any thread | as there |
/// | [`offload`](Response::offload) | any of these, on a thread of the pool: for code that blocks | as there |
///
/// No method waits for the client on the event loop.
///
/// ```
/// use peregrine::{Done, Request, Response};
///
/// fn handle(_: &Request<'_>, res: Response<'_>) -> Done {
///     res.status(201).header("location", "/notes/1").text("noted")
/// }
/// # let app = peregrine::from_fn(handle);
/// # let mut client = peregrine::testing::Connection::new(&app);
/// # client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
/// # assert!(client.received().starts_with(b"HTTP/1.1 201 Created\r\n"));
/// # assert!(client.received().ends_with(b"location: /notes/1\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 5\r\n\r\nnoted"));
/// ```
#[must_use = "respond with `body`, `text`, `send`, `write_with` or `redirect`"]
pub struct Response<'a> {
    recorder: &'a mut ResponseRecorder,
    /// The recorder of the connection, or that of a deferred response.
    output: &'a mut Output,
}

impl<'a> Response<'a> {
    /// Sets the status (RFC 9110 section 15), from 200 to 599. Default: 200. Any other number is a
    /// [`ResponseError::Status`].
    pub fn status(self, status: u16) -> Response<'a> {
        self.recorder.set_status(status, self.output);
        self
    }

    /// Makes this the last response of its connection (RFC 9112 section 9.6).
    #[doc(alias = "connection_close")]
    pub fn close(self) -> Response<'a> {
        self.recorder.head.close = true;
        self
    }

    /// Sends these bytes, which are copied. No `Content-Type` is added.
    #[doc(alias = "bytes")]
    #[inline]
    pub fn body(self, body: impl AsRef<[u8]>) -> Done {
        let Response { recorder, output } = self;
        let body = body.as_ref();
        let len = body.len() as u64;
        let sent = recorder.end_head(BodySize::Known(len), output);
        if sent {
            output.push(body);
        }
        recorder.done(if sent { len } else { 0 })
    }

    /// Sends bytes of this media type: [`Response::header`] with `Content-Type`, and [`Response::body`], at less cost.
    ///
    /// ```
    /// use peregrine::{Done, Request, Response};
    ///
    /// fn handle(_: &Request<'_>, res: Response<'_>) -> Done {
    ///     res.body_as("text/csv", "1;2\n")
    /// }
    /// # let response = peregrine::testing::get(&peregrine::from_fn(handle), "/");
    /// # assert_eq!(response.header("content-type"), Some("text/csv"));
    /// # assert_eq!(response.text(), "1;2\n");
    /// ```
    #[doc(alias("content_type", "mime"))]
    #[inline]
    pub fn body_as(self, content_type: impl AsRef<[u8]>, body: impl AsRef<[u8]>) -> Done {
        let (kind, body) = (content_type.as_ref(), body.as_ref());
        match self.recorder.is_usual() && syntax::is_field_value(kind) {
            true => self.body_as_usual(kind, body),
            false => self.body_as_field(kind, body),
        }
    }

    #[inline(always)]
    fn body_as_usual(self, kind: &[u8], body: &[u8]) -> Done {
        let Response { recorder, output } = self;
        let template = recorder.encoder.template(ResponseHead::OK.status);
        output.push_with(|out| usual_response::push(template, kind, body, out));
        recorder.done(body.len() as u64)
    }

    #[inline(never)]
    fn body_as_field(self, kind: &[u8], body: &[u8]) -> Done {
        self.header("Content-Type", kind).body(body)
    }

    /// Sends text, as `text/plain; charset=utf-8` unless `Content-Type` was set.
    #[doc(alias("string", "respond"))]
    pub fn text(self, text: impl AsRef<str>) -> Done {
        self.typed(
            field_line!("Content-Type", "text/plain; charset=utf-8"),
            text.as_ref(),
        )
    }

    /// Sends a page, as `text/html; charset=utf-8` unless `Content-Type` was set.
    pub fn html(self, page: impl AsRef<str>) -> Done {
        self.typed(
            field_line!("Content-Type", "text/html; charset=utf-8"),
            page.as_ref(),
        )
    }

    /// Not inlined into each handler.
    #[inline(never)]
    fn typed(self, content_type: &'static [u8], text: &str) -> Done {
        self.default_field(content_type).body(text)
    }

    /// Sends a payload. One of 16 KiB or more is not copied.
    ///
    /// ```
    /// use peregrine::{Done, Request, Response};
    /// use std::sync::Arc;
    ///
    /// fn handle(picture: &Arc<[u8]>, _: &Request<'_>, res: Response<'_>) -> Done {
    ///     res.header("content-type", "image/png").send(picture.clone())
    /// }
    /// # let picture: Arc<[u8]> = Arc::from(*b"png");
    /// # let app = peregrine::from_fn(move |req, res| handle(&picture, req, res));
    /// # let mut client = peregrine::testing::Connection::new(&app);
    /// # client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    /// # assert!(client.received().ends_with(b"\r\n\r\npng"));
    /// ```
    pub fn send(self, payload: impl Into<Payload>) -> Done {
        let payload = payload.into();
        self.send_pieces(payload.len() as u64, |output| output.push_payload(payload))
    }

    /// Sends a part of a file: the bytes of `range`, which must exist. They are read when they are sent, at
    /// most 96 KiB in a turn, by `sendfile` if the system has it and neither TLS nor HTTP/2 is used. So memory is bounded for files of any
    /// length.
    ///
    /// If the file is shorter, the connection is closed. The client sees that bytes are missing, and never
    /// gets other bytes instead.
    ///
    /// ```
    /// # use peregrine::{Done, Request, Response};
    /// use std::{fs::File, sync::Arc};
    ///
    /// fn handle(_: &Request<'_>, res: Response<'_>) -> Done {
    ///     match File::open("Cargo.toml") {
    ///         Ok(file) => res.header("content-type", "text/plain").send_file(Arc::new(file), 0..9),
    ///         Err(_) => res.status(404).text("nothing here"),
    ///     }
    /// }
    /// # let app = peregrine::from_fn(handle);
    /// # let mut client = peregrine::testing::Connection::new(&app);
    /// # client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    /// # assert!(client.received().ends_with(b"Content-Length: 9\r\n\r\n[package]"));
    /// ```
    pub fn send_file(self, file: Arc<File>, range: Range<u64>) -> Done {
        let (offset, len) = (range.start, range.end.saturating_sub(range.start));
        self.send_pieces(len, |output| {
            output.push_segment(FilePart { file, offset }, len)
        })
    }

    /// Sends the bytes that `write` writes, directly into the output of the connection. `Content-Length` is
    /// filled in afterwards, after spaces. If `write` fails, the client gets 500.
    ///
    /// ```
    /// use std::io::Write as _;
    /// # use peregrine::{Request, Response, Done};
    /// fn handle(_: &Request<'_>, res: Response<'_>) -> Done {
    ///     res.write_with(|body| (0..3).try_for_each(|i| writeln!(body, "line {i}")))
    /// }
    /// # let app = peregrine::from_fn(handle);
    /// # let mut client = peregrine::testing::Connection::new(&app);
    /// # client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    /// # assert!(client.received().ends_with(b"Content-Length:         21\r\n\r\nline 0\nline 1\nline 2\n"));
    /// ```
    pub fn write_with(self, write: impl FnOnce(&mut BodyWriter<'_>) -> io::Result<()>) -> Done {
        let Response { recorder, output } = self;
        let open = recorder.open_head(output);
        let body = output.mark();
        if let Err(error) = write(&mut BodyWriter(output)) {
            recorder.fail(ResponseError::Write(error));
        }
        let len = output.len_since(body);
        let sent = recorder.fill_head(open, len, output);
        if !sent {
            output.truncate(body);
        }
        recorder.done(if sent { len } else { 0 })
    }

    /// Sends `len` bytes that `push` pushes.
    pub(crate) fn send_pieces(self, len: u64, push: impl FnOnce(&mut Output)) -> Done {
        let Response { recorder, output } = self;
        let sent = recorder.end_head(BodySize::Known(len), output);
        if sent {
            push(output);
        }
        recorder.done(if sent { len } else { 0 })
    }

    /// The client gets 500 because of this error.
    pub(crate) fn failing(self, error: ResponseError) -> Self {
        self.recorder.fail(error);
        self
    }

    /// For a handler that has to do something after the handler within it has responded.
    pub(crate) fn reborrow(&mut self) -> Response<'_> {
        Response {
            recorder: self.recorder,
            output: self.output,
        }
    }

    /// Whether the response is complete and fits into one system call. Also true for a deferred response,
    /// which this recorder does not see, and for one that filters will change.
    pub(crate) fn is_whole(&self) -> bool {
        let recorder = &*self.recorder;
        let is_complete = recorder.state == ResponseState::Complete && recorder.fault.is_none();
        // What a filter changes is not known yet.
        let is_open = recorder.is_late() || !recorder.filters.is_empty();
        is_open || is_complete && self.output.is_small_since(recorder.mark)
    }

    /// Notes the pattern of the route, and counts the request.
    #[inline]
    pub(crate) fn set_route(&mut self, pattern: &'static RoutePattern) {
        self.recorder.route = Some(pattern.text);
        #[cfg(feature = "tracing")]
        {
            self.recorder.traced_route = Some(pattern.text);
        }
        self.recorder.handle.routes.count(pattern.number());
    }

    /// Returns the pattern that was noted since the last call.
    pub(crate) fn take_route(&mut self) -> Option<&'static str> {
        self.recorder.route.take()
    }

    pub(crate) fn budget(&self) -> &Arc<MemoryBudget> {
        &self.recorder.handle.budget
    }

    /// The response that was deferred is the decision about this handshake.
    #[cfg(feature = "websocket")]
    pub(crate) fn decides(&mut self, handshake: Handshake) {
        self.recorder.handshake = Some(Box::new(handshake));
    }

    /// Registers `entry` for the outcome of a response that is not [`Response::is_whole`].
    pub(crate) fn watch(self, entry: Box<PendingEntry>, body_bytes: u64) {
        let recorder = self.recorder;
        match recorder.state == ResponseState::Complete && recorder.fault.is_none() {
            true => entry.complete_with(recorder.head.status, body_bytes, self.output),
            false => recorder.log = Some(entry.around(recorder.log.take())),
        }
    }

    /// Sends status 101 and the fields that `fields` appends, after a 100 if the client waits for it.
    #[cfg(feature = "websocket")]
    pub(crate) fn switch_protocols(
        self,
        protocol: &str,
        expects_continue: bool,
        fields: impl FnOnce(&mut Vec<u8>),
    ) -> Done {
        if expects_continue {
            self.output.push(encode::CONTINUE);
        }
        self.recorder.head.status = 101;
        let write = |out: &mut Vec<u8>| encode::switch_protocols(protocol, fields, out);
        self.output.push_with(write);
        self.recorder.done(0)
    }
}

impl std::fmt::Debug for Response<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.recorder.head.status)
            .finish_non_exhaustive()
    }
}

/// The writer for the closure of [`Response::write_with`]. A write never fails and never blocks.
#[derive(Debug)]
pub struct BodyWriter<'a>(&'a mut Output);

impl io::Write for BodyWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.push(bytes);
        Ok(bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.push(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
