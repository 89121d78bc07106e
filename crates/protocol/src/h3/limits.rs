//! Limits of an HTTP/3 connection.

crate::settings! {
    /// Limits of one HTTP/3 connection, beside those that it shares with HTTP/1
    /// ([`Limits`](crate::limits::Limits)). Those of QUIC, such as windows, are the driver's.
    ///
    /// ```
    /// # use peregrine_protocol::h3::limits::Http3Limits;
    /// let limits = Http3Limits::default().streams(250);
    /// assert_eq!(limits.partial_head_bytes, 65_536);
    /// ```
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Http3Limits {
        /// Number of request streams that a client may have open; H3_REQUEST_REJECTED above. The driver allows as many by
        /// QUIC. A request with a complete response is not counted, as it never becomes a stream.
        pub streams: usize = 100;
        /// Number of unidirectional streams that a client may have open; the connection is closed with H3_EXCESSIVE_LOAD
        /// above. A client needs three, and has to be allowed three (RFC 9114 section 6.2). The driver allows as many by QUIC.
        pub unidirectional_streams: usize = 16;
        /// Bytes of HEADERS frames that are not complete, for all streams of a connection together; H3_REQUEST_REJECTED
        /// above.
        pub partial_head_bytes: usize = 64 << 10;
        /// Number of values in the SETTINGS frame; the connection is closed with H3_EXCESSIVE_LOAD above.
        pub settings_values: usize = 32;
        /// Bytes of a frame on the control stream that is not ignored; the connection is closed with H3_EXCESSIVE_LOAD above.
        pub control_frame_bytes: usize = 1024;
        /// What a client may make the server do for nothing: streams that it resets or that are reset because of it,
        /// rejected and refused requests, frames and streams that are ignored, instructions of QPACK, priorities, and DATA
        /// frames with next to nothing in them. Each costs one, and frames that are ignored cost one for each 4 KiB; at 0 the
        /// connection is closed with H3_EXCESSIVE_LOAD.
        pub nuisances: u32 = 1000;
        /// Number of these that come back each second.
        pub nuisances_per_second: u32 = 33;
    }
}
