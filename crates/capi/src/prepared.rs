//! Responses that are prepared once and given often.

use crate::codes::{PRG_ARGUMENT, of_response};
use crate::guard::{exclusive, free, give, guard, guard_view, shared};
use crate::later::unqueued;
use crate::responder::prg_fill;
use crate::response::{prg_response, respond, whole};
use crate::values::bytes;
use peregrine::{Done, PreparedResponse, Response};
use std::ffi::{c_char, c_void};

/// A whole response that is given often, by prg_response_send_prepared. It is owned by the program. Any threads may give it at once.
pub struct prg_prepared(PreparedResponse);

unsafe fn prepare(
    out: *mut *mut prg_prepared,
    respond: impl FnOnce(Response<'_>) -> Done,
) -> Result<(), i32> {
    let out = exclusive(out)?;
    let prepared = PreparedResponse::new(respond).map_err(of_response)?;
    *out = give(prg_prepared(prepared));
    Ok(())
}

/// Prepares a whole response: status, Content-Type (none if its length is 0) and body. The bytes are copied.
///
/// `*out` is owned by the caller: it ends with prg_prepared_free. Errors: PRG_ARGUMENT; PRG_FIELD if the Content-Type is not valid. `*out`
/// is not changed then. Thread: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_prepared_new(
    status: u16,
    content_type: *const c_char,
    content_type_len: usize,
    body: *const c_char,
    body_len: usize,
    out: *mut *mut prg_prepared,
) -> i32 {
    guard(|| {
        let kind = bytes(content_type, content_type_len)?;
        let body = bytes(body, body_len)?;
        prepare(out, |res| whole(res, status, kind, body))
    })
}

/// Prepares the response that `fill` gives with the functions of prg_response, for example with other header fields. `fill` is called
/// once, at once, on this thread.
///
/// `*out` is owned by the caller: it ends with prg_prepared_free. Errors: PRG_STATE if `fill` gives no response, or one that comes later, in
/// pieces, or from a file; PRG_FIELD if a header field is not valid; PRG_ARGUMENT. `*out` is not changed then. Thread: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_prepared_fill(
    fill: prg_fill,
    user: *mut c_void,
    out: *mut *mut prg_prepared,
) -> i32 {
    guard(|| {
        let fill = fill.ok_or(PRG_ARGUMENT)?;
        prepare(out, |res| respond(res, |res| unqueued(|| fill(user, res))))
    })
}

/// Gives a response that was prepared: the fastest way to give one. A status of 200 leaves one that was set before, and header fields
/// are added to those that were set before, or replace them, as with prg_response_header. `prepared` is used in this call only.
///
/// Errors: PRG_STATE, PRG_ARGUMENT. Thread: that of the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_response_send_prepared(
    res: *mut prg_response,
    prepared: *const prg_prepared,
) -> i32 {
    guard_view(|| {
        let prepared = shared(prepared)?;
        exclusive(res)?.give(|res| res.send_prepared(&prepared.0))
    })
}

/// Frees a prepared response that no call uses meanwhile. Clients may still receive it. NULL is allowed. Thread: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_prepared_free(prepared: *mut prg_prepared) {
    free(prepared);
}
