//! Layers that change responses, when a handler or a layer fails.

use super::support::{Asked, Client, ended, start, workers};
use peregrine::error::Status;
use peregrine::layers::{self, ETags};
use peregrine::router::offload;
use peregrine::{Done, Handler, Request, Response, Router};

fn panicking(_: &Request<'_>, _: Response<'_>) -> Done {
    std::panic::resume_unwind(Box::new("as asked"))
}

/// A response that comes later, which both layers would change.
fn late(_: &Request<'_>, res: Response<'_>) -> Done {
    res.text("secret ".repeat(1000))
}

fn failing() -> Router {
    Router::new()
        .get("/panic", panicking)
        .post("/late", offload(late))
}

/// One client makes a handler panic. Another one gets a response that comes later, from the same worker.
fn nothing_of_a_panic_is_left(app: impl Handler) {
    let (server, addr) = start(app, workers(1));
    let mut first = Client::connect(addr);
    first.send(
        "GET /panic HTTP/1.1\r\nHost: a\r\nIf-None-Match: *\r\nAccept-Encoding: gzip\r\n\r\n",
    );
    assert_eq!(first.answer(Asked::Other).status, 500);
    // The server waits for the end of the connection.
    drop(first);
    let mut second = Client::connect(addr);
    second.send("POST /late HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    let response = second.answer(Asked::Other);
    assert_eq!(response.status, 200);
    assert_eq!(response.get("content-encoding"), None);
    assert_eq!(response.get("etag"), None);
    assert_eq!(response.text(), "secret ".repeat(1000));
    server.stop();
    ended(server);
}

#[test]
fn the_tags_of_a_request_that_panicked_are_not_for_the_next_client() {
    nothing_of_a_panic_is_left(failing().layer(ETags::new()));
}

#[cfg(feature = "compress")]
#[test]
fn the_coding_of_a_request_that_panicked_is_not_for_the_next_client() {
    nothing_of_a_panic_is_left(peregrine::compression::Compress::new(failing()));
}

#[cfg(feature = "http2")]
mod http2 {
    use super::super::support::PATIENCE;
    use super::*;
    use peregrine::testing::Http2;

    fn nothing_of_a_panic_is_left(app: &impl Handler) {
        let mut client = Http2::new(app);
        let fields = [("if-none-match", "*"), ("accept-encoding", "gzip")];
        let first = client.begin("GET", "/panic", &fields);
        client.data(first, b"", true);
        assert!(client.wait_for(first, PATIENCE));
        assert_eq!(client.response(first).status, 500);
        let second = client.begin("POST", "/late", &[]);
        client.data(second, b"", true);
        assert!(client.wait_for(second, PATIENCE));
        let response = client.response(second);
        assert_eq!(response.status, 200);
        assert_eq!(response.field("content-encoding"), None);
        assert_eq!(response.field("etag"), None);
        assert_eq!(response.body, "secret ".repeat(1000).as_bytes());
    }

    #[test]
    fn the_tags_of_a_request_that_panicked_are_not_for_the_next_stream() {
        nothing_of_a_panic_is_left(&failing().layer(ETags::new()));
    }

    #[cfg(feature = "compress")]
    #[test]
    fn the_coding_of_a_request_that_panicked_is_not_for_the_next_stream() {
        nothing_of_a_panic_is_left(&peregrine::compression::Compress::new(failing()));
    }
}

/// A layer of a program may catch panics.
#[test]
#[expect(clippy::disallowed_methods, reason = "a program may call it")]
fn a_layer_that_catches_a_panic_responds_itself() {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    let catching = layers::from_fn(|req, res, next| {
        catch_unwind(AssertUnwindSafe(|| next.run(req, res))).map_err(|_| Status(503))
    });
    let app = Router::new()
        .nest("/a", failing().layer(ETags::new()))
        .layer(catching);
    let (server, addr) = start(app, workers(1));
    let mut client = Client::connect(addr);
    for _ in 0..2 {
        let response = client.get("/a/panic");
        assert_eq!(
            (
                response.status,
                response.text().starts_with("Service Unavailable")
            ),
            (503, true)
        );
        client.send("POST /a/late HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(client.answer(Asked::Other).get("etag"), None);
    }
    server.stop();
    ended(server);
}

/// A layer within which the response is changed does not send it.
#[test]
fn an_error_of_a_layer_replaces_a_response_that_tags_wait_for() {
    let failing = layers::from_fn(|req, res, next| {
        let _ = next.run(req, res);
        Err::<Done, _>(Status(503))
    });
    let app = Router::new()
        .get("/late", offload(late))
        .get("/fault", |_, res| res.header("X-Bad", "\n").text("x"))
        .get("/now", |_, res| res.text("x"))
        .get("/stream", |_, res| res.send_iter(["a", "b"]))
        .layer(failing)
        .layer(ETags::new());
    let (server, addr) = start(app, workers(1));
    for path in ["/late", "/fault", "/now", "/stream"] {
        let mut client = Client::connect(addr);
        let response = client.get(path);
        assert_eq!(
            (
                response.status,
                response.text().starts_with("Service Unavailable")
            ),
            (503, true),
            "{path}"
        );
        assert_eq!(client.get("/now").status, 503, "{path}");
    }
    server.stop();
    ended(server);
}

mod pages {
    use peregrine::error::{BoxError, Problem, Status};
    use peregrine::layers::{self, ErrorPages, RateLimit};
    use peregrine::router::{Route, offload};
    use peregrine::testing::{Client, ClientResponse, Connection};
    use peregrine::{Config, Done, Limits, Router};
    use std::time::Duration;

    const BROWSER: &str = "text/html,application/xhtml+xml,*/*;q=0.8";

    fn app() -> Router {
        let pages = ErrorPages::new(|error, req, res| match (error.status(), req.path()) {
            (401, _) => res.redirect(303, "/login"),
            (_, "/page/panics") => std::panic::resume_unwind(Box::new("as asked")),
            (_, "/page/is/asked/again") => error.respond_to(req, res),
            (status, _) => res.html(format!(
                "page {status} {} {:?}",
                error.title_text(),
                error.detail_text()
            )),
        });
        let none = RateLimit::new(0, Duration::from_secs(60));
        let refused = layers::check(|_| Err(Problem::new(403).detail("not you")));
        Router::new()
            .get("/handler", |_, _| Err::<Done, _>(Status(404)))
            .get("/login-first", |_, _| Err::<Done, _>(Status(401)))
            .get(
                "/pool",
                offload(|_, _| Err::<Done, BoxError>(Problem::new(409).detail("taken").into())),
            )
            .get("/own", |_, res| res.status(404).text("of the handler"))
            .get("/page/panics", |_, _| Err::<Done, _>(Status(404)))
            .get("/page/is/asked/again", |_, _| Err::<Done, _>(Status(404)))
            .get("/panics", |_, _| -> Done {
                std::panic::resume_unwind(Box::new("as asked"))
            })
            .post("/post", |_, res| res.text(""))
            .route(Route::get("/limited", |_, res| res.text("")).layer(none))
            .route(Route::post("/refused", |_, res| res.text("")).layer(refused))
            .layer(pages)
    }

    fn ask(app: &Router, accept: &str, path: &str, body: &[u8]) -> ClientResponse {
        let limits = Limits::default().body_bytes(10);
        let mut client = Client::new(app).config(Config::default().limits(limits));
        let method = if body.is_empty() { "GET" } else { "POST" };
        let request = client.request(method, path).header("Accept", accept);
        request.body(body).send()
    }

    #[test]
    fn browsers_get_a_page_for_every_error() {
        let app = app();
        for (path, body, status, page) in [
            ("/handler", "", 404, "page 404 Not Found None"),
            ("/pool", "", 409, "page 409 Conflict Some(\"taken\")"),
            ("/none", "", 404, "page 404 Not Found None"),
            ("/post", "", 405, "page 405 Method Not Allowed None"),
            ("/limited", "", 429, "page 429 Too Many Requests None"),
            (
                "/refused",
                "body",
                403,
                "page 403 Forbidden Some(\"not you\")",
            ),
            (
                "/post",
                "more than ten bytes",
                413,
                "page 413 Content Too Large ",
            ),
            ("/panics", "", 500, "page 500 Internal Server Error "),
            ("/own", "", 404, "of the handler"),
            ("/login-first", "", 303, ""),
            // A fault of the page costs the page.
            ("/page/panics", "", 500, "the server could not"),
            ("/page/is/asked/again", "", 404, "Not Found"),
        ] {
            let response = ask(&app, BROWSER, path, body.as_bytes());
            assert_eq!(response.status(), status, "{path}");
            assert!(
                response.text().starts_with(page),
                "{path}: {}",
                response.text()
            );
            let response = ask(&app, "*/*", path, body.as_bytes());
            let is_page = response.text().starts_with("page") || response.status() == 303;
            assert!(!is_page, "{path}: {}", response.text());
        }
        let fields = |path, name| {
            ask(&app, BROWSER, path, b"")
                .header(name)
                .map(str::to_owned)
        };
        assert_eq!(fields("/post", "allow").as_deref(), Some("OPTIONS, POST"));
        assert!(fields("/limited", "retry-after").is_some());
        assert_eq!(fields("/handler", "vary").as_deref(), Some("Accept"));
        let mut client = Client::new(&app);
        let head = client.request("HEAD", "/handler");
        let head = head.header("Accept", BROWSER).send();
        assert_eq!((head.status(), head.text()), (404, ""));
        // The request is not known.
        let mut client = Connection::new(&app);
        client.send(b"GET / HTTP/1.1\r\nAccept: text/html\r\nHost : a\r\n\r\n");
        assert!(client.received().starts_with(b"HTTP/1.1 400 "));
    }

    #[test]
    fn a_page_with_another_status_replaces_an_error_of_a_handler_only() {
        let within = Router::new()
            .get("/a", |_, _| Err::<Done, _>(Status(404)))
            .layer(ErrorPages::new(|_, _, res| res.html("within")));
        let app = Router::new()
            .nest("/n", within)
            .post("/post", |_, res| res.text(""))
            .layer(ErrorPages::new(|_, _, res| res.redirect(303, "/x")));
        assert_eq!(ask(&app, BROWSER, "/none", b"").status(), 303);
        let inner = ask(&app, BROWSER, "/n/a", b"");
        assert_eq!((inner.status(), inner.text()), (404, "within"));
        let library = ask(&app, BROWSER, "/post", b"more than ten bytes");
        assert_eq!(library.status(), 413);
        assert_eq!(library.header("location"), None);
    }
}

#[cfg(feature = "websocket")]
mod websocket {
    use super::super::ws_protocol::Echo;
    use peregrine::layers::{BasicAuth, Layered, Maintenance, RateLimit};
    use peregrine::testing::WebSocket;
    use peregrine::ws::WebSocketHandler;
    use std::time::Duration;

    fn refused(app: &impl WebSocketHandler) -> String {
        match WebSocket::connect(app, "/ws") {
            Ok(_) => "accepted".to_owned(),
            Err(response) => String::from_utf8_lossy(&response).into_owned(),
        }
    }

    #[test]
    fn layers_refuse_handshakes() {
        let app = Layered::new(Echo).layer(BasicAuth::user("chat", "ada", "lovelace"));
        let response = refused(&app);
        assert!(response.starts_with("HTTP/1.1 401 "), "{response}");
        assert!(
            response.contains("\r\nWWW-Authenticate: Basic realm=\"chat\""),
            "{response}"
        );
        let maintenance = Maintenance::new();
        let app = Layered::new(Echo).layer(maintenance.clone());
        let mut client = WebSocket::connect(&app, "/ws").expect("accepted");
        client.send_message("hi");
        assert_eq!(client.take_received(), b"\x81\x02hi");
        maintenance.set(true);
        let response = refused(&app);
        assert!(response.starts_with("HTTP/1.1 503 "), "{response}");
    }

    #[cfg(feature = "compress")]
    #[test]
    fn a_handler_with_compressed_responses_has_websockets() {
        let app = peregrine::compression::Compress::new(Echo);
        let mut client = WebSocket::connect(&app, "/ws").expect("accepted");
        client.send_message("hi");
        assert_eq!(client.take_received(), b"\x81\x02hi");
    }

    #[test]
    fn handshakes_count_in_a_rate_limit() {
        let limit = RateLimit::new(2, Duration::from_secs(86_400)).key(|_| Some(Vec::new()));
        let app = Layered::new(Echo).layer(limit);
        assert_eq!(refused(&app), "accepted");
        assert_eq!(refused(&app), "accepted");
        let response = refused(&app);
        assert!(response.starts_with("HTTP/1.1 429 "), "{response}");
    }
}
