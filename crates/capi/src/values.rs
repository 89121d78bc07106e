//! Values that cross: texts, structs with a size, functions with their argument.

use crate::codes::{PRG_ARGUMENT, PRG_UNSUPPORTED};
use crate::later::{after, later};
use std::ffi::{c_char, c_void};

/// Bytes that belong to another: a view. It is valid as long as the comment of the function says that gives it. It does not
/// end with NUL. A missing one has a NULL pointer.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct prg_bytes {
    /// The first byte, or NULL.
    pub ptr: *const c_char,
    /// The number of bytes.
    pub len: usize,
}

impl prg_bytes {
    pub(crate) const NONE: prg_bytes = prg_bytes {
        ptr: std::ptr::null(),
        len: 0,
    };

    pub(crate) fn of(bytes: &[u8]) -> prg_bytes {
        prg_bytes {
            ptr: bytes.as_ptr().cast(),
            len: bytes.len(),
        }
    }
}

/// The bytes of C. NULL is allowed for none.
#[inline(always)]
pub(crate) unsafe fn bytes<'a>(ptr: *const c_char, len: usize) -> Result<&'a [u8], i32> {
    match ptr.is_null() {
        // No object is larger than this.
        false if len <= isize::MAX as usize => Ok(std::slice::from_raw_parts(ptr.cast(), len)),
        true if len == 0 => Ok(&[]),
        _ => Err(PRG_ARGUMENT),
    }
}

pub(crate) unsafe fn text<'a>(ptr: *const c_char, len: usize) -> Result<&'a str, i32> {
    std::str::from_utf8(bytes(ptr, len)?).map_err(|_| PRG_ARGUMENT)
}

/// Copies `text` to a buffer of C, and a NUL, as far as there is room. Returns the length of the whole text without NUL.
pub(crate) unsafe fn copy(text: &[u8], buf: *mut c_char, room: usize) -> Result<i64, i32> {
    if room > 0 {
        if buf.is_null() {
            return Err(PRG_ARGUMENT);
        }
        let len = text.len().min(room - 1);
        std::ptr::copy_nonoverlapping(text.as_ptr().cast(), buf, len);
        *buf.add(len) = 0;
    }
    Ok(text.len() as i64)
}

/// A struct of C whose first member is its size.
///
/// # Safety
///
/// All bytes of it may be zero, it is `repr(C)`, and its first member is a `usize`. It has no padding at its end, which
/// would be a part of a later member.
pub(crate) unsafe trait Versioned: Copy {}

/// Reads a struct of a caller that may be older or newer than this library: members that it does not have are zero, and
/// those that this library does not know must be zero.
pub(crate) unsafe fn read<T: Versioned>(from: *const T) -> Result<T, i32> {
    let size = size_set(from)?;
    let known = size_of::<T>();
    let bytes = std::slice::from_raw_parts(from.cast::<u8>(), size);
    if bytes.iter().skip(known).any(|byte| *byte != 0) {
        return Err(PRG_UNSUPPORTED);
    }
    let mut value = std::mem::zeroed::<T>();
    let to = (&raw mut value).cast::<u8>();
    std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, size.min(known));
    Ok(value)
}

/// The size that a caller has set. It fails if the struct is missing or the size is out of range.
pub(crate) unsafe fn size_set<T: Versioned>(to: *const T) -> Result<usize, i32> {
    if to.is_null() {
        return Err(PRG_ARGUMENT);
    }
    match to.cast::<usize>().read() {
        size if (size_of::<usize>()..=4096).contains(&size) => Ok(size),
        _ => Err(PRG_ARGUMENT),
    }
}

/// Writes as much of a struct as its caller knows. The member `size` stays.
pub(crate) unsafe fn write<T: Versioned>(value: &T, to: *mut T) -> Result<(), i32> {
    let size = size_set(to)?;
    let head = size_of::<usize>();
    let len = size.min(size_of::<T>()) - head;
    let from = std::ptr::from_ref(value).cast::<u8>().add(head);
    std::ptr::copy_nonoverlapping(from, to.cast::<u8>().add(head), len);
    Ok(())
}

/// A function that is called exactly once: with 1 when what it waits for has happened, or with 0 when that cannot happen any
/// more. So the memory behind `user` can be freed in it. It must not block.
///
/// It is called on a thread of the server, or on any thread at the end of another call of this library. This may be before the call
/// has returned that registered it. The library does not use the handle meanwhile, so the function may send with it, finish or free it,
/// and register again; a function that is due at once is called after this one has returned then. If another thread may be
/// in a call with the same handle, the program must prevent that both overlap.
pub type prg_notify = Option<unsafe extern "C" fn(user: *mut c_void, happened: i32)>;

/// Calls it at most once, and with 0 at its drop otherwise.
pub(crate) struct Notify {
    f: unsafe extern "C" fn(*mut c_void, i32),
    user: *mut c_void,
    called: bool,
}

// SAFETY: the header says that `user` is used on other threads.
unsafe impl Send for Notify {}

impl Notify {
    pub(crate) fn new(f: prg_notify, user: *mut c_void) -> Result<Notify, i32> {
        let f = f.ok_or(PRG_ARGUMENT)?;
        Ok(Notify {
            f,
            user,
            called: false,
        })
    }

    /// Lets `with` register what calls it with 1. The program is not called before `with` has ended.
    pub(crate) fn register(self, with: impl FnOnce(Box<dyn FnOnce() + Send>)) {
        after(move || self.call(), with);
    }

    fn call(mut self) {
        self.called = true;
        // SAFETY: C gave the function with its argument.
        unsafe { (self.f)(self.user, 1) }
    }
}

impl Drop for Notify {
    fn drop(&mut self) {
        if !self.called {
            let (f, user) = (self.f, self.user);
            // SAFETY: as above.
            later(move || unsafe { f(user, 0) });
        }
    }
}
