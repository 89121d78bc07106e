//! All integration tests: one binary, so they link once and share their helpers.

mod access_log;
mod access_log_late;
#[cfg(target_os = "linux")]
mod alone;
mod auto_traits;
mod body_reader;
mod budget;
mod cases;
#[cfg(all(unix, feature = "signals"))]
mod child;
mod clients;
mod connections;
mod dashboard;
#[cfg(target_os = "linux")]
mod descriptors;
#[cfg(feature = "dir")]
mod dir_cases;
#[cfg(feature = "dir")]
mod dir_changes;
#[cfg(all(target_os = "linux", feature = "dir"))]
mod dir_descriptors;
#[cfg(feature = "dir")]
mod dir_large;
#[cfg(feature = "dir")]
mod dir_lists;
#[cfg(feature = "dir")]
mod dir_paths;
#[cfg(feature = "dir")]
mod dir_server;
#[cfg(all(unix, feature = "dir"))]
mod dir_special;
mod drain;
mod drain_events;
#[cfg(target_os = "linux")]
mod embedded;
mod errors;
mod event_hub;
mod events;
#[cfg(feature = "tracing")]
mod events_logged;
mod extremes;
mod fields;
mod forms;
mod handler;
#[cfg(feature = "websocket")]
mod history;
#[cfg(all(target_os = "linux", feature = "websocket"))]
mod hostile;
mod in_memory;
mod isolation;
mod late;
mod late_gone;
mod layers;
mod layers_errors;
mod layers_fields;
mod layers_shipped;
mod limits;
mod listen;
mod listen_both;
#[cfg(unix)]
mod listen_unix;
#[cfg(feature = "multipart")]
mod multipart;
mod offload;
mod panics;
mod pipelining;
// Other systems have one loopback address only.
#[cfg(target_os = "linux")]
mod places;
mod prepared;
#[cfg(target_os = "linux")]
mod proxies;
#[cfg(target_os = "linux")]
mod proxy_protocol;
#[cfg(target_os = "linux")]
mod rates;
mod relay;
mod response_bytes;
mod response_cache;
#[cfg(all(unix, feature = "signals", feature = "websocket"))]
mod restart;
mod results;
#[cfg(feature = "websocket")]
mod room;
mod router;
mod router_blocking;
#[cfg_attr(not(feature = "dir"), allow(dead_code))]
mod scratch;
#[cfg(target_os = "linux")]
mod served;
mod slow;
mod sockets;
mod stats;
mod stats_live;
mod stats_times;
mod stop;
mod stream_clients;
mod stream_drawn;
mod stream_flow;
mod stream_in;
mod stream_out;
mod support;
#[cfg(target_os = "linux")]
mod systemd;
mod timers;
#[cfg(all(unix, feature = "tls-self-signed"))]
mod tls;
mod trailers;
mod turns;
mod uploads;
#[cfg(target_os = "linux")]
mod uploads_early;
#[cfg(target_os = "linux")]
mod uploads_hostile;
#[cfg(target_os = "linux")]
mod uploads_large;
mod uploads_many;
mod wait_hooks;
mod wait_hooks_passed;
mod worn_out;
#[cfg(feature = "websocket")]
mod ws_backlog;
#[cfg(feature = "websocket")]
mod ws_budget;
#[cfg(feature = "websocket")]
mod ws_deferred;
#[cfg(feature = "websocket")]
mod ws_fan_out;
#[cfg(feature = "websocket")]
mod ws_handshake;
#[cfg(feature = "websocket")]
mod ws_hub;
#[cfg(feature = "websocket")]
mod ws_paused;
#[cfg(feature = "websocket")]
mod ws_protocol;
#[cfg(feature = "websocket")]
mod ws_rates;
#[cfg(feature = "websocket")]
mod ws_sockets;
