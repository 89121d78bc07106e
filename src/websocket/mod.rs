//! `WebSocketHandler`: the trait that a user implements.

pub(crate) mod accepting;
#[cfg(any(test, feature = "internals"))]
pub(crate) mod check;
#[cfg(feature = "websocket")]
pub(crate) mod connection;
#[cfg(feature = "websocket")]
pub(crate) mod driver;
pub(crate) mod hub;
pub(crate) mod id;
pub(crate) mod peer_table;
#[cfg(feature = "websocket")]
pub(crate) mod service;
pub(crate) mod state;
pub(crate) mod thread_handle;
#[cfg(feature = "websocket")]
pub(crate) mod threads;
pub(crate) mod topics;
pub(crate) mod upgrade;
pub(crate) mod upgrade_responder;
pub(crate) mod ws;

use crate::http::handler::Handler;
use crate::http::request::Request;
use peregrine_protocol::ws::frame::{FrameError, Message};
use state::End;
use std::io;
use std::sync::Arc;
use upgrade::Upgrade;
use ws::Ws;

/// A [`Handler`] that also serves WebSocket connections (RFC 6455).
/// [`Server::websocket`](crate::Server::websocket) enables it.
///
/// [`accept_ws`](WebSocketHandler::accept_ws) runs on the worker that has read the request. The other methods
/// (hooks) of a connection run on the one WebSocket thread that owns it, one after the other. While a hook
/// runs, the other connections of that thread wait, so it must not block for long. If a hook panics,
/// [`Handler::handle_error`] is called, the connection closes with 1011, and the thread goes on. A `Mutex`
/// that the hook held stays poisoned; see [`Handler::handle_request`].
///
/// The library responds to pings, sends pings to silent clients, and does the close handshake.
///
/// Serve it by [`Server::websocket`](crate::Server::websocket). A server without this call gives handshakes to
/// [`Handler::handle_request`] and never calls the hooks of this trait.
///
/// ```
/// use peregrine::{Done, Handler, Request, Response};
/// use peregrine::ws::{Message, Upgrade, WebSocketHandler, Ws};
///
/// struct Chat;
///
/// struct Guest {
///     said: u64,
/// }
///
/// impl Handler for Chat {
///     fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
///         res.html("<script>new WebSocket('/ws')</script>")
///     }
/// }
///
/// impl WebSocketHandler for Chat {
///     type Conn = Guest;
///
///     fn accept_ws(&self, req: &Request<'_>, _: &mut Upgrade<'_>) -> Option<Guest> {
///         (req.path() == "/ws").then_some(Guest { said: 0 })
///     }
///
///     fn handle_ws_conn(&self, ws: &mut Ws<'_, Guest>) {
///         let _ = ws.subscribe("room");
///     }
///
///     fn handle_ws_frame(&self, ws: &mut Ws<'_, Guest>, message: Message<'_>) {
///         ws.conn.said += 1;
///         ws.publish("room", message);
///     }
/// }
///
/// # fn main() -> std::io::Result<()> {
/// let server = peregrine::Server::new(Chat).websocket().bind("127.0.0.1:0").start()?;
/// # server.stop();
/// # server.wait().map(|_| ())
/// # }
/// ```
pub trait WebSocketHandler: Handler {
    /// The state of one connection. The library owns it and passes it to each hook as [`Ws::conn`]. So the
    /// program needs no map from connections to states, and no lock.
    type Conn: Send + 'static;

    /// Accepts or refuses a WebSocket handshake. It is called once for each valid handshake (RFC 6455 section
    /// 4.2.1).
    ///
    /// - `Some` accepts the connection, unless [`Upgrade::refuse`] was called. If there are too many WebSocket
    ///   connections, the client gets 503.
    /// - `None` after [`Upgrade::refuse`] refuses it.
    /// - `None` without it passes the request to [`Handler::handle_request`], like any other request.
    ///
    /// [`Upgrade::defer`] leaves the decision to another thread. The state is returned now.
    ///
    /// The state in `Some` is dropped without a call of [`handle_ws_conn`](WebSocketHandler::handle_ws_conn) or of another
    /// hook if the connection does not open: it was refused, there are too many, or the client or the server ends
    /// before. A program that has to know this implements `Drop` for it.
    ///
    /// The library refuses handshakes that are not valid with a 4xx, and those of pages from other sites by
    /// [`Config::ws_origins`], before this is called. A request with `Expect: 100-continue` gets a `100
    /// Continue` before the 101 (RFC 9110 section 7.8). A request with a body is refused, whatever
    /// [`Handler::body_plan`] returns.
    ///
    /// [`Config::ws_origins`]: crate::Config::ws_origins
    #[doc(alias = "upgrade")]
    fn accept_ws(&self, req: &Request<'_>, upgrade: &mut Upgrade<'_>) -> Option<Self::Conn>;

    /// Called once when a connection has begun. Messages sent here follow the handshake.
    #[doc(alias("on_open", "ws_open"))]
    fn handle_ws_conn(&self, ws: &mut Ws<'_, Self::Conn>) {
        let _ = ws;
    }

    /// Called once for each complete *message*, not for each frame. The message is borrowed from the buffer
    /// of the connection; one that came in a single frame was not copied.
    #[doc(alias("on_message", "ws_message"))]
    fn handle_ws_frame(&self, ws: &mut Ws<'_, Self::Conn>, message: Message<'_>);

    /// Called once when a connection has ended, for each call of
    /// [`handle_ws_conn`](WebSocketHandler::handle_ws_conn). Nothing can be sent on the connection any more.
    #[doc(alias("on_close", "ws_close"))]
    fn handle_ws_disconn(&self, ws: &mut Ws<'_, Self::Conn>, why: &Disconnect) {
        let _ = (ws, why);
    }

    /// Called when a slow client has caught up, so that the program can send more. The backlog was above
    /// [`WsLimits::backlog_mark`](crate::ws::WsLimits::backlog_mark), or a message did not fit; now the backlog
    /// is at the mark or below.
    fn handle_ws_drain(&self, ws: &mut Ws<'_, Self::Conn>) {
        let _ = ws;
    }

    /// Called for each pong. Its payload is that of [`Ws::ping`], or empty for a ping of the library. A
    /// client may also send pongs without a ping (RFC 6455 section 5.5.3).
    fn handle_ws_pong(&self, ws: &mut Ws<'_, Self::Conn>, payload: &[u8]) {
        let _ = (ws, payload);
    }
}

/// The hooks of a [`WebSocketHandler`] around another one: all methods but `accept_ws`. With the lint
/// `missing_trait_methods` a method of the trait that is missing here is reported.
macro_rules! forward_hooks {
    ($this:ident => $handler:expr) => {
        fn handle_ws_conn(&$this, ws: &mut $crate::websocket::ws::Ws<'_, Self::Conn>) {
            $handler.handle_ws_conn(ws);
        }

        fn handle_ws_frame(
            &$this,
            ws: &mut $crate::websocket::ws::Ws<'_, Self::Conn>,
            message: peregrine_protocol::ws::frame::Message<'_>,
        ) {
            $handler.handle_ws_frame(ws, message);
        }

        fn handle_ws_disconn(
            &$this,
            ws: &mut $crate::websocket::ws::Ws<'_, Self::Conn>,
            why: &$crate::websocket::Disconnect,
        ) {
            $handler.handle_ws_disconn(ws, why);
        }

        fn handle_ws_drain(&$this, ws: &mut $crate::websocket::ws::Ws<'_, Self::Conn>) {
            $handler.handle_ws_drain(ws);
        }

        fn handle_ws_pong(
            &$this,
            ws: &mut $crate::websocket::ws::Ws<'_, Self::Conn>,
            payload: &[u8],
        ) {
            $handler.handle_ws_pong(ws, payload);
        }
    };
}
pub(crate) use forward_hooks;

macro_rules! forward_websocket_handler {
    ($($pointer:ty),*) => {
        $(#[deny(clippy::missing_trait_methods)]
        impl<H: WebSocketHandler + ?Sized> WebSocketHandler for $pointer {
            type Conn = H::Conn;

            fn accept_ws(&self, req: &Request<'_>, upgrade: &mut Upgrade<'_>) -> Option<H::Conn> {
                (**self).accept_ws(req, upgrade)
            }

            forward_hooks!(self => (**self));
        })*
    };
}

forward_websocket_handler!(Arc<H>, Box<H>, &'static H);

/// Why a WebSocket connection ended.
///
/// ```
/// use peregrine::ws::Disconnect;
///
/// let why = Disconnect::Closed { code: 1000, reason: "done".into() };
/// assert_eq!(why.to_string(), "closed with 1000: done");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Disconnect {
    /// The close handshake is complete (RFC 6455 section 7), begun by either side. The fields are those of
    /// the client's close frame.
    Closed {
        /// The close code (RFC 6455 section 7.4); 1005 if the client sent none.
        code: u16,
        /// The close reason, up to 123 bytes.
        reason: Box<str>,
    },
    /// The client violated the protocol or exceeded a limit. It got a close frame with the code.
    Failed(FrameError),
    /// The client closed the connection without a close frame.
    Gone,
    /// A read or a write failed.
    Io(io::Error),
    /// The client did not take its messages ([`BacklogPolicy::Close`](crate::ws::BacklogPolicy::Close)).
    Backlog,
    /// The client did not respond to a ping in time.
    Silent,
    /// The client did not respond to the close frame of the server in time.
    CloseTimeout,
    /// The client took no byte of its messages for [`WsLimits::write_timeout`](crate::ws::WsLimits::write_timeout), or
    /// took them slower than [`WsLimits::write_rate`](crate::ws::WsLimits::write_rate).
    WriteTimeout,
    /// Memory was short, and the client took none of its messages
    /// ([`Limits::stall_timeout`](crate::Limits::stall_timeout)).
    Overloaded,
    /// The server was stopped, and the connection had not closed in time.
    Stopped,
}

impl Disconnect {
    pub(crate) fn new(end: &End) -> Disconnect {
        match end {
            End::Closed { code, reason } => Disconnect::Closed {
                code: *code,
                reason: reason.clone(),
            },
            End::Failed(error) => Disconnect::Failed(*error),
            End::Gone => Disconnect::Gone,
            End::Backlog => Disconnect::Backlog,
            End::Silent => Disconnect::Silent,
            End::CloseTimeout => Disconnect::CloseTimeout,
            End::WriteTimeout => Disconnect::WriteTimeout,
            End::Overloaded => Disconnect::Overloaded,
        }
    }
}

impl std::fmt::Display for Disconnect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Disconnect::Closed { code, reason } if reason.is_empty() => {
                write!(f, "closed with {code}")
            }
            Disconnect::Closed { code, reason } => write!(f, "closed with {code}: {reason}"),
            Disconnect::Failed(error) => write!(f, "closed with {}: {error}", error.close_code()),
            Disconnect::Gone => f.write_str("the client left without a close frame"),
            Disconnect::Io(error) => error.fmt(f),
            Disconnect::Backlog => f.write_str("the client does not take its messages"),
            Disconnect::Silent => f.write_str("the client does not respond to pings"),
            Disconnect::CloseTimeout => f.write_str("the client does not respond to a close frame"),
            Disconnect::WriteTimeout => f.write_str("the client takes its messages too slowly"),
            Disconnect::Overloaded => f.write_str("memory was short and the client took nothing"),
            Disconnect::Stopped => f.write_str("the server was stopped"),
        }
    }
}
