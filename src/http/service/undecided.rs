//! Handshakes that the program decides later.

use super::{ExchangeContext, Outcome, Service, Upgrades};
use crate::http::handler::Handler;
use crate::http::response::{Done, Response};
use std::ops::Deref;

/// The response to a handshake for which there is no room.
#[cold]
pub(crate) fn crowded(response: Response<'_>) -> Done {
    let response = response.status(503).header("Retry-After", "1");
    response.text("too many WebSocket connections\n")
}

impl<P> Service<P>
where
    P: Deref,
    P::Target: Handler + Sized,
{
    /// The decision about the request that was handled last comes later.
    pub(super) fn keep_handshake(&mut self, cx: &mut ExchangeContext<'_>) {
        if let Some(exchange) = cx.exchange {
            exchange.handshake = self.recorder.handshake.take();
        }
    }

    /// The program accepts the handshake, with the header fields `own`. If there is room, the connection is to be handed
    /// over.
    #[cold]
    pub(crate) fn accept(
        &mut self,
        own: &[u8],
        upgrades: &mut impl Upgrades<P::Target>,
        cx: &mut ExchangeContext<'_>,
    ) -> Outcome {
        let handshake = cx.exchange.as_mut().and_then(|e| e.handshake.as_mut());
        let Some(handshake) = handshake else {
            return Outcome::Unchanged;
        };
        let upgrade = std::mem::replace(&mut handshake.upgrade, Box::new(()));
        let response = self.recorder.response(cx.mode, cx.output);
        let done = match upgrades.accept(upgrade) {
            true => response.switch_protocols("websocket", handshake.expects_continue, |fields| {
                fields.extend_from_slice(&handshake.fields);
                fields.extend_from_slice(own);
            }),
            false => crowded(response),
        };
        let (status, body_bytes) = (done.status(), done.known_bytes());
        let close = self.recorder.is_complete().unwrap_or(true);
        cx.head_is_complete(status);
        self.tell_decided(status, Some(body_bytes), cx);
        self.complete(Some(status), body_bytes, close, cx)
    }
}
