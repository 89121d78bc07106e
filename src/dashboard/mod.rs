//! A page with live plots of the counters of a server.

use crate::http::deferred::Event;
use crate::http::handler::Handler;
use crate::http::json_string::push_string;
use crate::http::request::Request;
use crate::http::response::{Done, Response};
use crate::metrics::{Counters, Histogram, Stats};
use crate::shared::quota::Share;
use crate::shared::random_text;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Between two samples.
const TICK: Duration = Duration::from_secs(1);

/// The most pages that get samples at the same time.
const PAGES: usize = 32;

/// The most routes in a sample.
const ROUTES: usize = 64;

/// A page with live plots: responses by class, time in handlers, response times, connections, bytes, what is used of
/// the limits, each worker, the most frequent routes, and errors.
///
/// Mount it; without that it is not there, and it costs nothing while no page is open. It shows how the program is used,
/// so it should not be public: mount it behind [`BasicAuth`](crate::layers::BasicAuth), or on an address of its own.
///
/// ```
/// use peregrine::layers::BasicAuth;
/// use peregrine::metrics::Stats;
/// use peregrine::{Dashboard, Router, Server};
///
/// # fn main() -> std::io::Result<()> {
/// let stats = Stats::new();
/// let operators = Router::new()
///     .mount("/dashboard", Dashboard::new(&stats))
///     .layer(BasicAuth::new("operators", |user, password| user == "ada" && password == "lovelace"));
/// let app = Router::new()
///     .get("/", |_, res| res.text("hello"))
///     .nest("/admin", operators);
/// # assert_eq!(peregrine::testing::get(&app, "/admin/dashboard/").status(), 401);
/// let running = Server::new(app).stats(&stats).bind("127.0.0.1:0").start()?;
/// # running.stop();
/// # Ok(())
/// # }
/// ```
///
/// | path below its own | response |
/// |---|---|
/// | `/` | the page, with script and style in it; its `Content-Security-Policy` allows nothing else |
/// | `/events` | a sample each second, as server-sent events, on the thread of the worker |
/// | others | 404 |
///
/// At most 32 pages get samples at the same time; more get 503. A sample has a few kilobytes. The server keeps no
/// history: a page shows what has happened since it was opened, two minutes at most.
///
/// Times in handlers are sampled: [`Config::timed_one_in`](crate::Config::timed_one_in).
#[derive(Clone, Debug)]
#[doc(alias("status", "monitor"))]
pub struct Dashboard {
    stats: Stats,
    begun: Instant,
    pages: Arc<Share>,
}

impl Dashboard {
    /// A page for these counters.
    pub fn new(stats: &Stats) -> Dashboard {
        Dashboard {
            stats: stats.clone(),
            begun: Instant::now(),
            pages: Arc::new(Share::new(PAGES)),
        }
    }

    fn page(res: Response<'_>) -> Done {
        let nonce = random_text::unique();
        let page = PAGE
            .replace("NONCE", &nonce)
            .replace("STYLE", STYLE)
            .replace("SCRIPT", SCRIPT);
        let policy = format!(
            "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; \
             img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
        );
        res.header("Content-Security-Policy", policy)
            .header("Cache-Control", "no-store")
            .header("X-Content-Type-Options", "nosniff")
            .header("Referrer-Policy", "no-referrer")
            .html(page)
    }

    fn events(&self, res: Response<'_>) -> Done {
        let Some(place) = self.pages.hold() else {
            return res.status(503).text("too many pages are open\n");
        };
        let timers = res.timers();
        let (done, mut events) = res.events();
        let _ = events.try_send(Event::new().event("ends").retry(TICK).data(ends()));
        let (stats, begun) = (self.stats.clone(), self.begun);
        let sample = move || Event::new().event("sample").data(sample(&stats, begun));
        let _ = events.try_send(sample());
        let ticking = timers.every_while(TICK, move || {
            // Held as long as the events are sent.
            let _place = &place;
            // A page that does not keep up misses samples.
            if events.is_ready() {
                let _ = events.try_send(sample());
            }
            !events.is_gone()
        });
        // Without a timer the stream has ended, and the page tries again.
        let _ = ticking;
        done
    }
}

impl Handler for Dashboard {
    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        match (req.method(), req.path()) {
            ("GET" | "HEAD", "/") => Dashboard::page(res),
            ("GET", "/events") => self.events(res),
            (_, "/") => res.status(405).header("Allow", "GET, HEAD").body(""),
            (_, "/events") => res.status(405).header("Allow", "GET").body(""),
            _ => res.status(404).text("nothing here\n"),
        }
    }
}

/// The ends of the buckets of histograms, in seconds.
fn ends() -> String {
    let times = Histogram::default();
    let ends = times.buckets().filter_map(|(end, _)| end);
    let ends: Vec<_> = ends.map(|end| end.as_secs_f64().to_string()).collect();
    format!("[{}]", ends.join(","))
}

/// The counters of the page, by their names in [`Counters`].
fn counters(of: &Counters) -> [(&'static str, u64); 21] {
    [
        ("requests", of.requests),
        ("responses_2xx", of.responses_2xx),
        ("responses_3xx", of.responses_3xx),
        ("responses_4xx", of.responses_4xx),
        ("responses_5xx", of.responses_5xx),
        ("bytes_read", of.bytes_read),
        ("bytes_written", of.bytes_written),
        ("refused", of.refused),
        ("refused_slow", of.refused_slow),
        ("refused_large", of.refused_large),
        ("overloaded", of.overloaded),
        ("turned_away", of.turned_away),
        ("handler_errors", of.handler_errors),
        ("panics", of.panics),
        ("response_timeouts", of.response_timeouts),
        ("handlers_blocking", of.handlers_blocking),
        ("connection_errors", of.connection_errors),
        ("clients_gone", of.clients_gone),
        ("ws_received", of.ws_received),
        ("ws_dropped", of.ws_dropped),
        ("jobs_refused", of.jobs_refused),
    ]
}

/// One sample in JSON. All counts are since the start of the server; the page computes the differences.
fn sample(stats: &Stats, begun: Instant) -> String {
    let all = stats.counters();
    let ws_closed: u64 = stats.ws_counters().iter().map(|ws| ws.closed).sum();
    let (queues, limits) = (stats.queues(), stats.most());
    let mut out = format!(
        "{{\"at\":{},\"open\":{},\"websockets\":{},\"buffered\":{},",
        begun.elapsed().as_secs_f64(),
        all.accepted.saturating_sub(all.closed),
        all.upgraded.saturating_sub(ws_closed),
        stats.buffered_bytes(),
    );
    // A write to a string cannot fail.
    let _ = write!(
        out,
        "\"limits\":{{\"buffered\":{},\"connections\":{},\"jobs\":{}}},\
         \"queues\":{{\"connections\":{},\"messages\":{},\"jobs\":{}}},\"counters\":{{",
        limits.buffered,
        limits.connections,
        limits.jobs,
        queues.connections,
        queues.messages,
        queues.jobs,
    );
    for (at, (name, value)) in counters(&all).into_iter().enumerate() {
        let comma = if at > 0 { "," } else { "" };
        let _ = write!(out, "{comma}\"{name}\":{value}");
    }
    out.push_str("},\"workers\":[");
    workers(stats, &mut out);
    out.push_str("],\"routes\":[");
    for (at, (route, count)) in stats.routes().into_iter().take(ROUTES).enumerate() {
        out.push_str(if at > 0 { ",[" } else { "[" });
        push_string(route, &mut out);
        let _ = write!(out, ",{count}]");
    }
    out.push(']');
    for (name, times) in [
        ("handlers", stats.handler_times()),
        ("responses", stats.response_times()),
    ] {
        let counts: Vec<_> = times
            .buckets()
            .map(|(_, count)| count.to_string())
            .collect();
        let _ = write!(out, ",\"{name}\":[{}]", counts.join(","));
    }
    out.push('}');
    out
}

fn workers(stats: &Stats, out: &mut String) {
    let counters = stats.worker_counters();
    let all = counters
        .iter()
        .zip(stats.worker_queues())
        .zip(stats.worker_busy());
    for (at, ((counters, queues), busy)) in all.enumerate() {
        let comma = if at > 0 { "," } else { "" };
        let _ = write!(
            out,
            "{comma}{{\"name\":\"worker-{at}\",\"requests\":{},\"turns\":{},\"timed\":{},\"nanos\":{},\"waiting\":{},\"busy\":{}}}",
            counters.requests,
            counters.turns,
            counters.turns_timed,
            counters.turn_nanos,
            queues.connections + queues.messages,
            busy.as_secs_f64(),
        );
    }
}
