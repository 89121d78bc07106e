//! Users, their passwords and their sessions.

use crate::{Cx, Handled, State};
use peregrine::error::BoxError;
use peregrine::templates::context;
use peregrine::{Done, Request, Response};
use ring::pbkdf2::{self, PBKDF2_HMAC_SHA256};
use rusqlite::{OptionalExtension, params};
use std::num::NonZeroU32;
use std::sync::Arc;

/// Of PBKDF2, as OWASP recommends it.
const ROUNDS: NonZeroU32 = NonZeroU32::new(600_000).unwrap();

pub(crate) fn page(state: &Arc<State>, _: &Request<'_>, res: Response<'_>) -> Done {
    res.render(&state.pages, "login.html", context! {})
}

pub(crate) fn log_in(cx: Cx<'_>, res: Response<'_>) -> Handled {
    let (name, password) = credentials(cx.req);
    let sql = "SELECT salt, hash FROM users WHERE name = ?1";
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let found = cx.db.query_row(sql, [&name], read).optional()?;
    // An unknown name takes as long as a wrong password, so that names cannot be found out.
    let (salt, hash): (Vec<u8>, Vec<u8>) = found.unwrap_or((vec![0; 16], vec![0; 32]));
    let algorithm = PBKDF2_HMAC_SHA256;
    match pbkdf2::verify(algorithm, ROUNDS, &salt, password.as_bytes(), &hash) {
        Ok(()) => begin(&cx, &name, res),
        Err(_) => Ok(again(&cx, &name, "Wrong name or password.", res)),
    }
}

pub(crate) fn sign_up(cx: Cx<'_>, res: Response<'_>) -> Handled {
    let (name, password) = credentials(cx.req);
    let is_name = (1..=30).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric());
    if !is_name {
        let error = "A name has 1 to 30 letters and digits.";
        return Ok(again(&cx, &name, error, res));
    }
    if !(8..=200).contains(&password.len()) {
        let error = "A password has 8 to 200 characters.";
        return Ok(again(&cx, &name, error, res));
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
    match cx.db.execute(sql, params![name, salt, hash])? {
        0 => Ok(again(&cx, &name, "This name is taken.", res)),
        _ => begin(&cx, &name, res),
    }
}

fn credentials(req: &Request<'_>) -> (String, String) {
    let field = |name| req.form(name).unwrap_or_default().into_owned();
    (field("user"), field("password"))
}

fn again(cx: &Cx<'_>, name: &str, error: &str, res: Response<'_>) -> Done {
    let values = context! { name, error };
    res.status(422)
        .render(&cx.state.pages, "login.html", values)
}

fn begin(cx: &Cx<'_>, name: &str, res: Response<'_>) -> Handled {
    let mut session = cx.state.sessions.load(cx.req);
    session.renew();
    session.set("user", name)?;
    session.set("flash", format!("Welcome, {name}."))?;
    Ok(session.save(res).redirect(303, "/notes"))
}

/// Redirects to the notes, with a text that is shown there once.
pub(crate) fn back(cx: &Cx<'_>, flash: &str, res: Response<'_>) -> Result<Done, BoxError> {
    let mut session = cx.state.sessions.load(cx.req);
    session.set("flash", flash)?;
    Ok(session.save(res).redirect(303, "/notes"))
}

pub(crate) fn log_out(state: &Arc<State>, req: &Request<'_>, res: Response<'_>) -> Done {
    let mut session = state.sessions.load(req);
    let user = session.get("user").map(str::to_owned);
    session.end();
    let done = session.save(res).redirect(303, "/login");
    // The other windows of this browser are not logged in any more.
    state.tell(&user.unwrap_or_default());
    done
}
