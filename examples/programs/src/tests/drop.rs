//! The drop box, in memory and in a folder of the test.

use super::*;
use peregrine::testing::{Client, ClientResponse, Connection};

/// Only a failure reaches it.
const PATIENCE: Duration = Duration::from_secs(60);

/// `Authorization` of ada and of bob.
const ADA: &str = "Basic YWRhOmVuZ2luZQ==";
const BOB: &str = "Basic Ym9iOm1vdG9y";

struct Scratch {
    app: Router,
    root: PathBuf,
}

impl Scratch {
    fn new(name: &str) -> Scratch {
        let root = std::env::temp_dir().join(format!("drop-{}-{name}", std::process::id()));
        let users = [("ada", "engine"), ("bob", "motor")];
        let users = users.map(|(name, password)| (name.to_owned(), password.to_owned()));
        let boxes = Arc::new(Boxes::new(&root, users.into()).expect("a folder"));
        let app = routes(&boxes);
        Scratch { app, root }
    }

    fn call(&self, user: &str, method: &str, path: &str, body: &[u8]) -> ClientResponse {
        let mut client = Client::new(&self.app);
        let request = client.request(method, path).header("Authorization", user);
        request.body(body).send()
    }

    /// A client that has sent these bytes and is still connected.
    fn sends(&self, bytes: &str) -> Connection<'_, Router> {
        let mut connection = Connection::new(&self.app);
        connection.send(bytes.as_bytes());
        connection
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

#[test]
fn a_file_from_its_begin_to_its_end() {
    let scratch = Scratch::new("life");
    let put = |body: &[u8]| scratch.call(ADA, "PUT", "/files/a%20b.txt", body).status();
    assert_eq!(put(b"0123456789"), 201);
    let list = scratch.call(ADA, "GET", "/files", b"");
    assert_eq!(list.text(), r#"[{"name":"a b.txt","bytes":10}]"#);
    let file = scratch.call(ADA, "GET", "/files/a%20b.txt", b"");
    assert_eq!((file.status(), file.text()), (200, "0123456789"));
    assert_eq!(
        file.header("content-disposition"),
        Some("attachment; filename=\"a b.txt\"")
    );
    let mut client = Client::new(&scratch.app);
    let request = client.get("/files/a%20b.txt").header("Authorization", ADA);
    let range = request.header("Range", "bytes=2-4").send();
    assert_eq!((range.status(), range.text()), (206, "234"));
    // Files of others are not there.
    assert_eq!(scratch.call(BOB, "GET", "/files", b"").text(), "[]");
    assert_eq!(
        scratch.call(BOB, "GET", "/files/a%20b.txt", b"").status(),
        404
    );
    assert_eq!(put(b""), 201, "an empty file");
    assert_eq!(scratch.call(ADA, "GET", "/files/a%20b.txt", b"").text(), "");
    assert_eq!(
        scratch
            .call(ADA, "DELETE", "/files/a%20b.txt", b"")
            .status(),
        204
    );
    assert_eq!(
        scratch
            .call(ADA, "DELETE", "/files/a%20b.txt", b"")
            .status(),
        404
    );
}

#[test]
fn requests_that_are_refused() {
    let scratch = Scratch::new("refused");
    assert_eq!(
        scratch
            .call("Basic YWRhOm1vdG9y", "GET", "/files", b"")
            .status(),
        401
    );
    for name in [
        "..",
        "%2e%2e",
        "a%2fb",
        ".hidden",
        "a%00b",
        "..%2f..%2fbob%2ffiles%2fx",
    ] {
        let status = scratch
            .call(ADA, "PUT", &format!("/files/{name}"), b"x")
            .status();
        assert!(matches!(status, 400 | 404), "{name}: {status}");
    }
    assert_eq!(
        scratch.call(ADA, "PUT", "/files/a?from=3", b"x").status(),
        409
    );
    assert_eq!(
        scratch.call(ADA, "PUT", "/files/a?from=x", b"x").status(),
        400
    );
    let head = format!("PUT /files/a HTTP/1.1\r\nHost: a\r\nAuthorization: {ADA}\r\n");
    let large = scratch.sends(&format!("{head}Content-Length: {}\r\n\r\n", QUOTA + 1));
    assert!(
        large.received().starts_with(b"HTTP/1.1 413 "),
        "before a byte has come"
    );
    let chunked = scratch.sends(&format!("{head}Transfer-Encoding: chunked\r\n\r\n"));
    assert!(chunked.received().starts_with(b"HTTP/1.1 411 "));
}

#[test]
fn an_interrupted_file_goes_on() {
    let scratch = Scratch::new("resume");
    let have = || {
        scratch
            .call(ADA, "GET", "/parts/film", b"")
            .text()
            .to_owned()
    };
    assert_eq!(have(), "0");
    let head = format!("PUT /files/film HTTP/1.1\r\nHost: a\r\nAuthorization: {ADA}\r\n");
    let begun = scratch.sends(&format!("{head}Content-Length: 10\r\n\r\n01234"));
    assert_eq!(have(), "5");
    assert_eq!(
        scratch.call(ADA, "PUT", "/files/film", b"other").status(),
        409,
        "it is arriving"
    );
    drop(begun);
    assert_eq!(have(), "5");
    assert_eq!(
        scratch
            .call(ADA, "PUT", "/files/film?from=4", b"x")
            .status(),
        409
    );
    assert_eq!(
        scratch
            .call(ADA, "PUT", "/files/film?from=5", b"56789")
            .status(),
        201
    );
    assert_eq!(
        scratch.call(ADA, "GET", "/files/film", b"").text(),
        "0123456789"
    );
    assert_eq!(have(), "0");
}

#[test]
fn pages_see_the_progress() {
    let scratch = Scratch::new("progress");
    let watch = format!("GET /progress HTTP/1.1\r\nHost: a\r\nAuthorization: {ADA}\r\n\r\n");
    let mut page = scratch.sends(&watch);
    let size = STEP as usize + 1;
    assert_eq!(scratch.call(BOB, "PUT", "/files/other", b"x").status(), 201);
    assert_eq!(
        scratch
            .call(ADA, "PUT", "/files/film", &vec![b'x'; size])
            .status(),
        201
    );
    let last = format!("data: {size}\t{size}\tfilm");
    let mut got = String::new();
    while !got.contains(&last) {
        got.push_str(&String::from_utf8_lossy(&page.take_received()));
        assert!(got.contains(&last) || page.wait(PATIENCE), "{got}");
    }
    assert!(
        got.matches("data: ").count() >= 2 && !got.contains("other"),
        "{got}"
    );
}
