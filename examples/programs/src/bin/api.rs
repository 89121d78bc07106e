//! Notes over REST, kept in SQLite: a login, JSON in both directions, a list in pages, pages of other origins, gzip.
//!
//! ```sh
//! PASSWORD=engine cargo run --manifest-path examples/programs/Cargo.toml --bin api
//! curl -c jar -d '{"name":"ada","password":"engine"}' -H 'Content-Type: application/json' localhost:8080/login
//! curl -b jar -d '{"title":"milk"}' -H 'Content-Type: application/json' localhost:8080/notes
//! ```

use peregrine::access_log::{AccessLog, LogWriter};
use peregrine::compression::Compress;
use peregrine::error::{BoxError, Problem};
use peregrine::layers::{Cors, Csrf, RateLimit, check, is_same_secret};
use peregrine::router::PerThread;
use peregrine::sessions::Sessions;
use peregrine::{Done, Request, Response, Router, Server};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const TABLE: &str = "CREATE TABLE IF NOT EXISTS notes (
    id INTEGER PRIMARY KEY AUTOINCREMENT, title TEXT NOT NULL, text TEXT NOT NULL)";

/// Number of notes on a page of the list.
const PAGE: usize = 50;

type Handled = Result<Done, BoxError>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Login {
    name: String,
    password: String,
}

#[derive(Serialize)]
struct Note {
    id: i64,
    title: String,
    text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewNote {
    title: String,
    #[serde(default)]
    text: String,
}

/// The newest notes. `next` is the `before` of the next page.
#[derive(Serialize)]
struct Page {
    notes: Vec<Note>,
    next: Option<i64>,
}

fn note(row: &Row<'_>) -> rusqlite::Result<Note> {
    let (id, title, text) = (row.get(0)?, row.get(1)?, row.get(2)?);
    Ok(Note { id, title, text })
}

fn found<T>(note: Option<T>) -> Result<T, Problem> {
    note.ok_or(Problem::new(404).detail("There is no such note."))
}

impl NewNote {
    fn read(req: &Request<'_>) -> Result<NewNote, BoxError> {
        let new: NewNote = req.json()?;
        match new.title.trim() {
            "" => Err(Problem::new(422).detail("The title is empty."))?,
            _ => Ok(new),
        }
    }
}

fn list(db: &mut Connection, req: &Request<'_>, res: Response<'_>) -> Handled {
    let before = match req.query("before") {
        Some(before) => before
            .parse()
            .map_err(|_| Problem::new(422).detail("`before` is no id."))?,
        None => i64::MAX,
    };
    let (find, most) = (req.query("find").unwrap_or_default(), PAGE as i64 + 1);
    let mut query = db.prepare(
        "SELECT id, title, text FROM notes WHERE id < ?1 AND instr(lower(title || ' ' || text), lower(?2))
        ORDER BY id DESC LIMIT ?3",
    )?;
    let rows = query.query_map(params![before, find, most], note)?;
    let mut notes: Vec<Note> = rows.collect::<Result<_, _>>()?;
    let has_more = notes.len() > PAGE;
    notes.truncate(PAGE);
    let next = notes.last().filter(|_| has_more).map(|note| note.id);
    Ok(res.json(&Page { notes, next }))
}

fn show(db: &mut Connection, req: &Request<'_>, res: Response<'_>) -> Handled {
    let id: i64 = req.param("id")?;
    let row = db.query_row(
        "SELECT id, title, text FROM notes WHERE id = ?1",
        [id],
        note,
    );
    Ok(res.json(&found(row.optional()?)?))
}

fn add(db: &mut Connection, req: &Request<'_>, res: Response<'_>) -> Handled {
    let NewNote { title, text } = NewNote::read(req)?;
    db.execute(
        "INSERT INTO notes (title, text) VALUES (?1, ?2)",
        [&title, &text],
    )?;
    let id = db.last_insert_rowid();
    let res = res.status(201).header("Location", format!("/notes/{id}"));
    Ok(res.json(&Note { id, title, text }))
}

fn change(db: &mut Connection, req: &Request<'_>, res: Response<'_>) -> Handled {
    let id: i64 = req.param("id")?;
    let NewNote { title, text } = NewNote::read(req)?;
    let sql = "UPDATE notes SET title = ?2, text = ?3 WHERE id = ?1";
    let changed = db.execute(sql, params![id, title, text])?;
    found((changed > 0).then_some(()))?;
    Ok(res.json(&Note { id, title, text }))
}

fn delete(db: &mut Connection, req: &Request<'_>, res: Response<'_>) -> Handled {
    let id: i64 = req.param("id")?;
    let deleted = db.execute("DELETE FROM notes WHERE id = ?1", [id])?;
    found((deleted > 0).then_some(()))?;
    Ok(res.status(204).body(""))
}

fn log_in(sessions: &Sessions, password: &str, req: &Request<'_>, res: Response<'_>) -> Handled {
    let login: Login = req.json()?;
    // An application with users compares with slow hashes; see examples/notes.
    if !is_same_secret(login.password.as_bytes(), password.as_bytes()) {
        return Err(Problem::new(403).detail("Wrong name or password.").into());
    }
    let mut session = sessions.load(req);
    session.renew();
    session.set("user", login.name)?;
    Ok(session.save(res).status(204).body(""))
}

/// `origin` is that of pages elsewhere that may use the notes.
fn routes(file: &Path, password: String, origin: &str) -> Result<Router, BoxError> {
    let file = file.to_owned();
    Connection::open(&file)?.execute_batch(TABLE)?;
    let db = PerThread::new(move || {
        let db = Connection::open(&file)?;
        db.busy_timeout(Duration::from_secs(5))?;
        Ok::<_, BoxError>(db)
    });
    let sessions = Arc::new(Sessions::default());
    let asked = sessions.clone();
    let is_known = move |req: &Request<'_>| match asked.load(req).get("user") {
        Some(_) => Ok(()),
        None => Err(Problem::new(401).header("WWW-Authenticate", "Session")),
    };
    let notes = Router::new()
        .get("/", db.offload(list))
        .post("/", db.offload(add))
        .get("/{id}", db.offload(show))
        .put("/{id}", db.offload(change))
        .delete("/{id}", db.offload(delete))
        .layer(check(is_known));
    let login = Router::new()
        .post("/", move |req, res| log_in(&sessions, &password, req, res))
        .layer(RateLimit::new(20, Duration::from_secs(60)));
    Ok(Router::new()
        .nest("/notes", notes)
        .nest("/login", login)
        .layer(
            Cors::new()
                .origins([origin])
                .credentials()
                .headers(["Content-Type"]),
        )
        .layer(Csrf::new().origins([origin])))
}

fn main() -> Result<(), BoxError> {
    let mut args = std::env::args().skip(1);
    let file = args.next().unwrap_or("notes.db".to_owned());
    let address = args.next().unwrap_or("127.0.0.1:8080".to_owned());
    let password = std::env::var("PASSWORD").map_err(|_| "PASSWORD is not set")?;
    let routes = routes(Path::new(&file), password, "https://notes.example")?;
    let app = AccessLog::new(Compress::new(routes), LogWriter::new(std::io::stdout())?);
    let running = Server::new(app).stop_on_signals().bind(&*address).start()?;
    println!("listening on {}", running.local_addrs()[0]);
    running.wait()?;
    Ok(())
}

#[cfg(test)]
#[path = "../tests/api.rs"]
mod tests;
