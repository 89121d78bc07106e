//! `Upgrade`: the decision about a WebSocket handshake.

use crate::http::request::Request;
use peregrine_protocol::http::{field_block, fields};
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
    /// The header fields, as a block.
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
        if self.protocol.is_some() {
            return Err(UpgradeError::ChosenAlready);
        }
        let offered = self.protocols().find(|offered| *offered == name);
        self.protocol = Some(offered.ok_or(UpgradeError::NotOffered)?);
        field_block::push(b"Sec-WebSocket-Protocol", name.as_bytes(), &mut self.fields);
        Ok(())
    }

    /// Adds a header field to the response that accepts the connection.
    ///
    /// # Errors
    ///
    /// Nothing is added on an error. [`UpgradeError::Malformed`] for a name or value that is not valid by RFC
    /// 9110 section 5. [`UpgradeError::Reserved`] for a field of the handshake or of the library: `Upgrade`,
    /// `Connection`, `Trailer`, `Date`, `Server`, the fields of framing, and all fields with a name that begins with `Sec-WebSocket-`.
    pub fn header(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), UpgradeError> {
        let value = value.as_ref();
        if !syntax::is_token(name.as_bytes()) || !syntax::is_field_value(value) {
            return Err(UpgradeError::Malformed);
        }
        if fields::is_of_handshake(name) {
            return Err(UpgradeError::Reserved);
        }
        field_block::push(name.as_bytes(), value, &mut self.fields);
        Ok(())
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

    /// Sets the limits of this connection, instead of [`Config::ws_limits`](crate::Config::ws_limits).
    /// Connections can share the limits in an `Arc`; then they cost no memory for each connection.
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

/// Why a setting of the response to a handshake is refused.
///
/// ```
/// assert_eq!(peregrine::ws::UpgradeError::NotOffered.to_string(), "the client has not offered this subprotocol");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UpgradeError {
    /// The name of a header field is not a token, or its value has a control byte.
    Malformed,
    /// The header field belongs to the handshake or to the library.
    Reserved,
    /// The client has not offered this subprotocol.
    NotOffered,
    /// A subprotocol was chosen before.
    ChosenAlready,
}

impl std::fmt::Display for UpgradeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            UpgradeError::Malformed => "malformed header field",
            UpgradeError::Reserved => "the header field belongs to the handshake",
            UpgradeError::NotOffered => "the client has not offered this subprotocol",
            UpgradeError::ChosenAlready => "a subprotocol was chosen before",
        })
    }
}

impl std::error::Error for UpgradeError {}
