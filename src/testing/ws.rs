//! A WebSocket client in memory.

use super::handshake::shake_hands;
use super::{Alone, Client};
use crate::config::WS_MAILBOX_BYTES;
use crate::http::service::call_hook;
use crate::runtime::event_loop::{Driven, Fate, expire};
use crate::runtime::transport::Memory;
use crate::shared::id::ConnId;
use crate::shared::memory_budget::{LocalUsage, MemoryBudget};
use crate::websocket::connection::{WsConnection, WsThreadState};
use crate::websocket::hub::Hub;
use crate::websocket::service::WsService;
use crate::websocket::thread_handle::{WsCommand, WsThreadHandle};
use crate::websocket::topics::Publication;
use crate::websocket::{Disconnect, WebSocketHandler};
use peregrine_protocol::Seconds;
use peregrine_protocol::limits::Limits;
use peregrine_protocol::ws::frame;
use peregrine_protocol::ws::frame::{Message, OpCode};
use peregrine_protocol::ws::limits::WsLimits;
use peregrine_protocol::ws::message_buf::WsInputs;
use peregrine_protocol::ws::prepared::PreparedMessage;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// One WebSocket connection to a handler, in memory. It is the only connection of its server: its published
/// messages come back to it if it has subscribed, and its [`Hub`] has no other connection.
///
/// The time is constant unless [`WebSocket::elapse`] moves it.
///
/// ```
/// use peregrine::testing::WebSocket;
/// # use peregrine::{Done, Handler, Request, Response};
/// # use peregrine::ws::*;
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
    served: Box<Alone<WsConnection<&'h H, Memory>, WsThreadState<&'h H>>>,
    response: Vec<u8>,
    /// The mailbox through which a hub sends to it.
    handle: Arc<WsThreadHandle>,
    disconnect: Option<Disconnect>,
}

/// The key is an example of a valid one.
const HANDSHAKE: &str = "Host: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

impl<'h, H: WebSocketHandler> Client<'h, H> {
    /// Opens a WebSocket with the cookies of this client, at a server with this `hub`. Messages of the hub arrive with the
    /// next call of a method that takes `&mut self`.
    ///
    /// # Errors
    ///
    /// The response, if the handshake was refused.
    ///
    /// # Panics
    ///
    /// The hub is connected to another server or connection, or was.
    ///
    /// ```
    /// use peregrine::testing::Client;
    /// use peregrine::ws::{Hub, Message, Upgrade, WebSocketHandler, Ws};
    /// # use peregrine::{Done, Handler, Request, Response};
    ///
    /// struct News;
    /// # impl Handler for News {
    /// #     fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done { res.text("") }
    /// # }
    ///
    /// impl WebSocketHandler for News {
    ///     type Conn = String;
    ///
    ///     fn accept_ws(&self, req: &Request<'_>, _: &mut Upgrade<'_>) -> Option<String> {
    ///         req.cookie("user").map(str::to_owned)
    ///     }
    ///
    ///     fn handle_ws_frame(&self, _: &mut Ws<'_, String>, _: Message<'_>) {}
    /// }
    ///
    /// let mut client = Client::new(&News);
    /// assert!(client.websocket("/ws", &Hub::new()).is_err());
    /// client.set_cookie("user", "ada");
    /// let mut reader = client.websocket("/ws", &Hub::new()).expect("accepted");
    /// assert_eq!(reader.conn(), "ada");
    /// ```
    pub fn websocket(&self, target: &str, hub: &Hub) -> Result<WebSocket<'h, H>, Vec<u8>> {
        let cookies = self.cookie_field(target);
        let request = format!("GET {target} HTTP/1.1\r\n{cookies}{HANDSHAKE}");
        WebSocket::begin(self.handler, request.as_bytes(), WsLimits::default(), hub)
    }
}

impl<'h, H: WebSocketHandler> WebSocket<'h, H> {
    /// Connects to `target`, with the default limits. If the handler defers its decision
    /// ([`Upgrade::defer`](crate::ws::Upgrade::defer)), this waits for it, for 60 s at most.
    ///
    /// # Errors
    ///
    /// The response, if the handshake was refused.
    pub fn connect(handler: &'h H, target: &str) -> Result<WebSocket<'h, H>, Vec<u8>> {
        WebSocket::connect_with_hub(handler, target, &Hub::new())
    }

    /// Connects to `target` of a server with this `hub`. Messages of the hub arrive with the next call of a
    /// method that takes `&mut self`.
    ///
    /// # Errors
    ///
    /// The response, if the handshake was refused.
    ///
    /// # Panics
    ///
    /// The hub is connected to another server or connection, or was.
    ///
    /// ```
    /// # use peregrine::testing::{Connection, WebSocket};
    /// # use peregrine::{Done, Handler, Request, Response};
    /// # use peregrine::ws::*;
    /// struct News {
    ///     hub: Hub,
    /// }
    /// # impl WebSocketHandler for News {
    /// #     type Conn = ();
    /// #     fn accept_ws(&self, _: &Request<'_>, _: &mut Upgrade<'_>) -> Option<()> { Some(()) }
    /// #     fn handle_ws_conn(&self, ws: &mut Ws<'_, ()>) { let _ = ws.subscribe("news"); }
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

    /// Connects with the bytes of a request. Bytes after the request are the first frames.
    ///
    /// # Errors
    ///
    /// The response, if the handshake was not accepted.
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
        let (response, arrival) = shake_hands(handler, request, limits)?;
        let handle = Arc::new(WsThreadHandle::new(WS_MAILBOX_BYTES, || {}));
        let is_new = hub.open(vec![handle.clone()]);
        assert!(
            is_new,
            "the Hub is connected to another server or connection"
        );
        handle.given.store(1, Ordering::Release);
        let shared = WsThreadState {
            service: WsService::new(handler, hub.clone(), handle.peers.clone()),
            inputs: WsInputs::default(),
            counters: Arc::default(),
            limits: Limits::default(),
            tally: LocalUsage::new(Arc::new(MemoryBudget::new(usize::MAX))),
            handle: handle.clone(),
            index: 0,
            close_code: 1001,
            dirty: Vec::new(),
        };
        let connection = WsConnection::new(arrival, Seconds::START);
        let mut ws = WebSocket {
            served: Box::new(Alone::new(connection, shared)),
            response,
            handle,
            disconnect: None,
        };
        ws.hook(H::before_wait);
        ws.act(|connection, shared| connection.open(ConnId::default(), false, shared));
        Ok(ws)
    }

    /// The response to the handshake.
    pub fn handshake(&self) -> &[u8] {
        &self.response
    }

    /// The state of the connection.
    pub fn conn(&mut self) -> &mut H::Conn {
        self.connection().conn()
    }

    /// Sends bytes from the client. The server handles them before this returns. Bytes that come after the
    /// end are lost.
    pub fn send(&mut self, bytes: &[u8]) {
        self.turn(|ws| {
            if ws.disconnect.is_none() {
                ws.served.client_does(|client| client.arrive(bytes));
            }
        });
    }

    /// Sends a complete message from the client, in one frame.
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

    /// Closes the connection from the client, without a close frame unless it has sent one.
    pub fn send_eof(&mut self) {
        self.turn(|ws| {
            ws.served.client_does(Memory::arrive_eof);
        });
    }

    /// Whether the client stops taking bytes from now on.
    pub fn hold(&mut self, held: bool) {
        self.turn(|ws| {
            ws.served.client_does(|client| client.hold(held));
        });
    }

    /// Moves the time. The server reacts to timeouts that have passed.
    pub fn elapse(&mut self, time: Duration) {
        let now = &mut self.served.shared.service.now;
        *now = now.plus(time);
        self.act(expire);
    }

    /// Begins the close handshake, as a server that stops does.
    pub fn close(&mut self, code: u16, reason: &str) {
        self.act(|connection, shared| connection.close_with(code, reason, shared));
    }

    /// All bytes that the client has received since the last call of this.
    pub fn take_received(&mut self) -> Vec<u8> {
        self.turn(|_| {});
        std::mem::take(&mut self.served.received)
    }

    /// Whether the connection had ended at the last call of another method.
    pub fn is_closed(&self) -> bool {
        self.disconnect.is_some()
    }

    /// Why the connection has ended.
    pub fn disconnect(&self) -> Option<&Disconnect> {
        self.disconnect.as_ref()
    }

    fn connection(&mut self) -> &mut WsConnection<&'h H, Memory> {
        let connection = self.served.connection.as_mut();
        connection.expect("it is kept until the client is dropped")
    }

    fn act(
        &mut self,
        act: impl FnOnce(&mut WsConnection<&'h H, Memory>, &mut WsThreadState<&'h H>) -> Fate,
    ) {
        self.turn(|ws| {
            ws.served.act(act);
        });
    }

    /// Calls a hook around the wait of a WebSocket thread.
    fn hook(&self, hook: fn(&H)) {
        let shared = &self.served.shared;
        call_hook(shared.service.handler, &shared.counters, hook);
    }

    /// A turn of the thread, and more while something is left to do for it.
    fn turn(&mut self, act: impl FnOnce(&mut Self)) {
        self.hook(H::after_wait);
        act(self);
        self.run();
        self.hook(H::before_wait);
        while self.disconnect.is_none() && !self.handle.inbox.is_empty() {
            self.hook(H::after_wait);
            self.run();
            self.hook(H::before_wait);
        }
    }

    /// Delivers what hooks have published and the commands of the hub, until there are none.
    fn run(&mut self) {
        let mut commands = Vec::new();
        while self.disconnect.is_none() {
            let published = std::mem::take(&mut self.served.shared.service.later);
            self.handle.inbox.take(&mut commands);
            if published.is_empty() && commands.is_empty() {
                break;
            }
            for publication in published {
                self.deliver(&publication);
            }
            for command in commands.drain(..) {
                self.handle.taken(&command);
                self.obey(command);
            }
        }
        let ended = self.connection().ws().ended().cloned();
        if let Some(end) = ended.filter(|_| self.disconnect.is_none()) {
            self.handle.close();
            self.handle.ended.store(1, Ordering::Release);
            self.disconnect = Some(Disconnect::new(&end));
        }
    }

    fn deliver(&mut self, publication: &Publication) {
        let all = |ids: &mut Vec<ConnId>| ids.push(ConnId::default());
        let mut ids = Vec::new();
        self.served.shared.receivers(publication, all, &mut ids);
        for _ in ids {
            self.deliver_message(&publication.message);
        }
    }

    fn deliver_message(&mut self, message: &PreparedMessage) {
        self.served.act(|connection, shared| {
            connection.deliver(message, shared);
            Fate::Open
        });
    }

    /// The hub has no ids of other connections, so their commands never come here.
    fn obey(&mut self, command: WsCommand) {
        match command {
            WsCommand::Send(_, message) => self.deliver_message(&message),
            WsCommand::Publish(topic, message) => self.deliver(&Publication {
                topic,
                message,
                except: None,
            }),
            WsCommand::Missed => {
                let all = |ids: &mut Vec<ConnId>| ids.push(ConnId::default());
                for _ in self.served.shared.losers(all) {
                    self.served.act(WsConnection::lose);
                }
            }
            command => {
                self.served
                    .act(|connection, shared| connection.obey(command, shared));
            }
        }
    }
}

impl<H: WebSocketHandler> Drop for WebSocket<'_, H> {
    fn drop(&mut self) {
        self.handle.close();
    }
}

impl<H: WebSocketHandler> std::fmt::Debug for WebSocket<'_, H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebSocket")
            .field("received_bytes", &self.served.received.len())
            .field("disconnect", &self.disconnect)
            .finish_non_exhaustive()
    }
}
