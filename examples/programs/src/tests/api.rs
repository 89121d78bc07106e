//! The notes, in memory and on the disk of the test.

use super::*;
use peregrine::testing::{Client, ClientResponse};
use serde_json::{Value, json};

const ORIGIN: &str = "https://notes.example";

/// The routes with a database of their own, which is removed at the end.
struct Notes {
    app: Compress<Router>,
    file: std::path::PathBuf,
}

impl Notes {
    fn new(name: &str) -> Notes {
        let file = std::env::temp_dir().join(format!("api-{}-{name}.db", std::process::id()));
        let routes = routes(&file, "engine".to_owned(), ORIGIN).expect("a database");
        let app = Compress::new(routes);
        Notes { app, file }
    }

    /// A client that has logged in.
    fn client(&self) -> Client<'_, Compress<Router>> {
        let mut client = Client::new(&self.app);
        let login = json!({ "name": "ada", "password": "engine" });
        assert_eq!(client.post("/login").json(&login).send().status(), 204);
        client
    }
}

impl Drop for Notes {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}

fn send(
    client: &mut Client<'_, Compress<Router>>,
    method: &str,
    path: &str,
    body: Value,
) -> ClientResponse {
    client.request(method, path).json(&body).send()
}

#[test]
fn a_note_from_its_begin_to_its_end() {
    let notes = Notes::new("life");
    let mut client = notes.client();
    let added = send(&mut client, "POST", "/notes", json!({ "title": "milk" }));
    let place = added.header("location").expect("a place").to_owned();
    assert_eq!((added.status(), &*place), (201, "/notes/1"));
    assert_eq!(client.get(&place).send().json::<Value>()["title"], "milk");
    let head = client.request("HEAD", &place).send();
    assert_eq!((head.status(), head.text()), (200, ""));
    let changed = send(
        &mut client,
        "PUT",
        &place,
        json!({ "title": "bread", "text": "rye" }),
    );
    assert_eq!(
        changed.json::<Value>(),
        json!({ "id": 1, "title": "bread", "text": "rye" })
    );
    assert_eq!(client.request("DELETE", &place).send().status(), 204);
    for method in ["GET", "DELETE"] {
        assert_eq!(client.request(method, &place).send().status(), 404);
    }
}

#[test]
fn requests_that_are_refused() {
    let notes = Notes::new("refused");
    let mut stranger = Client::new(&notes.app);
    assert_eq!(stranger.get("/notes").send().status(), 401);
    let wrong = json!({ "name": "ada", "password": "motor" });
    assert_eq!(stranger.post("/login").json(&wrong).send().status(), 403);
    let mut client = notes.client();
    for (body, status) in [
        (json!({ "title": "  " }), 422),
        (json!({ "title": 1 }), 422),
        (json!({ "title": "a", "color": "red" }), 422),
    ] {
        assert_eq!(send(&mut client, "POST", "/notes", body).status(), status);
    }
    let json = |client: &mut Client<'_, _>, body: &[u8]| {
        let request = client
            .post("/notes")
            .header("Content-Type", "application/json");
        request.body(body).send().status()
    };
    assert_eq!(json(&mut client, b"{"), 400);
    assert_eq!(json(&mut client, &[b' '; (1 << 20) + 1]), 413);
    assert_eq!(
        client.post("/notes").body("title=milk").send().status(),
        415
    );
    assert_eq!(client.get("/notes/milk").send().status(), 404);
    let patch = client.request("PATCH", "/notes/1").send();
    assert_eq!(
        (patch.status(), patch.header("allow")),
        (405, Some("DELETE, GET, HEAD, OPTIONS, PUT"))
    );
}

#[test]
fn the_list_in_pages() {
    let notes = Notes::new("pages");
    let mut client = notes.client();
    for n in 1..=PAGE + 1 {
        send(
            &mut client,
            "POST",
            "/notes",
            json!({ "title": format!("note {n}") }),
        );
    }
    let first = client.get("/notes").send().json::<Value>();
    assert_eq!(
        (first["notes"][0]["id"].as_u64(), first["next"].as_u64()),
        (Some(51), Some(2))
    );
    let last = client.get("/notes?before=2").send().json::<Value>();
    assert_eq!(
        (last["notes"].as_array().map(Vec::len), &last["next"]),
        (Some(1), &Value::Null)
    );
    let found = client.get("/notes?find=NOTE+50").send().json::<Value>();
    assert_eq!(found["notes"].as_array().map(Vec::len), Some(1));
    assert_eq!(client.get("/notes?before=x").send().status(), 422);
    let packed = client
        .get("/notes")
        .header("Accept-Encoding", "gzip")
        .send();
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
}

#[test]
fn pages_of_other_origins() {
    let notes = Notes::new("origins");
    let mut client = notes.client();
    let preflight = |client: &mut Client<'_, _>, origin: &str| {
        let request = client
            .request("OPTIONS", "/notes/1")
            .header("Origin", origin);
        let response = request
            .header("Access-Control-Request-Method", "PUT")
            .send();
        response
            .header("access-control-allow-origin")
            .map(str::to_owned)
    };
    assert_eq!(preflight(&mut client, ORIGIN).as_deref(), Some(ORIGIN));
    assert_eq!(preflight(&mut client, "https://evil.example"), None);
    let forged = client
        .post("/notes")
        .header("Origin", "https://evil.example");
    assert_eq!(forged.json(&json!({ "title": "a" })).send().status(), 403);
    // The page can read an error, too.
    let refused = client.get("/notes/9").header("Origin", ORIGIN).send();
    assert_eq!(refused.status(), 404);
    assert_eq!(refused.header("access-control-allow-origin"), Some(ORIGIN));
}
