//! Codes that functions return.

use peregrine::body::SendError;
use peregrine::error::ResponseError;
use peregrine::sse::SubscribeError;
use peregrine::ws::Sent;
use std::ffi::{CStr, c_char};

/// Done.
pub const PRG_OK: i32 = 0;
/// A pointer is NULL that must not be, a text is not UTF-8, or a number is out of range. Nothing was done, but a function that frees a
/// handle in any case has freed it.
pub const PRG_ARGUMENT: i32 = -1;
/// The call does not fit the state of the handle: the response has been given, or the server has been started.
pub const PRG_STATE: i32 = -2;
/// The client has left, or its connection is closing.
pub const PRG_GONE: i32 = -3;
/// There is no room now. Nothing was sent.
pub const PRG_FULL: i32 = -4;
/// The call would block a thread of the server.
pub const PRG_WOULD_BLOCK: i32 = -5;
/// The operating system refused. The handle has a message.
pub const PRG_IO: i32 = -6;
/// There is no such thing.
pub const PRG_NOT_FOUND: i32 = -7;
/// The library panicked. This is a bug of the library; please report it. A function that frees a handle has freed it; free any other
/// handle, and do not use it otherwise.
pub const PRG_PANIC: i32 = -8;
/// The library was built without this feature, or a struct has members that this version does not know.
pub const PRG_UNSUPPORTED: i32 = -9;
/// More bytes than the declared length were sent, or fewer.
pub const PRG_LENGTH: i32 = -10;
/// A name or value has bytes that it must not have.
pub const PRG_FIELD: i32 = -11;
/// A limit of the server is reached.
pub const PRG_LIMIT: i32 = -12;

/// The first version of this interface. A function, a member of a struct or a code is only added within a version.
pub const PRG_ABI_VERSION: u32 = 1;

/// The version of the interface of the library that is loaded. Compare it with PRG_ABI_VERSION of the header.
///
/// Thread: any. Errors: none.
#[unsafe(no_mangle)]
pub extern "C" fn prg_abi_version() -> u32 {
    PRG_ABI_VERSION
}

/// What a code means, in English, for a log.
///
/// Returns a text that ends with NUL and lives as long as the program; do not free it. Thread: any. Errors: none; an unknown code has a
/// text, too.
#[unsafe(no_mangle)]
pub extern "C" fn prg_code_text(code: i32) -> *const c_char {
    let text: &CStr = match code {
        PRG_OK => c"done",
        PRG_ARGUMENT => c"an argument is not valid",
        PRG_STATE => c"the call does not fit the state of the handle",
        PRG_GONE => c"the client has left",
        PRG_FULL => c"there is no room now",
        PRG_WOULD_BLOCK => c"the call would block a thread of the server",
        PRG_IO => c"the operating system refused",
        PRG_NOT_FOUND => c"there is no such thing",
        PRG_PANIC => c"the library panicked",
        PRG_UNSUPPORTED => c"this build or version does not support it",
        PRG_LENGTH => c"the body does not have the declared length",
        PRG_FIELD => c"a name or value has bytes that it must not have",
        PRG_LIMIT => c"a limit of the server is reached",
        _ => c"an unknown code",
    };
    text.as_ptr()
}

pub(crate) fn of_send(error: SendError) -> i32 {
    match error {
        SendError::Gone => PRG_GONE,
        SendError::Length => PRG_LENGTH,
        SendError::WouldBlock => PRG_WOULD_BLOCK,
        _ => PRG_FIELD,
    }
}

pub(crate) fn of_response(error: ResponseError) -> i32 {
    match error {
        ResponseError::Missing => PRG_STATE,
        ResponseError::HeaderName | ResponseError::HeaderValue => PRG_FIELD,
        _ => PRG_ARGUMENT,
    }
}

pub(crate) fn of_subscribe(error: SubscribeError) -> i32 {
    match error {
        SubscribeError::Closed => PRG_GONE,
        _ => PRG_LIMIT,
    }
}

pub(crate) fn of_sent(sent: Sent) -> i32 {
    match sent {
        Sent::Queued => PRG_OK,
        Sent::Full => PRG_FULL,
        Sent::Closed => PRG_GONE,
    }
}
