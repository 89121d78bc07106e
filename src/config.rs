//! How a server is set up.

use crate::network::IpNetwork;
#[cfg(feature = "deflate")]
use crate::protocol::deflate::WsDeflate;
use crate::protocol::limits::Limits;
#[cfg(feature = "websocket")]
use crate::protocol::ws_limits::WsLimits;
#[cfg(feature = "websocket")]
use crate::websocket::origins::WsOrigins;
use std::time::Duration;

/// Threads, sockets and limits of a server.
///
/// ```
/// use peregrine::Config;
///
/// let config = Config { workers: 2, ..Config::default() };
/// assert!(config.keep_alive);
/// ```
///
/// # Limits
///
/// All are on by default, and none can be switched off by mistake: a limit is a number, and zero is the
/// tightest. The largest number, `usize::MAX` or `Duration::MAX`, is no limit. Those of `Config` are of the whole server; [`Limits`] are of each connection, or each worker
/// where the name says so; `WsLimits` of each WebSocket or WebSocket thread; `MultipartLimits` of each
/// form, and what the client sees is up to the handler, as suggested by `UploadError::status`; those of
/// `DirConfig` are of each `DirServer` and `Files`. Times are
/// checked once a second, so a wait may end up to two seconds late, never early. Nothing is allocated for
/// a length that was only announced.
///
/// | limit | default | unit | the client sees | shown by |
/// |---|---|---|---|---|
/// | [`Config::connections`] | 65,536 | open connections, WebSockets included | the longest idle: close; where none is, 503 or close for a new one, the others wait | `connections::the_longest_idle_make_room` |
/// | [`Config::connections_per_address`] | a 16th of `connections`, at least 16: 4,096 | open connections of one IPv4 address or IPv6 /64 | 503, `Retry-After: 1`, or close | `places::one_address_has_so_many` |
/// | [`Config::buffered_bytes`] | 536,870,912 | bytes in buffers of all connections | 503, `Retry-After: 1`, close for what is new; 1013 | `budget::above_the_budget_what_is_new_is_refused` |
/// | [`Config::backlog`] | 4,096 | connections that wait to be accepted | no connection until others are | `limits::the_backlog_is_bounded` |
/// | [`Config::stop_time`] | 10 s | from the beginning of a stop | close | `stop::what_does_not_end_is_cut_at_the_deadline` |
/// | [`Config::allowed_hosts`] | any | names that are answered to | 421, close | `worn_out::other_names_are_not_answered_to` |
/// | [`Config::pool_threads`] | 4 per CPU, at least 8 | offloaded requests at work | its answer waits | `offload::what_the_pool_has_no_room_for_is_503` |
/// | [`Config::pool_queue`] | 1,024 | offloaded requests that wait for a thread | 503, `Retry-After: 1` | `offload::what_the_pool_has_no_room_for_is_503` |
/// | [`Limits::head_bytes`] | 16,384 | bytes of request line and header fields | 431, close | `cases::every_case_in_every_way` |
/// | [`Limits::target_bytes`] | 8,192 | bytes of the request target | 414, close | `cases::every_case_in_every_way` |
/// | [`Limits::header_fields`] | 100 | fields of a head, or of trailers | 431, close | `cases::every_case_in_every_way` |
/// | [`Limits::body_bytes`] | 1,048,576 | bytes of a decoded body | 413 before it is read, close | `cases::every_case_in_every_way` |
/// | [`Limits::chunk_extension_bytes`] | 4,096 | bytes of chunk extensions in a body | 400, close | `cases::every_case_in_every_way` |
/// | [`Limits::requests_per_turn`] | 64 | pipelined requests answered before others get their turn | nothing | `pipelining::batches_that_fill_a_turn_exactly` |
/// | [`Limits::turn_time`] | 1 ms | for the pipelined requests, messages or drawn pieces of a connection, before others get their turn | nothing | `turns::slow_requests_let_others_in` |
/// | [`Limits::output_bytes`] | 262,144 | unsent bytes above which no further request is taken, and beyond which no further piece of a streamed answer is | its requests wait | `pipelining::answers_above_the_output_limit_one_after_another` |
/// | [`Limits::output_files`] | 8 | files that wait to be sent, above which no further request is taken | its requests wait | `turns::files_that_wait_are_few` |
/// | [`Limits::requests_per_connection`] | 10,000,000 | requests that a connection serves | `Connection: close` in the last answer | `worn_out::the_last_of_so_many_requests_says_so` |
/// | [`Limits::connection_age`] | 3,600 s | from the accept, for requests that begin after it | `Connection: close` in the next answer | `worn_out::an_old_connection_ends_with_an_answer` |
/// | [`Limits::head_time`] | 10 s | from the first byte of a head to its last | 408, close | `slow::half_a_head_gets_408` |
/// | [`Limits::idle_time`] | 75 s | without a request | close | `slow::an_idle_connection_is_closed_without_a_word` |
/// | [`Limits::body_grace`] | 10 s | before `body_rate` counts | nothing | `cases::a_body_slower_than_its_rate_is_cut` |
/// | [`Limits::body_rate`] | 1,000 | bytes a second that a body must bring | 408, close | `slow::a_body_that_stalls_gets_408` |
/// | [`Limits::answer_time`] | 300 s | without a byte of an answer that was deferred or is streamed | 503, or a cut body; close | `late::answers_that_take_too_long_are_503` |
/// | [`Limits::write_time`] | 30 s | in which the client takes no byte of its answer | close | `slow::a_client_that_never_reads_is_cut` |
/// | [`Limits::write_grace`] | 10 s | before `write_rate` counts | nothing | `slow::a_client_that_takes_too_little_is_cut` |
/// | [`Limits::write_rate`] | 240 | bytes a second that a client must take of what is ready for it | close | `slow::a_client_that_takes_too_little_is_cut` |
/// | [`Limits::stall_time`] | 2 s | without 512 bytes of progress, while memory is short, for who holds more than 16 KiB | 503, `Retry-After: 1`, or a reset; close; 1013 | `budget::those_without_progress_make_room` |
/// | [`Limits::linger_time`] | 2 s | in which a refused client may finish sending | close | `slow::lingering_ends_after_its_time` |
/// | [`Limits::linger_bytes`] | 262,144 | bytes that are read of it in that time | nothing; its writes wait | `slow::lingering_reads_so_many_bytes` |
/// | [`Limits::stop_grace`] | 1 s | without a request, after the server has begun to stop | close; a request in that time is answered with `Connection: close` | `stop::an_idle_connection_may_ask_once_more` |
/// | [`Limits::timers_per_worker`] | 65,536 | calls of [`Timers`](crate::Timers) that are waited for | nothing; the caller an error | `timers::timers_are_limited_and_dropped_at_the_end` |
/// | `Config::ws_origins` | `Same` | pages that may open WebSockets | 403 | `ws_handshake::pages_of_other_sites_are_refused` |
/// | `WsLimits::message_bytes` | 1,048,576 | bytes of a message, inflated | close 1009 | `ws_protocol::what_is_wrong_is_said` |
/// | `WsLimits::frame_bytes` | 1,048,576 | bytes of a frame | close 1009 | `ws_protocol::what_is_wrong_is_said` |
/// | `WsLimits::fragments` | 4,096 | frames of one message | close 1008 | `ws_protocol::what_is_wrong_is_said` |
/// | `WsLimits::message_grace` | 10 s | before `message_rate` counts | nothing | `ws_rates::a_message_under_way_has_a_least_rate` |
/// | `WsLimits::message_rate` | 1,000 | bytes a second that a message under way must bring | close 1008 | `ws_rates::a_message_under_way_has_a_least_rate` |
/// | `WsLimits::messages` | 1,000 | messages in a second, on average; ten times as many at once | close 1008 | `ws_rates::so_many_messages_a_second` |
/// | `WsLimits::control_frames` | 100 | pings and pongs in a second | close 1008 | `ws_protocol::what_is_wrong_is_said` |
/// | `WsLimits::backlog_bytes` | 2,097,152 | unsent bytes | `backlog_policy` | `ws_protocol::backlogs_by_policy` |
/// | `WsLimits::backlog_policy` | `Close` | what does not fit | a cut, or messages missing | `ws_backlog::drop_newest_keeps_what_fits_from_the_beginning` |
/// | `WsLimits::backlog_mark` | 262,144 | unsent bytes above which nothing more is read | its messages wait | `ws_protocol::backlogs_by_policy` |
/// | `WsLimits::topics` | 64 | topics of a connection | nothing; `subscribe` says no | `limits::a_connection_has_so_many_topics` |
/// | `WsLimits::topic_bytes` | 256 | bytes of the name of a topic | nothing; `subscribe` says no | `limits::a_connection_has_so_many_topics` |
/// | `WsLimits::idle_time` | 60 s | without a byte from the client | ping | `ws_protocol::who_does_not_answer_is_cut` |
/// | `WsLimits::pong_time` | 20 s | between that ping and any byte | close | `ws_protocol::who_does_not_answer_is_cut` |
/// | `WsLimits::close_time` | 5 s | between our close and the client's | close | `ws_protocol::who_does_not_answer_is_cut` |
/// | `WsLimits::write_time` | 30 s | in which the client takes no byte that waits for it | close | `ws_protocol::who_does_not_answer_is_cut` |
/// | `WsLimits::write_grace` | 10 s | before `write_rate` counts | nothing | `conn::ws::time::a_backlog_is_taken_at_a_least_rate` |
/// | `WsLimits::write_rate` | 240 | bytes a second that a client must take of what waits for it | close | `conn::ws::time::a_backlog_is_taken_at_a_least_rate` |
/// | `WsLimits::connections_per_thread` | 65,536 | WebSockets of one thread | 503 for a further one | `ws_sockets::a_full_server_says_503` |
/// | `WsLimits::mailbox_bytes` | 16,777,216 | bytes on their way to one thread | `backlog_policy`; `Hub` says `Full` | `websocket::hub::mailboxes_and_backlogs_are_bounded` |
/// | `DirConfig::list_entries` | 2,000 | entries of a folder that are read for a list | a list that says that there is more | `dir_lists::a_list_has_so_many_entries` |
/// | `DirConfig::hot_file_bytes` | 65,536 | bytes of a file that is kept in memory | nothing | `dir_large::a_huge_file_streams_in_little_memory` |
/// | `DirConfig::hot_bytes` | 67,108,864 | bytes of all files and lists that are kept in memory | nothing | `dir::cache::the_budget_holds_whatever_comes` |
/// | `DirConfig::open_files` | 256 | files that are kept open, in a quarter of the descriptors at most | nothing | `dir_descriptors::a_quarter_of_the_descriptors_is_for_cached_files` |
/// | `DirConfig::max_ranges` | 16 | ranges of one request | the whole file | `dir_cases::a_file_in_memory` |
/// | `EventLimits::topics` | 64 | topics of a page | its stream ends | `event_hub::a_page_has_so_many_topics` |
/// | `EventLimits::topic_bytes` | 256 | bytes of the name of a topic | its stream ends | `event_hub::a_page_has_so_many_topics` |
/// | `MultipartLimits::parts` | 128 | parts: fields and files | 413 | `multipart::tests::limits_are_exact` |
/// | `MultipartLimits::header_bytes` | 8,192 | bytes of the header lines of a part, and of what stands before the first part | 413, 400 | `multipart::tests::limits_are_exact` |
/// | `MultipartLimits::text_bytes` | 65,536 | bytes of a field that is no file | 413 | `multipart::tests::limits_are_exact` |
/// | `MultipartLimits::memory_bytes` | 1,048,576 | bytes of all header lines and all such fields | 413 | `multipart::tests::limits_are_exact` |
/// | `MultipartLimits::file_bytes` | 33,554,432 | bytes of a file | 413 | `multipart::tests::limits_are_exact` |
/// | `MultipartLimits::total_bytes` | 67,108,864 | bytes of the whole form | 413 | `multipart::tests::limits_are_exact` |
///
/// Tests are named by file and function, in `tests/it` or `src`; one of them checks this table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Threads that serve connections; at least 1. Default: one per CPU that the process may use, by its
    /// affinity and, on Linux, by the CPU quota of its control groups (of containers), rounded down.
    pub workers: usize,
    /// Threads that do nothing but accept and hand connections to the workers, by
    /// [`Config::balance`]. With more than one, each has its own `SO_REUSEPORT` listener where the
    /// system balances between those (Linux, FreeBSD), and a share of one elsewhere.
    ///
    /// 0: every worker accepts for itself, from a listener of its own on those systems. That is the
    /// cheapest for short connections, as nothing is handed over; but the system balances by
    /// address, so a few long connections may meet on one worker.
    ///
    /// Default (`None`): 1, or 0 if there is only one worker.
    pub accept_threads: Option<usize>,
    /// How accept threads choose a worker. Default: the one with the fewest connections.
    pub balance: Balance,
    /// Binds worker `i` to CPU `i` of those the process may use, modulo their number. Default:
    /// false. Linux only; ignored elsewhere.
    pub cpu_affinity: bool,
    /// Bytes of stack of each thread, from 131,072 to 1,073,741,824. Default: `None`, which is 2 MiB in
    /// Rust's library.
    pub stack_size: Option<usize>,
    /// Sends small answers at once instead of waiting for more (`TCP_NODELAY`). Default: true.
    pub tcp_nodelay: bool,
    /// Connections that may wait to be accepted; the system may lower it. Default: 4,096.
    pub backlog: i32,
    /// Connections that may be open at a time, HTTP and WebSockets together, whatever thread they are
    /// on; at least 1. When there are so many and one more comes, idle ones are closed to make room: a
    /// 32nd of all, 256 at most, from each worker those of its own that have been idle longest.
    /// Idle is a connection with no request begun and nothing to read, once it has been served or is a
    /// second old. A WebSocket is never idle in this sense, however silent: it has
    /// `WsLimits::idle_time`. Where none is idle, new ones are turned away, up to 20 a second for each
    /// thread that accepts: with `503` and `Retry-After: 1` if their request has come, by a close if not.
    /// The others wait in the backlog. Default: 65,536.
    ///
    /// WebSockets and streams of events ([`Response::events`](crate::Response::events)) last as long as
    /// the client wants. They may take seven eighths of the places; a further one gets `503` with
    /// `Retry-After: 1`. So an eighth is always left for requests.
    ///
    /// A system may allow the process fewer descriptors (`ulimit -n`): the same happens at that number
    /// then. See [`Config::raise_descriptors`].
    pub connections: usize,
    /// Connections that one IPv4 address, or one IPv6 network of 64 bits, may have open at a time, HTTP and
    /// WebSockets together. Those beyond are turned away as at [`Config::connections`], but at once and
    /// without a limit of rate; [`Counters::turned_away_by_address`](crate::Counters::turned_away_by_address)
    /// counts them. Connections over Unix sockets and those of [`Config::trusted_proxies`] are not
    /// counted. 0: none but those.
    ///
    /// Default (`None`): a 16th of `connections`, at least 16; 4,096 on the defaults. Many clients may
    /// share one address: an office, or all users of a mobile network.
    pub connections_per_address: Option<usize>,
    /// Networks whose connections [`Config::connections_per_address`] does not count. They are for proxies,
    /// which bring the connections of many clients from one address: add the address of a proxy on another
    /// machine. There is no other effect: `X-Forwarded-For` and similar fields are not read. Default:
    /// [`IpNetwork::LOOPBACK`]. A list without it counts connections from the loopback, too.
    ///
    /// ```
    /// use peregrine::{Config, IpNetwork};
    ///
    /// let mut config = Config::default();
    /// config.trusted_proxies.push("10.1.0.0/16".parse()?);
    /// assert!(config.trusted_proxies.starts_with(&IpNetwork::LOOPBACK));
    /// # Ok::<(), peregrine::IpNetworkError>(())
    /// ```
    pub trusted_proxies: Vec<IpNetwork>,
    /// Whether the start raises the limit of descriptors that the process may have (the soft one, up to
    /// the hard one, `ulimit -Hn`) to what `connections` and threads need. A child process inherits it.
    /// Without that, or where the hard limit is too low, the start warns in the log, and
    /// [`Running::connections_that_fit`](crate::Running::connections_that_fit) says how many there is room
    /// for. Default: false, as the limit is of the whole process. Not on Windows, which has none.
    pub raise_descriptors: bool,
    /// Bytes of memory that all connections together may hold in buffers between their turns: requests
    /// that are not complete, answers and messages that are not sent, and copies for
    /// [`Response::offload`](crate::Response::offload), [`BodyReader`](crate::BodyReader) and
    /// [`AccessLog`](crate::AccessLog). Above it,
    /// new requests and WebSockets get `503` with `Retry-After: 1` and a close, and so do requests that
    /// would need a larger buffer to go on; a WebSocket message that would gets a close with 1013, and
    /// one to a client that has more than 16 KiB waiting does not fit (`WsLimits::backlog_policy`).
    /// What else is under way goes on. When an eighth of it is free again, all goes on. Before that, from
    /// fifteen sixteenths of it on, connections that hold memory without progress are closed to make room
    /// ([`Limits::stall_time`]).
    ///
    /// A request holds 19 KiB until its head is complete, and up to twice the size of head and body
    /// then; an answer what of it is not sent; a WebSocket twice what has come of its message, 8 KiB at
    /// least, if more than 4 KiB have, and a topic its name and some 128 bytes. A payload that answers
    /// share as an `Arc<[u8]>` is the program's and does
    /// not count; one that is made for a single answer is better a `Vec<u8>`, which does.
    /// [`Stats::buffered_bytes`](crate::Stats::buffered_bytes) tells how much it is.
    ///
    /// Default: 512 MiB, half of what a small machine has: enough for 28,000 clients that dribble a
    /// head, or 256 of the largest bodies.
    pub buffered_bytes: usize,
    /// Whether a connection may serve more than one request (RFC 9112 section 9.3). Default: true.
    pub keep_alive: bool,
    /// Names that the server answers to: hosts with a port, which mean that one, or without, which
    /// mean any; `example.com`, `example.com:8080`, `127.0.0.1`, `[::1]`. A request for another host
    /// ([`Request::host`]), or for none, gets 421 and the connection closes, before its body is read
    /// and before any handler is asked. Default: `None`, any.
    ///
    /// To be set where a browser may reach a server that is not meant for the world, on a loopback or
    /// private address: a page from anywhere can make its own name lead there (DNS rebinding), and
    /// then read the answers.
    ///
    /// ```
    /// let config = peregrine::Config {
    ///     allowed_hosts: Some(vec!["localhost".into(), "127.0.0.1".into(), "[::1]".into()]),
    ///     ..Default::default()
    /// };
    /// # let server = peregrine::Server::from_fn(|_, res| res.text("hi")).config(config);
    /// # drop(server.bind("127.0.0.1:0").start().expect("a server"));
    /// ```
    ///
    /// [`Request::host`]: crate::Request::host
    pub allowed_hosts: Option<Vec<String>>,
    /// The `Server` field of answers, visible ASCII and spaces; `None` leaves it out. Default:
    /// `peregrine`.
    pub server_name: Option<String>,
    /// How long a stop waits for requests that are being read or answered. Default: 10 s.
    pub stop_time: Duration,
    /// Threads that [`Response::offload`](crate::Response::offload) runs handlers on, all workers'
    /// together. Each is started when it is first needed, so a server that never offloads has none;
    /// 0: everything that is offloaded is answered with 503. Default: 4 per CPU that the process may
    /// use, at least 8, as they are meant to wait.
    pub pool_threads: usize,
    /// Requests that may wait for such a thread; 503 above. Each holds a copy of its request, so at
    /// most [`Limits::head_bytes`] and [`Limits::body_bytes`]. Default: 1,024.
    pub pool_queue: usize,
    /// How much of a thread's time is measured: one turn in so many, chosen by chance, is timed, and so
    /// are the calls of the handler in it: [`Counters::turn_nanos`](crate::Counters::turn_nanos),
    /// [`Counters::handler_nanos`](crate::Counters::handler_nanos). A turn is all that is done between
    /// two waits for events. 1: each, for two more looks at the clock per request and one per turn;
    /// 0: none. Default: 64.
    pub timed_one_in: u32,
    /// What one client may cost.
    pub limits: Limits,
    /// Threads for WebSocket connections, 1 to 256; a server without [`Server::websocket`] starts
    /// none. Default: one per CPU that the process may use.
    ///
    /// [`Server::websocket`]: crate::Server::websocket
    #[cfg(feature = "websocket")]
    pub ws_threads: usize,
    /// Which pages may open WebSockets, as browsers let any page connect to any server with its user's
    /// cookies there. A handshake from another gets 403 before
    /// [`accept_ws`](crate::WebSocketHandler::accept_ws) is asked. Clients other than browsers send no
    /// `Origin` and are accepted. Default: [`WsOrigins::Same`], those of the server itself.
    #[cfg(feature = "websocket")]
    pub ws_origins: WsOrigins,
    /// What one WebSocket client may cost.
    #[cfg(feature = "websocket")]
    pub ws_limits: WsLimits,
    /// How WebSocket messages are compressed for clients that offer it (RFC 7692); `None`: not at
    /// all. Default: with one compressor per thread.
    #[cfg(feature = "deflate")]
    pub ws_deflate: Option<WsDeflate>,
}

impl Config {
    /// What [`Config::connections_per_address`] comes to.
    pub(crate) fn most_per_address(&self) -> usize {
        let share = || (self.connections / 16).max(16);
        self.connections_per_address.unwrap_or_else(share)
    }
}

/// CPUs that the process may use, by its affinity and, on Linux, by the quotas of its control groups:
/// `num_cpus` reads that of its own group, the standard library those of the groups around it, too.
fn cpus() -> usize {
    let all_groups =
        std::thread::available_parallelism().map_or(usize::MAX, std::num::NonZero::get);
    num_cpus::get().min(all_groups)
}

impl Default for Config {
    fn default() -> Config {
        Config {
            workers: cpus(),
            accept_threads: None,
            balance: Balance::default(),
            cpu_affinity: false,
            stack_size: None,
            tcp_nodelay: true,
            backlog: 4096,
            connections: 65_536,
            connections_per_address: None,
            trusted_proxies: IpNetwork::LOOPBACK.to_vec(),
            raise_descriptors: false,
            buffered_bytes: 512 << 20,
            keep_alive: true,
            allowed_hosts: None,
            server_name: Some("peregrine".to_owned()),
            stop_time: Duration::from_secs(10),
            pool_threads: (4 * cpus()).max(8),
            pool_queue: 1024,
            timed_one_in: 64,
            limits: Limits::default(),
            #[cfg(feature = "websocket")]
            ws_threads: cpus().min(256),
            #[cfg(feature = "websocket")]
            ws_origins: WsOrigins::default(),
            #[cfg(feature = "websocket")]
            ws_limits: WsLimits::default(),
            #[cfg(feature = "deflate")]
            ws_deflate: Some(WsDeflate::default()),
        }
    }
}

/// How accept threads choose a worker for a new connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// The one that has the fewest connections open.
    #[default]
    LeastConnections,
    /// One after the other.
    RoundRobin,
}
