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
    doc = "[files]: guide::files",
    doc = "[getting-started]: guide::getting_started",
    doc = "[limits]: guide::limits",
    doc = "[operation]: guide::operation",
    doc = "[responses]: guide::responses",
    doc = "[security]: https://docs.rs/crate/peregrine/latest/source/SECURITY.md",
    doc = "[websockets]: guide::websockets",
    doc = "",
    doc = include_str!("../README.md")
)]
#![cfg_attr(
    not(all(feature = "dir", feature = "websocket")),
    doc = "An HTTP server to embed in a program. The README shows what its features add; the module [`guide`] has guides."
)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod access_log;
#[cfg(any(test, feature = "internals"))]
#[doc(hidden)]
pub mod checks;
mod config;
#[cfg(feature = "dir")]
mod files;
pub(crate) mod forms;
pub mod guide;
pub(crate) mod http;
#[cfg(any(test, feature = "internals"))]
#[doc(hidden)]
pub mod internals;
mod log;
mod metrics;
mod runtime;
mod server;
mod shared;
pub mod testing;
pub(crate) mod timers;
#[cfg(feature = "websocket")]
mod websocket;

pub use crate::access_log::{AccessFormat, AccessLog, LogWriter};
pub use crate::config::network::{IpNetwork, IpNetworkError};
#[cfg(feature = "websocket")]
pub use crate::config::ws_origins::WsOrigins;
pub use crate::config::{Balance, Config};
#[cfg(feature = "dir")]
pub use crate::files::{DirConfig, DirServer, Embedded, Files};
#[cfg(feature = "multipart")]
pub use crate::forms::multipart::{Multipart, MultipartError, MultipartLimits, PartHead, PartSink};
#[cfg(feature = "multipart")]
pub use crate::forms::upload::{Form, FormFile, Upload, UploadError, display_name};
pub use crate::http::access_entry::AccessEntry;
pub use crate::http::deferred::{
    BodySender, Event, EventHub, EventLimits, EventSender, Responder, SendError, TrySendError,
};
pub use crate::http::handler::{ConnectionError, FromFn, Handler, from_fn};
pub use crate::http::request::{OwnedRequest, Request};
pub use crate::http::request_body::flow::Flow;
pub use crate::http::request_body::{BodyPlan, BodyReader, BodySink, Incoming, Respond, Resumer};
pub use crate::http::response::error::ResponseError;
pub use crate::http::response::{BodyWriter, Done, ErrorContext, Response};
pub use crate::http::service::NoUpgrade;
pub use crate::metrics::{Counters, Queues, Stats};
#[cfg(unix)]
pub use crate::runtime::handover::Inherited;
pub use crate::runtime::listener::ListenAddr;
pub use crate::server::Server;
#[cfg(unix)]
pub use crate::server::hand_over;
pub use crate::server::running::{Running, Stopped, Stopper};
pub use crate::timers::{Timer, TimerError, Timers};
#[cfg(feature = "websocket")]
pub use crate::websocket::hub::{Hub, Relay};
#[cfg(feature = "websocket")]
pub use crate::websocket::id::WsId;
#[cfg(feature = "websocket")]
pub use crate::websocket::threads::WebSockets;
#[cfg(feature = "websocket")]
pub use crate::websocket::upgrade::{Upgrade, UpgradeError};
#[cfg(feature = "websocket")]
pub use crate::websocket::ws::Ws;
#[cfg(feature = "websocket")]
pub use crate::websocket::{Disconnect, WebSocketHandler};
#[doc(inline)]
pub use peregrine_protocol::error::ProtocolError;
#[doc(inline)]
pub use peregrine_protocol::form::FormError;
#[doc(inline)]
pub use peregrine_protocol::http::Version;
/// [`Config::limits`]. The [table](Config#limits) of all limits says what the client sees at each limit and
/// names the test that shows it.
///
#[doc(inline)]
pub use peregrine_protocol::limits::Limits;
/// For [`Response::send`], among others:
///
/// ```
/// use peregrine::{Done, Payload, Request, Response};
/// use std::sync::Arc;
///
/// fn handle(picture: &Arc<[u8]>, _: &Request<'_>, res: Response<'_>) -> Done {
///     res.header("content-type", "image/png").send(picture.clone())
/// }
/// ```
///
#[doc(inline)]
pub use peregrine_protocol::payload::Payload;
#[cfg(feature = "deflate")]
#[doc(inline)]
pub use peregrine_protocol::ws::deflate::WsDeflate;
#[cfg(feature = "websocket")]
#[doc(inline)]
pub use peregrine_protocol::ws::frame::{FrameError, Message};
#[cfg(feature = "websocket")]
#[doc(inline)]
pub use peregrine_protocol::ws::limits::BacklogPolicy;
/// [`Config::ws_limits`] sets them for all connections, [`Upgrade::limits`] for one. The
/// [table](Config#limits) in [`Config`] says what the client sees at each limit.
///
#[cfg(feature = "websocket")]
#[doc(inline)]
pub use peregrine_protocol::ws::limits::WsLimits;
#[cfg(feature = "websocket")]
#[doc(inline)]
pub use peregrine_protocol::ws::prepared::PreparedMessage;
#[cfg(feature = "websocket")]
#[doc(inline)]
pub use peregrine_protocol::ws::send::Sent;
