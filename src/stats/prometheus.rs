//! Counters as a page for Prometheus, in its text format, version 0.0.4.

use super::{Counters, METRICS, Metric, Queues, Stats};
use std::fmt::Write as _;

/// Before every name.
const PREFIX: &str = "peregrine_";

impl Counters {
    /// These counters in the text format of Prometheus (0.0.4; [`Stats::CONTENT_TYPE`]), each with
    /// its documentation as the help: `peregrine_requests_total`, `peregrine_refused_total`,
    /// `peregrine_read_bytes_total` and so on, times in seconds, and the gauge `peregrine_connections_open`.
    ///
    /// ```
    /// let counters = peregrine::Counters { requests: 7, ..Default::default() };
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
        head(page, &family, &["Connections that are open."], "", "gauge");
        sample(page, &family, open);
    }
}

impl Stats {
    /// A page for Prometheus: all of [`Counters::prometheus`], the gauges `peregrine_buffered_bytes`
    /// ([`Stats::buffered_bytes`]), `peregrine_queue_connections`, `peregrine_queue_messages` and
    /// `peregrine_queue_jobs` ([`Queues`]), then the same counters thread by
    /// thread as `peregrine_thread_requests_total{thread="worker-0"}` and so on, with `ws-0` for the
    /// first WebSocket thread, `pool-0` for the threads of `offload` together, and `accept-0` for all
    /// that accept. Those are families of their own, so that a sum over one counts nothing twice.
    ///
    /// A page is a few kilobytes for each ten threads, made anew at each call. It is no secret that
    /// strangers should have: serve it on an address of its own, or look at who asks.
    pub fn prometheus(&self) -> String {
        let threads = self.threads();
        let held = threads.buffered_bytes();
        let queues = threads.queues();
        let named = |kind: &'static str, counters: &[_]| {
            let snapshots = super::snapshots(counters);
            let numbered = snapshots.into_iter().enumerate();
            numbered.map(move |(i, counters)| (format!("{kind}-{i}"), counters))
        };
        let threads: Vec<_> = named("worker", &threads.workers)
            .chain(named("ws", &threads.ws))
            .chain(named("pool", &threads.pools))
            .chain(named("accept", &threads.accepting))
            .collect();

        let mut page = String::new();
        // Of the same snapshots, so that the parts make the sum.
        let sum: Counters = threads.iter().map(|(_, counters)| *counters).sum();
        sum.write(&mut page);
        let family = format!("{PREFIX}buffered_bytes");
        let help = ["Bytes of memory that are held in buffers for clients."];
        head(&mut page, &family, &help, "", "gauge");
        sample(&mut page, &family, held);
        queues.write(&mut page);
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

impl Queues {
    fn write(&self, page: &mut String) {
        let gauges = [
            (
                "connections",
                "Connections on their way to a thread.",
                self.connections,
            ),
            (
                "messages",
                "Late answers, WebSocket messages and the like on their way.",
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
    /// Counted in nanoseconds, told in seconds, as is the custom.
    fn sample(&self, page: &mut String, series: &str, counters: &Counters) {
        let value = (self.value)(counters);
        if !self.name.ends_with("_seconds") {
            return sample(page, series, value);
        }
        let (seconds, nanos) = (value / 1_000_000_000, value % 1_000_000_000);
        let _ = writeln!(page, "{series} {seconds}.{nanos:09}");
    }

    fn head(&self, family: &str, after: &str, page: &mut String) {
        head(page, family, self.help, after, "counter");
    }
}

fn head(page: &mut String, family: &str, help: &[&str], after: &str, kind: &str) {
    page.push_str("# HELP ");
    page.push_str(family);
    // Lines of documentation begin with a space.
    for line in help {
        page.push(' ');
        for c in line.trim().chars() {
            match c {
                '\\' => page.push_str("\\\\"),
                '\n' => page.push_str("\\n"),
                c => page.push(c),
            }
        }
    }
    page.push_str(after);
    // Writing to a `String` cannot fail.
    let _ = writeln!(page, "\n# TYPE {family} {kind}");
}

fn sample(page: &mut String, series: &str, value: u64) {
    let _ = writeln!(page, "{series} {value}");
}
