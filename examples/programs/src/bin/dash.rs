//! A live board: a program with the token publishes, and each page shows the last posts, then every new one, and who is
//! there. `/` is live by a WebSocket, `/?sse` by server-sent events.
//!
//! The page is a template of askama, which is compiled into the program: a mistake in it is an error of the compiler.
//!
//! ```sh
//! TOKEN=t0ken cargo run --manifest-path examples/programs/Cargo.toml --bin dash   # open http://localhost:8080
//! curl -H 'Authorization: Bearer t0ken' -d 'it works' localhost:8080/posts
//! ```

use askama::Template;
use peregrine::access_log::{AccessLog, LogWriter};
use peregrine::cookie::SetCookie;
use peregrine::error::{BoxError, Problem, Status};
use peregrine::history::{History, MemoryLog, Position, Start, Update, UpdateKind};
use peregrine::layers::{BearerAuth, Csrf, SecurityHeaders};
use peregrine::presence::{MemoryPresence, Presence, Stay};
use peregrine::router::{Route, WebSocketRouter};
use peregrine::sse::EventHub;
use peregrine::ws::{Hub, Message, PreparedMessage, Upgrade, WebSocketHandler, Ws};
use peregrine::{Done, Handler, Request, Response, Router, Server};

/// The topics: posts with their history, and a message without content when a person comes or leaves.
const POSTS: &str = "posts";
const PEOPLE: &str = "people";

/// Number of posts that a new page gets.
const LAST: Start = Start::Last(50);

type Handled = Result<Done, BoxError>;

#[derive(Template)]
#[template(path = "board.html")]
struct Page<'a> {
    person: Option<&'a str>,
    live: &'a str,
}

#[derive(Clone)]
struct Board {
    pages: EventHub,
    history: History,
    presence: Presence,
}

/// Position, kind and text.
fn line(update: &Update<'_>) -> Option<PreparedMessage> {
    let (kind, text) = match update.kind {
        UpdateKind::Message(post) => ("post", post.as_text()?),
        UpdateKind::Lost => ("lost", ""),
        _ => ("current", ""),
    };
    let position = update.position.map(|position| position.to_string());
    Some(format!("{}\t{kind}\t{text}", position.unwrap_or_default()).into())
}

fn person(req: &Request<'_>) -> Result<String, Problem> {
    let name = req.cookie_text("__Host-name");
    let name = name.filter(|name| !name.is_empty() && name.chars().count() <= 40);
    let missing = Problem::new(401).header("WWW-Authenticate", "Name");
    Ok(name
        .ok_or(missing.detail("Say who you are first."))?
        .into_owned())
}

fn page(req: &Request<'_>, res: Response<'_>) -> Handled {
    let person = person(req).ok();
    let page = Page {
        person: person.as_deref(),
        live: req.query("sse").map_or("ws", |_| "sse"),
    };
    Ok(res.header("Cache-Control", "no-store").html(page.render()?))
}

fn name(req: &Request<'_>, res: Response<'_>) -> Done {
    let cookie = SetCookie::text("__Host-name", req.form("name").unwrap_or_default().trim());
    res.set_cookie(&cookie).redirect(303, "/")
}

impl Board {
    fn new(hub: &Hub) -> Board {
        let pages = EventHub::new();
        let (sockets, events) = (hub.clone(), pages.clone());
        let presence = Presence::builder(MemoryPresence::new()).on_change(move |_, _, _| {
            sockets.deliver(Some(PEOPLE), "\tpeople\t");
            // A page that is gone has left the hub.
            let _ = events.deliver(PEOPLE, "changed");
        });
        let history = History::builder(MemoryLog::new())
            .events(&pages)
            .websockets(hub, line);
        Board {
            history: history.build(),
            presence: presence.build(),
            pages,
        }
    }

    fn publish(&self, req: &Request<'_>, res: Response<'_>) -> Handled {
        let post = std::str::from_utf8(req.body()).map_err(|_| Status(400))?;
        self.history.publish(POSTS, post).map_err(|_| Status(503))?;
        Ok(res.status(204).body(""))
    }

    fn posts(&self, req: &Request<'_>, res: Response<'_>) -> Handled {
        person(req)?;
        Ok(self.history.respond(req, res, POSTS, LAST))
    }

    /// Tells a page when a person comes or leaves. The person is there until the page has gone.
    fn watch(&self, req: &Request<'_>, res: Response<'_>) -> Handled {
        let stay = self.presence.enter(PEOPLE, &person(req)?)?;
        let (done, page) = res.events();
        page.on_gone(move || drop(stay));
        self.pages.subscribe(page, [PEOPLE])?;
        Ok(done)
    }

    fn people(&self, req: &Request<'_>, res: Response<'_>) -> Handled {
        person(req)?;
        let (done, responder) = res.header("Cache-Control", "no-store").defer();
        self.presence.members(PEOPLE, move |members| {
            // The client may have left.
            let _ = responder.send(|res| match members {
                Ok(members) => res.json(&members.names),
                Err(_) => res.status(503).text("try again later\n"),
            });
        });
        Ok(done)
    }

    fn app(&self, token: String) -> WebSocketRouter<Board> {
        let with = |f: fn(&Board, &Request<'_>, Response<'_>) -> Handled| {
            let own = self.clone();
            move |req: &Request<'_>, res: Response<'_>| f(&own, req, res)
        };
        let publish = Route::post("/posts", with(Board::publish)).body_limit(1000);
        Router::new()
            .get("/", page)
            .post("/name", name)
            .get("/posts", with(Board::posts))
            .route(publish.layer(BearerAuth::tokens("posts", [token])))
            .get("/people", with(Board::people))
            .get("/people/changes", with(Board::watch))
            .layer(SecurityHeaders::new())
            .layer(Csrf::new())
            .websocket("/ws", self.clone())
    }
}

impl Handler for Board {
    fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
        res.status(426)
            .header("Upgrade", "websocket")
            .text("a WebSocket\n")
    }
}

impl WebSocketHandler for Board {
    /// From where the page continues, and its person, who is there as long as the connection.
    type Conn = (Start, Stay);

    fn accept_ws(&self, req: &Request<'_>, upgrade: &mut Upgrade<'_>) -> Option<Self::Conn> {
        let start = match req.query("after").filter(|seen| !seen.is_empty()) {
            Some(seen) => Start::After(seen.parse().unwrap_or(Position::UNKNOWN)),
            None => LAST,
        };
        let stay = person(req)
            .ok()
            .map(|person| self.presence.enter(PEOPLE, &person));
        match stay {
            Some(Ok(stay)) => return Some((start, stay)),
            Some(Err(_)) => upgrade.refuse(503, "try again later\n"),
            None => upgrade.refuse(401, "say who you are first\n"),
        }
        None
    }

    fn handle_ws_conn(&self, ws: &mut Ws<'_, Self::Conn>) {
        let posts = self.history.subscribe_ws(ws.id(), POSTS, ws.conn.0);
        if ws.subscribe(PEOPLE).is_err() || posts.is_err() {
            ws.close(1013, "try again later");
        }
    }

    fn handle_ws_frame(&self, ws: &mut Ws<'_, Self::Conn>, _: Message<'_>) {
        ws.close(1008, "pages only listen");
    }
}

fn main() -> Result<(), BoxError> {
    let address = std::env::args()
        .nth(1)
        .unwrap_or("127.0.0.1:8080".to_owned());
    let token = std::env::var("TOKEN").map_err(|_| "TOKEN is not set")?;
    let hub = Hub::new();
    let app = AccessLog::new(
        Board::new(&hub).app(token),
        LogWriter::new(std::io::stdout())?,
    );
    let server = Server::new(app)
        .websocket()
        .with_hub(&hub)
        .stop_on_signals();
    let running = server.bind(&*address).start()?;
    println!("listening on {}", running.local_addrs()[0]);
    running.wait()?;
    Ok(())
}

#[cfg(test)]
#[path = "../tests/dash.rs"]
mod tests;
