//! Servers at Unix sockets: their files from start to stop.

use super::listen::{assert_message, path, threads};
use super::scratch::Scratch;
use super::support::{Asked, Client, NEVER, PATIENCE, ended};
use crate::support::acceptors;
use peregrine::Server;
use peregrine::config::AcceptThreads;
use peregrine::server::{ListenAddr, Running};
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::thread;

/// A path of this test alone, with nothing there.
fn socket_path(name: &str) -> PathBuf {
    let file = format!("peregrine-{}-{name}", std::process::id());
    let path = std::env::temp_dir().join(file);
    let _ = fs::remove_file(&path);
    path
}

#[track_caller]
fn connect(path: &Path) -> Client<UnixStream> {
    let stream = UnixStream::connect(path).expect("a connection");
    let limit = Some(PATIENCE);
    stream.set_read_timeout(limit).expect("an open socket");
    Client::over(stream)
}

#[test]
fn a_unix_socket_from_start_to_stop() {
    for accept_threads in [0, 1, 2] {
        let file = socket_path("life");
        // A server that was killed leaves its file behind.
        drop(UnixListener::bind(&file).expect("a socket"));
        assert!(file.exists());

        let config = threads(2, acceptors(accept_threads));
        let server = Server::from_fn(path).config(config.clone());
        let server = server.bind_unix(&file).bind("127.0.0.1:0");
        let running = server.start().expect("a server");
        let addr = ListenAddr::Unix(file.clone());
        assert_eq!(running.local_addrs()[0], addr);
        assert_eq!(addr.to_string(), format!("unix:{}", file.display()));
        let tcp = running.local_addr().expect("the TCP address");
        assert_eq!(Client::connect(tcp).get("/tcp").text(), "/tcp");
        for _ in 0..10 {
            let mut client = connect(&file);
            for path in ["/one", "/two"] {
                assert_eq!(client.get(path).text(), path);
            }
        }
        // A socket file with a listener is not replaced.
        let second = Server::from_fn(path).config(config).bind_unix(&file);
        let name = file.to_string_lossy();
        assert_message(second.start(), ErrorKind::AddrInUse, &[&name]);
        assert_eq!(connect(&file).get("/still").text(), "/still");

        running.stop();
        assert_eq!(ended(running).aborted, 0);
        assert!(!file.exists(), "removed at the stop");
    }
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let file = socket_path("file");
    fs::write(&file, "precious").expect("written");
    let result = Server::from_fn(path).bind_unix(&file).start();
    let name = file.to_string_lossy();
    assert_message(result, ErrorKind::AddrInUse, &[&name]);
    assert_eq!(fs::read_to_string(&file).expect("still there"), "precious");
    fs::remove_file(&file).expect("still there");
}

fn bound(file: &Path) -> io::Result<Running> {
    Server::from_fn(path)
        .config(threads(1, AcceptThreads::Auto))
        .bind_unix(file)
        .start()
}

/// The error names the file at the path, and the file stays.
#[test]
fn nothing_but_a_dead_stream_socket_is_replaced() {
    let scratch = Scratch::new();
    let at = |name: &str| scratch.path(name);
    let inode = |file: &Path| fs::symlink_metadata(file).expect("still there").ino();

    fs::write(at("plain"), "precious").expect("written");
    fs::create_dir(at("folder")).expect("made");
    let datagram = UnixDatagram::bind(at("datagram")).expect("a socket");
    drop(UnixListener::bind(at("dead")).expect("a socket"));
    symlink(at("dead"), at("link")).expect("a link");
    let full = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None);
    let full = full.expect("a socket");
    let addr = socket2::SockAddr::unix(at("full")).expect("a path");
    full.bind(&addr).expect("a socket");
    full.listen(0).expect("a queue of one");
    let _waiting = UnixStream::connect(at("full")).expect("the first");
    for (name, what) in [
        ("plain", "a file that is no socket is there"),
        ("folder", "a file that is no socket is there"),
        ("datagram", "a socket of another type is there"),
        ("link", "a symbolic link is there"),
        ("full", "a server listens there"),
    ] {
        let (file, before) = (at(name), inode(&at(name)));
        let text = file.to_string_lossy();
        assert_message(bound(&file), ErrorKind::AddrInUse, &[&text, what]);
        assert_eq!(inode(&file), before, "{name}");
    }
    drop(datagram);
    let server = bound(&at("dead")).expect("no process listens there");
    assert_eq!(connect(&at("dead")).get("/x").text(), "/x");
    drop(server);
    assert!(!at("dead").exists());
}

/// A stop removes its own file, and no other that has taken its place.
#[test]
fn a_file_that_replaced_that_of_the_server_stays() {
    let scratch = Scratch::new();
    let file = scratch.path("socket");
    let first = bound(&file).expect("a server");
    fs::remove_file(&file).expect("there");
    let second = bound(&file).expect("a server");
    drop(first);
    assert_eq!(connect(&file).get("/second").text(), "/second");
    fs::remove_file(&file).expect("there");
    fs::write(&file, "precious").expect("written");
    drop(second);
    assert_eq!(fs::read_to_string(&file).expect("still there"), "precious");
}

#[test]
fn the_file_has_the_mode_that_was_asked_for() {
    let scratch = Scratch::new();
    let file = scratch.path("socket");
    for (mode, expected) in [(None, 0o600), (Some(0o660), 0o660), (Some(0o777), 0o777)] {
        let server = Server::from_fn(path).config(threads(1, AcceptThreads::Auto));
        let server = match mode {
            None => server.bind_unix(&file),
            Some(mode) => server.bind_unix_mode(&file, mode),
        };
        let _running = server.start().expect("a server");
        let mode = fs::metadata(&file).expect("there").permissions().mode();
        assert_eq!(mode & 0o7777, expected, "{mode:o}");
    }
}

/// However many servers start at once, one gets the path, and the others report that it is taken.
#[test]
fn of_servers_that_start_at_once_one_gets_the_address() {
    let scratch = Scratch::new();
    let file = scratch.path("socket");
    for _ in 0..20 {
        drop(UnixListener::bind(&file).expect("a socket without a listener"));
        let begin = Barrier::new(4);
        let started: Vec<_> = thread::scope(|scope| {
            let start = || {
                begin.wait();
                bound(&file)
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(start)).collect();
            threads
                .into_iter()
                .map(|t| t.join().expect("no panic"))
                .collect()
        });
        assert_eq!(connect(&file).get("/x").text(), "/x");
        let (servers, errors): (Vec<_>, Vec<_>) = started.into_iter().partition(Result::is_ok);
        assert_eq!(servers.len(), 1);
        for error in errors {
            assert_message(error, ErrorKind::AddrInUse, &["there"]);
        }
    }
}

/// A start that fails leaves nothing behind.
#[test]
fn a_failed_start_removes_its_socket_file() {
    let file = socket_path("failed");
    let server = Server::from_fn(path).bind_unix(&file);
    assert!(server.bind("127.0.0.1:none").start().is_err());
    assert!(!file.exists());
}

/// Its file belongs to the process that has bound it: a service manager goes on listening on it.
#[test]
fn an_inherited_unix_listener_keeps_its_file() {
    let file = socket_path("inherited");
    let listener = UnixListener::bind(&file).expect("a socket");
    for accept_threads in [0, 2] {
        let inherited = listener.try_clone().expect("a second handle");
        let config = threads(2, acceptors(accept_threads));
        let server = Server::from_fn(path)
            .config(config)
            .unix_listener(inherited);
        let running = server.start().expect("a server");
        assert_eq!(running.local_addrs(), [ListenAddr::Unix(file.clone())]);
        assert_eq!(running.local_addr(), None);
        assert_eq!(connect(&file).get("/x").text(), "/x");
        running.stop();
        assert_eq!(ended(running).counters.requests, 1);
        assert!(file.exists(), "the next server is to be found there");
    }
    fs::remove_file(&file).expect("still there");
}

/// While one server still drains, the next one may take its place.
#[test]
fn the_file_of_a_successor_is_left_alone() {
    let file = socket_path("successor");
    let config = threads(1, AcceptThreads::Auto).stop_timeout(NEVER);
    let server = Server::from_fn(path).config(config.clone());
    let first = server.bind_unix(&file).start().expect("a server");
    let (mut half, mut idle) = (connect(&file), connect(&file));
    half.send("GET /first HTTP/1.1\r\nHos");
    assert_eq!(idle.get("/").text(), "/");
    first.stop();
    idle.expect_end();

    let server = Server::from_fn(path).config(config).bind_unix(&file);
    let second = server.start().expect("the same place");
    half.send("t: a\r\n\r\n");
    assert_eq!(half.answer(Asked::Other).text(), "/first");
    drop(half);
    assert_eq!(ended(first).aborted, 0);
    assert_eq!(connect(&file).get("/second").text(), "/second");
    drop(second);
    assert!(!file.exists());
}

#[test]
fn a_unix_client_has_no_address() {
    let file = socket_path("peer");
    let server = Server::from_fn(|req, res| {
        res.body(format!("{:?} {:?}", req.peer_addr(), req.local_addr()))
    });
    let running = server.bind_unix(&file).start().expect("a server");
    assert_eq!(connect(&file).get("/").text(), "None None");
    drop(running);
    assert!(!file.exists());
}
