//! Compressed responses. Needs the feature `compress`.
//!
//! [`Compress`] around a handler compresses its responses in the coding that the client prefers: gzip and deflate,
//! and with features of the same name `brotli` and `zstd`.
//!
//! ```
//! use peregrine::compression::{Compress, CompressConfig};
//! use peregrine::testing::Client;
//!
//! let app = peregrine::from_fn(|req, res| match req.path() {
//!     "/list" => res.header("Content-Type", "application/json").body("[1, 2, 3, 4],".repeat(500)),
//!     "/account" => res.header("Cache-Control", "no-transform").html("with a secret ".repeat(500)),
//!     _ => res.header("Content-Type", "text/plain").send_iter((0..1000).map(|n| format!("{n}\n"))),
//! });
//! let app = Compress::with_config(app, CompressConfig::default().min_bytes(2000));
//! let mut client = Client::new(&app);
//! let mut coding = |target| {
//!     let response = client.get(target).header("Accept-Encoding", "gzip").send();
//!     response.header("content-encoding").map(str::to_owned)
//! };
//! assert_eq!(coding("/list").as_deref(), Some("gzip"));
//! assert_eq!(coding("/export").as_deref(), Some("gzip"));
//! assert_eq!(coding("/account"), None);
//! ```
//!
//! # Which responses
//!
//! | response | is compressed |
//! |---|---|
//! | a text, JSON, XML, SVG and others that get smaller | yes, by `Content-Type` |
//! | a complete body below 1 KiB, or above 1 MiB | no: [`CompressConfig`] has the limits |
//! | deferred, offloaded | yes, on the thread that makes it |
//! | in pieces: `stream`, `send_iter`, `json_lines` | yes; what is sent at once arrives at once |
//! | events | only with a `Cache-Control` of the handler: the default has `no-transform` |
//! | parts of files, `DirServer` | no: files have their own compression, once |
//! | with `Content-Encoding`, `Content-Range`, `Content-Digest` or `no-transform` | no |
//! | errors that the library sends itself | no |
//!
//! A response that could be compressed has `Vary: Accept-Encoding`, and a compressed one a weak `ETag`. A handler that
//! compares `If-None-Match` must compare weakly (RFC 9110 section 8.8.3.2). A response to HEAD has the same fields without
//! `Content-Length`.
//!
//! If a body cannot be compressed, it is sent as it is. A stream whose source fails is not completed, as without
//! compression.
//!
//! # Limits
//!
//! | limit | default | beyond it |
//! |---|---|---|
//! | `CompressConfig::min_bytes` of a complete body | 1,024 | sent as it is |
//! | `CompressConfig::max_bytes` of a complete body | 1 MiB | sent as it is |
//! | `CompressConfig::streams` at the same time | 256 | sent as they are |
//!
//! # Secrets
//!
//! The length of a compressed page is a hint at its content (BREACH). Do not compress a page that contains a secret
//! and a text that others choose: set `Cache-Control: no-transform`.
//!
//! # Cost
//!
//! docs/decisions/43 in the repository has the time and the size for each coding and level. The default levels are those
//! after which more time saves little. The states of the encoders are kept by each thread, except those of brotli.
//!
//! [`Compress`]: crate::compression::Compress
//! [`CompressConfig`]: crate::compression::CompressConfig
