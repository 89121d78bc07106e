//! Counts visitors: one atomic number, shared by all workers.
//!
//! ```sh
//! cargo run --release --example counter
//! ```

mod common;

use peregrine::{Done, Handler, Request, Response, Server};
use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Default)]
struct Counter {
    count: AtomicU64,
}

impl Handler for Counter {
    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        match (req.method(), req.path()) {
            ("GET" | "HEAD", "/") => {
                let n = self.count.fetch_add(1, Ordering::Relaxed) + 1;
                res.header("Content-Type", "text/plain")
                    // A page that a browser keeps would not be counted again.
                    .header("Cache-Control", "no-store")
                    .write_with(|body| write!(body, "counter={n}"))
            }
            (_, "/") => common::not_allowed(res, "GET, HEAD"),
            // Browsers request an icon with every page; this is no visit.
            _ => res.status(404).text("nothing here\n"),
        }
    }
}

fn main() -> std::io::Result<()> {
    let args = common::Args::parse("Counts how often its page was loaded.");
    common::run(Server::new(Counter::default()), &args)
}
