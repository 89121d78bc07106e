//! The handler of `peregrine serve`: files and lists by the library; pages of lists, uploads and deletions here.

use crate::args::Serve;
use crate::{listing, upload};
use peregrine::files::{DirConfig, DirServer};
use peregrine::{BodyPlan, Done, Handler, Request, Response};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub(crate) struct Folder {
    files: DirServer,
    /// Without links in it.
    root: PathBuf,
    pub(crate) allowed: Allowed,
    dotfiles: bool,
    lists: bool,
    upload_bytes: u64,
}

/// What clients may change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowed {
    pub(crate) upload: bool,
    pub(crate) overwrite: bool,
    pub(crate) delete: bool,
}

impl Folder {
    pub(crate) fn new(args: &Serve) -> io::Result<Folder> {
        let mut config = DirConfig::default()
            .list(!args.no_list)
            .spa(args.spa.then_some("index.html"))
            .dotfiles(args.dotfiles)
            .symlinks(!args.no_links)
            // Files that clients have sent must not stand for others.
            .precompressed(!args.upload);
        if let Some(seconds) = args.cache {
            config = config.cache_control(&*format!("max-age={seconds}"));
        }
        Ok(Folder {
            files: DirServer::with_config(&args.folder, config)?,
            root: args.folder.canonicalize()?,
            allowed: Allowed {
                upload: args.upload,
                overwrite: args.overwrite,
                delete: args.delete,
            },
            dotfiles: args.dotfiles,
            lists: !args.no_list && !args.spa,
            upload_bytes: args.upload_bytes,
        })
    }

    /// The place of a request path beneath the root: its folder exists and is beneath the root, whatever links there are.
    /// `None` if the path is not one that may be served.
    pub(crate) fn place(&self, path: &str) -> Option<PathBuf> {
        let decoded = percent_encoding::percent_decode_str(path.strip_prefix('/')?);
        let decoded = decoded.decode_utf8().ok()?;
        let names: Vec<&str> = decoded.split('/').collect();
        let (last, folders) = names.split_last()?;
        let is_name = |name: &&str| {
            let is_hidden = name.starts_with('.') && !self.dotfiles;
            let is_special = |c: char| c.is_control() || matches!(c, '\\' | ':' | '\u{0}');
            !matches!(*name, "" | "." | "..") && !is_hidden && !name.contains(is_special)
        };
        // An encoded slash would be a separator here and is none for the library.
        let has_slashes = path[1..].split('/').count() != names.len();
        if has_slashes || !folders.iter().all(is_name) || !(last.is_empty() || is_name(&last)) {
            return None;
        }
        let folder = folders
            .iter()
            .fold(self.root.clone(), |at, name| at.join(name));
        let folder = folder.canonicalize().ok()?;
        (folder.starts_with(&self.root) && folder.is_dir()).then(|| folder.join(last))
    }

    /// Whether the list of this folder is what a browser gets at this path.
    fn has_list(&self, req: &Request<'_>) -> bool {
        let is_asked = || {
            let accept = req.header("accept").unwrap_or_default();
            accept.contains("text/html") && req.query("plain").is_none()
        };
        let is_read = matches!(req.method(), "GET" | "HEAD");
        self.lists && is_read && req.path().ends_with('/') && is_asked() && {
            let place = self.place(req.path());
            place.is_some_and(|folder| folder.is_dir() && !folder.join("index.html").is_file())
        }
    }

    fn delete(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        let path = req.path();
        let Some(place) = self.place(path.strip_suffix('/').unwrap_or(path)) else {
            return res.status(404).text("nothing here\n");
        };
        let deleted = match fs::symlink_metadata(&place) {
            Ok(meta) if meta.is_dir() => fs::remove_dir(&place),
            Ok(_) => fs::remove_file(&place),
            Err(error) => Err(error),
        };
        match deleted {
            Ok(()) => res.status(204).body(""),
            Err(error) => failed(&error, res),
        }
    }

    fn readme(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        let file = self
            .place(req.path())
            .filter(|place| is_beneath(&self.root, place));
        match file.map(|place| listing::markdown(&place)) {
            Some(Ok(html)) => res
                .header("Content-Security-Policy", listing::POLICY)
                .header("Cache-Control", "no-cache")
                .html(html),
            Some(Err(error)) => failed(&error, res),
            None => res.status(404).text("nothing here\n"),
        }
    }
}

/// Whether an existing path leads to something beneath the root.
fn is_beneath(root: &Path, place: &Path) -> bool {
    place
        .canonicalize()
        .is_ok_and(|place| place.starts_with(root))
}

/// A response without a path of this machine.
pub(crate) fn failed(error: &io::Error, res: Response<'_>) -> Done {
    use io::ErrorKind as Kind;
    let (status, text) = match error.kind() {
        Kind::NotFound => (404, "nothing here\n"),
        Kind::AlreadyExists => (409, "there is a file of this name\n"),
        Kind::DirectoryNotEmpty => (409, "the folder is not empty\n"),
        Kind::PermissionDenied => (403, "the system does not allow it\n"),
        Kind::StorageFull | Kind::QuotaExceeded => (507, "the disk is full\n"),
        _ => (500, "the disk failed\n"),
    };
    res.status(status).text(text)
}

impl Handler for Folder {
    fn body_plan(&self, req: &Request<'_>) -> BodyPlan {
        match req.method() {
            "PUT" if self.allowed.upload => match self.place(req.path()) {
                Some(place) if place.file_name().is_some() && !req.path().ends_with('/') => {
                    let sink = upload::Upload::new(&place, self.allowed.overwrite);
                    BodyPlan::stream_up_to(sink, self.upload_bytes)
                }
                _ => BodyPlan::Refuse(404),
            },
            _ => BodyPlan::Unread,
        }
    }

    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        match req.method() {
            "DELETE" if self.allowed.delete => return self.delete(req, res),
            // A body of no bytes has no plan.
            "PUT" if self.allowed.upload => {
                return match self
                    .place(req.path())
                    .filter(|_| !req.path().ends_with('/'))
                {
                    Some(place) => {
                        Box::new(upload::Upload::new(&place, self.allowed.overwrite)).done(res)
                    }
                    None => res.status(404).text("nothing here\n"),
                };
            }
            _ => {}
        }
        if let Some(asset) = listing::asset(req.path()) {
            return asset.send(self.allowed, res);
        }
        if self.lists && req.query("view").as_deref() == Some("html") && req.path().ends_with(".md")
        {
            return self.readme(req, res);
        }
        match self.has_list(req) {
            true => listing::page(res),
            false => self.files.serve(req, res),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command};
    use clap::Parser;

    #[test]
    fn no_path_leads_out() {
        let outside = std::env::temp_dir().join(format!("peregrine-cli-{}", std::process::id()));
        let root = outside.join("root");
        fs::create_dir_all(root.join("sub/.hidden")).expect("folders");
        fs::write(outside.join("secret"), "secret").expect("a file");
        #[cfg(unix)]
        std::os::unix::fs::symlink("..", root.join("up")).expect("a link");
        let root = root.to_string_lossy().into_owned();
        let Command::Serve(args) = Cli::parse_from(["peregrine", "serve", &root]).command else {
            panic!("another command");
        };
        let folder = Folder::new(&args).expect("a folder");
        for path in [
            "/../secret",
            "/%2e%2e/secret",
            "/up/secret",
            "/sub/../../secret",
            "/sub%2f..%2f..%2fsecret",
            "/sub/.hidden/x",
            "/.x",
            "/a%00b",
            "/a%5Cb",
            "//x",
            "/absent/x",
            "/sub/%ff",
            "x",
            "",
        ] {
            assert_eq!(folder.place(path), None, "{path}");
        }
        for path in ["/", "/sub/", "/new%20file", "/sub/x.txt"] {
            assert!(folder.place(path).is_some(), "{path}");
        }
        fs::remove_dir_all(outside).expect("removed");
    }
}
