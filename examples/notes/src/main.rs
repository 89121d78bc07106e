//! Notes with login, files and live updates, kept in SQLite.

mod account;
mod notes;
#[cfg(test)]
mod tests;

use peregrine::access_log::{AccessLog, LogWriter};
use peregrine::compression::Compress;
use peregrine::error::{BoxError, Problem};
use peregrine::files::{DirConfig, DirServer, Embedded};
use peregrine::layers::{Csrf, ErrorPages, RateLimit, SecurityHeaders, check};
use peregrine::metrics::Stats;
use peregrine::router::{PerThread, Route};
use peregrine::sessions::Sessions;
use peregrine::sse::EventHub;
use peregrine::templates::{Templates, context};
use peregrine::ws::{Hub, Message, Upgrade, WebSocketHandler, Ws};
use peregrine::{Config, Done, Handler, Request, Response, Router, Server};
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
    /// The folder of the files of notes.
    folder: PathBuf,
    /// Where files arrive. It is on the same file system, and empty at the start.
    incoming: PathBuf,
    /// One clone for each password that is being hashed; see [`account::hashing`].
    hashes: Arc<()>,
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
        let (files, incoming) = (folder.join("files"), folder.join("incoming"));
        let database = folder.join("notes.db");
        std::fs::create_dir_all(&files)?;
        // Uploads that a former run has not ended.
        if incoming.exists() {
            std::fs::remove_dir_all(&incoming)?;
        }
        std::fs::create_dir(&incoming)?;
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
            incoming,
            hashes: Arc::default(),
            sockets: Hub::new(),
            events: EventHub::new(),
        }))
    }

    fn user(&self, req: &Request<'_>) -> Result<String, Problem> {
        let session = self.sessions.load(req);
        let user = session.get("user").map(str::to_owned);
        let refused = Problem::new(401).detail("Log in first.");
        // A scheme of its own: HTTP has none for sessions in cookies.
        user.ok_or(refused.header("WWW-Authenticate", "Session"))
    }

    /// Tells all windows of a user to look again. A connection outlives the session that opened it, so a message has no content:
    /// the window asks for it with its cookie.
    fn tell(&self, user: &str) {
        self.sockets.publish(user, "changed");
        let _ = self.events.publish(user, "changed");
    }
}

impl<'a> Cx<'a> {
    fn new(
        state: &'a State,
        db: &'a mut Connection,
        req: &'a Request<'a>,
    ) -> Result<Cx<'a>, Problem> {
        // A layer has asked before, but the session may have ended since.
        let user = state.user(req)?;
        Ok(Cx {
            state,
            db,
            req,
            user,
        })
    }
}

fn routes(state: &Arc<State>) -> Result<Router, BoxError> {
    let pooled = |f: fn(Cx<'_>, Response<'_>) -> Handled| {
        let own = state.clone();
        state
            .db
            .offload(move |db, req, res| f(Cx::new(&own, db, req)?, res))
    };
    let with = |f: fn(&Arc<State>, &Request<'_>, Response<'_>) -> Handled| {
        let own = state.clone();
        move |req: &Request<'_>, res: Response<'_>| f(&own, req, res)
    };
    let logged_in = || {
        let own = state.clone();
        check(move |req| own.user(req).map(drop))
    };
    let account = Router::new()
        .post("/login", account::hashing(state, account::log_in))
        .post("/signup", account::hashing(state, account::sign_up))
        .layer(RateLimit::new(20, Duration::from_secs(60)));
    let own = state.clone();
    // A request without a body has no plan.
    let no_body = Problem::new(422).detail("The form is empty.");
    let upload = Route::post("/", move |_, _| Err::<Done, _>(no_body.clone()))
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
    let pages = state.clone();
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

fn watch(state: &Arc<State>, req: &Request<'_>, res: Response<'_>) -> Handled {
    let user = state.user(req)?;
    let (done, window) = res.events();
    let _ = state.events.subscribe(window, Some(user));
    Ok(done)
}

/// Metrics have a port of their own, which no proxy serves: behind a proxy each client seems to be on this machine.
fn metrics(stats: &Stats) -> Router {
    let stats = stats.clone();
    Router::new().get("/metrics", move |_, res| {
        let res = res.header("Content-Type", Stats::CONTENT_TYPE);
        res.body(stats.prometheus())
    })
}

/// Tells the windows of a user what has changed.
struct Live(Arc<State>);

impl Handler for Live {
    fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
        res.status(426)
            .header("Upgrade", "websocket")
            .text("a WebSocket\n")
    }
}

impl WebSocketHandler for Live {
    /// The user.
    type Conn = String;

    fn accept_ws(&self, req: &Request<'_>, upgrade: &mut Upgrade<'_>) -> Option<String> {
        let user = self.0.user(req).ok();
        if user.is_none() {
            upgrade.refuse(401, "Log in first.");
        }
        user
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
    let app = Compress::new(routes(&state)?.websocket("/notes/ws", Live(state)));
    let app = AccessLog::new(app, LogWriter::new(std::io::stdout())?);
    let server = Server::new(app).websocket().with_hub(&hub).stats(&stats);
    let names = ["localhost", "127.0.0.1"].map(String::from);
    let server = server.config(Config::default().allowed_hosts(names));
    let running = server.stop_on_signals().bind(&*address).start()?;
    println!("listening on {}", running.local_addrs()[0]);
    if let Some(address) = args.next() {
        let inside = Server::new(metrics(&stats)).bind(&*address).start()?;
        println!("metrics on {}", inside.local_addrs()[0]);
    }
    running.wait()?;
    Ok(())
}
