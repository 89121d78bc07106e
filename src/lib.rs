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

mod access_entry;
mod access_log;
#[cfg(any(test, feature = "internals"))]
#[doc(hidden)]
pub mod checks;
mod config;
mod conn;
#[cfg(feature = "dir")]
mod dir;
mod drive;
#[cfg(any(feature = "dir", feature = "multipart"))]
mod file_name;
pub mod guide;
mod handler;
#[cfg(feature = "http")]
mod http_types;
mod incoming;
#[cfg(any(test, feature = "internals"))]
#[doc(hidden)]
pub mod internals;
mod io;
mod late;
mod launch;
mod log;
#[cfg(feature = "multipart")]
mod multipart;
mod network;
mod protocol;
mod request;
mod response;
mod running;
mod runtime;
mod server;
mod stats;
pub mod testing;
#[cfg(feature = "multipart")]
mod upload;
#[cfg(feature = "websocket")]
mod websocket;
#[cfg(feature = "websocket")]
mod ws_drive;

pub use access_entry::AccessEntry;
pub use access_log::{AccessFormat, AccessLog, LogWriter};
pub use config::{Balance, Config};
#[cfg(feature = "dir")]
pub use dir::{DirConfig, DirServer, Embedded, Files};
pub use drive::Off;
pub use handler::{ConnectionError, FromFn, Handler, from_fn};
pub use incoming::{BodyPlan, BodyReader, BodySink, Flow, Incoming, Respond, Resumer};
#[cfg(unix)]
pub use io::handover::Inherited;
pub use io::listener::ListenAddr;
#[cfg(feature = "websocket")]
pub use io::ws_mode::WebSockets;
pub use late::{
    BodySender, Event, EventHub, EventLimits, EventSender, Responder, SendError, Timer, TimerError,
    Timers, TrySendError,
};
#[cfg(feature = "multipart")]
pub use multipart::{Multipart, MultipartError, MultipartLimits, PartHead, PartSink};
pub use network::{IpNetwork, IpNetworkError};
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
/// [`Config::ws_limits`] sets them for all connections, [`Upgrade::limits`] for one. The
/// [table](Config#limits) in [`Config`] says what the client sees at each limit.
///
#[cfg(feature = "websocket")]
#[doc(inline)]
pub use peregrine_protocol::ws::limits::WsLimits;
#[cfg(feature = "websocket")]
#[doc(inline)]
pub use peregrine_protocol::ws::{
    frame::{FrameError, Message},
    limits::BacklogPolicy,
    prepared::Prepared,
    send::Sent,
};
#[doc(inline)]
pub use peregrine_protocol::{error::ProtocolError, form::FormError, http::Version};
pub use request::{OwnedRequest, Request};
pub use response::{AnswerError, BodyWriter, Done, ErrorContext, Response};
pub use running::{Running, Stopped, Stopper};
pub use server::Server;
#[cfg(unix)]
pub use server::hand_over;
pub use stats::{Counters, Queues, Stats};
#[cfg(feature = "multipart")]
pub use upload::{Form, FormFile, Upload, UploadError, display_name};
#[cfg(feature = "websocket")]
pub use websocket::{
    Disconnect, WebSocketHandler,
    hub::{Hub, Relay},
    id::WsId,
    origins::WsOrigins,
    upgrade::{Upgrade, UpgradeError},
    ws::Ws,
};
