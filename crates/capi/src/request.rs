//! Requests: views that live for a callback.

use crate::codes::{PRG_NOT_FOUND, PRG_PANIC};
use crate::guard::{guard_or, guard_view, guard_view_or, shared};
use crate::values::{copy, prg_bytes, text};
use peregrine::{Request, Version};
use std::ffi::{c_char, c_void};

/// A request. It is borrowed: it is valid until the callback returns that got it, and on the thread of that callback only. All views of
/// it are valid as long. Copy what you need later. The program makes none, so members may be added.
#[repr(C)]
pub struct prg_request {
    /// As prg_request_method, without a call.
    pub method: prg_bytes,
    /// As prg_request_path, without a call.
    pub path: prg_bytes,
    /// For the library.
    pub rest: *const c_void,
}

impl prg_request {
    #[inline(always)]
    pub(crate) fn of(req: &Request<'_>) -> prg_request {
        prg_request {
            method: prg_bytes::of(req.method_bytes()),
            path: prg_bytes::of(req.path_bytes()),
            rest: std::ptr::from_ref(req).cast(),
        }
    }
}

/// Passes a request to C.
#[inline(always)]
pub(crate) fn pass<T>(req: &Request<'_>, f: impl FnOnce(*const prg_request) -> T) -> T {
    let passed = prg_request::of(req);
    f(&raw const passed)
}

pub(crate) unsafe fn of<'a>(req: *const prg_request) -> Result<&'a Request<'a>, i32> {
    shared(shared(req)?.rest.cast::<Request<'a>>())
}

#[inline(always)]
unsafe fn view_of<'a>(
    req: *const prg_request,
    f: impl FnOnce(&Request<'a>) -> Option<&'a [u8]>,
) -> prg_bytes {
    guard_view_or(prg_bytes::NONE, || match of(req) {
        Ok(req) => f(req).map_or(prg_bytes::NONE, prg_bytes::of),
        Err(_) => prg_bytes::NONE,
    })
}

/// The method, for example GET.
///
/// Returns a view of `req`, or no bytes if `req` is NULL. Thread: that of the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_request_method(req: *const prg_request) -> prg_bytes {
    view_of(req, |req| Some(req.method_bytes()))
}

/// The path without the query, as it was sent: percent-encoded.
///
/// Returns a view of `req`, or no bytes if `req` is NULL. Thread: that of the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_request_path(req: *const prg_request) -> prg_bytes {
    view_of(req, |req| Some(req.path_bytes()))
}

/// The target: the path and the query, as they were sent.
///
/// Returns a view of `req`, or no bytes if `req` is NULL. Thread: that of the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_request_target(req: *const prg_request) -> prg_bytes {
    view_of(req, |req| Some(req.target().as_bytes()))
}

/// The query without its question mark, as it was sent.
///
/// Returns a view of `req`; its pointer is NULL if there is no query. Thread: that of the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_request_query_string(req: *const prg_request) -> prg_bytes {
    view_of(req, |req| req.query_string().map(str::as_bytes))
}

/// The body, if it was read into memory: by default, and with prg_plan_buffer.
///
/// Returns a view of `req`, which may have no bytes. Thread: that of the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_request_body(req: *const prg_request) -> prg_bytes {
    view_of(req, |req| Some(req.body()))
}

/// The host of the request, without its port.
///
/// Returns a view of `req`; its pointer is NULL if there is none. Thread: that of the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_request_host(req: *const prg_request) -> prg_bytes {
    view_of(req, |req| req.host().map(str::as_bytes))
}

/// The value of a header field, if it is UTF-8 and the field came once. Upper and lower case of the name do not matter.
///
/// Returns a view of `req`; its pointer is NULL if there is no such field. Thread: that of the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_request_header(
    req: *const prg_request,
    name: *const c_char,
    name_len: usize,
) -> prg_bytes {
    view_of(req, |req| {
        req.header(text(name, name_len).ok()?).map(str::as_bytes)
    })
}

/// The value of a cookie, as it was sent.
///
/// Returns a view of `req`; its pointer is NULL if there is no such cookie. Thread: that of the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_request_cookie(
    req: *const prg_request,
    name: *const c_char,
    name_len: usize,
) -> prg_bytes {
    view_of(req, |req| {
        req.cookie(text(name, name_len).ok()?).map(str::as_bytes)
    })
}

/// The value of a field of the trailer section. It is there in prg_sink.finish and for bodies that were read.
///
/// Returns a view of `req`; its pointer is NULL if there is no such field. Thread: that of the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_request_trailer(
    req: *const prg_request,
    name: *const c_char,
    name_len: usize,
) -> prg_bytes {
    view_of(req, |req| {
        req.trailer(text(name, name_len).ok()?).map(str::as_bytes)
    })
}

/// The number of header fields, with repeated ones. 0 if `req` is NULL. Thread: that of the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_request_header_count(req: *const prg_request) -> usize {
    guard_view_or(0, || of(req).map_or(0, |req| req.headers().len()))
}

/// A header field by its number, in the order in which they came. `name` and `value` get views of `req`.
///
/// Errors: PRG_NOT_FOUND if `index` is too large, PRG_ARGUMENT for NULL. Thread: that of the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_request_header_at(
    req: *const prg_request,
    index: usize,
    name: *mut prg_bytes,
    value: *mut prg_bytes,
) -> i32 {
    guard_view(|| {
        let (name, value) = (
            crate::guard::exclusive(name)?,
            crate::guard::exclusive(value)?,
        );
        let field = of(req)?.headers().nth(index).ok_or(PRG_NOT_FOUND)?;
        (*name, *value) = (prg_bytes::of(field.0.as_bytes()), prg_bytes::of(field.1));
        Ok(())
    })
}

/// Copies the decoded value of a query parameter into `buf`, with a NUL, as far as `room` bytes allow.
///
/// Returns the length of the whole value without NUL, which may be larger than `room`. Errors: PRG_NOT_FOUND, PRG_ARGUMENT.
/// Thread: that of the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_request_query(
    req: *const prg_request,
    name: *const c_char,
    name_len: usize,
    buf: *mut c_char,
    room: usize,
) -> i64 {
    length(|| {
        let value = of(req)?.query(text(name, name_len)?).ok_or(PRG_NOT_FOUND)?;
        copy(value.as_bytes(), buf, room)
    })
}

/// Copies the address of the client into `buf`, for example 127.0.0.1:4711, with a NUL, as far as `room` bytes allow.
///
/// Returns the length of the whole text without NUL. Errors: PRG_NOT_FOUND over a Unix socket, PRG_ARGUMENT. Thread: that of the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_request_client(
    req: *const prg_request,
    buf: *mut c_char,
    room: usize,
) -> i64 {
    length(|| {
        let addr = of(req)?.client_addr().ok_or(PRG_NOT_FOUND)?;
        copy(addr.to_string().as_bytes(), buf, room)
    })
}

/// 1 if the request came over TLS, to this server or to a trusted proxy; 0 if not, or if `req` is NULL. Thread: that of the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_request_is_secure(req: *const prg_request) -> i32 {
    guard_view_or(0, || {
        of(req).map_or(0, |req| i32::from(req.scheme() == "https"))
    })
}

/// The version of HTTP: 10, 11 or 20. PRG_ARGUMENT if `req` is NULL. Thread: that of the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_request_version(req: *const prg_request) -> i32 {
    guard_view_or(PRG_PANIC, || match of(req) {
        Err(code) => code,
        Ok(req) => match req.version() {
            Version::Http10 => 10,
            Version::Http11 => 11,
            _ => 20,
        },
    })
}

/// A length, or a code.
pub(crate) fn length(f: impl FnOnce() -> Result<i64, i32>) -> i64 {
    guard_or(i64::from(PRG_PANIC), || f().unwrap_or_else(i64::from))
}
