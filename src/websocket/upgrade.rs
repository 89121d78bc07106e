//! The decision about a request that asks for a WebSocket.

use crate::protocol::{class, fields, ws_limits::WsLimits};
use crate::request::Request;
use std::sync::Arc;

/// What [`accept_ws`](crate::WebSocketHandler::accept_ws) can say about the answer to a handshake.
///
/// ```
/// use peregrine::{Request, Upgrade};
///
/// # struct Conn;
/// fn accept_ws(req: &Request<'_>, upgrade: &mut Upgrade<'_>) -> Option<Conn> {
///     if req.header("origin") != Some("https://chat.example") {
///         upgrade.refuse(403, "not from there");
///         return None;
///     }
///     upgrade.protocol("chat.v2");
///     upgrade.header("Set-Cookie", "seen=1");
///     Some(Conn)
/// }
/// ```
pub struct Upgrade<'a> {
    request: Request<'a>,
    pub(crate) fields: Vec<u8>,
    protocol: Option<&'a str>,
    pub(crate) refused: Option<(u16, String)>,
    pub(crate) limits: Option<Arc<WsLimits>>,
}

impl<'a> Upgrade<'a> {
    pub(crate) fn new(request: Request<'a>) -> Upgrade<'a> {
        Upgrade {
            request,
            fields: Vec::new(),
            protocol: None,
            refused: None,
            limits: None,
        }
    }

    /// The subprotocols that the client offers, in its order of preference (RFC 6455 section 1.9).
    pub fn protocols(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.request
            .header_all("sec-websocket-protocol")
            .flat_map(class::list)
            .filter(|name| class::is_token(name))
            .filter_map(|name| std::str::from_utf8(name).ok())
    }

    /// Chooses a subprotocol. False, and nothing is chosen, if the client has not offered it or
    /// another was chosen before: a client would take that for an error.
    pub fn protocol(&mut self, name: &str) -> bool {
        let offered = self.protocols().find(|offered| *offered == name);
        if self.protocol.is_some() || offered.is_none() {
            return false;
        }
        self.protocol = offered;
        self.line("Sec-WebSocket-Protocol", name.as_bytes());
        true
    }

    /// Adds a header field to the answer that accepts the connection. False, and nothing is added,
    /// for a malformed name or value (RFC 9110 section 5), and for a field that belongs to the
    /// handshake or to the library: `Upgrade`, `Connection`, `Trailer`, `Date`, `Server`, those of
    /// framing, and all whose name begins with `Sec-WebSocket-`.
    pub fn header(&mut self, name: &str, value: impl AsRef<[u8]>) -> bool {
        let value = value.as_ref();
        let good = class::is_token(name.as_bytes())
            && class::is_field_value(value)
            && !fields::is_of_handshake(name);
        if good {
            self.line(name, value);
        }
        good
    }

    fn line(&mut self, name: &str, value: &[u8]) {
        for part in [name.as_bytes(), b": ", value, b"\r\n"] {
            self.fields.extend_from_slice(part);
        }
    }

    /// Refuses the connection with a status of 400 to 599 and a text; another status becomes 500.
    /// `accept_ws` has to return `None` for it.
    pub fn refuse(&mut self, status: u16, text: impl Into<String>) {
        let status = match status {
            400..=599 => status,
            _ => 500,
        };
        self.refused = Some((status, text.into()));
    }

    /// Sets the limits of this connection, in place of
    /// [`Config::ws_limits`](crate::Config::ws_limits). An `Arc` that many connections share
    /// costs each of them nothing.
    pub fn limits(&mut self, limits: impl Into<Arc<WsLimits>>) {
        self.limits = Some(limits.into());
    }
}

impl std::fmt::Debug for Upgrade<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upgrade")
            .field("protocol", &self.protocol)
            .field("refused", &self.refused)
            .finish_non_exhaustive()
    }
}
