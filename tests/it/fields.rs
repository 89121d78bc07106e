//! Header fields of responses: which replace each other, which add up, and what a helper sets of its
//! own accord.

use super::support::{Answer, Asked, read_answer};
use peregrine::testing::Connection;
use peregrine::{Done, Request, Response, from_fn};
use std::ops::Range;
use std::time::Duration;

type Handle = fn(&Request<'_>, Response<'_>) -> Done;

/// The response to one request.
#[track_caller]
fn answer(handle: impl Fn(&Request<'_>, Response<'_>) -> Done + Send + Sync + 'static) -> Answer {
    let app = from_fn(handle);
    let mut client = Connection::new(&app);
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    loop {
        if let Some((answer, _)) = read_answer(client.received(), Asked::Other).expect("correct") {
            return answer;
        }
        assert!(client.wait(Duration::from_secs(120)), "no answer");
    }
}

fn values<'a>(answer: &'a Answer, name: &str) -> Vec<&'a str> {
    let fields = answer.fields.iter().filter(|field| field.0 == name);
    fields.map(|field| field.1.as_str()).collect()
}

/// Fields are `name: value`, those of one name behind each other.
fn check(name: &str, expected: &[&str], cases: &[Handle]) {
    for (at, handle) in cases.iter().enumerate() {
        let answer = answer(*handle);
        assert_eq!(values(&answer, name), expected, "case {at}: {answer:?}");
    }
}

#[test]
fn a_field_that_was_set_is_not_doubled_by_a_default() {
    const OWN: &str = "text/x-own";
    check(
        "content-type",
        &[OWN],
        &[
            |_, res| res.header("Content-Type", OWN).text("x"),
            |_, res| res.header("content-TYPE", OWN).html("x"),
            |_, res| res.header("Content-Type", OWN).events().0,
            |_, res| res.status(404).header("Content-Type", OWN).text("x"),
            |_, res| res.header("Content-Type", OWN).status(404).text("x"),
            |_, res| {
                res.header("A", "b")
                    .header("Content-Type", OWN)
                    .header("C", "d")
                    .text("x")
            },
            |_, res| {
                let (done, responder) = res.header("Content-Type", OWN).defer();
                let _ = responder.send(|res| res.text("x"));
                done
            },
        ],
    );
    check(
        "content-type",
        &["text/plain; charset=utf-8"],
        &[|_, res| res.header("Content-Typ", OWN).text("x")],
    );
    check(
        "cache-control",
        &["no-store"],
        &[|_, res| res.header("Cache-Control", "no-store").events().0],
    );
    check(
        "x-accel-buffering",
        &["yes"],
        &[|_, res| res.header("X-Accel-Buffering", "yes").events().0],
    );
}

#[test]
fn a_field_with_one_value_is_replaced() {
    check(
        "content-type",
        &["b/b"],
        &[
            |_, res| {
                res.header("Content-Type", "a/a")
                    .header("content-type", "b/b")
                    .text("x")
            },
            |_, res| res.header("content-type", "a/a").body_as("b/b", "x"),
            |_, res| res.body_as("b/b", "x"),
            |req, res| {
                res.header("Content-Type", "a/a")
                    .offload(req, |_, res| res.header("Content-Type", "b/b").body("x"))
            },
            |_, res| {
                let (done, responder) = res.header("A", "b").header("Content-Type", "a/a").defer();
                let _ = responder.send(|res| {
                    let (done, responder) = res.header("Content-Type", "c/c").defer();
                    let _ = responder.send(|res| res.header("Content-Type", "b/b").text("x"));
                    done
                });
                done
            },
        ],
    );
    check(
        "location",
        &["/b"],
        &[
            |_, res| res.header("Location", "/a").redirect(302, "/b"),
            |_, res| res.header("Location", "/a").redirect_local(302, "/b"),
        ],
    );
    for name in ["ETag", "Last-Modified", "Retry-After", "Expires"] {
        let answer = answer(move |_, res| {
            res.header(name, "1")
                .header("x", "y")
                .header(name, "2")
                .body("x")
        });
        assert_eq!(values(&answer, &name.to_ascii_lowercase()), ["2"]);
        assert_eq!(values(&answer, "x"), ["y"]);
    }
}

/// All orders in which four fields out of five names are set, on one connection: at once, by `header_always`, and in part before
/// the response is deferred.
#[test]
fn fields_that_are_set_in_any_order() {
    const NAMES: [&str; 5] = [
        "ETag",
        "last-modified",
        "Content-Type",
        "X-Frame-Options",
        "x",
    ];
    /// Sets the fields whose names have these digits. The value is the place.
    fn set<'r>(
        mut res: Response<'r>,
        order: &str,
        places: Range<usize>,
        always: bool,
    ) -> Response<'r> {
        for place in places {
            let name = NAMES[usize::from(order.as_bytes()[place] - b'0')];
            res = match always {
                true => res.header_always(name, place.to_string()),
                false => res.header(name, place.to_string()),
            };
        }
        res
    }
    let app = from_fn(|req, res| {
        let (how, order) = req.path()[1..].split_at(1);
        match how {
            "h" => set(res, order, 0..4, false).body("x"),
            "t" => set(res, order, 0..4, false).text("x"),
            "a" => set(set(res, order, 0..2, true), order, 2..4, false).body("x"),
            _ => {
                let (done, responder) = set(res, order, 0..2, false).defer();
                let order = order.to_owned();
                let _ = responder.send(move |res| set(res, &order, 2..4, false).body("x"));
                done
            }
        }
    });
    for how in ["h", "t", "a", "d"] {
        let mut client = Connection::new(&app);
        let mut seen = 0;
        for number in 0..5_usize.pow(4) {
            let order: Vec<usize> = (0..4).map(|i| number / 5_usize.pow(i) % 5).collect();
            let digits: String = order.iter().map(usize::to_string).collect();
            client.send(format!("GET /{how}{digits} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
            let answer = loop {
                let received = client.received();
                let found = read_answer(&received[seen..], Asked::Other);
                if let Some((answer, rest)) = found.expect("correct") {
                    seen = received.len() - rest.len();
                    break answer;
                }
                assert!(client.wait(Duration::from_secs(120)), "no answer");
            };
            for (digit, name) in NAMES.iter().enumerate() {
                let places = (0..4).filter(|place| order[*place] == digit);
                let mut expected: Vec<String> = places.map(|place| place.to_string()).collect();
                // Those that stay are replaced, by as many as there are.
                if how == "a" && order[..2].contains(&digit) {
                    let own = order[2..].iter().filter(|own| **own == digit).count();
                    expected.drain(..expected.len() - own.max(1));
                }
                if *name != "x" && expected.len() > 1 {
                    expected.drain(..expected.len() - 1);
                }
                if *name == "Content-Type" && how == "t" && expected.is_empty() {
                    expected.push("text/plain; charset=utf-8".to_owned());
                }
                let found = values(&answer, &name.to_ascii_lowercase());
                assert_eq!(found, expected, "{name} in /{how}{digits}");
            }
        }
    }
}

#[test]
fn a_list_adds_up() {
    for name in [
        "Set-Cookie",
        "WWW-Authenticate",
        "Cache-Control",
        "Vary",
        "Link",
        "X-Unknown",
    ] {
        let answer = answer(move |req, res| {
            res.header(name, "a")
                .header("Content-Type", "b/b")
                .offload(req, move |_, res| res.header(name, "b").body("x"))
        });
        assert_eq!(values(&answer, &name.to_ascii_lowercase()), ["a", "b"]);
    }
}

#[test]
fn an_upgrade_is_a_field_of_the_connection() {
    let cases: &[Handle] = &[
        |_, res| res.status(426).header("Upgrade", "h2c").body(""),
        |_, res| {
            res.status(426)
                .header("Upgrade", "h2c")
                .header("Upgrade", "websocket")
                .body("")
        },
        |_, res| {
            let (done, body) = res.header("Upgrade", "h2c").stream();
            body.finish().expect("sent");
            done
        },
        |req, res| {
            res.header("Upgrade", "h2c")
                .offload(req, |_, res| res.text("x"))
        },
        |req, res| res.offload(req, |_, res| res.header("Upgrade", "h2c").text("x")),
    ];
    check("connection", &["upgrade"], cases);
    check(
        "connection",
        &["upgrade, close"],
        &[
            |_, res| res.status(426).header("Upgrade", "h2c").close().body(""),
            |_, res| {
                res.status(426)
                    .header("Upgrade", "h2c")
                    .close()
                    .write_with(|_| Ok(()))
            },
            |req, res| {
                res.header("Upgrade", "h2c")
                    .offload(req, |_, res| res.close().text("x"))
            },
        ],
    );
    check("connection", &[], &[|_, res| res.header("A", "b").body("")]);
}

#[test]
fn a_redirect_leads_elsewhere() {
    for status in [301, 302, 303, 307, 308] {
        let answer = answer(move |_, res| res.redirect(status, "https://b.example/"));
        assert_eq!(answer.status, status);
        assert_eq!(answer.get("location"), Some("https://b.example/"));
    }
    for status in [200, 204, 300, 304, 305, 306, 309, 404] {
        let answer = answer(move |_, res| res.redirect(status, "/"));
        assert_eq!(answer.status, 500, "{status}");
    }
    for place in ["/", "/a//b", "/?next=//b.example", "/a\\b"] {
        let answer = answer(move |_, res| res.redirect_local(303, place));
        assert_eq!((answer.status, answer.get("location")), (303, Some(place)));
    }
    for place in [
        "",
        "a",
        "//b.example",
        "/\\b.example",
        "\\\\b",
        "/\t/b.example",
        "https://b.example",
        "?",
    ] {
        let answer = answer(move |_, res| res.redirect_local(303, place));
        assert_eq!(answer.status, 500, "{place}");
    }
}

#[test]
fn events_pass_a_proxy() {
    let answer = answer(|_, res| res.events().0);
    assert_eq!(answer.get("content-type"), Some("text/event-stream"));
    assert_eq!(answer.get("cache-control"), Some("no-cache, no-transform"));
    assert_eq!(answer.get("x-accel-buffering"), Some("no"));
}

#[cfg(feature = "dir")]
#[test]
fn fields_before_a_file() {
    let files = peregrine::files::DirServer::new(env!("CARGO_MANIFEST_DIR")).expect("a folder");
    let files: &'static peregrine::files::DirServer = Box::leak(Box::new(files));
    let ask = |more: &str, method: &str, name: &'static str| {
        let app = from_fn(move |req, res| {
            files.serve(req, res.header(name, "own").header("Vary", "Cookie"))
        });
        let mut client = Connection::new(&app);
        let request = format!("{method} /Cargo.toml HTTP/1.1\r\nHost: a\r\n{more}\r\n");
        client.send(request.as_bytes());
        let asked = if method == "HEAD" {
            Asked::Head
        } else {
            Asked::Other
        };
        read_answer(client.received(), asked)
            .expect("correct")
            .expect("complete")
            .0
    };
    for name in [
        "Cache-Control",
        "ETag",
        "Content-Type",
        "Last-Modified",
        "X-Content-Type-Options",
    ] {
        for (more, method, status) in [
            ("", "GET", 200),
            ("", "HEAD", 200),
            ("Range: bytes=0-1\r\n", "GET", 206),
            ("Range: bytes=999999999-\r\n", "GET", 416),
            ("If-None-Match: *\r\n", "GET", 304),
        ] {
            let answer = ask(more, method, name);
            assert_eq!(answer.status, status);
            let expected = ["own"];
            assert_eq!(
                values(&answer, &name.to_ascii_lowercase()),
                expected,
                "{answer:?}"
            );
            assert!(values(&answer, "vary").contains(&"Cookie"));
        }
    }
    // What depends on the part that is sent is the library's to say.
    let answer = ask("Range: bytes=0-1\r\n", "GET", "Content-Range");
    assert!(
        answer
            .get("content-range")
            .is_some_and(|range| range.starts_with("bytes 0-1/"))
    );
    let answer = ask("Range: bytes=0-1,4-5\r\n", "GET", "Content-Type");
    assert!(
        answer
            .get("content-type")
            .is_some_and(|kind| kind.starts_with("multipart/byteranges"))
    );
}

/// A name that is configured several times is sent so often, also beside a field that a layer has set.
#[cfg(feature = "dir")]
#[test]
fn configured_fields_of_a_file_are_all_sent() {
    use peregrine::files::{DirConfig, DirServer};
    let fields = [("X-Robots-Tag", "noindex"), ("X-Robots-Tag", "nosnippet")];
    let config = DirConfig::default().headers(fields);
    let files = DirServer::with_config(env!("CARGO_MANIFEST_DIR"), config).expect("a folder");
    let files: &'static DirServer = Box::leak(Box::new(files));
    for (name, expected) in [
        ("X-Other", &["noindex", "nosnippet"][..]),
        ("X-Robots-Tag", &["own"]),
    ] {
        for (more, status) in [("", 200), ("Range: bytes=0-1\r\n", 206)] {
            for is_set in [false, true] {
                let app = from_fn(move |req, res| match is_set {
                    true => files.serve(req, res.header(name, "own")),
                    false => files.serve(req, res),
                });
                let mut client = Connection::new(&app);
                let request = format!("GET /Cargo.toml HTTP/1.1\r\nHost: a\r\n{more}\r\n");
                client.send(request.as_bytes());
                let answer = read_answer(client.received(), Asked::Other);
                let answer = answer.expect("correct").expect("complete").0;
                assert_eq!(answer.status, status);
                let expected = match is_set {
                    true => expected,
                    false => &["noindex", "nosnippet"],
                };
                assert_eq!(values(&answer, "x-robots-tag"), expected, "{name} {is_set}");
            }
        }
    }
}
