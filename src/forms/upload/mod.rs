//! Receives a form: texts in memory, files on the disk.
//!
//! This module uses files, but no sockets and no handlers; `multipart` has the parser.
//!
//! Invariant: a file belongs to its [`FormFile`], which removes the file when it is dropped, unless the file
//! was kept. So a form that fails, is incomplete or is dropped leaves no file.

mod file;
mod form;

pub use file::{FormFile, display_name};
pub use form::Form;

use file::{About, Folder};

use super::multipart::{Multipart, MultipartError, MultipartLimits, PartHead, PartSink};
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

/// Why a form could not be read: it was refused, or the disk failed.
///
/// ```
/// use peregrine::multipart::{MultipartError, UploadError};
///
/// assert_eq!(UploadError::from(MultipartError::FileTooLong).status(), 413);
/// assert_eq!(UploadError::from(std::io::Error::other("a bad disk")).status(), 500);
/// let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
/// assert_eq!(UploadError::from(full).status(), 507);
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum UploadError {
    /// The form is malformed or exceeds a limit. The client has caused it.
    Form(MultipartError),
    /// A file could not be created or written. The client has not caused it. Do not send the text to the
    /// client: it may have a path.
    Io(io::Error),
}

impl UploadError {
    /// The status for the response: that of the [`MultipartError`]; 507 if the disk is full or a file exceeds
    /// a limit of the system; otherwise 500.
    pub fn status(&self) -> u16 {
        match self {
            UploadError::Form(error) => error.status(),
            UploadError::Io(error) => match error.kind() {
                io::ErrorKind::StorageFull
                | io::ErrorKind::QuotaExceeded
                | io::ErrorKind::FileTooLarge => 507,
                _ => 500,
            },
        }
    }
}

impl From<MultipartError> for UploadError {
    fn from(error: MultipartError) -> UploadError {
        UploadError::Form(error)
    }
}

impl From<io::Error> for UploadError {
    fn from(error: io::Error) -> UploadError {
        UploadError::Io(error)
    }
}

impl std::fmt::Display for UploadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            UploadError::Form(error) => error.fmt(f),
            UploadError::Io(error) => write!(f, "cannot store a file of the form: {error}"),
        }
    }
}

impl std::error::Error for UploadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            UploadError::Form(error) => Some(error),
            UploadError::Io(error) => Some(error),
        }
    }
}

/// Reads a `multipart/form-data` body that comes in pieces. It keeps fields in memory and writes files to a
/// folder.
///
/// A part without a file name is a field; [`MultipartLimits::memory_bytes`] limits the fields. The bytes of a
/// file are written as they arrive. [`write`](Upload::write) blocks while the system takes the bytes, usually
/// into its cache. A value can be used on any thread.
///
/// # Files
///
/// A file gets a name of 32 random hexadecimal digits, or a name from the program ([`Upload::name_files`]).
/// It is always a new file: if the name exists, even as a link, the upload fails. On Unix only its owner can
/// read and write it. The name that the client gives is never a path. A file field without a chosen file
/// makes no file.
///
/// The files are removed when the upload fails, or is dropped before [`finish`](Upload::finish), and when the
/// [`Form`] is dropped, unless they are [kept](FormFile::keep). A killed process leaves them. So use a folder
/// for uploads only, on the file system where the files will stay, and empty it at the start of the program.
///
/// # A form in memory
///
/// ```
/// use peregrine::multipart::{MultipartLimits, Upload};
///
/// # fn main() -> Result<(), peregrine::multipart::UploadError> {
/// let content_type = "multipart/form-data; boundary=xyz";
/// let body = b"--xyz\r\nContent-Disposition: form-data; name=title\r\n\r\nA falcon\r\n\
///     --xyz\r\nContent-Disposition: form-data; name=photo; filename=\"../f.jpg\"\r\n\r\n\xff\xd8\r\n\
///     --xyz--\r\n";
///
/// let folder = std::env::temp_dir();
/// let mut upload = Upload::new(content_type, MultipartLimits::default(), folder)?;
/// for piece in body.chunks(16) {
///     upload.write(piece)?;
/// }
/// let form = upload.finish()?;
///
/// assert_eq!(form.text("title").as_deref(), Some("A falcon"));
/// let photo = form.file("photo").expect("a photo");
/// assert_eq!((photo.len(), photo.display_name().as_str()), (2, "f.jpg"));
/// assert_eq!(std::fs::read(photo.path())?, b"\xff\xd8");
/// # Ok(())
/// # }
/// ```
///
/// # A form of any size
///
/// [`BodyPlan::form`](crate::BodyPlan::form) does this: the sink of a body that is not buffered, and so may be larger than
/// memory.
///
/// ```
/// use peregrine::{BodyPlan, Done, Handler};
/// use peregrine::body::{BodySink, Flow, Incoming};
/// use peregrine::multipart::MultipartLimits;
/// use peregrine::{Request, Response};
/// use peregrine::multipart::{Upload, UploadError};
///
/// struct Receiving {
///     upload: Upload,
///     failed: Option<UploadError>,
/// }
///
/// impl BodySink for Receiving {
///     fn piece(&mut self, piece: &[u8], _: &mut Incoming<'_>) -> Flow {
///         self.failed = self.upload.write(piece).err();
///         match self.failed {
///             None => Flow::Continue,
///             Some(_) => Flow::Respond,
///         }
///     }
///
///     fn finish(self: Box<Self>, _: &Request<'_>, res: Response<'_>) -> Done {
///         let Receiving { upload, failed } = *self;
///         match failed.map_or_else(|| upload.finish(), Err) {
///             Ok(form) => res.text(format!("{} files", form.files().len())),
///             Err(error) => res.status(error.status()).body(""),
///         }
///     }
/// }
///
/// struct App;
///
/// impl Handler for App {
///     fn body_plan(&self, req: &Request<'_>) -> BodyPlan {
///         let content_type = req.content_type().unwrap_or_default();
///         match Upload::new(content_type, MultipartLimits::default(), std::env::temp_dir()) {
///             Ok(upload) => BodyPlan::stream(Receiving { upload, failed: None }),
///             Err(error) => BodyPlan::Refuse(error.status()),
///         }
///     }
///
///     fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
///         res.status(415).body("")
///     }
/// }
/// # let mut client = peregrine::testing::Connection::new(&App);
/// # let body = "--x\r\nContent-Disposition: form-data; name=f; filename=g\r\n\r\nAda\r\n--x--";
/// # let length = body.len();
/// # client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\
/// #     Content-Type: multipart/form-data; boundary=x\r\n\r\n{body}").as_bytes());
/// # assert!(client.received().ends_with(b"\r\n\r\n1 files"));
/// ```
#[derive(Debug)]
pub struct Upload {
    multipart: Multipart,
    collector: Collector,
}

impl Upload {
    /// Begins a body with this `Content-Type`. Its files go to `folder`, which must exist.
    ///
    /// # Errors
    ///
    /// Those of [`Multipart::new`]. The folder is not used before the first file.
    pub fn new(
        content_type: &str,
        limits: MultipartLimits,
        folder: impl Into<PathBuf>,
    ) -> Result<Upload, UploadError> {
        Ok(Upload {
            multipart: Multipart::new(content_type, limits)?,
            collector: Collector {
                folder: Folder::new(folder.into()),
                form: Form::default(),
                open: CurrentPart::Nothing,
            },
        })
    }

    /// Reads the form in a complete body, such as [`Request::body`](crate::Request::body).
    ///
    /// # Errors
    ///
    /// Those of [`Upload::new`], [`Upload::write`] and [`Upload::finish`].
    ///
    /// ```
    /// use peregrine::{Done, Request, Response};
    /// use peregrine::multipart::{MultipartLimits, Upload};
    ///
    /// fn handle(req: &Request<'_>, res: Response<'_>) -> Done {
    ///     let content_type = req.content_type().unwrap_or_default();
    ///     let folder = std::env::temp_dir();
    ///     match Upload::read(content_type, req.body(), MultipartLimits::default(), folder) {
    ///         Ok(form) => res.text(format!("Hello, {}!", form.text("name").unwrap_or_default())),
    ///         Err(error) => res.status(error.status()).body(""),
    ///     }
    /// }
    /// # let app = peregrine::from_fn(handle);
    /// # let mut client = peregrine::testing::Connection::new(&app);
    /// # let body = "--x\r\nContent-Disposition: form-data; name=name\r\n\r\nAda\r\n--x--";
    /// # let length = body.len();
    /// # client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\
    /// #     Content-Type: multipart/form-data; boundary=x\r\n\r\n{body}").as_bytes());
    /// # assert!(client.received().ends_with(b"\r\n\r\nHello, Ada!"));
    /// ```
    pub fn read(
        content_type: &str,
        body: &[u8],
        limits: MultipartLimits,
        folder: impl Into<PathBuf>,
    ) -> Result<Form, UploadError> {
        let mut upload = Upload::new(content_type, limits, folder)?;
        upload.write(body)?;
        upload.finish()
    }

    /// Sets the function that names the files in the folder, instead of random names. It is called when a
    /// file begins.
    ///
    /// If the name is not a single plain component of a path, or exists already, the upload fails with
    /// [`UploadError::Io`].
    ///
    /// ```
    /// use peregrine::multipart::{MultipartLimits, Upload};
    ///
    /// # fn main() -> Result<(), peregrine::multipart::UploadError> {
    /// # let folder = std::env::temp_dir();
    /// # let content_type = "multipart/form-data; boundary=x";
    /// let mut upload = Upload::new(content_type, MultipartLimits::default(), folder)?;
    /// let mut count = 0;
    /// upload.name_files(move |_head| {
    ///     count += 1;
    ///     format!("upload-17-{count}")
    /// });
    /// # Ok(())
    /// # }
    /// ```
    pub fn name_files(&mut self, name: impl FnMut(&PartHead<'_>) -> String + Send + 'static) {
        self.collector.folder.name_files(Box::new(name));
    }

    /// Parses the next piece of the body, of any size, and keeps its content. It blocks while the system
    /// writes.
    ///
    /// # Errors
    ///
    /// An error of the form or of the disk. After it nothing can be written, and everything kept so far is
    /// removed.
    pub fn write(&mut self, piece: &[u8]) -> Result<(), UploadError> {
        let written = self.multipart.write(piece, &mut self.collector);
        if written.is_err() {
            // Removes the files.
            self.collector.open = CurrentPart::Nothing;
            self.collector.form = Form::default();
        }
        written
    }

    /// Checks that the body is complete and returns the form.
    ///
    /// # Errors
    ///
    /// [`MultipartError::Unfinished`] if the body is incomplete, or the error of an earlier call. Then
    /// nothing is kept.
    pub fn finish(self) -> Result<Form, UploadError> {
        self.multipart.finish()?;
        Ok(self.collector.form)
    }
}

/// Where the parts go.
#[derive(Debug)]
struct Collector {
    folder: Folder,
    form: Form,
    open: CurrentPart,
}

/// The current part.
#[derive(Debug)]
enum CurrentPart {
    Nothing,
    /// It is the last of the texts.
    Text,
    /// A file part without a file name. It becomes a file if a byte comes.
    NoFile(About),
    /// The handle comes first, so that it is closed before the file is removed.
    File(File, FormFile),
}

impl PartSink for Collector {
    type Error = UploadError;

    fn begin(&mut self, head: &PartHead<'_>) -> Result<(), UploadError> {
        self.open = match head.file_name() {
            None => {
                self.form.begin_text(head.name());
                CurrentPart::Text
            }
            Some("") => CurrentPart::NoFile(About::of(head)),
            Some(_) => {
                let (handle, file) = self.folder.create(About::of(head))?;
                CurrentPart::File(handle, file)
            }
        };
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), UploadError> {
        if let CurrentPart::NoFile(about) = &mut self.open {
            let (handle, file) = self.folder.create(std::mem::take(about))?;
            self.open = CurrentPart::File(handle, file);
        }
        match &mut self.open {
            CurrentPart::File(handle, file) => {
                handle.write_all(bytes)?;
                file.grow(bytes.len());
            }
            _ => self.form.extend_text(bytes),
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), UploadError> {
        if let CurrentPart::File(_, file) = std::mem::replace(&mut self.open, CurrentPart::Nothing)
        {
            self.form.push_file(file);
        }
        Ok(())
    }
}
