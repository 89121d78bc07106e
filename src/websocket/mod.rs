//! What a user implements and holds for WebSocket connections.

pub(crate) mod door;
pub(crate) mod hub;
pub(crate) mod origins;
pub(crate) mod seats;
pub(crate) mod topics;
pub(crate) mod upgrade;
pub(crate) mod ws;

use crate::conn::ws::End;
use crate::handler::Handler;
use crate::protocol::frame::{FrameError, Message};
use crate::request::Request;
use std::io;
use std::sync::Arc;
use upgrade::Upgrade;
use ws::Ws;

/// A [`Handler`] that takes WebSocket connections, too (RFC 6455), when it is served by
/// [`Server::websocket`](crate::Server::websocket).
///
/// [`accept_ws`](WebSocketHandler::accept_ws) runs on the worker that read the request; all other
/// hooks of a connection run on the one WebSocket thread that owns it, one after the other. While a
/// hook runs, that thread's other connections wait, so it must not block for long. If a hook
/// panics, [`Handler::handle_error`] is told, the connection closes with 1011, and the thread goes
/// on. A `Mutex` that the hook held stays poisoned; see [`Handler::handle_request`].
///
/// The library answers pings, pings clients that have been silent, and does the close handshake.
///
/// ```
/// use peregrine::{Done, Handler, Message, Request, Response, Upgrade, WebSocketHandler, Ws};
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
///         ws.subscribe("room");
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
    /// The state of one connection. The library owns it and lends it to each hook as
    /// [`Ws::conn`], so there is no map from connections to state, and no lock.
    type Conn: Send + 'static;

    /// Is offered a request that asks for a WebSocket, after its handshake has been found in order
    /// (RFC 6455 section 4.2.1); one that is not has been refused with its own 4xx. `Some` accepts
    /// it, unless [`Upgrade::refuse`] was called. `None` refuses it with that, or, without, hands it to
    /// [`Handler::handle_request`] as a request like any other.
    ///
    /// Pages of other sites have been refused before, by [`Config::ws_origins`].
    ///
    /// A request with `Expect: 100-continue` is accepted with a `100 Continue` before the 101 (RFC 9110
    /// section 7.8), and one with a body is refused, whatever [`Handler::body_plan`] says of it.
    ///
    /// [`Config::ws_origins`]: crate::Config::ws_origins
    fn accept_ws(&self, req: &Request<'_>, upgrade: &mut Upgrade<'_>) -> Option<Self::Conn>;

    /// A connection has begun; what is sent here follows the handshake.
    fn handle_ws_conn(&self, ws: &mut Ws<'_, Self::Conn>) {
        let _ = ws;
    }

    /// A whole message has come. It is borrowed from the connection's buffer: one that came in a
    /// single frame has not been copied.
    fn handle_ws_frame(&self, ws: &mut Ws<'_, Self::Conn>, message: Message<'_>);

    /// A connection has ended; nothing can be sent on it any more. It is called once for each call
    /// of [`handle_ws_conn`](WebSocketHandler::handle_ws_conn).
    fn handle_ws_disconn(&self, ws: &mut Ws<'_, Self::Conn>, why: &Disconnect) {
        let _ = (ws, why);
    }

    /// The backlog was above [`WsLimits::backlog_mark`](crate::WsLimits::backlog_mark), or a
    /// message did not fit, and is at or below the mark now: time to go on sending.
    fn handle_ws_drain(&self, ws: &mut Ws<'_, Self::Conn>) {
        let _ = ws;
    }

    /// A pong came, to a ping of [`Ws::ping`] with that payload, to one of the library's with an
    /// empty one, or unasked (RFC 6455 section 5.5.3).
    fn handle_ws_pong(&self, ws: &mut Ws<'_, Self::Conn>, payload: &[u8]) {
        let _ = (ws, payload);
    }
}

impl<H: WebSocketHandler> WebSocketHandler for Arc<H> {
    type Conn = H::Conn;

    fn accept_ws(&self, req: &Request<'_>, upgrade: &mut Upgrade<'_>) -> Option<H::Conn> {
        (**self).accept_ws(req, upgrade)
    }

    fn handle_ws_conn(&self, ws: &mut Ws<'_, H::Conn>) {
        (**self).handle_ws_conn(ws);
    }

    fn handle_ws_frame(&self, ws: &mut Ws<'_, H::Conn>, message: Message<'_>) {
        (**self).handle_ws_frame(ws, message);
    }

    fn handle_ws_disconn(&self, ws: &mut Ws<'_, H::Conn>, why: &Disconnect) {
        (**self).handle_ws_disconn(ws, why);
    }

    fn handle_ws_drain(&self, ws: &mut Ws<'_, H::Conn>) {
        (**self).handle_ws_drain(ws);
    }

    fn handle_ws_pong(&self, ws: &mut Ws<'_, H::Conn>, payload: &[u8]) {
        (**self).handle_ws_pong(ws, payload);
    }
}

/// Why a WebSocket connection ended.
///
/// ```
/// use peregrine::Disconnect;
///
/// let why = Disconnect::Closed { code: 1000, reason: "done".into() };
/// assert_eq!(why.to_string(), "closed with 1000: done");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Disconnect {
    /// The close handshake was done, whoever began it (RFC 6455 section 7): the client's code and
    /// reason, 1005 if it gave no code.
    Closed {
        /// RFC 6455 section 7.4.
        code: u16,
        /// Up to 123 bytes.
        reason: Box<str>,
    },
    /// The client broke the protocol or a limit, and was told so.
    Failed(FrameError),
    /// The client went away without a close frame.
    Gone,
    /// Reading or writing failed.
    Io(io::Error),
    /// The client did not take what was sent to it
    /// ([`BacklogPolicy::Close`](crate::BacklogPolicy::Close)).
    Backlog,
    /// The client did not answer a ping in time.
    Silent,
    /// The client did not answer our close frame in time.
    CloseTimeout,
    /// The client took no byte of what waited for it in
    /// [`WsLimits::write_time`](crate::WsLimits::write_time), or fewer of them than
    /// [`WsLimits::write_rate`](crate::WsLimits::write_rate).
    WriteTimeout,
    /// Memory was short, and the client took nothing of what waited for it
    /// ([`Limits::stall_time`](crate::Limits::stall_time)).
    Overloaded,
    /// The server was stopped, and the time for that was over.
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
            Disconnect::Silent => f.write_str("the client does not answer pings"),
            Disconnect::CloseTimeout => f.write_str("the client does not answer a close frame"),
            Disconnect::WriteTimeout => f.write_str("the client takes nothing any more"),
            Disconnect::Overloaded => f.write_str("memory was short, and the client took nothing"),
            Disconnect::Stopped => f.write_str("the server was stopped"),
        }
    }
}
