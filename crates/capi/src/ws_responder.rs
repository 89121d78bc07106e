//! WebSocket handshakes that the program decides later.

use crate::codes::{PRG_ARGUMENT, PRG_NOT_FOUND, PRG_STATE, of_send};
use crate::guard::{exclusive, free, give, guard, guard_or, shared, take};
use crate::later::unqueued;
use crate::responder::prg_fill;
use crate::response::respond;
use crate::values::{bytes, text};
use crate::ws::{prg_upgrade, upgrade_of};
use peregrine::ws::UpgradeResponder;
use std::ffi::{c_char, c_void};

/// What decides about a handshake later. It is owned by the program, and used once. It may move to another thread. It stays valid after
/// the client has left and after the server has stopped; the decision returns PRG_GONE then.
pub struct prg_ws_responder(UpgradeResponder);

/// Leaves the decision to any thread, while the server goes on. prg_handler.ws_accept returns 1 as ever, after which `*state`
/// belongs to the connection, which opens if the program accepts it; in all other cases prg_handler.ws_drop is called.
///
/// The client waits for the time of prg_config.response_timeout_millis, and gets 503 then. `*out` is owned by the caller: it ends with
/// prg_ws_responder_accept, prg_ws_responder_respond or prg_ws_responder_free. Errors: PRG_STATE after the first call,
/// PRG_ARGUMENT. Thread: that of the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_upgrade_defer(
    upgrade: *mut prg_upgrade,
    out: *mut *mut prg_ws_responder,
) -> i32 {
    guard(|| {
        let (upgrade, out) = (upgrade_of(upgrade)?, exclusive(out)?);
        let responder = upgrade.defer().map_err(|_| PRG_STATE)?;
        *out = give(prg_ws_responder(responder));
        Ok(())
    })
}

/// Adds a header field to the response 101. Errors: PRG_ARGUMENT. Thread: any, and not two calls at once with the same handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_ws_responder_header(
    responder: *mut prg_ws_responder,
    name: *const c_char,
    name_len: usize,
    value: *const c_char,
    value_len: usize,
) -> i32 {
    guard(|| {
        let (name, value) = (text(name, name_len)?, bytes(value, value_len)?);
        let added = exclusive(responder)?.0.header(name, value);
        added.map_err(|_| PRG_ARGUMENT)
    })
}

/// Chooses a subprotocol that the client offers. Errors: PRG_NOT_FOUND if it does not, PRG_ARGUMENT. Thread: any, and not two calls
/// at once with the same handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_ws_responder_protocol(
    responder: *mut prg_ws_responder,
    name: *const c_char,
    name_len: usize,
) -> i32 {
    guard(|| {
        let chosen = exclusive(responder)?.0.protocol(text(name, name_len)?);
        chosen.map_err(|_| PRG_NOT_FOUND)
    })
}

/// Accepts the connection: prg_handler.ws_open is next. Frees `responder` in any case. Errors: PRG_GONE if the client has left,
/// PRG_ARGUMENT. Thread: any, and not two calls at once with the same handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_ws_responder_accept(responder: *mut prg_ws_responder) -> i32 {
    guard(|| take(responder)?.0.accept().map_err(of_send))
}

/// Refuses the connection: `fill` gives the response with all functions of prg_response. It runs at once on this thread, unless the
/// client has left. Frees `responder` in any case.
///
/// Errors: PRG_GONE if the client has left, PRG_ARGUMENT. Thread: any, and not two calls at once with the same handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_ws_responder_respond(
    responder: *mut prg_ws_responder,
    fill: prg_fill,
    user: *mut c_void,
) -> i32 {
    guard(|| {
        let responder = take(responder)?.0;
        let fill = fill.ok_or(PRG_ARGUMENT)?;
        let sent = responder.respond(|res| respond(res, |res| unqueued(|| fill(user, res))));
        sent.map_err(of_send)
    })
}

/// 1 if the client has left, and the work for the decision can end; 0 if not.
///
/// Thread: any, and not two calls at once with the same handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_ws_responder_is_gone(responder: *const prg_ws_responder) -> i32 {
    guard_or(1, || {
        shared(responder).map_or(1, |r| i32::from(r.0.is_gone()))
    })
}

/// Frees a responder that was not used: the client gets 500. NULL is allowed. Thread: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_ws_responder_free(responder: *mut prg_ws_responder) {
    free(responder);
}
