//! One WebSocket connection, inside a hook.

use super::hub::{Hub, WsId};
use crate::conn::{
    Seconds,
    id::ConnId,
    prepared::Prepared,
    topics::{Publication, Topics},
    ws::WsConn,
    ws_send::{SendKit, Sent},
};
use crate::protocol::frame::Message;
use crate::request::Ends;
use std::net::SocketAddr;

/// A WebSocket connection, lent to a hook of [`WebSocketHandler`](crate::WebSocketHandler). What is
/// sent goes straight into the connection's output, and all of it leaves with one system call when
/// the hooks of this wake-up have returned.
///
/// It cannot be kept: [`Ws::id`] can, and with [`Ws::hub`] any thread can send to it.
pub struct Ws<'a, C> {
    /// The connection's own state.
    pub conn: &'a mut C,
    pub(crate) ws: &'a mut WsConn,
    pub(crate) context: Context<'a>,
}

/// What a hook may touch beside its own connection.
pub(crate) struct Context<'a> {
    pub(crate) id: WsId,
    pub(crate) now: Seconds,
    pub(crate) hub: &'a Hub,
    pub(crate) topics: &'a mut Topics,
    pub(crate) later: &'a mut Vec<Publication>,
    pub(crate) kit: &'a mut SendKit,
    pub(crate) socket: &'a mut dyn HookSocket,
}

/// The socket of a connection, lent to its hooks.
///
/// What hooks send goes into the connection's output, and the driver writes it when they have returned. A
/// large message is the exception: it is written from where it lies, while its hook has it, as a copy
/// into the output costs more than all else (an echo of 1 MiB 1.4 times as much).
pub(crate) trait HookSocket: Ends {
    /// Writes what the socket takes of these, one after the other. How many bytes that were; none where it
    /// cannot, or has failed: the next attempt to write will tell.
    fn write_now(&mut self, pieces: [&[u8]; 2]) -> usize;
}

impl<C> Ws<'_, C> {
    /// The connection's state and all the rest apart, for what is sent from the state.
    ///
    /// ```
    /// # use peregrine::Ws;
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
            // It has no size, so nothing is allocated.
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

    /// Names this connection, for [`Hub::send`] from anywhere and at any time.
    pub fn id(&self) -> WsId {
        self.context.id
    }

    /// Reaches all connections of the server.
    pub fn hub(&self) -> &Hub {
        self.context.hub
    }

    /// The client's address; `None` on a Unix socket.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.context.socket.peer_addr()
    }

    /// The address that the client connected to; `None` on a Unix socket. Asks the system each
    /// time.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.context.socket.local_addr()
    }

    /// Sends a message to this client, after all that was sent from its hooks before.
    pub fn send<'m>(&mut self, message: impl Into<Message<'m>>) -> Sent {
        let context = &mut self.context;
        let (kit, socket) = (&mut *context.kit, &mut *context.socket);
        let at_once = |pieces: [&[u8]; 2]| socket.write_now(pieces);
        self.ws.send(message.into(), kit, context.now, at_once)
    }

    /// Sends a message that was made once for many. One of 16 KiB or more is sent from where it
    /// lies.
    pub fn send_prepared(&mut self, message: &Prepared) -> Sent {
        let context = &mut self.context;
        self.ws.send_prepared(message, context.kit, context.now)
    }

    /// Sends a ping with up to 125 bytes; more are cut off. The answer comes to
    /// [`handle_ws_pong`](crate::WebSocketHandler::handle_ws_pong).
    pub fn ping(&mut self, payload: &[u8]) -> Sent {
        let context = &mut self.context;
        self.ws.ping(payload, context.kit, context.now)
    }

    /// Begins the close handshake, with a code of RFC 6455 section 7.4 and a reason of up to 123
    /// bytes; a longer one is cut, a code that must not be sent becomes 1000. Nothing more can be
    /// sent, and no more messages are handed over; the connection ends when the client has answered
    /// or after [`WsLimits::close_time`](crate::WsLimits::close_time). False if it was closing
    /// already.
    pub fn close(&mut self, code: u16, reason: &str) -> bool {
        self.ws.close(code, reason, self.context.now)
    }

    /// Whether messages can be sent: it is not closing.
    pub fn is_open(&self) -> bool {
        self.ws.is_open()
    }

    /// Bytes that wait to be sent, those of this wake-up included.
    pub fn backlog(&self) -> usize {
        self.ws.backlog()
    }

    /// Subscribes to a topic: any text, compared byte by byte. False if that is one more than
    /// [`WsLimits::topics`](crate::WsLimits::topics), if the name is longer than
    /// [`WsLimits::topic_bytes`](crate::WsLimits::topic_bytes), or if the connection is closing.
    pub fn subscribe(&mut self, topic: &str) -> bool {
        let context = &mut self.context;
        let topics = &mut context.topics;
        self.ws.is_open() && topics.subscribe(context.id.conn(), topic, self.ws.limits())
    }

    /// False if it was not subscribed. Connections that end leave all their topics.
    pub fn unsubscribe(&mut self, topic: &str) -> bool {
        let context = &mut self.context;
        context.topics.unsubscribe(context.id.conn(), topic)
    }

    /// Sends a message to all who have subscribed to the topic, on all threads, this one included
    /// if it has. The message is framed once. It follows what this hook sends directly.
    ///
    /// [`Sent::Full`] says that another thread has more to do than it may take in; what happens to
    /// single slow subscribers is up to their
    /// [`BacklogPolicy`](crate::BacklogPolicy).
    pub fn publish(&mut self, topic: &str, message: impl Into<Prepared>) -> Sent {
        self.publish_to(Some(topic), message.into(), None)
    }

    /// As [`Ws::publish`], but not to this one.
    pub fn publish_to_others(&mut self, topic: &str, message: impl Into<Prepared>) -> Sent {
        let own = self.context.id.conn();
        self.publish_to(Some(topic), message.into(), Some(own))
    }

    /// Sends a message to all connections of the server, this one included.
    pub fn broadcast(&mut self, message: impl Into<Prepared>) -> Sent {
        self.publish_to(None, message.into(), None)
    }

    fn publish_to(
        &mut self,
        topic: Option<&str>,
        message: Prepared,
        except: Option<ConnId>,
    ) -> Sent {
        let context = &mut self.context;
        let topic = topic.map(|topic| context.topics.name(topic));
        let own = context.id.thread();
        let sent = context.hub.publish_from(Some(own), topic.clone(), &message);
        context.later.push(Publication {
            topic,
            message,
            except,
        });
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
