//! Tests of the application, in memory.

use crate::{Cx, Live, State, notes, routes};
use peregrine::Router;
use peregrine::error::BoxError;
use peregrine::metrics::Stats;
use peregrine::router::WebSocketRouter;
use peregrine::testing::{Client, ClientResponse, Connection};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const BROWSER: &str = "text/html,*/*;q=0.8";

type App = WebSocketRouter<Live>;

/// The application in a folder of its own, which is removed at the end.
struct Scratch {
    app: App,
    state: Arc<State>,
    folder: PathBuf,
}

impl Scratch {
    fn new() -> Scratch {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // A run that was killed may have left some.
        let folder = loop {
            let name = format!(
                "notes-{}-{}",
                std::process::id(),
                COUNT.fetch_add(1, Ordering::Relaxed)
            );
            let folder = std::env::temp_dir().join(name);
            match std::fs::create_dir(&folder) {
                Ok(()) => break folder,
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists),
            }
        };
        let state = State::new(&folder).expect("a folder");
        let router = routes(&state).expect("routes");
        let app = router.websocket("/notes/ws", Live(state.clone()));
        Scratch { app, state, folder }
    }

    fn client(&self) -> Client<'_, App> {
        Client::new(&self.app)
    }

    fn logged_in(&self, name: &str) -> Client<'_, App> {
        let mut client = self.client();
        let response = post(&mut client, "signup", name, "a good one");
        assert_eq!(response.header("location"), Some("/notes"));
        client
    }

    /// The files of notes, and those that arrive.
    fn files(&self) -> usize {
        let count = |name| {
            std::fs::read_dir(self.folder.join(name))
                .expect("a folder")
                .count()
        };
        count("files") + count("incoming")
    }

    fn run_sql(&self, sql: &str) {
        let db = notes::open(&self.folder.join("notes.db")).expect("the database");
        db.execute_batch(sql).expect("SQL");
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn post(client: &mut Client<'_, App>, to: &str, name: &str, password: &str) -> ClientResponse {
    let request = client.post(&format!("/account/{to}"));
    request
        .form(&[("user", name), ("password", password)])
        .send()
}

fn page(client: &mut Client<'_, App>, path: &str) -> ClientResponse {
    client.get(path).header("Accept", BROWSER).send()
}

fn add(client: &mut Client<'_, App>, title: &str) -> i64 {
    let response = client
        .post("/api/notes")
        .json(&json!({ "title": title }))
        .send();
    assert_eq!(response.status(), 201, "{}", response.text());
    let note: Value = response.json();
    assert_eq!(
        response.header("location"),
        Some(&*format!("/api/notes/{}", note["id"]))
    );
    note["id"].as_i64().expect("a number")
}

fn upload<'f>(
    client: &mut Client<'_, App>,
    fields: &[(&str, &str)],
    files: impl IntoIterator<Item = (&'f str, &'f str)>,
) -> ClientResponse {
    let mut body = String::new();
    for (name, value) in fields {
        body += &format!("--X\r\nContent-Disposition: form-data; name={name}\r\n\r\n{value}\r\n");
    }
    for (name, content) in files {
        let head = format!("Content-Disposition: form-data; name=file; filename=\"{name}\"");
        body += &format!("--X\r\n{head}\r\n\r\n{content}\r\n");
    }
    let request = client.post("/notes").header("Accept", BROWSER);
    let request = request.header("Content-Type", "multipart/form-data; boundary=X");
    request.body(body + "--X--\r\n").send()
}

#[test]
fn who_has_not_logged_in_sees_nothing() {
    let scratch = Scratch::new();
    let mut client = scratch.client();
    for path in ["/notes", "/notes/1/file", "/notes/events"] {
        let response = page(&mut client, path);
        assert_eq!(
            (response.status(), response.header("location")),
            (303, Some("/login"))
        );
    }
    let refused = client.get("/api/notes").send();
    assert_eq!(refused.status(), 401);
    assert_eq!(refused.header("www-authenticate"), Some("Session"));
    assert_eq!(
        upload(&mut client, &[("title", "a")], Some(("a", "b"))).status(),
        303
    );
    assert_eq!(scratch.files(), 0);
    let refused = client.websocket("/notes/ws", &scratch.state.sockets);
    assert!(refused.is_err_and(|response| response.starts_with(b"HTTP/1.1 401 ")));
    assert!(
        page(&mut client, "/login")
            .text()
            .contains("Create an account")
    );
    assert_eq!(page(&mut client, "/nothing").status(), 404);
}

#[test]
fn accounts() {
    let scratch = Scratch::new();
    let mut client = scratch.logged_in("ada");
    assert_eq!(client.request("HEAD", "/notes").send().status(), 200);
    let shown = page(&mut client, "/notes");
    assert!(shown.text().contains("Welcome, ada."), "{}", shown.text());
    let csp = shown.header("content-security-policy").expect("a policy");
    assert!(csp.starts_with("default-src 'self'"), "{csp}");
    assert!(
        !page(&mut client, "/notes").text().contains("Welcome"),
        "it is shown once"
    );
    assert_eq!(
        client.post("/logout").send().header("location"),
        Some("/login")
    );
    assert_eq!(page(&mut client, "/notes").status(), 303);

    for (to, name, password, text) in [
        ("login", "ada", "a bad one", "Wrong name or password."),
        ("login", "bob", "a good one", "Wrong name or password."),
        ("signup", "ada", "a good one", "taken"),
        ("signup", "Ada", "a good one", "taken"),
        ("signup", "a b", "a good one", "letters and digits"),
        ("signup", "<b>", "a good one", "value=\"&lt;b&gt;\""),
        ("signup", "bob", "short", "8 to 200"),
    ] {
        let response = post(&mut client, to, name, password);
        assert_eq!(response.status(), 422, "{name} {password}");
        assert!(response.text().contains(text), "{}", response.text());
    }
    let login = post(&mut client, "login", "ADA", "a good one");
    assert_eq!(login.status(), 303);
    let cookie = login.header("set-cookie").expect("a cookie").to_owned();
    for attribute in [
        "__Host-session=",
        "; Secure",
        "; HttpOnly",
        "; SameSite=Lax",
    ] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    assert!(page(&mut client, "/notes").text().contains("Welcome, ada."));
    // Another login has a session with another name.
    let login = post(&mut client, "login", "ada", "a good one");
    assert_ne!(login.header("set-cookie"), Some(&*cookie));
    let foreign = client
        .post("/logout")
        .header("Sec-Fetch-Site", "cross-site")
        .send();
    assert_eq!(foreign.status(), 403);
}

#[test]
fn logins_are_limited() {
    let scratch = Scratch::new();
    let mut client = scratch.client();
    let begun = Instant::now();
    let mut sent = 0;
    // Too short, so that no hash is computed.
    while post(&mut client, "signup", "a", "").status() == 422 {
        sent += 1;
        // One more is allowed every three seconds.
        let most = 20 + begun.elapsed().as_secs() / 3 + 1;
        assert!(sent <= most, "{sent}");
    }
    assert!(sent >= 20, "{sent}");
    assert_eq!(post(&mut client, "login", "ada", "").status(), 429);
}

#[test]
fn few_passwords_are_hashed_at_a_time() {
    let scratch = Scratch::new();
    let mut client = scratch.client();
    let hashing = [(); 2].map(|()| scratch.state.hashes.clone());
    let refused = post(&mut client, "login", "ada", "a good one");
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.header("retry-after"), Some("2"));
    drop(hashing);
    assert_eq!(post(&mut client, "login", "ada", "").status(), 422);
}

#[test]
fn a_handler_without_a_user_refuses() {
    // As if the layer was forgotten, or the session ended while the request waited.
    let scratch = Scratch::new();
    let state = scratch.state.clone();
    let handler = scratch.state.db.offload(move |db, req, res| {
        let cx = Cx::new(&state, db, req)?;
        Ok::<_, BoxError>(res.text(cx.user))
    });
    let app = Router::new().get("/", handler);
    assert_eq!(Client::new(&app).get("/").send().status(), 401);
}

#[test]
fn the_api() {
    let scratch = Scratch::new();
    let mut client = scratch.logged_in("ada");
    let (first, second) = (add(&mut client, "Milk"), add(&mut client, "Tea"));
    let list = |client: &mut Client<'_, App>, query: &str| -> Vec<i64> {
        let notes: Value = client.get(&format!("/api/notes{query}")).send().json();
        let notes = notes.as_array().expect("a list").iter();
        notes
            .map(|note| note["id"].as_i64().expect("a number"))
            .collect()
    };
    assert_eq!(list(&mut client, ""), [second, first]);
    assert_eq!(list(&mut client, "?limit=1"), [second]);
    assert_eq!(list(&mut client, &format!("?before={second}")), [first]);
    assert_eq!(list(&mut client, "?q=MIL"), [first]);

    let place = format!("/api/notes/{first}");
    let changed = json!({ "title": "Oat milk", "text": "two" });
    let response = client.request("PUT", &place).json(&changed).send();
    assert_eq!(response.json::<Value>()["title"], "Oat milk");
    assert_eq!(client.get(&place).send().json::<Value>()["text"], "two");
    let foreign = scratch.logged_in("bob").get(&place).send();
    assert_eq!(foreign.status(), 404);

    let cyrillic = json!({ "title": "\u{434}".repeat(200) });
    let response = client.post("/api/notes").json(&cyrillic).send();
    assert_eq!(response.status(), 201, "characters, not bytes");
    assert_eq!(response.header("cache-control"), Some("no-store"));
    let third = response.json::<Value>()["id"].as_i64().expect("a number");

    let json = ("Content-Type", "application/json");
    for (method, path, body, status) in [
        ("GET", "/api/notes?limit=0", "", 422),
        ("GET", "/api/notes?limit=51", "", 422),
        ("GET", "/api/notes/x", "", 404),
        ("GET", "/api/notes/99", "", 404),
        ("PATCH", "/api/notes", "", 405),
        ("POST", "/api/notes", "{", 400),
        ("POST", "/api/notes", r#"{"title": 1}"#, 422),
        ("POST", "/api/notes", r#"{"title": " "}"#, 422),
        ("PUT", "/api/notes/99", r#"{"title": "a"}"#, 404),
        ("DELETE", "/api/notes/99", "", 404),
    ] {
        let response = client
            .request(method, path)
            .header(json.0, json.1)
            .body(body)
            .send();
        assert_eq!(
            response.status(),
            status,
            "{method} {path}: {}",
            response.text()
        );
    }
    assert_eq!(client.request("DELETE", &place).send().status(), 204);
    assert_eq!(list(&mut client, ""), [third, second]);
}

#[test]
fn a_note_with_a_file() {
    let scratch = Scratch::new();
    let mut client = scratch.logged_in("ada");
    let fields = [("title", "<b>Birds</b>"), ("text", "two")];
    let response = upload(&mut client, &fields, Some(("Küken.txt", "a falcon")));
    assert_eq!(
        (response.status(), response.header("location")),
        (303, Some("/notes"))
    );
    let shown = page(&mut client, "/notes");
    for text in [
        "The note is saved.",
        "&lt;b&gt;Birds",
        "Küken.txt",
        "/notes/1/file",
    ] {
        assert!(shown.text().contains(text), "{text}: {}", shown.text());
    }
    let file = client.get("/notes/1/file").send();
    assert_eq!(file.text(), "a falcon");
    let rest = client
        .get("/notes/1/file")
        .header("Range", "bytes=2-")
        .send();
    assert_eq!((rest.status(), rest.text()), (206, "falcon"));
    let name = file.header("content-disposition").expect("a name");
    assert!(name.ends_with("filename*=UTF-8''K%C3%BCken.txt"), "{name}");
    assert_eq!(
        scratch
            .logged_in("bob")
            .get("/notes/1/file")
            .send()
            .status(),
        404
    );
    assert_eq!(scratch.files(), 1);

    // Without a title the file is not kept.
    let refused = upload(&mut client, &[("text", "x")], Some(("a", "b")));
    assert_eq!(refused.status(), 422);
    assert!(refused.text().contains("A title has"), "{}", refused.text());
    let large = "x".repeat((16 << 20) + 1);
    let refused = upload(&mut client, &fields, Some(("a", &*large)));
    assert_eq!(refused.status(), 413);
    assert!(
        refused.text().contains("Back to the notes"),
        "{}",
        refused.text()
    );
    let two = upload(&mut client, &[("title", "x")], [("a", "b"), ("c", "d")]);
    assert_eq!(two.status(), 422);
    assert_eq!(client.post("/notes").send().status(), 422, "no form");
    assert_eq!(scratch.files(), 1);
    // A browser sends an empty file if the user has chosen one.
    let empty = upload(&mut client, &[("title", "x")], Some(("empty", "")));
    assert_eq!(empty.status(), 303);
    assert_eq!(client.get("/notes/2/file").send().status(), 404);
    assert_eq!(client.post("/notes/2/delete").send().status(), 303);
    assert_eq!(scratch.files(), 1);

    assert_eq!(client.post("/notes/1/delete").send().status(), 303);
    assert_eq!(scratch.files(), 0);
    assert!(page(&mut client, "/notes").text().contains("No notes yet"));
}

#[test]
fn windows_see_changes_at_once() {
    let scratch = Scratch::new();
    let mut client = scratch.logged_in("ada");
    let opened = client.websocket("/notes/ws", &scratch.state.sockets);
    let mut socket = opened.unwrap_or_else(|response| panic!("{}", response.escape_ascii()));
    let cookie = client
        .cookie("__Host-session")
        .expect("a session")
        .to_owned();
    let mut events = Connection::new(&scratch.app);
    let request =
        format!("GET /notes/events HTTP/1.1\r\nHost: a\r\nCookie: __Host-session={cookie}\r\n\r\n");
    events.send(request.as_bytes());
    add(&mut client, "Milk");
    add(&mut scratch.logged_in("bob"), "not for ada");
    assert_eq!(socket.take_received(), b"\x81\x07changed");
    while !events.received().ends_with(b"data: changed\n\n\r\n") {
        assert!(events.wait(Duration::from_secs(60)));
    }
}

/// SQLite finds some errors only when it stores a change, as on a full disk. Here it is a reference to no note.
#[test]
fn a_change_that_is_not_stored_is_an_error() {
    let scratch = Scratch::new();
    let mut client = scratch.logged_in("ada");
    let response = upload(&mut client, &[("title", "Birds")], Some(("a", "b")));
    assert_eq!(response.status(), 303);
    scratch.run_sql(
        "CREATE TABLE pins (note INTEGER REFERENCES notes (id) DEFERRABLE INITIALLY DEFERRED);
         INSERT INTO pins VALUES (1);
         CREATE TRIGGER added AFTER INSERT ON notes BEGIN INSERT INTO pins VALUES (-1); END;
         CREATE TRIGGER changed AFTER UPDATE ON notes BEGIN INSERT INTO pins VALUES (-1); END;",
    );
    let opened = client.websocket("/notes/ws", &scratch.state.sockets);
    let mut socket = opened.unwrap_or_else(|response| panic!("{}", response.escape_ascii()));
    let title = json!({ "title": "Milk" });
    assert_eq!(client.post("/api/notes").json(&title).send().status(), 500);
    let put = client.request("PUT", "/api/notes/1").json(&title).send();
    assert_eq!(put.status(), 500);
    assert_eq!(
        client.request("DELETE", "/api/notes/1").send().status(),
        500
    );
    let refused = upload(&mut client, &[("title", "x")], Some(("a", "b")));
    assert_eq!(refused.status(), 500);
    let stored: Value = client.get("/api/notes").send().json();
    assert_eq!(
        stored,
        json!([{ "id": 1, "title": "Birds", "text": "", "file": "a" }])
    );
    assert_eq!(client.get("/notes/1/file").send().text(), "b");
    assert_eq!(scratch.files(), 1);
    assert_eq!(socket.take_received(), b"", "nothing has changed");
}

#[test]
fn a_user_stores_no_more_than_the_quota() {
    let scratch = Scratch::new();
    let mut client = scratch.logged_in("ada");
    let (number, most) = notes::QUOTA;
    scratch.run_sql(&format!(
        "INSERT INTO notes (owner, title, text, file_bytes) VALUES ('ada', 'large', '', {most} - 1)"
    ));
    let large = upload(&mut client, &[("title", "x")], Some(("a", "bc")));
    assert_eq!(large.status(), 413);
    assert_eq!(scratch.files(), 0);
    let fits = upload(&mut client, &[("title", "x")], Some(("a", "b")));
    assert_eq!(fits.status(), 303);
    scratch.run_sql(&format!(
        "WITH RECURSIVE n(i) AS (SELECT 3 UNION ALL SELECT i + 1 FROM n WHERE i < {number})
         INSERT INTO notes (owner, title, text) SELECT 'ada', i, '' FROM n"
    ));
    let title = json!({ "title": "One too many" });
    let refused = client.post("/api/notes").json(&title).send();
    assert_eq!(refused.status(), 413, "{}", refused.text());
    // The quota is that of the user.
    add(&mut scratch.logged_in("bob"), "Milk");
    assert_eq!(
        client.request("DELETE", "/api/notes/1").send().status(),
        204
    );
    add(&mut client, "Milk");
}

#[test]
fn a_note_whose_file_is_gone_can_be_removed() {
    let scratch = Scratch::new();
    let mut client = scratch.logged_in("ada");
    upload(&mut client, &[("title", "Birds")], Some(("a", "b")));
    let files = scratch.folder.join("files");
    let mut stored = std::fs::read_dir(files).expect("a folder");
    let stored = stored.next().expect("a file").expect("a file");
    std::fs::remove_file(stored.path()).expect("a file");
    assert_eq!(client.get("/notes/1/file").send().status(), 404);
    assert_eq!(
        client.request("DELETE", "/api/notes/1").send().status(),
        204
    );
    assert_eq!(client.get("/api/notes/1").send().status(), 404);
}

#[test]
fn the_start_removes_uploads_that_have_not_ended() {
    let scratch = Scratch::new();
    std::fs::write(scratch.folder.join("incoming/left"), "x").expect("a file");
    State::new(&scratch.folder).expect("a folder");
    assert_eq!(scratch.files(), 0);
}

#[test]
fn metrics_have_a_port_of_their_own() {
    let scratch = Scratch::new();
    assert_eq!(scratch.client().get("/metrics").send().status(), 404);
    let app = crate::metrics(&Stats::new());
    let shown = Client::new(&app).get("/metrics").send();
    assert!(
        shown.text().contains("peregrine_requests_total"),
        "{}",
        shown.text()
    );
}
