//! Every bound on what a WebSocket client can make the server hold or wait for.

use std::time::Duration;

/// What one WebSocket client may cost, set for all by [`Config::ws_limits`](crate::Config::ws_limits)
/// and for one connection by [`Upgrade::limits`](crate::Upgrade::limits). The table in
/// [`Config`](crate::Config#limits) says what happens at each.
///
/// Nothing is allocated for what a client only announces: buffers grow with the bytes that arrive.
///
/// ```
/// use peregrine::{BacklogPolicy, WsLimits};
///
/// let feed = WsLimits { backlog_policy: BacklogPolicy::DropOldest, ..WsLimits::default() };
/// assert_eq!(feed.backlog_bytes, 2 << 20);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WsLimits {
    /// Bytes of a whole message, after decompression; the connection closes with 1009 above, as
    /// soon as a frame announces it. Default: 1 MiB.
    pub message_bytes: usize,
    /// Bytes of the payload of one frame; 1009 above. Default: 1 MiB.
    pub frame_bytes: usize,
    /// Frames that one message may come in, empty ones included; 1008 above. Default: 4,096.
    pub fragments: u32,
    /// How long a message may take from its first byte before `message_rate` is asked of it. Default:
    /// 10 s.
    pub message_grace: Duration,
    /// Bytes a second that a message that has begun must bring, on average; 1008 below. Time in which
    /// the server reads nothing (`backlog_mark`) does not count. What came faster allows for a pause, of
    /// `idle_time` or `message_grace` at most, whichever is longer. 0: no rate is asked for. Default:
    /// 1,000.
    pub message_rate: usize,
    /// Messages that a client may send in a second, on average; ten times as many may come at once if it
    /// has sent fewer before. 1008 above. Default: 1,000.
    pub messages: u32,
    /// Pings and pongs that a client may send within a second of the server's clock; 1008 above.
    /// Default: 100.
    pub control_frames: u32,
    /// Bytes that may wait to be sent to a client. A message that does not fit is treated by
    /// `backlog_policy`; nothing ever exceeds it but answers to pings and the close frame, a few
    /// bytes each. Default: 2 MiB.
    pub backlog_bytes: usize,
    /// What becomes of a message that does not fit, and of its connection.
    /// Default: [`BacklogPolicy::Close`].
    pub backlog_policy: BacklogPolicy,
    /// While more than this waits to be sent, nothing more is read from this client, so that one
    /// that is answered without end waits for itself. When it falls to this mark,
    /// [`handle_ws_drain`](crate::WebSocketHandler::handle_ws_drain) is called. Default: 256 KiB.
    pub backlog_mark: usize,
    /// Topics that one connection may be subscribed to. Default: 64.
    pub topics: usize,
    /// Bytes of the name of a topic; a connection cannot subscribe to one that is longer. Default: 256.
    pub topic_bytes: usize,
    /// How long a client may be silent before it is pinged. Default: 60 s.
    pub idle_time: Duration,
    /// How long it may stay silent then. Default: 20 s.
    pub pong_time: Duration,
    /// How long a client may take to answer a close frame (RFC 6455 section 7.1.2). Default: 5 s.
    pub close_time: Duration,
    /// How long a client may take no byte of what waits for it. Default: 30 s.
    pub write_time: Duration,
    /// How long messages may wait for their client before `write_rate` is asked of that. Default: 10 s.
    pub write_grace: Duration,
    /// Bytes a second that a client must take of what waits for it, on average; the connection is reset
    /// below. What was taken faster allows for a pause, of `write_time` or `write_grace` at most,
    /// whichever is longer. 0: no rate is asked for. Default: 240.
    pub write_rate: usize,
    /// WebSockets that one thread looks after; further ones are answered with 503. At most
    /// 16,777,216. Default: 65,536. Only that of [`Config::ws_limits`](crate::Config::ws_limits)
    /// counts.
    pub connections_per_thread: usize,
    /// Bytes of messages, names of topics and reasons that other threads may have on their way to one
    /// WebSocket thread; each counts as 64 bytes more than it has. Default: 16 MiB. Only that of [`Config::ws_limits`](crate::Config::ws_limits) counts.
    pub mailbox_bytes: usize,
}

impl Default for WsLimits {
    fn default() -> WsLimits {
        WsLimits {
            message_bytes: 1 << 20,
            frame_bytes: 1 << 20,
            fragments: 4096,
            message_grace: Duration::from_secs(10),
            message_rate: 1000,
            messages: 1000,
            control_frames: 100,
            // An echo of the largest message must fit.
            backlog_bytes: 2 << 20,
            backlog_policy: BacklogPolicy::default(),
            backlog_mark: 256 << 10,
            topics: 64,
            topic_bytes: 256,
            idle_time: Duration::from_secs(60),
            pong_time: Duration::from_secs(20),
            close_time: Duration::from_secs(5),
            write_time: Duration::from_secs(30),
            write_grace: Duration::from_secs(10),
            write_rate: 240,
            connections_per_thread: 65_536,
            mailbox_bytes: 16 << 20,
        }
    }
}

/// What becomes of a message for a client that does not take what is sent to it, when
/// [`WsLimits::backlog_bytes`] would be exceeded. The sender is told in any case, and
/// [`Counters::ws_dropped`](crate::Counters::ws_dropped) counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum BacklogPolicy {
    /// The connection is closed: a client misses nothing or is gone. That holds for a message that does
    /// not fit into [`WsLimits::mailbox_bytes`], too.
    #[default]
    Close,
    /// The message is dropped.
    DropNewest,
    /// The oldest messages are dropped to make room: a feed of which only the latest counts. Up to
    /// 64 KiB of them are on their way already and stay, and a message that finds no room behind
    /// those is dropped itself.
    DropOldest,
}
