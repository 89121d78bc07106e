//! Errors of a form, each with its status.

macro_rules! errors {
    ($($(#[$doc:meta])* $name:ident = $status:literal, $text:literal;)*) => {
        /// Why a `multipart/form-data` body was refused. It is small and `Copy`.
        ///
        /// [`MultipartError::status`] is the status for the response. The text of `Display` may be sent to
        /// the client: it contains nothing of the body.
        ///
        /// ```
        /// use peregrine::multipart::{Multipart, MultipartError, MultipartLimits};
        ///
        /// let error = Multipart::new("text/plain", MultipartLimits::default()).unwrap_err();
        /// assert_eq!((error, error.status()), (MultipartError::NotFormData, 415));
        /// ```
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum MultipartError {
            $($(#[$doc])* $name,)*
        }

        impl MultipartError {
            /// The status for the response: 400, 413 or 415. Only [`Stopped`](MultipartError::Stopped) has
            /// 500.
            pub fn status(self) -> u16 {
                match self { $(MultipartError::$name => $status,)* }
            }
        }

        impl std::fmt::Display for MultipartError {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self { $(MultipartError::$name => $text,)* })
            }
        }
    };
}

errors! {
    /// `Content-Type` is not `multipart/form-data`.
    NotFormData = 415, "not multipart/form-data";
    /// `Content-Type` has no `boundary`, or more than one, or is malformed. Or the boundary is not 1 to 70 of
    /// the characters of RFC 2046 section 5.1.1.
    Boundary = 400, "Content-Type has no valid boundary";
    /// The first boundary does not come within
    /// [`MultipartLimits::header_bytes`](crate::multipart::MultipartLimits::header_bytes).
    NoStart = 400, "the form does not begin with its boundary";
    /// A boundary is followed by something other than a line end or the two hyphens that close the form. Some
    /// parsers would take it for a boundary and others for data.
    BoundaryLine = 400, "a boundary of the form is followed by other bytes on its line";
    /// A header line of a part is malformed or does not end in CRLF (RFC 9112 section 5), or the part has
    /// `Content-Type` twice.
    Header = 400, "a part of the form has a malformed header";
    /// A part has no `Content-Disposition`, or has it twice, or it is malformed, or it is not `form-data`
    /// with one `name` (RFC 7578 section 4.2). `attachment` is accepted for `form-data`.
    Disposition = 400, "a part of the form has no valid Content-Disposition";
    /// A part has `filename*` and no `filename`, and the value is no name in UTF-8 or ISO-8859-1 (RFC 8187
    /// section 3.2).
    ExtendedFileName = 400, "a part of the form has a malformed filename*";
    /// A part has a `Content-Transfer-Encoding` that changes the data (RFC 7578 section 4.7).
    TransferEncoding = 415, "a part of the form has a transfer encoding";
    /// The body ends before the closing boundary.
    Unfinished = 400, "the form ends before its closing boundary";
    /// The form has more parts than [`MultipartLimits::parts`](crate::multipart::MultipartLimits::parts).
    TooManyParts = 413, "the form has too many parts";
    /// The header lines of a part exceed
    /// [`MultipartLimits::header_bytes`](crate::multipart::MultipartLimits::header_bytes).
    HeaderTooLong = 413, "the header of a part of the form is too long";
    /// A field that is no file exceeds [`MultipartLimits::text_bytes`](crate::multipart::MultipartLimits::text_bytes).
    TextTooLong = 413, "a field of the form is too long";
    /// All header lines and fields that are no files exceed
    /// [`MultipartLimits::memory_bytes`](crate::multipart::MultipartLimits::memory_bytes).
    MemoryExceeded = 413, "the fields of the form are too long in total";
    /// A file exceeds [`MultipartLimits::file_bytes`](crate::multipart::MultipartLimits::file_bytes).
    FileTooLong = 413, "a file in the form is too long";
    /// The whole form exceeds [`MultipartLimits::total_bytes`](crate::multipart::MultipartLimits::total_bytes).
    TooLong = 413, "the form is too long";
    /// The parser was called again after its [`PartSink`](crate::multipart::PartSink) had failed.
    Stopped = 500, "reading of the form stopped before its end";
}

impl std::error::Error for MultipartError {}
