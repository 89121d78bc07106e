//! A WebSocket client in memory.

use super::{MEMORY, Memory, take};
use crate::conn::share::Share;
use crate::conn::{
    Seconds,
    budget::Budget,
    http1::Http1,
    id::ConnId,
    input::Input,
    output::Output,
    topics::Publication,
    ws::{End, WsConn},
    ws_input::WsInput,
    ws_input::WsInputs,
};
use crate::drive::{Parts, Service, Turn, Upgrades};
use crate::late::{
    Door,
    pool::{Pool, Size},
};
use crate::protocol::frame::{self, Message, OpCode};
use crate::protocol::limits::Limits;
use crate::protocol::ws_limits::WsLimits;
use crate::request::Request;
use crate::response::{Done, Response, Wire};
use crate::stats::WorkerCounters;
use crate::websocket::{
    Disconnect, WebSocketHandler, door,
    hub::{Hub, WsId},
};
use crate::ws_drive::{Accepted, Offered, Offers, Peer, WsService};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// One WebSocket connection to a handler, in memory. It is the only one of its server: what it
/// publishes comes back to it if it has subscribed, and its [`Hub`] reaches it alone.
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
    /// By which a hub reaches it.
    door: Arc<door::Door>,
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
        WebSocket::connect_with_hub(handler, target, &Hub::new())
    }

    /// Connects to `target` of a server whose hub is `hub`: what is published or sent by that, in whatever
    /// way, has come with the next call of a method that takes `&mut self`.
    ///
    /// # Errors
    ///
    /// The response, if it was refused.
    ///
    /// # Panics
    ///
    /// If the hub is, or was, of another server or connection.
    ///
    /// ```
    /// # use peregrine::{testing::{Connection, WebSocket}, *};
    /// struct News {
    ///     hub: Hub,
    /// }
    /// # impl WebSocketHandler for News {
    /// #     type Conn = ();
    /// #     fn accept_ws(&self, _: &Request<'_>, _: &mut Upgrade<'_>) -> Option<()> { Some(()) }
    /// #     fn handle_ws_conn(&self, ws: &mut Ws<'_, ()>) { ws.subscribe("news"); }
    /// #     fn handle_ws_frame(&self, _: &mut Ws<'_, ()>, _: Message<'_>) {}
    /// # }
    /// impl Handler for News {
    ///     fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
    ///         self.hub.publish("news", "hi");
    ///         res.text("published")
    ///     }
    /// }
    /// let hub = Hub::new();
    /// let app = News { hub: hub.clone() };
    /// let mut reader = WebSocket::connect_with_hub(&app, "/ws", &hub).expect("accepted");
    /// Connection::new(&app).send(b"POST / HTTP/1.1\r\nHost: test\r\n\r\n");
    /// assert_eq!(reader.take_received(), b"\x81\x02hi");
    /// ```
    pub fn connect_with_hub(
        handler: &'h H,
        target: &str,
        hub: &Hub,
    ) -> Result<WebSocket<'h, H>, Vec<u8>> {
        let request = format!("GET {target} HTTP/1.1\r\n{HANDSHAKE}");
        WebSocket::begin(handler, request.as_bytes(), WsLimits::default(), hub)
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
        WebSocket::begin(handler, request, limits, &Hub::new())
    }

    fn begin(
        handler: &'h H,
        request: &[u8],
        limits: WsLimits,
        hub: &Hub,
    ) -> Result<WebSocket<'h, H>, Vec<u8>> {
        let (answer, accepted, rest) = shake_hands(handler, request, limits);
        let Some(accepted) = accepted else {
            return Err(answer);
        };
        let door = Arc::new(door::Door::new(limits.mailbox_bytes, || {}));
        let is_new = hub.open(vec![door.clone()]);
        assert!(is_new, "the Hub is of another server or connection");
        let id = WsId::new(0, ConnId::default());
        door.given.store(1, Ordering::Release);
        door.seats.enter(id, &accepted.limits);
        let mut ws = WebSocket {
            service: WsService::new(handler, hub.clone()),
            peer: Peer {
                ws: WsConn::new(Seconds::START, accepted.limits, accepted.deflate, None),
                conn: accepted.conn,
                id,
            },
            input: WsInputs::default().take(),
            answer,
            received: Vec::new(),
            door,
            held: false,
            says_goodbye: false,
            disconnect: None,
        };
        ws.service.hook(&mut ws.peer, &mut Memory, |handler, ws| {
            handler.handle_ws_conn(ws);
        });
        ws.run();
        ws.send(&rest);
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
        self.service.now = self.service.now.plus(time);
        if self.disconnect.is_none()
            && self.service.now >= self.peer.ws.deadline(self.input.tempo())
        {
            self.peer.ws.expire(self.input.tempo(), self.service.now);
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
        self.run();
        std::mem::take(&mut self.received)
    }

    /// True when the connection has ended, as of the last call of another method.
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
            self.take_commands();
            let (peer, input) = (&mut self.peer, &mut self.input);
            // There are no others to have a turn.
            self.service.pump(peer, input, Duration::MAX, &mut Memory);
            self.publish();
            let crowded = self.peer.ws.is_crowded();
            self.flush();
            if self.peer.ws.is_over() {
                break;
            }
            if (!crowded || self.peer.ws.is_crowded()) && self.door.inbox.is_empty() {
                break;
            }
        }
        if let Some(end) = self.peer.ws.ended().cloned() {
            let why = Disconnect::new(&end);
            self.door.seats.leave(self.peer.id);
            self.door.close();
            self.door.ended.store(1, Ordering::Release);
            self.service.disconnect(&mut self.peer, &mut Memory, &why);
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
            self.deliver(&publication);
        }
    }

    fn deliver(&mut self, publication: &Publication) {
        let is_meant = match &publication.topic {
            Some(topic) => self.has(topic),
            None => true,
        };
        if is_meant && publication.except.is_none() {
            let (kit, now) = (&mut self.service.kit, self.service.now);
            self.peer.ws.send_prepared(&publication.message, kit, now);
        }
    }

    fn has(&self, topic: &str) -> bool {
        !self.service.topics.members(topic).is_empty()
    }

    /// Does what came by the hub.
    fn take_commands(&mut self) {
        let mut commands = Vec::new();
        self.door.inbox.take(&mut commands);
        for command in commands {
            self.door.taken(&command);
            self.obey(command);
        }
        let (seats, backlog) = (&self.door.seats, self.peer.ws.backlog());
        seats.set_unsent(self.peer.id, backlog);
    }

    /// Ids of others are of nobody, so they never get here.
    fn obey(&mut self, command: door::Command) {
        let (ws, service) = (&mut self.peer.ws, &mut self.service);
        let (topics, token) = (&mut service.topics, self.peer.id.conn());
        match command {
            door::Command::Send(_, message) => {
                ws.send_prepared(&message, &mut service.kit, service.now);
            }
            door::Command::Close(_, code, reason) => {
                ws.close(code, &reason, service.now);
            }
            door::Command::Subscribe(_, topic) => {
                if ws.is_open() {
                    topics.subscribe(token, &topic, ws.limits());
                }
            }
            door::Command::Unsubscribe(_, topic) => {
                topics.unsubscribe(token, &topic);
            }
            door::Command::Publish(topic, message) => self.deliver(&Publication {
                topic,
                message,
                except: None,
            }),
            door::Command::Overflow(_) => ws.lose(),
            door::Command::Missed => {
                let missed = self.door.take_missed();
                let any = missed.any_topic && topics.subscribers().next().is_some();
                if missed.all || any || missed.topics.iter().any(|topic| self.has(topic)) {
                    self.peer.ws.lose();
                }
            }
        }
    }

    /// The client takes all there is.
    fn flush(&mut self) {
        while let Some(output) = self.peer.ws.output() {
            if self.held {
                return;
            }
            let before = self.received.len();
            drain(output, &mut self.received);
            let taken = self.received.len() - before;
            let service = &mut self.service;
            if self.peer.ws.taken(taken, &mut service.kit, service.now) {
                service.hook(&mut self.peer, &mut Memory, |handler, ws| {
                    handler.handle_ws_drain(ws);
                });
            }
        }
    }
}

impl<H: WebSocketHandler> Drop for WebSocket<'_, H> {
    fn drop(&mut self) {
        self.door.close();
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

/// Serves a request: what the client gets, the connection if it is accepted, and what came behind.
fn shake_hands<H: WebSocketHandler>(
    handler: &H,
    request: &[u8],
    limits: WsLimits,
) -> (Vec<u8>, Option<Accepted<H::Conn>>, Vec<u8>) {
    // Nobody waits here for an answer that comes later.
    let budget = Arc::new(Budget::new(usize::MAX));
    let pool = Pool::new(NO_POOL, || {});
    let door = Door::new(&Limits::default(), pool, budget, || {});
    let mut http = Service {
        handler,
        limits: Limits::default(),
        hosts: None,
        wire: Wire::new(Some("peregrine"), Arc::new(door)),
        now: Seconds::START,
        is_timed: false,
        lasting: Arc::new(Share::new(usize::MAX)),
    };
    let (mut http1, mut input) = (Http1::new(Seconds::START, true), Input::new());
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
            place: ConnId::default(),
            ends: &MEMORY,
            counters: &WorkerCounters::default(),
        };
        turn = http.turn(&mut parts, &mut taken);
    }
    let mut answer = Vec::new();
    drain(&mut output, &mut answer);
    let rest = [input.unread(), left].concat();
    (answer, taken.1, rest)
}

fn drain(output: &mut Output, into: &mut Vec<u8>) {
    while !output.is_empty() {
        take(output, into);
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
