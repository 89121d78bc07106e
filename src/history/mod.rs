//! What clients missed while they were away.
//!
//! A [`History`] appends each published message to a [`Log`], and then sends it to the subscribers. Each message has a
//! [`Position`]. A client that comes back with the position of the last message that it has got receives what it has
//! missed, each message once, and then the new ones. If messages are lost, it is told so. The
//! [guide](crate::guide::history) has the first steps.
//!
//! - [`MemoryLog`] keeps messages in the process. Another log shares them among machines, such as the one of the crate
//!   `peregrine-redis`.
//! - **Server-sent events**: the position is the id of each event. [`History::respond`] reads `Last-Event-ID`.
//! - **WebSockets**: the program decides how a position is written in its messages, and how a client says from where it
//!   continues. The library invents no protocol for that. `History::subscribe_ws` sends what was missed.

mod log;
mod memory;
mod outlets;
mod position;
mod topics;
mod track;

pub use self::log::{Entry, Feed, Log, LogError, LogMessage, Read, ReadDone, Start};
pub use self::memory::{MemoryLog, MemoryLogLimits};
pub use self::outlets::{Update, UpdateKind};
pub use self::position::{Position, PositionError};

use self::outlets::{Client, Outlets};
use self::topics::Inner;
use crate::http::deferred::{Event, EventHub, EventSender, Held};
use crate::http::request::Request;
use crate::http::response::{Done, Response};
#[cfg(feature = "websocket")]
use crate::shared::subscribe_error::SubscribeError;
#[cfg(feature = "websocket")]
use crate::websocket::{hub::Hub, id::WsId};
#[cfg(feature = "websocket")]
use peregrine_protocol::ws::prepared::PreparedMessage;
use std::sync::Arc;
use std::time::Duration;

peregrine_protocol::settings! {
    /// Limits of a [`History`]. The table in [`Config`](crate::Config#limits) has them too.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct HistoryLimits {
        /// Number of messages that one client can have missed. Above it, the client is told that messages are lost.
        pub messages: usize = 300;
        /// Bytes of a message. Above it, [`History::publish`] fails.
        pub message_bytes: usize = 65_536;
        /// Number of topics that have subscribers. Above it, a subscription fails.
        pub topics: usize = 10_000;
        /// Bytes of the name of a topic. Above it, a subscription and [`History::publish`] fail.
        pub topic_bytes: usize = 256;
        /// Number of clients that wait until the log has been read. Above it, a subscription that would have to wait fails.
        /// Those whose messages are kept here do not wait.
        pub waiting: usize = 65_536;
        /// Bytes of the last messages of a topic with subscribers, as they are sent. They are kept for 30 to 60 s, so that
        /// many clients that come back at once cost few reads of the log. Above it, the oldest are dropped.
        pub recent_bytes: usize = 1_048_576;
        /// Bytes of the last messages of all topics. Above it, a topic keeps none.
        pub all_recent_bytes: usize = 67_108_864;
    }
}

/// Publishes to topics, and sends to each client what it has missed. Clones are the same history. Any thread may use it.
///
/// Only clients that have subscribed by the history get its messages. Do not publish to the same topics of the hubs
/// directly: such messages have no position.
///
/// ```
/// use peregrine::history::{History, MemoryLog, Start};
/// use peregrine::sse::EventHub;
/// use peregrine::{Done, Request, Response};
///
/// struct News {
///     history: History,
/// }
///
/// impl News {
///     fn new() -> News {
///         let history = History::builder(MemoryLog::new()).events(&EventHub::new());
///         News { history: history.build() }
///     }
///
///     fn watch(&self, req: &Request<'_>, res: Response<'_>) -> Done {
///         // A new page gets the last ten messages, one that comes back what it has missed.
///         self.history.respond(req, res, "news", Start::Last(10))
///     }
/// }
/// # let news = std::sync::Arc::new(News::new());
/// # news.history.publish("news", "one").expect("short");
/// # let app = { let news = news.clone(); peregrine::from_fn(move |req, res| news.watch(req, res)) };
/// # let mut client = peregrine::testing::Connection::new(&app);
/// # client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
/// # news.history.publish("news", "two").expect("short");
/// # while !client.received().ends_with(b"-2\n\n\r\n") {
/// #     assert!(client.wait(std::time::Duration::from_secs(60)));
/// # }
/// ```
#[derive(Clone)]
pub struct History(Arc<Inner>);

/// Makes a [`History`].
#[must_use = "call `build`"]
pub struct HistoryBuilder {
    log: Box<dyn Log>,
    limits: HistoryLimits,
    outlets: Outlets,
    sweep: Duration,
}

impl HistoryBuilder {
    /// Sends to pages of this hub. The data of each event is the message. A page to which messages are lost gets an event
    /// with the name `lost`.
    ///
    /// The id of each event is its [`Position`]. An event without data, which pages do not see, gives a new page its id.
    pub fn events(self, hub: &EventHub) -> HistoryBuilder {
        self.events_with(hub, outlets::event)
    }

    /// Sends to pages of this hub what `format` makes of each message and notice: `None` sends nothing. The history adds
    /// the id.
    ///
    /// `format` is called once for each message and process. It must not use the history. A panic in it is caught, and
    /// sends nothing.
    ///
    /// ```
    /// use peregrine::history::{History, MemoryLog, UpdateKind};
    /// use peregrine::sse::{Event, EventHub};
    ///
    /// let history = History::builder(MemoryLog::new());
    /// let history = history.events_with(&EventHub::new(), |update| match update.kind {
    ///     UpdateKind::Message(message) => Some(Event::new().event("news").data(message.as_text()?)),
    ///     UpdateKind::Lost => Some(Event::new().event("reload").data(update.topic)),
    ///     _ => Some(Event::new()),
    /// });
    /// # history.build();
    /// ```
    pub fn events_with(
        mut self,
        hub: &EventHub,
        format: impl Fn(&Update<'_>) -> Option<Event> + Send + Sync + 'static,
    ) -> HistoryBuilder {
        self.outlets.events = Some((hub.clone(), Box::new(format)));
        self
    }

    /// Sends to WebSockets of this hub what `format` makes of each message and notice: `None` sends nothing. Needs the
    /// feature `websocket`.
    ///
    /// `format` is called as with [`HistoryBuilder::events_with`]. It should write the position into the message, so that a
    /// client can say where it stopped.
    ///
    /// ```
    /// use peregrine::history::{History, MemoryLog, UpdateKind};
    /// use peregrine::ws::{Hub, PreparedMessage};
    ///
    /// let hub = Hub::new();
    /// let history = History::builder(MemoryLog::new()).websockets(&hub, |update| {
    ///     let position = update.position.map(|position| position.to_string()).unwrap_or_default();
    ///     let line = match update.kind {
    ///         UpdateKind::Message(message) => format!("{position} {}", message.as_text()?),
    ///         UpdateKind::Lost => format!("{position} !lost"),
    ///         _ => format!("{position} !current"),
    ///     };
    ///     Some(PreparedMessage::from(line))
    /// });
    /// # history.build();
    /// ```
    #[cfg(feature = "websocket")]
    pub fn websockets(
        mut self,
        hub: &Hub,
        format: impl Fn(&Update<'_>) -> Option<PreparedMessage> + Send + Sync + 'static,
    ) -> HistoryBuilder {
        self.outlets.sockets = Some((hub.clone(), Box::new(format)));
        self
    }

    /// Sets the limits.
    pub fn limits(mut self, limits: HistoryLimits) -> HistoryBuilder {
        self.limits = limits;
        self
    }

    /// Starts the log, and a thread that frees every 30 s what is not needed any more. It ends with the history.
    pub fn build(self) -> History {
        History(Inner::start(
            self.log,
            self.limits,
            self.outlets,
            self.sweep,
        ))
    }
}

impl std::fmt::Debug for HistoryBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HistoryBuilder")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl History {
    /// Begins a history that keeps its messages in this log.
    pub fn builder(log: impl Log) -> HistoryBuilder {
        HistoryBuilder {
            log: Box::new(log),
            limits: HistoryLimits::default(),
            outlets: Outlets::default(),
            sweep: topics::SWEEP,
        }
    }

    /// Appends a message to a topic, and sends it to all subscribers on all machines that share the log. It does not
    /// block.
    ///
    /// All clients get the messages of a topic in the order of the log. With a log on another machine they are sent when
    /// it has confirmed them.
    ///
    /// # Errors
    ///
    /// The message is not appended and not sent: [`LogError::TooLarge`], [`LogError::TopicName`], [`LogError::Full`],
    /// [`LogError::Unavailable`].
    pub fn publish(&self, topic: &str, message: impl Into<LogMessage>) -> Result<(), LogError> {
        self.check(topic)?;
        let message = message.into();
        if message.len() > self.0.limits.message_bytes {
            return Err(LogError::TooLarge);
        }
        self.0.log.append(topic, message)
    }

    /// Responds with a stream of events of a topic. A page that comes back gets what it has missed after its
    /// `Last-Event-ID`, a new one what `first` says.
    ///
    /// If there is no place for the topic, the response is 503. If too many clients wait for the log, the stream ends at once: the
    /// page comes back.
    ///
    /// ```
    /// # use peregrine::history::{History, Start};
    /// # use peregrine::{Done, Request, Response};
    /// fn handle(history: &History, req: &Request<'_>, res: Response<'_>) -> Done {
    ///     history.respond(req, res, "news", Start::Now)
    /// }
    /// ```
    pub fn respond(&self, req: &Request<'_>, res: Response<'_>, topic: &str, first: Start) -> Done {
        if self.prepare(topic).is_err() {
            return res.status(503).text("try again later\n");
        }
        let (done, page) = res.events();
        // If this fails after all, the stream ends, and the page comes back.
        let _ = self.subscribe_events(page, topic, History::start(req, first));
        done
    }

    /// From where a page continues: after its `Last-Event-ID`. A new page begins at `first`.
    ///
    /// An id that is no position comes from another program or version: the page is told that messages are lost.
    pub fn start(req: &Request<'_>, first: Start) -> Start {
        match req.last_event_id() {
            Some(id) => Start::After(id.parse().unwrap_or(Position::UNKNOWN)),
            None => first,
        }
    }

    /// Sends to a page what it has missed, and subscribes it. One stream of events has one topic: its id is the position in
    /// this topic.
    ///
    /// It does not block. If the log has to be read on another machine, the page gets its messages when they have come.
    ///
    /// # Errors
    ///
    /// The stream ends: [`LogError::TopicName`], [`LogError::Topics`], [`LogError::Full`]; [`LogError::Unavailable`] if the
    /// history has no [`HistoryBuilder::events`].
    pub fn subscribe_events(
        &self,
        page: EventSender,
        topic: &str,
        start: Start,
    ) -> Result<(), LogError> {
        self.check(topic)?;
        if self.0.outlets.events.is_none() {
            return Err(LogError::Unavailable);
        }
        self.0.subscribe(Client::Page(page), topic, start)
    }

    /// Sends to a WebSocket what it has missed, and subscribes it. A WebSocket may have several topics. Needs the feature
    /// `websocket`.
    ///
    /// A connection that has subscribed to the topic already would get messages twice: end that subscription first.
    /// [`Ws::unsubscribe`](crate::ws::Ws::unsubscribe) ends a subscription. What [`Ws::send`](crate::ws::Ws::send) sends has
    /// no defined order with messages of the history. A connection whose thread has no room in its mailbox gets a close with
    /// 1013. A connection has at most `WsLimits::topics` (64) topics, those included for which the log is still read.
    ///
    /// # Errors
    ///
    /// The connection stays open, without the topic: [`LogError::ClientTopics`], [`LogError::TopicName`], [`LogError::Topics`],
    /// [`LogError::Full`]; [`LogError::Unavailable`] if the history has no [`HistoryBuilder::websockets`].
    /// [`LogError::ClientClosed`] if it has closed.
    ///
    /// ```
    /// use peregrine::history::{History, Position, Start};
    /// use peregrine::ws::{Message, Ws};
    ///
    /// /// A client says `resume POSITION` as its first message, or `new`.
    /// fn handle_ws_frame(history: &History, ws: &mut Ws<'_, ()>, message: Message<'_>) {
    ///     let start = match message.as_text().and_then(|text| text.strip_prefix("resume ")) {
    ///         Some(position) => Start::After(position.parse().unwrap_or(Position::UNKNOWN)),
    ///         None => Start::Last(10),
    ///     };
    ///     if history.subscribe_ws(ws.id(), "news", start).is_err() {
    ///         ws.close(1013, "try again later");
    ///     }
    /// }
    /// ```
    #[cfg(feature = "websocket")]
    pub fn subscribe_ws(&self, id: WsId, topic: &str, start: Start) -> Result<(), LogError> {
        self.check(topic)?;
        let Some((hub, _)) = &self.0.outlets.sockets else {
            return Err(LogError::Unavailable);
        };
        let seat = hub.reserve(id, topic).map_err(|error| match error {
            SubscribeError::Closed => LogError::ClientClosed,
            SubscribeError::Topics => LogError::ClientTopics,
            SubscribeError::TopicName => LogError::TopicName,
        })?;
        self.0.subscribe(Client::Socket(seat), topic, start)
    }

    /// Number of topics that have, or had a minute ago, subscribers in this process.
    pub fn topics(&self) -> usize {
        self.0.topics()
    }

    fn check(&self, topic: &str) -> Result<(), LogError> {
        match topic.len() > self.0.limits.topic_bytes {
            true => Err(LogError::TopicName),
            false if Held::is_held() => Err(LogError::WithinFormat),
            false => Ok(()),
        }
    }

    /// Whether a subscription has a place now.
    fn prepare(&self, topic: &str) -> Result<(), LogError> {
        self.check(topic)?;
        self.0.has_place(topic)
    }
}

impl std::fmt::Debug for History {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("History")
            .field("topics", &self.topics())
            .field("limits", &self.0.limits)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
