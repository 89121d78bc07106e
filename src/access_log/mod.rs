//! Access logs: a line for each request that was answered or refused.

mod entry;
mod writer;

pub use entry::AccessEntry;
pub use writer::LogWriter;

use crate::conn::panic_guard::catch;
use crate::handler::{ConnectionError, Handler, answer_special, is_for_library};
use crate::incoming::{BodyPlan, BodySink, Flow, Incoming};
use crate::request::Request;
use crate::response::{Done, Response};
#[cfg(feature = "websocket")]
use crate::{
    protocol::frame::Message,
    websocket::{Disconnect, WebSocketHandler, upgrade::Upgrade, ws::Ws},
};
use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

/// A handler that writes a line for each request of the handler within.
///
/// ```
/// use peregrine::{AccessLog, LogWriter, Server, from_fn};
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
/// A line is written when the handler returns, with what its [`Done`] says:
///
/// - **Answers that come later** ([`Response::defer`]) have the status set so far and `-` for the
///   body, as neither is known: [`AccessEntry::is_deferred`]. Whoever gives such an answer can write
///   its line with a clone of the [`LogWriter`] and [`AccessEntry::new`], of
///   [`Request::to_owned`] and the `Done` that it makes.
/// - **Streamed answers** have their true status. Their body is the length that was declared, or `-`,
///   whether or not it reached the client.
/// - **Bodies taken by a [`BodySink`]** have their line when the sink answers.
/// - **A handler that panics** has a line with 500. One whose answer turns out to be one that cannot
///   be sent ([`AnswerError`](crate::AnswerError)) has the line of the answer that it gave;
///   [`Handler::handle_error`] tells of the other.
/// - **Requests that were refused** without asking the handler, as malformed, too large or too slow,
///   have a line without a request: `"-" 400 -`.
/// - **WebSockets** have a line with 101 when they are accepted, and one with the status of a
///   refusal by [`Upgrade::refuse`]. A handshake that the library refuses has none.
///
/// Text from clients is escaped ([`AccessEntry::escape`]), so that no client can forge a line or the
/// rest of one; and any control byte but a tab that a format of your own lets through is escaped in the same
/// way. A line is about as long as what it shows, four times that if all of it has to be escaped.
///
/// On a worker it costs three looks at the clock and one copy under a lock, and allocates nothing.
///
/// [`Upgrade::refuse`]: crate::Upgrade::refuse
#[derive(Debug)]
pub struct AccessLog<H, F = AccessFormat> {
    handler: H,
    log: Arc<Log<F>>,
}

/// Appends the line of one request; see [`AccessLog::with_format`].
pub type AccessFormat = fn(&AccessEntry<'_>, &mut Vec<u8>);

impl<H: Handler> AccessLog<H> {
    /// In the combined format; see [`AccessEntry::combined`].
    pub fn new(handler: H, writer: LogWriter) -> AccessLog<H> {
        AccessLog::with_format(handler, writer, |entry, line| entry.combined(line))
    }
}

impl<H, F> AccessLog<H, F>
where
    H: Handler,
    F: Fn(&AccessEntry<'_>, &mut Vec<u8>) + Send + Sync + 'static,
{
    /// In a format of your own: `format` appends the line, without its end, to a buffer that is empty.
    /// Where it appends nothing, no line is written. It runs on the worker's event loop; a panic in
    /// it is one of the handler.
    ///
    /// ```
    /// use peregrine::{AccessLog, LogWriter, from_fn};
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

    /// The handler within.
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
    /// What this thread makes its lines in.
    static LINE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl<F> Log<F>
where
    F: Fn(&AccessEntry<'_>, &mut Vec<u8>),
{
    fn write(&self, entry: &AccessEntry<'_>) {
        let mut line = LINE.take();
        (self.format)(entry, &mut line);
        let is_bad = |b: &u8| b.is_ascii_control() && *b != b'\t';
        if line.iter().any(is_bad) {
            line = line.iter().fold(Vec::new(), |mut clean, b| {
                match is_bad(b) {
                    true => entry::hex(*b, &mut clean),
                    false => clean.push(*b),
                }
                clean
            });
        }
        if !line.is_empty() {
            self.writer.line(&line);
        }
        line.clear();
        LINE.set(line);
    }

    /// Lets somebody answer `req`, and writes what became of it.
    fn answered(&self, req: &Request<'_>, answer: impl FnOnce() -> Done) -> Done {
        let begun = Instant::now();
        // Whatever the panic leaves behind is seen by whoever catches it further out.
        match catch(answer) {
            Ok(done) => {
                self.write(&AccessEntry::new(req, &done, begun.elapsed()));
                done
            }
            Err(panic) => {
                self.without_body(req, 500);
                panic.resume()
            }
        }
    }

    fn without_body(&self, req: &Request<'_>, status: u16) {
        self.write(&AccessEntry::of(Some(req), req.peer_addr(), status));
    }
}

impl<H, F> Handler for AccessLog<H, F>
where
    H: Handler,
    F: Fn(&AccessEntry<'_>, &mut Vec<u8>) + Send + Sync + 'static,
{
    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        let answer = || match is_for_library(&self.handler, req) {
            true => answer_special(req, res),
            false => self.handler.handle_request(req, res),
        };
        self.log.answered(req, answer)
    }

    fn body_plan(&self, req: &Request<'_>) -> BodyPlan {
        let plan = catch(|| match is_for_library(&self.handler, req) {
            true => BodyPlan::Unread,
            false => self.handler.body_plan(req),
        });
        match plan {
            Ok(BodyPlan::Stream(sink, most)) => {
                let log = self.log.clone();
                BodyPlan::Stream(Box::new(Logged { sink, log }), most)
            }
            Ok(BodyPlan::Refuse(status)) => {
                let is_sent = matches!(status, 400..=599);
                self.log
                    .without_body(req, if is_sent { status } else { 500 });
                BodyPlan::Refuse(status)
            }
            Ok(plan) => plan,
            Err(panic) => {
                self.log.without_body(req, 500);
                panic.resume()
            }
        }
    }

    /// What the library answers has a line, too.
    fn takes_special(&self, _: &Request<'_>) -> bool {
        true
    }

    fn handle_error(&self, error: &ConnectionError<'_>, peer: Option<SocketAddr>) {
        if let ConnectionError::Refused(error) = error {
            self.log.write(&AccessEntry::of(None, peer, error.status()));
        }
        self.handler.handle_error(error, peer);
    }
}

/// A sink whose answer has a line.
struct Logged<F> {
    sink: Box<dyn BodySink>,
    log: Arc<Log<F>>,
}

impl<F> BodySink for Logged<F>
where
    F: Fn(&AccessEntry<'_>, &mut Vec<u8>) + Send + Sync + 'static,
{
    fn piece(&mut self, piece: &[u8], body: &mut Incoming<'_>) -> Flow {
        self.sink.piece(piece, body)
    }

    fn finish(self: Box<Self>, req: &Request<'_>, res: Response<'_>) -> Done {
        let Logged { sink, log } = *self;
        log.answered(req, || sink.finish(req, res))
    }
}

#[cfg(feature = "websocket")]
impl<H, F> WebSocketHandler for AccessLog<H, F>
where
    H: WebSocketHandler,
    F: Fn(&AccessEntry<'_>, &mut Vec<u8>) + Send + Sync + 'static,
{
    type Conn = H::Conn;

    fn accept_ws(&self, req: &Request<'_>, upgrade: &mut Upgrade<'_>) -> Option<H::Conn> {
        let accept = || self.handler.accept_ws(req, upgrade);
        let accepted = catch(accept).unwrap_or_else(|panic| {
            self.log.without_body(req, 500);
            panic.resume()
        });
        match (&accepted, &upgrade.refused) {
            (Some(_), _) => self.log.without_body(req, 101),
            (None, Some((status, _))) => self.log.without_body(req, *status),
            // `handle_request` answers.
            (None, None) => {}
        }
        accepted
    }

    fn handle_ws_conn(&self, ws: &mut Ws<'_, H::Conn>) {
        self.handler.handle_ws_conn(ws);
    }

    fn handle_ws_frame(&self, ws: &mut Ws<'_, H::Conn>, message: Message<'_>) {
        self.handler.handle_ws_frame(ws, message);
    }

    fn handle_ws_disconn(&self, ws: &mut Ws<'_, H::Conn>, why: &Disconnect) {
        self.handler.handle_ws_disconn(ws, why);
    }

    fn handle_ws_drain(&self, ws: &mut Ws<'_, H::Conn>) {
        self.handler.handle_ws_drain(ws);
    }

    fn handle_ws_pong(&self, ws: &mut Ws<'_, H::Conn>, payload: &[u8]) {
        self.handler.handle_ws_pong(ws, payload);
    }
}
