//! `Ws`: one WebSocket connection, inside a hook.

use super::hub::Hub;
use super::id::WsId;
use super::state::{SendContext, Sent, WsConn};
use super::topics::{Publication, Topics};
use crate::runtime::socket::HookSocket;
use crate::shared::subscribe_error::SubscribeError;
use peregrine_protocol::Seconds;
use peregrine_protocol::ws::frame::Message;
use peregrine_protocol::ws::prepared::PreparedMessage;
use std::net::SocketAddr;

/// A WebSocket connection, lent to a hook of [`WebSocketHandler`](crate::ws::WebSocketHandler).
///
/// Messages go to the output of the connection. All of them are sent with one system call after the hooks of
/// this turn have returned. The value cannot be kept. Keep [`Ws::id`] instead; with [`Ws::hub`] any thread
/// can send to this id.
pub struct Ws<'a, C> {
    /// The state of the connection.
    pub conn: &'a mut C,
    pub(crate) ws: &'a mut WsConn,
    pub(crate) context: Context<'a>,
}

/// What a hook may use besides its own connection.
pub(crate) struct Context<'a> {
    pub(crate) id: WsId,
    pub(crate) now: Seconds,
    pub(crate) hub: &'a Hub,
    pub(crate) topics: &'a mut Topics,
    pub(crate) later: &'a mut Vec<Publication>,
    pub(crate) kit: &'a mut SendContext,
    pub(crate) socket: &'a mut dyn HookSocket,
}

impl<C> Ws<'_, C> {
    /// Splits the state of the connection from the rest, so that a hook can send data that is borrowed from
    /// the state.
    ///
    /// ```
    /// # use peregrine::ws::Ws;
    /// struct Guest {
    ///     name: String,
    /// }
    ///
    /// fn greet(ws: &mut Ws<'_, Guest>) {
    ///     let (guest, mut ws) = ws.split();
    ///     ws.send(&guest.name);
    /// }
    /// ```
    pub fn split(&mut self) -> (&mut C, Ws<'_, ()>) {
        let context = &mut self.context;
        let rest = Ws {
            // The type has no size, so nothing is allocated.
            conn: Box::leak(Box::new(())),
            ws: self.ws,
            context: Context {
                id: context.id,
                now: context.now,
                hub: context.hub,
                topics: context.topics,
                later: context.later,
                kit: context.kit,
                socket: context.socket,
            },
        };
        (self.conn, rest)
    }

    /// The id of this connection, for [`Hub::send`] from any thread at any time.
    pub fn id(&self) -> WsId {
        self.context.id
    }

    /// The hub of the server, which sends to all its connections.
    pub fn hub(&self) -> &Hub {
        self.context.hub
    }

    /// The address of the client: [`Request::client_addr`](crate::Request::client_addr) of its handshake.
    pub fn client_addr(&self) -> Option<SocketAddr> {
        self.context.socket.client_addr()
    }

    /// The address of the other end of the connection: of the client, or of the proxy before this server; `None` on a
    /// Unix socket.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.context.socket.peer_addr()
    }

    /// The address of the server to which the client connected; `None` on a Unix socket. Each call asks the
    /// system.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.context.socket.local_addr()
    }

    /// Sends a message to this client. It follows all messages that hooks of this connection have sent
    /// before.
    pub fn send<'m>(&mut self, message: impl Into<Message<'m>>) -> Sent {
        let context = &mut self.context;
        let (kit, socket) = (&mut *context.kit, &mut *context.socket);
        let at_once = |pieces: [&[u8]; 2]| socket.write_now(pieces);
        self.ws.send(message.into(), kit, context.now, at_once)
    }

    /// Sends a message that was prepared once for many connections. A message of 16 KiB or more is sent
    /// without a copy.
    pub fn send_prepared(&mut self, message: &PreparedMessage) -> Sent {
        let context = &mut self.context;
        self.ws.send_prepared(message, context.kit, context.now)
    }

    /// Sends a ping with up to 125 bytes; longer payloads are truncated. The pong calls
    /// [`handle_ws_pong`](crate::ws::WebSocketHandler::handle_ws_pong).
    pub fn ping(&mut self, payload: &[u8]) -> Sent {
        let context = &mut self.context;
        self.ws.ping(payload, context.kit, context.now)
    }

    /// Begins the close handshake, with a code of RFC 6455 section 7.4 and a reason. [`Sent::Closed`]: the
    /// connection is closing already.
    ///
    /// A reason longer than 123 bytes is truncated. A code that must not be sent becomes 1000. After this
    /// nothing more can be sent, and no more messages are delivered. The connection ends when the client has
    /// sent its close frame, or after [`WsLimits::close_timeout`](crate::ws::WsLimits::close_timeout).
    pub fn close(&mut self, code: u16, reason: &str) -> Sent {
        match self.ws.close(code, reason, self.context.now) {
            true => Sent::Queued,
            false => Sent::Closed,
        }
    }

    /// Reads nothing more from this client until [`Ws::resume_reading`] or [`Hub::resume_reading`], from any thread. It is for a
    /// program that has too many messages of the client to handle. The client soon cannot send more, because the buffers of TCP
    /// are full. Messages that have been read already wait, up to the buffer of the connection
    /// ([`WsLimits::message_bytes`](crate::ws::WsLimits::message_bytes) and 64 KiB at most).
    ///
    /// The pause ends after [`WsLimits::pause_timeout`](crate::ws::WsLimits::pause_timeout): the connection is closed with 1013.
    /// Messages to the client are sent as ever, with their time limits. That the client leaves is noticed when something is
    /// sent, when its connection is reset, or after the pause. A close ends the pause.
    ///
    /// ```
    /// # use peregrine::ws::{Message, Ws};
    /// # use std::sync::mpsc::SyncSender;
    /// fn handle_ws_frame(queue: &SyncSender<String>, ws: &mut Ws<'_, ()>, message: Message<'_>) {
    ///     let text = message.as_text().unwrap_or_default().to_owned();
    ///     if queue.try_send(text).is_err() {
    ///         // The thread that reads the queue calls `hub.resume_reading(id)`.
    ///         ws.pause_reading();
    ///     }
    /// }
    /// ```
    #[doc(alias("backpressure", "pause"))]
    pub fn pause_reading(&mut self) {
        self.ws.pause(self.context.now);
    }

    /// Reads again from this client. Without a pause it has no effect.
    #[doc(alias = "resume")]
    pub fn resume_reading(&mut self) {
        self.ws.resume(self.context.now);
    }

    /// Whether messages can be sent. False while the connection is closing.
    pub fn is_open(&self) -> bool {
        self.ws.is_open()
    }

    /// Bytes that wait to be sent, including those of this turn.
    pub fn backlog(&self) -> usize {
        self.ws.backlog()
    }

    /// Subscribes to a topic: any text, compared byte by byte.
    ///
    /// # Errors
    ///
    /// [`SubscribeError::Topics`] if the connection has [`WsLimits::topics`](crate::ws::WsLimits::topics) already,
    /// [`SubscribeError::TopicName`] if the name is longer than
    /// [`WsLimits::topic_bytes`](crate::ws::WsLimits::topic_bytes), [`SubscribeError::Closed`] if the connection is
    /// closing.
    #[doc(alias = "join")]
    pub fn subscribe(&mut self, topic: &str) -> Result<(), SubscribeError> {
        if !self.ws.is_open() {
            return Err(SubscribeError::Closed);
        }
        let context = &mut self.context;
        let topics = &mut context.topics;
        topics.subscribe(context.id.conn(), topic)
    }

    /// Ends the subscription to a topic. False if there was none. A connection that ends leaves all its
    /// topics.
    #[doc(alias = "leave")]
    pub fn unsubscribe(&mut self, topic: &str) -> bool {
        let context = &mut self.context;
        context.topics.unsubscribe(context.id.conn(), topic)
    }

    /// Sends a message to all connections that have subscribed to the topic, on all threads. This connection
    /// gets it too if it has subscribed. The message is framed once. It follows messages that this hook sends
    /// directly.
    ///
    /// [`Sent::Full`]: the mailbox of another thread is full. [`BacklogPolicy`](crate::ws::BacklogPolicy) decides what happens to
    /// single slow subscribers.
    pub fn publish(&mut self, topic: &str, message: impl Into<PreparedMessage>) -> Sent {
        self.publish_to(Some(topic), message.into(), None)
    }

    /// Sends a message to all connections that have subscribed to the topic, except this one. See
    /// [`Ws::publish`].
    pub fn publish_to_others(&mut self, topic: &str, message: impl Into<PreparedMessage>) -> Sent {
        let own = self.context.id;
        self.publish_to(Some(topic), message.into(), Some(own))
    }

    /// Sends a message to all connections of the server, this one included.
    pub fn broadcast(&mut self, message: impl Into<PreparedMessage>) -> Sent {
        self.publish_to(None, message.into(), None)
    }

    fn publish_to(
        &mut self,
        topic: Option<&str>,
        message: PreparedMessage,
        except: Option<WsId>,
    ) -> Sent {
        let context = &mut self.context;
        let topic = topic.map(|topic| context.topics.name(topic));
        let own = context.id.thread();
        let hub = context.hub;
        let (sent, is_local) = hub.publish_from(Some(own), except, topic.clone(), &message);
        if is_local {
            context.later.push(Publication {
                topic,
                message,
                except: except.map(WsId::conn),
            });
        }
        sent
    }
}

impl<C> std::fmt::Debug for Ws<'_, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ws")
            .field("id", &self.id())
            .field("backlog", &self.backlog())
            .finish_non_exhaustive()
    }
}
