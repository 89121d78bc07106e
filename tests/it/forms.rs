//! Forms over sockets, by hand and by curl.

use super::clients::curl;
use super::support::{Answer, Asked, Client, start, workers};
use peregrine::server::Running;
use peregrine::{Done, Request, Response, from_fn};
use std::net::SocketAddr;

/// Says what it has understood of a form.
fn pairs(req: &Request<'_>, res: Response<'_>) -> Done {
    let pairs = match req.query("max").and_then(|max| max.parse().ok()) {
        Some(max) => req.form_pairs_up_to(max).map(Iterator::collect),
        None => req.form_pairs().map(Iterator::collect),
    };
    let pairs: Vec<_> = match pairs {
        Ok(pairs) => pairs,
        Err(error) => return res.status(error.status()).text(error.to_string()),
    };
    let first = req.form("a").unwrap_or("nothing".into()).into_owned();
    res.text(format!("{pairs:?}, a is {first}"))
}

fn server() -> (Running, SocketAddr) {
    start(from_fn(pairs), workers(1))
}

const URLENCODED: &str = "Content-Type: application/x-www-form-urlencoded\r\n";

#[track_caller]
fn post(addr: SocketAddr, path: &str, fields: &str, body: &[u8]) -> Answer {
    let mut client = Client::connect(addr);
    let length = body.len();
    client.send(format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n{fields}\r\n"
    ));
    client.send(body);
    client.answer(Asked::Other)
}

#[test]
fn pairs_are_decoded_in_order() {
    let (_server, addr) = server();
    let answer = post(addr, "/", URLENCODED, b"b=+&a=%31%2B&&a=2&%ff&=x&c");
    let expected =
        r#"[("b", " "), ("a", "1+"), ("a", "2"), ("�", ""), ("", "x"), ("c", "")], a is 1+"#;
    assert_eq!((answer.status, answer.text()), (200, expected));
    let answer = post(addr, "/", URLENCODED, b"");
    assert_eq!((answer.status, answer.text()), (200, "[], a is nothing"));
}

#[test]
fn other_bodies_are_no_forms() {
    let (_server, addr) = server();
    let repeated = URLENCODED.repeat(2);
    for fields in [
        "",
        "Content-Type: text/plain\r\n",
        "Content-Type: multipart/form-data; boundary=a\r\n",
        "Content-Type: application/x-www-form-urlencoded, \r\n",
        &repeated,
    ] {
        let answer = post(addr, "/", fields, b"a=1");
        let expected = (415, "not application/x-www-form-urlencoded");
        assert_eq!((answer.status, answer.text()), expected, "{fields}");
    }
}

#[test]
fn the_number_of_pairs_is_limited() {
    let (_server, addr) = server();
    for (path, limit) in [("/", 1000), ("/?max=3", 3), ("/?max=2000", 2000)] {
        let most = vec!["a=1"; limit].join("&");
        assert_eq!(post(addr, path, URLENCODED, most.as_bytes()).status, 200);
        let more = most + "&";
        let answer = post(addr, path, URLENCODED, more.as_bytes());
        assert_eq!(
            (answer.status, answer.text()),
            (413, "too many fields in a form")
        );
    }
}

#[test]
fn curl_sends_fields() {
    let (_server, addr) = server();
    let options = ["--data-urlencode", "a=ü&=+ ", "--data", "b=2"];
    let url = format!("http://{addr}/");
    if let Some(printed) = curl(&options, &url) {
        let printed = String::from_utf8(printed).expect("text");
        assert_eq!(printed, r#"[("a", "ü&=+ "), ("b", "2")], a is ü&=+ "#);
    }
}
