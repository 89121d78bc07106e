//! What a user implements.

use crate::exchange::AccessEntry;
use crate::incoming::BodyPlan;
use crate::protocol::error::ProtocolError;
use crate::request::Request;
use crate::response::{AnswerError, Done, ErrorContext, Response};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;

/// The program behind the server. One value serves all connections of all threads, so what changes
/// in it is behind an atomic or a lock.
///
/// ```
/// use peregrine::{Done, Handler, Request, Response};
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// #[derive(Default)]
/// struct Counter(AtomicU64);
///
/// impl Handler for Counter {
///     fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
///         let n = self.0.fetch_add(1, Ordering::Relaxed) + 1;
///         res.text(&format!("counter={n}"))
///     }
/// }
/// # let app = Counter::default();
/// # let mut client = peregrine::testing::Connection::new(&app);
/// # client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
/// # assert!(client.received().ends_with(b"counter=1"));
/// ```
pub trait Handler: Send + Sync + 'static {
    /// Answers one request. Runs on a worker's event loop: while it runs, that worker's other
    /// connections wait, so it must not block for long.
    ///
    /// If it panics the client gets 500, its connection closes, and the worker goes on. A
    /// [`Mutex`](std::sync::Mutex) that it held is poisoned from then on: every later `lock().unwrap()` panics,
    /// and so every later request that takes the lock gets 500. Where the data is in order after a panic, take
    /// the lock with `lock().unwrap_or_else(PoisonError::into_inner)`; where it may not be, put it in order and
    /// call [`Mutex::clear_poison`](std::sync::Mutex::clear_poison). The same holds for an
    /// [`RwLock`](std::sync::RwLock) that is written.
    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done;

    /// Says what shall become of the body of a request, before any of it is read: `req` is the head,
    /// [`Request::body`] is empty. Called for requests that have a body, on a worker's event loop.
    ///
    /// Only when the body is wanted is a client that waits for it told so (`100 Continue`, RFC 9110
    /// section 10.1.1). If it panics the client gets 500.
    ///
    /// ```
    /// use peregrine::{BodyPlan, Done, Handler, Request, Response};
    ///
    /// struct App;
    ///
    /// impl Handler for App {
    ///     fn body_plan(&self, req: &Request<'_>) -> BodyPlan {
    ///         match req.header("authorization") {
    ///             None => BodyPlan::respond(|_, res| {
    ///                 res.status(401).header("WWW-Authenticate", "Basic").text("who are you?")
    ///             }),
    ///             Some(_) => BodyPlan::BufferUpTo(10 << 20),
    ///         }
    ///     }
    ///
    ///     fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
    ///         res.text(&format!("{} bytes", req.body().len()))
    ///     }
    /// }
    /// # let mut client = peregrine::testing::Connection::new(&App);
    /// # client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n");
    /// # assert!(client.received().starts_with(b"HTTP/1.1 401 Unauthorized\r\n"));
    /// ```
    fn body_plan(&self, req: &Request<'_>) -> BodyPlan {
        let _ = req;
        BodyPlan::Buffer
    }

    /// Whether this handler answers a request that is not for one of its resources: CONNECT, TRACE, or
    /// OPTIONS for the server as a whole (the target is `*`). Asked for those only, before
    /// [`Handler::body_plan`], on a worker's event loop. If it panics the client gets 500.
    ///
    /// Default: false for all, and the library answers: CONNECT with 501, as a handler that looks at
    /// the path alone would grant a tunnel (RFC 9110 section 9.3.6); TRACE with 405, as it would send
    /// back what only the server shall see (section 9.3.8); `OPTIONS *` with 204 (section 9.3.7). A
    /// body is left unread.
    ///
    /// ```
    /// use peregrine::{Done, Handler, Request, Response};
    ///
    /// struct Traces;
    ///
    /// impl Handler for Traces {
    ///     fn takes_special(&self, req: &Request<'_>) -> bool {
    ///         req.method() == "TRACE"
    ///     }
    ///
    ///     fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
    ///         res.text(req.method())
    ///     }
    /// }
    /// # let mut client = peregrine::testing::Connection::new(&Traces);
    /// # client.send(b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n");
    /// # assert!(client.received().ends_with(b"TRACE"));
    /// # let mut client = peregrine::testing::Connection::new(&Traces);
    /// # client.send(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    /// # assert!(client.received().starts_with(b"HTTP/1.1 204 No Content\r\n"));
    /// ```
    fn takes_special(&self, req: &Request<'_>) -> bool {
        let _ = req;
        false
    }

    /// Makes the response to an error in the place of the library: to a request that is refused, as
    /// malformed, too large, too slow, for another host or by [`BodyPlan::Refuse`]; to one whose handler
    /// panicked or gave a response that cannot be sent; and to one whose deferred response does not come in
    /// time. So an API has errors in its own format, and pages of another origin can read them.
    ///
    /// `res` has the status of `error`. The connection closes behind the response. It has to be
    /// complete when this returns, with that status and at most 64 KiB; otherwise, and if this panics,
    /// the response is the default one. Runs on a worker's event loop.
    ///
    /// Default: [`ErrorContext::respond`]. It is not called for the 503 of
    /// [`Response::offload`], for WebSocket handshakes, and for clients that the process has no descriptor
    /// for.
    ///
    /// ```
    /// use peregrine::{Done, ErrorContext, Handler, Request, Response};
    ///
    /// struct Api;
    ///
    /// impl Handler for Api {
    ///     fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
    ///         res.text("hi")
    ///     }
    ///
    ///     fn error_response(&self, error: &ErrorContext<'_>, res: Response<'_>) -> Done {
    ///         res.header("Content-Type", "application/json")
    ///             .header("Access-Control-Allow-Origin", "*")
    ///             .body(format!("{{\"error\":\"{}\"}}", error.text()))
    ///     }
    /// }
    /// # let mut client = peregrine::testing::Connection::new(&Api);
    /// # client.send(b"GET / HTTP/1.1\r\n\r\n");
    /// # assert!(client.received().ends_with(b"\r\n\r\n{\"error\":\"no Host\"}"));
    /// ```
    fn error_response(&self, error: &ErrorContext<'_>, res: Response<'_>) -> Done {
        error.respond(res)
    }

    /// Is told what went wrong on a connection, for a log or a metric; the server has already done
    /// what had to be done. Runs on the worker's event loop. A panic in it is caught and ignored.
    ///
    /// By default, an [`AnswerError`] is written to standard error in a build with debug assertions, as
    /// the client is not told what was wrong, and nothing happens otherwise.
    fn handle_error(&self, error: &ConnectionError<'_>, peer: Option<SocketAddr>) {
        let _ = peer;
        if let (true, ConnectionError::Answer(error)) = (cfg!(debug_assertions), error) {
            // Where that is closed, nobody reads it.
            let _ = writeln!(io::stderr(), "peregrine: a response failed: {error}");
        }
    }

    /// Is told of each response that the library made without asking [`Handler::handle_request`] or a
    /// [`BodySink`](crate::BodySink): of refusals, of WebSocket handshakes, and of a request that the
    /// client did not send to its end, whose status is 499. [`AccessLog`](crate::AccessLog) makes a line
    /// of it; a handler around one hands it on. Runs on the worker's event loop. A panic in it is
    /// caught and ignored.
    fn handle_library_response(&self, entry: &AccessEntry<'_>) {
        let _ = entry;
    }
}

impl<H: Handler> Handler for Arc<H> {
    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        (**self).handle_request(req, res)
    }

    fn body_plan(&self, req: &Request<'_>) -> BodyPlan {
        (**self).body_plan(req)
    }

    fn takes_special(&self, req: &Request<'_>) -> bool {
        (**self).takes_special(req)
    }

    fn error_response(&self, error: &ErrorContext<'_>, res: Response<'_>) -> Done {
        (**self).error_response(error, res)
    }

    fn handle_error(&self, error: &ConnectionError<'_>, peer: Option<SocketAddr>) {
        (**self).handle_error(error, peer);
    }

    fn handle_library_response(&self, entry: &AccessEntry<'_>) {
        (**self).handle_library_response(entry);
    }
}

/// Whether `req` is for the library to answer, by [`answer_special`]; see [`Handler::takes_special`].
#[cold]
pub(crate) fn is_for_library(handler: &impl Handler, req: &Request<'_>) -> bool {
    let is_special = match req.method() {
        "CONNECT" | "TRACE" => true,
        "OPTIONS" => req.path() == "*",
        _ => false,
    };
    is_special && !handler.takes_special(req)
}

/// What the library says to a request that no handler takes.
#[cold]
pub(crate) fn answer_special(req: &Request<'_>, res: Response<'_>) -> Done {
    match req.method() {
        "CONNECT" => res.status(501).text("there are no tunnels here\n"),
        // GET and HEAD are what every server must know (RFC 9110 section 9.1).
        "TRACE" => res
            .status(405)
            .header("Allow", "GET, HEAD")
            .text("TRACE is not allowed here\n"),
        _ => res.status(204).body(""),
    }
}

/// A closure as a [`Handler`]; made by [`from_fn`].
#[derive(Clone, Copy, Debug)]
pub struct FromFn<F>(F);

impl<F> Handler for FromFn<F>
where
    F: Fn(&Request<'_>, Response<'_>) -> Done + Send + Sync + 'static,
{
    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        (self.0)(req, res)
    }
}

/// Makes a [`Handler`] of a closure or function.
///
/// ```
/// let app = peregrine::from_fn(|req, res| res.body(req.path()));
/// # let mut client = peregrine::testing::Connection::new(&app);
/// # client.send(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
/// # assert!(client.received().ends_with(b"/x"));
/// ```
pub fn from_fn<F>(f: F) -> FromFn<F>
where
    F: Fn(&Request<'_>, Response<'_>) -> Done + Send + Sync + 'static,
{
    FromFn(f)
}

/// What can go wrong on a connection; see [`Handler::handle_error`].
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectionError<'a> {
    /// The client's request was refused.
    Refused(ProtocolError),
    /// The handler panicked with this message; the client got 500. Or what was called by
    /// [`Timers`](crate::Timers) did, for no client.
    Panicked(&'a str),
    /// The handler's answer could not be sent; the client got 500.
    Answer(&'a AnswerError),
    /// The client closed the connection in the middle of a request.
    ClientGone,
    /// Reading from the client failed, a reset for the most part.
    Read(&'a io::Error),
    /// Writing to the client failed; what was not sent is lost.
    Write(&'a io::Error),
    /// The handler deferred its answer, or streamed it, and nothing came for
    /// [`Limits::answer_time`](crate::Limits::answer_time).
    AnswerTimeout,
    /// The client took no byte of its answer for
    /// [`Limits::write_time`](crate::Limits::write_time), or fewer of them than
    /// [`Limits::write_rate`](crate::Limits::write_rate).
    WriteTimeout,
    /// The library panicked with this message, which is a bug of it, to be reported to its authors.
    /// The connection was reset; all others go on.
    Internal(&'a str),
    /// A request for a WebSocket was refused before
    /// [`accept_ws`](crate::WebSocketHandler::accept_ws) was asked: the handshake was not in order, or
    /// came from a page that [`Config::ws_origins`](crate::Config::ws_origins) does not allow.
    #[cfg(feature = "websocket")]
    Handshake {
        /// What the client got.
        status: u16,
        /// The text that it got.
        text: &'static str,
    },
    /// A client asked for a WebSocket, and the server was set up without
    /// [`Server::websocket`](crate::Server::websocket): the handler answered the request like any other.
    #[cfg(feature = "websocket")]
    NoWebSockets,
    /// The connections held more than [`Config::buffered_bytes`](crate::Config::buffered_bytes) or almost
    /// so much, and this one had made no progress: it was closed to make room.
    Overloaded,
}

impl std::fmt::Display for ConnectionError<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ConnectionError::Refused(error) => {
                write!(f, "refused with {}: {error}", error.status())
            }
            ConnectionError::Panicked(message) => write!(f, "the handler panicked: {message}"),
            ConnectionError::Answer(error) => error.fmt(f),
            ConnectionError::ClientGone => {
                f.write_str("the client closed the connection in the middle of a request")
            }
            ConnectionError::Read(error) => write!(f, "reading failed: {error}"),
            ConnectionError::Write(error) => write!(f, "writing failed: {error}"),
            ConnectionError::AnswerTimeout => {
                f.write_str("nothing came in time of a response that was deferred or is streamed")
            }
            ConnectionError::WriteTimeout => {
                f.write_str("the client took no byte of its response in time")
            }
            ConnectionError::Internal(message) => {
                write!(
                    f,
                    "the library panicked, the connection was reset: {message}"
                )
            }
            #[cfg(feature = "websocket")]
            ConnectionError::Handshake { status, text } => {
                write!(f, "handshake refused with {status}: {}", text.trim_end())
            }
            #[cfg(feature = "websocket")]
            ConnectionError::NoWebSockets => f.write_str(
                "a WebSocket was asked for, but the server was set up without Server::websocket",
            ),
            ConnectionError::Overloaded => {
                f.write_str("memory was short, and the connection made no progress")
            }
        }
    }
}

impl std::error::Error for ConnectionError<'_> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ConnectionError::Refused(error) => Some(error),
            ConnectionError::Answer(error) => Some(*error),
            ConnectionError::Read(error) | ConnectionError::Write(error) => Some(*error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error;

    #[test]
    fn errors_of_connections_have_their_cause() {
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        let cause = |error: &ConnectionError<'_>| error.source().map(ToString::to_string);
        assert_eq!(
            cause(&ConnectionError::Read(&reset)),
            Some(reset.to_string())
        );
        let refused = ConnectionError::Refused(ProtocolError::BareLf);
        assert_eq!(cause(&refused), Some(ProtocolError::BareLf.to_string()));
        assert_eq!(cause(&ConnectionError::ClientGone), None);
    }
}
