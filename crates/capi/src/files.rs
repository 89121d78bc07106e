//! Static files.

use crate::codes::PRG_IO;
use crate::guard::{exclusive, free, give, guard, shared};
use crate::request::{of, prg_request};
use crate::response::prg_response;
use crate::values::{copy, text};
use peregrine::files::DirServer;
use std::ffi::c_char;

/// A folder whose files are served, with ranges, conditional requests and content types. It is owned by the program. prg_files_serve may be
/// called from any threads at once.
pub struct prg_files(DirServer);

/// Opens a folder. Nothing outside of it can be reached.
///
/// `*out` is owned by the caller: it ends with prg_files_free, after the server has ended. Errors: PRG_IO; a text is in `message` then, with
/// a NUL, as far as `room` bytes allow. PRG_ARGUMENT. Thread: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_files_open(
    path: *const c_char,
    path_len: usize,
    out: *mut *mut prg_files,
    message: *mut c_char,
    room: usize,
) -> i32 {
    guard(|| {
        let (path, out) = (text(path, path_len)?, exclusive(out)?);
        match DirServer::new(path) {
            Ok(files) => {
                *out = give(prg_files(files));
                Ok(())
            }
            Err(error) => {
                copy(error.to_string().as_bytes(), message, room)?;
                Err(PRG_IO)
            }
        }
    })
}

/// Gives the response to a request for a file. `path` is the path below the folder, percent-encoded, or no bytes for the path of the
/// request.
///
/// Errors: PRG_STATE, PRG_ARGUMENT. A missing file is the response 404 and no error. Thread: that of the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_files_serve(
    files: *const prg_files,
    path: *const c_char,
    path_len: usize,
    req: *const prg_request,
    res: *mut prg_response,
) -> i32 {
    guard(|| {
        let (files, path, req) = (shared(files)?, text(path, path_len)?, of(req)?);
        exclusive(res)?.give(|res| match path.is_empty() {
            true => files.0.serve(req, res),
            false => files.0.serve_path(path, req, res),
        })
    })
}

/// Frees a folder that no callback uses any more. NULL is allowed. Thread: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_files_free(files: *mut prg_files) {
    free(files);
}
