//! Notifications to systemd, over real sockets.

use super::scratch::Scratch;
use super::support::{Client, PATIENCE, ended, own_addr, wait_until, workers};
use peregrine::server::{Running, Systemd};
use peregrine::{Config, Server};
use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::{Arc, Barrier};
use std::time::Duration;

/// The next notification.
#[track_caller]
pub(crate) fn told(manager: &UnixDatagram) -> String {
    manager.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let mut bytes = [0; 4096];
    let len = manager.recv(&mut bytes).expect("a notification");
    String::from_utf8(bytes[..len].to_vec()).expect("text")
}

fn start(systemd: &Systemd, config: Config) -> Running {
    let server = Server::from_fn(|_, res| res.text("hi")).config(config);
    let server = server.systemd(systemd).bind(own_addr());
    server.start().expect("a server")
}

#[test]
fn the_status_says_which_addresses_expect_a_proxy_header() {
    let folder = Scratch::new();
    let path = folder.path("notify");
    let manager = UnixDatagram::bind(&path).expect("a socket");
    let systemd = Systemd::at(&path, None).expect("an address");
    let server = Server::from_fn(|_, res| res.text("hi")).config(workers(1));
    let server = server.bind(own_addr()).bind(own_addr()).proxy_protocol();
    let server = server.systemd(&systemd).start().expect("a server");
    let [plain, proxied] = server.local_addrs() else {
        panic!("two addresses");
    };
    let serving = format!("READY=1\nSTATUS=serving at {plain}, {proxied} (PROXY protocol)");
    assert_eq!(told(&manager), serving);
    server.stop();
}

#[test]
fn systemd_is_told_what_a_server_does() {
    let folder = Scratch::new();
    let path = folder.path("notify");
    let by_path = UnixDatagram::bind(&path).expect("a socket");
    let name = format!(
        "peregrine-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    );
    let addr = SocketAddr::from_abstract_name(&name).expect("a name");
    let by_name = UnixDatagram::bind_addr(&addr).expect("a socket");
    let at = |address: &str| Systemd::at(address, None).expect("an address");
    let paths = path.to_str().expect("text").to_owned();
    for (manager, systemd) in [(by_path, at(&paths)), (by_name, at(&format!("@{name}")))] {
        assert!(systemd.is_there() && systemd.watchdog().is_none());
        let server = start(&systemd, workers(1).drain_delay(PATIENCE));
        let addr = server.local_addr().expect("an address");
        let serving = format!("READY=1\nSTATUS=serving at http://{addr}");
        assert_eq!(told(&manager), serving);
        systemd.status("a\nMAINPID=1\u{7f}b");
        assert_eq!(told(&manager), "STATUS=a MAINPID=1 b");
        systemd.reloading();
        let text = told(&manager);
        let micros = text
            .strip_prefix("RELOADING=1\nMONOTONIC_USEC=")
            .expect(&text);
        assert!(micros.parse::<u64>().expect("a number") > 0);
        systemd.ready();
        assert_eq!(told(&manager), "READY=1");
        server.drain();
        assert_eq!(told(&manager), "STOPPING=1\nSTATUS=draining");
        server.stop();
        ended(server);
        assert_eq!(told(&manager), "STATUS=stopping");
        // Nothing came between.
        systemd.status("the end");
        assert_eq!(told(&manager), "STATUS=the end");
    }
    // A stop without a drain.
    let manager = UnixDatagram::bind(folder.path("other")).expect("a socket");
    let systemd = Systemd::at(folder.path("other"), None).expect("an address");
    let server = start(&systemd, workers(1));
    assert!(told(&manager).starts_with("READY=1\n"));
    drop(server);
    assert_eq!(told(&manager), "STOPPING=1\nSTATUS=stopping");
}

/// systemd ignores messages of more than 4,096 bytes.
#[test]
fn a_status_is_not_too_long() {
    let folder = Scratch::new();
    let manager = UnixDatagram::bind(folder.path("notify")).expect("a socket");
    let systemd = Systemd::at(folder.path("notify"), None).expect("an address");
    systemd.status(&"\u{e4}".repeat(5000));
    assert_eq!(
        told(&manager),
        format!("STATUS={} ...", "\u{e4}".repeat(128))
    );
    let mut server = Server::from_fn(|_, res| res.text("hi")).config(workers(1));
    for _ in 0..200 {
        server = server.bind(own_addr());
    }
    let server = server.systemd(&systemd).start().expect("a server");
    let text = told(&manager);
    assert!(
        text.starts_with("READY=1\nSTATUS=serving at http://127."),
        "{text}"
    );
    assert!(text.ends_with(" ...") && text.len() < 300, "{text}");
    drop(server);
}

/// A service that has said so and is not heard would be ended.
#[test]
fn ready_waits_while_the_queue_of_the_manager_is_full() {
    let folder = Scratch::new();
    let manager = UnixDatagram::bind(folder.path("notify")).expect("a socket");
    let systemd = Systemd::at(folder.path("notify"), None).expect("an address");
    let other = UnixDatagram::unbound().expect("a socket");
    other.set_nonblocking(true).expect("a socket");
    while other.send_to(b"X=1", folder.path("notify")).is_ok() {}
    // Pings and texts do not wait.
    systemd.status("lost");
    let (begins, begun) = std::sync::mpsc::channel();
    let sender = std::thread::spawn(move || {
        begins.send(()).expect("it waits");
        systemd.ready();
    });
    begun.recv_timeout(PATIENCE).expect("it begins");
    let text = std::iter::repeat_with(|| told(&manager)).find(|text| text != "X=1");
    assert_eq!(text.as_deref(), Some("READY=1"));
    sender.join().expect("no panic");
}

#[test]
fn a_server_does_not_need_systemd() {
    let folder = Scratch::new();
    let absent = Systemd::at(folder.path("absent"), Some(Duration::from_millis(10)));
    let server = start(&absent.expect("an address"), workers(1));
    let addr = server.local_addr().expect("an address");
    assert_eq!(Client::connect(addr).get("/").text(), "hi");
    for address in [
        "",
        "@",
        "relative",
        "vsock:1:2",
        &format!("/{}", "a".repeat(200)),
    ] {
        assert!(Systemd::at(address, None).is_err(), "{address}");
    }
}

/// The watchdog is for a handler that never returns.
#[test]
fn a_worker_that_is_stuck_stops_the_pings() {
    let folder = Scratch::new();
    let manager = UnixDatagram::bind(folder.path("notify")).expect("a socket");
    let watchdog = Some(Duration::from_millis(200));
    let systemd = Systemd::at(folder.path("notify"), watchdog).expect("an address");
    assert_eq!(systemd.watchdog(), watchdog);
    let (stuck, released) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let (enter, leave) = (stuck.clone(), released.clone());
    let app = move |req: &peregrine::Request<'_>, res: peregrine::Response<'_>| {
        if req.path() == "/stuck" {
            enter.wait();
            leave.wait();
        }
        res.text("hi")
    };
    let server = Server::from_fn(app).config(workers(2)).systemd(&systemd);
    let server = server.bind(own_addr()).start().expect("a server");
    assert!(told(&manager).starts_with("READY=1\n"));
    // Idle workers respond, and so do busy ones.
    assert_eq!(told(&manager), "WATCHDOG=1");
    let mut client = Client::connect(server.local_addr().expect("an address"));
    assert_eq!(client.get("/").text(), "hi");
    assert_eq!(told(&manager), "WATCHDOG=1");
    client.send("GET /stuck HTTP/1.1\r\nHost: a\r\n\r\n");
    stuck.wait();
    // At most one more is on its way.
    manager
        .set_read_timeout(Some(Duration::from_secs(1)))
        .expect("a socket");
    wait_until("no ping comes", || {
        let silence = manager.recv(&mut [0; 64]).err();
        silence.is_some_and(|error| error.kind() == ErrorKind::WouldBlock)
    });
    released.wait();
    assert_eq!(client.answer(super::support::Asked::Other).text(), "hi");
    assert_eq!(told(&manager), "WATCHDOG=1");
}
