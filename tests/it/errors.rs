//! Error responses of the library, in the form that a handler gives them.

use super::support::{Answer, Asked, read_answer};
use peregrine::body::{BodySink, Flow, Incoming};
use peregrine::error::ErrorContext;
use peregrine::testing::Connection;
use peregrine::{BodyPlan, Done, Handler, Request, Response};
use std::panic::resume_unwind;

/// What the hook does.
#[derive(Clone, Copy, Debug)]
enum Hook {
    Json,
    Default,
    Panics,
    OtherStatus,
    BadField,
    TooLong,
    Defers,
    Streams,
    Draws,
}

struct App(Hook);

struct Fails;

impl BodySink for Fails {
    fn piece(&mut self, _: &[u8], _: &mut Incoming<'_>) -> Flow {
        resume_unwind(Box::new("as asked"))
    }

    fn finish(self: Box<Self>, _: &Request<'_>, res: Response<'_>) -> Done {
        res.text("finished")
    }
}

impl Handler for App {
    fn body_plan(&self, req: &Request<'_>) -> BodyPlan {
        match req.path() {
            "/refuse" => BodyPlan::Refuse(403),
            "/nonsense" => BodyPlan::Refuse(200),
            "/plan" => resume_unwind(Box::new("as asked")),
            "/sink" => BodyPlan::stream(Fails),
            "/respond" => BodyPlan::respond(|req, res| {
                assert!(req.body().is_empty());
                res.status(401)
                    .header("WWW-Authenticate", "Basic")
                    .text(req.path())
            }),
            "/respond/panics" => {
                BodyPlan::respond(|_, _| -> Done { resume_unwind(Box::new("as asked")) })
            }
            _ => BodyPlan::BufferUpTo(4),
        }
    }

    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        match req.path() {
            "/panic" => resume_unwind(Box::new("as asked")),
            "/field" => res.header("a b", "c").text("x"),
            "/abandon" => res.header("Of", "the handler").defer().0,
            _ => res.text("fine"),
        }
    }

    fn error_response(&self, error: &ErrorContext<'_>, res: Response<'_>) -> Done {
        let target = error
            .request()
            .map_or("none", |req| req.target())
            .to_owned();
        let res = res.header("For", &target);
        match self.0 {
            Hook::Json => res.header("Content-Type", "application/json").body(format!(
                "{} {}",
                error.status(),
                error.text()
            )),
            Hook::Default => error.respond(res),
            Hook::Panics => resume_unwind(Box::new("as asked")),
            Hook::OtherStatus => res.status(200).text("all is well"),
            Hook::BadField => res.header("a", "b\r\nc: d").text("x"),
            Hook::TooLong => res.body("x".repeat(64 << 10)),
            Hook::Defers => res.defer().0,
            Hook::Streams => res.stream().0,
            Hook::Draws => res.send_iter([b"x"]),
        }
    }
}

fn exact(path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Requests, the status and the text of each error, and the target if it is known.
fn cases() -> Vec<(String, u16, &'static str, &'static str)> {
    const NOT_ANSWERED: &str = "the server could not respond to this request";
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    vec![
        ("GET\r\n\r\n".to_owned(), 400, "malformed request line", "none"),
        ("GET /x HTTP/1.1\r\n\r\n".to_owned(), 400, "no Host", "/x"),
        (get(&"/x".repeat(5000)), 414, "request target too long", "none"),
        (exact("/large", "12345"), 413, "request body too large", "/large"),
        (
            "POST /large HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n0\r\n\r\n".to_owned(),
            413,
            "request body too large",
            "/large",
        ),
        (exact("/refuse", "x"), 403, "Forbidden", "/refuse"),
        (exact("/nonsense", "x"), 500, "Internal Server Error", "/nonsense"),
        (exact("/plan", "x"), 500, "Internal Server Error", "/plan"),
        (exact("/sink", "x"), 500, "the server could not accept this request", "/sink"),
        (exact("/respond/panics", "x"), 500, NOT_ANSWERED, "/respond/panics"),
        (get("/panic"), 500, NOT_ANSWERED, "/panic"),
        (get("/field"), 500, NOT_ANSWERED, "/field"),
        (get("/abandon"), 500, NOT_ANSWERED, "none"),
    ]
}

#[track_caller]
fn ask(hook: Hook, request: &str) -> (Answer, u64) {
    let app = App(hook);
    let mut client = Connection::new(&app);
    client.send(request.as_bytes());
    let received = client.take_received();
    let read = read_answer(&received, Asked::Other).expect("correct");
    let (answer, rest) = read.expect("complete");
    assert!(rest.is_empty(), "{hook:?}: {request}");
    assert!(
        client.is_closed() && answer.closes(),
        "{hook:?}: {answer:?}"
    );
    (answer, client.counters().panics)
}

#[test]
fn errors_have_the_form_that_the_handler_gives_them() {
    for (request, status, text, target) in cases() {
        let (answer, _) = ask(Hook::Json, &request);
        assert_eq!(answer.status, status, "{request}");
        assert_eq!(answer.text(), format!("{status} {text}"));
        assert_eq!(answer.get("content-type"), Some("application/json"));
        assert_eq!(answer.get("for"), Some(target), "{request}");
        assert_eq!(answer.get("of"), None);

        let (answer, _) = ask(Hook::Default, &request);
        assert_eq!(
            (answer.status, answer.text()),
            (status, &*format!("{text}\n"))
        );
        assert_eq!(answer.get("content-type"), Some("text/plain"));
        assert_eq!(answer.get("for"), Some(target));
    }
}

#[test]
fn an_error_response_that_cannot_be_sent_is_replaced_by_that_of_the_library() {
    for hook in [
        Hook::Panics,
        Hook::OtherStatus,
        Hook::BadField,
        Hook::TooLong,
        Hook::Defers,
        Hook::Streams,
        Hook::Draws,
    ] {
        for (request, status, text, _) in cases() {
            let (answer, panics) = ask(hook, &request);
            assert_eq!(
                (answer.status, answer.text()),
                (status, &*format!("{text}\n")),
                "{hook:?}"
            );
            assert_eq!(answer.get("for"), None);
            assert!(panics > 0 || !matches!(hook, Hook::Panics));
        }
    }
}

#[test]
fn a_head_of_an_error_has_no_body() {
    let app = App(Hook::Json);
    let mut client = Connection::new(&app);
    client.send(b"HEAD /panic HTTP/1.1\r\nHost: a\r\n\r\n");
    let (answer, rest) = read_answer(client.received(), Asked::Head)
        .expect("correct")
        .expect("complete");
    assert!(rest.is_empty());
    let len = "500 the server could not respond to this request"
        .len()
        .to_string();
    assert_eq!(answer.get("content-length"), Some(&*len));
}

#[test]
fn a_body_is_refused_with_a_whole_response() {
    for request in [
        exact("/respond", "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"),
        exact("/respond", "x").replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n"),
    ] {
        let (answer, _) = ask(Hook::Json, &request);
        assert_eq!((answer.status, answer.text()), (401, "/respond"));
        assert_eq!(answer.get("www-authenticate"), Some("Basic"));
        assert_eq!(answer.get("for"), None);
    }
}
