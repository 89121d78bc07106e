//! Entries of a folder that are not served: pipes, devices, links beside a file, siblings of another
//! owner. And the form of a name that is served.

use crate::scratch::{Scratch, ask, get};
use crate::support::Answer;
use peregrine::files::{DirConfig, DirServer, FileServer};
use std::fs;
use std::os::unix::fs::symlink;
#[cfg(target_os = "linux")]
use std::sync::mpsc;
use std::time::Duration;

const GZIP: &str = "Accept-Encoding: gzip\r\n";

/// Text that is larger than what lies beside it in these tests.
const TEXT: &str = "the text of the file";

fn always() -> DirConfig {
    DirConfig::default().recheck(Duration::ZERO).compress(false)
}

#[track_caller]
fn assert_is(answer: &Answer, status: u16, text: &str) {
    assert_eq!((answer.status, answer.text()), (status, text));
}

/// A call that may block for ever if it is wrong.
#[cfg(target_os = "linux")]
#[track_caller]
fn without_blocking<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(call()));
    let result = receiver.recv_timeout(Duration::from_secs(30));
    result.expect("a result, and no thread that waits for the other end")
}

#[cfg(target_os = "linux")]
fn pipe(path: &std::path::Path) {
    rustix::fs::mkfifoat(rustix::fs::CWD, path, 0o600.into()).expect("a pipe");
}

#[cfg(target_os = "linux")]
#[test]
fn a_pipe_is_never_waited_for() {
    let scratch = Scratch::new();
    scratch.write("logo.txt", TEXT);
    scratch.write("page.txt", TEXT);
    pipe(&scratch.path("logo.txt.gz"));
    pipe(&scratch.path("page.txt.br"));
    pipe(&scratch.path("pipe"));
    let file = FileServer::with_config(scratch.path("logo.txt"), always()).expect("a file");
    let folder = DirServer::with_config(scratch.root(), always()).expect("a folder");
    let all = "Accept-Encoding: gzip, br, zstd\r\n";
    let scratch = without_blocking(move || {
        assert_is(&ask(&file, "GET", "/", all), 200, TEXT);
        assert_is(&ask(&folder, "GET", "/page.txt", all), 200, TEXT);
        assert_eq!(get(&folder, "/pipe").status, 404);
        // In the place of the file itself, and by a link.
        fs::remove_file(scratch.path("logo.txt")).expect("removed");
        pipe(&scratch.path("logo.txt"));
        assert_eq!(get(&file, "/").status, 404);
        fs::remove_file(scratch.path("logo.txt")).expect("removed");
        symlink("pipe", scratch.path("logo.txt")).expect("a link");
        assert_eq!(get(&file, "/").status, 404);
        assert_eq!(get(&folder, "/logo.txt").status, 404);
        scratch
    });
    let path = scratch.path("pipe");
    let error =
        without_blocking(move || (FileServer::new(&path).err(), DirServer::new(&path).err()));
    assert!(error.0.is_some() && error.1.is_some());
}

/// Files that the system makes when they are read have no length.
#[cfg(target_os = "linux")]
#[test]
fn a_file_without_a_length_is_sent_whole() {
    let there = fs::read_to_string("/proc/sys/kernel/ostype").expect("read");
    assert!(!there.is_empty());
    for config in [always(), DirConfig::default()] {
        let folder = DirServer::with_config("/proc/sys/kernel", config).expect("a folder");
        assert_is(&get(&folder, "/ostype"), 200, &there);
        let part = ask(&folder, "GET", "/ostype", "Range: bytes=1-2\r\n");
        assert_is(&part, 206, &there[1..3]);
    }
    let file = FileServer::with_config("/proc/sys/kernel/ostype", always()).expect("a file");
    assert_is(&get(&file, "/"), 200, &there);
    // Not what a client would take for an empty file.
    let config = always().hot_file_bytes(2);
    let folder = DirServer::with_config("/proc/sys/kernel", config).expect("a folder");
    assert_eq!(get(&folder, "/ostype").status, 503);
}

/// An open alone can act: it wakes the writer of a pipe, starts a watchdog, winds a tape back.
#[cfg(target_os = "linux")]
#[test]
fn only_files_are_opened() {
    use rustix::fs::inotify;
    let scratch = Scratch::new();
    scratch.write("a.txt", TEXT);
    scratch.write("b.txt", TEXT);
    pipe(&scratch.path("pipe"));
    pipe(&scratch.path("a.txt.gz"));
    symlink("pipe", scratch.path("link")).expect("a link");
    let file = FileServer::with_config(scratch.path("a.txt"), always()).expect("a file");
    let config = always().list(true);
    let folder = DirServer::with_config(scratch.root(), config).expect("a folder");
    let flags = inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC;
    let opened = inotify::init(flags).expect("a watch");
    for name in ["pipe", "a.txt.gz", "b.txt"] {
        let path = scratch.path(name);
        inotify::add_watch(&opened, path, inotify::WatchFlags::OPEN).expect("watched");
    }
    let mut events = [0; 4096];
    assert_is(&get(&file, "/"), 200, TEXT);
    for (path, status) in [
        ("/pipe", 404),
        ("/link", 404),
        ("/a.txt.gz", 404),
        ("/a.txt", 200),
        ("/", 200),
    ] {
        assert_eq!(get(&folder, path).status, status, "{path}");
        let seen = rustix::io::read(&opened, &mut events);
        assert_eq!(seen, Err(rustix::io::Errno::AGAIN), "{path} was opened");
    }
    // The watch works.
    assert_eq!(get(&folder, "/b.txt").status, 200);
    assert!(rustix::io::read(&opened, &mut events).is_ok());
}

#[test]
fn links_beside_a_file_are_not_followed() {
    let scratch = Scratch::new();
    fs::write(scratch.outside().join("secret"), "secret").expect("written");
    scratch.write("logo.txt", TEXT);
    symlink("../secret", scratch.path("logo.txt.gz")).expect("a link");
    let file = FileServer::with_config(scratch.path("logo.txt"), always()).expect("a file");
    assert_is(&ask(&file, "GET", "/", GZIP), 200, TEXT);
    // The file itself may be a link: the program has named it.
    symlink("logo.txt", scratch.path("named.txt")).expect("a link");
    let file = FileServer::with_config(scratch.path("named.txt"), always()).expect("a file");
    assert_is(&get(&file, "/"), 200, TEXT);
}

/// In a folder that several people write to, a file is its owner's in each coding.
#[test]
fn a_sibling_of_another_owner_is_passed_over() {
    let scratch = Scratch::new();
    scratch.write("a.txt", TEXT);
    scratch.write("a.txt.gz", "zipped");
    let folder = DirServer::with_config(scratch.root(), always()).expect("a folder");
    let file = FileServer::with_config(scratch.path("a.txt"), always()).expect("a file");
    assert_is(&ask(&folder, "GET", "/a.txt", GZIP), 200, "zipped");
    let given = std::os::unix::fs::chown(scratch.path("a.txt.gz"), Some(4711), None);
    if let Err(error) = given {
        println!("skipped: files cannot be given away: {error}");
        return;
    }
    assert_is(&ask(&folder, "GET", "/a.txt", GZIP), 200, TEXT);
    assert_is(&ask(&file, "GET", "/", GZIP), 200, TEXT);
    assert_is(&get(&folder, "/a.txt.gz"), 200, "zipped");
}

#[test]
fn errors_name_the_path() {
    let scratch = Scratch::new();
    scratch.write("file", "x");
    use std::io::ErrorKind as Kind;
    for (path, of_folder, of_file) in [
        ("missing", Some(Kind::NotFound), Some(Kind::NotFound)),
        ("file", Some(Kind::NotADirectory), None),
        ("", None, Some(Kind::IsADirectory)),
    ] {
        let path = scratch.path(path);
        let folder = DirServer::new(&path).err();
        let file = FileServer::new(&path).err();
        for (error, kind) in [(folder, of_folder), (file, of_file)] {
            assert_eq!(error.as_ref().map(std::io::Error::kind), kind, "{path:?}");
            if let Some(error) = error {
                let text = error.to_string();
                assert!(text.contains(&*path.to_string_lossy()), "{text}");
            }
        }
    }
}

/// Names that mean something elsewhere, or hold what cannot be seen: as bytes, and as a request writes
/// them. The last three are good names on every system.
const UNUSUAL: &[(&[u8], &str)] = &[
    (b"my:file", "my:file"),
    (b"2019-01-01 12:00:11.log", "2019-01-01%2012:00:11.log"),
    (b"trail.", "trail."),
    (b"blank ", "blank%20"),
    (b"aux.js", "aux.js"),
    (b"con", "con"),
    (b"back\\slash", "back%5Cslash"),
    (b"star*?\"<>|", "star*%3F%22%3C%3E%7C"),
    (b"short~1", "short~1"),
    (b"line\nbreak", "line%0Abreak"),
    (b"latin\xe9.txt", "latin%E9.txt"),
    (b"\xc0\xae\xc0\xae", "%c0%ae%c0%ae"),
    (
        "\u{645}\u{6cc}\u{200c}\u{62e}.txt".as_bytes(),
        "%D9%85%DB%8C%E2%80%8C%D8%AE.txt",
    ),
    (
        "\u{1f468}\u{200d}\u{1f469}".as_bytes(),
        "%F0%9F%91%A8%E2%80%8D%F0%9F%91%A9",
    ),
    ("soft\u{ad}hyphen".as_bytes(), "soft%C2%ADhyphen"),
];

/// Names that are hidden; most of them once they are judged without what cannot be seen in them.
const HIDDEN: &[(&[u8], &str)] = &[
    ("\u{200b}.git".as_bytes(), "%E2%80%8B.git"),
    (".\u{200d}git".as_bytes(), ".%E2%80%8Dgit"),
    ("\u{ad}.env".as_bytes(), "%C2%AD.env"),
    ("\u{e0001}.env".as_bytes(), "%F3%A0%80%81.env"),
    ("\u{61c}..".as_bytes(), "%D8%9C.."),
    ("\u{feff}".as_bytes(), "%EF%BB%BF"),
    (b".hidden\xe9", ".hidden%E9"),
    (b"..\\secret", "..%5Csecret"),
    (b"...", "..."),
];

#[test]
fn every_name_of_the_system_is_served_and_listed() {
    use std::os::unix::ffi::OsStrExt;
    let scratch = Scratch::new();
    let write = |name: &[u8]| {
        let path = scratch.root().join(std::ffi::OsStr::from_bytes(name));
        // Not every file system takes every name.
        fs::write(path, name).is_ok()
    };
    let taken = |names: &[(&'static [u8], &'static str)]| -> Vec<(&'static [u8], &'static str)> {
        names
            .iter()
            .copied()
            .filter(|(name, _)| write(name))
            .collect()
    };
    let (unusual, hidden) = (taken(UNUSUAL), taken(HIDDEN));
    assert!(unusual.len() >= 8);
    let config = always().list(true);
    let server = DirServer::with_config(scratch.root(), config.clone()).expect("a folder");
    let list = get(&server, "/");
    let listed: Vec<_> = list.text().split("href=\"./").skip(1).collect();
    for (name, path) in &unusual {
        let answer = get(&server, &format!("/{path}"));
        assert_eq!((answer.status, &answer.body[..]), (200, *name), "{path}");
    }
    for (_, path) in &hidden {
        assert_eq!(get(&server, &format!("/{path}")).status, 404, "{path}");
    }
    // Every link of the list leads to one of them.
    assert_eq!(listed.len(), unusual.len());
    for link in listed {
        let path = link.split('"').next().expect("an end");
        assert_eq!(get(&server, &format!("/{path}")).status, 200, "{path}");
    }
    // What is shown has no character that breaks a line, turns its direction or hides in it.
    let is_harmless = |c: char| c == '\n' || !(c.is_control() || c == '\u{ad}');
    assert!(list.text().chars().all(is_harmless));

    let config = config.portable(true);
    let server = DirServer::with_config(scratch.root(), config).expect("a folder");
    let list = get(&server, "/");
    let mut served = 0;
    for (name, path) in &unusual {
        let status = get(&server, &format!("/{path}")).status;
        match UNUSUAL[UNUSUAL.len() - 3..].contains(&(name, path)) {
            true => assert_eq!(status, 200, "{path}"),
            false => assert!(matches!(status, 400 | 404), "{path}: {status}"),
        }
        served += usize::from(status == 200);
    }
    assert_eq!(list.text().matches("href=\"./").count(), served);
}
