//! Serving files: a folder, one file, or a tree that is part of the program.
//!
//! ```text
//!   request path ── path ──► relative path ── store ──► resource ── answer ──► response
//!                   (rules)      cache, open, listing     codings    conditions, ranges
//! ```
//!
//! Invariants: what is looked up on the disk has passed [`path::relative`] and is opened by
//! [`open::Source`], which cannot leave the root; no path of the machine goes into an answer.

mod accept;
mod answer;
mod cache;
mod conditional;
mod config;
#[cfg(feature = "embed")]
mod embed;
mod embedded;
mod listing;
mod open;
mod path;
mod range;
mod resource;
mod single;
mod store;

pub use config::DirConfig;
pub use embedded::Embedded;
pub use single::Files;

use crate::handler::Handler;
use crate::request::Request;
use crate::response::{Done, Response};
use open::{Source, about};
use path::Refusal;
use std::io;
use std::path::Path;
use store::{Found, Store};

/// A folder on the web: what GET and HEAD requests for its files need of RFC 9110, at the speed of
/// memory, and nothing outside the folder whatever is asked for.
///
/// Small files are kept in memory with the head of their answer; larger ones are sent by the system
/// (`sendfile` on Linux). What changes on the disk is seen within [`DirConfig::recheck`]. A file
/// that is replaced, by renaming another one over it, is sent whole, old or new. One that is written
/// over in place while it is sent is sent as it is at that time, in part old and in part new. One that is
/// made shorter while it is sent cannot be completed: the connection is closed before the announced
/// length, and the last bytes before that may be zeros, as the system has cleared them while they were on
/// their way. So replace files by renaming.
///
/// | request | answer |
/// |---|---|
/// | a file | 200; 206 or 416 by `Range`; 304 or 412 by `If-None-Match`, `If-Modified-Since`, `If-Match`, `If-Unmodified-Since` |
/// | a folder with `/` at its end | its `index.html`, or a list if [`DirConfig::list`] is on |
/// | a folder without | 301 to the same with `/` |
/// | a method of RFC 9110 or PATCH that is not GET or HEAD | 405 with `Allow` |
/// | any other method | 501 |
/// | a path that is no encoding of a path | 400 |
/// | everything else | 404 |
///
/// A modification time of 0 or 1 second after 1970 is none: the file has no `Last-Modified`, as archives,
/// images of containers and package stores give all versions of a file that time. It has an `ETag`. A time in
/// the future is told as the current time.
///
/// A file whose length the system does not tell (`/proc`, `/sys`, some network drives) is read to its end. If
/// it is longer than [`DirConfig::hot_file_bytes`], the response is 503.
///
/// The folder may be replaced by another one of its name, and a link to it may be moved: that is seen within
/// [`DirConfig::recheck`], too. While there is no such folder, the response is 404.
///
/// Symbolic links that lead out of the folder are not followed. A hard link is the file itself, and no
/// server can tell where else it has a name.
///
/// Files are opened on the worker's event loop. On a disk that takes long to answer, other
/// connections of that worker wait meanwhile.
///
/// ```
/// use peregrine::{DirServer, Done, Handler, Request, Response};
///
/// struct App {
///     files: DirServer,
/// }
///
/// impl Handler for App {
///     fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
///         match req.path() {
///             "/hello" => res.text("hello"),
///             _ => self.files.serve(req, res),
///         }
///     }
/// }
/// # fn main() -> std::io::Result<()> {
/// let app = App { files: DirServer::new("src")? };
/// # let mut client = peregrine::testing::Connection::new(&app);
/// # client.send(b"GET /lib.rs HTTP/1.1\r\nHost: a\r\n\r\n");
/// # assert!(client.received().starts_with(b"HTTP/1.1 200 OK\r\n"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct DirServer {
    store: Store,
}

impl DirServer {
    /// Serves the folder `path` with the default [`DirConfig`].
    ///
    /// # Errors
    ///
    /// The folder cannot be opened, or is none. The error names the path.
    pub fn new(path: impl AsRef<Path>) -> io::Result<DirServer> {
        DirServer::with_config(path, DirConfig::default())
    }

    /// Serves the folder `path`.
    ///
    /// # Errors
    ///
    /// As [`DirServer::new`], and if the configuration holds what cannot be sent.
    pub fn with_config(path: impl AsRef<Path>, config: DirConfig) -> io::Result<DirServer> {
        let config = config.checked()?;
        let path = path.as_ref();
        let source = Source::folder(path, config.symlinks, config.recheck);
        let source = source.map_err(|error| about(path, &error))?;
        Ok(DirServer {
            store: Store::new(config, source),
        })
    }

    /// Answers the request by its path, without [`DirConfig::prefix`].
    pub fn serve(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        match behind_prefix(req, &self.store.config) {
            Some("") if is_read(req) => redirect(req, res),
            Some("") => refuse_method(req, res),
            Some(path) if path.starts_with('/') => self.serve_path(path, req, res),
            _ => plain(404, res),
        }
    }

    /// Answers the request with what `path` names: the part of a request path that is the folder's
    /// business, still percent-encoded, with a slash at its beginning.
    pub fn serve_path(&self, path: &str, req: &Request<'_>, res: Response<'_>) -> Done {
        let max_ranges = self.store.config.max_ranges;
        if !is_read(req) {
            return refuse_method(req, res);
        }
        // A path that is in the cache has passed the rules when it came there.
        if let Some(asked) = path.strip_prefix('/').filter(|path| !path.contains('%')) {
            let asked = asked.as_bytes();
            let shard = self.store.cache.shard(asked);
            if let Some(kept) = shard.get(asked) {
                if self.store.cache.is_good(kept) {
                    return answer::answer(kept, req, res, max_ranges);
                }
                let kept = kept.clone();
                drop(shard);
                let found = self.store.look(asked, Some(kept));
                return self.found(found, asked, req, res);
            }
        }
        match path::relative(path, self.store.config.names()) {
            Ok(asked) => self.found(self.store.find(&asked), &asked, req, res),
            Err(Refusal::Malformed) => plain(400, res),
            Err(Refusal::Hidden) => self.absent(b"", req, res),
        }
    }

    fn found(&self, found: Found, path: &[u8], req: &Request<'_>, res: Response<'_>) -> Done {
        let config = &self.store.config;
        match found {
            Found::File(resource) => answer::answer(&resource, req, res, config.max_ranges),
            Found::NeedsSlash => redirect(req, res),
            Found::Nothing => self.absent(path, req, res),
            Found::Failed => plain(503, res),
        }
    }

    /// Answers for a path that names no file.
    fn absent(&self, path: &[u8], req: &Request<'_>, res: Response<'_>) -> Done {
        let config = &self.store.config;
        if let Some(page) = config.spa.as_deref().filter(|_| is_page(path)) {
            if let Found::File(page) = self.store.find(page.as_bytes()) {
                return answer::answer(&page, req, res, config.max_ranges);
            }
        }
        if let Some(page) = &config.not_found {
            if let Found::File(page) = self.store.find(page.as_bytes()) {
                return answer::page(&page, 404, req, res);
            }
        }
        plain(404, res)
    }
}

impl Handler for DirServer {
    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        self.serve(req, res)
    }
}

/// A path that an application in the browser may know: it does not look like a file.
fn is_page(path: &[u8]) -> bool {
    let inner = path.strip_suffix(b"/").unwrap_or(path);
    let name = inner.rsplit(|b| *b == b'/').next().unwrap_or(inner);
    !path.is_empty() && !name.contains(&b'.')
}

/// The path without the prefix, if it has it.
///
/// An empty prefix is not compared: an empty string has no memory, and the vector instructions that
/// look there are slow to learn that they need not (2 % of the whole with AVX-512).
fn behind_prefix<'a>(req: &Request<'a>, config: &DirConfig) -> Option<&'a str> {
    match config.prefix.as_str() {
        "" => Some(req.path()),
        prefix => req.path().strip_prefix(prefix),
    }
}

/// The methods that files know.
fn is_read(req: &Request<'_>) -> bool {
    matches!(req.method(), "GET" | "HEAD")
}

/// 405 for a method that is known (RFC 9110 section 9.3, RFC 5789), 501 for any other (RFC 9110 sections
/// 15.5.6 and 15.6.2).
fn refuse_method(req: &Request<'_>, res: Response<'_>) -> Done {
    match req.method() {
        "GET" | "HEAD" | "POST" | "PUT" | "DELETE" | "CONNECT" | "OPTIONS" | "TRACE" | "PATCH" => {
            res.status(405)
                .header("Allow", "GET, HEAD")
                .text("there is only GET and HEAD here\n")
        }
        _ => res.status(501).text("this method is not known here\n"),
    }
}

/// To the same path with a slash at its end. More than one at its beginning would make another host
/// of it.
fn redirect(req: &Request<'_>, res: Response<'_>) -> Done {
    let path = req.path().trim_start_matches('/');
    let query = req.query_string().map(|query| format!("?{query}"));
    let place = format!("/{path}/{}", query.unwrap_or_default());
    res.redirect(301, &place)
}

fn plain(status: u16, res: Response<'_>) -> Done {
    let text = match status {
        400 => "this is no path\n",
        503 => "the file could not be opened\n",
        _ => "nothing here\n",
    };
    res.status(status).text(text)
}

/// What a request path names, whatever there is.
#[cfg(any(test, feature = "internals"))]
pub(crate) fn relative_path(path: &str) -> Option<std::borrow::Cow<'_, [u8]>> {
    path::relative(path, DirConfig::default().names()).ok()
}

/// Opens what a request path names beneath `root`, by each way there is of doing so.
#[cfg(any(test, feature = "internals"))]
pub(crate) fn open_every_way(root: &Path, path: &str) -> io::Result<Vec<std::fs::File>> {
    let config = DirConfig {
        dotfiles: true,
        ..DirConfig::default()
    };
    let Ok(relative) = path::relative(path, config.names()) else {
        return Ok(Vec::new());
    };
    let folder = open::Folder::root(root)?;
    let mut opened = Vec::new();
    for links in [true, false] {
        opened.extend(folder.open(&relative, links));
        #[cfg(unix)]
        opened.extend(folder.walk(&relative, links));
    }
    Ok(opened)
}
