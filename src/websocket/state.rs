//! The state machine of a WebSocket, with the file segments of this crate.

use crate::shared::output::FilePart;
pub(crate) use peregrine_protocol::ws::connection::{End, WsNext};
pub(crate) use peregrine_protocol::ws::send::Sent;

pub(crate) type SendContext = peregrine_protocol::ws::send::SendContext<FilePart>;
pub(crate) type WsConn = peregrine_protocol::ws::connection::WsConn<FilePart>;
