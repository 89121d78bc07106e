//! Layers around a handler of WebSocket connections: what they refuse.

use super::Layered;
use crate::http::request::Request;
use crate::websocket::upgrade::Upgrade;
use crate::websocket::ws::Ws;
use crate::websocket::{Disconnect, WebSocketHandler};
use peregrine_protocol::ws::frame::Message;

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
