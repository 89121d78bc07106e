//! Notes: their table, their pages and their JSON API.

use crate::account::back;
use crate::{Cx, Handled, State};
use peregrine::error::{BoxError, Problem};
use peregrine::multipart::{Form, MultipartLimits, UploadError};
use peregrine::templates::{Serde, context};
use peregrine::{BodyPlan, Request, Response};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

#[derive(Serialize)]
struct Note {
    id: i64,
    title: String,
    text: String,
    file: Option<String>,
}

#[derive(Deserialize)]
struct NewNote {
    title: String,
    #[serde(default)]
    text: String,
}

const SELECT: &str = "SELECT id, title, text, file_name FROM notes WHERE owner = ?1";

pub(crate) fn open(file: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open(file)?;
    db.busy_timeout(Duration::from_secs(5))?;
    db.pragma_update(None, "foreign_keys", true)?;
    Ok(db)
}

pub(crate) fn create_tables(file: &Path) -> rusqlite::Result<()> {
    open(file)?.execute_batch(include_str!("tables.sql"))
}

fn note(row: &Row<'_>) -> rusqlite::Result<Note> {
    let (id, title, text, file) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
    Ok(Note {
        id,
        title,
        text,
        file,
    })
}

fn find(cx: &Cx<'_>) -> Result<Note, BoxError> {
    let id: i64 = cx.req.param("id")?;
    let sql = format!("{SELECT} AND id = ?2");
    let found = cx
        .db
        .query_row(&sql, params![cx.user, id], note)
        .optional()?;
    Ok(found.ok_or(Problem::new(404).detail("There is no such note."))?)
}

/// The newest notes that contain the text `q`, 50 or as many as `limit`, before the id `before`.
fn newest(cx: &Cx<'_>) -> Result<Vec<Note>, BoxError> {
    let number = |name, default: i64| match cx.req.query(name) {
        None => Ok(default),
        Some(n) => match n.parse() {
            Ok(n @ 1..) => Ok(n),
            _ => Err(Problem::new(422).detail(format!("`{name}` is not a number above 0."))),
        },
    };
    let (before, limit) = (number("before", i64::MAX)?, number("limit", 50)?.min(50));
    let sql = format!(
        "{SELECT} AND id < ?2 AND instr(lower(title || ' ' || text), lower(?3)) ORDER BY id DESC LIMIT ?4"
    );
    let values = params![
        cx.user,
        before,
        cx.req.query("q").unwrap_or_default(),
        limit
    ];
    let mut query = cx.db.prepare(&sql)?;
    let notes = query.query_map(values, note)?.collect::<Result<_, _>>()?;
    Ok(notes)
}

fn check(title: &str, text: &str) -> Result<(), Problem> {
    match (1..=200).contains(&title.trim().len()) && text.len() <= 20_000 {
        true => Ok(()),
        false => {
            Err(Problem::new(422).detail("A title has 1 to 200 bytes, a text at most 20,000."))
        }
    }
}

// Pages

pub(crate) fn page(cx: Cx<'_>, res: Response<'_>) -> Handled {
    let mut session = cx.state.sessions.load(cx.req);
    // A script that looks for changes does not show the text, so it leaves it to the page.
    let is_script = cx.req.header("x-requested-with").is_some();
    let flash = (!is_script).then(|| session.take("flash")).flatten();
    let (notes, user, q) = (newest(&cx)?, &cx.user, cx.req.query("q"));
    let res = session.save(res).header("Cache-Control", "no-store");
    let values = context! { notes => Serde(&notes), user, q, flash };
    Ok(res.render(&cx.state.pages, "notes.html", values))
}

/// Decides by the head of a request. Then the file of the form goes to the disk as it arrives.
pub(crate) fn plan_upload(state: &Arc<State>, req: &Request<'_>) -> BodyPlan {
    let limits = MultipartLimits::default().parts(3).file_bytes(16 << 20);
    let own = state.clone();
    BodyPlan::form(req, limits, &state.folder, move |form, req, res| {
        let db = own.db.clone();
        db.respond(req, res, move |db, req, res| {
            add_by_form(Cx::new(&own, db, req), form, res)
        })
    })
}

fn add_by_form(cx: Cx<'_>, form: Result<Form, UploadError>, res: Response<'_>) -> Handled {
    let form = form?;
    let title = form.text("title").unwrap_or_default();
    let text = form.text("text").unwrap_or_default();
    check(&title, &text)?;
    let file = form.file("file").filter(|file| !file.is_empty());
    let shown = file.map(|file| file.display_name());
    let stored = file.and_then(|file| file.path().file_name()?.to_str());
    let sql = "INSERT INTO notes (owner, title, text, file, file_name) VALUES (?1, ?2, ?3, ?4, ?5)";
    cx.db
        .execute(sql, params![cx.user, title.trim(), text, stored, shown])?;
    for file in form.into_files() {
        file.keep();
    }
    cx.state.tell(&cx.user);
    back(&cx, "The note is saved.", res)
}

pub(crate) fn delete_by_form(cx: Cx<'_>, res: Response<'_>) -> Handled {
    remove(&cx)?;
    back(&cx, "The note is deleted.", res)
}

fn remove(cx: &Cx<'_>) -> Result<(), BoxError> {
    let id = find(cx)?.id;
    let sql = "DELETE FROM notes WHERE owner = ?1 AND id = ?2 RETURNING file";
    let read = |row: &Row<'_>| row.get(0);
    let file: Option<Option<String>> = cx
        .db
        .query_row(sql, params![cx.user, id], read)
        .optional()?;
    if let Some(file) = file.flatten() {
        std::fs::remove_file(cx.state.folder.join(file))?;
    }
    cx.state.tell(&cx.user);
    Ok(())
}

/// The file of a note as a download: its type is not that which the client has sent.
pub(crate) fn file(cx: Cx<'_>, res: Response<'_>) -> Handled {
    let note = find(&cx)?;
    let name = note
        .file
        .ok_or(Problem::new(404).detail("This note has no file."))?;
    let sql = "SELECT file FROM notes WHERE id = ?1";
    let file: String = cx.db.query_row(sql, [note.id], |row| row.get(0))?;
    let res = res
        .attachment(&name)
        .header("Cache-Control", "private, no-cache");
    Ok(cx.state.files.serve_path(&format!("/{file}"), cx.req, res))
}

// JSON

pub(crate) fn list(cx: Cx<'_>, res: Response<'_>) -> Handled {
    Ok(res.json(&newest(&cx)?))
}

pub(crate) fn show(cx: Cx<'_>, res: Response<'_>) -> Handled {
    Ok(res.json(&find(&cx)?))
}

pub(crate) fn add(cx: Cx<'_>, res: Response<'_>) -> Handled {
    let NewNote { title, text } = cx.req.json()?;
    check(&title, &text)?;
    let sql = "INSERT INTO notes (owner, title, text) VALUES (?1, ?2, ?3) RETURNING id, title, text, NULL";
    let note = cx
        .db
        .query_row(sql, params![cx.user, title.trim(), text], note)?;
    cx.state.tell(&cx.user);
    let place = format!("/api/notes/{}", note.id);
    Ok(res.status(201).header("Location", place).json(&note))
}

pub(crate) fn change(cx: Cx<'_>, res: Response<'_>) -> Handled {
    let NewNote { title, text } = cx.req.json()?;
    check(&title, &text)?;
    let id = find(&cx)?.id;
    let sql = "UPDATE notes SET title = ?3, text = ?4 WHERE owner = ?1 AND id = ?2";
    cx.db
        .execute(sql, params![cx.user, id, title.trim(), text])?;
    cx.state.tell(&cx.user);
    Ok(res.json(&find(&cx)?))
}

pub(crate) fn delete(cx: Cx<'_>, res: Response<'_>) -> Handled {
    remove(&cx)?;
    Ok(res.status(204).body(""))
}
