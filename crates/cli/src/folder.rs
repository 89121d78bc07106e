//! The handler of `peregrine serve`: files and lists by the library; pages of lists, uploads and deletions here.

use crate::args::Serve;
use crate::{listing, upload};
use peregrine::files::{DirConfig, DirServer};
use peregrine::{BodyPlan, Done, Handler, Request, Response};
use std::fs;
use std::io;
use std::path::PathBuf;

pub(crate) struct Folder {
    files: DirServer,
    pub(crate) allowed: Allowed,
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
            .precompressed(!args.upload)
            .compress(!args.no_compress);
        if args.upload {
            // A page that a client has sent has no rights of this origin: no script, no cookies, no requests with the
            // password of the one who opens it.
            config = config.headers([
                ("Content-Security-Policy", "sandbox"),
                ("X-Content-Type-Options", "nosniff"),
            ]);
        }
        if let Some(seconds) = args.cache {
            config = config.cache_control(&*format!("max-age={seconds}"));
        }
        Ok(Folder {
            files: DirServer::with_config(&args.folder, config)?,
            allowed: Allowed {
                upload: args.upload,
                overwrite: args.overwrite,
                delete: args.delete,
            },
            lists: !args.no_list && !args.spa,
            upload_bytes: args.upload_bytes,
        })
    }

    /// Whether the list of this folder is what a browser gets at this path.
    fn has_list(&self, req: &Request<'_>) -> bool {
        let is_asked = || {
            let accept = req.header("accept").unwrap_or_default();
            accept.contains("text/html") && req.query("plain").is_none()
        };
        let is_read = matches!(req.method(), "GET" | "HEAD");
        self.lists && is_read && req.path().ends_with('/') && is_asked() && {
            let is_folder = |file: fs::File| file.metadata().is_ok_and(|meta| meta.is_dir());
            let index = format!("{}index.html", req.path());
            self.files.open(req.path()).is_ok_and(is_folder) && self.files.open(&index).is_err()
        }
    }

    fn delete(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        let Some(place) = self.files.place(req.path()) else {
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
        match self.files.open(req.path()).and_then(listing::markdown) {
            Ok(html) => res
                .header("Content-Security-Policy", listing::POLICY)
                .header("Cache-Control", "no-cache")
                .html(html),
            Err(error) => failed(&error, res),
        }
    }

    /// The place of an upload. A path with a slash at its end is that of a folder.
    fn place_of_upload(&self, req: &Request<'_>) -> Option<PathBuf> {
        let is_file = !req.path().ends_with('/');
        self.files.place(req.path()).filter(|_| is_file)
    }
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
            "PUT" if self.allowed.upload => match self.place_of_upload(req) {
                Some(place) => {
                    let sink = upload::Upload::new(&place, self.allowed.overwrite);
                    BodyPlan::stream_up_to(sink, self.upload_bytes)
                }
                None => BodyPlan::Refuse(404),
            },
            _ => BodyPlan::Unread,
        }
    }

    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        match req.method() {
            "DELETE" if self.allowed.delete => return self.delete(req, res),
            // A body of no bytes has no plan.
            "PUT" if self.allowed.upload => {
                return match self.place_of_upload(req) {
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
    use std::path::Path;

    fn folder(root: &Path, options: &[&str]) -> Folder {
        let root = root.to_string_lossy().into_owned();
        let line = ["peregrine", "serve", &root].into_iter();
        let cli = Cli::parse_from(line.chain(options.iter().copied()));
        let Command::Serve(args) = cli.command else {
            panic!("another command");
        };
        Folder::new(&args).expect("a folder")
    }

    #[test]
    fn no_path_leads_out() {
        let outside = std::env::temp_dir().join(format!("peregrine-cli-{}", std::process::id()));
        let root = outside.join("root");
        fs::create_dir_all(root.join("sub/.hidden")).expect("folders");
        fs::write(outside.join("secret"), "secret").expect("a file");
        #[cfg(unix)]
        for (target, link) in [("..", "up"), ("sub/.hidden", "to-hidden"), ("sub", "link")] {
            std::os::unix::fs::symlink(target, root.join(link)).expect("a link");
        }
        let all = folder(&root, &["--upload"]);
        for path in [
            "/",
            "/../secret",
            "/%2e%2e/secret",
            "/up/secret",
            "/sub/../../secret",
            "/sub%2f..%2f..%2fsecret",
            "/sub/.hidden/x",
            "/to-hidden/x",
            "/.x",
            "/.well-known",
            "/a%00b",
            "/a%5Cb",
            "/a:b",
            "//x",
            "/absent/x",
            "/sub/%ff",
            "/GIT~1/hooks",
            "/NUL",
            "/sub/aux.txt",
            "/a.txt.",
            "/a%20",
            "/%E2%80%8C.git",
            "/.%E2%80%8Cgit",
            "x",
            "",
        ] {
            assert_eq!(all.files.place(path), None, "{path}");
        }
        for path in ["/sub/", "/new%20file", "/sub/x.txt"] {
            assert!(all.files.place(path).is_some(), "{path}");
        }
        #[cfg(unix)]
        {
            assert!(all.files.place("/link/x").is_some());
            let no_links = folder(&root, &["--no-links"]);
            assert_eq!(no_links.files.place("/link/x"), None);
            assert!(no_links.files.open("/link/").is_err());
        }
        fs::remove_dir_all(outside).expect("removed");
    }
}
