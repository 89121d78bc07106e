//! `Handler`: the trait that a user implements.

use super::access_entry::AccessEntry;
use super::connection_error::ConnectionError;
use super::request::Request;
use super::request_body::BodyPlan;
use super::response::{Done, ErrorContext, Response};
use crate::http::handler_error::HandlerResult;
use std::net::SocketAddr;
use std::sync::Arc;

/// The application of a server: its methods respond to requests.
///
/// One value serves all connections on all threads. So it keeps state that changes in atomics or behind
/// locks.
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
///         res.text(format!("counter={n}"))
///     }
/// }
/// # let app = Counter::default();
/// # let mut client = peregrine::testing::Connection::new(&app);
/// # client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
/// # assert!(client.received().ends_with(b"counter=1"));
/// ```
#[doc(alias("middleware", "service", "router", "app"))]
pub trait Handler: Send + Sync + 'static {
    /// Responds to one request. It runs on the event loop of a worker. While it runs, the other connections
    /// of this worker wait, so it must not block for long.
    ///
    /// If it panics, the client gets 500, its connection is closed, and the worker goes on. A
    /// [`Mutex`](std::sync::Mutex) that it held is poisoned from then on. Every later `lock().unwrap()`
    /// panics, so every later request that takes the lock gets
    /// 500. If the data is consistent after a panic, take the lock with
    ///    `lock().unwrap_or_else(PoisonError::into_inner)`. Otherwise repair the data and call
    ///    [`Mutex::clear_poison`](std::sync::Mutex::clear_poison). The same holds for an
    ///    [`RwLock`](std::sync::RwLock) that was locked for writing.
    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done;

    /// Decides how the body of a request is read. It is called before the body is read, for requests with a
    /// body only, on the event loop of a worker.
    ///
    /// `req` is the head; [`Request::body`] is empty. A client that waits for `100 Continue` gets it only if
    /// the plan reads the body (RFC 9110 section 10.1.1). If this panics, the client gets 500.
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
    ///                 res.status(401).header("WWW-Authenticate", "Basic").text("log in first")
    ///             }),
    ///             Some(_) => BodyPlan::BufferUpTo(10 << 20),
    ///         }
    ///     }
    ///
    ///     fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
    ///         res.text(format!("{} bytes", req.body().len()))
    ///     }
    /// }
    /// # let mut client = peregrine::testing::Connection::new(&App);
    /// # client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n");
    /// # assert!(client.received().starts_with(b"HTTP/1.1 401 Unauthorized\r\n"));
    /// ```
    #[doc(alias("upload", "max_body"))]
    fn body_plan(&self, req: &Request<'_>) -> BodyPlan {
        let _ = req;
        BodyPlan::Buffer
    }

    /// Whether this handler responds to a request that is not for a resource: CONNECT, TRACE, or OPTIONS for
    /// the whole server (its target is `*`).
    ///
    /// It is called only for such requests, before [`Handler::body_plan`], on the event loop of a worker. If
    /// it panics, the client gets 500.
    ///
    /// Default: false, and the library responds without reading the body:
    ///
    /// - CONNECT gets 501. A handler that looks only at the path would otherwise accept a tunnel (RFC 9110
    ///   section 9.3.6).
    /// - TRACE gets 405. A response would return fields that only the server should see (section 9.3.8).
    /// - `OPTIONS *` gets 204 (section 9.3.7).
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

    /// Makes the response to an error, instead of the library. So an API has errors in its own format, and
    /// pages of another origin can read them.
    ///
    /// It is called for:
    ///
    /// - a request that is refused: malformed, too large, too slow, for another host, or by
    ///   [`BodyPlan::Refuse`];
    /// - a request whose handler panicked or gave a response that cannot be sent;
    /// - a request whose deferred response comes too late.
    ///
    /// It is not called for the 503 of [`Response::offload`], for WebSocket handshakes, and for clients for
    /// which the process has no descriptor.
    ///
    /// A [`Router`](crate::Router) passes it on to the handler of the route, such as one that is mounted.
    ///
    /// `res` has the status of `error`. The connection is closed after the response. The response must be
    /// complete when this returns, must have that status, and must have at most 64 KiB. Otherwise, and if
    /// this panics, the client gets the default response. It runs on the event loop of a worker. Default:
    /// [`ErrorContext::respond`].
    ///
    /// ```
    /// use peregrine::{Done, Handler, Request, Response};
    /// use peregrine::error::ErrorContext;
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
    #[doc(alias("error_page", "catch"))]
    fn error_response(&self, error: &ErrorContext<'_>, res: Response<'_>) -> Done {
        error.respond(res)
    }

    /// Called when something went wrong on a connection, for a log or a metric. The server has already
    /// reacted to the error.
    ///
    /// `peer` is the other end of the connection, which may be a proxy. It is the client
    /// ([`Request::client_addr`](crate::Request::client_addr)) for [`ConnectionError::Failed`].
    ///
    /// It runs on the event loop of the worker. A panic in it is caught and ignored. Default: in a build with
    /// debug assertions a [`ResponseError`](crate::error::ResponseError) and the error of a handler are written to standard
    /// error, because most clients see no details. Nothing else happens.
    fn handle_error(&self, error: &ConnectionError<'_>, peer: Option<SocketAddr>) {
        let _ = peer;
        match error {
            ConnectionError::Response(error) if cfg!(debug_assertions) => {
                crate::log::write_line(format_args!("a response failed: {error}"));
            }
            ConnectionError::Failed(_) if cfg!(debug_assertions) => {
                crate::log::write_line(format_args!("{error}"));
            }
            _ => {}
        }
    }

    /// Called for each response that the library has made without a call of [`Handler::handle_request`] or a
    /// [`BodySink`](crate::body::BodySink).
    ///
    /// These are refusals, responses to WebSocket handshakes, and requests that the client has not sent
    /// completely, which have status 499. A malformed request of HTTP/2 has status 400 here, though the client gets no
    /// response, but RST_STREAM (RFC 9113 section 8.1.1). [`AccessLog`](crate::access_log::AccessLog) writes a line for each; a handler
    /// around another one must pass the call on. It runs on the event loop of the worker. A panic in it is
    /// caught and ignored.
    fn handle_library_response(&self, entry: &AccessEntry<'_>) {
        let _ = entry;
    }

    /// Called on each worker and each WebSocket thread before it waits for its clients, and when the thread ends.
    ///
    /// A thread works in turns: it waits, then handles all that has come, then waits again. This is the end of a turn.
    /// It can do at once what the requests of the turn have in common: one query to a database, one call of
    /// another language, one write to a log. [`Response::defer`] in [`Handler::handle_request`] keeps a request until here.
    /// A [`Responder`](crate::Responder) that is used here belongs to this thread if it was made on this thread; its response
    /// is sent without a further wait.
    ///
    /// The calls of a thread alternate: `before_wait` is the first and the last one, and between a `before_wait` and the
    /// [`after_wait`](Handler::after_wait) that follows it the thread calls no other method of the handler, of a
    /// [`BodySink`](crate::body::BodySink) or of a timer. So a lock of an interpreter can be held for a turn: released
    /// here, and taken in `after_wait`. A turn may be empty. A thread of the pool ([`Response::offload`]) has no turns, and the
    /// thread that drops the handler may be any.
    ///
    /// All connections of the thread wait while it runs, so it must not block for long. A panic in it is reported to
    /// [`Handler::handle_error`] and ends nothing. This report is the one call that comes before `after_wait`.
    ///
    /// A handler around another one must pass the call on. A [`Router`](crate::Router) passes it to each mounted handler and
    /// to each of [`Route::handler`](crate::router::Route::handler), whether or not another one panics. A handler that stands
    /// in several places, as an `Arc`, gets one call for each of them, in a row: then it must notice what is done already, or
    /// stand in one place. Default: nothing, which costs nothing.
    ///
    /// ```
    /// use peregrine::{Done, Handler, Request, Responder, Response};
    /// use std::cell::RefCell;
    ///
    /// thread_local! {
    ///     /// The requests of this turn of this thread.
    ///     static TURN: RefCell<Vec<(String, Responder)>> = RefCell::default();
    /// }
    ///
    /// struct Names;
    ///
    /// /// As one query to a database would.
    /// fn look_up(names: &[&str]) -> Vec<usize> {
    ///     names.iter().map(|name| name.len()).collect()
    /// }
    ///
    /// impl Handler for Names {
    ///     fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
    ///         let (done, responder) = res.defer();
    ///         TURN.with_borrow_mut(|turn| turn.push((req.path().to_owned(), responder)));
    ///         done
    ///     }
    ///
    ///     fn before_wait(&self) {
    ///         let turn = TURN.take();
    ///         let names: Vec<_> = turn.iter().map(|(name, _)| name.as_str()).collect();
    ///         if names.is_empty() {
    ///             return;
    ///         }
    ///         for (found, (_, responder)) in look_up(&names).into_iter().zip(turn) {
    ///             let _ = responder.send(|res| res.text(found.to_string()));
    ///         }
    ///     }
    /// }
    /// # let mut client = peregrine::testing::Connection::new(&Names);
    /// # client.send(b"GET /ada HTTP/1.1\r\nHost: a\r\n\r\nGET /bo HTTP/1.1\r\nHost: a\r\n\r\n");
    /// # let received = String::from_utf8_lossy(client.received());
    /// # assert_eq!(received.matches("HTTP/1.1 200 OK").count(), 2);
    /// # assert!(received.contains("\r\n\r\n4HTTP/1.1") && received.ends_with("\r\n\r\n3"));
    /// ```
    #[doc(alias("batch", "gil", "idle", "end_turn"))]
    fn before_wait(&self) {}

    /// Called on each worker and each WebSocket thread when its wait has ended, before it handles what has come. It
    /// follows each [`before_wait`](Handler::before_wait), except the last one of the thread.
    ///
    /// A panic in it is reported to [`Handler::handle_error`], and the turn goes on. Default: nothing, which costs nothing.
    ///
    /// ```
    /// use peregrine::{Done, Handler, Request, Response};
    /// use std::sync::atomic::{AtomicU64, Ordering};
    ///
    /// #[derive(Default)]
    /// struct Turns(AtomicU64);
    ///
    /// impl Handler for Turns {
    ///     fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
    ///         res.text(format!("turn {}", self.0.load(Ordering::Relaxed)))
    ///     }
    ///
    ///     fn after_wait(&self) {
    ///         self.0.fetch_add(1, Ordering::Relaxed);
    ///     }
    /// }
    /// # let app = Turns::default();
    /// # let mut client = peregrine::testing::Connection::new(&app);
    /// # client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    /// # assert!(client.received().ends_with(b"turn 1"));
    /// ```
    fn after_wait(&self) {}
}

/// The methods of a [`Handler`] around another one that has its own `handle_request` and `body_plan`. With the lint
/// `missing_trait_methods` a method of the trait that is missing here is reported.
macro_rules! forward_rest {
    ($this:ident => $handler:expr) => {
        fn takes_special(&$this, req: &$crate::http::request::Request<'_>) -> bool {
            ($handler).takes_special(req)
        }

        fn error_response(
            &$this,
            error: &$crate::http::response::ErrorContext<'_>,
            res: $crate::http::response::Response<'_>,
        ) -> $crate::http::response::Done {
            ($handler).error_response(error, res)
        }

        fn handle_error(
            &$this,
            error: &$crate::http::connection_error::ConnectionError<'_>,
            peer: Option<std::net::SocketAddr>,
        ) {
            ($handler).handle_error(error, peer);
        }

        fn handle_library_response(&$this, entry: &$crate::http::access_entry::AccessEntry<'_>) {
            ($handler).handle_library_response(entry);
        }

        fn before_wait(&$this) {
            ($handler).before_wait();
        }

        fn after_wait(&$this) {
            ($handler).after_wait();
        }
    };
}
pub(crate) use forward_rest;

/// Forwards all methods.
macro_rules! forward_handler {
    ($($pointer:ty),*) => {
        $(#[deny(clippy::missing_trait_methods)]
        impl<H: Handler + ?Sized> Handler for $pointer {
            fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
                (**self).handle_request(req, res)
            }

            fn body_plan(&self, req: &Request<'_>) -> BodyPlan {
                (**self).body_plan(req)
            }

            forward_rest!(self => **self);
        })*
    };
}

forward_handler!(Arc<H>, Box<H>, &'static H);

/// Whether the library responds to `req`, by [`respond_special`]; see [`Handler::takes_special`].
#[cold]
pub(crate) fn is_for_library(handler: &impl Handler, req: &Request<'_>) -> bool {
    let is_special = match req.method() {
        "CONNECT" | "TRACE" => true,
        "OPTIONS" => req.path() == "*",
        _ => false,
    };
    is_special && !handler.takes_special(req)
}

/// The response of the library to a request that the handler does not take.
#[cold]
pub(crate) fn respond_special(req: &Request<'_>, res: Response<'_>) -> Done {
    match req.method() {
        "CONNECT" => res.status(501).text("CONNECT is not supported here\n"),
        // Every server must support GET and HEAD (RFC 9110 section 9.1).
        "TRACE" => res
            .status(405)
            .header("Allow", "GET, HEAD")
            .text("TRACE is not allowed here\n"),
        _ => res.status(204).body(""),
    }
}

/// A closure as a [`Handler`]; [`from_fn`] makes it.
#[derive(Clone, Copy, Debug)]
pub struct FromFn<F>(F);

impl<F, R> Handler for FromFn<F>
where
    F: Fn(&Request<'_>, Response<'_>) -> R + Send + Sync + 'static,
    R: HandlerResult,
{
    #[inline]
    fn handle_request(&self, req: &Request<'_>, mut res: Response<'_>) -> Done {
        let result = (self.0)(req, res.reborrow());
        result.settle(req, res)
    }
}

/// Makes a [`Handler`] from a closure or function.
///
/// ```
/// let app = peregrine::from_fn(|req, res| res.body(req.path()));
/// # let mut client = peregrine::testing::Connection::new(&app);
/// # client.send(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
/// # assert!(client.received().ends_with(b"/x"));
/// ```
///
/// It returns [`Done`], or a `Result<Done, E>` so that `?` works in it;
/// [`HandlerError`](crate::error::HandlerError) says what an error becomes.
#[doc(alias = "closure")]
pub fn from_fn<F, R>(f: F) -> FromFn<F>
where
    F: Fn(&Request<'_>, Response<'_>) -> R + Send + Sync + 'static,
    R: HandlerResult,
{
    FromFn(f)
}
