//! Request bodies: buffered, refused, streamed; forms and uploads.
//!
//! # Buffered bodies
//!
//! By default a body is complete when [`Handler::handle_request`] is called. [`Request::body`] has its
//! bytes, decoded from chunks. A body above [`Limits::body_bytes`] (1 MiB) is refused with 413.
//!
//! An HTML form without files is read with [`Request::form`]:
//!
//! ```
//! use peregrine::{Done, Request, Response};
//!
//! fn handle(req: &Request<'_>, res: Response<'_>) -> Done {
//!     match req.form("name") {
//!         Some(name) => res.text(format!("Hello, {name}!")),
//!         None => res.status(400).text("`name` is missing"),
//!     }
//! }
//! # let app = peregrine::from_fn(handle);
//! # let mut client = peregrine::testing::Connection::new(&app);
//! # client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 8\r\n\r\nname=Ada");
//! # assert!(client.received().ends_with(b"Hello, Ada!"));
//! ```
//!
//! # Deciding before the body is read
//!
//! [`Handler::body_plan`] is called with the head alone. A client that sent `Expect: 100-continue` is
//! told to continue only if the body is wanted.
//!
//! | plan | what happens |
//! |---|---|
//! | [`BodyPlan::Buffer`] | the default |
//! | [`BodyPlan::BufferUpTo`] | buffered, with another limit |
//! | [`BodyPlan::stream`] | a [`BodySink`] gets the pieces, up to 1 GiB, and responds to the request |
//! | [`BodyPlan::stream_up_to`] | the same, with another limit |
//! | [`BodyPlan::Unread`] | `handle_request` is called at once, without the body |
//! | [`BodyPlan::respond`] | a response of the handler instead of `handle_request`; the connection closes |
//! | [`BodyPlan::Refuse`] | an error status; the connection closes |
//!
//! ```
//! use peregrine::{BodyPlan, Done, Handler, Request, Response};
//!
//! struct App;
//!
//! impl Handler for App {
//!     fn body_plan(&self, req: &Request<'_>) -> BodyPlan {
//!         match req.header("authorization") {
//!             Some("Bearer secret") => BodyPlan::BufferUpTo(10 << 20),
//!             _ => BodyPlan::respond(|_, res| {
//!                 res.status(401).header("WWW-Authenticate", "Bearer").text("no valid token")
//!             }),
//!         }
//!     }
//!
//!     fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
//!         res.text(format!("{} bytes", req.body().len()))
//!     }
//! }
//! # let mut client = peregrine::testing::Connection::new(&App);
//! # client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n");
//! # assert!(client.received().starts_with(b"HTTP/1.1 401 Unauthorized\r\n"));
//! ```
//!
//! # Bodies that are larger than memory
//!
//! The simplest way is a [`BodyReader`]: an [`io::Read`](std::io::Read) on another thread. While 256 KiB
//! wait to be read, the client is stopped. An error of the reader means that the body never becomes
//! complete.
//!
//! ```
//! use peregrine::{BodyPlan, Done, Handler, Request, Response};
//! use peregrine::body::BodyReader;
//!
//! struct App;
//!
//! impl Handler for App {
//!     fn body_plan(&self, _: &Request<'_>) -> BodyPlan {
//!         let (plan, mut body) = BodyReader::new();
//!         std::thread::spawn(move || match std::io::copy(&mut body, &mut std::io::sink()) {
//!             Ok(len) => body.respond(|res| res.text(format!("{len} bytes"))),
//!             Err(_) => Ok(()),
//!         });
//!         plan
//!     }
//!
//!     fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
//!         res.text("send me something")
//!     }
//! }
//! # let mut client = peregrine::testing::Connection::new(&App);
//! # client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nfive.");
//! # assert!(client.wait(std::time::Duration::from_secs(60)));
//! # assert!(client.received().ends_with(b"5 bytes"));
//! ```
//!
//! This example starts a thread for each upload without a limit. A server for many clients hands the
//! readers to a fixed number of threads.
//!
//! A [`BodySink`] gets the pieces on the worker, at most 64 KiB each. It must not block for long. It can
//! pause the client ([`Flow::Pause`]) and respond early ([`Flow::Respond`]). If the body never becomes
//! complete, the sink is dropped without a call of `finish`: undo there what it has begun.
//! [`BodyPlan::stream`] takes a body of up to [`Limits::stream_bytes`] (1 GiB). [`BodyPlan::stream_up_to`]
//! sets another limit for one request. Above the limit the client gets 413.
//!
//! # Trailers
//!
//! A client may send fields behind the body, for example a checksum or a status: `Request::trailer` and
//! `Request::trailers` have them, in HTTP/1.1 (with chunks) and in HTTP/2. They are there where the body is complete: in
//! `handle_request` after `BodyPlan::Buffer`, and in `BodySink::finish`; `BodyReader::trailer` has them when the body is read.
//! A sink that responds before the body is complete has none, even if they have come.
//! They are never header fields (RFC 9110 section 6.5.1), and count against the limits of the head.
//!
//! ```
//! use peregrine::{Done, Request, Response};
//!
//! fn handle(req: &Request<'_>, res: Response<'_>) -> Done {
//!     match req.trailer("checksum") {
//!         Some(sum) => res.text(format!("{} bytes, checksum {sum}", req.body().len())),
//!         None => res.status(400).text("no checksum"),
//!     }
//! }
//! # let app = peregrine::from_fn(handle);
//! # let mut client = peregrine::testing::Connection::new(&app);
//! # client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nChecksum: 7\r\n\r\n");
//! # assert!(client.received().ends_with(b"2 bytes, checksum 7"));
//! ```
//!
//! # Forms with files
//!
//! With the feature `multipart`, `Upload` reads `multipart/form-data`. It keeps texts in memory and
//! writes files to a folder. A file never gets a name that the client chose, unless the program gives it
//! that name. Files are removed when the `Form` is dropped, unless they are kept.
//!
//! ```
//! # #[cfg(feature = "multipart")]
//! # mod example {
//! use peregrine::{Done, Request, Response};
//! use peregrine::multipart::{MultipartLimits, Upload};
//!
//! pub fn handle(req: &Request<'_>, res: Response<'_>) -> Done {
//!     let content_type = req.content_type().unwrap_or_default();
//!     let folder = std::env::temp_dir();
//!     match Upload::read(content_type, req.body(), MultipartLimits::default(), folder) {
//!         Ok(form) => res.text(format!("{} files", form.files().len())),
//!         Err(error) => res.status(error.status()).text(error.to_string()),
//!     }
//! }
//! # }
//! # #[cfg(feature = "multipart")]
//! # fn main() {
//! # let app = peregrine::from_fn(example::handle);
//! # let mut client = peregrine::testing::Connection::new(&app);
//! # let body = "--x\r\nContent-Disposition: form-data; name=f; filename=g\r\n\r\nAda\r\n--x--";
//! # let length = body.len();
//! # client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\
//! #     Content-Type: multipart/form-data; boundary=x\r\n\r\n{body}").as_bytes());
//! # assert!(client.received().ends_with(b"\r\n\r\n1 files"));
//! # }
//! # #[cfg(not(feature = "multipart"))]
//! # fn main() {}
//! ```
//!
//! `BodyPlan::form` is the same for a body that is larger than memory: files are written as they arrive, and then a
//! closure gets the form. `multipart` errors:
//!
//! | error | status |
//! |---|---|
//! | the body is no `multipart/form-data` | 415 |
//! | a form that is malformed, or ends early | 400 |
//! | a limit of `MultipartLimits` | 413 |
//! | the disk is full | 507 |
//! | another fault of the disk | 500 |
//!
//! The example `upload` is a page with progress bars for files of up to 4 GiB. `Multipart` is the parser alone.
//!
//! [`BodyPlan::Buffer`]: crate::BodyPlan::Buffer
//! [`BodyPlan::BufferUpTo`]: crate::BodyPlan::BufferUpTo
//! [`BodyPlan::Refuse`]: crate::BodyPlan::Refuse
//! [`BodyPlan::Stream`]: crate::BodyPlan::Stream
//! [`BodyPlan::Unread`]: crate::BodyPlan::Unread
//! [`BodyPlan::respond`]: crate::BodyPlan::respond
//! [`BodyPlan::stream`]: crate::BodyPlan::stream
//! [`BodyPlan::stream_up_to`]: crate::BodyPlan::stream_up_to
//! [`Limits::stream_bytes`]: crate::Limits::stream_bytes
//! [`BodyPlan::stream_up_to`]: crate::BodyPlan::stream_up_to
//! [`BodyReader`]: crate::body::BodyReader
//! [`BodySink`]: crate::body::BodySink
//! [`Flow::Respond`]: crate::body::Flow::Respond
//! [`Flow::Pause`]: crate::body::Flow::Pause
//! [`Handler::body_plan`]: crate::Handler::body_plan
//! [`Handler::handle_request`]: crate::Handler::handle_request
//! [`Limits::body_bytes`]: crate::Limits::body_bytes
//! [`Request::body`]: crate::Request::body
//! [`Request::form`]: crate::Request::form
