//! A folder of large files, and few descriptors: what is kept open gives way.

use super::scratch::Scratch;
use super::served::{Served, plain, serve};
use super::support::{Asked, Client, wait_until};
use peregrine::files::DirServer;
use peregrine::{Done, Handler, Request, Response};
use std::fs::File;

/// Descriptors that the server's process may have.
const MOST: usize = 64;

/// More files than that, each too large for memory.
const FILES: usize = 100;

struct App {
    files: DirServer,
    /// Removed with the server.
    _folder: Scratch,
}

impl Handler for App {
    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        self.files.serve(req, res)
    }
}

/// The server's process; see [`Served`].
#[test]
#[ignore = "for the others of this file"]
fn server() {
    serve(|config, stats| {
        let folder = Scratch::new();
        for n in 0..FILES {
            let file = File::create(folder.path(&n.to_string())).expect("created");
            file.set_len(70_000).expect("sparse");
        }
        folder.write("small", "small");
        let app = App {
            files: DirServer::new(folder.root()).expect("a folder"),
            _folder: folder,
        };
        plain(app)(config, stats)
    });
}

/// A server that runs, and how many descriptors it has with one connection.
fn start() -> (Served, Client, usize) {
    let limit = format!("ulimit -n {MOST}");
    let mut server = Served::start("dir_descriptors::server", &limit, &[("workers", 1)]);
    let mut client = Client::connect(server.addr);
    assert_eq!(client.get("/").status, 404);
    let descriptors = server.ask("descriptors");
    (server, client, descriptors)
}

/// Without that, connections would find no descriptor left.
#[test]
fn a_quarter_of_the_descriptors_is_for_cached_files() {
    let (mut server, mut client, before) = start();
    for n in 0..FILES {
        assert_eq!(client.get(&format!("/{n}")).status, 200, "{n}");
    }
    assert_eq!(client.get("/small").text(), "small");
    let kept = server.ask("descriptors") - before;
    assert!((1..=MOST / 4).contains(&kept), "{kept} files are open");
    server.end();
}

/// Connections have taken what was left: a file that is asked for now is opened in the place of
/// those that are kept.
#[test]
fn cached_files_give_way_when_descriptors_run_out() {
    let (mut server, mut client, _) = start();
    for n in 0..MOST / 8 {
        assert_eq!(client.get(&format!("/{n}")).status, 200, "{n}");
    }
    // One that is idle would be closed for the others.
    client.send("GET /99 HTTP/1.1\r\nHo");
    let mut busy = Vec::new();
    for _ in 0..MOST {
        let mut other = Client::connect(server.addr);
        other.send("GET /small HTTP/1.1\r\nHo");
        busy.push(other);
    }
    // None is left to count them with.
    wait_until("they run out", || server.ask("descriptors") == 0);
    client.send("st: a\r\n\r\n");
    assert_eq!(client.answer(Asked::Other).status, 200);
    drop(busy);
    wait_until("there are some again", || server.ask("descriptors") > 0);
    let mut client = Client::connect(server.addr);
    assert_eq!(client.get("/98").status, 200);
    assert_eq!(client.get("/small").text(), "small");
    server.end();
}
