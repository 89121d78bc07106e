//! Access log: one line for each request that was responded or refused.
//!
//! [`AccessLog`] wraps a handler. A [`LogWriter`] writes its lines on a thread of its own.

mod writer;

pub use crate::http::access_entry::AccessEntry;
pub use writer::{LineLost, LogWriter};

use crate::http::access_entry;
use crate::http::access_entry::PendingEntry;
use crate::http::connection_error::ConnectionError;
use crate::http::handler::{Handler, is_for_library, respond_special};
use crate::http::request::Request;
use crate::http::request_body::BodyPlan;
use crate::http::request_body::around::Around;
use crate::http::response::{Done, ErrorContext, Response};
use crate::shared::panic_guard::catch;
#[cfg(feature = "websocket")]
use crate::websocket::upgrade::Upgrade;
#[cfg(feature = "websocket")]
use crate::websocket::{WebSocketHandler, forward_hooks};
use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

/// A handler that writes an access log line for each request of another handler.
///
/// ```
/// use peregrine::{Server, from_fn};
/// use peregrine::access_log::{AccessLog, LogWriter};
///
/// # fn main() -> std::io::Result<()> {
/// let app = from_fn(|_, res| res.text("hi"));
/// let log = LogWriter::new(std::io::stdout())?;
/// let server = Server::new(AccessLog::new(app, log)).bind("127.0.0.1:0").start()?;
/// # drop(server);
/// # Ok(())
/// # }
/// ```
///
/// A line is written when the response is complete and the system has taken its last byte. It has the status,
/// the bytes that were sent, and the time since the call of the handler. This also holds for files and for
/// responses that are deferred, offloaded, streamed or drawn. If a response has less than 16 KiB and is
/// complete when the handler returns, its line is written then.
///
/// - **A client that leaves before its response is complete** gets a line with 499 and the bytes of the body
///   that the system has taken; over HTTP/2 it may be less, as the responses of a connection share its output. The same holds for a client that leaves while it sends a body, and for a
///   connection that is closed because the server stops or because the client takes nothing. A client that
///   closes only its sending side may still read. As long as the system takes the response, the line has the
///   status of the response.
/// - **A handler that panics**, on any thread, gives a line with 500. So does a response that cannot be sent
///   ([`ResponseError`](crate::error::ResponseError)). A deferred response that comes too late gives a line with 503. A
///   streamed body that ends early gives a line with the status of its head and the bytes that were sent.
/// - **A request that is refused without a call of the handler** gives a line with the request if its head
///   was complete, for example when the body is too large or too slow. Otherwise the line has no request:
///   `"-" 400 12`.
/// - **A WebSocket** gives a line with 101 when it is accepted. A handshake that is refused, by
///   `Upgrade::refuse` or by the library, gives a line with the status of the refusal.
///
/// Lines come in the order in which they are written, not in the order of the requests. An `AccessLog` inside
/// a closure that is offloaded or responds later writes its line when its handler returns.
///
/// Text from clients is escaped ([`AccessEntry::escape`]), so a client cannot forge a line or a part of one.
/// Control bytes that a format of the program writes, except tabs, are escaped in the same way. A line is
/// about as long as its content, and up to four times as long if all of the content is escaped.
///
/// A line costs a worker three reads of the clock and one copy under a lock. A small and complete response
/// needs no allocation. Other responses keep a copy of the request head until the line is written; the copy
/// counts for [`Config::buffered_bytes`](crate::Config::buffered_bytes).
#[derive(Debug)]
pub struct AccessLog<H, F = AccessFormat> {
    handler: H,
    log: Arc<Log<F>>,
}

/// A function that appends the line of one request; see [`AccessLog::with_format`].
pub type AccessFormat = fn(&AccessEntry<'_>, &mut Vec<u8>);

impl<H: Handler> AccessLog<H> {
    /// Writes lines in the combined format; see [`AccessEntry::combined`].
    pub fn new(handler: H, writer: LogWriter) -> AccessLog<H> {
        AccessLog::with_format(handler, writer, |entry, line| entry.combined(line))
    }
}

impl<H, F> AccessLog<H, F>
where
    H: Handler,
    F: Fn(&AccessEntry<'_>, &mut Vec<u8>) + Send + Sync + 'static,
{
    /// Writes lines in another format. `format` appends the line, without its end, to an empty buffer.
    ///
    /// If `format` appends nothing, no line is written. It runs on the event loop of the worker. A panic in
    /// it counts as a panic of the handler.
    ///
    /// ```
    /// use peregrine::from_fn;
    /// use peregrine::access_log::{AccessLog, LogWriter};
    /// use std::io::Write as _;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let app = from_fn(|_, res| res.text("hi"));
    /// let log = LogWriter::new(std::io::sink())?;
    /// let app = AccessLog::with_format(app, log, |entry, line| {
    ///     if entry.request().is_some_and(|req| req.path() == "/health") {
    ///         return;
    ///     }
    ///     entry.common(line);
    ///     let _ = write!(line, " {}us", entry.took().as_micros());
    /// });
    /// # let mut client = peregrine::testing::Connection::new(&app);
    /// # client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    /// # assert!(client.received().ends_with(b"hi"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_format(handler: H, writer: LogWriter, format: F) -> AccessLog<H, F> {
        AccessLog {
            handler,
            log: Arc::new(Log { format, writer }),
        }
    }

    /// The inner handler.
    pub fn handler(&self) -> &H {
        &self.handler
    }
}

#[derive(Debug)]
struct Log<F> {
    format: F,
    writer: LogWriter,
}

thread_local! {
    /// The buffer in which this thread makes its lines.
    static LINE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl<F> access_entry::Log for Log<F>
where
    F: Fn(&AccessEntry<'_>, &mut Vec<u8>) + Send + Sync + 'static,
{
    fn write(&self, entry: &AccessEntry<'_>) {
        let mut line = LINE.take();
        (self.format)(entry, &mut line);
        let is_bad = |b: &u8| b.is_ascii_control() && *b != b'\t';
        if line.iter().any(is_bad) {
            line = line.iter().fold(Vec::new(), |mut clean, b| {
                match is_bad(b) {
                    true => access_entry::hex(*b, &mut clean),
                    false => clean.push(*b),
                }
                clean
            });
        }
        if !line.is_empty() {
            // The writer counts it.
            let _ = self.writer.line(&line);
        }
        line.clear();
        LINE.set(line);
    }
}

impl<F> Log<F>
where
    F: Fn(&AccessEntry<'_>, &mut Vec<u8>) + Send + Sync + 'static,
{
    /// Calls `respond` for `req`, and writes the line of the response, now or later.
    fn responded(
        self: &Arc<Self>,
        req: &Request<'_>,
        mut res: Response<'_>,
        begun: Instant,
        respond: impl FnOnce(Response<'_>) -> Done,
    ) -> Done {
        // The panic goes on to an outer catch, which sees all that it leaves behind.
        let outer = res.take_route();
        let responded = catch(|| respond(res.reborrow()));
        let route = res.take_route().or(outer);
        match &responded {
            Ok(done) if res.is_whole() => {
                let entry = AccessEntry::new(req, done, begun.elapsed())
                    .with_route(route)
                    .with_id(res.request_id());
                access_entry::Log::write(&**self, &entry);
            }
            _ => {
                let body_bytes = responded.as_ref().map_or(0, Done::known_bytes);
                let mut entry = PendingEntry::new(self.clone(), req, begun, res.budget());
                entry.set_route(route);
                entry.set_id(res.request_id());
                res.watch(entry, body_bytes);
            }
        }
        responded.unwrap_or_else(|panic| panic.resume())
    }
}

#[deny(clippy::missing_trait_methods)]
impl<H, F> Handler for AccessLog<H, F>
where
    H: Handler,
    F: Fn(&AccessEntry<'_>, &mut Vec<u8>) + Send + Sync + 'static,
{
    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        let begun = Instant::now();
        let respond = |res: Response<'_>| match is_for_library(&self.handler, req) {
            true => respond_special(req, res),
            false => self.handler.handle_request(req, res),
        };
        self.log.responded(req, res, begun, respond)
    }

    fn body_plan(&self, req: &Request<'_>) -> BodyPlan {
        if is_for_library(&self.handler, req) {
            return BodyPlan::Unread;
        }
        let begun = Instant::now();
        let plan = self.handler.body_plan(req);
        plan.within(|| Planned {
            log: self.log.clone(),
            begun,
        })
    }

    /// Responses of the library have a line too.
    fn takes_special(&self, _: &Request<'_>) -> bool {
        true
    }

    fn error_response(&self, error: &ErrorContext<'_>, res: Response<'_>) -> Done {
        self.handler.error_response(error, res)
    }

    fn handle_error(&self, error: &ConnectionError<'_>, peer: Option<SocketAddr>) {
        self.handler.handle_error(error, peer);
    }

    fn handle_library_response(&self, entry: &AccessEntry<'_>) {
        access_entry::Log::write(&*self.log, entry);
        self.handler.handle_library_response(entry);
    }

    fn before_wait(&self) {
        self.handler.before_wait();
    }

    fn after_wait(&self) {
        self.handler.after_wait();
    }
}

/// The line of a response that does not come from `handle_request`.
struct Planned<F> {
    log: Arc<Log<F>>,
    /// When the handler was asked for a plan.
    begun: Instant,
}

impl<F> Around for Planned<F>
where
    F: Fn(&AccessEntry<'_>, &mut Vec<u8>) + Send + Sync + 'static,
{
    fn respond(
        self,
        req: &Request<'_>,
        res: Response<'_>,
        inner: impl FnOnce(&Request<'_>, Response<'_>) -> Done,
    ) -> Done {
        self.log
            .responded(req, res, self.begun, |res| inner(req, res))
    }
}

#[cfg(feature = "websocket")]
#[deny(clippy::missing_trait_methods)]
impl<H, F> WebSocketHandler for AccessLog<H, F>
where
    H: WebSocketHandler,
    F: Fn(&AccessEntry<'_>, &mut Vec<u8>) + Send + Sync + 'static,
{
    type Conn = H::Conn;

    fn accept_ws(&self, req: &Request<'_>, upgrade: &mut Upgrade<'_>) -> Option<H::Conn> {
        self.handler.accept_ws(req, upgrade)
    }

    forward_hooks!(self => self.handler);
}
