//! The board, in memory.

use super::*;
use peregrine::testing::{Client, Connection};
use std::time::Duration;

/// Only a failure reaches it.
const PATIENCE: Duration = Duration::from_secs(60);

fn client<'a>(app: &'a WebSocketRouter<Board>, name: &str) -> Client<'a, WebSocketRouter<Board>> {
    let mut client = Client::new(app);
    let entered = client.post("/name").form(&[("name", name)]).send();
    assert_eq!(entered.header("location"), Some("/"));
    client
}

fn publish(client: &mut Client<'_, WebSocketRouter<Board>>, token: &str, post: &str) -> u16 {
    let request = client.post("/posts").header("Authorization", token);
    request.body(post).send().status()
}

#[test]
fn the_page_shows_names_as_text() {
    let app = Board::new(&Hub::new()).app("t0ken".to_owned());
    assert!(Client::new(&app).get("/").send().text().contains("<form"));
    let page = client(&app, "<b>Ada").get("/?sse").send();
    assert!(
        page.text().contains("You are &#60;b&#62;Ada."),
        "{}",
        page.text()
    );
    assert!(page.text().contains("if (\"sse\" === \"sse\")"));
}

#[test]
fn who_may_publish_and_watch() {
    let app = Board::new(&Hub::new()).app("t0ken".to_owned());
    let mut stranger = Client::new(&app);
    assert_eq!(publish(&mut stranger, "Bearer other", "x"), 401);
    assert_eq!(publish(&mut stranger, "Bearer t0ken", "x"), 204);
    assert_eq!(
        publish(&mut stranger, "Bearer t0ken", &"x".repeat(1001)),
        413
    );
    for path in ["/posts", "/people", "/people/changes"] {
        assert_eq!(stranger.get(path).send().status(), 401, "{path}");
    }
    let refused = stranger.websocket("/ws", &Hub::new()).expect_err("refused");
    assert!(
        refused.starts_with(b"HTTP/1.1 401 "),
        "{}",
        String::from_utf8_lossy(&refused)
    );
}

#[test]
fn a_socket_gets_the_last_posts_and_then_new_ones() {
    let hub = Hub::new();
    let app = Board::new(&hub).app("t0ken".to_owned());
    let mut ada = client(&app, "Ada");
    assert_eq!(publish(&mut ada, "Bearer t0ken", "one"), 204);
    let mut socket = ada.websocket("/ws", &hub).expect("accepted");
    let mut got = String::new();
    let until =
        |socket: &mut peregrine::testing::WebSocket<'_, _>, got: &mut String, text: &str| {
            let limit = std::time::Instant::now() + PATIENCE;
            while !got.contains(text) {
                assert!(std::time::Instant::now() < limit, "{got:?}");
                std::thread::yield_now();
                got.push_str(&String::from_utf8_lossy(&socket.take_received()));
            }
        };
    until(&mut socket, &mut got, "\tpost\tone");
    assert_eq!(ada.get("/people").send().json::<Vec<String>>(), ["Ada"]);
    publish(&mut ada, "Bearer t0ken", "two");
    until(&mut socket, &mut got, "\tpost\ttwo");
    // A page that has no WebSocket.
    let mut bob = Connection::new(&app);
    bob.send(b"GET /people/changes HTTP/1.1\r\nHost: a\r\nCookie: __Host-name=Bob\r\n\r\n");
    until(&mut socket, &mut got, "\tpeople\t");
    let people = |client: &mut Client<'_, _>| client.get("/people").send().json::<Vec<String>>();
    assert_eq!(people(&mut ada), ["Ada", "Bob"]);
    got.clear();
    drop(bob);
    until(&mut socket, &mut got, "\tpeople\t");
    assert_eq!(people(&mut ada), ["Ada"]);
    socket.send_message("hello?");
    // A close with 1008.
    until(&mut socket, &mut got, "pages only listen");
}

#[test]
fn events_continue_after_the_last_one() {
    let app = Board::new(&Hub::new()).app("t0ken".to_owned());
    let mut ada = client(&app, "Ada");
    for post in ["one", "two"] {
        publish(&mut ada, "Bearer t0ken", post);
    }
    let cookie = format!("__Host-name={}", ada.cookie("__Host-name").expect("a name"));
    let events = |fields: &str| {
        let mut page = Connection::new(&app);
        let head = format!("GET /posts HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\n{fields}\r\n");
        page.send(head.as_bytes());
        while !page.received().windows(9).any(|part| part == b"data: two") {
            assert!(
                page.wait(PATIENCE),
                "{}",
                String::from_utf8_lossy(page.received())
            );
        }
        String::from_utf8_lossy(page.received()).into_owned()
    };
    let all = events("");
    assert!(all.contains("data: one"), "{all}");
    let first = all
        .split("id: ")
        .nth(1)
        .and_then(|rest| rest.lines().next())
        .expect("an id");
    let rest = events(&format!("Last-Event-ID: {first}\r\n"));
    assert!(!rest.contains("data: one"), "{rest}");
}
