//! Users, their passwords and their sessions.

use crate::{Cx, Handled, State};
use peregrine::error::Problem;
use peregrine::templates::context;
use peregrine::{Done, Request, Response};
use ring::pbkdf2::{self, PBKDF2_HMAC_SHA256};
use rusqlite::{Connection, OptionalExtension, params};
use std::num::NonZeroU32;
use std::sync::Arc;

/// Of PBKDF2, as OWASP recommends it.
const ROUNDS: NonZeroU32 = NonZeroU32::new(600_000).unwrap();

/// Most passwords that are hashed at a time. Each takes half a second of a CPU, and other routes need threads of the pool, too.
const HASHES: usize = 2;

type HashingHandler = fn(&State, &mut Connection, &Request<'_>, Response<'_>) -> Handled;

/// A route that hashes a password on the pool. If too many do, it refuses before the pool has to wait.
pub(crate) fn hashing(
    state: &Arc<State>,
    handler: HashingHandler,
) -> impl Fn(&Request<'_>, Response<'_>) -> Done + Send + Sync + 'static + use<> {
    let state = state.clone();
    move |req, res| {
        let (own, turn) = (state.clone(), state.hashes.clone());
        // The state has one clone itself.
        if Arc::strong_count(&turn) > 1 + HASHES {
            let busy = Problem::new(503).detail("Too many logins at once. Try again soon.");
            return busy.header("Retry-After", "2").respond_to(req, res);
        }
        state.db.respond(req, res, move |db, req, res| {
            let _turn = turn;
            handler(&own, db, req, res)
        })
    }
}

pub(crate) fn page(state: &Arc<State>, _: &Request<'_>, res: Response<'_>) -> Handled {
    Ok(res.render(&state.pages, "login.html", context! {}))
}

pub(crate) fn log_in(
    state: &State,
    db: &mut Connection,
    req: &Request<'_>,
    res: Response<'_>,
) -> Handled {
    let (name, password) = credentials(req);
    // The name as it was chosen: "Ada" and "ada" are one account.
    let sql = "SELECT name, salt, hash FROM users WHERE name = ?1";
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    let found: Option<(String, Vec<u8>, Vec<u8>)> = db.query_row(sql, [&name], read).optional()?;
    // An unknown name takes as long as a wrong password, so that names cannot be found out.
    let (name, salt, hash) = found.unwrap_or((name, vec![0; 16], vec![0; 32]));
    let algorithm = PBKDF2_HMAC_SHA256;
    match pbkdf2::verify(algorithm, ROUNDS, &salt, password.as_bytes(), &hash) {
        Ok(()) => begin(state, req, &name, res),
        Err(_) => Ok(again(state, &name, "Wrong name or password.", res)),
    }
}

pub(crate) fn sign_up(
    state: &State,
    db: &mut Connection,
    req: &Request<'_>,
    res: Response<'_>,
) -> Handled {
    let (name, password) = credentials(req);
    let is_name = (1..=30).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric());
    if !is_name {
        let error = "A name has 1 to 30 letters and digits.";
        return Ok(again(state, &name, error, res));
    }
    if !(8..=200).contains(&password.chars().count()) {
        let error = "A password has 8 to 200 characters.";
        return Ok(again(state, &name, error, res));
    }
    let random = ring::rand::SystemRandom::new();
    let salt: [u8; 16] = ring::rand::generate(&random)
        .map_err(|_| "no random bytes")?
        .expose();
    let mut hash = [0; 32];
    pbkdf2::derive(
        PBKDF2_HMAC_SHA256,
        ROUNDS,
        &salt,
        password.as_bytes(),
        &mut hash,
    );
    let sql = "INSERT OR IGNORE INTO users (name, salt, hash) VALUES (?1, ?2, ?3)";
    match db.execute(sql, params![name, salt, hash])? {
        0 => Ok(again(state, &name, "This name is taken.", res)),
        _ => begin(state, req, &name, res),
    }
}

fn credentials(req: &Request<'_>) -> (String, String) {
    let field = |name| req.form(name).unwrap_or_default().into_owned();
    (field("user"), field("password"))
}

fn again(state: &State, name: &str, error: &str, res: Response<'_>) -> Done {
    let values = context! { name, error };
    res.status(422).render(&state.pages, "login.html", values)
}

fn begin(state: &State, req: &Request<'_>, name: &str, res: Response<'_>) -> Handled {
    let mut session = state.sessions.load(req);
    session.renew();
    session.set("user", name)?;
    session.set("flash", format!("Welcome, {name}."))?;
    Ok(session.save(res).redirect(303, "/notes"))
}

/// Redirects to the notes, with a text that is shown there once.
pub(crate) fn back(cx: &Cx<'_>, flash: &str, res: Response<'_>) -> Handled {
    let mut session = cx.state.sessions.load(cx.req);
    session.set("flash", flash)?;
    Ok(session.save(res).redirect(303, "/notes"))
}

pub(crate) fn log_out(state: &Arc<State>, req: &Request<'_>, res: Response<'_>) -> Handled {
    let mut session = state.sessions.load(req);
    let user = session.get("user").map(str::to_owned);
    session.end();
    let done = session.save(res).redirect(303, "/login");
    if let Some(user) = user {
        // The other windows of this browser are not logged in any more.
        state.tell(&user);
    }
    Ok(done)
}
