//! A file that a client sends.

use crate::folder::failed;
use peregrine::body::{BodySink, Flow, Incoming};
use peregrine::{Done, Request, Response};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Writes the body to a file beside its place, which is moved there when it is complete. So no request gets a part of it.
pub(crate) struct Upload {
    place: PathBuf,
    part: PathBuf,
    overwrite: bool,
    /// The file, or why it cannot be written.
    file: io::Result<File>,
}

impl Upload {
    pub(crate) fn new(place: &Path, overwrite: bool) -> Upload {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let part = format!(".peregrine-upload-{}-{number}", std::process::id());
        let part = place.with_file_name(part);
        let file = match place.symlink_metadata() {
            Ok(meta) if !overwrite || meta.is_dir() => Err(io::ErrorKind::AlreadyExists.into()),
            _ => OpenOptions::new().write(true).create_new(true).open(&part),
        };
        Upload {
            place: place.to_owned(),
            part,
            overwrite,
            file,
        }
    }

    /// The body is complete.
    pub(crate) fn done(mut self: Box<Self>, res: Response<'_>) -> Done {
        match self.keep() {
            Ok(()) => res.status(201).text("stored\n"),
            Err(error) => failed(&error, res),
        }
    }

    fn keep(&mut self) -> io::Result<()> {
        match &mut self.file {
            Ok(_) => {}
            Err(error) => return Err(error.kind().into()),
        }
        match self.overwrite {
            true => fs::rename(&self.part, &self.place),
            // Unlike a rename, a link replaces nothing.
            false => fs::hard_link(&self.part, &self.place),
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.file.is_ok() {
            let _ = fs::remove_file(&self.part);
        }
    }
}

impl BodySink for Upload {
    fn piece(&mut self, piece: &[u8], _: &mut Incoming<'_>) -> Flow {
        let Ok(file) = &mut self.file else {
            return Flow::Respond;
        };
        match file.write_all(piece) {
            Ok(()) => Flow::Continue,
            Err(error) => {
                let _ = fs::remove_file(&self.part);
                self.file = Err(error);
                Flow::Respond
            }
        }
    }

    fn finish(self: Box<Self>, _: &Request<'_>, res: Response<'_>) -> Done {
        self.done(res)
    }
}
