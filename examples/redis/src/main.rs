//! Short links in Redis. The client blocks, so each thread of the pool has a connection of its own.
//!
//! ```sh
//! cargo run --manifest-path examples/redis/Cargo.toml -- redis://127.0.0.1:6379 127.0.0.1:8080
//! curl -i --json '{"to": "https://www.rust-lang.org/"}' http://127.0.0.1:8080/links
//! curl -i http://127.0.0.1:8080/1
//! curl -i http://127.0.0.1:8080/links/1
//! ```

use peregrine::error::{BoxError, Problem};
use peregrine::router::PerThread;
use peregrine::{Done, Request, Response, Router, Server};
use redis::{Client, Commands, Connection, ConnectionLike};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A link ends a week after it was made.
const LIFETIME: i64 = 7 * 24 * 3600;

/// Longest wait for a connection, and for a reply.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Deserialize, Serialize)]
struct Link {
    to: String,
    #[serde(skip_deserializing)]
    visits: u64,
}

type Handled = Result<Done, BoxError>;

fn add(db: &mut Connection, req: &Request<'_>, res: Response<'_>) -> Handled {
    let link: Link = req.json()?;
    let is_web = link.to.starts_with("https://") || link.to.starts_with("http://");
    if !is_web || link.to.len() > 2000 || link.to.contains(char::is_control) {
        return Err(Problem::new(422)
            .detail("`to` is not the address of a page")
            .into());
    }
    let id: u64 = db.incr("links", 1)?;
    let key = format!("link:{id}");
    let () = db.hset_multiple(&key, &[("to", &*link.to), ("visits", "0")])?;
    let () = db.expire(&key, LIFETIME)?;
    let place = format!("/links/{id}");
    Ok(res.status(201).header("Location", place).json(&link))
}

fn find(db: &mut Connection, req: &Request<'_>) -> Result<(String, Link), BoxError> {
    let key = format!("link:{}", req.param::<u64>("id")?);
    let (to, visits): (Option<String>, Option<u64>) = db.hmget(&key, &["to", "visits"])?;
    let to = to.ok_or(Problem::new(404).detail("there is no such link"))?;
    let visits = visits.unwrap_or(0);
    Ok((key, Link { to, visits }))
}

fn show(db: &mut Connection, req: &Request<'_>, res: Response<'_>) -> Handled {
    let (_, link) = find(db, req)?;
    Ok(res.json(&link))
}

fn follow(db: &mut Connection, req: &Request<'_>, res: Response<'_>) -> Handled {
    let (key, link) = find(db, req)?;
    let () = db.hincr(&key, "visits", 1)?;
    let res = res.header("Cache-Control", "no-store");
    Ok(res.redirect(302, link.to))
}

fn main() -> Result<(), BoxError> {
    let mut args = std::env::args().skip(1);
    let url = args.next().unwrap_or("redis://127.0.0.1:6379".to_owned());
    let address = args.next().unwrap_or("127.0.0.1:8080".to_owned());
    let client = Client::open(url)?;
    let connect = move || -> Result<Connection, BoxError> {
        let connection = client.get_connection_with_timeout(PATIENCE)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        connection.set_write_timeout(Some(PATIENCE))?;
        Ok(connection)
    };
    // A connection that has failed is made again by the next request of its thread.
    let db = PerThread::new(connect).keep_if(|db| db.is_open());
    let app = Router::new()
        .post("/links", db.offload(add))
        .get("/links/{id}", db.offload(show))
        .get("/{id}", db.offload(follow));
    let running = Server::new(app).stop_on_signals().bind(&*address).start()?;
    println!("listening on {}", running.local_addrs()[0]);
    running.wait()?;
    Ok(())
}
