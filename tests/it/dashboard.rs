//! The page with live plots.

use super::support::{Client, OnOwnAddr, wait_until, workers};
use peregrine::metrics::Stats;
use peregrine::{Dashboard, Router, Server};

fn app(stats: &Stats) -> Router {
    Router::new()
        .get("/hello", |_, res| res.text("hi"))
        .mount("/dashboard", Dashboard::new(stats))
}

#[test]
fn a_page_that_needs_nothing_else() {
    let app = app(&Stats::new());
    let get = |path: &str| peregrine::testing::get(&app, path);
    assert_eq!(get("/dashboard").header("location"), Some("/dashboard/"));
    let (one, two) = (get("/dashboard/"), get("/dashboard/"));
    let policy = one.header("content-security-policy").expect("a policy");
    assert_ne!(Some(policy), two.header("content-security-policy"));
    assert_eq!(one.header("cache-control"), Some("no-store"));
    let (_, nonce) = policy.split_once("script-src 'nonce-").expect("a nonce");
    let (nonce, _) = nonce.split_once('\'').expect("its end");
    assert_eq!(nonce.len(), 32);
    let page = one.text();
    for start in ["<script", "<style"] {
        assert_eq!(page.matches(start).count(), 1);
        assert!(page.contains(&format!("{start} nonce=\"{nonce}\">")));
    }
    for outside in [
        "src=",
        " style=",
        " onclick=",
        "//cdn",
        "@import",
        "url(",
        "NONCE",
    ] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert_eq!(get("/dashboard/other").status(), 404);
}

#[test]
fn samples_come_as_events() {
    let stats = Stats::new();
    let server = Server::new(app(&stats)).config(workers(2).timed_one_in(1));
    let server = server.stats(&stats).on_own_addr().start();
    let server = server.expect("a server");
    let addr = server.local_addr().expect("an address");
    assert_eq!(Client::connect(addr).get("/hello").status, 200);
    let mut client = Client::connect(addr);
    client.send("GET /dashboard/events HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = client.head().0;
    assert_eq!(head.get("content-type"), Some("text/event-stream"));
    let mut text = String::new();
    // The ends of the buckets, a sample at once, and one after a second.
    while text.matches("\n\n").count() < 3 {
        text += std::str::from_utf8(&client.chunk()).expect("text");
    }
    let events: Vec<_> = text.split("\n\n").collect();
    let value = |event: &str, name: &str| -> serde_json::Value {
        let data = event.strip_prefix(&format!("event: {name}\n"));
        let data = data.expect("an event of this name");
        let data = data.strip_prefix("retry: 1000\n").unwrap_or(data);
        let data = data.strip_prefix("data: ").expect("data");
        serde_json::from_str(data).expect("JSON")
    };
    let ends = value(events[0], "ends");
    assert_eq!(ends[0], 1e-6);
    let (first, second) = (value(events[1], "sample"), value(events[2], "sample"));
    assert!(second["at"].as_f64() > first["at"].as_f64());
    let histogram = second["handlers"].as_array().expect("a histogram");
    assert_eq!(histogram.len(), ends.as_array().expect("ends").len() + 1);
    assert_eq!(second["workers"].as_array().expect("workers").len(), 2);
    assert_eq!(second["workers"][1]["name"], "worker-1");
    assert_eq!(
        second["limits"]["connections"],
        server.connections_that_fit()
    );
    assert!(second["counters"]["responses_2xx"].as_u64() >= Some(1));
    let routes = second["routes"].as_array().expect("routes");
    assert!(routes.contains(&serde_json::json!(["/hello", 1])));
}

#[test]
fn the_pages_that_get_samples_are_limited() {
    let stats = Stats::new();
    let server = Server::new(app(&stats)).config(workers(2)).stats(&stats);
    let server = server.on_own_addr().start().expect("a server");
    let addr = server.local_addr().expect("an address");
    let open = || {
        let mut client = Client::connect(addr);
        client.send("GET /dashboard/events HTTP/1.1\r\nHost: a\r\n\r\n");
        let status = client.head().0.status;
        (client, status)
    };
    let clients: Vec<_> = (0..32).map(|_| open()).collect();
    assert!(clients.iter().all(|(_, status)| *status == 200));
    assert_eq!(open().1, 503);
    drop(clients);
    wait_until("places are free again", || open().1 == 200);
}
