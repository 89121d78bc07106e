//! What changes on the disk, and the other things that are served like a folder: one file, files in
//! the program, many in one connection.

use crate::scratch::{Scratch, THEN, ask, get};
use crate::support::Answer;
use peregrine::Limits;
use peregrine::files::{DirConfig, DirServer, Embedded, FileServer};
use peregrine::testing::Connection;
use std::fs;
use std::time::Duration;

#[track_caller]
fn serve(scratch: &Scratch, config: DirConfig) -> DirServer {
    DirServer::with_config(scratch.root(), config).expect("a folder")
}

#[track_caller]
fn assert_is(answer: &Answer, status: u16, text: &str) {
    assert_eq!((answer.status, answer.text()), (status, text));
}

fn always() -> DirConfig {
    DirConfig::default().recheck(Duration::ZERO)
}

#[test]
fn changes_on_the_disk_are_seen() {
    let scratch = Scratch::new();
    for hot_file_bytes in [0, 1000] {
        let config = always().hot_file_bytes(hot_file_bytes);
        let server = serve(&scratch, config);
        assert_eq!(get(&server, "/a.txt").status, 404);
        scratch.write("a.txt", "one");
        let one = get(&server, "/a.txt");
        assert_is(&one, 200, "one");
        // The same length and the same time, as some tools make them, and within one tick of the
        // file system's clock, perhaps.
        scratch.write("a.txt", "two");
        let two = get(&server, "/a.txt");
        assert_is(&two, 200, "two");
        assert_ne!(one.get("etag"), two.get("etag"));
        scratch.write_at("new", "three", THEN + 1);
        fs::rename(scratch.path("new"), scratch.path("a.txt")).expect("renamed");
        let three = get(&server, "/a.txt");
        assert_is(&three, 200, "three");
        let later = Some("Wed, 01 Jan 2020 00:00:01 GMT");
        assert_eq!(three.get("last-modified"), later);
        // A coding of it comes and goes.
        scratch.write_at("a.txt.gz", "zip", THEN + 1);
        let gzip = "Accept-Encoding: gzip\r\n";
        assert_is(&ask(&server, "GET", "/a.txt", gzip), 200, "zip");
        fs::remove_file(scratch.path("a.txt.gz")).expect("removed");
        assert_is(&ask(&server, "GET", "/a.txt", gzip), 200, "three");
        fs::remove_file(scratch.path("a.txt")).expect("removed");
        assert_eq!(get(&server, "/a.txt").status, 404);
        // An index, too.
        scratch.write("sub/index.html", "index");
        assert_is(&get(&server, "/sub/"), 200, "index");
        fs::remove_dir_all(scratch.path("sub")).expect("removed");
        assert_eq!(get(&server, "/sub/").status, 404);
    }
}

/// Archives, images and package stores leave out the times of files: all versions have the same.
#[test]
fn a_time_without_meaning_is_no_validator() {
    let scratch = Scratch::new();
    let server = serve(&scratch, always());
    for (modified, is_told) in [(0, false), (1, false), (2, true)] {
        scratch.write_at("a.txt", "one", modified);
        let one = get(&server, "/a.txt");
        assert_eq!(one.get("last-modified").is_some(), is_told, "{modified}");
        scratch.write_at("a.txt", "two", modified);
        let since = "If-Modified-Since: Thu, 01 Jan 1970 00:00:02 GMT\r\n";
        let status = if is_told { 304 } else { 200 };
        let two = ask(&server, "GET", "/a.txt", since);
        assert_eq!(two.status, status, "{modified}");
        let tag = one.get("etag").expect("a tag");
        let since = format!("If-None-Match: {tag}\r\n");
        assert_is(&ask(&server, "GET", "/a.txt", &since), 200, "two");
    }
}

/// The copy in memory is sent until it is checked again.
#[test]
fn between_checks_the_disk_is_not_read() {
    let scratch = Scratch::new();
    scratch.write("a.txt", "one");
    let config = DirConfig::default().recheck(Duration::from_secs(3600));
    let server = serve(&scratch, config);
    assert_is(&get(&server, "/a.txt"), 200, "one");
    fs::remove_file(scratch.path("a.txt")).expect("removed");
    assert_is(&get(&server, "/a.txt"), 200, "one");
}

/// The whole tree is exchanged by a link, as when a site is deployed.
#[cfg(unix)]
#[test]
fn a_root_that_is_a_link_may_be_moved() {
    use std::os::unix::fs::symlink;
    let scratch = Scratch::new();
    scratch.write("one/a.txt", "one");
    scratch.write("two/a.txt", "two");
    let current = scratch.outside().join("current");
    symlink("site/one", &current).expect("a link");
    let server = DirServer::with_config(&current, always()).expect("a folder");
    assert_is(&get(&server, "/a.txt"), 200, "one");
    let next = scratch.outside().join("next");
    symlink("site/two", &next).expect("a link");
    fs::rename(&next, &current).expect("renamed");
    assert_is(&get(&server, "/a.txt"), 200, "two");
}

#[test]
fn one_file() {
    let scratch = Scratch::new();
    scratch.write("icon.svg", "<svg/>");
    scratch.write("icon.svg.gz", "zipped");
    let file = FileServer::with_config(scratch.path("icon.svg"), always()).expect("a file");
    for path in ["/", "/favicon.ico", "/../x"] {
        let answer = get(&file, path);
        assert_is(&answer, 200, "<svg/>");
        assert_eq!(answer.get("content-type"), Some("image/svg+xml"));
    }
    assert_is(
        &ask(&file, "GET", "/", "Accept-Encoding: gzip\r\n"),
        200,
        "zipped",
    );
    assert_is(&ask(&file, "GET", "/", "Range: bytes=1-3\r\n"), 206, "svg");
    assert_eq!(ask(&file, "POST", "/", "").status, 405);
    fs::remove_file(scratch.path("icon.svg")).expect("removed");
    assert_eq!(get(&file, "/").status, 404);
    assert!(FileServer::new(scratch.root()).is_err());
    assert!(FileServer::new(scratch.path("icon.svg")).is_err());
}

#[test]
fn files_in_the_program() {
    let files: [(&str, &'static [u8]); 6] = [
        ("index.html", b"home"),
        ("sub/index.html", b"sub"),
        ("sub/a.js", b"plain text"),
        ("sub/a.js.br", b"brotli"),
        ("404.html", b"lost"),
        (".hidden", b"hidden"),
    ];
    let config = DirConfig::default().not_found("404.html").compress(false);
    let server = Embedded::new(files, config).expect("files");
    assert_is(&get(&server, "/"), 200, "home");
    assert_is(&get(&server, "/sub/"), 200, "sub");
    assert_eq!(get(&server, "/sub").get("location"), Some("/sub/"));
    assert_is(
        &ask(&server, "GET", "/sub/a.js", "Accept-Encoding: br\r\n"),
        200,
        "brotli",
    );
    assert_is(&get(&server, "/sub/a%2ejs"), 200, "plain text");
    for path in ["/x", "/.hidden", "/sub/../index.html", "/sub/x/"] {
        assert_is(&get(&server, path), 404, "lost");
    }
    assert_eq!(get(&server, "/%00").status, 400);
}

/// Answers of all kinds in one connection, each where the last one ends.
#[test]
fn pipelined() {
    let scratch = Scratch::new();
    scratch.write("small", "small");
    scratch.write("middle", vec![b'm'; 30_000]);
    scratch.write("large", vec![b'l'; 300_000]);
    let server = serve(&scratch, DirConfig::default());
    let mut client = Connection::with_limits(&server, Limits::default());
    let names = [
        "small", "large", "middle", "large", "missing", "small", "middle",
    ];
    for (i, name) in names.iter().enumerate() {
        let close = if i + 1 == names.len() {
            "close"
        } else {
            "keep-alive"
        };
        let request = format!("GET /{name} HTTP/1.1\r\nHost: a\r\nConnection: {close}\r\n\r\n");
        client.send(request.as_bytes());
    }
    let mut bytes = client.received();
    for name in names {
        let answer = crate::support::read_answer(bytes, crate::support::Asked::Other);
        let (answer, rest) = answer.expect("correct").expect("complete");
        bytes = rest;
        let expected: Vec<u8> = match name {
            "small" => b"small".to_vec(),
            "middle" => vec![b'm'; 30_000],
            "large" => vec![b'l'; 300_000],
            _ => b"nothing here\n".to_vec(),
        };
        assert!(answer.body == expected, "{name}");
    }
    assert!(bytes.is_empty() && client.is_closed());
}

/// A handler may put fields before the file's own.
#[test]
fn fields_of_the_handler_come_first() {
    let scratch = Scratch::new();
    scratch.write("a.txt", "text");
    let server = serve(&scratch, DirConfig::default());
    let app = peregrine::from_fn(move |req, res| {
        server.serve(req, res.header("X-Frame-Options", "DENY"))
    });
    let answer = get(&app, "/a.txt");
    assert_is(&answer, 200, "text");
    assert_eq!(answer.get("x-frame-options"), Some("DENY"));
    let old = {
        let mut client = Connection::new(&app);
        client.send(b"GET /a.txt HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        client.take_received()
    };
    let old = String::from_utf8(old).expect("text");
    assert!(old.contains("\r\nConnection: keep-alive\r\n") && old.ends_with("\r\n\r\ntext"));
}
