//! Limits of a WebSocket connection.

use core::time::Duration;

/// Limits of one WebSocket connection, or of one WebSocket thread where the field says so.
///
/// Nothing is allocated for an announced length: buffers grow with the bytes that arrive.
///
/// ```
/// # use peregrine_protocol::ws::limits::{BacklogPolicy, WsLimits};
/// let feed = WsLimits { backlog_policy: BacklogPolicy::DropOldest, ..WsLimits::default() };
/// assert_eq!(feed.backlog_bytes, 2 << 20);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WsLimits {
    /// Bytes of a whole message, after decompression. Above, the connection closes with 1009, as soon as a
    /// frame announces the length. Default: 1 MiB.
    pub message_bytes: usize,
    /// Bytes of the payload of one frame; 1009 above. Default: 1 MiB.
    pub frame_bytes: usize,
    /// Number of frames of one message, empty ones included; 1008 above. Default: 4,096.
    pub fragments: u32,
    /// How long a message may take from its first byte before `message_rate` applies to it. Default: 10 s.
    pub message_grace: Duration,
    /// Bytes a second that the client must send of a message that it has begun, on average; 1008 below. 0:
    /// there is no minimum rate. Default: 1,000.
    ///
    /// Time in which the server reads nothing (`backlog_mark`) does not count. A faster start allows a pause
    /// later. The pause is at most `idle_timeout` or `message_grace`, whichever is longer.
    pub message_rate: usize,
    /// Messages that a client may send in a second, on average; 1008 above. Ten times as many may arrive at
    /// once if the client has sent fewer before. Default: 1,000.
    pub messages: u32,
    /// Pings and pongs that a client may send within one second of the server's clock; 1008 above. Default:
    /// 100.
    pub control_frames: u32,
    /// Bytes that may wait to be sent to a client. Default: 2 MiB.
    ///
    /// `backlog_policy` applies to a message that does not fit. Only responses to pings and the close frame
    /// may exceed this limit, by a few bytes each.
    pub backlog_bytes: usize,
    /// What happens to a message that does not fit, and to its connection. Default: [`BacklogPolicy::Close`].
    pub backlog_policy: BacklogPolicy,
    /// Bytes that wait to be sent to a client, above which nothing more is read from it. So a client that
    /// causes endless messages to itself has to wait. When the backlog falls to this mark,
    /// `handle_ws_drain` is called. Default: 256 KiB.
    pub backlog_mark: usize,
    /// Number of topics that one connection may subscribe to. Default: 64.
    pub topics: usize,
    /// Bytes of the name of a topic. A connection cannot subscribe to a topic with a longer name. Default:
    /// 256.
    pub topic_bytes: usize,
    /// How long a client may send nothing before the server sends a ping. Default: 60 s.
    pub idle_timeout: Duration,
    /// How long a client may send nothing after that ping. Default: 20 s.
    pub pong_timeout: Duration,
    /// How long a client may take to send its close frame after that of the server (RFC 6455 section 7.1.2).
    /// Default: 5 s.
    pub close_timeout: Duration,
    /// How long a client may take no byte of its messages. Default: 30 s.
    pub write_timeout: Duration,
    /// How long messages may wait for their client before `write_rate` applies. Default: 10 s.
    pub write_grace: Duration,
    /// Bytes a second that a client must take of its messages, on average. Below, the connection is reset. 0:
    /// there is no minimum rate. Default: 240.
    ///
    /// A faster start allows a pause later. The pause is at most `write_timeout` or `write_grace`, whichever is
    /// longer.
    pub write_rate: usize,
    /// Number of WebSockets of one thread; a further handshake gets 503. The maximum is 16,777,216. Default:
    /// 65,536.
    ///
    /// Only the value in `Config::ws_limits` has an effect.
    pub connections_per_thread: usize,
    /// Bytes of messages, names of topics and close reasons that other threads may have on their way to one
    /// WebSocket thread. Each counts 64 bytes more than it has. Default: 16 MiB.
    ///
    /// Only the value in `Config::ws_limits` has an effect.
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
            // The echo of the largest message must fit.
            backlog_bytes: 2 << 20,
            backlog_policy: BacklogPolicy::default(),
            backlog_mark: 256 << 10,
            topics: 64,
            topic_bytes: 256,
            idle_timeout: Duration::from_secs(60),
            pong_timeout: Duration::from_secs(20),
            close_timeout: Duration::from_secs(5),
            write_timeout: Duration::from_secs(30),
            write_grace: Duration::from_secs(10),
            write_rate: 240,
            connections_per_thread: 65_536,
            mailbox_bytes: 16 << 20,
        }
    }
}

/// What happens to a message if the client does not take its messages and [`WsLimits::backlog_bytes`] would
/// be exceeded.
///
/// The sender gets a result that says so in each case. `Counters::ws_dropped`
/// counts such messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum BacklogPolicy {
    /// The connection is closed. So a connected client misses no message. This also applies to a message that
    /// does not fit into [`WsLimits::mailbox_bytes`].
    #[default]
    Close,
    /// The message is dropped.
    DropNewest,
    /// The oldest messages are dropped until the new one fits. It suits a feed of which only the latest
    /// message counts.
    ///
    /// Up to 64 KiB of the oldest messages are already on their way and stay. If the new message does not fit
    /// behind them, it is dropped.
    DropOldest,
}
