//! Files that are compiled into the program.

use super::config::DirConfig;
use super::path;
use super::path::Refusal;
use super::resource::{Maker, Resource, SIBLINGS};
use super::{is_page, is_read, plain, redirect, refuse_method, respond};
use crate::http::content_coding::Coding;
use crate::http::handler::Handler;
use crate::http::request::Request;
use crate::http::response::{Done, Response};
use peregrine_protocol::payload::Payload;
use std::collections::HashMap;
use std::io;

/// A tree of files that is compiled into the program. No request opens a file, and no file can be missing.
///
/// With the feature `embed`, `Embedded::from_dir` takes a whole folder from the `include_dir` crate. In both
/// cases `name.br`, `name.zst` and `name.gz` in the tree are sent for `name` to clients that accept them.
///
/// ```
/// use peregrine::files::{DirConfig, Embedded};
///
/// # fn main() -> std::io::Result<()> {
/// let files: [(&str, &'static [u8]); 2] = [
///     ("index.html", b"<!doctype html><title>hi</title>"),
///     ("app/style.css", b"body { color: navy }"),
/// ];
/// let files = Embedded::new(files, DirConfig::default())?;
/// # let mut client = peregrine::testing::Connection::new(&files);
/// # client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
/// # assert!(client.received().ends_with(b"<title>hi</title>"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Embedded {
    config: DirConfig,
    /// By path. `None` for a folder without an index, and for each folder path without its slash.
    resources: HashMap<String, Option<Resource>>,
}

impl Embedded {
    /// Serves these files by their paths, which have no slash at the beginning. The settings for disks and
    /// for lists have no effect.
    ///
    /// # Errors
    ///
    /// A setting is not valid ([`ConfigError`](crate::config::ConfigError)).
    pub fn new(
        files: impl IntoIterator<Item = (impl Into<String>, &'static [u8])>,
        config: DirConfig,
    ) -> io::Result<Embedded> {
        let config = config.checked()?;
        let files: HashMap<String, &'static [u8]> = files
            .into_iter()
            .map(|(path, bytes)| (path.into(), bytes))
            .collect();
        let mut resources = HashMap::new();
        for path in files.keys() {
            resources.insert(path.clone(), Some(resource(&config, &files, path)));
            for (at, _) in path.match_indices('/') {
                resources.insert(path[..at].to_owned(), None);
                resources.insert(path[..=at].to_owned(), None);
            }
        }
        resources.insert(String::new(), None);
        let folders: Vec<String> = resources.keys().cloned().collect();
        for folder in folders.iter().filter(|p| p.is_empty() || p.ends_with('/')) {
            let mut indices = config.index.iter().map(|name| format!("{folder}{name}"));
            if let Some(index) = indices.find(|index| files.contains_key(index)) {
                let index = resource(&config, &files, &index);
                resources.insert(folder.clone(), Some(index));
            }
        }
        Ok(Embedded { config, resources })
    }

    /// Responds to the request by its path, without [`DirConfig::prefix`].
    pub fn serve(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        match super::behind_prefix(req, &self.config) {
            Some(b"") if is_read(req) => redirect(req, res),
            Some(b"") => refuse_method(req, res),
            Some(path @ [b'/', ..]) => {
                let path = std::str::from_utf8(path).unwrap_or_default();
                self.serve_path(path, req, res)
            }
            _ => plain(404, res),
        }
    }

    /// Responds to the request with the file that `path` names. `path` is the rest of a request path, still
    /// percent-encoded, with a slash at its beginning.
    pub fn serve_path(&self, path: &str, req: &Request<'_>, res: Response<'_>) -> Done {
        if !is_read(req) {
            return refuse_method(req, res);
        }
        let path = match path::relative(path, self.config.names()) {
            Ok(path) => path,
            Err(Refusal::Malformed) => return plain(400, res),
            Err(Refusal::Hidden) => return self.absent(b"", req, res),
        };
        let found = std::str::from_utf8(&path).ok();
        match found.and_then(|path| self.resources.get(path)) {
            Some(Some(file)) => respond::send(file, req, res, self.config.max_ranges),
            Some(None) if !path.is_empty() && !path.ends_with(b"/") => redirect(req, res),
            Some(None) | None => self.absent(&path, req, res),
        }
    }

    fn absent(&self, path: &[u8], req: &Request<'_>, res: Response<'_>) -> Done {
        let find = |page: &Option<String>| self.resources.get(page.as_deref()?)?.as_ref();
        if let Some(page) = find(&self.config.spa).filter(|_| is_page(path)) {
            return respond::send(page, req, res, self.config.max_ranges);
        }
        match find(&self.config.not_found) {
            Some(page) => respond::page(page, 404, req, res),
            None => plain(404, res),
        }
    }
}

impl Handler for Embedded {
    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        self.serve(req, res)
    }
}

fn resource(config: &DirConfig, files: &HashMap<String, &'static [u8]>, path: &str) -> Resource {
    let mut bodies = vec![(Coding::Identity, Payload::Static(files[path]))];
    if config.precompressed {
        for (coding, suffix) in SIBLINGS {
            let sibling = files.get(&format!("{path}{suffix}"));
            if let Some(bytes) = sibling.filter(|bytes| bytes.len() <= files[path].len()) {
                bodies.push((coding, Payload::Static(bytes)));
            }
        }
    }
    let content_type = config.content_type(path.as_bytes());
    #[cfg(feature = "compress")]
    if config.compress
        && files[path].len() as u64 <= config.hot_file_bytes
        && crate::http::compressible::is_compressible(&content_type)
        && !bodies.iter().any(|body| body.0 == Coding::Gzip)
    {
        let small = super::resource::compressed(files[path]);
        bodies.extend(small.map(|bytes| (Coding::Gzip, bytes.into())));
    }
    let varies = bodies.len() > 1;
    let maker = Maker::new(config, path.as_bytes(), content_type.into(), varies);
    let variants = bodies
        .into_iter()
        .map(|(coding, body)| maker.memory(coding, body, None));
    Resource::new(variants.collect(), Vec::new(), true)
}
