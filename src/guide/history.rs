//! History: what clients missed while they were away.
//!
//! Connections break: a phone changes its network, a server is restarted. A [`History`] keeps the last messages of each
//! topic. A client that comes back gets what it has missed, each message once, and then the new ones. If that is not
//! possible, it is told that messages are lost.
//!
//! # Server-sent events
//!
//! A browser sends the id of the last event when it connects again. [`History::respond`] does the rest:
//!
//! ```
//! use peregrine::Router;
//! use peregrine::history::{History, MemoryLog, Start};
//! use peregrine::sse::EventHub;
//!
//! let history = History::builder(MemoryLog::new()).events(&EventHub::new()).build();
//! let watched = history.clone();
//! let app = Router::new()
//!     .get("/news", move |req, res| watched.respond(req, res, "news", Start::Last(10)))
//!     .post("/news", move |req, res| {
//!         let text = String::from_utf8_lossy(req.body()).into_owned();
//!         match history.publish("news", text) {
//!             Ok(()) => res.status(204).body(""),
//!             Err(_) => res.status(503).text("try again later\n"),
//!         }
//!     });
//! # let _ = app;
//! ```
//!
//! The page needs to handle two things:
//!
//! ```js
//! const news = new EventSource("/news");
//! news.onmessage = (event) => show(event.data);
//! news.addEventListener("lost", () => location.reload()); // or fetch the whole state again
//! ```
//!
//! One stream has one topic, because its id is one position. A page with several topics opens several streams, which is cheap
//! over HTTP/2. [`HistoryBuilder::events_with`] sets another format.
//!
//! # WebSockets
//!
//! WebSockets have no ids, so the program writes the position into its messages and reads it from what the client says:
#![cfg_attr(feature = "websocket", doc = "```")]
#![cfg_attr(not(feature = "websocket"), doc = "```ignore")]
//! use peregrine::history::{History, MemoryLog, Position, Start, UpdateKind};
//! use peregrine::ws::{Hub, Message, PreparedMessage, Upgrade, WebSocketHandler, Ws};
//! use peregrine::{Done, Handler, Request, Response, Server};
//!
//! struct News {
//!     history: History,
//! }
//!
//! impl News {
//!     fn new(hub: &Hub) -> News {
//!         let history = History::builder(MemoryLog::new()).websockets(hub, |update| {
//!             let position = update.position.map(|position| position.to_string()).unwrap_or_default();
//!             let text = match update.kind {
//!                 UpdateKind::Message(message) => message.as_text()?,
//!                 UpdateKind::Lost => "!lost",
//!                 _ => "!current",
//!             };
//!             Some(PreparedMessage::from(format!("{position} {text}")))
//!         });
//!         News { history: history.build() }
//!     }
//! }
//!
//! impl WebSocketHandler for News {
//!     type Conn = Start;
//!
//!     fn accept_ws(&self, req: &Request<'_>, _: &mut Upgrade<'_>) -> Option<Start> {
//!         Some(match req.query("after") {
//!             Some(seen) => Start::After(seen.parse().unwrap_or(Position::UNKNOWN)),
//!             None => Start::Last(10),
//!         })
//!     }
//!
//!     fn handle_ws_conn(&self, ws: &mut Ws<'_, Start>) {
//!         if self.history.subscribe_ws(ws.id(), "news", *ws.conn).is_err() {
//!             ws.close(1013, "try again later");
//!         }
//!     }
//!
//!     fn handle_ws_frame(&self, _: &mut Ws<'_, Start>, message: Message<'_>) {
//!         let _ = self.history.publish("news", message);
//!     }
//! }
//! # impl Handler for News {
//! #     fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done { res.text("") }
//! # }
//!
//! let hub = Hub::new();
//! let server = Server::new(News::new(&hub)).websocket().with_hub(&hub);
//! # drop(server);
//! ```
//!
//! A connection with `BacklogPolicy::Close`, the default, that is too slow is closed. It
//! comes back and continues. With the other policies it misses messages and is not told. A connection for whose messages its
//! thread has no room is closed with 1013, whatever its policy is. The example `room` is a chat for both kinds of clients.
//!
//! A connection has `WsLimits::topics` (64) topics at most. Above that, `History::subscribe_ws` fails with
//! [`LogError::ClientTopics`], and the topic takes no place in the history.
//!
//! # What is promised
//!
//! | | |
//! |---|---|
//! | order | all clients of a topic get its messages in the order of the log, from all publishers |
//! | gaps | none: a client gets all messages after its position, or is told that some are lost |
//! | repetitions | none, as long as a client comes back with the last position that it has got |
//! | at the moment of publishing | [`History::publish`] does not wait for any client |
//!
//! A client is told that messages are lost when more were missed than the limits allow, when they are older than
//! [`MemoryLogLimits::ttl`](crate::history::MemoryLogLimits::ttl), or when the log began anew, as [`MemoryLog`] does with each
//! process. The database of the program stays the source of truth: the log is for short breaks.
//!
//! # Costs and limits
//!
//! A program without a history pays nothing. With one, each message is formatted once for each process. The last messages of
//! topics with subscribers are kept for up to a minute, besides the log. A thread frees every 30 s what is too old, there and in a
//! [`MemoryLog`]. So ten thousand clients that come back at once, after
//! a break of the network, cost one read of the log for each position at which they stopped, and usually one for the topic.
//!
//! | what | default | what happens |
//! |---|---|---|
//! | messages that a client has missed | 300 | it is told that some are lost |
//! | bytes of a message | 65,536 | [`LogError::TooLarge`] |
//! | topics with subscribers; bytes of a name | 10,000; 256 | 503, or an error |
//! | clients that wait for a read of the log | 65,536 | [`LogError::Full`], or the stream ends and the page comes back |
//! | messages, bytes and age in a [`MemoryLog`], for each topic | 300; 1 MiB; 300 s | the oldest are dropped |
//! | topics in a [`MemoryLog`], and its bytes in memory | 10,000; 64 MiB | the topic that was silent for longest is dropped |
//!
//! # Other logs
//!
//! A [`Log`] on another machine lets several processes share topics, and survives their restarts. The crate
//! `peregrine-redis` has one. The methods of the trait do not block, and the history drops what comes twice and reads what is
//! missing; so a log is a few hundred lines.
//!
//! [`History`]: crate::history::History
//! [`History::publish`]: crate::history::History::publish
//! [`History::respond`]: crate::history::History::respond
//! [`HistoryBuilder::events_with`]: crate::history::HistoryBuilder::events_with
//! [`Log`]: crate::history::Log
//! [`LogError::ClientTopics`]: crate::history::LogError::ClientTopics
//! [`LogError::Full`]: crate::history::LogError::Full
//! [`LogError::TooLarge`]: crate::history::LogError::TooLarge
//! [`MemoryLog`]: crate::history::MemoryLog
