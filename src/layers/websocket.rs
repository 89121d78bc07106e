//! Layers around a handler of WebSocket connections: what they refuse.

use super::Layered;
use crate::http::request::Request;
use crate::websocket::upgrade::Upgrade;
use crate::websocket::{WebSocketHandler, forward_hooks};

#[deny(clippy::missing_trait_methods)]
impl<H: WebSocketHandler> WebSocketHandler for Layered<H> {
    type Conn = H::Conn;

    /// A handshake that a layer refuses is passed on as a request, so that the layer responds to it.
    fn accept_ws(&self, req: &Request<'_>, upgrade: &mut Upgrade<'_>) -> Option<H::Conn> {
        match self.layers.is_refused(req) {
            true => None,
            false => self.handler.accept_ws(req, upgrade),
        }
    }

    forward_hooks!(self => self.handler);
}
