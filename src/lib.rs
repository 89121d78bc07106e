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
mod config;
mod conn;
#[cfg(feature = "dir")]
mod dir;
mod drive;
mod exchange;
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
mod server;
mod stats;
pub mod testing;
#[cfg(feature = "multipart")]
mod upload;
#[cfg(feature = "websocket")]
mod websocket;
#[cfg(feature = "websocket")]
mod ws_drive;

pub use access_log::{AccessFormat, AccessLog, LogWriter};
pub use config::{Balance, Config};
pub use conn::payload::Payload;
#[cfg(feature = "websocket")]
pub use conn::{prepared::Prepared, ws_send::Sent};
#[cfg(feature = "dir")]
pub use dir::{DirConfig, DirServer, Embedded, Files};
pub use drive::Off;
pub use exchange::AccessEntry;
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
#[cfg(feature = "deflate")]
pub use protocol::deflate::WsDeflate;
pub use protocol::{Version, error::ProtocolError, form::FormError, limits::Limits};
#[cfg(feature = "websocket")]
pub use protocol::{
    frame::{FrameError, Message},
    ws_limits::{BacklogPolicy, WsLimits},
};
pub use request::{OwnedRequest, Request};
pub use response::{AnswerError, BodyWriter, Done, ErrorContext, Response};
#[cfg(unix)]
pub use server::hand_over;
pub use server::{Running, Server, Stopped, Stopper};
pub use stats::{Counters, Queues, Stats};
#[cfg(feature = "multipart")]
pub use upload::{Form, FormFile, Upload, UploadError, display_name};
#[cfg(feature = "websocket")]
pub use websocket::{
    Disconnect, WebSocketHandler,
    hub::{Hub, Relay, WsId},
    origins::WsOrigins,
    upgrade::{Upgrade, UpgradeError},
    ws::Ws,
};

/// The properties that fuzzing checks are tests, too.
#[cfg(test)]
#[allow(unreachable_pub)]
// Transports that fail are for Unix.
#[cfg_attr(not(unix), allow(dead_code))]
#[path = "../fuzz/src/lib.rs"]
mod fuzz;
#[cfg(test)]
extern crate self as peregrine;
