//! The addresses of a server, the errors of binding, and which listener gets the connections.

use super::support::{Client, ended, start, wait_until, workers};
use crate::support::acceptors;
use peregrine::config::Balance;
use peregrine::config::{AcceptThreads, ConfigError};
use peregrine::server::ListenAddr;
use peregrine::{Config, Done, Request, Response, Server, from_fn};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};

fn path(req: &Request<'_>, res: Response<'_>) -> Done {
    res.body(req.path())
}

/// These workers and accept threads.
fn threads(count: usize, accept_threads: AcceptThreads) -> Config {
    workers(count).accept_threads(accept_threads)
}

// --------------------------------------------------------------------------------- places

#[test]
fn several_addresses_at_once() {
    let mut server = Server::from_fn(path).config(workers(2));
    server = server.bind("127.0.0.1:0").bind(("127.0.0.1", 0));
    let mut count = 2;
    match TcpListener::bind("[::1]:0") {
        Ok(_) => (server, count) = (server.bind("[::1]:0"), 3),
        Err(error) => println!("skipped: no IPv6: {error}"),
    }
    let running = server.start().expect("a server");
    let addrs = running.local_addrs();
    assert_eq!(addrs.len(), count);
    for (i, addr) in addrs.iter().enumerate() {
        let ListenAddr::Tcp(tcp) = addr else {
            panic!("{addr} is no TCP address");
        };
        assert_ne!(tcp.port(), 0, "the real one");
        assert_eq!(tcp.is_ipv6(), i == 2, "in the order of the calls");
        assert_eq!(addr.to_string(), format!("http://{tcp}"));
        assert_eq!(Client::connect(*tcp).get("/x").text(), "/x");
    }
    let ListenAddr::Tcp(first) = addrs[0] else {
        panic!("no TCP address");
    };
    assert_eq!(running.local_addr(), Some(first));
}

#[test]
fn an_inherited_listener() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = listener.local_addr().expect("bound");
    for accept_threads in [0, 2] {
        // As a service manager, which keeps its own handle across restarts.
        let inherited = listener.try_clone().expect("a second handle");
        let config = threads(2, acceptors(accept_threads));
        let server = Server::from_fn(path).config(config).listener(inherited);
        let running = server.start().expect("a server");
        assert_eq!(running.local_addrs(), [ListenAddr::Tcp(addr)]);
        for _ in 0..10 {
            assert_eq!(Client::connect(addr).get("/x").text(), "/x");
        }
        running.stop();
        assert_eq!(ended(running).counters.requests, 10);
    }
}

/// Every worker and every accept thread there is does its part, whatever their numbers.
#[test]
fn all_numbers_of_threads_serve() {
    for accept_threads in [
        AcceptThreads::Auto,
        acceptors(0),
        acceptors(1),
        acceptors(2),
    ] {
        for workers in [1, 2, 4] {
            let (server, addr) = start(from_fn(path), threads(workers, accept_threads));
            let mut clients: Vec<_> = (0..16).map(|_| Client::connect(addr)).collect();
            for client in &mut clients {
                assert_eq!(client.get("/x").text(), "/x");
            }
            assert_eq!(server.worker_counters().len(), workers);
            server.stop();
            let stopped = ended(server);
            let counters = stopped.counters;
            assert_eq!(
                (counters.accepted, counters.closed, counters.requests),
                (16, 16, 16)
            );
            assert_eq!((stopped.drained, stopped.aborted), (16, 0));
        }
    }
}

// --------------------------------------------------------------------------------- refusals

#[track_caller]
fn assert_message(result: io::Result<impl Sized>, kind: ErrorKind, words: &[&str]) {
    let error = result.err().expect("no server");
    let text = error.to_string();
    assert_eq!(error.kind(), kind, "{text}");
    for word in words {
        assert!(text.contains(word), "no {word} in: {text}");
    }
}

/// Neither by chance nor by SO_REUSEPORT does a second server get the connections of a first.
#[test]
fn a_port_in_use_is_named() {
    for first in [0, 1, 2].map(acceptors) {
        let (server, addr) = start(from_fn(path), threads(2, first));
        for second in [0, 1, 2].map(acceptors) {
            let free = Server::from_fn(path).config(threads(2, second));
            let result = free.bind("127.0.0.1:0").bind(addr).start();
            assert_message(result, ErrorKind::AddrInUse, &[&addr.to_string()]);
        }
        // A name that stands for several addresses: the next one will do.
        let free: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        let config = threads(2, first);
        let running = Server::from_fn(path).config(config).bind(&[addr, free][..]);
        let running = running.start().expect("the second address");
        assert_ne!(running.local_addr(), Some(addr));
        drop(running);
        let mut client = Client::connect(addr);
        assert_eq!(client.get("/still").text(), "/still");
        drop(server);
        // And what is free again can be bound again, at once.
        let again = Server::from_fn(path).config(threads(2, first)).bind(addr);
        let again = again.start().expect("the same address");
        assert_eq!(Client::connect(addr).get("/again").text(), "/again");
        drop(again);
    }
}

#[test]
fn settings_that_cannot_work_are_explained() {
    let server = || Server::from_fn(path);
    let invalid = ErrorKind::InvalidInput;
    assert_message(server().start(), invalid, &["address", "Server::bind"]);
    let none = server().config(workers(0)).bind("127.0.0.1:0");
    assert_message(none.start(), invalid, &["Config::workers", "0"]);
    let config = workers(1).server_name("a\r\nInjected: field");
    let named = server().config(config).bind("127.0.0.1:0");
    assert_message(named.start(), invalid, &["Config::server_name"]);
    // Whatever the system says of it.
    for unnamed in ["127.0.0.1:none", ":8080", "a.invalid:1"] {
        // For Windows this is the machine itself.
        if cfg!(windows) && unnamed == ":8080" {
            continue;
        }
        let error = server().bind(unnamed).start().expect_err("no address");
        assert!(error.to_string().contains(unnamed), "{error}");
    }
    let none: &[SocketAddr] = &[];
    assert_message(server().bind(none).start(), ErrorKind::NotFound, &["[]"]);
    let many = (0..4097).fold(server(), |server, _| server.bind("127.0.0.1:0"));
    assert_message(many.start(), invalid, &["4096 listeners"]);
}

/// Each setting that is refused names itself and its value, by a type.
#[test]
fn a_refused_setting_is_a_config_error() {
    let config = Config::default;
    let cases = [
        (
            config().workers(0),
            "Config::workers is 0, and must be from 1 to 4096",
        ),
        (
            config().workers(4097),
            "Config::workers is 4097, and must be from 1 to 4096",
        ),
        (
            config().accept_threads(AcceptThreads::Dedicated(0)),
            "Config::accept_threads is 0, and must be from 1 to 4096",
        ),
        (
            config().connections(0),
            "Config::connections is 0, and must be at least 1",
        ),
        (
            config().stack_size(1),
            "Config::stack_size is 1, and must be from 131072 to 1073741824",
        ),
        (
            config().server_name("a\nb"),
            r#"Config::server_name has "a\nb", which has other characters than visible ASCII and spaces"#,
        ),
        (
            config().allowed_hosts(["a", "b c"]),
            r#"Config::allowed_hosts has "b c", which is not a host"#,
        ),
    ];
    for (config, text) in cases {
        let server = Server::from_fn(path).config(config).bind("127.0.0.1:0");
        let error = server.start().expect_err("an invalid setting");
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{text}");
        let error = error.downcast::<ConfigError>().expect("of a setting");
        assert_eq!(error.to_string(), text);
        assert!(text.starts_with(error.setting().expect("of one setting")));
    }
    let error = Server::from_fn(path).start().expect_err("no address");
    let error = error.downcast::<ConfigError>().expect("of a setting");
    assert_eq!((error.setting(), error), (None, ConfigError::NoAddress));
}

// --------------------------------------------------------------------------------- balance

#[test]
fn idle_connections_are_spread_evenly() {
    for balance in [Balance::LeastConnections, Balance::RoundRobin] {
        let config = threads(4, acceptors(1)).balance(balance);
        let (server, addr) = start(from_fn(path), config);
        let clients: Vec<_> = (0..40).map(|_| Client::connect(addr)).collect();
        wait_until("all are accepted", || server.counters().accepted == 40);
        let accepted = server
            .worker_counters()
            .iter()
            .map(|c| c.accepted)
            .collect::<Vec<_>>();
        assert_eq!(accepted, [10; 4], "{balance:?}");
        drop(clients);
    }
}

/// The fewest open ones count, not the fewest ever.
#[test]
fn closed_connections_leave_room_for_others() {
    let (server, addr) = start(from_fn(path), threads(2, acceptors(1)));
    let mut kept = Vec::new();
    for i in 0..20 {
        let client = Client::connect(addr);
        wait_until("it is accepted", || server.counters().accepted == i + 1);
        // Every second one goes to the second worker, and goes away at once.
        if i % 2 == 0 {
            kept.push(client);
        } else {
            drop(client);
            wait_until("it is closed", || server.counters().closed == i.div_ceil(2));
        }
        let open: Vec<_> = server.worker_counters();
        let open = open
            .iter()
            .map(|c| c.accepted - c.closed)
            .collect::<Vec<_>>();
        assert!(open[0].abs_diff(open[1]) <= 1, "{open:?} after {i}");
    }
}

// --------------------------------------------------------------------------------- Unix sockets

#[cfg(unix)]
mod unix {
    use super::super::scratch::Scratch;
    use super::super::support::{Asked, Client, NEVER, PATIENCE, ended};
    use super::{assert_message, path, threads};
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
}
