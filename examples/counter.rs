//! Counts visitors: one atomic number, shared by all workers.
//!
//! ```sh
//! cargo run --release --example counter
//! ```
//!
//! `counter --check /health` asks a counter that runs already, for health checks of containers without a shell.

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
            ("GET" | "HEAD", "/health") => res.header("Cache-Control", "no-store").text("ok\n"),
            // Browsers request an icon with every page; this is no visit.
            _ => res.status(404).text("nothing here\n"),
        }
    }
}

fn main() -> std::io::Result<()> {
    let about = "Counts how often its page was loaded.";
    let help =
        "  --check PATH         Asks the counter at this address for PATH; code 0 if it is well\n";
    let (args, [path]) = common::Args::parse_values(about, help, ["check"]);
    if let Some(path) = path {
        return common::check(args.addr, &path.to_string_lossy());
    }
    common::run(Server::new(Counter::default()), &args)
}
