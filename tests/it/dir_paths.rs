//! Paths that must not lead out of the folder. The list is of what has led out of other servers:
//! encodings once and twice, overlong UTF-8, bytes that are no text, characters that cannot be seen,
//! separators and devices of Windows, links, and folders that become links while they are served.

use crate::scratch::{Scratch, ask, get};
use crate::support::{Client, start, workers};
use peregrine::files::{DirConfig, DirServer};
use std::fs;

const SECRET: &[u8] = b"the secret outside";

/// Each after `GET`; `secret` lies beside the root.
const HOSTILE: &str = r"
/../secret
/../../secret
/../../../../../../../../etc/passwd
/..
/../
/./../secret
/a/../../secret
/a/b/../../../secret
/a/..
/a/../
/a/../index.html
/a/./b
/.
/./
/./index.html
//secret
//etc/passwd
///etc/passwd
/a//b
//
/index.html/..
/index.html/../../secret
/index.html/
/index.html/x
/%2e%2e/secret
/%2E%2E/secret
/%2e./secret
/.%2e/secret
/%2e%2e%2fsecret
/%2e%2e%2Fsecret
/..%2fsecret
/..%2f..%2fsecret
/a%2f..%2f..%2fsecret
/a/%2e%2e/%2e%2e/secret
/a/..%2f../secret
/%2fetc/passwd
/%2f%2fetc%2fpasswd
/%2fetc%2fpasswd
/a%2fb
/%252e%252e/secret
/%252e%252e%252fsecret
/..%252fsecret
/..%25252fsecret
/%25%32%65%25%32%65/secret
/%%32%65%%32%65/secret
/%%35%63..%%35%63secret
/%c0%ae%c0%ae/secret
/%c0%ae%c0%ae%c0%afsecret
/..%c0%afsecret
/..%c1%9csecret
/%e0%80%ae%e0%80%ae/secret
/..%e0%80%afsecret
/%f0%80%80%ae%f0%80%80%ae/secret
/%f8%80%80%80%ae/secret
/%fc%80%80%80%80%ae/secret
/..%ef%bc%8fsecret
/%ef%bc%8e%ef%bc%8e/secret
/%u002e%u002e/secret
/%uff0e%uff0e/secret
/..%u2215secret
/..%u2216secret
/..%bg%qfsecret
/%2
/%
/%zz
/%ff
/%fe%ff
/%80
/%00
/index.html%00
/index.html%00.png
/%00/../secret
/..%00/secret
/..%00%2fsecret
/a%00b
/..\secret
/..\..\secret
/a\..\..\secret
/%5c..%5csecret
/..%5csecret
/..%5C..%5Csecret
/%5c%5cserver%5cshare%5csecret
/\\server\share
/%2e%2e%5csecret
/..%255csecret
/C:/windows/win.ini
/c:%5cwindows%5cwin.ini
/C:secret
/c%3a/secret
/%43%3a%5csecret
/file:///etc/passwd
/index.html:stream
/index.html::$DATA
/index.html%3a%3a$DATA
/con
/CON
/con.txt
/con.tar.gz
/aux
/aux.html
/nul
/NUL
/nul.txt
/prn
/com1
/COM9.log
/lpt1
/LPT9.txt
/com%c2%b9
/conin$
/CONOUT$
/clock$
/a/con
/a/nul.txt
/con%20
/con%20.txt
/index.html.
/index.html%2e
/index.html%20
/index.html...
/a./b
/...
/..../secret
/.../secret
/a%20/b
/%20
/.hidden
/.git/config
/.git
/%2egit/config
/%2Egit/config
/a/.hidden
/.htpasswd
/.env
/a/.well-known/x
/%e2%80%8b.git/config
/.%e2%80%8b./secret
/%ef%bb%bf../secret
/%ad../secret
/..;/secret
/..;/..;/secret
/a/..;/..;/secret
/..%3b/secret
/.;/secret
/%0a../secret
/..%0d%0a/secret
/%0d%0aSet-Cookie:%20a=b
/index.html%0d%0aX:%20y
/%09../secret
/%7f
/a%1fb
/~
/~root/secret
/-/../secret
/..%20/secret
/%20../secret
/.%20./secret
/.%2e%20/secret
/../site/index.html
/../site
/proc/self/cwd/secret
/proc/1/cwd/etc/passwd
/dev/null
/etc/passwd
/out
/out/
/out-file
/out/secret
/up
/up/
/up/secret
/up/../secret
/loop
/loop/secret
/absolute
/absolute/secret
/in-up-out/secret
/pipe
/a/out-again/secret
/%2fout/secret
/%ff%2e%2e/secret
/..%ff/secret
/%ff/../secret
/..%5c..%2fsecret
/a%5c..%5c..%2fsecret
/%e2%80%8d../secret
/.%e2%80%8c./secret
/%c2%ad../secret
/..%d8%9c/secret
/%f3%a0%80%81../secret
/%e2%80%a8.git/config
/.%c2%adgit/config
/%e2%80%8c.hidden
/a/%e2%80%8d.hidden
/%e2%80%8e%e2%80%8e
/.%ff
/.git%ff/config
/..:/secret
/C:%2fsecret
/..%20%2fsecret
/.%0a./secret
";

/// The names that only links lead out by.
#[cfg(unix)]
fn add_links(scratch: &Scratch) {
    use std::os::unix::fs::symlink;
    let outside = scratch.outside();
    for (target, name) in [
        ("..", "up"),
        ("../secret", "out-file"),
        ("loop", "loop"),
        ("a/../..", "in-up-out"),
        ("../..", "a/out-again"),
        ("a/b.txt", "in"),
        ("a", "in-folder"),
        ("../in-folder/b.txt", "a/in-again"),
    ] {
        symlink(target, scratch.path(name)).expect("a link");
    }
    symlink(outside, scratch.path("out")).expect("a link");
    symlink(outside, scratch.path("absolute")).expect("a link");
    // rustix has it for fewer systems than there are.
    #[cfg(target_os = "linux")]
    rustix::fs::mkfifoat(rustix::fs::CWD, scratch.path("pipe"), 0o600.into()).expect("a pipe");
}

#[cfg(not(unix))]
fn add_links(_: &Scratch) {}

fn scratch() -> Scratch {
    let scratch = Scratch::new();
    fs::write(scratch.outside().join("secret"), SECRET).expect("written");
    for name in [
        "index.html",
        "a/b.txt",
        ".hidden",
        ".git/config",
        "a/.hidden",
        ".env",
    ] {
        scratch.write(name, name);
    }
    add_links(&scratch);
    scratch
}

fn hostile() -> impl Iterator<Item = &'static str> {
    HOSTILE.lines().filter(|line| !line.is_empty())
}

/// Nothing that tells of the machine either.
fn check(path: &str, status: u16, bytes: &[u8], scratch: &Scratch) -> Result<(), String> {
    let has = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    let place = scratch.outside().to_string_lossy().into_owned();
    if !matches!(status, 400 | 404) {
        return Err(format!("{path}: {status}"));
    }
    for part in [SECRET, b"root:", b"daemon", place.as_bytes(), b"os error"] {
        if has(part) {
            return Err(format!("{path}: {}", bytes.escape_ascii()));
        }
    }
    Ok(())
}

#[test]
fn none_of_the_paths_leads_out() {
    let scratch = scratch();
    assert!(hostile().count() >= 120);
    for (symlinks, list, portable) in [
        (true, false, false),
        (false, true, false),
        (true, true, false),
        (true, true, true),
    ] {
        let config = DirConfig::default()
            .symlinks(symlinks)
            .list(list)
            .portable(portable);
        let server = DirServer::with_config(scratch.root(), config).expect("a folder");
        let mut failures = Vec::new();
        for path in hostile() {
            for method in ["GET", "HEAD"] {
                let answer = ask(&server, method, path, "");
                failures.extend(check(path, answer.status, &answer.body, &scratch).err());
            }
        }
        assert!(failures.is_empty(), "\n{}", failures.join("\n"));
        // And what may be served is.
        assert_eq!(get(&server, "/index.html").text(), "index.html");
        assert_eq!(get(&server, "/a/b.txt").text(), "a/b.txt");
        assert_eq!(get(&server, "/%61/b%2etxt").text(), "a/b.txt");
    }
}

/// Windows ends paths of programs that do not ask for more at 260 characters, and other systems at 1,024 or 4,096 bytes.
#[test]
fn long_paths_are_served_or_not_there() {
    let scratch = scratch();
    let deep = vec!["d".repeat(100); 8].join("/");
    let (longest, too_long) = ("n".repeat(255), "n".repeat(256));
    let server = DirServer::with_config(scratch.root(), DirConfig::default().list(true));
    let server = server.expect("a folder");
    for name in [
        &format!("{deep}/file.txt"),
        &longest,
        &format!("d/{longest}"),
    ] {
        scratch.write(name, "far down");
        let answer = get(&server, &format!("/{name}"));
        assert_eq!((answer.status, answer.text()), (200, "far down"), "{name}");
    }
    let list = get(&server, &format!("/{deep}/"));
    assert!(list.status == 200 && list.text().contains("file.txt"));
    for path in [
        format!("/{too_long}"),
        format!("/{deep}/{too_long}"),
        format!("/{deep}/absent"),
        // More than any system has.
        format!("/{}", vec!["n".repeat(255); 31].join("/")),
    ] {
        assert_eq!(get(&server, &path).status, 404, "{path}");
    }
}

#[test]
fn none_of_the_paths_leads_out_over_sockets() {
    let scratch = scratch();
    let server = DirServer::new(scratch.root()).expect("a folder");
    let (_running, addr) = start(server, workers(2));
    let mut failures = Vec::new();
    for path in hostile() {
        // What is no target at all costs the connection.
        let answer = Client::connect(addr).get(path);
        failures.extend(check(path, answer.status, &answer.body, &scratch).err());
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    let mut client = Client::connect(addr);
    assert_eq!(client.get("/index.html").text(), "index.html");
}

#[cfg(unix)]
#[test]
fn links_within_are_followed_if_they_may() {
    let scratch = scratch();
    for symlinks in [true, false] {
        let config = DirConfig::default().symlinks(symlinks).list(true);
        let server = DirServer::with_config(scratch.root(), config).expect("a folder");
        for path in ["/in", "/in-folder/b.txt", "/a/in-again"] {
            let answer = get(&server, path);
            match symlinks {
                true => assert_eq!((answer.status, answer.text()), (200, "a/b.txt"), "{path}"),
                false => assert_eq!(answer.status, 404, "{path}"),
            }
        }
        // A list has what would be served and nothing else.
        fs::create_dir_all(scratch.path("list")).expect("created");
        let list = get(&server, "/a/");
        assert_eq!(list.status, 200);
        assert_eq!(list.text().contains("in-again"), symlinks);
        for hidden in ["out-again", ".hidden"] {
            assert!(!list.text().contains(hidden), "{hidden}");
        }
    }
}

/// A folder is exchanged for a link that leads out, again and again, while it is served: by name,
/// so that the check and the use could see different things.
#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_becomes_a_link_leads_nowhere() {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicBool, Ordering};

    let scratch = Scratch::new();
    let elsewhere = scratch.outside().join("elsewhere");
    fs::create_dir_all(&elsewhere).expect("created");
    fs::write(elsewhere.join("file"), SECRET).expect("written");
    scratch.write("swap/file", b"inside");
    symlink("../elsewhere", scratch.path("other")).expect("a link");
    let config = DirConfig::default().recheck(std::time::Duration::ZERO);
    let server = DirServer::with_config(scratch.root(), config).expect("a folder");
    let (_running, addr) = start(server, workers(2));

    let done = AtomicBool::new(false);
    let (swap, other) = (scratch.path("swap"), scratch.path("other"));
    let exchange = || renameat_with(CWD, &swap, CWD, &other, RenameFlags::EXCHANGE);
    if let Err(error) = exchange().and_then(|()| exchange()) {
        println!("skipped: the file system exchanges no names: {error}");
        return;
    }
    /// Lets the exchanging thread end, whatever ends the other.
    struct Over<'a>(&'a AtomicBool);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                exchange().expect("exchanged");
            }
        });
        let _over = Over(&done);
        let mut client = Client::connect(addr);
        for _ in 0..5000 {
            let answer = client.get("/swap/file");
            match (answer.status, &answer.body[..]) {
                (200, b"inside") | (404, _) => {}
                _ => panic!("{answer:?}"),
            }
        }
    });
}
