//! What can be wrong with a form, and the status that says so.

macro_rules! errors {
    ($($(#[$doc:meta])* $name:ident = $status:literal, $text:literal;)*) => {
        /// Why a `multipart/form-data` body was refused. Small and `Copy`; it knows the status of the
        /// answer that says so, and what `Display` says may be sent to the client: it holds nothing
        /// of the body.
        ///
        /// ```
        /// use peregrine::{Multipart, MultipartError, MultipartLimits};
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
            /// The status of the answer: 400, 413 or 415; 500 for
            /// [`Stopped`](MultipartError::Stopped) alone.
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
    /// `Content-Type` has no `boundary`, or more than one, or one that is not 1 to 70 of the
    /// characters of RFC 2046 section 5.1.1, or is malformed.
    Boundary = 400, "no proper boundary in Content-Type";
    /// The first boundary does not come within
    /// [`MultipartLimits::header_bytes`](crate::MultipartLimits::header_bytes).
    NoStart = 400, "the form does not begin with its boundary";
    /// Something other than a line end, or the two hyphens that close the form, follows a boundary.
    /// Some readers would take it for a boundary and others for data.
    BoundaryLine = 400, "a boundary is not alone on its line";
    /// A header line of a part is malformed or does not end in CRLF (RFC 9112 section 5), or its
    /// `Content-Type` is there twice.
    Header = 400, "malformed header in a part of the form";
    /// A part has no `Content-Disposition`, or two, or a malformed one, or one that is not
    /// `form-data` with one `name` (RFC 7578 section 4.2); `attachment` is taken for that.
    Disposition = 400, "a part of the form has no proper Content-Disposition";
    /// A part has `filename*` and no `filename`, and it is no name in UTF-8 or ISO-8859-1 (RFC 8187
    /// section 3.2).
    ExtendedFileName = 400, "a part of the form has a malformed filename*";
    /// `Content-Transfer-Encoding` is not one that leaves the data as it is (RFC 7578 section 4.7).
    TransferEncoding = 415, "a part of the form is in a transfer encoding";
    /// The body ends before the closing boundary.
    Unfinished = 400, "the form ends before its closing boundary";
    /// More parts than [`MultipartLimits::parts`](crate::MultipartLimits::parts).
    TooManyParts = 413, "too many parts in the form";
    /// More than [`MultipartLimits::header_bytes`](crate::MultipartLimits::header_bytes).
    HeaderTooLong = 413, "a part of the form has too long a header";
    /// More than [`MultipartLimits::text_bytes`](crate::MultipartLimits::text_bytes).
    TextTooLong = 413, "a field of the form is too long";
    /// More than [`MultipartLimits::memory_bytes`](crate::MultipartLimits::memory_bytes).
    MemoryExceeded = 413, "the fields of the form are too long together";
    /// More than [`MultipartLimits::file_bytes`](crate::MultipartLimits::file_bytes).
    FileTooLong = 413, "a file in the form is too long";
    /// More than [`MultipartLimits::total_bytes`](crate::MultipartLimits::total_bytes).
    TooLong = 413, "the form is too long";
    /// It was gone on with after its [`PartSink`](crate::PartSink) had failed.
    Stopped = 500, "the form was given up before its end";
}

impl std::error::Error for MultipartError {}
