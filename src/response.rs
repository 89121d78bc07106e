//! How a handler answers.

#[cfg(any(test, feature = "internals"))]
pub(crate) mod check;
mod error_context;
mod fields;
mod later;
#[cfg(feature = "dir")]
pub(crate) mod prepared;
mod wire;

pub use error_context::ErrorContext;
pub(crate) use wire::Wire;

use crate::conn::{
    budget::Budget,
    heads::Heads,
    output::{FilePart, Output},
    payload::Payload,
};
use crate::exchange::Exchange;
use crate::protocol::{Method, encode};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use wire::{State, connection_line};

/// Proof that a request was answered. Only answering makes one, so a branch of a handler that
/// forgets to does not compile, and neither does answering twice:
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
    body_bytes: u64,
}

impl Done {
    /// The status of the answer, for a log. 500 is sent in its place if the answer turns out to be
    /// one that cannot be sent; see [`AnswerError`].
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The answer comes later ([`Response::defer`]): neither its status nor its body is known yet.
    pub fn is_deferred(&self) -> bool {
        self.is_deferred
    }

    /// Bytes of the body that follow the head: none in an answer to HEAD. 0 also where nobody knows:
    /// for an answer that comes later, or is streamed without a declared length.
    pub fn body_bytes(&self) -> u64 {
        self.body_bytes
    }
}

/// What is wrong with an answer that a handler gave. The client gets 500 instead, and
/// [`Handler::handle_error`](crate::Handler::handle_error) is told.
#[derive(Debug)]
#[non_exhaustive]
pub enum AnswerError {
    /// The status is not in 200..=599.
    Status(u16),
    /// The status of [`Response::redirect`] is none of a redirect.
    Redirect(u16),
    /// The location of [`Response::redirect_local`] could lead to another host.
    Location,
    /// The name of a header field is not a token (RFC 9110 section 5.1).
    HeaderName,
    /// The value of a header field holds a control byte (RFC 9110 section 5.5). This is what keeps
    /// text from users from adding header fields or whole answers of its own.
    HeaderValue,
    /// The closure of [`Response::write_with`] failed.
    Write(io::Error),
    /// The handler returned without answering this request: its [`Done`] is of another one.
    Missing,
    /// The [`Responder`](crate::Responder) of a deferred answer was dropped unused, or its closure
    /// panicked.
    Abandoned,
    /// A streamed body could not be completed, for this reason; the connection was cut.
    Body(io::Error),
}

impl std::fmt::Display for AnswerError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            AnswerError::Status(status) => write!(f, "{status} is not the status of an answer"),
            AnswerError::Redirect(status) => write!(f, "{status} is not the status of a redirect"),
            AnswerError::Location => f.write_str("the location could lead to another host"),
            AnswerError::HeaderName => f.write_str("malformed header field name"),
            AnswerError::HeaderValue => f.write_str("control byte in a header field value"),
            AnswerError::Write(error) => write!(f, "the body could not be written: {error}"),
            AnswerError::Missing => f.write_str("the handler did not answer"),
            AnswerError::Abandoned => f.write_str("the deferred answer was never given"),
            AnswerError::Body(error) => write!(f, "the body was not completed: {error}"),
        }
    }
}

impl std::error::Error for AnswerError {}

/// The answer to one request, written straight into what is sent to the client.
///
/// `Content-Length`, `Transfer-Encoding`, `Connection`, `Keep-Alive`, `Proxy-Connection`, `Date` and
/// `Server` belong to the library: it knows what is right, and [`Response::header`] leaves them out,
/// which a debug build reports as a warning to `log` and `tracing`. [`Response::close`] sends
/// `Connection: close`. The body of an answer to
/// HEAD, and of a 204, 205 or 304, is left out (RFC 9110 sections 9.3.2 and 15).
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
#[must_use = "answer with `body`, `text`, `send`, `write_with` or `redirect`"]
pub struct Response<'a> {
    wire: &'a mut Wire,
    /// Of the connection, or of a response that is made later.
    output: &'a mut Output,
}

impl<'a> Response<'a> {
    /// Sets the status (RFC 9110 section 15), 200 if never called: 200 to 599. Anything else is an
    /// [`AnswerError::Status`].
    pub fn status(mut self, status: u16) -> Response<'a> {
        if !Heads::is_status(status) {
            self.fail(AnswerError::Status(status));
            return self;
        }
        if self.wire.begun > 0 {
            self.replace_head(status);
        }
        self.wire.status = status;
        self
    }

    /// Makes this the last answer of its connection (RFC 9112 section 9.6).
    pub fn close(self) -> Response<'a> {
        self.wire.close = true;
        self
    }

    /// Answers with these bytes, which are copied. No `Content-Type` is added.
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Done {
        let body = body.as_ref();
        let sent = self.end_head(body.len() as u64);
        if sent {
            self.output.push(body);
        }
        self.done(if sent { body.len() as u64 } else { 0 })
    }

    /// Answers with text, as `text/plain; charset=utf-8` unless `Content-Type` was set.
    pub fn text(self, text: &str) -> Done {
        self.default_line(b"Content-Type: text/plain; charset=utf-8\r\n")
            .body(text)
    }

    /// Answers with a page, as `text/html; charset=utf-8` unless `Content-Type` was set.
    pub fn html(self, page: &str) -> Done {
        self.default_line(b"Content-Type: text/html; charset=utf-8\r\n")
            .body(page)
    }

    /// Answers with a payload. One of 16 KiB or more is sent from where it lies, without a copy.
    pub fn send(mut self, payload: impl Into<Payload>) -> Done {
        let payload = payload.into();
        let len = payload.len() as u64;
        let sent = self.end_head(len);
        if sent {
            self.output.push_payload(payload);
        }
        self.done(if sent { len } else { 0 })
    }

    /// Answers with a part of a file: the bytes of `range`, which the caller knows to be there. They
    /// are read when they are sent, in steps of at most 96 KiB between which others get their turn,
    /// with `sendfile` where the system has it; so memory is bounded however long the file is.
    ///
    /// If the file turns out to be shorter the connection is cut: a client sees that something is
    /// missing and never gets other bytes in its place.
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
    pub fn send_file(mut self, file: Arc<File>, range: Range<u64>) -> Done {
        let (offset, len) = (range.start, range.end.saturating_sub(range.start));
        let sent = self.end_head(len);
        if sent {
            self.output.push_segment(FilePart { file, offset }, len);
        }
        self.done(if sent { len } else { 0 })
    }

    /// Answers with what `write` writes, straight into the connection's output: `Content-Length`
    /// is filled in afterwards, behind spaces. If it fails the client gets 500.
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
    pub fn write_with(mut self, write: impl FnOnce(&mut BodyWriter<'_>) -> io::Result<()>) -> Done {
        let content = self.content();
        self.end_head_with(content, |out| out.extend_from_slice(LENGTH_SLOT));
        let body = self.output.mark();
        let written = write(&mut BodyWriter(self.output));
        if let Err(error) = written {
            self.fail(AnswerError::Write(error));
        }
        let len = self.output.since(body).len();
        let after = len + self.connection_line().len() + b"\r\n\r\n".len();
        match content {
            Content::None => {}
            Content::Empty => self.fill_length_slot(0, after),
            Content::Announced | Content::Sent => self.fill_length_slot(len, after),
        }
        if content != Content::Sent {
            self.output.truncate(body);
        }
        self.done(if content == Content::Sent {
            len as u64
        } else {
            0
        })
    }

    /// For a handler that has something to do when the one within has answered.
    pub(crate) fn reborrow(&mut self) -> Response<'_> {
        Response {
            wire: self.wire,
            output: self.output,
        }
    }

    /// The answer is complete and no larger than the system takes at once. Also one that is made later,
    /// of which no more is seen from here.
    pub(crate) fn is_whole(&self) -> bool {
        let wire = &*self.wire;
        let is_complete = wire.state == State::Complete && wire.fault.is_none();
        wire.is_late() || is_complete && self.output.is_small_since(wire.mark)
    }

    pub(crate) fn budget(&self) -> &Arc<Budget> {
        &self.wire.door.budget
    }

    /// Has `exchange` told what becomes of the answer that [`Response::is_whole`] says no of.
    pub(crate) fn watch(self, exchange: Box<Exchange>, body_bytes: u64) {
        let wire = self.wire;
        match wire.state == State::Complete && wire.fault.is_none() {
            true => exchange.complete_with(wire.status, body_bytes, self.output),
            false => wire.exchange = Some(exchange.around(wire.exchange.take())),
        }
    }

    /// Answers with what `write` appends: a complete head with status 101.
    #[cfg(feature = "websocket")]
    pub(crate) fn switch_protocols(self, write: impl FnOnce(&mut Vec<u8>)) -> Done {
        self.wire.status = 101;
        self.output.push_with(write);
        self.done(0)
    }

    #[cold]
    fn fail(&mut self, error: AnswerError) {
        self.wire.fault.get_or_insert(error);
    }

    /// Puts the prepared head down, before the first header field.
    #[inline(always)]
    fn begin(&mut self) {
        if self.wire.begun == 0 {
            self.put_head();
        }
    }

    /// What becomes of the body (RFC 9112 section 6.3, RFC 9110 sections 8.6 and 15).
    #[inline]
    fn content(&self) -> Content {
        // The usual one by two comparisons.
        match (self.wire.mode.method, self.wire.status) {
            (Method::Other, 200) => Content::Sent,
            (_, 204 | 304) | (Method::Connect, 200..=299) => Content::None,
            (_, 205) => Content::Empty,
            (Method::Head, _) => Content::Announced,
            _ => Content::Sent,
        }
    }

    /// Ends the head for a body of `len` bytes. True if the body is sent.
    #[inline(always)]
    fn end_head(&mut self, len: u64) -> bool {
        let content = self.content();
        let len = if content == Content::Empty { 0 } else { len };
        self.end_head_with(content, |out| encode::decimal(len, out));
        content == Content::Sent
    }

    #[inline]
    fn end_head_with(&mut self, content: Content, length: impl FnOnce(&mut Vec<u8>)) {
        self.begin();
        let connection = self.connection_line();
        self.output.push_with(|out| {
            if content != Content::None {
                out.extend_from_slice(b"Content-Length: ");
                length(out);
                out.extend_from_slice(b"\r\n");
            }
            if !connection.is_empty() {
                out.extend_from_slice(connection);
            }
            out.extend_from_slice(b"\r\n");
        });
    }

    /// Writes the length of the body into the slot that ends `after` bytes before the end.
    fn fill_length_slot(&mut self, len: usize, after: usize) {
        let mut room = [0; encode::MAX_DIGITS];
        let digits = encode::digits(len as u64, &mut room);
        if digits.len() > LENGTH_SLOT.len() {
            return self.fail(AnswerError::Write(io::ErrorKind::FileTooLarge.into()));
        }
        let answer = self.output.since(self.wire.mark);
        let end = answer.len() - after;
        answer[end - digits.len()..end].copy_from_slice(digits);
    }

    #[inline]
    fn connection_line(&self) -> &'static [u8] {
        let mode = self.wire.mode;
        match self.wire.is_late() {
            true => b"",
            false => {
                let close = !mode.persistent || self.wire.close;
                connection_line(close, self.wire.upgrade, mode.version)
            }
        }
    }

    #[inline]
    fn done(self, body_bytes: u64) -> Done {
        self.wire.state = State::Complete;
        Done {
            status: self.wire.status,
            is_deferred: false,
            body_bytes,
        }
    }
}

impl std::fmt::Debug for Response<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.wire.status)
            .finish_non_exhaustive()
    }
}

/// What an answer says of its body, and whether that follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    /// Neither a length nor a body.
    None,
    /// A length of zero.
    Empty,
    /// The length of a body that does not follow.
    Announced,
    Sent,
}

/// Room for the digits of any length, filled from the right. Spaces before a value are optional
/// white space (RFC 9110 section 5.6.3), leading zeros might be taken for octal.
const LENGTH_SLOT: &[u8] = b"          ";

/// Where the closure of [`Response::write_with`] writes to. Writing never fails and never blocks.
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
