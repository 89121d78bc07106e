//! `Upgrade`: the decision about a WebSocket handshake.

use super::accepting::{Accepting, UpgradeError};
use super::upgrade_responder::UpgradeResponder;
use crate::http::request::Request;
use crate::http::response::{Done, Response};
use peregrine_protocol::syntax;
use peregrine_protocol::ws::limits::WsLimits;
use std::sync::Arc;

/// Settings of the response to a WebSocket handshake, for [`accept_ws`](crate::ws::WebSocketHandler::accept_ws).
///
/// ```
/// use peregrine::Request;
/// use peregrine::ws::Upgrade;
///
/// # struct Conn;
/// fn accept_ws(req: &Request<'_>, upgrade: &mut Upgrade<'_>) -> Option<Conn> {
///     if req.header("cookie").is_none() {
///         upgrade.refuse(401, "log in first");
///         return None;
///     }
///     // An error if the client has not offered it. This server accepts such clients too.
///     let _ = upgrade.protocol("chat.v2");
///     upgrade.header("Set-Cookie", "seen=1").ok()?;
///     Some(Conn)
/// }
/// ```
pub struct Upgrade<'a> {
    request: Request<'a>,
    /// `None` after it was deferred.
    response: Option<Response<'a>>,
    pub(crate) done: Option<Done>,
    pub(crate) accepting: Accepting,
    pub(crate) refused: Option<(u16, String)>,
    pub(crate) limits: Option<Arc<WsLimits>>,
}

impl<'a> Upgrade<'a> {
    pub(crate) fn new(request: Request<'a>, response: Response<'a>) -> Upgrade<'a> {
        Upgrade {
            request,
            response: Some(response),
            done: None,
            accepting: Accepting::default(),
            refused: None,
            limits: None,
        }
    }

    /// The subprotocols that the client offers, in its order of preference (RFC 6455 section 1.9).
    pub fn protocols(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.request
            .header_all("sec-websocket-protocol")
            .flat_map(syntax::list)
            .filter(|name| syntax::is_token(name))
            .filter_map(|name| std::str::from_utf8(name).ok())
    }

    /// Chooses a subprotocol.
    ///
    /// # Errors
    ///
    /// [`UpgradeError::NotOffered`] if the client has not offered it. [`UpgradeError::ChosenAlready`] after a
    /// choice. In both cases nothing is chosen, because the client would close the connection.
    pub fn protocol(&mut self, name: &str) -> Result<(), UpgradeError> {
        let offered = self.protocols();
        self.accepting.protocol(name, offered)
    }

    /// Adds a header field to the response that accepts the connection.
    ///
    /// # Errors
    ///
    /// Nothing is added on an error. [`UpgradeError::Malformed`] for a name or value that is not valid by RFC
    /// 9110 section 5. [`UpgradeError::Reserved`] for a field of the handshake or of the library: `Upgrade`,
    /// `Connection`, `Trailer`, `Date`, `Server`, the fields of framing, and all fields with a name that begins with `Sec-WebSocket-`.
    pub fn header(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), UpgradeError> {
        self.accepting.header(name, value.as_ref())
    }

    /// Refuses the connection with a status from 400 to 599 and a text. Any other status becomes 500. The
    /// connection is refused whatever `accept_ws` returns.
    pub fn refuse(&mut self, status: u16, text: impl Into<String>) {
        let status = match status {
            400..=599 => status,
            _ => 500,
        };
        self.refused = Some((status, text.into()));
    }

    /// Lets another thread decide, by the [`UpgradeResponder`], while the worker goes on. `accept_ws` returns the state of the
    /// connection as ever; what only the decision knows goes into a shared place of it, for example a
    /// [`OnceLock`](std::sync::OnceLock). If `accept_ws` returns `None` or [`Upgrade::refuse`] was called, the responder has
    /// no effect. The settings of the `Upgrade` apply if the connection is accepted.
    ///
    /// Until the decision the handshake is a request whose response is deferred: it occupies a connection and no thread, and
    /// the limit on WebSocket connections does not count it yet. After
    /// [`Limits::response_timeout`](crate::Limits::response_timeout) the client gets 503. If the client leaves, the state is
    /// dropped at once, without a call of a hook. What the client sends early, up to one buffer
    /// ([`Limits::head_bytes`](crate::Limits::head_bytes)), is kept for the connection.
    ///
    /// # Errors
    ///
    /// [`UpgradeError::Deferred`] if it was deferred before.
    #[doc(alias("async", "later"))]
    pub fn defer(&mut self) -> Result<UpgradeResponder, UpgradeError> {
        let response = self.response.take().ok_or(UpgradeError::Deferred)?;
        let (done, responder) = response.defer();
        self.done = Some(done);
        let offered = self.protocols().map(Box::from).collect();
        let accepting = self.accepting.rest();
        Ok(UpgradeResponder::new(responder, offered, accepting))
    }

    /// Sets the limits of this connection, instead of [`Config::ws_limits`](crate::Config::ws_limits).
    /// Connections can share the limits in an `Arc`; then they cost no memory for each connection.
    pub fn limits(&mut self, limits: impl Into<Arc<WsLimits>>) {
        self.limits = Some(limits.into());
    }
}

impl std::fmt::Debug for Upgrade<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upgrade")
            .field("accepting", &self.accepting)
            .field("refused", &self.refused)
            .finish_non_exhaustive()
    }
}
