//! Responses of a served folder: types, methods, folders, codings, pages of its own.

use crate::scratch::{AN_HOUR, Scratch, THEN, ask, get};
use crate::support::Answer;
use peregrine::files::{DirConfig, DirServer, Embedded, FileServer};

#[track_caller]
fn serve(scratch: &Scratch, config: DirConfig) -> DirServer {
    DirServer::with_config(scratch.root(), config).expect("a folder")
}

#[track_caller]
fn assert_is(answer: &Answer, status: u16, text: &str) {
    assert_eq!((answer.status, answer.text()), (status, text));
}

#[test]
fn content_types() {
    let scratch = Scratch::new();
    let kinds = [
        ("a.html", "text/html; charset=utf-8"),
        ("a.css", "text/css; charset=utf-8"),
        ("a.js", "text/javascript; charset=utf-8"),
        ("a.txt", "text/plain; charset=utf-8"),
        ("a.json", "application/json"),
        ("a.svg", "image/svg+xml"),
        ("a.png", "image/png"),
        ("a.woff2", "font/woff2"),
        ("a.mp4", "video/mp4"),
        ("a.wasm", "application/wasm"),
        ("A.HTML", "text/html; charset=utf-8"),
        ("a.own", "application/x-own"),
        ("a.unknown", "application/octet-stream"),
        ("none", "application/octet-stream"),
    ];
    kinds.iter().for_each(|(name, _)| scratch.write(name, name));
    let types = vec![("own".to_owned(), "application/x-own".to_owned())];
    let server = serve(&scratch, DirConfig::default().types(types));
    for (name, kind) in kinds {
        let answer = get(&server, &format!("/{name}"));
        assert_eq!(answer.get("content-type"), Some(kind), "{name}");
        assert_eq!(answer.get("x-content-type-options"), Some("nosniff"));
    }
}

#[test]
fn only_get_and_head() {
    let scratch = Scratch::new();
    scratch.write("a.txt", "text");
    let server = serve(&scratch, DirConfig::default());
    let file = FileServer::new(scratch.path("a.txt")).expect("a file");
    // RFC 9110 section 9.1: a method that is known, and one that is not.
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"] {
        for path in ["/a.txt", "/missing"] {
            for answer in [ask(&server, method, path, ""), ask(&file, method, path, "")] {
                let allow = answer.get("allow");
                assert_eq!((answer.status, allow), (405, Some("GET, HEAD")), "{method}");
            }
        }
    }
    for method in ["get", "ABC", "PROPFIND"] {
        for answer in [
            ask(&server, method, "/a.txt", ""),
            ask(&file, method, "/", ""),
        ] {
            assert_eq!(
                (answer.status, answer.get("allow")),
                (501, None),
                "{method}"
            );
        }
    }
    let (get, head) = (get(&server, "/a.txt"), ask(&server, "HEAD", "/a.txt", ""));
    assert_is(&get, 200, "text");
    assert_is(&head, 200, "");
    assert_eq!(get.fields, head.fields);
}

#[test]
fn folders_have_an_index_and_a_slash() {
    let scratch = Scratch::new();
    scratch.write("index.html", "home");
    scratch.write("sub/index.html", "sub");
    scratch.write("bare/a.txt", "a");
    let server = serve(&scratch, DirConfig::default());
    assert_is(&get(&server, "/"), 200, "home");
    assert_is(&get(&server, "/sub/"), 200, "sub");
    assert_is(&get(&server, "/sub/index.html"), 200, "sub");
    assert_eq!(get(&server, "/bare/").status, 404);
    for (path, place) in [
        ("/sub", "/sub/"),
        ("/sub?a=b/c", "/sub/?a=b/c"),
        ("/%73ub", "/%73ub/"),
        ("http://a/sub", "/sub/"),
    ] {
        let answer = get(&server, path);
        assert_eq!((answer.status, answer.get("location")), (301, Some(place)));
    }
}

/// A location that begins with two slashes would be another host's.
#[test]
fn a_redirect_stays_on_its_host() {
    let scratch = Scratch::new();
    scratch.write("evil.example/index.html", "x");
    let server = serve(&scratch, DirConfig::default());
    let app = peregrine::from_fn(move |req, res| server.serve_path("/evil.example", req, res));
    let answer = get(&app, "//evil.example");
    assert_eq!(answer.get("location"), Some("/evil.example/"));
}

#[test]
fn a_prefix_is_taken_off() {
    let scratch = Scratch::new();
    scratch.write("index.html", "home");
    scratch.write("a.txt", "a");
    let prefix = "/files".to_owned();
    let server = serve(&scratch, DirConfig::default().prefix(prefix));
    assert_is(&get(&server, "/files/a.txt"), 200, "a");
    assert_is(&get(&server, "/files/"), 200, "home");
    assert_eq!(get(&server, "/files").get("location"), Some("/files/"));
    assert_eq!(ask(&server, "POST", "/files", "").status, 405);
    for path in [
        "/a.txt",
        "/",
        "/filesa.txt",
        "/files../a.txt",
        "/files/../a.txt",
    ] {
        assert_eq!(get(&server, path).status, 404, "{path}");
    }
}

#[test]
fn configurations_that_cannot_work_are_refused() {
    let scratch = Scratch::new();
    let default = DirConfig::default;
    let pair = |a: &str, b: &str| vec![(a.to_owned(), b.to_owned())];
    for config in [
        default().prefix("x"),
        default().prefix("/x/"),
        default().cache_control("a\r\nb: c"),
        default().headers(pair("bad name", "x")),
        default().headers(pair("a", "x\r\ny: z")),
        default().headers(pair("Keep-Alive", "timeout=5")),
        default().headers(pair("ETag", "x")),
        default().types(pair("a", "x\n")),
        default().cache_rules(pair("/", "x\n")),
        default().spa("../index.html"),
        default().not_found(".hidden.html"),
        default().index(["index.html", ".hidden"]),
        default().index(["../index.html"]),
    ] {
        let server = DirServer::with_config(scratch.root(), config.clone());
        let error = server.expect_err("an invalid setting");
        let error = error
            .downcast::<peregrine::config::ConfigError>()
            .expect("of a setting");
        assert!(
            error
                .setting()
                .is_some_and(|name| name.starts_with("DirConfig::")),
            "{error}"
        );
    }
    assert!(DirServer::new(scratch.path("missing")).is_err());
    scratch.write("file", "x");
    assert!(DirServer::new(scratch.path("file")).is_err());
}

#[test]
fn caching_fields_by_path() {
    let scratch = Scratch::new();
    scratch.write("a.txt", "a");
    scratch.write("assets/b.txt", "b");
    let rule = (
        "/assets/".to_owned(),
        "max-age=31536000, immutable".to_owned(),
    );
    let config = DirConfig::default()
        .cache_rules([rule.clone()])
        .headers([("X-Own", "1")]);
    let server = serve(&scratch, config);
    let (a, b) = (get(&server, "/a.txt"), get(&server, "/assets/b.txt"));
    assert_eq!(a.get("cache-control"), Some("no-cache"));
    assert_eq!(b.get("cache-control"), Some(rule.1.as_str()));
    assert_eq!(a.get("x-own"), Some("1"));
    let config = DirConfig::default().cache_control(None);
    assert_eq!(
        get(&serve(&scratch, config), "/a.txt").get("cache-control"),
        None
    );
}

#[test]
fn precompressed_siblings() {
    let scratch = Scratch::new();
    scratch.write("a.js", "plain text");
    scratch.write("a.js.br", "brotli");
    scratch.write("a.js.zst", "zstd");
    scratch.write("a.js.gz", "gzip");
    scratch.write_at("stale.js", "new", THEN + 10);
    scratch.write("stale.js.gz", "old");
    scratch.write("alone.js", "alone");
    for hot_file_bytes in [0, 1000] {
        let config = DirConfig::default()
            .hot_file_bytes(hot_file_bytes)
            .recheck(AN_HOUR)
            .compress(false);
        let server = serve(&scratch, config);
        let mut tags = Vec::new();
        for (accept, body, coding) in [
            ("", "plain text", None),
            (
                "Accept-Encoding: gzip, deflate, br, zstd\r\n",
                "brotli",
                Some("br"),
            ),
            ("Accept-Encoding: gzip, deflate\r\n", "gzip", Some("gzip")),
            (
                "Accept-Encoding: br;q=0.5, zstd;q=0.6\r\n",
                "zstd",
                Some("zstd"),
            ),
            ("Accept-Encoding: br;q=0, *;q=0.1\r\n", "zstd", Some("zstd")),
            ("Accept-Encoding: identity\r\n", "plain text", None),
            ("Accept-Encoding: gzip;q=0\r\n", "plain text", None),
            ("Accept-Encoding:\r\n", "plain text", None),
        ] {
            let answer = ask(&server, "GET", "/a.js", accept);
            assert_is(&answer, 200, body);
            assert_eq!(answer.get("content-encoding"), coding);
            assert_eq!(answer.get("vary"), Some("Accept-Encoding"));
            let kind = answer.get("content-type");
            assert_eq!(kind, Some("text/javascript; charset=utf-8"));
            let tag = answer.get("etag").expect("a tag").to_owned();
            // 304 is about the coding that would be sent, and says what it depends on.
            let known = format!("{accept}If-None-Match: {tag}\r\n");
            let again = ask(&server, "GET", "/a.js", &known);
            assert_eq!(
                (again.status, again.get("vary")),
                (304, Some("Accept-Encoding"))
            );
            // So is a part.
            let part = ask(
                &server,
                "GET",
                "/a.js",
                &format!("{accept}Range: bytes=1-2\r\n"),
            );
            assert_is(&part, 206, &body[1..3]);
            assert_eq!(part.get("content-encoding"), coding);
            tags.push((body, tag));
        }
        tags.sort();
        tags.dedup();
        assert_eq!(tags.len(), 4, "one tag for each coding: {tags:?}");

        let gzip = "Accept-Encoding: gzip\r\n";
        assert_is(&ask(&server, "GET", "/stale.js", gzip), 200, "new");
        let alone = ask(&server, "GET", "/alone.js", gzip);
        assert_is(&alone, 200, "alone");
        assert_eq!(alone.get("vary"), None);
        // They are files, too.
        assert_is(&get(&server, "/a.js.gz"), 200, "gzip");
    }
}

/// It would take longer, and say no more.
#[test]
fn a_sibling_that_is_larger_is_not_sent() {
    const FILES: [(&str, &[u8]); 3] = [
        ("a.js", b"short"),
        ("a.js.gz", b"longer than that"),
        ("a.js.br", b"small"),
    ];
    let scratch = Scratch::new();
    FILES
        .iter()
        .for_each(|(name, bytes)| scratch.write(name, bytes));
    let folder = serve(&scratch, DirConfig::default());
    let tree = Embedded::new(FILES, DirConfig::default()).expect("files");
    for (accept, body) in [("gzip", "short"), ("gzip, br", "small")] {
        let line = format!("Accept-Encoding: {accept}\r\n");
        assert_is(&ask(&folder, "GET", "/a.js", &line), 200, body);
        assert_is(&ask(&tree, "GET", "/a.js", &line), 200, body);
    }
}

#[cfg(feature = "compress")]
#[test]
fn text_is_compressed_once() {
    use std::io::Read;
    let scratch = Scratch::new();
    let text = "to be compressed ".repeat(500);
    scratch.write("a.txt", &text);
    scratch.write("a.png", &text);
    scratch.write("short.txt", "short");
    let server = serve(&scratch, DirConfig::default());
    let gzip = "Accept-Encoding: gzip\r\n";
    let answer = ask(&server, "GET", "/a.txt", gzip);
    assert_eq!(answer.get("content-encoding"), Some("gzip"));
    assert!(answer.body.len() < text.len() / 10);
    let mut plain = String::new();
    let mut decoder = flate2::read::GzDecoder::new(&answer.body[..]);
    decoder.read_to_string(&mut plain).expect("gzip");
    assert_eq!(plain, text);
    assert_is(&get(&server, "/a.txt"), 200, &text);
    for path in ["/a.png", "/short.txt"] {
        assert_eq!(
            ask(&server, "GET", path, gzip).get("content-encoding"),
            None
        );
    }
}

#[test]
fn pages_of_its_own() {
    let scratch = Scratch::new();
    scratch.write("index.html", "app");
    scratch.write("404.html", "lost");
    let config = DirConfig::default().not_found("404.html");
    let server = serve(&scratch, config.clone());
    for path in ["/missing", "/.git", "/a/b/c.js"] {
        let answer = get(&server, path);
        assert_is(&answer, 404, "lost");
        let kind = answer.get("content-type");
        assert_eq!(kind, Some("text/html; charset=utf-8"));
        assert_eq!(
            answer.get("etag"),
            None,
            "of the page, not of what was asked for"
        );
    }
    let tag = get(&server, "/404.html")
        .get("etag")
        .expect("a tag")
        .to_owned();
    let lines = format!("If-None-Match: {tag}\r\nRange: bytes=0-1\r\n");
    assert_is(&ask(&server, "GET", "/missing", &lines), 404, "lost");
    assert_is(&ask(&server, "HEAD", "/missing", ""), 404, "");

    let config = config.spa("index.html");
    let server = serve(&scratch, config);
    for path in ["/users", "/users/1", "/users/1/", "/a%20b"] {
        assert_is(&get(&server, path), 200, "app");
    }
    for path in ["/missing.js", "/users/a.png"] {
        assert_is(&get(&server, path), 404, "lost");
    }
    assert_eq!(ask(&server, "POST", "/users", "").status, 405);
}
