//! Responses that come later.

use crate::codes::of_send;
use crate::guard::{free, guard, guard_or, shared, take};
use crate::later::unqueued;
use crate::response::{prg_response, prg_response_send, respond};
use crate::values::bytes;
use peregrine::Responder;
use std::ffi::{c_char, c_void};

/// What sends a response later. It is owned by the program, and used once. It may move to another thread. It stays valid after the
/// client has left and after the server has stopped; sending returns PRG_GONE then.
pub struct prg_responder(pub(crate) Responder);

/// Gives a response: it must call one of the functions of prg_response that do, on the calling thread, before it returns.
pub type prg_fill = Option<unsafe extern "C" fn(user: *mut c_void, res: *mut prg_response)>;

/// Sends a whole response, as prg_response_send does. Frees `responder` in any case.
///
/// Errors: PRG_GONE if the client has left, PRG_ARGUMENT. Thread: any, and not two calls at once with the same handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_responder_send(
    responder: *mut prg_responder,
    status: u16,
    content_type: *const c_char,
    content_type_len: usize,
    body: *const c_char,
    body_len: usize,
) -> i32 {
    guard(|| {
        let responder = take(responder)?.0;
        bytes(content_type, content_type_len)?;
        bytes(body, body_len)?;
        let whole = |res| {
            let (kind, kind_len) = (content_type, content_type_len);
            // It cannot fail: the arguments are valid, and the response is not given yet.
            prg_response_send(res, status, kind, kind_len, body, body_len);
        };
        let sent = responder.send(|res| respond(res, whole));
        sent.map_err(of_send)
    })
}

/// Lets `fill` give the response with all functions of prg_response. `fill` runs at once on this thread, unless the client has
/// left. Frees `responder` in any case.
///
/// Errors: PRG_GONE if the client has left, PRG_ARGUMENT. Thread: any, and not two calls at once with the same handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_responder_fill(
    responder: *mut prg_responder,
    fill: prg_fill,
    user: *mut c_void,
) -> i32 {
    guard(|| {
        let responder = take(responder)?.0;
        let fill = fill.ok_or(crate::codes::PRG_ARGUMENT)?;
        let sent = responder.send(|res| respond(res, |res| unqueued(|| fill(user, res))));
        sent.map_err(of_send)
    })
}

/// 1 if the client has left, and the work for its response can end; 0 if not.
///
/// Thread: any, and not two calls at once with the same handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_responder_is_gone(responder: *const prg_responder) -> i32 {
    guard_or(1, || {
        shared(responder).map_or(1, |r| i32::from(r.0.is_gone()))
    })
}

/// Frees a responder that was not used: the client gets 500. NULL is allowed. Thread: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_responder_free(responder: *mut prg_responder) {
    free(responder);
}
