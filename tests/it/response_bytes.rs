//! The bytes of each kind of response, whichever part of the library makes it.

use super::support::{Client, start, workers};
use peregrine::testing::Connection;
use peregrine::{BodyPlan, Done, Handler, Request, Response, from_fn};
use std::io::{Read, Write as _};
use std::sync::{Mutex, mpsc::channel};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

/// `method-or-version name => response`. The name is the path, and says how the handler responds. In the
/// response `|` stands for CRLF, `~` for LF, and `^` for the end of the status line with the fields
/// `Server` and `Date`.
const CASES: &str = "
GET body => 200 OK^Content-Length: 5||hello
GET empty => 200 OK^Content-Length: 0||
GET text => 200 OK^Content-Type: text/plain; charset=utf-8|Content-Length: 5||hello
GET html => 200 OK^Content-Type: text/html; charset=utf-8|Content-Length: 5||hello
GET as => 200 OK^Content-Type: a/b|Content-Length: 5||hello
GET aslong => 200 OK^Content-Type: a/b|Content-Length: 16384||{large}
HEAD as => 200 OK^Content-Type: a/b|Content-Length: 5||
keep as => 200 OK^Content-Type: a/b|Content-Length: 5|Connection: keep-alive||hello
GET laterasstatus => 404 Not Found^before: 1|Content-Type: a/b|Content-Length: 5||hello
GET typed => 200 OK^x: 1|Content-Type: a/b|x: 2|Content-Length: 5||hello
GET status => 404 Not Found^a: b|c: d|Content-Length: 5||hello
GET unnamed => 299 ^Content-Length: 5||hello
GET payload => 200 OK^Content-Length: 5||hello
GET written => 200 OK^Content-Length:          5||hello
GET redirect => 303 See Other^Location: /a|Content-Length: 0||
HEAD body => 200 OK^Content-Length: 5||
HEAD written => 200 OK^Content-Length:          5||
CONNECT body => 200 OK^Connection: close||
GET 204 => 204 No Content^a: b||
GET 205 => 205 Reset Content^a: b|Content-Length: 0||
GET 304 => 304 Not Modified^a: b||
GET 304written => 304 Not Modified^a: b||
GET 205written => 205 Reset Content^a: b|Content-Length:          0||
GET close => 200 OK^Content-Length: 5|Connection: close||hello
GET closewritten => 200 OK^Content-Length:          5|Connection: close||hello
GET upgrade => 426 Upgrade Required^Upgrade: h2c|Content-Length: 5|Connection: upgrade||hello
GET upclose => 426 Upgrade Required^Upgrade: h2c|Content-Length: 5|Connection: upgrade, close||hello
1.0 body => 200 OK^Content-Length: 5|Connection: close||hello
keep body => 200 OK^Content-Length: 5|Connection: keep-alive||hello
keep upgrade => 426 Upgrade Required^Upgrade: h2c|Content-Length: 5|Connection: upgrade, keep-alive||hello
GET iter => 200 OK^a: b|Transfer-Encoding: chunked||2|he|3|llo|0||
HEAD iter => 200 OK^a: b|Transfer-Encoding: chunked||
keep iter => 200 OK^a: b|Connection: close||hello
1.0 iter => 200 OK^a: b|Connection: close||hello
GET closeiter => 200 OK^Transfer-Encoding: chunked|Connection: close||2|he|3|llo|0||
GET 204iter => 204 No Content^a: b||
GET 205iter => 205 Reset Content^a: b|Content-Length: 0||
GET reader => 200 OK^Content-Length: 5||hello
keep reader => 200 OK^Content-Length: 5|Connection: keep-alive||hello
HEAD reader => 200 OK^Content-Length: 5||
GET stream => 200 OK^Transfer-Encoding: chunked||5|hello|0|sum: 1||
1.0 stream => 200 OK^Connection: close||hello
GET exact => 200 OK^Content-Length: 5||hello
GET events => 200 OK^Content-Type: text/event-stream|Cache-Control: no-cache, no-transform|X-Accel-Buffering: no|Transfer-Encoding: chunked||d|data: hello~~|0||
GET laterbody => 200 OK^Content-Length: 5||hello
HEAD laterbody => 200 OK^Content-Length: 5||
GET laterwritten => 200 OK^Content-Length: 5||hello
GET laterlarge => 200 OK^Content-Length: 16384||{large}
GET laterstatus => 404 Not Found^before: 1|a: b|c: d|Content-Length: 5||hello
GET later204 => 204 No Content^before: 1|a: b||
GET laterclose => 200 OK^Content-Length: 5|Connection: close||hello
GET laterupgrade => 426 Upgrade Required^before: 1|Upgrade: h2c|Content-Length: 5|Connection: upgrade||hello
1.0 laterbody => 200 OK^Content-Length: 5|Connection: close||hello
keep laterbody => 200 OK^Content-Length: 5|Connection: keep-alive||hello
GET lateriter => 200 OK^before: 1|a: b|Transfer-Encoding: chunked||2|he|3|llo|0||
keep lateriter => 200 OK^before: 1|a: b|Connection: close||hello
GET laterstream => 200 OK^Transfer-Encoding: chunked||5|hello|0|sum: 1||
1.0 laterstream => 200 OK^Connection: close||hello
GET laterexact => 200 OK^Content-Length: 5||hello
GET laterlater => 200 OK^Content-Type: text/plain; charset=utf-8|Content-Length: 5||hello
GET drop => 500 Internal Server Error^Content-Type: text/plain|Content-Length: 45|Connection: close||the server could not respond to this request~
POST refuse => 413 Content Too Large^Content-Type: text/plain|Content-Length: 18|Connection: close||Content Too Large~
POST take => 100 Continue||HTTP/1.1 200 OK^Content-Length: 5||hello
2.0 - => 505 HTTP Version Not Supported^Content-Type: text/plain|Content-Length: 41|Connection: close||only HTTP/1.0 and HTTP/1.1 are supported~
";

/// The longest body that is not copied is one byte shorter.
const LARGE: usize = 16 << 10;

struct Named;

impl Handler for Named {
    fn takes_special(&self, _: &Request<'_>) -> bool {
        true
    }

    fn body_plan(&self, req: &Request<'_>) -> BodyPlan {
        match req.path() {
            "/refuse" => BodyPlan::Refuse(413),
            _ => BodyPlan::Buffer,
        }
    }

    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        let name = req.path().trim_start_matches('/');
        let Some(later) = name.strip_prefix("later") else {
            return respond(name, res);
        };
        let res = match later {
            "status" | "asstatus" | "204" | "upgrade" | "iter" => res.header("before", "1"),
            _ => res,
        };
        let (done, responder) = res.defer();
        let name = later.to_owned();
        std::thread::spawn(move || responder.send(|res| respond(&name, res)));
        done
    }
}

/// Responds in the way that has this name.
fn respond(name: &str, res: Response<'_>) -> Done {
    let hello = || {
        [Ok("he"), Ok("llo")]
            .into_iter()
            .map(Result::<&str, ()>::unwrap_or_default)
    };
    match name {
        "empty" => res.body(""),
        "text" => res.text("hello"),
        "html" => res.html("hello"),
        "as" => res.body_as("a/b", "hello"),
        "aslong" => res.body_as("a/b", [b'x'; LARGE]),
        "asstatus" => res.status(404).body_as("a/b", "hello"),
        "typed" => res
            .header("content-type", "b/a")
            .header("x", "1")
            .header("Content-Type", "a/b")
            .header("x", "2")
            .body("hello"),
        "status" => res
            .header("a", "b")
            .status(404)
            .header("c", "d")
            .body("hello"),
        "unnamed" => res.status(299).body("hello"),
        "payload" => res.send("hello"),
        "large" => res.send(vec![b'x'; LARGE]),
        "written" => res.write_with(|body| body.write_all(b"hello")),
        "redirect" => res.redirect(303, "/a"),
        "204" | "205" | "304" => with(name, res).body("hello"),
        "205written" | "304written" => with(name, res).write_with(|body| body.write_all(b"hello")),
        "close" => res.close().body("hello"),
        "closewritten" => res.close().write_with(|body| body.write_all(b"hello")),
        "upgrade" => res.status(426).header("Upgrade", "h2c").body("hello"),
        "upclose" => res
            .status(426)
            .header("Upgrade", "h2c")
            .close()
            .body("hello"),
        "iter" => res.header("a", "b").send_iter(hello()),
        "204iter" | "205iter" => with(name, res).send_iter(hello()),
        "closeiter" => res.close().send_iter(hello()),
        "reader" => res.send_reader(&b"hello"[..], Some(5)),
        "stream" => {
            let (done, mut body) = res.stream();
            body.send("hello").expect("room");
            body.trailer("sum", "1").expect("a trailer");
            body.finish().expect("the end");
            done
        }
        "exact" => {
            let (done, mut body) = res.stream_exact(5);
            body.send("hello").expect("room");
            body.finish().expect("the end");
            done
        }
        "events" => {
            let (done, mut events) = res.events();
            events.send("hello").expect("room");
            events.finish().expect("the end");
            done
        }
        "later" => {
            let (done, responder) = res
                .header("Content-Type", "text/plain; charset=utf-8")
                .defer();
            assert!(responder.send(|res| res.text("hello")).is_ok());
            done
        }
        "drop" => res.defer().0,
        _ => res.body("hello"),
    }
}

/// With the status that the name begins with, and a field.
fn with<'r>(name: &str, res: Response<'r>) -> Response<'r> {
    let status = name.get(..3).and_then(|status| status.parse().ok());
    res.status(status.expect("a status")).header("a", "b")
}

/// The request of a row.
fn request(how: &str, name: &str) -> String {
    let fields = "Host: a\r\n";
    let line = match how {
        "CONNECT" => "CONNECT a:1 HTTP/1.1".to_owned(),
        "1.0" | "keep" => format!("GET /{name} HTTP/1.0"),
        "2.0" => format!("GET /{name} HTTP/2.0"),
        method => format!("{method} /{name} HTTP/1.1"),
    };
    match how {
        "keep" => format!("{line}\r\n{fields}Connection: keep-alive\r\n\r\n"),
        "POST" => format!("{line}\r\n{fields}Content-Length: 1\r\nExpect: 100-continue\r\n\r\n"),
        _ => format!("{line}\r\n{fields}\r\n"),
    }
}

/// The bytes that a row stands for.
fn expected(row: &str) -> String {
    let row = row
        .replace(
            '^',
            "|Server: peregrine|Date: Thu, 01 Jan 1970 00:00:00 GMT|",
        )
        .replace('|', "\r\n")
        .replace('~', "\n")
        .replace("{large}", &"x".repeat(LARGE));
    format!("HTTP/1.1 {row}")
}

/// `received` with `*` for the values that are another time others.
fn masked(received: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(received).into_owned();
    for (from, to) in [
        ("\r\nETag: ", "\r\n"),
        ("boundary=", "\r\n"),
        ("\r\nDate: ", "\r\n"),
    ] {
        let Some(at) = text.find(from).map(|at| at + from.len()) else {
            continue;
        };
        let end = at + text[at..].find(to).expect("an end");
        let value = text[at..end].to_owned();
        text = text.replace(&value, "*");
    }
    text
}

/// What is not as it is in the table.
fn differences(received: impl Iterator<Item = (String, String, String)>) -> Vec<String> {
    received
        .filter(|(_, received, expected)| received != expected)
        .map(|(asked, received, _)| format!("{asked} => {}", received.escape_debug()))
        .collect()
}

#[test]
fn each_kind_of_response() {
    let rows = CASES.lines().filter(|row| !row.is_empty());
    let received = rows.map(|row| {
        let (asked, response) = row.split_once(" => ").expect("a row");
        let (how, name) = asked.split_once(' ').expect("how and what");
        let expected = expected(response);
        let mut client = Connection::new(&Named);
        client.send(request(how, name).as_bytes());
        if name == "take" {
            client.send(b"x");
        }
        let is_short = |client: &Connection<'_, Named>| {
            client.received().len() < expected.len() && !client.is_closed()
        };
        while is_short(&client) && client.wait(LONG) {}
        let received = String::from_utf8_lossy(client.received());
        (asked.to_owned(), received.into_owned(), expected)
    });
    assert_eq!(differences(received), [""; 0]);
}

/// `request; fields => response`: files in memory and on the disk, in which `*` stands for what is hard to
/// know.
#[cfg(feature = "dir")]
const FILES: &str = "
GET /a; => 200 OK^Content-Type: text/plain; charset=utf-8|{file}Content-Length: 5||hello
HEAD /a; => 200 OK^Content-Type: text/plain; charset=utf-8|{file}Content-Length: 5||
GET /a; Connection: close => 200 OK^Content-Type: text/plain; charset=utf-8|{file}Content-Length: 5|Connection: close||hello
GET /mine/a; => 200 OK^cache-control: no-store|Content-Type: text/plain; charset=utf-8|{kept}Content-Length: 5||hello
GET /a; If-None-Match: {etag} => 304 Not Modified^{again}|
GET /a; Range: bytes=1-2 => 206 Partial Content^Content-Type: text/plain; charset=utf-8|{file}Content-Range: bytes 1-2/5|Content-Length: 2||el
GET /a; Range: bytes=1-2 & If-Range: {etag} => 206 Partial Content^{again}Content-Range: bytes 1-2/5|Content-Length: 2||el
GET /a; Range: bytes=9- => 416 Range Not Satisfiable^Content-Range: bytes */5|Content-Type: text/plain; charset=utf-8|Content-Length: 27||the file has no such range~
GET /a; Range: bytes=0-0,4-4 => 206 Partial Content^{file}Content-Type: multipart/byteranges; boundary=*|Content-Length: 258||--*|Content-Type: text/plain; charset=utf-8|Content-Range: bytes 0-0/5||h|--*|Content-Type: text/plain; charset=utf-8|Content-Range: bytes 4-4/5||o|--*--|
GET /none; => 404 Not Found^Content-Type: text/html; charset=utf-8|Content-Length: 4||none
";

#[cfg(feature = "dir")]
#[test]
fn each_kind_of_response_with_a_file() {
    use super::scratch::{AN_HOUR, Scratch, get};
    use peregrine::files::{DirConfig, DirServer};

    const AGAIN: &str = "ETag: *|Cache-Control: no-cache|x-all: 1|";
    let scratch = Scratch::new();
    for name in ["a.txt", "mine/a.txt"] {
        scratch.write(name, "hello");
    }
    scratch.write("404.html", "none");
    // The second keeps nothing in memory.
    for hot_file_bytes in [1 << 20, 0] {
        let config = DirConfig::default()
            .not_found("404.html")
            .headers([("x-all", "1")])
            .recheck(AN_HOUR)
            .hot_file_bytes(hot_file_bytes);
        let dir = DirServer::with_config(scratch.root(), config).expect("a folder");
        let app = from_fn(move |req: &Request<'_>, res: Response<'_>| {
            let path = format!("{}.txt", req.path());
            match req.path().starts_with("/mine/") {
                true => dir.serve_path(&path, req, res.header("cache-control", "no-store")),
                false => dir.serve_path(&path, req, res),
            }
        });
        let etag = get(&app, "/a").get("etag").expect("a tag").to_owned();
        let first = "Accept-Ranges: bytes|Last-Modified: Wed, 01 Jan 2020 00:00:00 GMT|";
        let kept = AGAIN.replace("Cache-Control: no-cache|", "");
        let rows = FILES.lines().filter(|row| !row.is_empty());
        let received = rows.map(|row| {
            let (asked, response) = row.split_once(" => ").expect("a row");
            let (line, fields) = asked.split_once(';').expect("fields");
            let fields = fields
                .trim()
                .replace("{etag}", &etag)
                .replace(" & ", "\r\n");
            let mut client = Connection::new(&app);
            let end = if fields.is_empty() { "" } else { "\r\n" };
            client.send(format!("{line} HTTP/1.1\r\nHost: a\r\n{fields}{end}\r\n").as_bytes());
            let response = response
                .replace("{file}", &format!("{first}{AGAIN}"))
                .replace("{kept}", &format!("{first}{kept}"))
                .replace("{again}", AGAIN);
            let expected = masked(expected(&response).as_bytes());
            (asked.to_owned(), masked(client.received()), expected)
        });
        assert_eq!(differences(received), [""; 0], "{hot_file_bytes}");
    }
}

#[test]
fn a_client_that_is_turned_away() {
    let (in_handler, is_in_handler) = channel();
    let (go_on, may_go_on) = channel::<()>();
    let may_go_on = Mutex::new(may_go_on);
    let app = from_fn(move |_: &Request<'_>, res: Response<'_>| {
        in_handler.send(()).expect("the test goes on");
        may_go_on.lock().expect("no panic").recv().expect("a word");
        res.body("hello")
    });
    let config = workers(1)
        .connections_per_address(1)
        .trusted_proxies(Vec::new());
    let (_server, addr) = start(app, config);
    let (mut first, get) = (Client::connect(addr), request("GET", "body"));
    first.send(&get);
    is_in_handler.recv_timeout(LONG).expect("a call");
    // What it asks is there when the only thread comes to it.
    let mut second = Client::connect(addr);
    second.send(&get);
    go_on.send(()).expect("the handler waits");
    let mut received = Vec::new();
    second.stream.read_to_end(&mut received).expect("an end");
    let row = "503 Service Unavailable^Retry-After: 1|Content-Length: 0|Connection: close||";
    assert_eq!(masked(&received), masked(expected(row).as_bytes()));
}

#[cfg(feature = "websocket")]
impl peregrine::ws::WebSocketHandler for Named {
    type Conn = ();

    fn accept_ws(&self, _: &Request<'_>, upgrade: &mut peregrine::ws::Upgrade<'_>) -> Option<()> {
        upgrade.header("a", "b").expect("a field");
        upgrade.protocol("chat").expect("it is offered");
        Some(())
    }

    fn handle_ws_frame(&self, _: &mut peregrine::ws::Ws<'_, ()>, _: peregrine::ws::Message<'_>) {}
}

#[cfg(feature = "websocket")]
#[test]
fn a_change_of_protocol() {
    use peregrine::testing::WebSocket;
    use peregrine::ws::WsLimits;

    let fields = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: chat\r\n";
    let switched = "101 Switching Protocols|Upgrade: websocket|Connection: Upgrade|\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=|a: b|Sec-WebSocket-Protocol: chat||";
    let expecting = format!("100 Continue||HTTP/1.1 {switched}");
    for (more, row) in [("", switched), ("Expect: 100-continue\r\n", &expecting)] {
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}{more}\r\n");
        let client = WebSocket::connect_with(&Named, request.as_bytes(), WsLimits::default());
        let client = client.unwrap_or_else(|answer| panic!("{}", answer.escape_ascii()));
        assert_eq!(String::from_utf8_lossy(client.handshake()), expected(row));
    }
}
