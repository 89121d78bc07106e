//! Responses: a builder that lives for a callback.

use crate::body_out::prg_body;
use crate::codes::{PRG_ARGUMENT, PRG_STATE};
use crate::events::prg_events;
use crate::guard::{exclusive, give, guard_view};
use crate::responder::prg_responder;
use crate::values::{bytes, text};
use peregrine::timers::Timers;
use peregrine::{Done, Response};
use std::ffi::c_char;
use std::mem::MaybeUninit;
use std::time::Duration;

/// A response that is not given yet. It is borrowed: it is valid until the callback returns that got it, and on the thread of that callback
/// only. One of the functions that give it must be called once; otherwise the client gets 500. After that all functions
/// return PRG_STATE.
///
/// A status, name or value that is not valid is reported when the response is sent: the client gets 500, and prg_handler.error is called.
pub struct prg_response {
    /// Its lifetime is that of the callback.
    res: Option<Response<'static>>,
    is_given: bool,
    /// What the handler returns, if `is_given`. An `Option` would be copied in pieces.
    done: MaybeUninit<Done>,
}

/// Lets C respond. A response that it does not give is a failure of the handler, as that of a responder that is dropped.
#[inline(always)]
pub(crate) fn respond(res: Response<'_>, call: impl FnOnce(*mut prg_response)) -> Done {
    // SAFETY: `call` keeps no pointer, and the value does not leave this function.
    let mut response = unsafe { prg_response::new(res) };
    call(&raw mut response);
    response.end()
}

/// It needs a large stack frame, and is rare.
#[cold]
#[inline(never)]
fn missing(res: Option<Response<'static>>) -> Done {
    let res = res.expect("a response is given or there");
    res.defer().0
}

impl prg_response {
    /// # Safety
    ///
    /// The value, and pointers to it, are used no longer than `res` lives.
    #[inline(always)]
    pub(crate) unsafe fn new(res: Response<'_>) -> prg_response {
        prg_response {
            res: Some(std::mem::transmute::<Response<'_>, Response<'static>>(res)),
            is_given: false,
            done: MaybeUninit::uninit(),
        }
    }

    #[inline(always)]
    pub(crate) fn end(self) -> Done {
        match self.is_given {
            // SAFETY: `set` has written it.
            true => unsafe { self.done.assume_init() },
            false => missing(self.res),
        }
    }

    #[inline(always)]
    fn set(&mut self, done: Done) {
        self.done.write(done);
        self.is_given = true;
    }

    #[inline(always)]
    pub(crate) fn give(&mut self, f: impl FnOnce(Response<'static>) -> Done) -> Result<(), i32> {
        let res = self.res.take().ok_or(PRG_STATE)?;
        let done = f(res);
        self.set(done);
        Ok(())
    }

    /// Gives a response that comes later, and keeps what sends it.
    fn begin<T>(&mut self, f: impl FnOnce(Response<'static>) -> (Done, T)) -> Result<T, i32> {
        let res = self.res.take().ok_or(PRG_STATE)?;
        let (done, later) = f(res);
        self.set(done);
        Ok(later)
    }

    pub(crate) fn timers(&self) -> Result<Timers, i32> {
        self.res.as_ref().map(Response::timers).ok_or(PRG_STATE)
    }

    fn change(
        &mut self,
        f: impl FnOnce(Response<'static>) -> Response<'static>,
    ) -> Result<(), i32> {
        let res = self.res.take().ok_or(PRG_STATE)?;
        self.res = Some(f(res));
        Ok(())
    }
}

/// Sets the status, 200 to 599. Default: 200.
///
/// Errors: PRG_STATE, PRG_ARGUMENT. Thread: that of the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_response_status(res: *mut prg_response, status: u16) -> i32 {
    guard_view(|| exclusive(res)?.change(|res| res.status(status)))
}

/// Adds a header field. Name and value are copied. Fields of framing (Content-Length, Transfer-Encoding, Connection) are the library's.
///
/// Errors: PRG_STATE, PRG_ARGUMENT. Thread: that of the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_response_header(
    res: *mut prg_response,
    name: *const c_char,
    name_len: usize,
    value: *const c_char,
    value_len: usize,
) -> i32 {
    guard_view(|| {
        let (name, value) = (text(name, name_len)?, bytes(value, value_len)?);
        exclusive(res)?.change(|res| res.header(name, value))
    })
}

/// Makes this the last response of its connection.
///
/// Errors: PRG_STATE, PRG_ARGUMENT. Thread: that of the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_response_close(res: *mut prg_response) -> i32 {
    guard_view(|| exclusive(res)?.change(Response::close))
}

/// Sets how long a response that comes later may take, in milliseconds, in place of the limit of the server.
///
/// Errors: PRG_STATE, PRG_ARGUMENT. Thread: that of the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_response_timeout(res: *mut prg_response, millis: u64) -> i32 {
    guard_view(|| exclusive(res)?.change(|res| res.timeout(Duration::from_millis(millis))))
}

/// Gives the response with this body. The bytes are copied.
///
/// Errors: PRG_STATE, PRG_ARGUMENT. Thread: that of the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_response_body(
    res: *mut prg_response,
    body: *const c_char,
    body_len: usize,
) -> i32 {
    prg_response_send(res, 200, std::ptr::null(), 0, body, body_len)
}

/// Gives a whole response in one call: status, Content-Type (none if its length is 0) and body. The bytes are copied.
///
/// Errors: PRG_STATE, PRG_ARGUMENT. Thread: that of the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_response_send(
    res: *mut prg_response,
    status: u16,
    content_type: *const c_char,
    content_type_len: usize,
    body: *const c_char,
    body_len: usize,
) -> i32 {
    guard_view(|| {
        let (kind, body) = (
            bytes(content_type, content_type_len)?,
            bytes(body, body_len)?,
        );
        let res = exclusive(res)?;
        match status == 200 && !kind.is_empty() {
            true => res.give(|res| res.body_as(kind, body)),
            false => res.give(|res| whole(res, status, kind, body)),
        }
    })
}

/// Not inlined: the usual case would save registers for it. It is no second caller of `Response::body_as`, which would not be
/// inlined into the usual case then.
#[inline(never)]
pub(crate) fn whole(res: Response<'_>, status: u16, kind: &[u8], body: &[u8]) -> Done {
    let res = match status {
        200 => res,
        status => res.status(status),
    };
    let res = match kind.is_empty() {
        true => res,
        false => res.header("Content-Type", kind),
    };
    res.body(body)
}

/// Redirects to `location`, with status 301, 302, 303, 307 or 308.
///
/// Errors: PRG_STATE, PRG_ARGUMENT. Thread: that of the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_response_redirect(
    res: *mut prg_response,
    status: u16,
    location: *const c_char,
    location_len: usize,
) -> i32 {
    guard_view(|| {
        let location = text(location, location_len)?;
        exclusive(res)?.give(|res| res.redirect(status, location))
    })
}

/// Gives the response later: the responder sends it, from any thread. Status and fields that were set are kept.
///
/// `*out` is owned by the caller: it ends with prg_responder_send, prg_responder_fill or prg_responder_free.
/// Errors: PRG_STATE, PRG_ARGUMENT; `*out` is not changed then. Thread: that of the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_response_defer(
    res: *mut prg_response,
    out: *mut *mut prg_responder,
) -> i32 {
    guard_view(|| {
        let out = exclusive(out)?;
        let responder = exclusive(res)?.begin(|res| {
            let (done, responder) = res.defer();
            (done, responder)
        })?;
        *out = give(prg_responder(responder));
        Ok(())
    })
}

/// Gives the response with a body in pieces. `length` is its length in bytes, or -1 if it is not known.
///
/// `*out` is owned by the caller: it ends with prg_body_finish or prg_body_free.
/// Errors: PRG_STATE, PRG_ARGUMENT; `*out` is not changed then. Thread: that of the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_response_stream(
    res: *mut prg_response,
    length: i64,
    out: *mut *mut prg_body,
) -> i32 {
    guard_view(|| {
        let out = exclusive(out)?;
        if length < -1 {
            return Err(PRG_ARGUMENT);
        }
        let body = exclusive(res)?.begin(|res| match u64::try_from(length) {
            Ok(length) => res.stream_exact(length),
            Err(_) => res.stream(),
        })?;
        *out = give(prg_body(body));
        Ok(())
    })
}

/// Gives the response as a stream of server-sent events.
///
/// `*out` is owned by the caller: it ends with prg_events_finish, prg_events_free or prg_event_hub_subscribe.
/// Errors: PRG_STATE, PRG_ARGUMENT; `*out` is not changed then. Thread: that of the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_response_events(
    res: *mut prg_response,
    out: *mut *mut prg_events,
) -> i32 {
    guard_view(|| {
        let out = exclusive(out)?;
        let events = exclusive(res)?.begin(Response::events)?;
        *out = give(prg_events(events));
        Ok(())
    })
}
