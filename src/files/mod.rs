//! Static files: a folder, one file, or files that are compiled into the program.
//!
//! Needs the feature `dir`, which is on by default. [`DirServer`] serves a folder, [`FileServer`] one file, and
//! [`Embedded`] a tree in the program. All three are [`Handler`]s. The
//! [guide](crate::guide::files) has the first steps.

// The way of a request:
//
//   request path ── path ──► relative path ── store ──► resource ── respond ──► response
//                   (rules)      cache, open, listing     codings    conditions, ranges
//
// Invariants: a path that is looked up on the disk has passed `path::relative` and is opened by `open::Source`,
// which cannot leave the root. No path of the machine is part of a response.

mod cache;
#[cfg(any(test, feature = "internals"))]
pub(crate) mod check;
mod conditional;
mod config;
#[cfg(feature = "embed")]
mod embed;
mod embedded;
mod listing;
mod open;
mod path;
mod place;
mod range;
mod resource;
mod respond;
mod single;
mod store;

pub use config::DirConfig;
pub use embedded::Embedded;
pub use single::FileServer;

use crate::http::handler::Handler;
use crate::http::request::Request;
use crate::http::response::{Done, Response};
use listing::Form;
use open::{Source, about};
use path::Refusal;
use std::io;
use std::path::Path;
use store::{Found, Store};

/// Serves the files of a folder: GET and HEAD with the conditions, ranges and codings of RFC 9110.
///
/// Small files are kept in memory with the head of their response. Larger files are sent by the system
/// (`sendfile` on Linux, macOS and FreeBSD). No request can reach a file outside the folder.
///
/// | request | response |
/// |---|---|
/// | a file | 200; 206 or 416 by `Range`; 304 or 412 by `If-None-Match`, `If-Modified-Since`, `If-Match`, `If-Unmodified-Since` |
/// | a folder with `/` at its end | its `index.html`, or a [list](#lists) if [`DirConfig::list`] is on |
/// | a folder without `/` | 301 to the same path with `/` |
/// | a method of RFC 9110 or PATCH that is not GET or HEAD | 405 with `Allow` |
/// | any other method | 501 |
/// | a path with a wrong encoding | 400 |
/// | everything else | 404 |
///
/// # Files that change
///
/// A change on the disk is seen within [`DirConfig::recheck`]. Replace files by renaming a new file over the
/// old one: then each response has the whole old file or the whole new one. If a file is overwritten in place
/// while it is sent, the response has parts of both versions. If it becomes shorter while it is sent, the
/// response cannot be completed: the connection is closed before the announced length. The last bytes before
/// that may be zeros, because the system has cleared them on their way.
///
/// The folder may be replaced by another one of the same name, or a link to it may be moved. This is seen
/// within [`DirConfig::recheck`], too. While the folder is missing, the response is 404.
///
/// A modification time of 0 or 1 second after 1970 is ignored, because archives, container images and package
/// stores give this time to all versions of a file. Such a file has an `ETag` and no `Last-Modified`. For a
/// time in the future, `Last-Modified` is the current time.
///
/// A file without a known length (`/proc`, `/sys`, some network drives) is read to its end. If it is longer
/// than [`DirConfig::hot_file_bytes`], the response is 503.
///
/// # Lists
///
/// A list is a page, or JSON for a client that prefers that by `Accept`. It has the names that are served, folders
/// first.
///
/// | query | order |
/// |---|---|
/// | none, or `sort=name` | by name, whatever the case |
/// | `sort=size` | by size; folders by name |
/// | `sort=time` | by the time of the last change |
/// | and `order=desc` | the other way round |
///
/// Other values have no effect. The page needs no script and no other file, and says so in its
/// `Content-Security-Policy`, unless [`DirConfig::headers`] has that field. Characters of a name that hide or turn text
/// are shown as U+FFFD. In JSON, `complete` is false if the folder has more than [`DirConfig::list_entries`]:
///
/// ```json
/// {"path":"/a/","complete":true,"entries":[
/// {"name":"b","url":"./b/","type":"folder","modified":"2020-01-01T00:00:00Z"},
/// {"name":"ä","url":"./%C3%A4","type":"file","size":7,"modified":null}
/// ]}
/// ```
///
/// `url` has all bytes of a name that is no text. `modified` is null if the time is not known.
///
/// # Links
///
/// Symbolic links that lead out of the folder are not followed. A hard link is the file itself; a server
/// cannot see which other names the file has.
///
/// # Blocking
///
/// Files are opened on the event loop of the worker. If the disk is slow, the other connections of this
/// worker wait.
///
/// # Example
///
/// ```
/// use peregrine::{Done, Handler, Request, Response};
/// use peregrine::files::DirServer;
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
    /// The path cannot be opened, or is not a folder. The error names the path.
    pub fn new(path: impl AsRef<Path>) -> io::Result<DirServer> {
        DirServer::with_config(path, DirConfig::default())
    }

    /// Serves the folder `path`.
    ///
    /// # Errors
    ///
    /// Those of [`DirServer::new`]. Also, a setting is not valid ([`ConfigError`](crate::config::ConfigError)).
    pub fn with_config(path: impl AsRef<Path>, config: DirConfig) -> io::Result<DirServer> {
        let config = config.checked()?;
        let path = path.as_ref();
        let source = Source::folder(path, config.symlinks, config.recheck);
        let source = source.map_err(|error| about(path, &error))?;
        Ok(DirServer {
            store: Store::new(config, source),
        })
    }

    /// Responds to the request by its path, without [`DirConfig::prefix`].
    pub fn serve(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        match behind_prefix(req, &self.store.config) {
            Some(b"") if is_read(req) => redirect(req, res),
            Some(b"") => refuse_method(req, res),
            Some(path @ [b'/', ..]) => self.serve_bytes(path, req, res),
            _ => plain(404, res),
        }
    }

    /// Responds to the request with the file that `path` names. `path` is the rest of a request path, still
    /// percent-encoded, with a slash at its beginning.
    pub fn serve_path(&self, path: &str, req: &Request<'_>, res: Response<'_>) -> Done {
        self.serve_bytes(path.as_bytes(), req, res)
    }

    /// A path that is in the cache need not be looked at as text.
    fn serve_bytes(&self, path: &[u8], req: &Request<'_>, res: Response<'_>) -> Done {
        let max_ranges = self.store.config.max_ranges;
        if !is_read(req) {
            return refuse_method(req, res);
        }
        // A path that is in the cache has passed the rules before.
        if let Some(asked) = path.strip_prefix(b"/").filter(|path| !path.contains(&b'%')) {
            let shard = self.store.cache.shard(asked);
            if let Some(kept) = shard.get(asked) {
                let is_good = self.store.cache.is_good(kept);
                if is_good && !kept.is_list {
                    return respond::send(kept, req, res, max_ranges);
                }
                drop(shard);
                let found = self.store.find(asked, form(asked, req));
                return self.found(found, asked, req, res);
            }
        }
        // It is ASCII, as the target is, or was text.
        let path = std::str::from_utf8(path).unwrap_or_default();
        match path::relative(path, self.store.config.names()) {
            Ok(asked) => {
                let found = self.store.find(&asked, form(&asked, req));
                self.found(found, &asked, req, res)
            }
            Err(Refusal::Malformed) => plain(400, res),
            Err(Refusal::Hidden) => self.absent(b"", req, res),
        }
    }

    fn found(&self, found: Found, path: &[u8], req: &Request<'_>, res: Response<'_>) -> Done {
        let config = &self.store.config;
        match found {
            Found::File(resource) => respond::send(&resource, req, res, config.max_ranges),
            Found::NeedsSlash => redirect(req, res),
            Found::Nothing => self.absent(path, req, res),
            Found::Failed => plain(503, res),
        }
    }

    /// Responds to a path that names no file.
    fn absent(&self, path: &[u8], req: &Request<'_>, res: Response<'_>) -> Done {
        let config = &self.store.config;
        if let Some(page) = config.spa.as_deref().filter(|_| is_page(path)) {
            if let Found::File(page) = self.store.find(page.as_bytes(), Form::default()) {
                return respond::send(&page, req, res, config.max_ranges);
            }
        }
        if let Some(page) = &config.not_found {
            if let Found::File(page) = self.store.find(page.as_bytes(), Form::default()) {
                return respond::page(&page, 404, req, res);
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

/// The form of the list at this path, if there is one: the path of a folder is empty or ends with a slash.
fn form(path: &[u8], req: &Request<'_>) -> Form {
    match path.is_empty() || path.ends_with(b"/") {
        true => Form::of(req),
        false => Form::default(),
    }
}

/// Whether a single-page application may have a page at this path: it does not look like a file.
fn is_page(path: &[u8]) -> bool {
    let inner = path.strip_suffix(b"/").unwrap_or(path);
    let name = inner.rsplit(|b| *b == b'/').next().unwrap_or(inner);
    !path.is_empty() && !name.contains(&b'.')
}

/// The path without the prefix, if it has the prefix.
///
/// An empty prefix is not compared. An empty string has no memory, and the vector instructions of the
/// comparison are slow on such an address (2 % of the whole request with AVX-512).
fn behind_prefix<'a>(req: &Request<'a>, config: &DirConfig) -> Option<&'a [u8]> {
    match config.prefix.as_bytes() {
        b"" => Some(req.path_bytes()),
        prefix => req.path_bytes().strip_prefix(prefix),
    }
}

/// Whether the method is GET or HEAD.
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
                .text("only GET and HEAD are allowed here\n")
        }
        _ => res.status(501).text("this method is not implemented\n"),
    }
}

/// Redirects to the same path with a slash at its end. Several slashes at the beginning become one, because a
/// location with two names another host.
fn redirect(req: &Request<'_>, res: Response<'_>) -> Done {
    let path = req.whole_path();
    let path = path.trim_start_matches('/');
    let query = req.query_string().map(|query| format!("?{query}"));
    let place = format!("/{path}/{}", query.unwrap_or_default());
    res.redirect(301, &place)
}

fn plain(status: u16, res: Response<'_>) -> Done {
    let text = match status {
        400 => "the path is not valid\n",
        503 => "the file could not be opened\n",
        _ => "nothing here\n",
    };
    res.status(status).text(text)
}

/// What a request path names, whether it exists or not.
#[cfg(any(test, feature = "internals"))]
pub(crate) fn relative_path(path: &str) -> Option<std::borrow::Cow<'_, [u8]>> {
    path::relative(path, DirConfig::default().names()).ok()
}

/// Opens what a request path names beneath `root`, in each of the ways that exist.
#[cfg(any(test, feature = "internals"))]
pub(crate) fn open_every_way(root: &Path, path: &str) -> io::Result<Vec<std::fs::File>> {
    let config = DirConfig::default().dotfiles(true);
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
