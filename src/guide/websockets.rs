//! WebSockets: accepting, sending, topics, limits.
//!
//! A handler that also implements [`WebSocketHandler`] accepts WebSocket connections on a server with
//! [`Server::websocket`]. Each connection has a state of its own, [`WebSocketHandler::Conn`], which the
//! library owns. All hooks of a connection run on one thread, one after the other, so the state needs no
//! lock.
//!
//! | hook | called |
//! |---|---|
//! | [`accept_ws`] | once for each handshake; decides whether it is accepted |
//! | [`handle_ws_conn`] | once, when the connection has begun |
//! | [`handle_ws_frame`] | once for each *message*, however many frames it came in |
//! | [`handle_ws_disconn`] | once, when the connection has ended |
//! | [`handle_ws_drain`] | when a client that was behind has caught up |
//! | [`handle_ws_pong`] | for each pong |
//!
//! A hook runs on an event loop, like a handler: it must not block for long. The library responds to pings,
//! sends pings to silent clients, and does the close handshake.
//!
//! ```
//! use peregrine::{Done, Handler, Request, Response, Server};
//! use peregrine::ws::{Hub, Message, Upgrade, WebSocketHandler, Ws};
//!
//! struct Chat;
//!
//! impl Handler for Chat {
//!     fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
//!         res.html("<script>new WebSocket('/ws')</script>")
//!     }
//! }
//!
//! impl WebSocketHandler for Chat {
//!     type Conn = u64; // the number of messages of this connection
//!
//!     fn accept_ws(&self, req: &Request<'_>, _: &mut Upgrade<'_>) -> Option<u64> {
//!         (req.path() == "/ws").then_some(0)
//!     }
//!
//!     fn handle_ws_conn(&self, ws: &mut Ws<'_, u64>) {
//!         let _ = ws.subscribe("room");
//!     }
//!
//!     fn handle_ws_frame(&self, ws: &mut Ws<'_, u64>, message: Message<'_>) {
//!         *ws.conn += 1;
//!         ws.publish("room", message); // to all subscribers, on all threads
//!     }
//! }
//!
//! # fn main() -> std::io::Result<()> {
//! let hub = Hub::new(); // clones can be given to any thread, and to the handler
//! let server = Server::new(Chat).websocket().with_hub(&hub).bind("127.0.0.1:0");
//! let running = server.start()?;
//! hub.broadcast("good morning");
//! hub.publish("room", format!("{} are here", hub.connections()));
//! # running.stop();
//! # running.wait().map(|_| ())
//! # }
//! ```
//!
//! # Sending
//!
//! [`Ws`] sends within a hook. [`Hub`] sends from any thread: to one connection by its [`WsId`], to the
//! subscribers of a topic, or to all. Sending never blocks. It returns [`Sent::Queued`], [`Sent::Full`]
//! or [`Sent::Closed`].
//!
//! [`WsLimits::backlog_bytes`] (2 MiB) limits what may wait for a slow client. [`BacklogPolicy`] decides
//! about a message beyond that:
//!
//! - `Close` (the default) closes the connection: a connected client has missed no message;
//! - `DropNewest` drops the message;
//! - `DropOldest` drops the oldest messages that wait.
//!
//! # Errors and limits
//!
//! | what a client does | default | what happens |
//! |---|---|---|
//! | a frame or a message that is too long | 1 MiB each | close with 1009 |
//! | a message in too many fragments, or too slow | 4,096; 1,000 bytes a second after 10 s | close with 1008 |
//! | too many messages, or pings and pongs | 1,000 a second on average; 100 in a second | close with 1008 |
//! | a violation of the protocol; a text that is not UTF-8 | | close with 1002; 1007 |
//! | silence | 60 s, and 20 s after a ping | closed |
//! | takes no messages | 30 s; 240 bytes a second after 10 s | closed |
//! | too much waits for it | 2 MiB | by [`BacklogPolicy`] |
//! | a hook panics | | close with 1011; the other connections go on |
//!
//! A connection has at most 64 topics, with names of up to 256 bytes: [`Ws::subscribe`] returns an error above. All
//! numbers are settings of `WsLimits`. [`WebSocketHandler::handle_ws_disconn`] is told why a connection has ended.
//!
//! A call such as `ws.publish(&ws.conn.room, ..)` borrows `ws` twice. Split it first: `let (conn, mut ws) =
//! ws.split();`. Then `conn` is the state, and `ws` can send.
//!
//! # Pages of other sites
//!
//! Browsers let any page open a WebSocket to any server, with the cookies of its user. A handshake from a
//! page of another host or port gets 403 before `accept_ws` is called. [`Config::ws_origins`] allows others.
//! Behind a proxy, the proxy has to pass `Host` on.
//!
//! # Decisions that take time
//!
//! [`accept_ws`] runs on a worker, so it must not block. If the decision needs a query or an answer of another service,
//! [`Upgrade::defer`](crate::ws::Upgrade::defer) gives an [`UpgradeResponder`](crate::ws::UpgradeResponder), with which any
//! thread accepts or refuses later.
//!
//! # Layers
//!
//! A handshake goes to `accept_ws` and not through layers. Before that, the layers around it may refuse it: those of a
//! router with `Router::websocket`, and those of [`Layered`](crate::layers::Layered) around the whole handler. What else
//! they do, such as fields of the response, does not apply to it; see [the guide](crate::guide::layers).
//!
//! # Tests
//!
//! [`testing::WebSocket`](crate::testing::WebSocket) is a connection in memory:
//!
//! ```
//! # use peregrine::{Done, Handler, Request, Response};
//! # use peregrine::ws::*;
//! # struct Echo;
//! # impl Handler for Echo {
//! #     fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done { res.text("") }
//! # }
//! # impl WebSocketHandler for Echo {
//! #     type Conn = ();
//! #     fn accept_ws(&self, _: &Request<'_>, _: &mut Upgrade<'_>) -> Option<()> { Some(()) }
//! #     fn handle_ws_frame(&self, ws: &mut Ws<'_, ()>, message: Message<'_>) { ws.send(message); }
//! # }
//! let app = Echo; // sends each message back
//! let mut client = peregrine::testing::WebSocket::connect(&app, "/ws").expect("accepted");
//! client.send_message("hi");
//! assert_eq!(client.take_received(), b"\x81\x02hi"); // frames of the server, as bytes
//! ```
//!
//! # More
//!
//! - Compression (permessage-deflate) is the feature `deflate`.
//! - An idle connection takes about 220 bytes of the process, with the state of 24 bytes that was
//!   measured.
//! - A relay connects the hubs of several processes: [the guide](crate::guide::machines).
//! - A [`History`](super::history) sends what a client has missed; [`Presence`](super::presence) tells who is there.
//! - The example `websocket` is a chat, `room` a chat with a history.
//!
//! [`BacklogPolicy`]: crate::ws::BacklogPolicy
//! [`Config::ws_origins`]: crate::Config::ws_origins
//! [`Hub`]: crate::ws::Hub
//! [`Sent::Closed`]: crate::ws::Sent::Closed
//! [`Sent::Full`]: crate::ws::Sent::Full
//! [`Sent::Queued`]: crate::ws::Sent::Queued
//! [`Server::websocket`]: crate::Server::websocket
//! [`WebSocketHandler`]: crate::ws::WebSocketHandler
//! [`WebSocketHandler::Conn`]: crate::ws::WebSocketHandler::Conn
//! [`WebSocketHandler::handle_ws_disconn`]: crate::ws::WebSocketHandler::handle_ws_disconn
//! [`Ws`]: crate::ws::Ws
//! [`Ws::subscribe`]: crate::ws::Ws::subscribe
//! [`WsId`]: crate::ws::WsId
//! [`WsLimits::backlog_bytes`]: crate::ws::WsLimits::backlog_bytes
//! [`accept_ws`]: crate::ws::WebSocketHandler::accept_ws
//! [`handle_ws_conn`]: crate::ws::WebSocketHandler::handle_ws_conn
//! [`handle_ws_disconn`]: crate::ws::WebSocketHandler::handle_ws_disconn
//! [`handle_ws_drain`]: crate::ws::WebSocketHandler::handle_ws_drain
//! [`handle_ws_frame`]: crate::ws::WebSocketHandler::handle_ws_frame
//! [`handle_ws_pong`]: crate::ws::WebSocketHandler::handle_ws_pong
