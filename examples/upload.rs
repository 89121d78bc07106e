//! Takes files from a page, from `curl` and from forms, in constant memory, and lists what arrived.
//!
//! ```sh
//! cargo run --release --features multipart --example upload
//! curl -T photo.jpg http://127.0.0.1:8080/
//! ```
//!
//! Or open <http://127.0.0.1:8080/> and drop files on the page. The program prints a line for each file,
//! which is also in the response: its size, its SHA-1 and its name.

mod common;

use peregrine::body::{BodySink, Flow, Incoming};
use peregrine::multipart::{
    Multipart, MultipartError, MultipartLimits, PartHead, PartSink, display_name,
};
use peregrine::{BodyPlan, Done, Handler, Request, Response, Server};
use sha1::{Digest, Sha1};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const PAGE: &str = include_str!("../static/upload.html");
const STYLE: &str = include_str!("../static/upload.css");
const SCRIPT: &str = include_str!("../static/upload.js");

/// Default limit on one request, in MiB. The limits of the library are for forms and bodies in memory.
const LIMIT: u64 = 4096;

/// Number of files with the same name that get a number. A further one gets a random number, so that a
/// frequent name costs no long search.
const NUMBERED: u64 = 8;

const OPTIONS: &str = "
Own:
  --dir PATH           Keep the files in this folder (default: one that is removed at the end)
  --limit MIB          Most that one request may bring, in MiB (default: 4096)
";

struct Site {
    folder: Arc<PathBuf>,
    limit: u64,
}

impl Handler for Site {
    fn body_plan(&self, req: &Request<'_>) -> BodyPlan {
        if !req.is_same_origin() {
            return BodyPlan::Refuse(403);
        }
        if declared(req) > self.limit {
            // `handle_request` responds before a byte of the body is read.
            return BodyPlan::Unread;
        }
        let body = match (req.method(), req.path()) {
            ("PUT", path) => Body::raw(&self.folder, path),
            ("POST", "/") => Body::form(&self.folder, req, self.limit),
            // `handle_request` responds with the allowed methods.
            _ => return BodyPlan::Unread,
        };
        BodyPlan::stream(Receiving {
            body,
            limit: self.limit,
        })
    }

    /// Responds to requests without a body, and to those whose body is too large.
    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        match (req.method(), req.path()) {
            _ if declared(req) > self.limit => {
                respond(req, res, self.limit, Err(too_large(self.limit)))
            }
            ("GET" | "HEAD", "/") => res.html(page(self.limit, "")),
            ("GET" | "HEAD", "/upload.css") => res.header("Content-Type", "text/css").body(STYLE),
            ("GET" | "HEAD", "/upload.js") => {
                res.header("Content-Type", "text/javascript").body(SCRIPT)
            }
            ("PUT", path) => {
                let arrived = Body::raw(&self.folder, path).and_then(Body::finish);
                respond(req, res, self.limit, arrived)
            }
            (_, "/") => common::not_allowed(res, "GET, HEAD, POST, PUT"),
            (_, "/upload.css" | "/upload.js") => common::not_allowed(res, "GET, HEAD, PUT"),
            (method, _) if !matches!(method, "GET" | "HEAD") => common::not_allowed(res, "PUT"),
            _ => res.status(404).text("nothing here\n"),
        }
    }
}

/// The length of the body, if it is announced.
fn declared(req: &Request<'_>) -> u64 {
    let length = req.header("content-length");
    length.and_then(|len| len.parse().ok()).unwrap_or(0)
}

/// The content of a request body: the bytes of one file, or a form with files.
enum Body {
    Raw(Arrival),
    Form(Box<Multipart>, Files),
}

impl Body {
    /// The body of `PUT /name`.
    fn raw(folder: &Arc<PathBuf>, path: &str) -> Result<Body, Failure> {
        let name = percent_encoding::percent_decode_str(path).decode_utf8_lossy();
        Ok(Body::Raw(Arrival::new(folder, &name)?))
    }

    fn form(folder: &Arc<PathBuf>, req: &Request<'_>, limit: u64) -> Result<Body, Failure> {
        let limits = MultipartLimits::default()
            .file_bytes(limit)
            .total_bytes(limit);
        let content_type = req.content_type().unwrap_or_default();
        let multipart = Multipart::new(content_type, limits)?;
        let files = Files {
            folder: folder.clone(),
            open: None,
            arrived: Vec::new(),
        };
        Ok(Body::Form(Box::new(multipart), files))
    }

    fn write(&mut self, piece: &[u8]) -> Result<(), Failure> {
        match self {
            Body::Raw(file) => file.write(piece),
            Body::Form(multipart, files) => multipart.write(piece, files),
        }
    }

    fn finish(self) -> Result<Vec<Arrived>, Failure> {
        match self {
            Body::Raw(file) => Ok(vec![file.keep()]),
            Body::Form(multipart, files) => {
                multipart.finish()?;
                let kept = files.arrived.into_iter().map(Arrival::keep);
                Ok(kept.collect())
            }
        }
    }
}

/// The files of one form. Its texts are ignored.
struct Files {
    folder: Arc<PathBuf>,
    open: Option<Arrival>,
    arrived: Vec<Arrival>,
}

impl PartSink for Files {
    type Error = Failure;

    fn begin(&mut self, head: &PartHead<'_>) -> Result<(), Failure> {
        self.open = match head.file_name() {
            // A field that is no file, or in which no file was chosen.
            None | Some("") => None,
            Some(name) => Some(Arrival::new(&self.folder, name)?),
        };
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        match &mut self.open {
            Some(file) => file.write(bytes),
            None => Ok(()),
        }
    }

    fn end(&mut self) -> Result<(), Failure> {
        self.arrived.extend(self.open.take());
        Ok(())
    }
}

/// Takes a body as it arrives. If the body ends early, its files are removed, because `Arrival` removes files
/// that are not kept.
struct Receiving {
    body: Result<Body, Failure>,
    limit: u64,
}

impl BodySink for Receiving {
    fn piece(&mut self, piece: &[u8], incoming: &mut Incoming<'_>) -> Flow {
        let Ok(body) = &mut self.body else {
            return Flow::Respond;
        };
        let written = match incoming.received() > self.limit {
            true => Err(too_large(self.limit)),
            false => body.write(piece),
        };
        match written {
            Ok(()) => Flow::Continue,
            Err(failure) => {
                self.body = Err(failure);
                Flow::Respond
            }
        }
    }

    fn finish(self: Box<Self>, req: &Request<'_>, res: Response<'_>) -> Done {
        respond(req, res, self.limit, self.body.and_then(Body::finish))
    }
}

/// A file that is arriving or has arrived. It is removed when this value is dropped, unless it is kept.
struct Arrival {
    /// It comes before the path, so that the file is closed before it is removed.
    file: File,
    place: Place,
    about: Arrived,
    hash: Sha1,
}

struct Place(Option<PathBuf>);

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = fs::remove_file(path);
        }
    }
}

/// The data of a file that has arrived.
struct Arrived {
    name: String,
    len: u64,
    sha1: String,
}

/// Makes a file that only this user may read. It never opens an existing file or link.
fn create(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// A number that other programs cannot predict.
fn random() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(std::process::id())
}

/// A folder that only this user may read, with a new name that cannot be predicted.
fn own_folder() -> io::Result<PathBuf> {
    let path = std::env::temp_dir().join(format!("peregrine-upload-{:016x}", random()));
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(&path)?;
    Ok(path)
}

impl Arrival {
    /// The client only proposes a name: `a.txt` becomes `a-2.txt` if it exists.
    fn new(folder: &Path, proposed: &str) -> Result<Arrival, Failure> {
        let proposed = display_name(proposed);
        let (stem, extension) = match proposed.rfind('.') {
            Some(dot) => proposed.split_at(dot),
            None => (&*proposed, ""),
        };
        let numbers = (1..=NUMBERED).chain(std::iter::repeat_with(random).take(8));
        for number in numbers {
            let name = match number {
                1 => proposed.clone(),
                _ => format!("{stem}-{number}{extension}"),
            };
            let path = folder.join(&name);
            match create(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                file => {
                    return Ok(Arrival {
                        file: file?,
                        place: Place(Some(path)),
                        about: Arrived {
                            name,
                            len: 0,
                            sha1: String::new(),
                        },
                        hash: Sha1::new(),
                    });
                }
            }
        }
        Err(Failure::new(409, "Too many files of this name."))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.file.write_all(bytes)?;
        self.hash.update(bytes);
        self.about.len += bytes.len() as u64;
        Ok(())
    }

    fn keep(mut self) -> Arrived {
        self.place.0 = None;
        let digest = self.hash.finalize();
        let digits = digest.iter().map(|byte| format!("{byte:02x}"));
        self.about.sha1 = digits.collect();
        self.about
    }
}

/// Why nothing was kept, as a text for the client.
struct Failure {
    status: u16,
    text: String,
}

impl Failure {
    fn new(status: u16, text: impl Into<String>) -> Failure {
        let text = text.into();
        Failure { status, text }
    }
}

impl From<MultipartError> for Failure {
    fn from(error: MultipartError) -> Failure {
        Failure::new(error.status(), error.to_string())
    }
}

impl From<io::Error> for Failure {
    /// The text of the system may have a path, so it goes to the log of the program only.
    fn from(error: io::Error) -> Failure {
        eprintln!("cannot store a file: {error}");
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                Failure::new(507, "The disk has no space left for this file.")
            }
            _ => Failure::new(500, "The file could not be stored."),
        }
    }
}

fn too_large(limit: u64) -> Failure {
    let most = size(limit);
    Failure::new(413, format!("Too large: at most {most} at a time."))
}

/// Lists what arrived, or says why nothing arrived: as a page for a form, otherwise as text.
fn respond(
    req: &Request<'_>,
    res: Response<'_>,
    limit: u64,
    arrived: Result<Vec<Arrived>, Failure>,
) -> Done {
    let is_form = req
        .header("accept")
        .is_some_and(|a| a.contains("text/html"));
    let (status, lines): (u16, String) = match &arrived {
        Ok(files) => {
            let line = |f: &Arrived| format!("{} {} {}\n", f.len, f.sha1, f.name);
            (200, files.iter().map(line).collect())
        }
        Err(failure) => (failure.status, format!("{}\n", failure.text)),
    };
    match status {
        200 => print!("{lines}"),
        _ => print!("{} {}: {lines}", req.method(), req.path()),
    }
    let res = res.status(status).header("Cache-Control", "no-store");
    if !is_form {
        return res.text(&lines);
    }
    res.html(page(limit, &rows(&arrived)))
}

fn rows(arrived: &Result<Vec<Arrived>, Failure>) -> String {
    let row = |class: &str, name: &str, detail: &str, sha1: &str| {
        let name = escape(name);
        format!(
            "<li class=\"{class}\"><b>{name}</b><span>{detail}</span><code>{sha1}</code></li>\n"
        )
    };
    match arrived {
        Ok(files) if files.is_empty() => row("failed", "No file was chosen.", "", ""),
        Ok(files) => {
            let rows = files
                .iter()
                .map(|file| row("done", &file.name, &size(file.len), &file.sha1));
            rows.collect()
        }
        Err(failure) => row("failed", &failure.text, "", ""),
    }
}

fn page(limit: u64, rows: &str) -> String {
    let page = PAGE.replacen("{limit}", &size(limit), 1);
    page.replacen("{rows}", rows, 1)
}

fn escape(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('"', "&quot;")
}

/// A size in a readable unit.
fn size(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    match units.iter().find(|(bits, _)| bytes >> bits > 0) {
        Some((bits, unit)) => {
            let tenths = (bytes * 10) >> bits;
            match tenths % 10 {
                0 => format!("{} {unit}", tenths / 10),
                tenth => format!("{}.{tenth} {unit}", tenths / 10),
            }
        }
        None if bytes == 1 => "1 byte".to_owned(),
        None => format!("{bytes} bytes"),
    }
}

fn main() -> io::Result<()> {
    let about = "Takes files from a page and from `curl -T`, and says what arrived.";
    let (args, [dir, limit]) = common::Args::parse_values(about, OPTIONS, ["dir", "limit"]);
    let mib = limit.map_or(Some(LIMIT), |mib| mib.to_str()?.parse().ok());
    let Some(limit) = mib.and_then(|mib: u64| mib.checked_mul(1 << 20)) else {
        eprintln!("--limit is a number of MiB");
        std::process::exit(2);
    };
    let folder = match &dir {
        Some(dir) => PathBuf::from(dir),
        None => own_folder()?,
    };
    println!("files go to {}", folder.display());
    let site = Site {
        folder: Arc::new(folder.clone()),
        limit,
    };
    let mut config = args.private_config();
    // A browser sends many bytes before it reads the response, which a reset would destroy.
    config.limits.linger_bytes = 64 << 20;
    config.limits.linger_timeout = Duration::from_secs(30);
    let server = args.bind(Server::new(site).config(config));
    let run = common::wait(common::until_signal(server).start());
    match dir {
        Some(_) => run,
        None => run.and(fs::remove_dir_all(&folder)),
    }
}
