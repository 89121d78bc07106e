//! Serves a folder.
//!
//! ```sh
//! cargo run --release --example dir                        # the pages in static/
//! cargo run --release --example dir -- ~/site --port 8080 --log
//! ```

mod common;

use lexopt::prelude::*;
use peregrine::{DirConfig, DirServer, Done, Handler, Request, Response, Server};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

const OPTIONS: &str = "
Own:
  PATH                 The folder to serve (default: static)
  --list               List folders that have no index.html
  --spa                Answer paths without a file with index.html
  --log                Write a line for each request
";

struct Dir {
    files: DirServer,
    log: bool,
}

impl Handler for Dir {
    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        let done = self.files.serve(req, res);
        if self.log {
            log(req, &done);
        }
        done
    }
}

/// One line in the common log format, with the time in seconds since 1970. A log that cannot be
/// written is no reason not to serve.
fn log(req: &Request<'_>, done: &Done) {
    let peer = req
        .peer_addr()
        .map_or("-".to_owned(), |peer| peer.ip().to_string());
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let (method, target, version) = (req.method(), req.target(), req.version());
    let (status, bytes) = (done.status(), done.body_bytes());
    let now = now.as_secs();
    let _ = writeln!(
        io::stdout().lock(),
        "{peer} - - [{now}] \"{method} {target} {version}\" {status} {bytes}"
    );
}

fn main() -> io::Result<()> {
    let mut path = PathBuf::from("static");
    let (mut list, mut spa, mut log) = (false, false, false);
    let about = "Serves the files of a folder.";
    let args = common::Args::parse_with(about, OPTIONS, |option| {
        match option {
            Long("list") => list = true,
            Long("spa") => spa = true,
            Long("log") => log = true,
            Value(value) => path = value.into(),
            option => return Err(option.unexpected()),
        }
        Ok(())
    });
    let config = DirConfig {
        list,
        spa: spa.then(|| "index.html".to_owned()),
        ..DirConfig::default()
    };
    let files = DirServer::with_config(&path, config).unwrap_or_else(|error| {
        eprintln!("cannot serve {error}");
        std::process::exit(1);
    });
    println!("serving {}", path.display());
    common::run(Server::new(Dir { files, log }), &args)
}
