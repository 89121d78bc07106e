//! Responds from a task of an async runtime, here tokio; others work in the same way. The server does not
//! depend on the runtime: a `Responder` can be sent to any thread or task.
//!
//! ```sh
//! cargo run --release --example late_async
//! curl 'localhost:8080/?ms=100'
//! ```
//!
//! With smol, two lines are `static EXECUTOR: smol::Executor<'_> = smol::Executor::new();` and
//! `EXECUTOR.spawn(respond).detach()`, with threads that run the executor.

mod common;

use peregrine::{Done, Request, Responder, Response, Server};
use std::time::Duration;
use tokio::runtime::{Builder, Handle};
use tokio::time::{sleep, timeout};

/// How long a task may take before its client gets 504.
const PATIENCE: Duration = Duration::from_secs(5);

fn handle(tasks: &Handle, req: &Request<'_>, res: Response<'_>) -> Done {
    if !matches!(req.method(), "GET" | "HEAD") {
        return common::not_allowed(res, "GET, HEAD");
    }
    // A request is a view of the buffer of the connection. Copy from it what the task needs, or use
    // `req.to_owned_request()` for all of it.
    let ms = req.query("ms").and_then(|ms| ms.parse().ok());
    let time = Duration::from_millis(ms.unwrap_or(1000));
    let (done, responder) = res.defer();
    tasks.spawn(respond(time, responder));
    done
}

async fn respond(time: Duration, responder: Responder) {
    // Without a client there is nothing left to do.
    let _ = match timeout(PATIENCE, fetch(time)).await {
        Ok(text) => responder.send(|res| res.text(text)),
        Err(_) => responder.send(|res| res.status(504).text("it took too long\n")),
    };
    // If the task is dropped before this point, the client gets 500.
}

/// In place of a query to a database or another server.
async fn fetch(time: Duration) -> String {
    sleep(time).await;
    format!("waited for {time:?} in a task\n")
}

fn main() -> std::io::Result<()> {
    let args = common::Args::parse("Answers from tasks of tokio, after /?ms=N.");
    // A runtime with one thread, besides the workers of the server.
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()?;
    let tasks = runtime.handle().clone();
    let server = Server::from_fn(move |req, res| handle(&tasks, req, res));
    common::run(server, &args)
}
