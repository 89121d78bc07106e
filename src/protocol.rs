//! The crate `peregrine-protocol`, by the names that the rest of this crate has for its parts.
#![allow(unused_imports, reason = "which are used depends on the features")]

#[cfg(any(feature = "dir", feature = "multipart"))]
pub(crate) use crate::file_name;
#[cfg(feature = "deflate")]
pub(crate) use peregrine_protocol::ws::deflate;
#[cfg(feature = "websocket")]
pub(crate) use peregrine_protocol::ws::{frame, handshake, limits as ws_limits};
pub(crate) use peregrine_protocol::{
    error, form,
    h1::{encode, framing, head},
    http::{Method, Version, field_block, fields, host as hosts, origin},
    limits, syntax as class,
};
