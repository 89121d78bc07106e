//! WebSocket connections: views that live for a callback.

use crate::codes::{PRG_ARGUMENT, PRG_NOT_FOUND, PRG_OK, of_sent, of_subscribe};
use crate::guard::{exclusive, guard, guard_or, shared};
use crate::later::later;
use crate::values::{bytes, text};
use peregrine::ws::{Message, PreparedMessage, Upgrade, Ws};
use std::ffi::{c_char, c_void};

/// A WebSocket connection. It is borrowed: it is valid until the callback returns that got it, and on the thread of that callback only.
/// Keep prg_ws_id to reach the connection later, with a prg_hub.
pub struct prg_ws {
    /// Its lifetime is that of the callback.
    ws: Ws<'static, ()>,
    state: *mut c_void,
}

/// A WebSocket handshake that is not decided yet. It is borrowed: it is valid in prg_handler.ws_accept only.
pub struct prg_upgrade(());

/// What the program keeps for a connection.
pub(crate) struct State {
    state: *mut c_void,
    drop: Option<unsafe extern "C" fn(*mut c_void)>,
}

// SAFETY: the header says that the state moves to other threads.
unsafe impl Send for State {}

impl State {
    pub(crate) fn new(
        state: *mut c_void,
        drop: Option<unsafe extern "C" fn(*mut c_void)>,
    ) -> State {
        State { state, drop }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        if let Some(drop) = self.drop {
            let state = self.state;
            // SAFETY: this is the last call with the state.
            later(move || unsafe { drop(state) });
        }
    }
}

/// Passes a connection to C.
pub(crate) fn call(ws: &mut Ws<'_, State>, call: impl FnOnce(*mut prg_ws)) {
    let (state, ws) = ws.split();
    let state = state.state;
    // SAFETY: the value does not leave this function, and the pointer to it is valid for the callback only.
    let ws = unsafe { std::mem::transmute::<Ws<'_, ()>, Ws<'static, ()>>(ws) };
    let mut ws = prg_ws { ws, state };
    call(&raw mut ws);
}

pub(crate) unsafe fn upgrade_of<'a>(upgrade: *mut prg_upgrade) -> Result<&'a mut Upgrade<'a>, i32> {
    exclusive(upgrade.cast())
}

/// A message of C.
pub(crate) unsafe fn message<'a>(
    data: *const c_char,
    len: usize,
    is_text: i32,
) -> Result<Message<'a>, i32> {
    match is_text {
        0 => Ok(Message::Binary(bytes(data, len)?)),
        _ => Ok(Message::Text(text(data, len)?)),
    }
}

/// Adds a header field to the response 101. Errors: PRG_ARGUMENT. Thread: that of the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_upgrade_header(
    upgrade: *mut prg_upgrade,
    name: *const c_char,
    name_len: usize,
    value: *const c_char,
    value_len: usize,
) -> i32 {
    guard(|| {
        let (name, value) = (text(name, name_len)?, bytes(value, value_len)?);
        let added = upgrade_of(upgrade)?.header(name, value);
        added.map_err(|_| PRG_ARGUMENT)
    })
}

/// Chooses a subprotocol that the client offers. Errors: PRG_NOT_FOUND if it does not, PRG_ARGUMENT. Thread: that of the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_upgrade_protocol(
    upgrade: *mut prg_upgrade,
    name: *const c_char,
    name_len: usize,
) -> i32 {
    guard(|| {
        let chosen = upgrade_of(upgrade)?.protocol(text(name, name_len)?);
        chosen.map_err(|_| PRG_NOT_FOUND)
    })
}

/// Refuses the handshake with this status and text; prg_handler.ws_accept returns 0 then. A prg_ws_responder has no effect any more.
///
/// Errors: PRG_ARGUMENT. Thread: that of the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_upgrade_refuse(
    upgrade: *mut prg_upgrade,
    status: u16,
    reason: *const c_char,
    reason_len: usize,
) -> i32 {
    guard(|| {
        upgrade_of(upgrade)?.refuse(status, text(reason, reason_len)?);
        Ok(())
    })
}

/// The state that prg_handler.ws_accept has set. NULL if `ws` is NULL. Thread: that of the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_ws_state(ws: *const prg_ws) -> *mut c_void {
    guard_or(std::ptr::null_mut(), || {
        shared(ws).map_or(std::ptr::null_mut(), |ws| ws.state)
    })
}

/// The id of the connection, for prg_hub_send. It never belongs to another connection of this server, and may be 0. 0
/// if `ws` is NULL. Thread: that of the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_ws_id(ws: *const prg_ws) -> u64 {
    guard_or(0, || shared(ws).map_or(0, |ws| ws.ws.id().to_u64()))
}

/// Sends a message. If `is_text` is not 0, it must be UTF-8. The bytes are copied.
///
/// Errors: PRG_FULL if the client has too many unsent bytes, PRG_GONE, PRG_ARGUMENT. Thread: that of the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_ws_send(
    ws: *mut prg_ws,
    data: *const c_char,
    len: usize,
    is_text: i32,
) -> i32 {
    code(|| {
        let message = message(data, len, is_text)?;
        Ok(of_sent(exclusive(ws)?.ws.send(message)))
    })
}

/// Subscribes to a topic. Errors: PRG_LIMIT, PRG_GONE, PRG_ARGUMENT. Thread: that of the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_ws_subscribe(
    ws: *mut prg_ws,
    topic: *const c_char,
    topic_len: usize,
) -> i32 {
    guard(|| {
        let topic = text(topic, topic_len)?;
        exclusive(ws)?.ws.subscribe(topic).map_err(of_subscribe)
    })
}

/// Ends a subscription. Errors: PRG_NOT_FOUND if there was none, PRG_ARGUMENT. Thread: that of the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_ws_unsubscribe(
    ws: *mut prg_ws,
    topic: *const c_char,
    topic_len: usize,
) -> i32 {
    guard(|| {
        let topic = text(topic, topic_len)?;
        match exclusive(ws)?.ws.unsubscribe(topic) {
            true => Ok(()),
            false => Err(PRG_NOT_FOUND),
        }
    })
}

/// Publishes a message to the subscribers of a topic, in all threads. If `to_self` is 0, this connection does not get it.
///
/// Errors: PRG_FULL, PRG_GONE, PRG_ARGUMENT. Thread: that of the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_ws_publish(
    ws: *mut prg_ws,
    topic: *const c_char,
    topic_len: usize,
    data: *const c_char,
    len: usize,
    is_text: i32,
    to_self: i32,
) -> i32 {
    code(|| {
        let (topic, ws) = (text(topic, topic_len)?, &mut exclusive(ws)?.ws);
        let message = PreparedMessage::new(message(data, len, is_text)?);
        Ok(of_sent(match to_self {
            0 => ws.publish_to_others(topic, message),
            _ => ws.publish(topic, message),
        }))
    })
}

/// Sends a ping with up to 125 bytes. Errors: PRG_FULL, PRG_GONE, PRG_ARGUMENT. Thread: that of the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_ws_ping(ws: *mut prg_ws, data: *const c_char, len: usize) -> i32 {
    code(|| {
        let payload = bytes(data, len)?;
        if payload.len() > 125 {
            return Err(PRG_ARGUMENT);
        }
        Ok(of_sent(exclusive(ws)?.ws.ping(payload)))
    })
}

/// Begins the close handshake, with a code and a reason of up to 123 bytes. Errors: PRG_GONE, PRG_ARGUMENT. Thread: that of the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_ws_close(
    ws: *mut prg_ws,
    code: u16,
    reason: *const c_char,
    reason_len: usize,
) -> i32 {
    self::code(|| {
        let reason = text(reason, reason_len)?;
        Ok(of_sent(exclusive(ws)?.ws.close(code, reason)))
    })
}

/// Reads nothing more from this client, until prg_ws_resume or prg_hub_resume, for 300 s at most: then the connection is closed with
/// 1013. The client soon cannot send more. Errors: PRG_ARGUMENT. Thread: that of the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_ws_pause(ws: *mut prg_ws) -> i32 {
    guard(|| {
        exclusive(ws)?.ws.pause_reading();
        Ok(())
    })
}

/// Reads again from this client. Errors: PRG_ARGUMENT. Thread: that of the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_ws_resume(ws: *mut prg_ws) -> i32 {
    guard(|| {
        exclusive(ws)?.ws.resume_reading();
        Ok(())
    })
}

/// Bytes of messages that the client has not taken yet. Thread: that of the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_ws_backlog(ws: *const prg_ws) -> usize {
    guard_or(0, || shared(ws).map_or(0, |ws| ws.ws.backlog()))
}

/// A function whose success is a code, too.
pub(crate) fn code(f: impl FnOnce() -> Result<i32, i32>) -> i32 {
    guard(|| match f()? {
        PRG_OK => Ok(()),
        code => Err(code),
    })
}
