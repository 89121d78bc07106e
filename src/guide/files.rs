//! Files: a folder, a single-page application, one file, embedded files.
//!
//! [`DirServer`] is a handler. It can also be a part of another handler:
//!
//! ```
//! use peregrine::{Done, Handler, Request, Response};
//! use peregrine::files::{DirConfig, DirServer};
//!
//! struct App {
//!     files: DirServer,
//! }
//!
//! impl Handler for App {
//!     fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
//!         match req.path().strip_prefix("/static") {
//!             Some(path) if path.starts_with('/') => self.files.serve_path(path, req, res),
//!             _ => res.text("the rest of the program"),
//!         }
//!     }
//! }
//!
//! # fn main() -> std::io::Result<()> {
//! let mut config = DirConfig::default();
//! config.cache_rules.push(("/assets/".into(), "max-age=31536000, immutable".into()));
//! let app = App { files: DirServer::with_config("src", config)? };
//! # let mut client = peregrine::testing::Connection::new(&app);
//! # client.send(b"GET /static/lib.rs HTTP/1.1\r\nHost: a\r\n\r\n");
//! # assert!(client.received().starts_with(b"HTTP/1.1 200 OK\r\n"));
//! # Ok(())
//! # }
//! ```
//!
//! # What it does
//!
//! - **GET and HEAD of RFC 9110**: conditional requests, ranges, `br`, `zst` and `gz` siblings,
//!   `index.html`, redirects to folders.
//! - **Lists of folders** with [`DirConfig::list`], sorted by links, and as JSON for clients that prefer it; a page for 404 with [`DirConfig::not_found`],
//!   `Cache-Control` by path with [`DirConfig::cache_rules`].
//! - **Single-page applications**: [`DirConfig::spa`] names the page for paths that name no file and have
//!   no dot in their last part.
//! - **Files of up to 64 KiB are kept in memory** with the head of their response, 64 MiB in all. Larger
//!   files are sent with `sendfile` (Linux, macOS, FreeBSD) or positioned reads, 96 KiB a turn, in bounded memory.
//!   Over HTTP/2 and TLS they are read. A change on the disk is seen within a second ([`DirConfig::recheck`]).
//! - The feature `compress` compresses text files in memory once. Other responses are not compressed.
//!
//! # What it does not serve
//!
//! - **Nothing outside the folder.** Paths are decoded once. Symbolic links are followed within the
//!   folder only: by `openat2` on Linux, by a check of each part on other Unix systems, by real paths on
//!   Windows.
//! - **Files whose name begins with a dot** ([`DirConfig::dotfiles`]); `.well-known` at the top is
//!   served.
//! - **Pipes, sockets and devices.**
//!
//! Every other name that the system can have is served. [`DirConfig::portable`] restricts this to names
//! that mean the same on every system; on Windows it is always on.
//!
//! # Replacing files
//!
//! Replace a file by renaming a new one over it: then each client gets the old or the new file as a
//! whole. A file that is made shorter while it is sent ends with a closed connection, and its last bytes
//! may be zeros.
//!
//! # Other sources
//!
//! - [`FileServer`](crate::files::FileServer) is one file.
//! - [`Embedded`](crate::files::Embedded) is a tree that is part of the program. With the feature `embed` it
//!   takes a folder of the crate `include_dir`.
//!
//! Files are opened on the event loop of the worker. On a slow disk the other connections of that worker
//! wait.
//!
//! `cargo run --release --example dir -- PATH --list --log` serves a folder.
//!
//! [`DirConfig::cache_rules`]: crate::files::DirConfig::cache_rules
//! [`DirConfig::dotfiles`]: crate::files::DirConfig::dotfiles
//! [`DirConfig::list`]: crate::files::DirConfig::list
//! [`DirConfig::not_found`]: crate::files::DirConfig::not_found
//! [`DirConfig::portable`]: crate::files::DirConfig::portable
//! [`DirConfig::recheck`]: crate::files::DirConfig::recheck
//! [`DirConfig::spa`]: crate::files::DirConfig::spa
//! [`DirServer`]: crate::files::DirServer
