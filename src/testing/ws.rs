//! A WebSocket client in memory.

use super::MEMORY;
use crate::conn::{
    budget::Budget,
    http1::Http1,
    input::Input,
    output::{MAX_SLICES, Output},
    ws::{End, WsConn},
    ws_input::WsInput,
    ws_input::WsInputs,
};
use crate::drive::{Parts, Service, Turn, Upgrades};
use crate::late::{
    Door, Place,
    pool::{Pool, Size},
};
use crate::protocol::frame::{self, Message, OpCode};
use crate::protocol::limits::Limits;
use crate::protocol::ws_limits::WsLimits;
use crate::request::Request;
use crate::response::{Done, Response, Wire};
use crate::stats::WorkerCounters;
use crate::websocket::{
    Disconnect, WebSocketHandler,
    hub::{Hub, WsId},
};
use crate::ws_drive::{Accepted, Offered, Offers, Peer, WsService};
use std::io::IoSlice;
use std::sync::Arc;
use std::time::Duration;

/// One WebSocket connection to a handler, in memory. It is the only one of its server: what it
/// publishes comes back to it if it has subscribed, and its [`Hub`] reaches nobody.
///
/// Time stands still unless [`WebSocket::elapse`] moves it.
///
/// ```
/// use peregrine::testing::WebSocket;
/// # use peregrine::*;
/// # struct Echo;
/// # impl Handler for Echo {
/// #     fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done { res.body("") }
/// # }
/// # impl WebSocketHandler for Echo {
/// #     type Conn = ();
/// #     fn accept_ws(&self, _: &Request<'_>, _: &mut Upgrade<'_>) -> Option<()> { Some(()) }
/// #     fn handle_ws_frame(&self, ws: &mut Ws<'_, ()>, message: Message<'_>) { ws.send(message); }
/// # }
/// let mut client = WebSocket::connect(&Echo, "/ws").expect("accepted");
/// client.send_message("hi");
/// assert_eq!(client.take_received(), b"\x81\x02hi");
/// client.send(b"\x88\x80\0\0\0\0"); // a close frame
/// assert!(client.is_closed());
/// ```
pub struct WebSocket<'h, H: WebSocketHandler> {
    service: WsService<&'h H>,
    peer: Peer<H::Conn>,
    input: Box<WsInput>,
    answer: Vec<u8>,
    received: Vec<u8>,
    /// The client takes nothing.
    held: bool,
    /// It has ended, and what it has sent before is still on its way.
    says_goodbye: bool,
    disconnect: Option<Disconnect>,
}

/// A key like any other.
const HANDSHAKE: &str = "Host: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// What is offloaded is refused.
const NO_POOL: Size = Size {
    threads: 0,
    queue: 0,
    stack: None,
};

impl<'h, H: WebSocketHandler> WebSocket<'h, H> {
    /// Connects to `target`, with the default limits.
    ///
    /// # Errors
    ///
    /// The answer, if it was refused.
    pub fn connect(handler: &'h H, target: &str) -> Result<WebSocket<'h, H>, Vec<u8>> {
        let request = format!("GET {target} HTTP/1.1\r\n{HANDSHAKE}");
        WebSocket::connect_with(handler, request.as_bytes(), WsLimits::default())
    }

    /// Connects with a request of one's own; what follows it is the first frames.
    ///
    /// # Errors
    ///
    /// What came instead of an acceptance.
    pub fn connect_with(
        handler: &'h H,
        request: &[u8],
        limits: WsLimits,
    ) -> Result<WebSocket<'h, H>, Vec<u8>> {
        // Nobody waits here for an answer that comes later.
        let budget = Arc::new(Budget::new(usize::MAX));
        let pool = Pool::new(NO_POOL, || {});
        let door = Door::new(&Limits::default(), pool, budget, || {});
        let mut http = Service {
            handler,
            limits: Limits::default(),
            hosts: None,
            wire: Wire::new(Some("peregrine"), Arc::new(door)),
            now: 0,
            is_timed: false,
        };
        let (mut http1, mut input) = (Http1::new(0, true), Input::new());
        let mut output = Box::<Output>::default();
        let mut taken = Taken(Offers::new(limits), None);
        let mut turn = Turn::Read;
        let mut left = request;
        while turn == Turn::Read && !left.is_empty() {
            let space = input.space();
            let n = space.len().min(left.len());
            space[..n].copy_from_slice(&left[..n]);
            input.filled(n);
            left = &left[n..];
            let mut parts = Parts {
                http1: &mut http1,
                input: &mut input,
                output: &mut output,
                body: &mut None,
                sink: &mut None,
                place: Place::default(),
                ends: &MEMORY,
                counters: &WorkerCounters::default(),
            };
            turn = http.turn(&mut parts, &mut taken);
        }
        let mut answer = Vec::new();
        drain(&mut output, &mut answer);
        let Some(accepted) = taken.1 else {
            return Err(answer);
        };
        let mut ws = WebSocket {
            service: WsService::new(handler, Hub::default()),
            peer: Peer {
                ws: WsConn::new(0, accepted.limits, accepted.deflate, None),
                conn: accepted.conn,
                id: WsId::from_u64(0),
                token: 0,
            },
            input: WsInputs::default().take(),
            answer,
            received: Vec::new(),
            held: false,
            says_goodbye: false,
            disconnect: None,
        };
        ws.service.hook(&mut ws.peer, &MEMORY, |handler, ws| {
            handler.handle_ws_conn(ws);
        });
        ws.run();
        ws.send(input.unread());
        ws.send(left);
        Ok(ws)
    }

    /// The answer to the handshake.
    pub fn handshake(&self) -> &[u8] {
        &self.answer
    }

    /// The connection's own state.
    pub fn conn(&mut self) -> &mut H::Conn {
        &mut self.peer.conn
    }

    /// Bytes arrive from the client; the server does all it can with them. Bytes that come after
    /// the end are lost.
    pub fn send(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.disconnect.is_none() {
            let space = self.input.space();
            let n = space.len().min(bytes.len());
            space[..n].copy_from_slice(&bytes[..n]);
            self.input.filled(n);
            self.peer.ws.heard(self.service.now);
            bytes = &bytes[n..];
            self.run();
        }
    }

    /// A whole message arrives, in one frame.
    pub fn send_message<'m>(&mut self, message: impl Into<Message<'m>>) {
        let message = message.into();
        let mut bytes = Vec::new();
        let payload = message.as_bytes();
        frame::write_header(
            OpCode::Data(message.data()),
            false,
            payload.len(),
            &mut bytes,
        );
        bytes[1] |= 0x80;
        let mask = [1, 2, 3, 4];
        bytes.extend_from_slice(&mask);
        let start = bytes.len();
        bytes.extend_from_slice(payload);
        frame::unmask(&mut bytes[start..], mask, 0);
        self.send(&bytes);
    }

    /// The client goes away, without a close frame unless it has sent one.
    pub fn send_eof(&mut self) {
        self.peer.ws.eof();
        self.run();
    }

    /// Whether the client takes nothing of what is sent to it from now on.
    pub fn hold(&mut self, held: bool) {
        self.held = held;
        self.run();
        if self.says_goodbye {
            self.flush();
        }
    }

    /// Time passes; if a deadline passes with it, the server does what it does then.
    pub fn elapse(&mut self, time: Duration) {
        let seconds = u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
        self.service.now = self.service.now.saturating_add(seconds);
        if self.disconnect.is_none() && self.service.now >= self.peer.ws.deadline() {
            self.peer.ws.expire(self.service.now);
            self.run();
        }
    }

    /// Begins the close handshake, as a server that stops does.
    pub fn close(&mut self, code: u16, reason: &str) {
        self.peer.ws.close(code, reason, self.service.now);
        self.run();
    }

    /// All that the client has been sent, as bytes, since this was last asked.
    pub fn take_received(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.received)
    }

    /// True when the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.disconnect.is_some()
    }

    /// Why it has.
    pub fn disconnect(&self) -> Option<&Disconnect> {
        self.disconnect.as_ref()
    }

    fn run(&mut self) {
        if self.disconnect.is_some() {
            return;
        }
        loop {
            let (peer, input) = (&mut self.peer, &mut self.input);
            // There are no others to have a turn.
            self.service.pump(peer, input, Duration::MAX, &MEMORY);
            self.publish();
            let crowded = self.peer.ws.is_crowded();
            self.flush();
            if !crowded || self.peer.ws.is_crowded() || self.peer.ws.is_over() {
                break;
            }
        }
        if let Some(end) = self.peer.ws.ended().cloned() {
            let why = Disconnect::new(&end);
            self.service.disconnect(&mut self.peer, &MEMORY, &why);
            self.service.later.clear();
            self.says_goodbye = matches!(end, End::Closed { .. } | End::Failed(_) | End::Gone);
            if self.says_goodbye {
                self.flush();
            }
            self.disconnect = Some(why);
        }
    }

    /// To itself, as there is nobody else.
    fn publish(&mut self) {
        for publication in std::mem::take(&mut self.service.later) {
            let subscribed = match &publication.topic {
                Some(topic) => !self.service.topics.members(topic).is_empty(),
                None => true,
            };
            if subscribed && publication.except.is_none() {
                let (kit, now) = (&mut self.service.kit, self.service.now);
                self.peer.ws.send_prepared(&publication.message, kit, now);
            }
        }
    }

    /// The client takes all there is.
    fn flush(&mut self) {
        while let Some(output) = self.peer.ws.output() {
            if self.held {
                return;
            }
            drain(output, &mut self.received);
            let service = &mut self.service;
            if self.peer.ws.taken(&mut service.kit, service.now) {
                service.hook(&mut self.peer, &MEMORY, |handler, ws| {
                    handler.handle_ws_drain(ws);
                });
            }
        }
    }
}

impl<H: WebSocketHandler> std::fmt::Debug for WebSocket<'_, H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebSocket")
            .field("received_bytes", &self.received.len())
            .field("disconnect", &self.disconnect)
            .finish_non_exhaustive()
    }
}

fn drain(output: &mut Output, into: &mut Vec<u8>) {
    while !output.is_empty() {
        let mut slices = [IoSlice::new(b""); MAX_SLICES];
        let count = output.gather(&mut slices);
        let before = into.len();
        for slice in &slices[..count] {
            into.extend_from_slice(slice);
        }
        let sent = into.len() - before;
        output.advance(sent);
    }
}

struct Taken<C>(Offers, Option<Accepted<C>>);

impl<H: WebSocketHandler> Upgrades<H> for Taken<H::Conn> {
    fn offer<'r>(
        &mut self,
        handler: &H,
        request: &Request<'_>,
        response: Response<'r>,
    ) -> Result<Done, Response<'r>> {
        match self.0.offer(handler, request, response, || true) {
            Offered::No(response) => Err(response),
            Offered::Refused(done) => Ok(done),
            Offered::Accepted(done, accepted) => {
                self.1 = Some(accepted);
                Ok(done)
            }
        }
    }

    fn is_accepted(&self) -> bool {
        self.1.is_some()
    }
}
