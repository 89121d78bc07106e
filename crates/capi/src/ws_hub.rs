//! Sends to WebSockets from any thread.

use crate::codes::of_sent;
use crate::guard::{free, give, guard_or, shared};
use crate::values::text;
use crate::ws::{code, message};
use peregrine::ws::{Hub, PreparedMessage, WsId};
use std::ffi::c_char;

/// Reaches the WebSockets of one server. It is owned by the program. All functions may be called from any threads at once, also
/// before the server has started and after it has ended; they return PRG_GONE then.
pub struct prg_hub(pub(crate) Hub);

/// Makes a hub for prg_server_hub. The caller owns it: it ends with prg_hub_free. NULL only if the library panicked. Thread: any.
#[unsafe(no_mangle)]
pub extern "C" fn prg_hub_new() -> *mut prg_hub {
    guard_or(std::ptr::null_mut(), || give(prg_hub(Hub::new())))
}

/// Publishes a message to the subscribers of a topic. The bytes are copied.
///
/// Errors: PRG_FULL, PRG_GONE, PRG_ARGUMENT. Thread: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_hub_publish(
    hub: *const prg_hub,
    topic: *const c_char,
    topic_len: usize,
    data: *const c_char,
    len: usize,
    is_text: i32,
) -> i32 {
    code(|| {
        let (hub, topic) = (shared(hub)?, text(topic, topic_len)?);
        let message = PreparedMessage::new(message(data, len, is_text)?);
        Ok(of_sent(hub.0.publish(topic, message)))
    })
}

/// Sends a message to all connections. The bytes are copied. Errors: PRG_FULL, PRG_GONE, PRG_ARGUMENT. Thread: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_hub_broadcast(
    hub: *const prg_hub,
    data: *const c_char,
    len: usize,
    is_text: i32,
) -> i32 {
    code(|| {
        let hub = shared(hub)?;
        let message = PreparedMessage::new(message(data, len, is_text)?);
        Ok(of_sent(hub.0.broadcast(message)))
    })
}

/// Sends a message to the connection with this id. The bytes are copied. Errors: PRG_FULL, PRG_GONE, PRG_ARGUMENT. Thread: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_hub_send(
    hub: *const prg_hub,
    id: u64,
    data: *const c_char,
    len: usize,
    is_text: i32,
) -> i32 {
    code(|| {
        let hub = shared(hub)?;
        let message = PreparedMessage::new(message(data, len, is_text)?);
        Ok(of_sent(hub.0.send(WsId::from_u64(id), message)))
    })
}

/// Begins the close handshake of the connection with this id. Errors: PRG_FULL, PRG_GONE, PRG_ARGUMENT. Thread: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_hub_close(
    hub: *const prg_hub,
    id: u64,
    code: u16,
    reason: *const c_char,
    reason_len: usize,
) -> i32 {
    self::code(|| {
        let (hub, reason) = (shared(hub)?, text(reason, reason_len)?);
        Ok(of_sent(hub.0.close(WsId::from_u64(id), code, reason)))
    })
}

/// As prg_ws_pause, for the connection with this id. Messages that its thread has read already still come. Errors: PRG_GONE,
/// PRG_ARGUMENT. Thread: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_hub_pause(hub: *const prg_hub, id: u64) -> i32 {
    code(|| Ok(of_sent(shared(hub)?.0.pause_reading(WsId::from_u64(id)))))
}

/// As prg_ws_resume, for the connection with this id. Errors: PRG_GONE, PRG_ARGUMENT. Thread: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_hub_resume(hub: *const prg_hub, id: u64) -> i32 {
    code(|| Ok(of_sent(shared(hub)?.0.resume_reading(WsId::from_u64(id)))))
}

/// The number of connections. Thread: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_hub_connections(hub: *const prg_hub) -> usize {
    guard_or(0, || shared(hub).map_or(0, |hub| hub.0.connections()))
}

/// Frees a hub. The connections stay. NULL is allowed. Thread: any, when no other call uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_hub_free(hub: *mut prg_hub) {
    free(hub);
}
