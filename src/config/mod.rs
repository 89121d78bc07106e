//! Settings of a server, and the table of all limits.
//!
//! [`Config`] is at the root of the crate.

mod accepting;
mod address_rate;
mod defaults;
pub(crate) mod forwarded;
#[cfg(feature = "http2")]
mod http2;
#[cfg(feature = "http3")]
mod http3;
pub(crate) mod network;
mod validate;
#[cfg(feature = "websocket")]
pub(crate) mod ws_origins;

pub use accepting::{AcceptThreads, Balance};
pub use address_rate::AddressRate;
pub use forwarded::ForwardedFields;
#[cfg(feature = "http2")]
pub use http2::Http2;
#[cfg(feature = "http3")]
pub use http3::{Http3, QuicLimits};
pub use network::{IpNetwork, IpNetworkError};
pub use validate::ConfigError;

#[cfg(feature = "websocket")]
pub(crate) use defaults::WS_MAILBOX_BYTES;
use defaults::{TIMERS_PER_WORKER, cpus};
#[cfg(feature = "http2")]
#[doc(inline)]
pub use peregrine_protocol::h2::limits::Http2Limits;
#[cfg(feature = "http3")]
#[doc(inline)]
pub use peregrine_protocol::h3::limits::Http3Limits;
use peregrine_protocol::limits::Limits;
#[cfg(feature = "deflate")]
use peregrine_protocol::ws::deflate::WsDeflate;
#[cfg(feature = "websocket")]
use peregrine_protocol::ws::limits::WsLimits;
use std::time::Duration;
#[cfg(feature = "websocket")]
use ws_origins::WsOrigins;

peregrine_protocol::settings! {
    /// Threads, sockets and limits of a server.
    ///
    /// Each field has a setter of the same name. A field can also be read and assigned. Later versions may add
    /// fields.
    ///
    /// ```
    /// use peregrine::Config;
    ///
    /// let mut config = Config::default().workers(2).connections(10_000);
    /// assert!(config.keep_alive);
    /// config.limits.body_bytes = 10 << 20;
    /// ```
    ///
    /// # Limits
    ///
    /// Every limit is on by default. A limit is a number or a duration. Zero is the tightest value. The largest
    /// value, `usize::MAX` or `Duration::MAX`, means no limit.
    ///
    /// The fields of `Config` apply to the whole server. [`Limits`] apply to each connection, and with HTTP/2 those of a
    /// request or a response apply to each stream. `Http2Limits` apply to each HTTP/2 connection. `WsLimits`
    /// apply to each WebSocket. `DirConfig` applies to each `DirServer` and `FileServer`. `MultipartLimits` apply to
    /// each form; the handler decides what the client sees, and `UploadError::status` suggests a status.
    ///
    /// The server checks times once a second. So a timeout may come up to two seconds late, and never early.
    /// Nothing is allocated for a length that was only announced.
    ///
    /// | limit | default | unit | the client sees | shown by |
    /// |---|---|---|---|---|
    /// | [`Config::connections`] | 65,536 | open connections, WebSockets included | connections idle for longest: close; if none is idle, new connections: 503, close or wait | `connections::connections_that_are_idle_longest_are_closed_to_make_room` |
    /// | [`Config::connections_per_address`] | a 16th of `connections`, at least 16: 4,096 | open connections of one IPv4 address or IPv6 /64 | 503, `Retry-After: 1`, or close | `places::the_connections_of_one_address_are_limited` |
    /// | [`Config::connection_rate`] | 10,000 a second | new connections of one IPv4 address or IPv6 /64 | close | `rates::connections_above_the_rate_are_closed` |
    /// | [`Config::request_rate`] | `None` | requests of one IPv4 address or IPv6 /64 | 429, `Retry-After` | `rates::requests_above_the_rate_get_429` |
    /// | address rates | 65,536 | addresses of each rate that are remembered, 16 bytes each | nothing: the address that has its whole rate again first is forgotten | `shared::rate_table::the_clients_that_are_remembered_are_bounded` |
    /// | [`Config::buffered_bytes`] | 536,870,912 | bytes in buffers of all connections | new requests: 503, `Retry-After: 1`, close; WebSocket messages: close 1013 | `budget::above_the_budget_new_requests_are_refused` |
    /// | [`Config::backlog`] | 4,096 | connections that wait to be accepted | no connection until others are accepted | `limits::the_backlog_is_bounded` |
    /// | [`Config::drain_delay`] | 0 s | from SIGTERM, or `Stopper::drain`, to the beginning of the stop; no upper limit: with `Duration::MAX` the stop does not begin by itself | `/readyz`: 503; `Connection: close`, GOAWAY | `drain::a_server_that_drains_serves_and_is_not_ready` |
    /// | [`Config::stop_timeout`] | 10 s | from the beginning of a stop | close | `stop::connections_that_do_not_end_are_aborted_at_the_deadline` |
    /// | `Config::tls_handshake_timeout` | 10 s | from the accept to the end of the TLS handshake | close | `tls::handshakes::a_handshake_has_so_much_time` |
    /// | TLS handshake | 16,384; 65,536 with client certificates | bytes that a client sends before its handshake is complete | close | `tls::handshakes::a_handshake_has_so_many_bytes` |
    /// | TLS steps | 4 | steps of handshakes of a worker, before other connections get their turn | its handshake waits | `tls::handshakes::requests_do_not_wait_for_many_handshakes` |
    /// | TLS tickets | 8,192 | bytes of a session, with the certificates of the client, that a ticket may hold | no ticket | `tls::certificates::clients_may_send_long_chains` |
    /// | TLS messages | 1 record | bytes of a message after the handshake that is not data | close | `runtime::tls::tests::handshake::a_message_after_the_handshake_has_at_most_a_record` |
    /// | TLS key updates | 32 | updates of keys without data between them | close | `runtime::tls::tests::mod::a_flood_of_key_updates_ends_the_connection` |
    /// | TLS ahead | 65,536 | bytes that are encrypted before the system has taken them | nothing | `runtime::tls::tests::sending::close_notify_leaves_with_the_last_bytes` |
    /// | [`Config::proxy_header_timeout`] | 3 s | from the accept to the end of the PROXY header, of 4,096 bytes at most, which `buffered_bytes` does not count | close | `proxy_protocol::a_header_has_so_much_time` |
    /// | [`Config::allowed_hosts`] | any | host names that the server accepts | 421, close | `worn_out::other_host_names_are_refused` |
    /// | [`Config::pool_threads`] | 4 per CPU, at least 8 | offloaded requests that run at the same time | its response comes later | `offload::a_request_without_room_in_the_pool_is_503` |
    /// | [`Config::pool_queue`] | 1,024 | offloaded requests that wait for a thread | 503, `Retry-After: 1` | `offload::a_request_without_room_in_the_pool_is_503` |
    /// | [`Limits::head_bytes`] | 16,384 | bytes of request line and header fields | 431, close | `cases::every_case_in_every_way` |
    /// | [`Limits::target_bytes`] | 8,192 | bytes of the request target | 414, close | `cases::every_case_in_every_way` |
    /// | [`Limits::header_fields`] | 100 | fields of a head, or of trailers | 431, close; trailers of HTTP/2: ENHANCE_YOUR_CALM for the stream | `cases::every_case_in_every_way` |
    /// | [`Limits::body_bytes`] | 1,048,576 | bytes of a decoded body | 413 before the body is read, close | `cases::every_case_in_every_way` |
    /// | [`Limits::stream_bytes`] | 1,073,741,824 | bytes of a decoded body that the handler takes in pieces | 413, close | `stream_in::a_streamed_body_has_a_limit` |
    /// | [`Limits::chunk_extension_bytes`] | 4,096 | bytes of chunk extensions in a body | 400, close | `cases::every_case_in_every_way` |
    /// | [`Limits::requests_per_turn`] | 64 | pipelined requests handled before other connections get their turn | nothing | `pipelining::batches_that_fill_a_turn_exactly` |
    /// | [`Limits::turn_time`] | 1 ms | for the pipelined requests, messages or drawn pieces of one connection, before other connections get their turn | nothing | `turns::slow_requests_let_others_in` |
    /// | [`Limits::output_bytes`] | 262,144 | unsent bytes above which no further request is handled, and no further piece of a streamed response is accepted | its requests wait | `pipelining::responses_above_the_output_limit_one_after_another` |
    /// | [`Limits::output_files`] | 8 | files that wait to be sent, from which on no further request is handled | its requests wait | `turns::the_files_that_wait_are_limited` |
    /// | [`Limits::requests_per_connection`] | 10,000,000 | requests that a connection serves | `Connection: close` in the last response | `worn_out::the_last_request_of_a_connection_is_announced` |
    /// | [`Limits::connection_age`] | 3,600 s | from the accept; a request that begins later is the last one | `Connection: close` in the next response | `worn_out::an_old_connection_ends_with_a_response` |
    /// | [`Limits::head_timeout`] | 10 s | from the first byte of a head to its last byte | 408, close | `slow::half_a_head_gets_408` |
    /// | [`Limits::idle_timeout`] | 75 s | without a request | close | `slow::an_idle_connection_is_closed_without_a_response` |
    /// | [`Limits::body_grace`] | 10 s | before `body_rate` applies | nothing | `cases::a_body_slower_than_its_rate_closes_the_connection` |
    /// | [`Limits::body_rate`] | 1,000 | bytes a second that the client must send of a body | 408, close | `slow::a_body_that_stalls_gets_408` |
    /// | [`Limits::response_timeout`] | 300 s | without a byte of a deferred or streamed response | 503, or an incomplete body; close | `late::responses_that_take_too_long_are_503` |
    /// | [`Limits::write_timeout`] | 30 s | in which the client takes no byte of its response | close | `slow::a_client_that_never_reads_is_closed` |
    /// | [`Limits::write_grace`] | 10 s | before `write_rate` applies | nothing | `slow::a_client_that_receives_too_little_is_closed` |
    /// | [`Limits::write_rate`] | 240 | bytes a second that the client must take of a response that is ready | close | `slow::a_client_that_receives_too_little_is_closed` |
    /// | [`Limits::stall_timeout`] | 2 s | without 512 bytes of progress, while memory is short, for a connection that holds more than 16 KiB | 503, `Retry-After: 1`, or a reset; close; 1013 | `budget::connections_without_progress_are_closed_to_make_room` |
    /// | [`Limits::linger_timeout`] | 2 s | in which a refused client may finish sending | close | `slow::lingering_ends_after_its_time` |
    /// | [`Limits::linger_bytes`] | 262,144 | bytes that are read and dropped in that time | nothing; its writes wait | `slow::lingering_reads_a_limited_number_of_bytes` |
    /// | [`Limits::stop_grace`] | 1 s | without a request, or with a handshake under way, after the server has begun to stop | close; a request in that time gets a response with `Connection: close` | `stop::an_idle_connection_may_send_one_more_request` |
    /// | [`Config::events_close_spread`] | 0 s | in which the streams of events are ended when the server stops | its stream ends, as complete | `drain_events::streams_of_events_are_ended_one_after_the_other` |
    /// | [`Config::timers_per_worker`] | 65,536 | pending calls of [`Timers`](crate::timers::Timers) | nothing; the caller gets an error | `timers::timers_are_limited_and_dropped_at_the_end` |
    /// | `Config::ws_origins` | `Same` | pages that may open WebSockets | 403 | `ws_handshake::pages_of_other_sites_are_refused` |
    /// | `Http2Limits::streams` | 100 | open streams of an HTTP/2 connection | REFUSED_STREAM: the client may send the request again | `h2::connection::tests::musts::more_streams_than_there_may_be` |
    /// | `Http2Limits::stream_window` | 65,535 | bytes of a request body on their way or not taken | nothing; it sends no more | `h2::connection::tests::flow::a_body_that_is_not_taken` |
    /// | `Http2Limits::connection_window` | 1,048,576 | bytes of all request bodies of a connection on their way or not taken | nothing; it sends no more | `h2::connection::tests::flow::beyond_the_window_of_the_connection` |
    /// | `Http2Limits::header_table_bytes` | 4,096 | bytes of the table of header compression in each direction | heads with more bytes | `hpack::tests::size_updates_of_the_encoder` |
    /// | `Http2Limits::continuation_frames` | 8 | CONTINUATION frames of a field block | GOAWAY, close | `h2::connection::tests::attacks::every_known_attack` |
    /// | `Http2Limits::settings_values` | 32 | values in a SETTINGS frame | GOAWAY, close | `h2::connection::tests::attacks::every_known_attack` |
    /// | `Http2Limits::nuisances` | 1,000 | frames that make the server do something for nothing | GOAWAY, close | `h2::connection::tests::attacks::every_known_attack` |
    /// | `Http2Limits::nuisances_per_second` | 33 | of them that come back each second | nothing | `token_bucket::a_burst_and_then_so_many_a_second` |
    /// | `Config::ws_close_spread` | 0 s | in which the WebSockets are closed when the server stops | close 1001 | `drain::websockets_are_closed_one_after_the_other` |
    /// | `WsLimits::message_bytes` | 1,048,576 | bytes of a message, decompressed | close 1009 | `ws_protocol::each_violation_has_its_close_code` |
    /// | `WsLimits::frame_bytes` | 1,048,576 | bytes of a frame | close 1009 | `ws_protocol::each_violation_has_its_close_code` |
    /// | `WsLimits::fragments` | 4,096 | frames of one message | close 1008 | `ws_protocol::each_violation_has_its_close_code` |
    /// | `WsLimits::message_grace` | 10 s | before `message_rate` applies | nothing | `ws_rates::an_incomplete_message_has_a_minimum_rate` |
    /// | `WsLimits::message_rate` | 1,000 | bytes a second that the client must send of a message that it has begun | close 1008 | `ws_rates::an_incomplete_message_has_a_minimum_rate` |
    /// | `WsLimits::messages` | 1,000 | messages in a second, on average; ten times as many at once | close 1008 | `ws_rates::the_messages_a_second_are_limited` |
    /// | `WsLimits::control_frames` | 100 | pings and pongs in a second | close 1008 | `ws_protocol::each_violation_has_its_close_code` |
    /// | `WsLimits::backlog_bytes` | 2,097,152 | unsent bytes | the effect of `backlog_policy` | `ws_protocol::backlogs_by_policy` |
    /// | `WsLimits::backlog_policy` | `Close` | a message that does not fit | close, or missing messages | `ws_backlog::drop_newest_keeps_what_fits_from_the_beginning` |
    /// | `WsLimits::backlog_mark` | 262,144 | unsent bytes above which nothing more is read | its messages wait | `ws_protocol::backlogs_by_policy` |
    /// | `WsLimits::topics` | 64 | topics of a connection | nothing; `subscribe` reports it | `limits::the_topics_of_a_connection_are_limited` |
    /// | `WsLimits::topic_bytes` | 256 | bytes of the name of a topic | nothing; `subscribe` reports it | `limits::the_topics_of_a_connection_are_limited` |
    /// | `WsLimits::idle_timeout` | 60 s | without a byte from the client | ping | `ws_protocol::a_client_that_does_not_respond_is_closed` |
    /// | `WsLimits::pong_timeout` | 20 s | from that ping to any byte | close | `ws_protocol::a_client_that_does_not_respond_is_closed` |
    /// | `WsLimits::pause_timeout` | 300 s | in which the program reads nothing from a client | close 1013 | `ws_paused::a_pause_has_a_limit` |
    /// | `WsLimits::close_timeout` | 5 s | from the close frame of the server to that of the client | close | `ws_protocol::a_client_that_does_not_respond_is_closed` |
    /// | `WsLimits::write_timeout` | 30 s | in which the client takes no byte of its messages | close | `ws_protocol::a_client_that_does_not_respond_is_closed` |
    /// | `WsLimits::write_grace` | 10 s | before `write_rate` applies | nothing | `ws::connection::deadline::a_backlog_has_a_minimum_rate` |
    /// | `WsLimits::write_rate` | 240 | bytes a second that the client must take of its messages | close | `ws::connection::deadline::a_backlog_has_a_minimum_rate` |
    /// | `Config::ws_connections_per_thread` | 65,536 | WebSockets of one thread | 503 | `ws_sockets::a_full_server_says_503` |
    /// | `Config::ws_mailbox_bytes` | 16,777,216 | bytes on their way to one thread | the effect of `backlog_policy`; `Hub` reports `Full` | `websocket::hub::mailboxes_and_backlogs_are_bounded` |
    /// | `DirConfig::list_entries` | 2,000 | entries of a folder that are read for its lists, once in each `DirConfig::recheck` | a list with a note that there is more | `dir_lists::the_entries_of_a_list_are_limited` |
    /// | `DirConfig::hot_file_bytes` | 65,536 | bytes of a file that is kept in memory | nothing | `dir_large::a_huge_file_streams_in_little_memory` |
    /// | `DirConfig::hot_bytes` | 67,108,864 | bytes of all files and lists that are kept in memory | nothing | `files::cache::the_budget_holds_whatever_comes` |
    /// | `DirConfig::open_files` | 256 | files that are kept open, in a quarter of the descriptors at most | nothing | `dir_descriptors::a_quarter_of_the_descriptors_is_for_cached_files` |
    /// | `DirConfig::max_ranges` | 16 | ranges of one request | the whole file | `dir_cases::a_file_in_memory` |
    /// | `EventLimits::topics` | 64 | topics of a stream of events | its stream ends | `event_hub::the_topics_of_a_page_are_limited` |
    /// | `EventLimits::topic_bytes` | 256 | bytes of the name of a topic | its stream ends | `event_hub::the_topics_of_a_page_are_limited` |
    #[doc = include_str!("history_limits.md")]
    #[doc = include_str!("http3_limits.md")]
    /// | `Request::json` | 127 | levels of nesting of a value in JSON | 400 | `http::json_body::nesting_is_limited_for_any_type` |
    /// | Route pattern | 4,096 | bytes of a pattern, of which at most 8 parts are parameters | nothing: the program panics when it adds the route | `router::check::patterns_that_are_not_valid_are_refused` |
    /// | Dashboard pages | 32 | pages of a `Dashboard` that get samples | 503 | `dashboard::the_pages_that_get_samples_are_limited` |
    /// | Route counters | 256 | patterns of routes that are counted, 8 bytes each for each worker | nothing: the others count together | `metrics::routes::the_patterns_that_are_counted_are_bounded` |
    /// | `RateLimit::clients` | 65,536 | clients whose requests are counted, 16 bytes each | nothing: the client that has its whole limit again first is forgotten | `shared::rate_table::the_clients_that_are_remembered_are_bounded` |
    /// | Relay topics | 65,536 | topics without a subscriber that a relay keeps for a time | nothing: the oldest ones are left early | `relay::interest::topics_that_wait_are_limited` |
    /// | `ETags::max_bytes` | 1,048,576 | bytes of a body that gets a tag | the whole body each time | `layers_shipped::a_response_that_the_client_has_is_not_sent_again` |
    /// | `RequestId::take_over` | 128 | bytes of the id of a client | another id | `layers_shipped::requests_have_ids` |
    /// | `CacheConfig::ttl` | 10 s | of a kept response | a new response | `response_cache::tests::a_response_that_is_over_is_computed_again` |
    /// | `CacheConfig::stale` | 0 s | after that, while another request computes | waits for the new response | `response_cache::tests::waiting::a_stale_response_is_sent_while_one_request_computes` |
    /// | `CacheConfig::bytes` | 67,108,864 | bytes of all responses that are kept, with their keys | nothing: those that are used least are dropped | `response_cache::tests::the_bytes_of_a_cache_are_limited` |
    /// | `CacheConfig::response_bytes` | 1,048,576 | bytes of the body of a response that is kept | nothing: it is not kept | `response_cache::tests::the_bytes_of_a_cache_are_limited` |
    /// | `CacheConfig::waiting` | 10,000 | requests that wait for a response that another one computes | 503, `Retry-After: 1` | `response_cache::tests::waiting::one_request_computes_while_others_wait` |
    /// | `CacheConfig::waiting_per_response` | 2,500 | of them, for the same response | 503, `Retry-After: 1` | `response_cache::tests::waiting::requests_for_one_response_leave_places_for_others` |
    /// | `CacheConfig::compute_timeout` | 10 s | in which a request computes a response for others | nothing: the next request computes it too | `response_cache::tests::waiting::a_computation_that_takes_too_long_is_not_waited_for` |
    /// | `SessionConfig::session_bytes` | 8,192 | bytes of the names and values of a session, and 64 for each | nothing; `Session::set` reports it | `sessions::mod::the_bytes_of_a_session_are_limited` |
    /// | `SessionConfig::sessions` | 10,000 | sessions in memory | the session that would end first ends | `sessions::store::the_sessions_of_a_store_are_limited` |
    /// | `SessionConfig::idle_timeout` | 3,600 s | without a request that loads the session | the session ends | `sessions::mod::a_session_that_is_not_used_ends` |
    /// | `SessionConfig::lifetime` | 86,400 s | from the beginning of a session | the session ends | `sessions::mod::a_session_ends_after_its_lifetime` |
    /// | `CompressConfig::min_bytes` | 1,024 | bytes of a complete body from which on it is compressed | the body as it is | `compression::tests::which_responses_are_compressed` |
    /// | `CompressConfig::max_bytes` | 1,048,576 | bytes of a complete body that is compressed | the body as it is | `compression::tests::which_responses_are_compressed` |
    /// | `CompressConfig::streams` | 256 | bodies in pieces that are compressed at the same time | the body as it is | `compression::tests::the_streams_that_are_compressed_are_limited` |
    /// | `MultipartLimits::parts` | 128 | parts: fields and files | 413 | `forms::multipart::tests::limits_are_exact` |
    /// | `MultipartLimits::header_bytes` | 8,192 | bytes of the header lines of a part, and of the preamble before the first part | 413; 400 for the preamble | `forms::multipart::tests::limits_are_exact` |
    /// | `MultipartLimits::text_bytes` | 65,536 | bytes of a field that is no file | 413 | `forms::multipart::tests::limits_are_exact` |
    /// | `MultipartLimits::memory_bytes` | 1,048,576 | bytes of all header lines and all fields that are no files | 413 | `forms::multipart::tests::limits_are_exact` |
    /// | `MultipartLimits::file_bytes` | 33,554,432 | bytes of a file | 413 | `forms::multipart::tests::limits_are_exact` |
    /// | `MultipartLimits::total_bytes` | 67,108,864 | bytes of the whole form | 413 | `forms::multipart::tests::limits_are_exact` |
    ///
    /// The limits of TLS that are no fields are fixed.
    ///
    /// The last column names a test by its file and function, in `tests/it` or `src`. A test checks this table.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Config {
        /// Number of threads that serve HTTP connections, at least 1.
        ///
        /// The CPU affinity of the process counts for the default. On Linux the CPU quota of its control groups
        /// (of containers) counts too, rounded down.
        pub workers: usize = cpus() => "one per CPU that the process may use";
        /// Which threads accept connections.
        ///
        /// Where more than one thread accepts, each has its own `SO_REUSEPORT` listener if the system balances
        /// between such listeners (Linux, FreeBSD). Elsewhere they share one listener.
        pub accept_threads: AcceptThreads = AcceptThreads::Auto;
        /// How accept threads choose a worker.
        pub balance: Balance = Balance::LeastConnections;
        /// Binds worker `i` to CPU `i` of those that the process may use, modulo their number. Linux only;
        /// it has no effect elsewhere.
        pub cpu_affinity: bool = false;
        /// Stack of each thread in bytes, from 131,072 to 1,073,741,824.
        pub stack_size: Option<usize> = None
            => "`None`, the stack size of Rust's standard library, 2 MiB"
            => |stack_size: impl Into<Option<usize>>| stack_size.into();
        /// Sends small responses at once instead of waiting for more data (`TCP_NODELAY`).
        pub tcp_nodelay: bool = true;
        /// Number of connections that may wait to be accepted. The system may lower it.
        pub backlog: u32 = 4096;
        /// Number of connections that may be open at the same time, HTTP and WebSockets of all threads
        /// together; at least 1. A number above 16,777,216 has the effect of a number just below it.
        ///
        /// When all places are taken and one more connection comes, the workers close idle connections: a 32nd of
        /// all, at most 256. Each worker closes its own connections that have been idle for longest. A connection
        /// is idle if no request has begun and there is nothing to read, and if it has served a request or is a
        /// second old. A WebSocket is never idle in this sense; its limit is `WsLimits::idle_timeout`.
        ///
        /// If no connection is idle, new ones are turned away, up to 20 a second for each thread that accepts. A
        /// new connection gets `503` with `Retry-After: 1` if its request has arrived, and is closed if not. The
        /// others wait in the backlog.
        ///
        /// WebSockets and streams of events ([`Response::events`](crate::Response::events)) last as long as the
        /// client wants. They may take seven eighths of the places. A further one gets `503` with `Retry-After:
        /// 1`. So an eighth of the places is always left for requests.
        ///
        /// The system may allow the process fewer descriptors (`ulimit -n`) than this limit needs. Then the same
        /// happens at that number. See [`Config::raise_descriptors`].
        pub connections: usize = 65_536;
        /// Number of connections that one IPv4 address, or one IPv6 network of 64 bits, may have open at the same
        /// time, HTTP and WebSockets together.
        ///
        /// Further connections are turned away as described at [`Config::connections`], but at once and without a
        /// limit per second. [`Counters::turned_away_by_address`](crate::metrics::Counters::turned_away_by_address) counts
        /// them. Connections over Unix sockets and from [`Config::trusted_proxies`] are not counted. 0: only
        /// those connections are accepted.
        ///
        /// Many clients may share one address, for example an office or all users of a mobile network.
        pub connections_per_address: Option<usize> = None
            => "`None`, a 16th of `connections`, at least 16; 4,096 with the default of `connections`"
            => |most: impl Into<Option<usize>>| most.into();
        /// How many new connections one IPv4 address, or one IPv6 network of 64 bits, may open. `None`: no limit.
        ///
        /// A further connection is closed at once, without a response, before its TLS handshake. So a client that
        /// connects again and again costs little.
        /// [`Counters::turned_away_by_rate`](crate::metrics::Counters::turned_away_by_rate) counts them. The address is
        /// that of the PROXY header, or else of the socket. Connections over Unix sockets and from
        /// [`Config::trusted_proxies`], by default those of the loopback, are not counted.
        ///
        /// The default is above what browsers, offices behind one address and most load tests open. A TLS handshake
        /// takes 0.1 to 1 ms of a CPU: with TLS, 100 a second is a reasonable number for a public server.
        pub connection_rate: Option<AddressRate> = Some(AddressRate::per_second(10_000))
            => "10,000 a second"
            => |rate: impl Into<Option<AddressRate>>| rate.into();
        /// How many requests one IPv4 address, or one IPv6 network of 64 bits, may make, over all its connections.
        /// `None`: no limit, and nothing is counted.
        ///
        /// A further request gets 429 with `Retry-After`, before its body is read and before a handler is called.
        /// The connection goes on, and has no limit on 429. [`Counters::refused_by_rate`](crate::metrics::Counters::refused_by_rate) counts them.
        /// WebSocket handshakes are requests; [`WsLimits::messages`] limits messages. The address is that of
        /// [`Request::client_addr`](crate::Request::client_addr), so each client behind a trusted proxy has its own
        /// rate. Requests over Unix sockets, and of [`Config::trusted_proxies`] themselves, are not counted.
        ///
        /// It is off by default, because no number fits both a page with 200 images and an API with one client. It costs
        /// about 700 instructions for each request. [`layers::RateLimit`](crate::layers::RateLimit) is for some routes,
        /// and for clients by token.
        ///
        /// [`WsLimits::messages`]: https://docs.rs/peregrine/latest/peregrine/ws/struct.WsLimits.html#structfield.messages
        pub request_rate: Option<AddressRate> = None
            => "`None`, no limit"
            => |rate: impl Into<Option<AddressRate>>| rate.into();
        /// Networks of proxies, which bring the connections of many clients from one address. Add the address of a
        /// proxy on another machine.
        ///
        /// [`Config::connections_per_address`], [`Config::connection_rate`] and [`Config::request_rate`] do not count
        /// what they do themselves. [`Config::forwarded`] says which fields of their requests are read.
        ///
        /// In a list without [`IpNetwork::LOOPBACK`], connections from the loopback count too.
        ///
        /// ```
        /// use peregrine::Config;
        /// use peregrine::config::IpNetwork;
        ///
        /// let mut config = Config::default();
        /// config.trusted_proxies.push("10.1.0.0/16".parse()?);
        /// assert!(config.trusted_proxies.starts_with(&IpNetwork::LOOPBACK));
        /// # Ok::<(), peregrine::config::IpNetworkError>(())
        /// ```
        pub trusted_proxies: Vec<IpNetwork> = IpNetwork::LOOPBACK.to_vec()
            => "[`IpNetwork::LOOPBACK`]"
            => |networks: impl IntoIterator<Item = IpNetwork>| networks.into_iter().collect();
        /// Which fields say where a request of [`Config::trusted_proxies`] comes from. Requests of others, with the
        /// same fields, are not believed.
        ///
        /// [`Request::client_addr`], [`Request::scheme`] and [`Request::host`] return what the client has seen then.
        /// The access log and [`Config::allowed_hosts`] use them. [`Request::peer_addr`] remains the address of the
        /// socket. Connections over Unix sockets are believed: the mode of the socket file says which programs may
        /// connect.
        ///
        /// [`Request::client_addr`]: crate::Request::client_addr
        /// [`Request::scheme`]: crate::Request::scheme
        /// [`Request::host`]: crate::Request::host
        /// [`Request::peer_addr`]: crate::Request::peer_addr
        pub forwarded: ForwardedFields = ForwardedFields::None
            => "[`ForwardedFields::None`]: no field is read";
        /// How long the PROXY header of a connection may take, from the accept on, to an address of
        /// [`Server::proxy_protocol`](crate::Server::proxy_protocol). Then the connection is closed. The standard wants
        /// at least 3 seconds.
        pub proxy_header_timeout: Duration = Duration::from_secs(3);
        /// Whether the start of the server raises the limit of descriptors of the process to what `connections`
        /// and the threads need.
        ///
        /// It raises the soft limit, up to the hard limit (`ulimit -Hn`). A child process inherits the new limit.
        /// If this is off, or the hard limit is too low, the start logs a warning, and
        /// [`Running::connections_that_fit`](crate::server::Running::connections_that_fit) returns the number of
        /// connections that fit.
        ///
        /// Windows has no such limit.
        pub raise_descriptors: bool = false => "false, because the limit applies to the whole process";
        /// Bytes of memory that all connections together may hold in buffers between their turns.
        ///
        /// These buffers hold incomplete requests, unsent responses and messages, and copies for
        /// [`Response::offload`](crate::Response::offload), [`BodyReader`](crate::body::BodyReader) and
        /// [`AccessLog`](crate::access_log::AccessLog).
        ///
        /// Above the limit:
        ///
        /// - New requests and new WebSockets get `503` with `Retry-After: 1`, and the connection is closed. The
        ///   same holds for a request that needs a larger buffer to go on.
        /// - A WebSocket message that needs a larger buffer is refused with a close frame 1013.
        /// - A message to a client that has more than 16 KiB waiting does not fit (`WsLimits::backlog_policy`).
        /// - Everything else goes on. When an eighth of the limit is free again, new requests are accepted again.
        ///
        /// From fifteen sixteenths of the limit on, connections that hold memory without progress are closed
        /// ([`Limits::stall_timeout`]).
        ///
        /// What counts:
        ///
        /// - A request holds 19 KiB until its head is complete. After that it holds up to twice the size of head
        ///   and body.
        /// - A response holds its unsent bytes.
        /// - A WebSocket holds twice the bytes that have arrived of its message, at least 8 KiB, if more than 4
        ///   KiB have arrived.
        /// - A topic holds its name and about 128 bytes.
        /// - A payload that responses share as an `Arc<[u8]>` belongs to the program and does not count. Neither does
        ///   the body of a [`PreparedResponse`](crate::PreparedResponse). For a single response use a `Vec<u8>`, which counts.
        ///
        /// [`Stats::buffered_bytes`](crate::metrics::Stats::buffered_bytes) returns the bytes that are held now. The
        /// default is half of the memory of a small machine. It is enough for 28,000 clients that send a head
        /// slowly, or for 256 of the largest bodies.
        pub buffered_bytes: usize = 512 << 20;
        /// Whether a connection may serve more than one request (RFC 9112 section 9.3).
        pub keep_alive: bool = true;
        /// Host names that the server accepts. `None`: any.
        ///
        /// A name with a port accepts this port only; a name without a port accepts any port. Examples:
        /// `example.com`, `example.com:8080`, `127.0.0.1`, `[::1]`. A request for another host
        /// ([`Request::host`]), or without a host, gets 421, and the connection is closed. This happens before
        /// the body is read and before a handler is called.
        ///
        /// Set it for a server on a loopback or private address that a browser can reach. Any web page can point
        /// its own host name at such an address (DNS rebinding), and could then read the responses.
        ///
        /// ```
        /// let config = peregrine::Config::default().allowed_hosts(["localhost", "127.0.0.1", "[::1]"]);
        /// # let server = peregrine::Server::from_fn(|_, res| res.text("hi")).config(config);
        /// # drop(server.bind("127.0.0.1:0").start().expect("a server"));
        /// ```
        ///
        /// [`Request::host`]: crate::Request::host
        pub allowed_hosts: Option<Vec<String>> = None
            => |hosts: impl IntoIterator<Item: Into<String>>| Some(hosts.into_iter().map(Into::into).collect());
        /// Value of the `Server` field of responses: visible ASCII and spaces. `None` omits the field.
        pub server_name: Option<String> = Some("peregrine".to_owned())
            => "`peregrine`"
            => <'a> |name: impl Into<Option<&'a str>>| name.into().map(str::to_owned);
        /// How long the server goes on before it stops, so that load balancers learn that it is going to.
        ///
        /// It begins with SIGTERM ([`Server::stop_on_signals`](crate::Server#method.stop_on_signals)) or
        /// [`Stopper::drain`](crate::server::Stopper::drain). A second SIGTERM, SIGINT and
        /// [`Stopper::stop`](crate::server::Stopper::stop) end it at once. In this time
        ///
        /// - [`Health`](crate::server::Health) says 503 on `/readyz` and 200 on `/livez`,
        /// - connections are accepted, and requests are served,
        /// - more and more connections end: each has a moment in this time, chosen at random, in steps of a second. From
        ///   then on its next response says `Connection: close` (HTTP/1; without a request it goes on), or it gets GOAWAY
        ///   and is closed without open streams (HTTP/2). So clients move to other servers one after the other.
        ///
        /// Make it longer than a balancer takes to notice: the period of its checks times the number of failures, and
        /// a second. 0: the stop begins at once. Within 1 s no connection is told.
        pub drain_delay: Duration = Duration::ZERO;
        /// How long a stop waits for requests that are being read or handled. Streams of events have
        /// [`Config::events_close_spread`] in addition, and WebSockets `Config::ws_close_spread`.
        pub stop_timeout: Duration = Duration::from_secs(10);
        /// The time over which streams of events ([`Response::events`](crate::Response::events)) are ended when the server
        /// stops, evenly and one connection after the other. Those that are not ended yet go on. A stream that begins
        /// during the stop ends at once. 0: all are ended at once.
        ///
        /// It begins with the stop, after [`Config::drain_delay`]: before, a balancer would lead the clients back here.
        pub events_close_spread: Duration = Duration::ZERO;
        /// After how much time clients of events are to come back when the server stops.
        ///
        /// A stream that the server ends because it stops gets a last field `retry`, between this time and twice as much,
        /// chosen at random. So clients whose streams end together do not come back together. It replaces the
        /// [`Event::retry`](crate::sse::Event::retry) of the program in that client. 0: no field; browsers come back after
        /// 3 to 5 s, all at once. More than 12 days count as 12 days.
        pub events_retry: Duration = Duration::ZERO;
        /// How long the TLS handshake of a connection may take, from the accept on, whatever the client sends
        /// meanwhile. Then the connection is closed.
        #[cfg(feature = "tls")]
        pub tls_handshake_timeout: Duration = Duration::from_secs(10);
        /// Number of threads that run the handlers of [`Response::offload`](crate::Response::offload), for all
        /// workers together.
        ///
        /// Each thread starts when it is first needed. So a server that never offloads starts none. 0: every
        /// offloaded request gets 503.
        pub pool_threads: usize = (4 * cpus()).max(8)
            => "4 per CPU that the process may use, at least 8, because such handlers are expected to wait";
        /// Number of offloaded requests that may wait for a thread. A further one gets 503.
        ///
        /// Each holds a copy of its request, of at most [`Limits::head_bytes`] and [`Limits::body_bytes`].
        pub pool_queue: usize = 1024;
        /// Which share of the turns is timed: one in so many, chosen at random.
        ///
        /// A turn is the work between two waits for events. In a timed turn the calls of the handler are timed
        /// too. The results are [`Counters::turn_nanos`](crate::metrics::Counters::turn_nanos) and
        /// [`Counters::handler_nanos`](crate::metrics::Counters::handler_nanos). 1: every turn is timed, which costs two
        /// more reads of the clock for each request and one for each turn. 0: no turn is timed.
        pub timed_one_in: u32 = 64;
        /// Number of pending calls of [`Timers`](crate::timers::Timers) for each worker;
        /// [`TimerError::Full`](crate::timers::TimerError::Full) above.
        pub timers_per_worker: usize = TIMERS_PER_WORKER => "65,536";
        /// Limits of each HTTP connection.
        pub limits: Limits = Limits::default();
        /// Whether the listeners speak HTTP/2. [`Server::http2`](crate::Server::http2) is for one of them.
        #[cfg(feature = "http2")]
        pub http2: Http2 = Http2::On => "[`Http2::On`]";
        /// Limits of each HTTP/2 connection, beside `limits`.
        #[cfg(feature = "http2")]
        pub http2_limits: Http2Limits = Http2Limits::default();
        /// Whether the addresses with TLS speak HTTP/3. [`Server::http3`](crate::Server::http3) is for one of them.
        #[cfg(feature = "http3")]
        pub http3: Http3 = Http3::On => "[`Http3::On`]";
        /// Limits of each HTTP/3 connection, beside `limits`.
        #[cfg(feature = "http3")]
        pub http3_limits: Http3Limits = Http3Limits::default();
        /// Limits of QUIC, below HTTP/3.
        #[cfg(feature = "http3")]
        pub quic: QuicLimits = QuicLimits::default();
        /// Number of threads for WebSocket connections, 1 to 256. A server without [`Server::websocket`]
        /// starts none.
        ///
        /// [`Server::websocket`]: crate::Server::websocket
        #[cfg(feature = "websocket")]
        pub ws_threads: usize = cpus().min(256) => "one per CPU that the process may use, at most 256";
        /// Number of WebSockets of one WebSocket thread; a further handshake gets 503. The maximum is 16,777,216.
        #[cfg(feature = "websocket")]
        pub ws_connections_per_thread: usize = 65_536;
        /// Bytes of messages, names of topics and close reasons that other threads may have on their way to one
        /// WebSocket thread. Each counts 64 bytes more than it has.
        #[cfg(feature = "websocket")]
        pub ws_mailbox_bytes: usize = WS_MAILBOX_BYTES => "16 MiB";
        /// Which pages may open WebSockets.
        ///
        /// A browser lets any page connect to any server, and sends the user's cookies of that server. A
        /// handshake from another page gets 403 before [`accept_ws`](crate::ws::WebSocketHandler::accept_ws) is
        /// called. Clients other than browsers send no `Origin` and are accepted.
        #[cfg(feature = "websocket")]
        pub ws_origins: WsOrigins = WsOrigins::default()
            => "[`WsOrigins::Same`], the pages of the server itself";
        /// The time over which the WebSockets are closed when the server stops, evenly and one after the other. Those that
        /// are not closed yet send and receive. 0: all are closed at once, and all clients come back at once. Timers
        /// end with the workers, before that: messages that the clients wait for have to come from another thread. It
        /// begins with the stop, after [`Config::drain_delay`]: before, a balancer would lead the clients back here.
        #[cfg(feature = "websocket")]
        pub ws_close_spread: Duration = Duration::ZERO;
        /// The code of the close frame when the server stops (RFC 6455 section 7.4.1): 1001 (going away), 1012 (service
        /// restart), or 3000 to 4999.
        ///
        /// Most clients come back after 1001 and 1012. 1012 says that the server does, too.
        #[cfg(feature = "websocket")]
        pub ws_close_code: u16 = 1001;
        /// Limits of each WebSocket connection.
        #[cfg(feature = "websocket")]
        pub ws_limits: WsLimits = WsLimits::default();
        /// How WebSocket messages are compressed for clients that offer it (RFC 7692). `None`: they are not
        /// compressed.
        #[cfg(feature = "deflate")]
        pub ws_deflate: Option<WsDeflate> = Some(WsDeflate::default())
            => |deflate: impl Into<Option<WsDeflate>>| deflate.into();
    }
}
