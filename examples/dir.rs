//! Serves a folder.
//!
//! ```sh
//! cargo run --release --example dir                        # the pages in static/
//! cargo run --release --example dir -- ~/site --port 8080 --log
//! ```

mod common;

use lexopt::prelude::*;
use peregrine::Server;
use peregrine::access_log::{AccessLog, LogWriter};
use peregrine::files::{DirConfig, DirServer};
use std::io;
use std::path::PathBuf;

const OPTIONS: &str = "
Own:
  PATH                 The folder to serve (default: static)
  --list               List folders that have no index.html
  --spa                Answer paths without a file with index.html
  --log                Write a line for each request, in the common log format
";

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
    let dir_config = DirConfig::default()
        .list(list)
        .spa(spa.then_some("index.html"));
    let files = DirServer::with_config(&path, dir_config).unwrap_or_else(|error| {
        eprintln!("cannot serve {error}");
        std::process::exit(1);
    });
    println!("serving {}", path.display());
    let config = args.private_config();
    if !log {
        let server = args.bind(Server::new(files).config(config));
        return common::wait(common::until_signal(server).start());
    }
    let writer = LogWriter::new(io::stdout())?;
    let files = AccessLog::with_format(files, writer, |entry, line| entry.common(line));
    let server = args.bind(Server::new(files).config(config));
    common::wait(common::until_signal(server).start())
}
