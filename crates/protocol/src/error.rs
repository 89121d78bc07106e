//! Errors of a request, each with its status.

/// An enum of errors, each with a number that the client is told and a text.
macro_rules! errors {
    (
        $(#[$of:meta])* $error:ident, $(#[$told:meta])* $number:ident:
        $($(#[$doc:meta])* $name:ident = $value:literal, $text:literal;)*
    ) => {
        $(#[$of])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $error {
            $($(#[$doc])* $name,)*
        }

        impl $error {
            #[cfg(test)]
            #[allow(dead_code, reason = "not every enum has a test over all")]
            pub(crate) const ALL: &[$error] = &[$($error::$name),*];

            $(#[$told])*
            pub fn $number(self) -> u16 {
                match self { $($error::$name => $value,)* }
            }

            /// What is wrong, in a few words.
            pub fn text(self) -> &'static str {
                match self { $($error::$name => $text,)* }
            }
        }

        impl core::fmt::Display for $error {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(self.text())
            }
        }

        impl core::error::Error for $error {}
    };
}
#[cfg(feature = "websocket")]
pub(crate) use errors;

errors! {
    /// Why a request was refused. The client gets [`status`](ProtocolError::status) with the text of
    /// `Display` as the body, and the connection closes. It closes because two readers could understand
    /// such a request differently, so later bytes cannot be trusted. The exception is
    /// [`TooManyRequests`](ProtocolError::TooManyRequests).
    ///
    /// ```
    /// # use peregrine_protocol::error::ProtocolError;
    /// let error = ProtocolError::LengthAndEncoding;
    /// assert_eq!(error.status(), 400);
    /// assert_eq!(error.to_string(), "both Content-Length and Transfer-Encoding");
    /// ```
    ProtocolError,
    /// The status of the response.
    status:

    /// A line ends in LF without CR (RFC 9112 section 2.2).
    BareLf = 400, "a line does not end in CRLF";
    /// The request line is not `method SP target SP version` (RFC 9112 section 3).
    RequestLine = 400, "malformed request line";
    /// The method is not a token (RFC 9110 section 9.1).
    Method = 400, "malformed method";
    /// The target is in none of the four forms, or not in the one its method asks for (RFC 9112
    /// section 3.2).
    Target = 400, "malformed request target";
    /// The target is longer than [`Limits::target_bytes`](crate::limits::Limits::target_bytes).
    TargetTooLong = 414, "request target too long";
    /// The method has more than 64 bytes. No registered method is so long (RFC 9112 section 3).
    MethodTooLong = 501, "request method too long";
    /// A major version other than 1 (RFC 9110 section 15.6.6).
    Version = 505, "only HTTP/1.0 and HTTP/1.1 are supported";
    /// A line starts with white space: a folded field (RFC 9112 section 5.2).
    FoldedField = 400, "folded header field";
    /// A field name is empty, is not a token, or has white space before its colon (RFC 9112
    /// section 5.1).
    FieldName = 400, "malformed header field name";
    /// A field value has a control byte (RFC 9110 section 5.5).
    FieldValue = 400, "control byte in a header field";
    /// The head is longer than [`Limits::head_bytes`](crate::limits::Limits::head_bytes).
    HeadTooLarge = 431, "request head too large";
    /// More fields than [`Limits::header_fields`](crate::limits::Limits::header_fields).
    TooManyFields = 431, "too many header fields";
    /// HTTP/1.1 without `Host` (RFC 9112 section 3.2).
    HostMissing = 400, "no Host";
    /// More than one `Host` (RFC 9112 section 3.2).
    HostRepeated = 400, "more than one Host";
    /// The value of `Host` is not a host (RFC 9112 section 3.2).
    HostInvalid = 400, "malformed Host";
    /// A target in absolute form names another host or port than `Host`. RFC 9112 section 3.2.2 lets a server
    /// use the target alone, but a server that uses `Host` would read another request.
    HostConflict = 400, "the request target and Host name different hosts";
    /// The host is not in `Config::allowed_hosts` (RFC 9110 section 15.5.20).
    HostNotAllowed = 421, "this server does not serve that host name";
    /// `Content-Length` beside `Transfer-Encoding` (RFC 9112 section 6.3).
    LengthAndEncoding = 400, "both Content-Length and Transfer-Encoding";
    /// More than one `Content-Length`, equal or not (RFC 9112 section 6.3).
    LengthRepeated = 400, "more than one Content-Length";
    /// `Content-Length` is not a number in decimal digits (RFC 9110 section 8.6).
    LengthInvalid = 400, "malformed Content-Length";
    /// `Transfer-Encoding` in HTTP/1.0 (RFC 9112 section 6.1).
    EncodingInHttp10 = 400, "Transfer-Encoding in HTTP/1.0";
    /// `Transfer-Encoding` has an empty element, or `chunked` is repeated, not last or has parameters
    /// (RFC 9112 section 6.3).
    EncodingInvalid = 400, "malformed Transfer-Encoding";
    /// A transfer coding other than `chunked` (RFC 9112 section 6.1).
    EncodingUnknown = 501, "unknown transfer coding";
    /// An expectation other than `100-continue` (RFC 9110 section 10.1.1).
    Expectation = 417, "unknown expectation";
    /// The body is longer than [`Limits::body_bytes`](crate::limits::Limits::body_bytes).
    BodyTooLarge = 413, "request body too large";
    /// A chunk size is not 1 to 16 hexadecimal digits (RFC 9112 section 7.1).
    ChunkSize = 400, "malformed chunk size";
    /// A chunk extension is malformed (RFC 9112 section 7.1.1).
    ChunkExtension = 400, "malformed chunk extension";
    /// Chunk extensions are longer than
    /// [`Limits::chunk_extension_bytes`](crate::limits::Limits::chunk_extension_bytes) in all.
    ChunkExtensionTooLong = 400, "chunk extensions too long";
    /// Chunk data is not followed by CRLF (RFC 9112 section 7.1).
    ChunkEnd = 400, "chunk data does not end in CRLF";
    /// The head did not arrive within [`Limits::head_timeout`](crate::limits::Limits::head_timeout).
    HeadTimeout = 408, "the request head took too long";
    /// The body fell below [`Limits::body_rate`](crate::limits::Limits::body_rate).
    BodyTimeout = 408, "the request body took too long";
    /// The address of the client makes more requests than `Config::request_rate` (RFC 6585 section 4). The connection
    /// goes on.
    TooManyRequests = 429, "too many requests";
    /// The server holds more than `Config::buffered_bytes`.
    Overloaded = 503, "the server is busy";
}
