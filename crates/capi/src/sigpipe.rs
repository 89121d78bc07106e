//! Keeps SIGPIPE away from the threads of a server.
//!
//! A program in Rust ignores this signal, one in C is ended by it: any client could end it by leaving while files or large
//! bodies are sent. The action of the process is not this library's to change, but threads inherit what is blocked.

/// Calls `f`. Threads that are made in it block SIGPIPE.
#[cfg(unix)]
pub(crate) fn blocked<T>(f: impl FnOnce() -> T) -> T {
    /// What this thread blocked before.
    struct Before(libc::sigset_t);

    impl Drop for Before {
        fn drop(&mut self) {
            // SAFETY: the set is that of an earlier call, and no old set is asked for.
            unsafe {
                libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut())
            };
        }
    }

    // SAFETY: a set may be zero, is emptied before its use, and both pointers are valid in the calls.
    let before = unsafe {
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        let mut before = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGPIPE);
        let code = libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, &raw mut before);
        (code == 0).then_some(Before(before))
    };
    let value = f();
    drop(before);
    value
}

/// Other systems have no such signal.
#[cfg(not(unix))]
pub(crate) fn blocked<T>(f: impl FnOnce() -> T) -> T {
    f()
}
