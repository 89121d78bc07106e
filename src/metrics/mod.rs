//! Counters of a server, and their text for Prometheus.
//!
//! [`Stats`] shows the [`Counters`] while the server runs. The [guide](crate::guide::operation) has the first steps.

mod activity;
mod histogram;
mod prometheus;
mod queues;
pub(crate) mod routes;
mod stats;

pub use histogram::Histogram;
pub use queues::Queues;
pub(crate) use queues::QueuesOf;
pub use stats::Stats;
pub(crate) use stats::{MostOf, WorkerMetrics};

use crate::shared::panic_guard;
use activity::Activity;
use histogram::LiveHistogram;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Defines each counter: its documentation, and the name of its metric after `peregrine_`.
macro_rules! counters {
    ($($(#[doc = $doc:literal])* $name:ident => $metric:literal,)*) => {
        /// The counts of one worker, or of a whole server, since its start.
        ///
        /// ```
        /// let [mut one, mut two] = [peregrine::metrics::Counters::default(); 2];
        /// (one.requests, two.requests) = (1, 2);
        /// assert_eq!((one + two).requests, 3);
        /// ```
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Counters {
            $($(#[doc = $doc])* pub $name: u64,)*
        }

        /// One counter as a Prometheus metric.
        struct Metric {
            name: &'static str,
            /// The documentation of the counter.
            help: &'static [&'static str],
            value: fn(&Counters) -> u64,
        }

        const METRICS: &[Metric] = &[
            $(Metric {
                name: $metric,
                help: &[$($doc),*],
                value: |counters| counters.$name,
            },)*
        ];

        /// The live counters of one worker, on their own cache lines.
        ///
        /// Only the worker adds to them, so a plain load and store is enough. Any thread reads them.
        #[derive(Debug, Default)]
        #[repr(align(128))]
        pub(crate) struct WorkerCounters {
            $(pub(crate) $name: Counter,)*
            /// Times of the calls of handlers in timed turns.
            pub(crate) handler_times: LiveHistogram,
            /// Times until the head of a response, of requests whose handler was called in a timed turn.
            pub(crate) response_times: LiveHistogram,
            pub(crate) activity: Activity,
        }

        impl WorkerCounters {
            pub(crate) fn snapshot(&self) -> Counters {
                Counters { $($name: self.$name.get(),)* }
            }
        }

        impl std::ops::Add for Counters {
            type Output = Counters;

            fn add(self, other: Counters) -> Counters {
                Counters { $($name: self.$name + other.$name,)* }
            }
        }
    };
}

counters! {
    /// Connections accepted.
    accepted => "connections_accepted",
    /// Connections closed; `accepted - closed` are open.
    closed => "connections_closed",
    /// TLS handshakes that were completed.
    handshakes => "tls_handshakes",
    /// Those of `handshakes` that resumed an earlier session.
    handshakes_resumed => "tls_handshakes_resumed",
    /// Connections that ended before their TLS handshake was complete.
    handshakes_failed => "tls_handshakes_failed",
    /// Idle connections that were closed so that new ones could be accepted.
    idle_closed => "connections_idle_closed",
    /// Connections that were closed because memory was short: they held more than 16 KiB and made no
    /// progress.
    stalled_closed => "connections_stalled_closed",
    /// Connections that got a 503 or a close as soon as they were accepted, because no descriptors or places
    /// were left. They are not part of `accepted`.
    turned_away => "connections_turned_away",
    /// Those of `turned_away` whose address had too many connections:
    /// [`Config::connections_per_address`](crate::Config::connections_per_address).
    turned_away_by_address => "connections_turned_away_by_address",
    /// Those of `turned_away` whose address opened connections too often:
    /// [`Config::connection_rate`](crate::Config::connection_rate).
    turned_away_by_rate => "connections_turned_away_by_rate",
    /// Connections to an address of `Server::proxy_protocol` that were closed before they were accepted, because their
    /// address is not trusted or their PROXY header was malformed or late. They are not part of `accepted`.
    proxy_refused => "connections_proxy_refused",
    /// Outages of descriptors or memory for new connections. Each outage counts once, however long it lasts.
    accept_outages => "accept_outages",
    /// Connections that became WebSockets.
    upgraded => "connections_upgraded",
    /// Connections that speak HTTP/2.
    http2_connections => "http2_connections",
    /// Requests that came over HTTP/2: those that `requests` and `refused` count there. Without those of streams that
    /// were refused so that clients send them again.
    http2_requests => "http2_requests",
    /// HTTP/2 streams that were refused, because too many were open or too many bytes waited. Clients send such a
    /// request again.
    http2_refused => "http2_streams_refused",
    /// HTTP/2 streams that the client has reset before their response was complete.
    http2_resets_received => "http2_resets_received",
    /// HTTP/2 streams that the server has reset, because of an error of the client or of the application.
    http2_resets_sent => "http2_resets_sent",
    /// HTTP/2 connections that the server has ended because the client violated the protocol.
    http2_goaways_error => "http2_goaways_error",
    /// HTTP/2 connections that the server has ended because the client made it do too much for nothing:
    /// ENHANCE_YOUR_CALM.
    http2_goaways_calm => "http2_goaways_calm",
    /// Connections that speak HTTP/3.
    http3_connections => "http3_connections",
    /// Requests that came over HTTP/3: those that `requests` and `refused` count there. Without those of streams that
    /// were rejected so that clients send them again.
    http3_requests => "http3_requests",
    /// HTTP/3 streams that were rejected, because too many were open or too many bytes waited. Clients send such a
    /// request again.
    http3_rejected => "http3_streams_rejected",
    /// HTTP/3 streams that the client has reset before their response was complete, or whose response it has stopped.
    http3_resets_received => "http3_resets_received",
    /// HTTP/3 streams that the server has reset, because of an error of the client or of the application.
    http3_resets_sent => "http3_resets_sent",
    /// HTTP/3 connections that the server has closed because the client violated the protocol.
    http3_closes_error => "http3_closes_error",
    /// HTTP/3 connections that the server has closed because the client made it do too much for nothing:
    /// H3_EXCESSIVE_LOAD.
    http3_closes_load => "http3_closes_load",
    /// UDP datagrams received, for HTTP/3.
    datagrams_received => "datagrams_received",
    /// UDP datagrams sent, for HTTP/3.
    datagrams_sent => "datagrams_sent",
    /// UDP datagrams that belonged to a connection of another worker and were dropped, because too many were on their
    /// way to it ([`QuicLimits::forwarded_bytes`](https://docs.rs/peregrine/latest/peregrine/config/struct.QuicLimits.html)).
    datagrams_dropped => "datagrams_dropped",
    /// Clients of HTTP/3 that had to show that their address is theirs (Retry), because many handshakes were under way.
    quic_retries => "quic_retries",
    /// WebSocket messages received, without pings and other control frames.
    ws_received => "ws_messages_received",
    /// WebSocket messages published or broadcast, counted once for each WebSocket thread.
    ws_published => "ws_messages_published",
    /// Queued copies of such messages: one for each message and connection.
    ws_fanned_out => "ws_messages_fanned_out",
    /// WebSocket messages dropped because they did not fit. A message for one client counts if it exceeds
    /// `WsLimits::backlog_bytes` or `Config::ws_mailbox_bytes`. A published message counts once for each
    /// WebSocket thread whose mailbox is full.
    ws_dropped => "ws_messages_dropped",
    /// Messages that were passed to a relay for other processes.
    relay_published => "relay_messages_published",
    /// Messages that other processes do not get, because the queue of the relay was full, the message was too large, or
    /// it waited too long for a connection to the broker.
    relay_dropped => "relay_messages_dropped",
    /// Messages that were sent on a connection to the broker that broke before the broker confirmed them. Other processes may
    /// or may not have them; they are not sent again.
    relay_unconfirmed => "relay_messages_unconfirmed",
    /// Messages of other processes that were delivered to the hubs of this one.
    relay_received => "relay_messages_received",
    /// Messages of other processes that did not arrive, by the gaps in their numbers, or that were malformed.
    relay_lost => "relay_messages_lost",
    /// Requests to which the handler has responded, or that got a 500 instead.
    requests => "requests",
    /// Responses with a status of 2xx, by the handler or the library. A response counts when its head is
    /// complete.
    responses_2xx => "responses_2xx",
    /// Responses with a status of 3xx.
    responses_3xx => "responses_3xx",
    /// Responses with a status of 4xx, including those of refused requests.
    responses_4xx => "responses_4xx",
    /// Responses with a status of 5xx, by the handler or the library.
    responses_5xx => "responses_5xx",
    /// Bytes read from clients.
    bytes_read => "read_bytes",
    /// Bytes written to clients.
    bytes_written => "written_bytes",
    /// Requests refused because they are malformed, too large or too slow. A malformed request of HTTP/2 has no response:
    /// its stream is reset.
    refused => "refused",
    /// Requests and WebSockets refused because too many bytes were held in buffers. The requests also count
    /// as `refused`.
    overloaded => "overloaded",
    /// Those of `refused` that took too long: 408.
    refused_slow => "refused_slow",
    /// Those of `refused` that were too large: 413, 414, 431.
    refused_large => "refused_large",
    /// Those of `refused` whose address made too many requests: 429,
    /// [`Config::request_rate`](crate::Config::request_rate).
    refused_by_rate => "refused_by_rate",
    /// Requests whose handler panicked or gave a response that cannot be sent.
    handler_errors => "handler_errors",
    /// Those of `handler_errors` that were panics. A panic of any application code counts that the library
    /// calls or drops on one of its threads.
    panics => "panics",
    /// Those of `handler_errors` whose response came too late or never.
    response_timeouts => "response_timeouts",
    /// Connections that ended with a failed read or write, with a write timeout, or in the middle of a
    /// request.
    connection_errors => "connection_errors",
    /// Those of `connection_errors` whose client closed the connection in the middle of a request, before the server had
    /// all of it. A reset counts in `read_errors` instead. A client that leaves while it waits for its response, which is
    /// status 499 in the access log, is not counted here.
    clients_gone => "clients_gone",
    /// Those of `connection_errors` where a read failed, usually because of a reset.
    read_errors => "read_errors",
    /// Those of `connection_errors` where a write failed.
    write_errors => "write_errors",
    /// Those of `connection_errors` whose client did not take its response in time.
    write_timeouts => "write_timeouts",
    /// Those of `connection_errors` that were closed because the library panicked. This is a bug of the
    /// library: [`ConnectionError::Internal`](crate::error::ConnectionError::Internal).
    internal_errors => "internal_errors",
    /// Turns of the thread. In a turn it wakes up and handles all that has arrived.
    turns => "turns",
    /// Those of `turns` that were timed: one in [`Config::timed_one_in`](crate::Config::timed_one_in), chosen
    /// at random.
    turns_timed => "turns_timed",
    /// Nanoseconds of the timed turns, from waking up until nothing is left to do. `turn_nanos / turns_timed
    /// * turns` estimates the time for which the thread worked.
    turn_nanos => "turns_timed_seconds",
    /// Calls of [`Handler::handle_request`](crate::Handler::handle_request) in timed turns.
    handlers_timed => "handlers_timed",
    /// Nanoseconds of the timed calls. `handler_nanos / handlers_timed` is the average time of a call.
    handler_nanos => "handlers_timed_seconds",
    /// Timed calls that took 10 ms or more. Meanwhile all other clients of the worker waited.
    handlers_over_10ms => "handlers_timed_over_10ms",
    /// Timed calls that took 100 ms or more.
    handlers_over_100ms => "handlers_timed_over_100ms",
    /// Timed calls that took 1 s or more.
    handlers_over_1s => "handlers_timed_over_1s",
    /// Calls of [`Handler::handle_request`](crate::Handler::handle_request) and
    /// [`BodyPlan::respond`](crate::BodyPlan::respond) that held their worker for 100 ms or more. A build with debug
    /// assertions counts all of them and warns. A release build counts those in timed turns, and those in turns that
    /// began 100 ms or more after the turn before. So under steady traffic it counts about one of
    /// [`Config::timed_one_in`](crate::Config::timed_one_in); set to 1, it counts all. The hooks of WebSockets are not
    /// timed.
    handlers_blocking => "handlers_blocking",
    /// Requests that [`Response::offload`](crate::Response::offload) has given to the thread pool.
    jobs => "jobs",
    /// Those of `jobs` that a thread has started.
    jobs_started => "jobs_started",
    /// Those of `jobs` that have ended, with or without a response. `jobs_started - jobs_done` are running.
    jobs_done => "jobs_done",
    /// Nanoseconds of the jobs that have ended.
    job_nanos => "jobs_done_seconds",
    /// Requests that got 503 because the queue of the thread pool was full.
    jobs_refused => "jobs_refused",
}

impl Counters {
    /// Requests in the queue of the thread pool: queued and not started. After the server has stopped, those
    /// that were dropped.
    ///
    /// ```
    /// let mut counters = peregrine::metrics::Counters::default();
    /// (counters.jobs, counters.jobs_started) = (5, 3);
    /// assert_eq!(counters.jobs_waiting(), 2);
    /// ```
    pub fn jobs_waiting(&self) -> u64 {
        // The two are read one after the other, while they change.
        self.jobs.saturating_sub(self.jobs_started)
    }
}

impl std::iter::Sum for Counters {
    fn sum<I: Iterator<Item = Counters>>(counters: I) -> Counters {
        counters.fold(Counters::default(), |sum, counters| sum + counters)
    }
}

impl WorkerCounters {
    /// Counts a response whose head is complete.
    #[inline]
    pub(crate) fn count_status(&self, status: u16) {
        match status {
            200..=299 => self.responses_2xx.add(1),
            _ => self.count_other_status(status),
        }
    }

    #[cold]
    fn count_other_status(&self, status: u16) {
        match status {
            300..=399 => self.responses_3xx.add(1),
            400..=499 => self.responses_4xx.add(1),
            500..=599 => self.responses_5xx.add(1),
            // Responses that become WebSockets.
            _ => {}
        }
    }

    /// Counts a refused request and the status of its response.
    pub(crate) fn refused_with(&self, status: u16) {
        self.refused.add(1);
        match status {
            408 => self.refused_slow.add(1),
            413 | 414 | 431 => self.refused_large.add(1),
            _ => {}
        }
        self.count_status(status);
    }

    /// Adds the panics of this thread that ended no connection. Each thread calls it at the end of its turns.
    #[inline]
    pub(crate) fn count_panics(&self) {
        self.panicked(panic_guard::uncounted());
    }

    /// Counts panics of application code.
    #[inline]
    pub(crate) fn panicked(&self, count: u64) {
        if count > 0 {
            self.handler_errors.add(count);
            self.panics.add(count);
        }
    }

    /// Counts a timed call of the handler.
    pub(crate) fn handler_took(&self, time: Duration) {
        self.handler_times.add(time);
        self.handlers_timed.add(1);
        self.handler_nanos.add(nanos(time));
        let limits = [
            (10, &self.handlers_over_10ms),
            (100, &self.handlers_over_100ms),
            (1000, &self.handlers_over_1s),
        ];
        for (limit, counter) in limits {
            counter.add(u64::from(time >= Duration::from_millis(limit)));
        }
    }
}

/// The value fits: it covers more than 500 years.
pub(crate) fn nanos(time: Duration) -> u64 {
    time.as_nanos().try_into().unwrap_or(u64::MAX)
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds to a counter. Only one thread may call it.
    #[inline]
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.get() + n, Ordering::Relaxed);
    }

    /// Adds to a counter to which several threads add.
    pub(crate) fn add_shared(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
