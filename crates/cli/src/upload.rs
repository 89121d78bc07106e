//! A file that a client sends.

use crate::folder::failed;
use peregrine::body::{BodySink, Flow, Incoming};
use peregrine::{Done, Request, Response};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Names of parts that are tried while files of killed processes are in the way.
const TRIES: usize = 1024;

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
        let (part, file) = match place.symlink_metadata() {
            Ok(meta) if !overwrite || meta.is_dir() => {
                (PathBuf::new(), Err(io::ErrorKind::AlreadyExists.into()))
            }
            _ => new_part(place),
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
            false => match fs::hard_link(&self.part, &self.place) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => self.reserve(),
                linked => linked,
            },
        }
    }

    /// Without links, as on FAT: an empty file takes the name, and is replaced.
    fn reserve(&self) -> io::Result<()> {
        new_file(&self.place)?;
        fs::rename(&self.part, &self.place).inspect_err(|_| {
            let _ = fs::remove_file(&self.place);
        })
    }
}

fn new_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

/// A new file beside `place`. A process that was killed may have left files, also one with the same process number.
fn new_part(place: &Path) -> (PathBuf, io::Result<File>) {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let mut tries = 0..TRIES;
    loop {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let part = format!(".peregrine-upload-{}-{number}", std::process::id());
        let part = place.with_file_name(part);
        match new_file(&part) {
            Err(error)
                if error.kind() == io::ErrorKind::AlreadyExists && tries.next().is_some() => {}
            file => return (part, file),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_left_is_not_in_the_way() {
        let folder = std::env::temp_dir().join(format!("peregrine-part-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        for number in 0..20 {
            let part = format!(".peregrine-upload-{}-{number}", std::process::id());
            fs::write(folder.join(part), "left").expect("a file");
        }
        let place = folder.join("new");
        let mut upload = Upload::new(&place, false);
        upload
            .file
            .as_mut()
            .expect("a part")
            .write_all(b"x")
            .expect("written");
        // As a file system without links does it.
        upload.reserve().expect("stored");
        assert_eq!(fs::read(&place).expect("a file"), b"x");
        let again = upload.reserve().expect_err("it is there");
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&place).expect("it stays"), b"x");
        drop(upload);
        fs::remove_dir_all(folder).expect("removed");
    }
}
