//! Limits of an HTTP/2 connection.

crate::settings! {
    /// Limits of one HTTP/2 connection, beside those that it shares with HTTP/1
    /// ([`Limits`](crate::limits::Limits)).
    ///
    /// ```
    /// # use peregrine_protocol::h2::limits::Http2Limits;
    /// let limits = Http2Limits::default().streams(250);
    /// assert_eq!(limits.stream_window, 65_535);
    /// ```
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Http2Limits {
        /// Number of streams that a client may have open; REFUSED_STREAM above. A request with a complete response
        /// is not counted, as it never becomes a stream.
        pub streams: usize = 100;
        /// Bytes of a request body that may be on their way or wait to be taken, for each stream. The maximum is
        /// 2^31 - 1.
        pub stream_window: u32 = 65_535;
        /// Bytes of request bodies that may be on their way or wait to be taken, for all streams of the connection
        /// together. A stream whose body is not taken stops the others only if all of them together hold so many
        /// bytes. The least is 65,535.
        pub connection_window: u32 = 1 << 20;
        /// Bytes of the table of header compression in each direction. The maximum is 4,096. At most 8 KiB more are kept
        /// for fields of responses that come again. 0: no memory is kept for idle connections, and heads take more bytes.
        pub header_table_bytes: usize = 4096;
        /// Number of CONTINUATION frames of one field block; the connection is closed above.
        pub continuation_frames: u8 = 8;
        /// Number of values in one SETTINGS frame; the connection is closed above.
        pub settings_values: usize = 32;
        /// What a client may make the server do for nothing: streams that it resets or that are reset because of
        /// it, refused streams, PING, SETTINGS, priorities, unknown frames, needless WINDOW_UPDATE, and DATA
        /// frames with next to nothing in them. Each costs one; at 0 the connection is closed with
        /// ENHANCE_YOUR_CALM.
        pub nuisances: u32 = 1000;
        /// Number of these that come back each second.
        pub nuisances_per_second: u32 = 33;
    }
}
