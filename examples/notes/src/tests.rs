//! Tests of the application, in memory.

use crate::{App, State, routes};
use peregrine::metrics::Stats;
use peregrine::testing::{Client, ClientResponse, Connection};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const BROWSER: &str = "text/html,*/*;q=0.8";

/// The application in a folder of its own, which is removed at the end.
struct Scratch {
    app: App,
    folder: PathBuf,
}

impl Scratch {
    fn new() -> Scratch {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("notes-{}-{count}", std::process::id()));
        let state = State::new(&folder).expect("a folder");
        let router = routes(&state, &Stats::new()).expect("routes");
        let app = App { router, state };
        Scratch { app, folder }
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

    fn files(&self) -> usize {
        std::fs::read_dir(self.folder.join("files"))
            .expect("a folder")
            .count()
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

fn upload(
    client: &mut Client<'_, App>,
    fields: &[(&str, &str)],
    file: Option<(&str, &str)>,
) -> ClientResponse {
    let mut body = String::new();
    for (name, value) in fields {
        body += &format!("--X\r\nContent-Disposition: form-data; name={name}\r\n\r\n{value}\r\n");
    }
    if let Some((name, content)) = file {
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
    assert_eq!(client.get("/api/notes").send().status(), 401);
    assert_eq!(
        upload(&mut client, &[("title", "a")], Some(("a", "b"))).status(),
        303
    );
    assert_eq!(scratch.files(), 0);
    assert!(
        client
            .websocket("/notes/ws", &scratch.app.state.sockets)
            .is_err()
    );
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
    let shown = page(&mut client, "/notes");
    assert!(shown.text().contains("Welcome, ada."), "{}", shown.text());
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
        ("signup", "a b", "a good one", "letters and digits"),
        ("signup", "<b>", "a good one", "value=\"&lt;b&gt;\""),
        ("signup", "bob", "short", "8 to 200"),
    ] {
        let response = post(&mut client, to, name, password);
        assert_eq!(response.status(), 422, "{name} {password}");
        assert!(response.text().contains(text), "{}", response.text());
    }
    assert_eq!(
        post(&mut client, "login", "ada", "a good one").status(),
        303
    );
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
    // Too short, so that no hash is computed.
    let statuses: Vec<u16> = (0..21)
        .map(|_| post(&mut client, "signup", "a", "").status())
        .collect();
    assert_eq!(statuses[19..], [422, 429]);
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

    let json = ("Content-Type", "application/json");
    for (method, path, body, status) in [
        ("GET", "/api/notes?limit=0", "", 422),
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
    assert_eq!(list(&mut client, ""), [second]);
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
    let refused = upload(&mut client, &fields, Some(("a", &large)));
    assert_eq!(refused.status(), 413);
    assert!(
        refused.text().contains("Back to the notes"),
        "{}",
        refused.text()
    );
    assert_eq!(scratch.files(), 1);

    assert_eq!(client.post("/notes/1/delete").send().status(), 303);
    assert_eq!(scratch.files(), 0);
    assert!(page(&mut client, "/notes").text().contains("No notes yet"));
}

#[test]
fn windows_see_changes_at_once() {
    let scratch = Scratch::new();
    let mut client = scratch.logged_in("ada");
    let opened = client.websocket("/notes/ws", &scratch.app.state.sockets);
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

#[test]
fn metrics_are_for_this_machine() {
    let scratch = Scratch::new();
    assert!(
        scratch
            .client()
            .get("/metrics")
            .send()
            .text()
            .contains("peregrine_requests_total")
    );
    let mut far = scratch.client().peer(([192, 0, 2, 1], 5000).into());
    assert_eq!(far.get("/metrics").send().status(), 404);
}
