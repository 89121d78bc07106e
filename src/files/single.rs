//! Serves one file.

use super::config::DirConfig;
use super::listing::Form;
use super::open::{Source, about};
use super::store::{Found, Store};
use super::{is_read, plain, refuse_method, respond};
use crate::http::handler::Handler;
use crate::http::request::Request;
use crate::http::response::{Done, Response};
use std::io;
use std::path::Path;

/// Serves one file, whatever the path of the request: for a handler that has matched the path already. It has
/// the conditions, ranges and codings of [`DirServer`](crate::files::DirServer).
///
/// ```
/// use peregrine::{Done, Handler, Request, Response};
/// use peregrine::files::FileServer;
///
/// struct App {
///     icon: FileServer,
/// }
///
/// impl Handler for App {
///     fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
///         match req.path() {
///             "/favicon.ico" => self.icon.serve(req, res),
///             _ => res.status(404).text("nothing here"),
///         }
///     }
/// }
/// # fn main() -> std::io::Result<()> {
/// let app = App { icon: FileServer::new("Cargo.toml")? };
/// # let mut client = peregrine::testing::Connection::new(&app);
/// # client.send(b"GET /favicon.ico HTTP/1.1\r\nHost: a\r\n\r\n");
/// # assert!(client.received().starts_with(b"HTTP/1.1 200 OK\r\n"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct FileServer {
    store: Store,
}

impl FileServer {
    /// Serves the file `path` with the default [`DirConfig`].
    ///
    /// # Errors
    ///
    /// There is no file at `path`. The error names the path. If the file is removed later, the response is
    /// 404.
    pub fn new(path: impl AsRef<Path>) -> io::Result<FileServer> {
        FileServer::with_config(path, DirConfig::default())
    }

    /// Serves the file `path`.
    ///
    /// The settings for folders have no effect. Links on the way to the file are followed wherever they lead,
    /// because the program has named the file. Its compressed siblings must be files in the same folder, not
    /// links.
    ///
    /// # Errors
    ///
    /// Those of [`FileServer::new`]. Also, a setting is not valid ([`ConfigError`](crate::config::ConfigError)).
    pub fn with_config(path: impl AsRef<Path>, config: DirConfig) -> io::Result<FileServer> {
        let config = config.checked()?;
        let path = path.as_ref();
        let source = there(path, &config).map_err(|error| about(path, &error))?;
        Ok(FileServer {
            store: Store::new(config, source),
        })
    }

    /// Responds to the request with the file.
    pub fn serve(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        if !is_read(req) {
            return refuse_method(req, res);
        }
        match self.store.find(b"", Form::default()) {
            Found::File(file) => respond::send(&file, req, res, self.store.config.max_ranges),
            Found::Failed => plain(503, res),
            Found::NeedsSlash | Found::Nothing => plain(404, res),
        }
    }
}

fn there(path: &Path, config: &DirConfig) -> io::Result<Source> {
    let source = Source::file(path, config.recheck)?;
    match source.open(b"")?.is_folder() {
        true => Err(io::ErrorKind::IsADirectory.into()),
        false => Ok(source),
    }
}

impl Handler for FileServer {
    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        self.serve(req, res)
    }
}
