//! `ConnectionError`: what can go wrong on a connection.

use crate::http::response::error::ResponseError;
use peregrine_protocol::error::ProtocolError;
use std::io;

/// An error of a connection, for [`Handler::handle_error`](crate::Handler::handle_error).
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectionError<'a> {
    /// The request was refused.
    Refused(ProtocolError),
    /// The handler panicked with this message, and the client got 500. Or a function that
    /// [`Timers`](crate::timers::Timers) called panicked; this case has no client.
    Panicked(&'a str),
    /// The response of the handler could not be sent. The client got 500.
    Response(&'a ResponseError),
    /// The handler returned an error whose response has status 500 or above. This is the text of the error and
    /// its causes; see [`HandlerError`](crate::error::HandlerError).
    Failed(&'a str),
    /// The client closed the connection in the middle of a request.
    ClientGone,
    /// A read from the client failed, usually because of a reset.
    Read(&'a io::Error),
    /// A write to the client failed. The unsent bytes are lost.
    Write(&'a io::Error),
    /// A deferred or streamed response got no byte from the handler for
    /// [`Limits::response_timeout`](crate::Limits::response_timeout).
    ResponseTimeout,
    /// The client received no byte of its response for
    /// [`Limits::write_timeout`](crate::Limits::write_timeout), or received its bytes slower than
    /// [`Limits::write_rate`](crate::Limits::write_rate).
    WriteTimeout,
    /// The library panicked with this message. This is a bug of the library; please report it. The connection
    /// was reset, and all others go on.
    Internal(&'a str),
    /// A WebSocket handshake was refused before a call of [`accept_ws`](crate::ws::WebSocketHandler::accept_ws).
    /// The handshake was not valid, or it came from a page that
    /// [`Config::ws_origins`](crate::Config::ws_origins) does not allow.
    #[cfg(feature = "websocket")]
    Handshake {
        /// The status of the response.
        status: u16,
        /// The body of the response.
        text: &'static str,
    },
    /// A client sent a WebSocket handshake to a server without
    /// [`Server::websocket`](crate::Server::websocket). The handler handled the request like any other.
    #[cfg(feature = "websocket")]
    NoWebSockets,
    /// The TLS handshake was not completed: the client has sent an alert, for example because it does not trust the
    /// certificate; what it sent is not valid; its certificate is not accepted; it left; or it took longer than
    /// [`Config::tls_handshake_timeout`](crate::Config::tls_handshake_timeout)
    /// ([`TimedOut`](io::ErrorKind::TimedOut)). Connections on which the client sent nothing are not reported.
    ///
    /// Each connection reports it once at most. All are counted in
    /// [`Counters::handshakes_failed`](crate::metrics::Counters::handshakes_failed).
    #[cfg(feature = "tls")]
    TlsHandshake(&'a io::Error),
    /// The server has ended an HTTP/2 connection with GOAWAY, or a stream with RST_STREAM, because the client violates
    /// the protocol or a limit. A malformed request ends its stream.
    #[cfg(feature = "http2")]
    Http2 {
        /// The error code (RFC 9113 section 7).
        code: u32,
        /// What is wrong.
        text: &'static str,
    },
    /// The server has closed an HTTP/3 connection, or reset one of its streams, because the client violates the protocol or
    /// a limit. A malformed request ends its stream.
    #[cfg(feature = "http3")]
    Http3 {
        /// The error code (RFC 9114 section 8.1, RFC 9204 section 6).
        code: u64,
        /// What is wrong.
        text: &'static str,
    },
    /// The connection was closed because memory was short and it made no progress. The connections held
    /// almost [`Config::buffered_bytes`](crate::Config::buffered_bytes) or more.
    Overloaded,
}

impl std::fmt::Display for ConnectionError<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ConnectionError::Refused(error) => {
                write!(f, "refused with {}: {error}", error.status())
            }
            ConnectionError::Panicked(message) => write!(f, "the handler panicked: {message}"),
            ConnectionError::Response(error) => error.fmt(f),
            ConnectionError::Failed(text) => write!(f, "the handler failed: {text}"),
            ConnectionError::ClientGone => {
                f.write_str("the client closed the connection in the middle of a request")
            }
            ConnectionError::Read(error) => write!(f, "reading failed: {error}"),
            ConnectionError::Write(error) => write!(f, "writing failed: {error}"),
            ConnectionError::ResponseTimeout => {
                f.write_str("a deferred or streamed response got no byte in time")
            }
            #[cfg(feature = "tls")]
            ConnectionError::TlsHandshake(error) => write!(f, "the TLS handshake failed: {error}"),
            ConnectionError::WriteTimeout => f.write_str("the client took its response too slowly"),
            ConnectionError::Internal(message) => {
                write!(
                    f,
                    "the library panicked, the connection was reset: {message}"
                )
            }
            #[cfg(feature = "websocket")]
            ConnectionError::Handshake { status, text } => {
                write!(f, "handshake refused with {status}: {}", text.trim_end())
            }
            #[cfg(feature = "websocket")]
            ConnectionError::NoWebSockets => {
                f.write_str("a WebSocket handshake for a server without Server::websocket")
            }
            #[cfg(feature = "http2")]
            ConnectionError::Http2 { code, text } => {
                write!(f, "HTTP/2 error {code}: {text}")
            }
            #[cfg(feature = "http3")]
            ConnectionError::Http3 { code, text } => {
                write!(f, "HTTP/3 error {code:#x}: {text}")
            }
            ConnectionError::Overloaded => {
                f.write_str("memory was short and the connection made no progress")
            }
        }
    }
}

impl std::error::Error for ConnectionError<'_> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ConnectionError::Refused(error) => Some(error),
            ConnectionError::Response(error) => Some(*error),
            ConnectionError::Read(error) | ConnectionError::Write(error) => Some(*error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error;

    #[test]
    fn errors_of_connections_have_their_cause() {
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        let cause = |error: &ConnectionError<'_>| error.source().map(ToString::to_string);
        assert_eq!(
            cause(&ConnectionError::Read(&reset)),
            Some(reset.to_string())
        );
        let refused = ConnectionError::Refused(ProtocolError::BareLf);
        assert_eq!(cause(&refused), Some(ProtocolError::BareLf.to_string()));
        let failed = ResponseError::Write(io::Error::from(io::ErrorKind::ConnectionReset));
        assert_eq!(
            failed.source().map(ToString::to_string),
            Some(reset.to_string())
        );
        assert_eq!(cause(&ConnectionError::ClientGone), None);
    }
}
