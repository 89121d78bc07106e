//! Calls the hooks: the decision about a handshake, and one turn of a connection.
//!
//! It knows handlers, but no sockets, as `http::service` does for HTTP.

use super::hub::Hub;
use super::id::WsId;
use super::peer_table::PeerTable;
use super::state::{SendContext, WsConn, WsNext};
use super::topics::{Publication, Topics};
use super::upgrade::Upgrade;
use super::ws::{Context, Ws};
use super::{Disconnect, WebSocketHandler};
use crate::config::ws_origins::WsOrigins;
use crate::http::access_entry::{AccessEntry, tell_quietly};
use crate::http::connection_error::ConnectionError;
use crate::http::deferred::handshake::Handshake;
use crate::http::handler::Handler;
use crate::http::request::Request;
use crate::http::response::{Done, Response};
use crate::http::service::{Pace, crowded, report};
use crate::log::event;
use crate::runtime::socket::Ends;
use crate::runtime::socket::HookSocket;
use crate::shared::panic_guard::{Panic, catch, drop_quietly};
use peregrine_protocol::Seconds;
use peregrine_protocol::ws::deflate::{Deflate, Inflate};
use peregrine_protocol::ws::handshake;
use peregrine_protocol::ws::handshake::{HandshakeError, Opening};
use peregrine_protocol::ws::limits::WsLimits;
use peregrine_protocol::ws::message_buf::WsInput;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Responds to handshakes.
pub(crate) struct Offers {
    pub(crate) limits: Arc<WsLimits>,
    pub(crate) origins: WsOrigins,
    #[cfg(feature = "deflate")]
    pub(crate) deflate: Option<peregrine_protocol::ws::deflate::WsDeflate>,
}

/// A handshake that was accepted. Its response is in the output.
pub(crate) struct AcceptedUpgrade<C> {
    pub(crate) conn: C,
    pub(crate) limits: Arc<WsLimits>,
    pub(crate) deflate: Option<Box<Deflate>>,
    /// [`Request::client_addr`] of the handshake.
    pub(crate) client: Option<SocketAddr>,
}

/// The result of offering a request.
pub(crate) enum Offered<'r, C> {
    /// The request is not a WebSocket handshake.
    No(Response<'r>),
    Refused(Done),
    /// The program decides later.
    Deferred(Done),
    Accepted(Done, AcceptedUpgrade<C>),
}

impl<'r, C> Offered<'r, C> {
    /// Returns the response, if there is one. An accepted connection goes to `accepted`.
    pub(crate) fn response(
        self,
        accepted: &mut Option<AcceptedUpgrade<C>>,
    ) -> Result<Done, Response<'r>> {
        match self {
            Offered::No(response) => Err(response),
            Offered::Refused(done) | Offered::Deferred(done) => Ok(done),
            Offered::Accepted(done, upgrade) => {
                *accepted = Some(upgrade);
                Ok(done)
            }
        }
    }
}

impl Offers {
    pub(crate) fn new(limits: WsLimits) -> Offers {
        Offers {
            limits: Arc::new(limits),
            origins: WsOrigins::default(),
            #[cfg(feature = "deflate")]
            deflate: Some(peregrine_protocol::ws::deflate::WsDeflate::default()),
        }
    }

    /// Offers a request to the handler, if it asks for a WebSocket. `has_room`: whether there is room for one
    /// more connection.
    pub(crate) fn offer<'r, H: WebSocketHandler>(
        &self,
        handler: &H,
        request: &Request<'_>,
        response: Response<'r>,
        has_room: impl FnOnce() -> bool,
    ) -> Offered<'r, H::Conn> {
        if !handshake::is_wanted(request.header_all("upgrade")) {
            return Offered::No(response);
        }
        let begun = Instant::now();
        let offered = self.judge(handler, request, response, has_room, begun);
        if let Offered::Refused(done) | Offered::Accepted(done, _) = &offered {
            let entry = AccessEntry::new(&request.without_body(), done, begun.elapsed());
            tell_quietly(|| handler.handle_library_response(&entry));
        }
        offered
    }

    fn check_origin(&self, request: &Request<'_>) -> Result<(), HandshakeError> {
        let is_same = || request.is_same_origin();
        match self.origins.allow(request.header_all("origin"), is_same) {
            true => Ok(()),
            false => Err(HandshakeError::Origin),
        }
    }

    /// Decides about a request that asks for a WebSocket.
    fn judge<'r, H: WebSocketHandler>(
        &self,
        handler: &H,
        request: &Request<'_>,
        mut response: Response<'r>,
        has_room: impl FnOnce() -> bool,
        begun: Instant,
    ) -> Offered<'r, H::Conn> {
        let opening = Opening {
            method: request.method(),
            version: request.version(),
            has_body: request.has_body(),
            fields: |name| request.header_all(name),
        };
        let judged = handshake::judge(&opening);
        let key = match judged.and_then(|key| self.check_origin(request).map(|()| key)) {
            Ok(key) => key,
            Err(error) => return Offered::Refused(refuse(error, handler, request, response)),
        };
        let mut upgrade = Upgrade::new(*request, response.reborrow());
        let accepted = handler.accept_ws(request, &mut upgrade);
        let Upgrade {
            done: deferred,
            accepting: own,
            refused,
            limits,
            ..
        } = upgrade;
        let conn = match (refused, accepted) {
            (None, Some(conn)) => conn,
            (refused, accepted) => {
                drop_quietly(accepted);
                if deferred.is_some() {
                    response.restart();
                }
                return match refused {
                    Some((status, text)) => Offered::Refused(response.status(status).text(&text)),
                    None => Offered::No(response),
                };
            }
        };
        if deferred.is_none() && !has_room() {
            return Offered::Refused(crowded(response));
        }
        #[cfg(feature = "deflate")]
        let (agreed, deflate) = self.agree(request);
        #[cfg(not(feature = "deflate"))]
        let deflate = None;
        let write_fields = |fields: &mut Vec<u8>| {
            handshake::accept(key, fields);
            #[cfg(feature = "deflate")]
            if let Some(agreed) = agreed {
                agreed.write(fields);
            }
            fields.extend_from_slice(&own.fields);
        };
        let accepted = AcceptedUpgrade {
            conn,
            limits: limits.unwrap_or_else(|| self.limits.clone()),
            deflate,
            client: request.client_addr(),
        };
        let Some(done) = deferred else {
            let expects_continue = request.expects_continue();
            let done = response.switch_protocols("websocket", expects_continue, write_fields);
            return Offered::Accepted(done, accepted);
        };
        keep(request, begun, accepted, write_fields, &mut response);
        Offered::Deferred(done)
    }

    #[cfg(feature = "deflate")]
    fn agree(
        &self,
        request: &Request<'_>,
    ) -> (
        Option<peregrine_protocol::ws::deflate::Agreed>,
        Option<Box<Deflate>>,
    ) {
        let Some(config) = self.deflate else {
            return (None, None);
        };
        let offers = request.header_all("sec-websocket-extensions");
        let agreed = peregrine_protocol::ws::deflate::negotiate(offers, &config);
        let deflate = agreed.map(|agreed| Box::new(Deflate::new(agreed, config)));
        (agreed, deflate)
    }
}

/// Keeps what is needed when the program has decided: the request is gone by then.
fn keep<C: Send + 'static>(
    request: &Request<'_>,
    begun: Instant,
    accepted: AcceptedUpgrade<C>,
    write_fields: impl FnOnce(&mut Vec<u8>),
    response: &mut Response<'_>,
) {
    let expects_continue = request.expects_continue();
    let request = request.without_body().to_owned_request();
    let mut fields = Vec::new();
    write_fields(&mut fields);
    response.decides(Handshake {
        _charge: response.budget().charge(request.held()),
        request,
        begun,
        fields,
        expects_continue,
        upgrade: Box::new(accepted),
    });
}

/// Responds to a handshake that is not passed to the handler.
#[cold]
fn refuse<H: Handler>(
    error: HandshakeError,
    handler: &H,
    request: &Request<'_>,
    response: Response<'_>,
) -> Done {
    let (status, text) = error.response();
    let error_told = ConnectionError::Handshake { status, text };
    report(handler, &error_told, request.ends());
    let mut response = response.status(status);
    for (name, value) in error.fields() {
        response = response.header(name, value);
    }
    response.text(text)
}

/// A pointer to a handler: an `Arc` in a thread, a reference in a test.
pub(crate) trait WsHandlerRef: Deref<Target: WebSocketHandler + Sized> {}

impl<P: Deref<Target: WebSocketHandler + Sized>> WsHandlerRef for P {}

/// The state that such a handler has for each connection.
pub(crate) type ConnOf<P> = <<P as Deref>::Target as WebSocketHandler>::Conn;

/// State that the connections of a thread share, without sockets.
pub(crate) struct WsService<P> {
    pub(crate) handler: P,
    pub(crate) hub: Hub,
    pub(crate) topics: Topics,
    /// Messages that hooks have published, for the subscribers of this thread.
    pub(crate) later: Vec<Publication>,
    pub(crate) kit: SendContext,
    pub(crate) inflate: Inflate,
    pub(crate) now: Seconds,
    /// The number of hooks that have panicked since the last read of this value.
    pub(crate) panics: u64,
}

/// The result of a turn of a connection.
pub(crate) struct Pumped {
    /// The number of messages that were passed to the handler.
    pub(crate) messages: u64,
    /// Other connections have their turn before the rest of the input is handled.
    pub(crate) is_late: bool,
}

/// One connection without its socket.
pub(crate) struct Peer<C> {
    pub(crate) ws: WsConn,
    pub(crate) conn: C,
    pub(crate) id: WsId,
}

impl<P: WsHandlerRef> WsService<P> {
    pub(crate) fn new(handler: P, hub: Hub, peers: Arc<PeerTable>) -> WsService<P> {
        WsService {
            handler,
            topics: Topics::new(hub.relay().cloned(), peers),
            hub,
            later: Vec::new(),
            kit: SendContext::default(),
            inflate: Inflate::default(),
            now: Seconds::START,
            panics: 0,
        }
    }

    /// Passes the messages in the input to the handler. Ends when the input is used up, the connection is
    /// over, too many bytes are unsent, or the turn has taken too long.
    pub(crate) fn pump(
        &mut self,
        peer: &mut Peer<ConnOf<P>>,
        input: &mut WsInput,
        turn_time: Duration,
        socket: &mut impl HookSocket,
    ) -> Pumped {
        let (mut pace, mut messages) = (Pace::default(), 0);
        while peer.ws.reads() {
            if pace.is_over(|| !input.raw().is_empty()) {
                // The server has not read the rest of the message yet, so this is not the fault of the
                // client.
                input.forget_meter();
                return Pumped {
                    messages,
                    is_late: true,
                };
            }
            let next = peer.ws.next(input, self.now);
            pace.begin(turn_time, || !input.raw().is_empty());
            match next {
                WsNext::Read | WsNext::Over => break,
                WsNext::Pong(payload) => self.hook(peer, socket, |handler, ws| {
                    handler.handle_ws_pong(ws, payload.as_bytes());
                }),
                WsNext::Message => {
                    messages += 1;
                    self.message(peer, input, socket);
                    peer.ws.done(input);
                }
            }
        }
        peer.ws.wait_for_more(input, self.now);
        Pumped {
            messages,
            is_late: false,
        }
    }

    fn message(
        &mut self,
        peer: &mut Peer<ConnOf<P>>,
        input: &WsInput,
        socket: &mut impl HookSocket,
    ) {
        // Taken out, because the message may be in this buffer while the hook has everything else.
        let mut inflate = std::mem::take(&mut self.inflate);
        match peer.ws.message(input, &mut inflate) {
            Ok(message) => self.hook(peer, socket, |handler, ws| {
                handler.handle_ws_frame(ws, message);
            }),
            Err(error) => peer.ws.fail(error, self.now),
        }
        self.inflate = inflate;
    }

    /// Calls the handler. If it panics, the connection closes.
    pub(crate) fn hook(
        &mut self,
        peer: &mut Peer<ConnOf<P>>,
        socket: &mut impl HookSocket,
        hook: impl FnOnce(&P::Target, &mut Ws<'_, ConnOf<P>>),
    ) {
        let mut ws = Ws {
            conn: &mut peer.conn,
            ws: &mut peer.ws,
            context: Context {
                id: peer.id,
                now: self.now,
                hub: &self.hub,
                topics: &mut self.topics,
                later: &mut self.later,
                kit: &mut self.kit,
                socket,
            },
        };
        let handler = &*self.handler;
        // As with requests: the handler is shared and has to be sound after a panic, and the state of the
        // connection is dropped.
        if let Err(panic) = catch(|| hook(handler, &mut ws)) {
            self.panics += 1;
            peer.ws.close(INTERNAL_ERROR, "", self.now);
            tell_panic(handler, &panic, socket);
        }
    }

    /// The connection is over: removes its subscriptions and makes the last call of the handler for it.
    pub(crate) fn disconnect(
        &mut self,
        peer: &mut Peer<ConnOf<P>>,
        socket: &mut impl HookSocket,
        why: &Disconnect,
    ) {
        self.topics.remove(peer.id.conn());
        self.hook(peer, socket, |handler, ws| {
            handler.handle_ws_disconn(ws, why);
        });
        self.topics.remove(peer.id.conn());
    }
}

/// The code for an internal error (RFC 6455 section 7.4.1).
const INTERNAL_ERROR: u16 = 1011;

#[cold]
fn tell_panic<H: Handler>(handler: &H, panic: &Panic, ends: &dyn Ends) {
    let error = ConnectionError::Panicked(panic.message());
    event!(Error, "closed with 1011: {error}");
    report(handler, &error, ends);
}
