//! Counters in the text format of Prometheus, version 0.0.4.

use super::stats::snapshots;
use super::{Counters, Histogram, METRICS, Metric, Queues, Stats, nanos};
use std::fmt::Write as _;
use std::time::Duration;

/// The prefix of each name.
const PREFIX: &str = "peregrine_";

impl Counters {
    /// These counters in the text format of Prometheus (0.0.4; [`Stats::CONTENT_TYPE`]).
    ///
    /// The documentation of each counter is its help text. The names are `peregrine_requests_total`,
    /// `peregrine_refused_total`, `peregrine_read_bytes_total` and so on. Times are in seconds. There is also
    /// the gauge `peregrine_connections_open`.
    ///
    /// ```
    /// let mut counters = peregrine::metrics::Counters::default();
    /// counters.requests = 7;
    /// let page = counters.prometheus();
    /// assert!(page.contains("# TYPE peregrine_requests_total counter\nperegrine_requests_total 7\n"));
    /// ```
    pub fn prometheus(&self) -> String {
        let mut page = String::new();
        self.write(&mut page);
        page
    }

    fn write(&self, page: &mut String) {
        for metric in METRICS {
            let family = format!("{PREFIX}{}_total", metric.name);
            metric.head(&family, "", page);
            metric.sample(page, &family, self);
        }
        let open = self.accepted.saturating_sub(self.closed);
        let family = format!("{PREFIX}connections_open");
        head(page, &family, &["Open connections."], "", "gauge");
        sample(page, &family, open);
    }
}

impl Stats {
    /// A page for Prometheus: all counters, for the whole server and by thread, and gauges.
    ///
    /// It has all of [`Counters::prometheus`] and the gauges `peregrine_buffered_bytes`
    /// ([`Stats::buffered_bytes`]), `peregrine_queue_connections`, `peregrine_queue_messages` and
    /// `peregrine_queue_jobs` ([`Queues`]); the histograms `peregrine_handler_seconds` ([`Stats::handler_times`]) and
    /// `peregrine_response_seconds` ([`Stats::response_times`]); `peregrine_route_requests_total{route="/users/{id}"}`
    /// ([`Stats::routes`]), if there are any; and the gauge `peregrine_turn_seconds{thread="worker-0"}`
    /// ([`Stats::worker_busy`]), which is high while a handler holds its thread. Then it has the same counters by thread, as
    /// `peregrine_thread_requests_total{thread="worker-0"}` and so on: `ws-0` is the first WebSocket thread,
    /// `pool-0` all threads of `offload`, `accept-0` all accept threads, and `relay-0` a relay. The counters by thread are
    /// separate families, so a sum over one family counts nothing twice.
    ///
    /// A page has a few kilobytes for each ten threads, and is made anew at each call. It should not be
    /// public: serve it on another address, or check the client.
    pub fn prometheus(&self) -> String {
        let threads = self.threads();
        let held = threads.buffered_bytes();
        let queues = threads.queues();
        let named = |kind: &'static str, counters: &[_]| {
            let snapshots = snapshots(counters);
            let numbered = snapshots.into_iter().enumerate();
            numbered.map(move |(i, counters)| (format!("{kind}-{i}"), counters))
        };
        let threads: Vec<_> = named("worker", &threads.workers)
            .chain(named("ws", &threads.ws))
            .chain(named("pool", &threads.pools))
            .chain(named("accept", &threads.accepting))
            .chain(named("relay", &threads.relays))
            .collect();

        let mut page = String::new();
        // The sum of the same snapshots, so it equals the sum of the parts.
        let sum: Counters = threads.iter().map(|(_, counters)| *counters).sum();
        sum.write(&mut page);
        let family = format!("{PREFIX}buffered_bytes");
        let help = ["Bytes of memory that are held in buffers for clients."];
        head(&mut page, &family, &help, "", "gauge");
        sample(&mut page, &family, held);
        queues.write(&mut page);
        self.write_times(&mut page);
        self.write_routes(&mut page);
        for metric in METRICS {
            let family = format!("{PREFIX}thread_{}_total", metric.name);
            metric.head(&family, " By thread.", &mut page);
            for (name, counters) in &threads {
                let series = format!("{family}{{thread=\"{name}\"}}");
                metric.sample(&mut page, &series, counters);
            }
        }
        page
    }
}

impl Stats {
    fn write_times(&self, page: &mut String) {
        let help = ["Times of calls of the handler in timed turns."];
        self.handler_times().write("handler_seconds", &help, page);
        let help = ["Times until the head of a response, of requests in timed turns."];
        self.response_times().write("response_seconds", &help, page);
        let family = format!("{PREFIX}turn_seconds");
        let help = [
            "How long the present turn of a thread has lasted, 0 while it waits. Above 0.1 a handler holds the thread.",
        ];
        let threads = [("worker", self.worker_busy()), ("ws", self.ws_busy())];
        if threads.iter().all(|(_, threads)| threads.is_empty()) {
            return;
        }
        head(page, &family, &help, "", "gauge");
        for (kind, times) in threads {
            for (at, time) in times.into_iter().enumerate() {
                let series = format!("{family}{{thread=\"{kind}-{at}\"}}");
                seconds(page, &series, nanos(time));
            }
        }
    }

    fn write_routes(&self, page: &mut String) {
        let routes = self.routes();
        if routes.is_empty() {
            return;
        }
        let family = format!("{PREFIX}route_requests_total");
        head(page, &family, &["Requests by route."], "", "counter");
        for (route, count) in routes {
            let route = route
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            sample(page, &format!("{family}{{route=\"{route}\"}}"), count);
        }
    }
}

impl Histogram {
    fn write(&self, name: &str, help: &[&str], page: &mut String) {
        let family = format!("{PREFIX}{name}");
        head(page, &family, help, "", "histogram");
        let mut below = 0;
        for (end, count) in self.buckets() {
            below += count;
            let end = end.as_ref().map(Duration::as_secs_f64);
            let end = end.map_or("+Inf".to_owned(), |end| end.to_string());
            sample(page, &format!("{family}_bucket{{le=\"{end}\"}}"), below);
        }
        seconds(page, &format!("{family}_sum"), nanos(self.sum()));
        // Of the same counts as the buckets.
        sample(page, &format!("{family}_count"), below);
    }
}

impl Queues {
    fn write(&self, page: &mut String) {
        let gauges = [
            (
                "connections",
                "Connections that wait for their thread.",
                self.connections,
            ),
            (
                "messages",
                "Deferred responses, WebSocket messages and similar items that wait for their thread.",
                self.messages,
            ),
            (
                "jobs",
                "Offloaded requests that wait for a thread.",
                self.jobs,
            ),
        ];
        for (name, help, value) in gauges {
            let family = format!("{PREFIX}queue_{name}");
            head(page, &family, &[help], "", "gauge");
            sample(page, &family, value);
        }
    }
}

impl Metric {
    /// Counted in nanoseconds, written in seconds, as is usual in Prometheus.
    fn sample(&self, page: &mut String, series: &str, counters: &Counters) {
        let value = (self.value)(counters);
        if !self.name.ends_with("_seconds") {
            return sample(page, series, value);
        }
        seconds(page, series, value);
    }

    fn head(&self, family: &str, after: &str, page: &mut String) {
        head(page, family, self.help, after, "counter");
    }
}

fn head(page: &mut String, family: &str, help: &[&str], after: &str, kind: &str) {
    page.push_str("# HELP ");
    page.push_str(family);
    page.push(' ');
    for c in plain(help).chars() {
        match c {
            '\\' => page.push_str("\\\\"),
            '\n' => page.push_str("\\n"),
            c => page.push(c),
        }
    }
    page.push_str(after);
    // A write to a `String` cannot fail.
    let _ = writeln!(page, "\n# TYPE {family} {kind}");
}

/// Documentation as plain text: without the marks of code, and only the texts of links.
fn plain(help: &[&str]) -> String {
    let lines: Vec<_> = help.iter().map(|line| line.trim()).collect();
    let text = lines.join(" ");
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    let mut is_target = false;
    while let Some(c) = chars.next() {
        match c {
            ']' if chars.peek() == Some(&'(') => is_target = true,
            ')' if is_target => is_target = false,
            '[' | ']' | '`' => {}
            c if !is_target => plain.push(c),
            _ => {}
        }
    }
    plain
}

/// A number of nanoseconds, in seconds.
fn seconds(page: &mut String, series: &str, nanos: u64) {
    let (seconds, nanos) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    let _ = writeln!(page, "{series} {seconds}.{nanos:09}");
}

fn sample(page: &mut String, series: &str, value: u64) {
    let _ = writeln!(page, "{series} {value}");
}
