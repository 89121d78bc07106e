//! The types that a program gives to other threads can be given to them. A type that cannot does not compile here.

use peregrine::body::{BodyReader, BodySender, Resumer, SendError};
use peregrine::error::ResponseError;
use peregrine::metrics::Stats;
use peregrine::server::{Running, Stopper};
use peregrine::sse::{EventHub, EventSender};
use peregrine::timers::{Timer, Timers};
use peregrine::{BodyPlan, Config, FromFn, OwnedRequest, PreparedResponse, Responder, Server};

fn send<T: Send>() {}
fn shared<T: Send + Sync>() {}

#[test]
fn handles_cross_threads() {
    send::<BodyPlan>();
    send::<BodyReader>();
    send::<BodySender>();
    send::<EventSender>();
    send::<Responder>();
    send::<Server<FromFn<fn()>>>();
    shared::<Config>();
    shared::<EventHub>();
    shared::<OwnedRequest>();
    shared::<PreparedResponse>();
    shared::<Resumer>();
    shared::<Running>();
    shared::<Stats>();
    shared::<Stopper>();
    shared::<Timer>();
    shared::<Timers>();
    #[cfg(feature = "websocket")]
    shared::<peregrine::ws::Hub>();
    #[cfg(feature = "dir")]
    shared::<peregrine::files::DirServer>();
    #[cfg(feature = "tls")]
    shared::<peregrine::Tls>();
}

#[test]
fn errors_cross_threads() {
    shared::<ResponseError>();
    shared::<SendError>();
    shared::<peregrine::config::ConfigError>();
    #[cfg(feature = "multipart")]
    shared::<peregrine::multipart::UploadError>();
    #[cfg(feature = "tls")]
    shared::<peregrine::tls::TlsError>();
}
