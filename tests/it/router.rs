//! Routes: which handler gets a request, and the responses of the router itself.

use peregrine::error::BoxError;
use peregrine::router::{Route, RouteError, Slash};
use peregrine::testing::Connection;
use peregrine::{BodyPlan, Done, Handler, Request, Response, Router, from_fn};

/// Responds with the pattern of the route and the parameters.
fn show(req: &Request<'_>, res: Response<'_>) -> Done {
    let names = ["id", "name", "rest", "module", "uuid", "a", "b"];
    let params = names.iter().filter_map(|name| {
        let value = req.param_str(name)?;
        Some(format!(" {name}={value}"))
    });
    res.text(req.route().unwrap_or("none").to_owned() + &params.collect::<String>())
}

fn send(app: &impl Handler, method: &str, target: &str) -> String {
    let mut client = Connection::new(app);
    client.send(format!("{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
    String::from_utf8_lossy(client.received()).into_owned()
}

/// The status of a response, and its body or the value of `Allow` or `Location`.
fn brief(received: &str) -> String {
    let (head, body) = received.split_once("\r\n\r\n").expect("a head");
    let status = head.get(9..12).expect("a status");
    let field = head.lines().find_map(|line| {
        let value = line.strip_prefix("Allow: ");
        value.or_else(|| line.strip_prefix("Location: "))
    });
    format!("{status} {}", field.unwrap_or(body.trim_end()))
}

#[track_caller]
fn expect(app: &Router, rows: &[(&str, &str, &str)]) {
    for (method, target, expected) in rows {
        assert_eq!(
            brief(&send(app, method, target)),
            *expected,
            "{method} {target}"
        );
    }
}

/// Cases of issues of other routers, most of which are named in a decision of this repository.
#[test]
fn cases_that_other_routers_have_had_trouble_with() {
    // A general method with a specific path beside the opposite: no conflict.
    let app = Router::new()
        .get("/{*rest}", show)
        .any("/api/{*rest}", show)
        .any("/debug/x", show);
    expect(
        &app,
        &[
            ("GET", "/api/x", "200 /api/{*rest} rest=x"),
            ("POST", "/debug/x", "200 /debug/x"),
            ("GET", "/other", "200 /{*rest} rest=other"),
        ],
    );
    // Two modules whose routes overlap: text at the first place where they differ wins.
    let app = Router::new()
        .get("/api/{module}/{id}/attachments/{uuid}", show)
        .get("/api/smtp/message/{uuid}/raw", show);
    expect(
        &app,
        &[
            (
                "GET",
                "/api/smtp/message/attachments/raw",
                "200 /api/smtp/message/{uuid}/raw uuid=attachments",
            ),
            (
                "GET",
                "/api/smtp/7/attachments/9",
                "200 /api/{module}/{id}/attachments/{uuid} id=7 module=smtp uuid=9",
            ),
            (
                "GET",
                "/api/smtp/message/attachments/9",
                "200 /api/{module}/{id}/attachments/{uuid} id=message module=smtp uuid=9",
            ),
        ],
    );
    // A parameter is never empty.
    let app = Router::new().get("/a/{id}/b", show).get("/t/{*rest}", show);
    expect(
        &app,
        &[
            ("GET", "/a//b", "404 Not Found"),
            ("GET", "/t/", "404 Not Found"),
            ("GET", "/t//", "200 /t/{*rest} rest=/"),
        ],
    );
    // The same path with other methods, also at the root of a nested router.
    let app = Router::new()
        .get("/", show)
        .post("/", show)
        .nest(
            "/n",
            Router::new()
                .get("/", show)
                .not_found(|_, res| res.status(404).text("inner")),
        )
        .nest("/n", Router::new().post("/", show));
    expect(
        &app,
        &[
            ("POST", "/", "200 /"),
            ("GET", "/n", "200 /n"),
            ("POST", "/n", "200 /n"),
            ("PUT", "/n", "405 GET, HEAD, OPTIONS, POST"),
            ("GET", "/n/x", "404 inner"),
            ("GET", "/n/", "404 inner"),
            ("GET", "/nx", "404 Not Found"),
        ],
    );
    // 405 and 404, with and without routes that match nearly everything.
    let app = Router::new()
        .get("/a", show)
        .put("/a", show)
        .get("/{*rest}", show)
        .route(Route::delete("/guarded", show).when(|_| false));
    expect(
        &app,
        &[
            ("POST", "/a", "405 GET, HEAD, OPTIONS, PUT"),
            ("POST", "/missing", "404 Not Found"),
            ("DELETE", "/guarded", "404 Not Found"),
            ("GET", "/guarded", "200 /{*rest} rest=guarded"),
            ("OPTIONS", "/a", "204 GET, HEAD, OPTIONS, PUT"),
            ("OPTIONS", "/missing", "404 Not Found"),
            ("HEAD", "/a", "200 "),
        ],
    );
    // Backtracking, and upper case.
    let app = Router::new()
        .get("/{a}/users", show)
        .get("/hello/users/test", show)
        .get("/Hello/X", show);
    expect(
        &app,
        &[
            ("GET", "/hello/users", "200 /{a}/users a=hello"),
            ("GET", "/hello/users/test", "200 /hello/users/test"),
            ("GET", "/hello/x", "404 Not Found"),
            ("GET", "/Hello/X", "200 /Hello/X"),
        ],
    );
    // A method that the most specific pattern does not have.
    let app = Router::new()
        .get("/a/b", show)
        .post("/a/{id}", show)
        .put("/{*rest}", show);
    expect(
        &app,
        &[
            ("POST", "/a/b", "200 /a/{id} id=b"),
            ("PUT", "/a/b", "200 /{*rest} rest=a/b"),
            ("PATCH", "/a/b", "405 GET, HEAD, OPTIONS, POST, PUT"),
            ("OPTIONS", "/a/b", "204 GET, HEAD, OPTIONS, POST, PUT"),
            ("PATCH", "/a/c", "405 OPTIONS, POST, PUT"),
            ("PATCH", "/c", "404 Not Found"),
        ],
    );
}

#[test]
fn patterns_have_a_precedence() {
    let patterns = [
        "/u/me",
        "/u/m{id}",
        "/u/{id}.png",
        "/u/{id}",
        "/u/{*rest}",
        "/u/{id}/x",
        "/@{name}",
    ];
    // The order of the calls does not matter.
    for turned in 0..patterns.len() {
        let mut patterns = patterns;
        patterns.rotate_left(turned);
        let app = patterns
            .iter()
            .fold(Router::new(), |app, pattern| app.get(pattern, show));
        expect(
            &app,
            &[
                ("GET", "/u/me", "200 /u/me"),
                ("GET", "/u/mo", "200 /u/m{id} id=o"),
                ("GET", "/u/m", "200 /u/{id} id=m"),
                ("GET", "/u/m.png", "200 /u/m{id} id=.png"),
                ("GET", "/u/a.png", "200 /u/{id}.png id=a"),
                ("GET", "/u/.png", "200 /u/{id} id=.png"),
                ("GET", "/u/7", "200 /u/{id} id=7"),
                ("GET", "/u/7/x", "200 /u/{id}/x id=7"),
                ("GET", "/u/me/x", "200 /u/{id}/x id=me"),
                ("GET", "/u/7/y", "200 /u/{*rest} rest=7/y"),
                ("GET", "/u/", "404 Not Found"),
                ("GET", "/@ada", "200 /@{name} name=ada"),
                ("GET", "/@", "404 Not Found"),
            ],
        );
    }
}

#[test]
fn paths_are_compared_as_sent_and_parameters_are_decoded_once() {
    let app = Router::new()
        .get("/f/{name}", show)
        .get("/f/{a}/{b}", show)
        .get("/a", show);
    expect(
        &app,
        &[
            ("GET", "/f/a%2Fb", "200 /f/{name} name=a/b"),
            ("GET", "/f/%252F", "200 /f/{name} name=%2F"),
            ("GET", "/f/%C3%A9?q=/x", "200 /f/{name} name=é"),
            ("GET", "/f/%ff", "200 /f/{name} name=\u{fffd}"),
            ("GET", "/f/a+b", "200 /f/{name} name=a+b"),
            ("GET", "/f/../a", "200 /f/{a}/{b} a=.. b=a"),
            ("GET", "/%61", "404 Not Found"),
            ("GET", "//a", "404 Not Found"),
            ("GET", "http://a/f/x", "200 /f/{name} name=x"),
        ],
    );
}

#[test]
fn parameters_are_parsed_and_others_are_404() {
    let number = |req: &Request<'_>, res: Response<'_>| -> Result<Done, BoxError> {
        let n: u8 = req.param("n")?;
        Ok(res.text(format!("{n} {:?}", req.param::<u8>("other"))))
    };
    let app = Router::new()
        .get("/{n}", number)
        .nest("/{name}", Router::new().get("/x/{id}", show));
    expect(
        &app,
        &[
            ("GET", "/255", "200 255 Err(ParamError(\"other\"))"),
            ("GET", "/256", "404 Not Found: the path has no valid `n`"),
            ("GET", "/q/x/7", "200 /{name}/x/{id} id=7 name=q"),
        ],
    );
    assert!(send(&from_fn(show), "GET", "/").ends_with("\r\n\r\nnone"));
}

#[test]
fn slashes_at_the_end_follow_the_setting() {
    let routes = || {
        Router::new()
            .get("/", show)
            .get("/a", show)
            .get("/b/", show)
            .get("/c/{id}", show)
            .post("/p", show)
            .get("/{name}/x", show)
    };
    expect(
        &routes(),
        &[
            ("GET", "/a/", "404 Not Found"),
            ("GET", "/b", "404 Not Found"),
        ],
    );
    let redirect = [
        ("GET", "/a/?q=1&r", "308 /a?q=1&r"),
        ("GET", "/b?q", "308 /b/?q"),
        ("GET", "/c/%2F/", "308 /c/%2F"),
        ("POST", "/p/", "308 /p"),
        ("GET", "/p/", "404 Not Found"),
        ("GET", "/none/", "404 Not Found"),
        ("GET", "/a", "200 /a"),
        ("GET", "/", "200 /"),
        ("GET", "//x/", "404 Not Found"),
        ("GET", "/\\evil.example/x/", "404 Not Found"),
    ];
    expect(&routes().slash(Slash::Redirect), &redirect);
    let same = [
        ("GET", "/a/", "200 /a"),
        ("GET", "/b", "200 /b/"),
        ("GET", "/c/7/", "200 /c/{id} id=7"),
        ("POST", "/p/", "200 /p"),
        ("GET", "/p/", "404 Not Found"),
    ];
    expect(&routes().slash(Slash::Same), &same);
}

#[test]
fn conflicts_name_both_places() {
    let app = Router::new().get("/users/{id}", show).any("/x", show);
    let other = Router::new().get("/{name}", show);
    let (here, there) = (line!() - 2, line!() - 1);
    let nested = std::thread::spawn(move || drop(app.nest("/users", other)));
    let panic = nested.join().expect_err("a conflict");
    let text = panic.downcast_ref::<String>().expect("a text");
    for part in [
        "`GET /users/{name}`",
        "`GET /users/{id}`",
        &format!("router.rs:{here}:"),
        &format!("router.rs:{there}:"),
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let app = Router::new().any("/x", show).get("/x", show);
    match app.try_route(Route::handler(None, "/x", from_fn(show))) {
        Err(RouteError::Conflict { method, .. }) => assert_eq!(method, "*"),
        other => panic!("{other:?}"),
    }
}

/// Shows what a mounted handler sees.
struct Inner;

impl Handler for Inner {
    fn body_plan(&self, req: &Request<'_>) -> BodyPlan {
        match req.path() {
            "/refused" => BodyPlan::Refuse(415),
            "/stream" => BodyPlan::stream(Sum(0)),
            "/respond" => BodyPlan::respond(|req, res| res.text(format!("plan of {}", req.path()))),
            _ => BodyPlan::Buffer,
        }
    }

    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        res.text(format!("{} of {}", req.path(), req.target()))
    }
}

struct Sum(usize);

impl peregrine::body::BodySink for Sum {
    fn piece(
        &mut self,
        piece: &[u8],
        _: &mut peregrine::body::Incoming<'_>,
    ) -> peregrine::body::Flow {
        self.0 += piece.len();
        peregrine::body::Flow::Continue
    }

    fn finish(self: Box<Self>, req: &Request<'_>, res: Response<'_>) -> Done {
        res.text(format!(
            "{} bytes for {} by {:?}",
            self.0,
            req.path(),
            req.route()
        ))
    }
}

#[test]
fn a_mounted_handler_sees_the_rest_of_the_path() {
    let app = Router::new()
        .mount("/in/{name}", Inner)
        .mount("/outer", Router::new().mount("/in", Inner))
        .get("/in/x/own", show)
        .mount(
            "/",
            from_fn(|req, res| res.text(format!("root {}", req.path()))),
        );
    expect(
        &app,
        &[
            ("GET", "/in/x/a/b?q", "200 /a/b of /in/x/a/b?q"),
            ("PUT", "/in/x/", "200 / of /in/x/"),
            ("GET", "/in/x?q", "308 /in/x/?q"),
            ("GET", "/in/x//a", "200 //a of /in/x//a"),
            ("GET", "/in/x/own", "200 /in/x/own"),
            ("GET", "/outer/in/a", "200 /a of /outer/in/a"),
            ("GET", "/outer/in", "308 /outer/in/"),
            ("GET", "/outer", "308 /outer/"),
            ("GET", "/other", "200 root /other"),
            ("GET", "/", "200 root /"),
            ("GET", "/in/\\evil.example", "308 /in/\\evil.example/"),
        ],
    );
    let body = "Content-Length: 3\r\n\r\nabc";
    for (path, expected) in [
        ("/in/x/refused", "415"),
        (
            "/in/x/stream",
            "200 3 bytes for /stream by Some(\"/in/{name}/{*rest}\")",
        ),
        ("/in/x/respond", "200 plan of /respond"),
        ("/in/x/a", "200 /a of /in/x/a"),
    ] {
        let mut client = Connection::new(&app);
        client.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\n{body}").as_bytes());
        let received = String::from_utf8_lossy(client.received()).into_owned();
        assert!(brief(&received).starts_with(expected), "{path}: {received}");
    }
}

#[cfg(feature = "dir")]
#[test]
fn a_mounted_folder_redirects_to_its_own_folders() {
    let files = peregrine::files::DirServer::new("tests").expect("a folder");
    let app = Router::new().mount("/static", files);
    expect(
        &app,
        &[
            ("GET", "/static", "308 /static/"),
            ("GET", "/static/it", "301 /static/it/"),
            ("GET", "/static/it?q", "301 /static/it/?q"),
            ("GET", "/static/none", "404 nothing here"),
        ],
    );
    assert!(send(&app, "GET", "/static/it/router.rs").starts_with("HTTP/1.1 200 OK\r\n"));
}

#[test]
fn a_request_without_a_route_is_refused_before_its_body() {
    let app = Router::new()
        .get("/a", show)
        .route(Route::post("/small", show).body_limit(3))
        .route(Route::post("/plan", show).body_plan(|_| BodyPlan::stream(Sum(0))))
        .nest(
            "/n",
            Router::new().not_found(|_, res| res.status(404).text("inner")),
        );
    for (target, len, expected) in [
        ("/a", 1 << 30, "405 GET, HEAD, OPTIONS"),
        ("/none", 1 << 30, "404 Not Found"),
        ("/n/x", 1 << 30, "404 inner"),
        ("/small", 4, "413 "),
    ] {
        let mut client = Connection::new(&app);
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: {len}\r\n\r\n"
        );
        client.send(head.as_bytes());
        let received = String::from_utf8_lossy(client.received()).into_owned();
        assert!(
            brief(&received).starts_with(expected),
            "{target}: {received}"
        );
    }
    let mut client = Connection::new(&app);
    client.send(b"POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    client.send(b"POST /plan HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde");
    let received = String::from_utf8_lossy(client.received()).into_owned();
    assert!(
        received.contains("\r\n\r\n/smallHTTP/1.1 200"),
        "{received}"
    );
    assert!(
        received.ends_with("5 bytes for /plan by Some(\"/plan\")"),
        "{received}"
    );
}

#[test]
fn hosts_have_routes_of_their_own() {
    let named = |name: &'static str| Router::new().get("/", move |_, res| res.text(name));
    let app = Router::new()
        .get("/", |_, res| res.text("all"))
        .get("/common", show)
        .host("*.example.com", named("any"))
        .host("*.api.example.com", named("any api"))
        .host(
            "API.example.com",
            named("api").not_found(|_, res| res.status(404).text("no api")),
        )
        .host("api.example.com", Router::new().get("/two", show));
    for (host, target, expected) in [
        ("api.example.com", "/", "200 api"),
        ("Api.Example.Com:8080", "/", "200 api"),
        ("api.example.com", "/two", "200 /two"),
        ("v1.api.example.com", "/", "200 any api"),
        ("www.example.com", "/", "200 any"),
        ("www.example.com", "/common", "200 /common"),
        ("api.example.com", "/common", "404 no api"),
        ("example.com", "/", "200 all"),
        ("xexample.com", "/", "200 all"),
        ("[::1]", "/", "200 all"),
        ("[::1]:80", "/", "200 all"),
    ] {
        let mut client = Connection::new(&app);
        client.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
        let received = String::from_utf8_lossy(client.received()).into_owned();
        assert_eq!(brief(&received), expected, "{host} {target}");
    }
}
