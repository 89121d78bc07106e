//! Short links in Redis. The client blocks, so each thread of the pool has a connection of its own.
//!
//! ```sh
//! cargo run --manifest-path examples/redis/Cargo.toml -- redis://127.0.0.1:6379 127.0.0.1:8080
//! curl -i -H 'Content-Type: application/json' -d '{"to": "https://www.rust-lang.org/"}' http://127.0.0.1:8080/links
//! curl -i http://127.0.0.1:8080/1
//! curl -i http://127.0.0.1:8080/links/1
//! ```

use peregrine::error::{BoxError, Problem};
use peregrine::layers::RateLimit;
use peregrine::router::{PerThread, Route};
use peregrine::{Done, Request, Response, Router, Server};
use redis::{Client, Commands, Connection, ConnectionLike, RedisError};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A link ends a week after it was made.
const LIFETIME: i64 = 7 * 24 * 3600;

/// Longest wait for a connection, and for a reply.
const PATIENCE: Duration = Duration::from_secs(5);

/// Counts a visit and returns the address. Redis runs it as one step: a link that ends meanwhile does not begin again.
const VISIT: &str =
    "if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HINCRBY', KEYS[1], 'visits', 1) end
    return redis.call('HGET', KEYS[1], 'to')";

#[derive(Deserialize, Serialize)]
struct Link {
    to: String,
    #[serde(skip_deserializing)]
    visits: u64,
}

type Handled = Result<Done, BoxError>;

fn store_failed(error: RedisError) -> Problem {
    eprintln!("redis: {error}");
    let problem = Problem::new(503).detail("the store does not respond");
    problem.header("Retry-After", "5")
}

fn no_link() -> Problem {
    Problem::new(404).detail("there is no such link")
}

/// Other characters than those of ASCII are percent-encoded in an address.
fn is_web_address(to: &str) -> bool {
    let Some((scheme, rest)) = to.split_once("://") else {
        return false;
    };
    let is_web = ["http", "https"]
        .iter()
        .any(|own| scheme.eq_ignore_ascii_case(own));
    let has_host = rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[');
    is_web && has_host && to.len() <= 2000 && to.bytes().all(|b| b.is_ascii_graphic())
}

fn add(db: &mut Connection, req: &Request<'_>, res: Response<'_>) -> Handled {
    let link: Link = req.json()?;
    if !is_web_address(&link.to) {
        let problem = Problem::new(422).detail("`to` is not the address of a page");
        return Err(problem.into());
    }
    let id: u64 = db.incr("links", 1).map_err(store_failed)?;
    let key = format!("link:{id}");
    // Both or none: a link without an end would stay for ever.
    let mut both = redis::pipe();
    both.atomic();
    both.hset_multiple(&key, &[("to", &*link.to), ("visits", "0")]);
    both.expire(&key, LIFETIME);
    both.exec(db).map_err(store_failed)?;
    let place = format!("/links/{id}");
    Ok(res.status(201).header("Location", place).json(&link))
}

fn key(req: &Request<'_>) -> Result<String, BoxError> {
    Ok(format!("link:{}", req.param::<u64>("id")?))
}

fn show(db: &mut Connection, req: &Request<'_>, res: Response<'_>) -> Handled {
    let found = db.hmget(key(req)?, &["to", "visits"]);
    let (to, visits): (Option<String>, Option<u64>) = found.map_err(store_failed)?;
    let (to, visits) = (to.ok_or_else(no_link)?, visits.unwrap_or(0));
    Ok(res.json(&Link { to, visits }))
}

fn follow(db: &mut Connection, req: &Request<'_>, res: Response<'_>) -> Handled {
    let key = key(req)?;
    let found = match req.method() {
        // Previews and monitors ask so.
        "HEAD" => db.hget(key, "to"),
        _ => redis::cmd("EVAL").arg(VISIT).arg(1).arg(key).query(db),
    };
    let to: Option<String> = found.map_err(store_failed)?;
    let res = res.header("Cache-Control", "no-store");
    Ok(res.redirect(302, to.ok_or_else(no_link)?))
}

fn main() -> Result<(), BoxError> {
    let mut args = std::env::args().skip(1);
    let url = args.next().unwrap_or("redis://127.0.0.1:6379".to_owned());
    let address = args.next().unwrap_or("127.0.0.1:8080".to_owned());
    let client = Client::open(url)?;
    let connect = move || -> Result<Connection, RedisError> {
        let connection = client.get_connection_with_timeout(PATIENCE)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        connection.set_write_timeout(Some(PATIENCE))?;
        Ok(connection)
    };
    let connect = move || connect().map_err(store_failed);
    // A connection that has failed is made again by the next request of its thread.
    let db = PerThread::new(connect).keep_if(|db| db.is_open());
    // Each link is a week in the store.
    let limit = RateLimit::new(20, Duration::from_secs(60));
    let app = Router::new()
        .route(Route::post("/links", db.offload(add)).layer(limit))
        .get("/links/{id}", db.offload(show))
        .get("/{id}", db.offload(follow));
    let running = Server::new(app).stop_on_signals().bind(&*address).start()?;
    println!("listening on {}", running.local_addrs()[0]);
    running.wait()?;
    Ok(())
}
