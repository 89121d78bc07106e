//! `UpgradeResponder`: decides about a WebSocket handshake later.

use super::accepting::{Accepting, UpgradeError};
use crate::http::deferred::{Responder, SendError};
use crate::http::response::{Done, Response};

/// Decides about one WebSocket handshake later, from any thread. [`Upgrade::defer`](crate::ws::Upgrade::defer) makes it.
///
/// If it is dropped without a decision, the client gets 500, and
/// [`Handler::handle_error`](crate::Handler::handle_error) is called.
///
/// ```
/// use peregrine::ws::{Message, Upgrade, WebSocketHandler, Ws};
/// use peregrine::{Done, Handler, Request, Response};
/// use std::sync::{Arc, OnceLock};
///
/// struct Chat;
///
/// /// The name is known when the connection is accepted.
/// type Name = Arc<OnceLock<String>>;
///
/// /// As a query to a database would.
/// fn look_up(token: &str) -> Option<String> {
///     token.strip_prefix("user ").map(str::to_owned)
/// }
///
/// impl Handler for Chat {
///     fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
///         res.status(426).header("Upgrade", "websocket").text("a WebSocket\n")
///     }
/// }
///
/// impl WebSocketHandler for Chat {
///     type Conn = Name;
///
///     fn accept_ws(&self, req: &Request<'_>, upgrade: &mut Upgrade<'_>) -> Option<Name> {
///         let token = req.query("token")?.into_owned();
///         let (name, responder) = (Name::default(), upgrade.defer().ok()?);
///         let known = name.clone();
///         std::thread::spawn(move || match look_up(&token) {
///             Some(found) => {
///                 let _ = known.set(found);
///                 responder.accept()
///             }
///             None => responder.respond(|res| res.status(401).text("log in first\n")),
///         });
///         Some(name)
///     }
///
///     fn handle_ws_conn(&self, ws: &mut Ws<'_, Name>) {
///         let (name, mut ws) = ws.split();
///         ws.send(name.get().map_or("unknown", String::as_str));
///     }
///
///     fn handle_ws_frame(&self, _: &mut Ws<'_, Name>, _: Message<'_>) {}
/// }
/// # let mut client = peregrine::testing::WebSocket::connect(&Chat, "/?token=user%20ada").expect("accepted");
/// # assert_eq!(client.take_received(), b"\x81\x03ada");
/// # let refused = peregrine::testing::WebSocket::connect(&Chat, "/?token=x").err().expect("refused");
/// # assert!(refused.starts_with(b"HTTP/1.1 401 Unauthorized\r\n"));
/// ```
#[must_use = "a drop sends 500"]
pub struct UpgradeResponder {
    responder: Responder,
    /// The subprotocols that the client offers.
    offered: Box<[Box<str>]>,
    accepting: Accepting,
}

impl UpgradeResponder {
    pub(super) fn new(
        responder: Responder,
        offered: Box<[Box<str>]>,
        accepting: Accepting,
    ) -> UpgradeResponder {
        UpgradeResponder {
            responder,
            offered,
            accepting,
        }
    }

    /// The subprotocols that the client offers, in its order of preference.
    pub fn protocols(&self) -> impl Iterator<Item = &str> {
        self.offered.iter().map(|name| &**name)
    }

    /// Chooses a subprotocol, for [`UpgradeResponder::accept`].
    ///
    /// # Errors
    ///
    /// Those of [`Upgrade::protocol`](crate::ws::Upgrade::protocol).
    pub fn protocol(&mut self, name: &str) -> Result<(), UpgradeError> {
        let offered = self.offered.iter().map(|name| &**name);
        self.accepting.protocol(name, offered)
    }

    /// Adds a header field to the response of [`UpgradeResponder::accept`].
    ///
    /// # Errors
    ///
    /// Those of [`Upgrade::header`](crate::ws::Upgrade::header).
    pub fn header(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), UpgradeError> {
        self.accepting.header(name, value.as_ref())
    }

    /// Accepts the connection. The next call of the program for it is
    /// [`handle_ws_conn`](crate::ws::WebSocketHandler::handle_ws_conn). If there are too many WebSocket connections by now,
    /// the client gets 503, and the state of the connection is dropped.
    ///
    /// # Errors
    ///
    /// [`SendError::Gone`] if the client was known to be gone, or the time limit had passed.
    pub fn accept(self) -> Result<(), SendError> {
        self.responder.accept(self.accepting.fields)
    }

    /// Refuses the connection with any response, as [`Responder::send`] sends it. Fields that were added by
    /// [`UpgradeResponder::header`] are not in it. The state of the connection is dropped.
    ///
    /// # Errors
    ///
    /// [`SendError::Gone`] if the client was known to be gone, or the time limit had passed. `respond` is not called then.
    pub fn respond(self, respond: impl FnOnce(Response<'_>) -> Done) -> Result<(), SendError> {
        self.responder.send(respond)
    }

    /// Whether the client has left, or the time limit has passed, so that the decision has no effect.
    pub fn is_gone(&self) -> bool {
        self.responder.is_gone()
    }
}

impl std::fmt::Debug for UpgradeResponder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpgradeResponder")
            .field("is_gone", &self.is_gone())
            .field("accepting", &self.accepting)
            .finish_non_exhaustive()
    }
}
