//! A login form, a session, and a message that is shown once.
//!
//!     cargo run --example login --features sessions
//!
//! The user is `ada`, the password `engine`. Browsers take the cookie from `localhost` and over TLS only.

mod common;

use peregrine::sessions::{Session, Sessions};
use peregrine::{Done, Handler, Request, Response, Server};

struct App {
    sessions: Sessions,
}

impl Handler for App {
    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        let session = self.sessions.load(req);
        match (req.method(), req.path()) {
            ("GET" | "HEAD", "/") => page(session, res),
            ("POST", "/login" | "/logout") if !req.is_same_origin() => {
                res.status(403).text("this form is of another site")
            }
            ("POST", "/login") => log_in(req, session, res),
            ("POST", "/logout") => log_out(session, res),
            _ => res.status(404).text("not found"),
        }
    }
}

fn page(mut session: Session<'_>, res: Response<'_>) -> Done {
    let message = session.take("message").unwrap_or_default();
    let form = match session.get("user") {
        Some(user) => {
            format!("<form action=/logout method=post>{user} <button>Log out</button></form>")
        }
        None => "<form action=/login method=post><input name=user><input name=password \
                 type=password><button>Log in</button></form>"
            .to_owned(),
    };
    let res = session.save(res).header("Cache-Control", "no-store");
    res.html(format!(
        "<!doctype html><title>Login</title><p>{message}</p>{form}"
    ))
}

fn log_in(req: &Request<'_>, mut session: Session<'_>, res: Response<'_>) -> Done {
    let field = |name| req.form(name).unwrap_or_default();
    // A program compares with a hash that is slow to compute, on a thread of the pool.
    let is_ada = field("user") == "ada" && field("password") == "engine";
    if !is_ada {
        // Not a message in a session: anyone could fill the store with sessions then.
        return res.status(403).html(
            "<!doctype html><title>Login</title><p>Wrong name or password. <a href=/>Back</a>",
        );
    }
    // The name that the session had before the login is worth nothing after it.
    session.renew();
    let set = session
        .set("user", "ada")
        .and_then(|()| session.set("message", "Welcome."));
    match set {
        Ok(()) => session.save(res).redirect(303, "/"),
        Err(error) => res.status(500).text(error.to_string()),
    }
}

fn log_out(mut session: Session<'_>, res: Response<'_>) -> Done {
    session.end();
    session.save(res).redirect(303, "/")
}

fn main() -> std::io::Result<()> {
    let args = common::Args::parse("A login form with a session.");
    let app = App {
        sessions: Sessions::default(),
    };
    common::run(Server::new(app), &args)
}
