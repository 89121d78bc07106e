//! Response bodies in pieces.

use crate::codes::{PRG_FULL, of_send};
use crate::guard::{exclusive, free, guard, guard_or, shared, take};
use crate::running::must_not_block;
use crate::values::{Notify, bytes, prg_notify, text};
use peregrine::body::{BodySender, TrySendError};
use std::ffi::{c_char, c_void};
use std::time::Duration;

/// A response body that is sent in pieces. It is owned by the program and may move to another thread. It stays valid after the
/// client has left and after the server has stopped; sending returns PRG_GONE then.
pub struct prg_body(pub(crate) BodySender);

/// Sends a piece, and blocks while the client has too many unsent bytes. The bytes are copied.
///
/// Errors: PRG_GONE if the client has left: stop then. PRG_WOULD_BLOCK on a thread of the server. PRG_LENGTH, PRG_ARGUMENT.
/// Thread: any, and not two calls at once with the same handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_body_send(
    body: *mut prg_body,
    piece: *const c_char,
    len: usize,
) -> i32 {
    guard(|| {
        let piece = bytes(piece, len)?.to_vec();
        exclusive(body)?.0.send(piece).map_err(of_send)
    })
}

/// Sends a piece, or returns PRG_FULL if the client has too many unsent bytes; nothing is sent then. The bytes are copied.
///
/// Errors: those of prg_body_send, without PRG_WOULD_BLOCK. Thread: any, and not two calls at once with the same handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_body_try_send(
    body: *mut prg_body,
    piece: *const c_char,
    len: usize,
) -> i32 {
    guard(|| {
        let piece = bytes(piece, len)?.to_vec();
        exclusive(body)?.0.try_send(piece).map_err(of_try)
    })
}

pub(crate) fn of_try<T>(error: TrySendError<T>) -> i32 {
    match error {
        TrySendError::Failed(error) => of_send(error),
        _ => PRG_FULL,
    }
}

/// 1 if a piece can be sent now, or the client has left; 0 if not. Thread: any, and not two calls at once with the same handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_body_is_ready(body: *const prg_body) -> i32 {
    guard_or(1, || {
        shared(body).map_or(1, |body| i32::from(body.0.is_ready()))
    })
}

/// Blocks until a piece can be sent or the client has left, for at most this time. 1 if so, 0 if the time has passed.
///
/// On a thread of a server it does not wait. Thread: any, and not two calls at once with the same handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_body_wait_ready(body: *const prg_body, millis: u64) -> i32 {
    let wait = Duration::from_millis(millis);
    guard_or(1, || match shared(body) {
        Ok(body) if must_not_block() => i32::from(body.0.is_ready()),
        Ok(body) => i32::from(body.0.wait_ready(wait)),
        Err(_) => 1,
    })
}

/// Calls `f` when a piece can be sent or the client has left. It replaces the function of an earlier call, which gets 0.
///
/// Errors: PRG_ARGUMENT; `f` is not called then. Thread: any, and not two calls at once with the same handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_body_on_ready(
    body: *const prg_body,
    f: prg_notify,
    user: *mut c_void,
) -> i32 {
    guard(|| {
        let body = shared(body)?;
        Notify::new(f, user)?.register(|f| body.0.on_ready(f));
        Ok(())
    })
}

/// Calls `f` when the stream ends, for whatever reason.
///
/// Errors: PRG_ARGUMENT; `f` is not called then. Thread: any, and not two calls at once with the same handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_body_on_gone(
    body: *const prg_body,
    f: prg_notify,
    user: *mut c_void,
) -> i32 {
    guard(|| {
        let body = shared(body)?;
        Notify::new(f, user)?.register(|f| body.0.on_gone(f));
        Ok(())
    })
}

/// 1 if the client has left; 0 if not. Thread: any, and not two calls at once with the same handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_body_is_gone(body: *const prg_body) -> i32 {
    guard_or(1, || {
        shared(body).map_or(1, |body| i32::from(body.0.is_gone()))
    })
}

/// Bytes that were given and are unsent. Thread: any, and not two calls at once with the same handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_body_backlog(body: *const prg_body) -> usize {
    guard_or(0, || shared(body).map_or(0, |body| body.0.backlog()))
}

/// Adds a field to the trailer section. It is omitted if the body is not chunked.
///
/// Errors: PRG_FIELD, PRG_ARGUMENT. Thread: any, and not two calls at once with the same handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_body_trailer(
    body: *mut prg_body,
    name: *const c_char,
    name_len: usize,
    value: *const c_char,
    value_len: usize,
) -> i32 {
    guard(|| {
        let (name, value) = (text(name, name_len)?, bytes(value, value_len)?);
        exclusive(body)?.0.trailer(name, value).map_err(of_send)
    })
}

/// Ends the body, which is complete. Frees `body` in any case.
///
/// Errors: PRG_GONE, PRG_LENGTH, PRG_ARGUMENT. Thread: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_body_finish(body: *mut prg_body) -> i32 {
    guard(|| take(body)?.0.finish().map_err(of_send))
}

/// Frees a body that is not complete: the connection is closed, so that the client does not take it for complete. NULL is allowed.
/// Thread: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_body_free(body: *mut prg_body) {
    free(body);
}
