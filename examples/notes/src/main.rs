//! Notes with login, files and live updates, kept in SQLite.

mod account;
mod notes;
#[cfg(test)]
mod tests;

use peregrine::access_log::{AccessLog, LogWriter};
use peregrine::compression::Compress;
use peregrine::error::{BoxError, ErrorContext, Problem};
use peregrine::files::{DirConfig, DirServer, Embedded};
use peregrine::layers::{Csrf, ErrorPages, RateLimit, SecurityHeaders, check};
use peregrine::metrics::Stats;
use peregrine::router::{PerThread, Route};
use peregrine::sessions::Sessions;
use peregrine::sse::EventHub;
use peregrine::templates::{Templates, context};
use peregrine::ws::{Hub, Message, Upgrade, WebSocketHandler, Ws};
use peregrine::{BodyPlan, Config, Done, Handler, Request, Response, Router, Server};
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const CSP: &str = "default-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// What all handlers share.
struct State {
    db: PerThread<Connection>,
    sessions: Sessions,
    pages: Templates,
    files: DirServer,
    folder: PathBuf,
    /// The windows of a user, by WebSocket and by server-sent events. The topic is the name of the user.
    sockets: Hub,
    events: EventHub,
}

/// A request on the thread pool, with the database connection of its thread.
struct Cx<'a> {
    state: &'a State,
    db: &'a mut Connection,
    req: &'a Request<'a>,
    user: String,
}

type Handled = Result<Done, BoxError>;

impl State {
    fn new(folder: &Path) -> Result<Arc<State>, BoxError> {
        let (files, database) = (folder.join("files"), folder.join("notes.db"));
        std::fs::create_dir_all(&files)?;
        notes::create_tables(&database)?;
        let mut pages = Templates::new();
        pages.add("base.html", include_str!("../templates/base.html"))?;
        pages.add("error.html", include_str!("../templates/error.html"))?;
        pages.add("login.html", include_str!("../templates/login.html"))?;
        pages.add("notes.html", include_str!("../templates/notes.html"))?;
        Ok(Arc::new(State {
            db: PerThread::new(move || notes::open(&database)),
            sessions: Sessions::default(),
            pages,
            files: DirServer::new(&files)?,
            folder: files,
            sockets: Hub::new(),
            events: EventHub::new(),
        }))
    }

    fn user(&self, req: &Request<'_>) -> Result<String, Problem> {
        let session = self.sessions.load(req);
        let user = session.get("user").map(str::to_owned);
        user.ok_or(Problem::new(401).detail("Log in first."))
    }

    /// Tells all windows of a user to look again.
    fn tell(&self, user: &str) {
        self.sockets.publish(user, "changed");
        let _ = self.events.publish(user, "changed");
    }
}

impl<'a> Cx<'a> {
    fn new(state: &'a State, db: &'a mut Connection, req: &'a Request<'a>) -> Cx<'a> {
        // The routes that need a user have a layer that refuses requests without one.
        let user = state.user(req).unwrap_or_default();
        Cx {
            state,
            db,
            req,
            user,
        }
    }
}

fn routes(state: &Arc<State>, stats: &Stats) -> Result<Router, BoxError> {
    let pooled = |f: fn(Cx<'_>, Response<'_>) -> Handled| {
        let own = state.clone();
        state
            .db
            .offload(move |db, req, res| f(Cx::new(&own, db, req), res))
    };
    let with = |f: fn(&Arc<State>, &Request<'_>, Response<'_>) -> Done| {
        let own = state.clone();
        move |req: &Request<'_>, res: Response<'_>| f(&own, req, res)
    };
    let logged_in = || {
        let own = state.clone();
        check(move |req| own.user(req).map(drop))
    };
    // A hash takes half a second of a CPU, so attempts are limited.
    let account = Router::new()
        .post("/login", pooled(account::log_in))
        .post("/signup", pooled(account::sign_up))
        .layer(RateLimit::new(20, Duration::from_secs(60)));
    let own = state.clone();
    let upload = Route::post("/", |_, _| Err::<Done, _>(Problem::new(411)))
        .body_plan(move |req| notes::plan_upload(&own, req));
    let notes = Router::new()
        .get("/", pooled(notes::page))
        .route(upload)
        .post("/{id}/delete", pooled(notes::delete_by_form))
        .get("/{id}/file", pooled(notes::file))
        .get("/events", with(watch))
        .layer(logged_in());
    let api = Router::new()
        .get("/notes", pooled(notes::list))
        .post("/notes", pooled(notes::add))
        .get("/notes/{id}", pooled(notes::show))
        .put("/notes/{id}", pooled(notes::change))
        .delete("/notes/{id}", pooled(notes::delete))
        .layer(logged_in());
    let (stats, pages) = (stats.clone(), state.clone());
    let metrics = Route::get("/metrics", move |_, res| {
        let res = res.header("Content-Type", Stats::CONTENT_TYPE);
        res.body(stats.prometheus())
    });
    let is_near = check(|req| match req.client_addr() {
        Some(addr) if addr.ip().is_loopback() => Ok(()),
        _ => Err(Problem::new(404)),
    });
    let files: [(&str, &'static [u8]); 3] = [
        ("notes.css", include_bytes!("../static/notes.css")),
        ("notes.svg", include_bytes!("../static/notes.svg")),
        ("notes.js", include_bytes!("../static/notes.js")),
    ];
    Ok(Router::new()
        .get("/", |_, res| res.redirect(303, "/notes"))
        .get("/login", with(account::page))
        .post("/logout", with(account::log_out))
        .nest("/account", account)
        .nest("/notes", notes)
        .nest("/api", api)
        .route(metrics.layer(is_near))
        .mount("/static", Embedded::new(files, DirConfig::default())?)
        .layer(SecurityHeaders::new().set("Content-Security-Policy", CSP))
        .layer(ErrorPages::new(move |error, _, res| match error.status() {
            401 => res.redirect(303, "/login"),
            status => {
                let detail = error.detail_text().unwrap_or(error.title_text());
                res.render(&pages.pages, "error.html", context! { status, detail })
            }
        }))
        .layer(Csrf::new()))
}

fn watch(state: &Arc<State>, req: &Request<'_>, res: Response<'_>) -> Done {
    let (done, window) = res.events();
    let _ = state.events.subscribe(window, state.user(req).ok());
    done
}

/// The routes, and the WebSocket beside them.
struct App {
    router: Router,
    state: Arc<State>,
}

impl Handler for App {
    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        self.router.handle_request(req, res)
    }

    fn body_plan(&self, req: &Request<'_>) -> BodyPlan {
        self.router.body_plan(req)
    }

    fn error_response(&self, error: &ErrorContext<'_>, res: Response<'_>) -> Done {
        self.router.error_response(error, res)
    }
}

impl WebSocketHandler for App {
    /// The user.
    type Conn = String;

    fn accept_ws(&self, req: &Request<'_>, _: &mut Upgrade<'_>) -> Option<String> {
        // Without a user the router responds, with 404.
        let user = self.state.user(req).ok();
        user.filter(|_| req.path() == "/notes/ws")
    }

    fn handle_ws_conn(&self, ws: &mut Ws<'_, String>) {
        let (user, mut ws) = ws.split();
        let _ = ws.subscribe(user);
    }

    /// Windows only listen.
    fn handle_ws_frame(&self, _: &mut Ws<'_, String>, _: Message<'_>) {}
}

fn main() -> Result<(), BoxError> {
    let mut args = std::env::args().skip(1);
    let folder = args.next().unwrap_or("notes-data".to_owned());
    let address = args.next().unwrap_or("127.0.0.1:8080".to_owned());
    let (state, stats) = (State::new(Path::new(&folder))?, Stats::new());
    let hub = state.sockets.clone();
    let router = routes(&state, &stats)?;
    let app = Compress::new(App { router, state });
    let app = AccessLog::new(app, LogWriter::new(std::io::stdout())?);
    let server = Server::new(app).websocket().with_hub(&hub).stats(&stats);
    let names = ["localhost", "127.0.0.1"].map(String::from);
    let server = server.config(Config::default().allowed_hosts(names));
    let running = server.stop_on_signals().bind(&*address).start()?;
    println!("listening on {}", running.local_addrs()[0]);
    running.wait()?;
    Ok(())
}
