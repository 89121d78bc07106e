//! Limits of a WebSocket connection.

use core::time::Duration;

crate::settings! {
    /// Limits of one WebSocket connection.
    ///
    /// Nothing is allocated for an announced length: buffers grow with the bytes that arrive.
    ///
    /// ```
    /// # use peregrine_protocol::ws::limits::{BacklogPolicy, WsLimits};
    /// let feed = WsLimits::default().backlog_policy(BacklogPolicy::DropOldest);
    /// assert_eq!(feed.backlog_bytes, 2 << 20);
    /// ```
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct WsLimits {
        /// Bytes of a whole message, after decompression. Above, the connection closes with 1009, as soon as
        /// a frame announces the length.
        pub message_bytes: usize = 1 << 20;
        /// Bytes of the payload of one frame; 1009 above.
        pub frame_bytes: usize = 1 << 20;
        /// Number of frames of one message, empty ones included; 1008 above.
        pub fragments: u32 = 4096;
        /// How long a message may take from its first byte before `message_rate` applies to it.
        pub message_grace: Duration = Duration::from_secs(10);
        /// Bytes a second that the client must send of a message that it has begun, on average; 1008 below.
        /// 0: there is no minimum rate.
        ///
        /// Time in which the server reads nothing (`backlog_mark`) does not count. A faster start allows a pause
        /// later. The pause is at most `idle_timeout` or `message_grace`, whichever is longer.
        pub message_rate: usize = 1000;
        /// Messages that a client may send in a second, on average; 1008 above. Ten times as many may arrive
        /// at once if the client has sent fewer before.
        pub messages: u32 = 1000;
        /// Pings and pongs that a client may send within one second of the server's clock; 1008 above.
        pub control_frames: u32 = 100;
        /// Bytes that may wait to be sent to a client.
        ///
        /// `backlog_policy` applies to a message that does not fit. Only responses to pings and the close frame
        /// may exceed this limit, by a few bytes each.
        // The echo of the largest message must fit.
        pub backlog_bytes: usize = 2 << 20;
        /// What happens to a message that does not fit, and to its connection.
        pub backlog_policy: BacklogPolicy = BacklogPolicy::Close;
        /// Bytes that wait to be sent to a client, above which nothing more is read from it. So a client
        /// that causes endless messages to itself has to wait. When the backlog falls to this mark,
        /// `handle_ws_drain` is called.
        pub backlog_mark: usize = 256 << 10;
        /// Number of topics that one connection may subscribe to.
        pub topics: usize = 64;
        /// Bytes of the name of a topic. A connection cannot subscribe to a topic with a longer name.
        pub topic_bytes: usize = 256;
        /// How long a client may send nothing before the server sends a ping.
        pub idle_timeout: Duration = Duration::from_secs(60);
        /// How long a client may send nothing after that ping.
        pub pong_timeout: Duration = Duration::from_secs(20);
        /// How long a program may stop the reading of a connection. After that the server closes it with 1013, and reads
        /// again up to the close frame of the client. Meanwhile it cannot hear the client, so `idle_timeout` does not apply.
        pub pause_timeout: Duration = Duration::from_secs(300);
        /// How long a client may take to send its close frame after that of the server (RFC 6455 section
        /// 7.1.2).
        pub close_timeout: Duration = Duration::from_secs(5);
        /// How long a client may take no byte of its messages.
        pub write_timeout: Duration = Duration::from_secs(30);
        /// How long messages may wait for their client before `write_rate` applies.
        pub write_grace: Duration = Duration::from_secs(10);
        /// Bytes a second that a client must take of its messages, on average. Below, the connection is
        /// reset. 0: there is no minimum rate.
        ///
        /// A faster start allows a pause later. The pause is at most `write_timeout` or `write_grace`, whichever is
        /// longer.
        pub write_rate: usize = 240;
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
    /// does not fit into `Config::ws_mailbox_bytes`.
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
