// The README shows all that is there by default, and its code is tested. Its links lead to files beside
// it. The documentation has other targets, which stand before them: the first definition of a link is the
// one that counts. The picture itself is the target of its link.
#![cfg_attr(
    all(feature = "dir", feature = "websocket"),
    doc = include_str!("../benches/speed.md"),
    doc = "[architecture]: https://docs.rs/crate/peregrine/latest/source/ARCHITECTURE.md",
    doc = "[benches]: https://docs.rs/crate/peregrine/latest/source/benches/README.md",
    doc = "[blocking]: guide::blocking",
    doc = "[bodies]: guide::request_bodies",
    doc = "[changelog]: https://docs.rs/crate/peregrine/latest/source/CHANGELOG.md",
    doc = "[config]: Config#limits",
    doc = "[decisions]: https://docs.rs/crate/peregrine/latest/source/docs/decisions/README.md",
    doc = "[examples]: https://docs.rs/crate/peregrine/latest/source/examples/",
    doc = "[draining]: guide::draining",
    doc = "[kubernetes]: guide::kubernetes",
    doc = "[systemd]: guide::systemd",
    doc = "[files]: guide::files",
    doc = "[getting-started]: guide::getting_started",
    doc = "[layers]: guide::layers",
    doc = "[limits]: guide::limits",
    doc = "[machines]: guide::machines",
    doc = "[operation]: guide::operation",
    doc = "[proxies]: guide::proxies",
    doc = "[compression]: https://docs.rs/peregrine/latest/peregrine/guide/compression/index.html",
    doc = "[cookies]: guide::cookies",
    doc = "[response-cache]: guide::response_cache",
    doc = "[history]: guide::history",
    doc = "[presence]: guide::presence",
    doc = "[responses]: guide::responses",
    doc = "[routing]: guide::routing",
    doc = "[security]: https://docs.rs/crate/peregrine/latest/source/SECURITY.md",
    doc = "[http2]: https://docs.rs/peregrine/latest/peregrine/guide/http2/index.html",
    doc = "[http3]: https://docs.rs/peregrine/latest/peregrine/guide/http3/index.html",
    doc = "[json]: https://docs.rs/peregrine/latest/peregrine/guide/json/index.html",
    doc = "[templates]: https://docs.rs/peregrine/latest/peregrine/guide/templates/index.html",
    doc = "[testing]: guide::testing",
    doc = "[websockets]: guide::websockets",
    doc = "[tls]: https://docs.rs/peregrine/latest/peregrine/guide/tls/index.html",
    doc = "",
    doc = include_str!("../README.md")
)]
#![cfg_attr(
    not(all(feature = "dir", feature = "websocket")),
    doc = "An HTTP server to embed in a program. The README shows what its features add; the module [`guide`] has guides."
)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![deny(clippy::print_stdout)]

pub mod access_log;
#[cfg(any(test, feature = "internals"))]
#[doc(hidden)]
pub mod checks;
#[cfg(feature = "compress")]
pub mod compression;
pub mod config;
mod dashboard;
#[cfg(feature = "dir")]
pub mod files;
pub(crate) mod forms;
pub mod guide;
pub mod history;
pub(crate) mod http;
#[cfg(any(test, feature = "internals"))]
#[doc(hidden)]
pub mod internals;
pub mod layers;
mod log;
pub mod metrics;
pub mod presence;
pub mod relay;
pub mod response_cache;
pub mod router;
mod runtime;
pub mod server;
#[cfg(feature = "sessions")]
pub mod sessions;
mod shared;
#[cfg(feature = "templates")]
pub mod templates;
pub mod testing;
pub mod timers;
#[cfg(feature = "websocket")]
mod websocket;

pub use crate::config::Config;
pub use crate::dashboard::Dashboard;
pub use crate::http::deferred::Responder;
pub use crate::http::handler::{FromFn, Handler, from_fn};
pub use crate::http::request::{OwnedRequest, Request};
pub use crate::http::request_body::BodyPlan;
pub use crate::http::response::{Done, PreparedResponse, Response};
pub use crate::router::Router;
#[cfg(feature = "tls")]
pub use crate::runtime::tls::Tls;
pub use crate::server::Server;
#[doc(inline)]
pub use peregrine_protocol::http::Version;
#[doc(inline)]
pub use peregrine_protocol::limits::Limits;
#[doc(inline)]
pub use peregrine_protocol::payload::Payload;

/// Bodies that arrive or are sent in pieces.
///
/// [`BodyPlan::Stream`] gives a request body to a [`BodySink`](body::BodySink), and
/// [`BodyReader`](body::BodyReader) to another thread. [`Response::stream`] makes a
/// [`BodySender`](body::BodySender) for a response body.
pub mod body {
    pub use crate::http::deferred::{BodySender, SendError, TrySendError};
    pub use crate::http::request_body::flow::Flow;
    pub use crate::http::request_body::{BodyReader, BodySink, Incoming, Respond, Resumer};
    pub use crate::http::response::BodyWriter;
}

/// Cookies (RFC 6265).
///
/// [`Request::cookie`] reads one, [`Response::set_cookie`] sends a [`SetCookie`](cookie::SetCookie).
pub mod cookie {
    pub use crate::http::cookie::error::CookieError;
    #[cfg(feature = "sessions")]
    pub use crate::http::cookie::key::{CookieKey, ShortSecret};
    pub use crate::http::cookie::set_cookie::{SameSite, SetCookie};
}

/// Errors of connections, requests and responses.
///
/// A handler may return a [`HandlerError`](error::HandlerError), which becomes its response.
/// [`Handler::handle_error`] gets a [`ConnectionError`](error::ConnectionError), and [`Handler::error_response`] an [`ErrorContext`](error::ErrorContext). Errors of one subject are in its module.
pub mod error {
    pub use crate::http::connection_error::ConnectionError;
    pub use crate::http::handler_error::{BoxError, HandlerError, HandlerResult, Problem, Status};
    #[cfg(feature = "json")]
    pub use crate::http::json_body::{JsonError, JsonFault};
    pub use crate::http::request::route::ParamError;
    pub use crate::http::response::ErrorContext;
    pub use crate::http::response::error::ResponseError;
    #[doc(inline)]
    pub use peregrine_protocol::error::ProtocolError;
    #[doc(inline)]
    pub use peregrine_protocol::form::FormError;
}

/// Forms with files: `multipart/form-data` (RFC 7578). Needs the feature `multipart`.
///
/// [`Upload`](multipart::Upload) keeps texts in memory and files on the disk. [`Multipart`](multipart::Multipart)
/// is the parser below it.
#[cfg(feature = "multipart")]
pub mod multipart {
    pub use crate::forms::multipart::{
        Multipart, MultipartError, MultipartLimits, PartHead, PartSink,
    };
    pub use crate::forms::upload::{Form, FormFile, Upload, UploadError, display_name};
}

/// What load balancers and proxies say about clients: the header of the PROXY protocol.
///
/// [`Server::proxy_protocol`] expects it, and [`Request::proxy_header`] returns it. The [guide](guide::proxies) has the
/// first steps.
pub mod proxies {
    #[doc(inline)]
    pub use peregrine_protocol::proxy_header::{ProxyHeader, SslClient, Tlv};
}

/// Server-sent events (WHATWG HTML section 9.2).
///
/// [`Response::events`] begins a stream of events for one client. [`EventHub`](sse::EventHub) sends to many.
pub mod sse {
    pub use crate::http::deferred::{Event, EventHub, EventLimits, EventSender};
    pub use crate::shared::subscribe_error::SubscribeError;
}

/// TLS 1.3 (RFC 8446). Needs the feature `tls`.
///
/// [`Server::bind_tls`] listens on an address with TLS. [`Tls`] has its certificates. [`Request::tls`] returns a
/// [`TlsInfo`](tls::TlsInfo).
#[cfg(feature = "tls")]
pub mod tls {
    pub use crate::runtime::tls::{TlsError, TlsInfo};
}

/// Traces: which one a request belongs to (W3C Trace Context).
///
/// [`Request::trace_parent`] returns the [`TraceParent`](trace::TraceParent) of a request. The
/// [guide](guide::operation) tells what the feature `tracing` adds.
pub mod trace {
    pub use crate::http::request::trace::{TraceParent, TraceParentError};
}

/// WebSockets (RFC 6455). Needs the feature `websocket`, which is on by default.
///
/// [`Server::websocket`] enables them for a handler that is a [`WebSocketHandler`](ws::WebSocketHandler). The
/// [guide](guide::websockets) has the first steps.
#[cfg(feature = "websocket")]
pub mod ws {
    #[doc(inline)]
    pub use crate::config::ws_origins::WsOrigins;
    pub use crate::shared::subscribe_error::SubscribeError;
    pub use crate::websocket::accepting::UpgradeError;
    pub use crate::websocket::hub::Hub;
    pub use crate::websocket::id::WsId;
    pub use crate::websocket::threads::WebSockets;
    pub use crate::websocket::upgrade::Upgrade;
    pub use crate::websocket::upgrade_responder::UpgradeResponder;
    pub use crate::websocket::ws::Ws;
    pub use crate::websocket::{Disconnect, WebSocketHandler};
    #[cfg(feature = "deflate")]
    #[doc(inline)]
    pub use peregrine_protocol::ws::deflate::WsDeflate;
    #[doc(inline)]
    pub use peregrine_protocol::ws::frame::{FrameError, Message};
    #[doc(inline)]
    pub use peregrine_protocol::ws::limits::{BacklogPolicy, WsLimits};
    #[doc(inline)]
    pub use peregrine_protocol::ws::prepared::PreparedMessage;
    #[doc(inline)]
    pub use peregrine_protocol::ws::send::Sent;
}
