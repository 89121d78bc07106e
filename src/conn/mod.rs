//! What moves the bytes of connections: state machines and buffers of the crate `peregrine-protocol`, and
//! what `runtime` adds to them, by the names that the rest of this crate has for them.

pub(crate) use crate::late::{body_out, leave};
pub(crate) use crate::runtime::{
    buffer_pool as pool, flow_control as credit, id, inbox, mailbox, memory_budget as budget,
    panic_guard, quota as share, slot_table as rows, sparse, timer_heap as timers,
};
#[cfg(feature = "websocket")]
pub(crate) use crate::websocket::topics;
#[cfg(feature = "websocket")]
pub(crate) use peregrine_protocol::ws::{deflate, message_buf as ws_input, prepared};
pub(crate) use peregrine_protocol::{
    Seconds,
    h1::{connection as http1, read_buf as input, response_encoder},
    http::response as response_head,
    payload, rate,
};

pub(crate) mod output;

/// With the segments of this crate.
#[cfg(feature = "websocket")]
pub(crate) mod ws {
    use super::output::FilePart;
    pub(crate) use peregrine_protocol::ws::connection::{End, Next};

    pub(crate) type WsConn = peregrine_protocol::ws::connection::WsConn<FilePart>;
}

/// With the segments of this crate.
#[cfg(feature = "websocket")]
pub(crate) mod ws_send {
    use super::output::FilePart;
    pub(crate) use peregrine_protocol::ws::send::Sent;

    pub(crate) type SendKit = peregrine_protocol::ws::send::SendKit<FilePart>;
}
