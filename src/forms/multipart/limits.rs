//! Limits of a form.

peregrine_protocol::settings! {
    /// Limits of one `multipart/form-data` body. The table in [`Config`](crate::Config#limits) has them too.
    ///
    /// Each limit is exact, wherever the body is split into pieces. The limits of the server apply first: a body
    /// that is buffered has at most [`Limits::body_bytes`](crate::Limits::body_bytes), by default 1 MiB.
    ///
    /// ```
    /// use peregrine::multipart::MultipartLimits;
    ///
    /// let photos = MultipartLimits::default().parts(20).file_bytes(8 << 20);
    /// assert_eq!(photos.text_bytes, 64 << 10);
    /// ```
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct MultipartLimits {
        /// Number of parts, fields and files together; 413 above, when the part begins.
        pub parts: usize = 128;
        /// Bytes of the header lines of one part, with the empty line after them; 413 above. The maximum is
        /// 65,535.
        ///
        /// It also limits the bytes before the first boundary, which are dropped; 400 above.
        pub header_bytes: usize = 8 << 10;
        /// Bytes of one part without a file name; 413 above.
        pub text_bytes: usize = 64 << 10;
        /// Bytes of all header lines and of all parts without a file name; 413 above. This is about the
        /// memory of a form that [`Upload`](crate::multipart::Upload) keeps.
        pub memory_bytes: usize = 1 << 20;
        /// Bytes of one part with a file name; 413 above.
        pub file_bytes: u64 = 32 << 20;
        /// Bytes of the body, with boundaries and everything that is dropped; 413 above.
        pub total_bytes: u64 = 64 << 20;
    }
}
