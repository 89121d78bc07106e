//! Limits of an HTTP/2 connection.

/// Limits of one HTTP/2 connection, beside those that it shares with HTTP/1
/// ([`Limits`](crate::limits::Limits)).
///
/// ```
/// # use peregrine_protocol::h2::limits::Http2Limits;
/// let mut limits = Http2Limits::default();
/// limits.streams = 250;
/// assert_eq!(limits.stream_window, 65_535);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Http2Limits {
    /// Number of streams that a client may have open; REFUSED_STREAM above. A request that is answered at once
    /// is not counted, as it never becomes a stream. Default: 100.
    pub streams: usize,
    /// Bytes of a request body that may be on their way or wait to be taken, for each stream. The maximum is
    /// 2^31 - 1. Default: 65,535.
    pub stream_window: u32,
    /// Bytes of request bodies that may be on their way or wait to be taken, for all streams of the connection
    /// together. A stream whose body is not taken holds up the others only if all of them together hold so many
    /// bytes. The least is 65,535. Default: 1 MiB.
    pub connection_window: u32,
    /// Bytes of the table of header compression in each direction. The maximum is 4,096. 0: no memory is kept
    /// for idle connections, and heads take more bytes. Default: 4,096.
    pub header_table_bytes: usize,
    /// Number of CONTINUATION frames of one field block; the connection is closed above. Default: 8.
    pub continuation_frames: u8,
    /// Number of values in one SETTINGS frame; the connection is closed above. Default: 32.
    pub settings_values: usize,
    /// What a client may make the server do for nothing: streams that it resets or that are reset because of
    /// it, refused streams, PING, SETTINGS, priorities, unknown frames, needless WINDOW_UPDATE, and DATA
    /// frames with next to nothing in them. Each costs one; at 0 the connection is closed with
    /// ENHANCE_YOUR_CALM. Default: 1,000.
    pub nuisances: u32,
    /// How many of these come back each second. Default: 33.
    pub nuisances_per_second: u32,
}

impl Default for Http2Limits {
    fn default() -> Http2Limits {
        Http2Limits {
            streams: 100,
            stream_window: 65_535,
            connection_window: 1 << 20,
            header_table_bytes: 4096,
            continuation_frames: 8,
            settings_values: 32,
            nuisances: 1000,
            nuisances_per_second: 33,
        }
    }
}
