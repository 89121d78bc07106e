//! A small server: a greeting, an echo, and a 404.
//!
//! ```sh
//! cargo run --release --example hello -- --port 8080
//! curl localhost:8080
//! curl -d 'some text' localhost:8080/echo
//! ```

mod common;

use peregrine::Server;

fn main() -> std::io::Result<()> {
    let args = common::Args::parse("Greets, and echoes what is posted to /echo.");
    let server = Server::from_fn(|req, res| match (req.method(), req.path()) {
        ("GET" | "HEAD", "/") => res
            .header("Content-Type", "text/plain")
            .body("Hello, World!"),
        ("POST", "/echo") => res.body(req.body()),
        (_, "/") => common::not_allowed(res, "GET, HEAD"),
        (_, "/echo") => common::not_allowed(res, "POST"),
        _ => res.status(404).text("nothing here\n"),
    });
    common::run(server, &args)
}
