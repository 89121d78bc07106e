//! Notes: their table, their pages and their JSON API.

use crate::account::back;
use crate::{Cx, Handled, State};
use peregrine::error::{BoxError, Problem};
use peregrine::multipart::{Form, FormFile, MultipartLimits, UploadError};
use peregrine::templates::{Serde, context};
use peregrine::{BodyPlan, Done, Request, Response};
use rusqlite::{Connection, OptionalExtension, Params, Row, params};
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
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

/// What a user may store: notes, and bytes of all files together.
pub(crate) const QUOTA: (i64, i64) = (1000, 256 << 20);

const SELECT: &str = "SELECT id, title, text, file_name FROM notes WHERE owner = ?1";

/// No row if the quota would be exceeded.
const INSERT: &str = "INSERT INTO notes (owner, title, text, file, file_name, file_bytes)
    SELECT ?1, ?2, ?3, ?4, ?5, ?6
    FROM (SELECT count(*) AS number, coalesce(sum(file_bytes), 0) AS bytes FROM notes WHERE owner = ?1)
    WHERE number < ?7 AND bytes + ?6 <= ?8 RETURNING id, title, text, file_name";

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

/// Runs a statement that changes notes and returns those that it has changed, of which there is one at most. Not by
/// `query_row`: that ends at the first row, and an error when SQLite then stores the change would be lost.
fn write<T>(
    db: &Connection,
    sql: &str,
    values: impl Params,
    read: fn(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Option<T>> {
    let mut statement = db.prepare(sql)?;
    let rows = statement.query_map(values, read)?;
    let rows: Vec<T> = rows.collect::<Result<_, _>>()?;
    Ok(rows.into_iter().next())
}

fn none() -> Problem {
    Problem::new(404).detail("There is no such note.")
}

fn find(cx: &Cx<'_>) -> Result<Note, BoxError> {
    let id: i64 = cx.req.param("id")?;
    let sql = format!("{SELECT} AND id = ?2");
    let found = cx.db.query_row(&sql, params![cx.user, id], note);
    Ok(found.optional()?.ok_or_else(none)?)
}

/// The newest notes that contain the text `q`, 50 or as many as `limit`, before the id `before`.
fn newest(cx: &Cx<'_>) -> Result<Vec<Note>, BoxError> {
    let number = |name, most: i64| match cx.req.query(name).map(|n| n.parse()) {
        None => Ok(most),
        Some(Ok(n)) if (1..=most).contains(&n) => Ok(n),
        _ => Err(Problem::new(422).detail(format!("`{name}` is not a number from 1 to {most}."))),
    };
    let (before, limit) = (number("before", i64::MAX)?, number("limit", 50)?);
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

impl NewNote {
    fn checked(self) -> Result<NewNote, Problem> {
        let (title, text) = (self.title.trim(), &self.text);
        if !(1..=200).contains(&title.chars().count()) || text.chars().count() > 20_000 {
            let limits = "A title has 1 to 200 characters, a text at most 20,000.";
            return Err(Problem::new(422).detail(limits));
        }
        Ok(NewNote {
            title: title.to_owned(),
            text: self.text,
        })
    }
}

/// Adds a note. Its file moves to the others first: a row never names a file that is not there.
fn insert(cx: &Cx<'_>, new: &NewNote, file: Option<FormFile>) -> Result<Note, BoxError> {
    let stored = file.as_ref().and_then(|f| f.path().file_name()?.to_str());
    let shown = file.as_ref().map(FormFile::display_name);
    let bytes = file.as_ref().map_or(0, FormFile::len) as i64;
    if let (Some(file), Some(stored)) = (&file, stored) {
        std::fs::rename(file.path(), cx.state.folder.join(stored))?;
    }
    let NewNote { title, text } = new;
    let (number, most) = QUOTA;
    let values = params![cx.user, title, text, stored, shown, bytes, number, most];
    let added = write(cx.db, INSERT, values, note);
    match (&added, stored) {
        (Ok(Some(_)), _) => cx.state.tell(&cx.user),
        (_, Some(stored)) => remove_file(&cx.state.folder.join(stored)),
        (_, None) => {}
    }
    let full = "1,000 notes and 256 MiB of files are the most. Delete some first.";
    Ok(added?.ok_or(Problem::new(413).detail(full))?)
}

/// Removes the file of a note that is not there any more, so the request succeeds whatever happens here.
fn remove_file(file: &Path) {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            eprintln!("cannot remove {}: {error}", file.display());
        }
        _ => {}
    }
}

// Pages

pub(crate) fn page(cx: Cx<'_>, res: Response<'_>) -> Handled {
    let mut session = cx.state.sessions.load(cx.req);
    // A script that looks for changes does not show the text, nor does HEAD, so they leave it to the page.
    let is_page = cx.req.method() == "GET" && cx.req.header("x-requested-with").is_none();
    let flash = is_page.then(|| session.take("flash")).flatten();
    let (notes, user, q) = (newest(&cx)?, &cx.user, cx.req.query("q"));
    let res = session.save(res).header("Cache-Control", "no-store");
    let values = context! { notes => Serde(&notes), user, q, flash };
    Ok(res.render(&cx.state.pages, "notes.html", values))
}

/// Decides by the head of a request. Then the file of the form goes to the disk as it arrives.
pub(crate) fn plan_upload(state: &Arc<State>, req: &Request<'_>) -> BodyPlan {
    let limits = MultipartLimits::default().parts(3).file_bytes(16 << 20);
    let limits = limits.text_bytes(128 << 10);
    let own = state.clone();
    BodyPlan::form(req, limits, &state.incoming, move |form, req, res| {
        let db = own.db.clone();
        db.respond(req, res, move |db, req, res| {
            add_by_form(Cx::new(&own, db, req)?, form, res)
        })
    })
}

fn add_by_form(cx: Cx<'_>, form: Result<Form, UploadError>, res: Response<'_>) -> Handled {
    let form = form?;
    // A browser sends the end of a line as two characters.
    let text = |name| form.text(name).unwrap_or_default().replace("\r\n", "\n");
    let (title, text) = (text("title"), text("text"));
    let new = NewNote { title, text }.checked()?;
    // What is not kept is removed with the form.
    let mut files = form.into_files();
    if files.len() > 1 {
        return Err(Problem::new(422).detail("A note has one file.").into());
    }
    let file = files.pop().filter(|file| !file.is_empty());
    insert(&cx, &new, file)?;
    back(&cx, "The note is saved.", res)
}

pub(crate) fn delete_by_form(cx: Cx<'_>, res: Response<'_>) -> Handled {
    remove(&cx)?;
    back(&cx, "The note is deleted.", res)
}

fn remove(cx: &Cx<'_>) -> Result<(), BoxError> {
    let id: i64 = cx.req.param("id")?;
    let sql = "DELETE FROM notes WHERE owner = ?1 AND id = ?2 RETURNING file";
    let removed = write(cx.db, sql, params![cx.user, id], |row| row.get(0))?;
    let file: Option<String> = removed.ok_or_else(none)?;
    cx.state.tell(&cx.user);
    if let Some(file) = file {
        remove_file(&cx.state.folder.join(file));
    }
    Ok(())
}

/// The file of a note as a download: its type is not that which the client has sent.
pub(crate) fn file(cx: Cx<'_>, res: Response<'_>) -> Handled {
    let id: i64 = cx.req.param("id")?;
    let sql = "SELECT file, file_name FROM notes WHERE owner = ?1 AND id = ?2 AND file IS NOT NULL";
    let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let found = cx
        .db
        .query_row(sql, params![cx.user, id], read)
        .optional()?;
    let none = Problem::new(404).detail("There is no such file.");
    let (file, name): (String, String) = found.ok_or(none)?;
    let res = res
        .attachment(&name)
        .header("Cache-Control", "private, no-cache");
    Ok(cx.state.files.serve_path(&format!("/{file}"), cx.req, res))
}

// JSON

fn json(res: Response<'_>, value: &impl Serialize) -> Done {
    res.header("Cache-Control", "no-store").json(value)
}

pub(crate) fn list(cx: Cx<'_>, res: Response<'_>) -> Handled {
    Ok(json(res, &newest(&cx)?))
}

pub(crate) fn show(cx: Cx<'_>, res: Response<'_>) -> Handled {
    Ok(json(res, &find(&cx)?))
}

pub(crate) fn add(cx: Cx<'_>, res: Response<'_>) -> Handled {
    let new: NewNote = cx.req.json()?;
    let note = insert(&cx, &new.checked()?, None)?;
    let place = format!("/api/notes/{}", note.id);
    Ok(json(res.status(201).header("Location", place), &note))
}

pub(crate) fn change(cx: Cx<'_>, res: Response<'_>) -> Handled {
    let id: i64 = cx.req.param("id")?;
    let new: NewNote = cx.req.json()?;
    let NewNote { title, text } = new.checked()?;
    let sql = "UPDATE notes SET title = ?3, text = ?4 WHERE owner = ?1 AND id = ?2
        RETURNING id, title, text, file_name";
    let changed = write(cx.db, sql, params![cx.user, id, title, text], note)?;
    let changed = changed.ok_or_else(none)?;
    cx.state.tell(&cx.user);
    Ok(json(res, &changed))
}

pub(crate) fn delete(cx: Cx<'_>, res: Response<'_>) -> Handled {
    remove(&cx)?;
    Ok(res.status(204).body(""))
}
