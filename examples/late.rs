//! Slow responses beside fast ones: handlers that wait and handlers that block do not delay other requests.
//!
//! ```sh
//! cargo run --release --example late -- --workers 1
//! curl 'localhost:8080/slow?ms=1000' & curl localhost:8080/fast
//! curl 'localhost:8080/blocking?ms=1000' & curl localhost:8080/fast
//! ```
//!
//! `/slow` waits without its own thread: its response is deferred, and one thread sends all responses that
//! are due. `/blocking` sleeps on the thread pool of the server, as a database query might. `late_async`
//! responds from the tasks of an async runtime.

#![allow(
    clippy::disallowed_methods,
    reason = "the work of this program is to wait"
)]

mod common;

use peregrine::{Done, Handler, Request, Responder, Response, Server};
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

const PAGE: &str = "<!DOCTYPE html>
<title>late</title>
<p>Five slow responses, and the fast ones that arrive meanwhile:</p>
<pre id=log></pre>
<script>
const log = line => document.getElementById('log').append(line + '\\n')
let slow = 5
for (let i = 1; i <= 5; i++)
  // The addresses differ; otherwise the browser requests one after the other.
  fetch(`/slow?ms=${250 * i}&${i}`).then(response => response.text()).then(log).finally(() => slow--)
const fast = () => fetch('/fast').then(response => response.text()).then(text => {
  log(text)
  if (slow > 0) setTimeout(fast, 100)
})
fast()
</script>
";

/// The maximum wait.
const MOST: Duration = Duration::from_secs(60);

struct App {
    alarm: Sender<(Duration, Responder)>,
}

impl Handler for App {
    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        match req.path() {
            "/" | "/fast" | "/slow" | "/blocking" if !matches!(req.method(), "GET" | "HEAD") => {
                common::not_allowed(res, "GET, HEAD")
            }
            "/" => res.html(PAGE),
            "/fast" => res.text("fast\n"),
            "/slow" => {
                let (done, responder) = res.defer();
                // If its thread has ended, this drops the responder, which sends 500.
                let _ = self.alarm.send((time(req), responder));
                done
            }
            "/blocking" => res.offload(req, |req, res| {
                let time = time(req);
                thread::sleep(time);
                res.text(format!("blocked a thread for {time:?}\n"))
            }),
            _ => res.status(404).text("nothing here\n"),
        }
    }
}

/// The time that `ms` in the query requests.
fn time(req: &Request<'_>) -> Duration {
    let ms = req.query("ms").and_then(|ms| ms.parse().ok());
    Duration::from_millis(ms.unwrap_or(1000)).min(MOST)
}

/// Sends each response when its time has come.
fn ring(orders: &Receiver<(Duration, Responder)>) {
    let mut waiting = BTreeMap::new();
    // Two may be due at the same time.
    for number in 0_u64.. {
        let first = waiting.first_key_value();
        let next = first.map_or(MOST, |((at, _), _): (&(Instant, u64), _)| {
            at.saturating_duration_since(Instant::now())
        });
        match orders.recv_timeout(next) {
            Ok((time, responder)) => {
                waiting.insert((Instant::now() + time, number), (time, responder));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        while let Some(entry) = waiting.first_entry() {
            if entry.key().0 > Instant::now() {
                break;
            }
            let (time, responder) = entry.remove();
            let _ = responder.send(|res| res.text(format!("waited for {time:?}\n")));
        }
    }
}

fn main() -> std::io::Result<()> {
    let args =
        common::Args::parse("Answers late at /slow?ms=N and /blocking?ms=N, and at once at /fast.");
    let (alarm, orders) = channel();
    thread::spawn(move || ring(&orders));
    common::run(Server::new(App { alarm }), &args)
}
