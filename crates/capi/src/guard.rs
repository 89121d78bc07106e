//! What stands around every function: panics are caught, pointers are looked at.

#![expect(
    clippy::disallowed_methods,
    reason = "no panic may reach C; the payload of one is forgotten, so that its drop cannot panic"
)]

use crate::codes::{PRG_ARGUMENT, PRG_OK, PRG_PANIC};
use crate::later::queued;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls `f`, whose error is a code. A panic is `PRG_PANIC`. The program is called after `f`.
pub(crate) fn guard(f: impl FnOnce() -> Result<(), i32>) -> i32 {
    queued(|| guard_view(f))
}

/// Calls `f`. A panic in it is `otherwise`. The program is called after `f`.
pub(crate) fn guard_or<T>(otherwise: T, f: impl FnOnce() -> T) -> T {
    queued(|| guard_view_or(otherwise, f))
}

/// As [`guard`], for a function of a request or a response: nothing of the program is called in it.
#[inline(always)]
pub(crate) fn guard_view(f: impl FnOnce() -> Result<(), i32>) -> i32 {
    guard_view_or(PRG_PANIC, || match f() {
        Ok(()) => PRG_OK,
        Err(code) => code,
    })
}

/// As [`guard_or`], for a function of a request or a response.
#[inline(always)]
pub(crate) fn guard_view_or<T>(otherwise: T, f: impl FnOnce() -> T) -> T {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(value) => value,
        Err(payload) => {
            std::mem::forget(payload);
            otherwise
        }
    }
}

/// The value behind a pointer of C. The caller keeps the contract of its own documentation.
pub(crate) unsafe fn shared<'a, T>(pointer: *const T) -> Result<&'a T, i32> {
    pointer.as_ref().ok_or(PRG_ARGUMENT)
}

/// As [`shared`], for a handle that no other call uses meanwhile.
pub(crate) unsafe fn exclusive<'a, T>(pointer: *mut T) -> Result<&'a mut T, i32> {
    pointer.as_mut().ok_or(PRG_ARGUMENT)
}

/// A handle that C owns from now on.
pub(crate) fn give<T>(value: T) -> *mut T {
    Box::into_raw(Box::new(value))
}

/// A handle that C gives back.
pub(crate) unsafe fn take<T>(handle: *mut T) -> Result<T, i32> {
    match handle.is_null() {
        true => Err(PRG_ARGUMENT),
        false => Ok(*Box::from_raw(handle)),
    }
}

/// Frees a handle; NULL is none.
pub(crate) unsafe fn free<T>(handle: *mut T) {
    guard_or((), || drop(take(handle)));
}
