//! What belongs to the whole process stays as the program has it.

use super::alone::this_program;
use super::served::{Served, path, plain, serve};
use super::support::{Client, OnOwnAddr, ended, workers};
use peregrine::{Server, from_fn};
use rustix::process::Signal;
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicU64, Ordering};

/// The server's process; see [`Served`].
#[test]
#[ignore = "for the others of this file"]
fn server() {
    serve(plain(from_fn(path)));
}

/// A server that was not asked to handle signals leaves their default action.
#[test]
fn a_signal_ends_the_process_by_default() {
    for signal in [Signal::TERM, Signal::INT] {
        let server = Served::start("embedded::server", "", &[]);
        assert_eq!(Client::connect(server.addr).get("/").status, 200);
        if server.ignores(signal) {
            eprintln!(
                "skipped: {signal:?} is ignored in this program, and `env` cannot reset that"
            );
            continue;
        }
        let status = server.end_by(signal);
        assert_eq!(status.signal(), Some(signal.as_raw()), "{status}");
    }
}

/// A process of its own, because other tests change what this one compares.
#[test]
fn a_server_changes_nothing_of_the_process() {
    let mut command = this_program("umask 027", "embedded::nothing_changes");
    let output = command.env(MARK, "1").output().expect("started");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("compared"),
        "{text}"
    );
}

const MARK: &str = "PEREGRINE_TEST_EMBEDDED";

#[test]
#[ignore = "for the test above"]
fn nothing_changes() {
    static PANICS: AtomicU64 = AtomicU64::new(0);
    if std::env::var_os(MARK).is_none() {
        return;
    }
    std::panic::set_hook(Box::new(|panic| {
        println!("{panic}");
        PANICS.fetch_add(1, Ordering::Relaxed);
    }));
    let before = of_process();
    let app = from_fn(|req, res| match req.path() {
        "/panic" => panic!("by the handler"),
        path => res.text(path),
    });
    let server = Server::new(app).config(workers(2)).on_own_addr();
    let server = server.start().expect("a server");
    let addr = server.local_addr().expect("a TCP address");
    assert_eq!(Client::connect(addr).get("/").status, 200);
    assert_eq!(Client::connect(addr).get("/panic").status, 500);
    assert_eq!(PANICS.load(Ordering::Relaxed), 1, "the hook is ours");
    compare(&before, "while it runs");
    server.stop();
    ended(server);
    compare(&before, "after its end");
    println!("compared");
}

fn compare(before: &[(&'static str, String)], when: &str) {
    for (was, is) in before.iter().zip(of_process()) {
        assert!(*was == is, "{} {when}", was.0);
    }
}

/// Signals, umask, limits, environment and current folder.
fn of_process() -> Vec<(&'static str, String)> {
    let read = |path| std::fs::read_to_string(path).expect("readable");
    let status = read("/proc/self/status");
    let line = |name| {
        let line = status.lines().find(|line| line.starts_with(name));
        (name, line.expect("in every kernel").to_owned())
    };
    vec![
        line("SigIgn:"),
        line("SigCgt:"),
        line("Umask:"),
        ("limits", read("/proc/self/limits")),
        (
            "environment",
            format!("{:?}", std::env::vars_os().collect::<Vec<_>>()),
        ),
        ("folder", format!("{:?}", std::env::current_dir())),
    ]
}
