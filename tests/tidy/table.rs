//! The table of limits in the documentation of `Config`: complete, with the defaults that are, and
//! with tests that are there.

use super::none;
use super::source::{File, root, rust_files};
use peregrine::{Config, Limits};
use std::collections::BTreeMap;

/// The fields of `Config` that are limits. A new field belongs here, or is none.
const OF_CONFIG: [&str; 19] = [
    "allowed_hosts",
    "backlog",
    "buffered_bytes",
    "connection_rate",
    "connections",
    "connections_per_address",
    "drain_delay",
    "events_close_spread",
    "pool_queue",
    "pool_threads",
    "proxy_header_timeout",
    "request_rate",
    "stop_timeout",
    "timers_per_worker",
    "tls_handshake_timeout",
    "ws_close_spread",
    "ws_connections_per_thread",
    "ws_mailbox_bytes",
    "ws_origins",
];
/// The fields of `DirConfig` that are limits.
#[cfg(feature = "dir")]
const OF_DIR: [&str; 5] = [
    "hot_bytes",
    "hot_file_bytes",
    "list_entries",
    "max_ranges",
    "open_files",
];
const NO_LIMITS: [&str; 23] = [
    "accept_threads",
    "balance",
    "cpu_affinity",
    "events_retry",
    "forwarded",
    "http2",
    "http2_limits",
    "http3",
    "http3_limits",
    "keep_alive",
    "limits",
    "quic",
    "raise_descriptors",
    "server_name",
    "stack_size",
    "tcp_nodelay",
    "timed_one_in",
    "trusted_proxies",
    "workers",
    "ws_close_code",
    "ws_deflate",
    "ws_limits",
    "ws_threads",
];

/// Limits that are no settings.
const FIXED: [&str; 15] = [
    "Dashboard pages",
    "ETags::max_bytes",
    "QUIC addresses",
    "RateLimit::clients",
    "Relay topics",
    "RequestId::take_over",
    "Route counters",
    "Route pattern",
    "TLS ahead",
    "address rates",
    "TLS handshake",
    "TLS key updates",
    "TLS messages",
    "TLS steps",
    "TLS tickets",
];

/// What the rows say: by limit, its default and the test.
pub(super) fn rows() -> BTreeMap<String, (String, String)> {
    let read = |file| std::fs::read_to_string(root().join("src/config").join(file));
    let text = read("mod.rs").expect("readable");
    let rows_of_history = read("history_limits.md").expect("readable");
    let rows_of_http3 = read("http3_limits.md").expect("readable");
    let lines = text
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("/// | "));
    let others = rows_of_history.lines().chain(rows_of_http3.lines());
    let lines = lines.chain(others.filter_map(|line| line.strip_prefix("| ")));
    let mut rows = BTreeMap::new();
    for line in lines.skip(1) {
        let cells: Vec<_> = line.trim_end_matches('|').split(" | ").collect();
        let [limit, default, unit, seen, test] = cells[..] else {
            panic!("five cells: {line}");
        };
        assert!(!unit.is_empty() && !seen.is_empty(), "{line}");
        let name = |cell: &str| cell.trim().trim_matches(['`', '[', ']']).to_owned();
        let row = (name(default), name(test));
        assert!(rows.insert(name(limit), row).is_none(), "twice: {line}");
    }
    rows
}

/// The fields of a value, as it prints itself, without what is nested.
fn fields(of: &str, value: &dyn std::fmt::Debug) -> Vec<(String, String)> {
    let text = format!("{value:#?}");
    let outer = text.lines().filter_map(|line| line.strip_prefix("    "));
    let pairs = outer.filter_map(|line| line.trim_end_matches(',').split_once(": "));
    let pairs = pairs.filter(|(name, _)| !name.starts_with([' ', '"']));
    pairs
        .map(|(name, value)| (format!("{of}::{name}"), value.to_owned()))
        .collect()
}

/// All limits and their defaults, of the features that are there.
fn limits() -> Vec<(String, String)> {
    let mut limits = fields("Limits", &Limits::default());
    limits.extend(fields(
        "EventLimits",
        &peregrine::sse::EventLimits::default(),
    ));
    limits.extend(fields(
        "HistoryLimits",
        &peregrine::history::HistoryLimits::default(),
    ));
    limits.extend(fields(
        "MemoryLogLimits",
        &peregrine::history::MemoryLogLimits::default(),
    ));
    limits.extend(fields(
        "PresenceLimits",
        &peregrine::presence::PresenceLimits::default(),
    ));
    #[cfg(feature = "http2")]
    limits.extend(fields(
        "Http2Limits",
        &peregrine::config::Http2Limits::default(),
    ));
    #[cfg(feature = "http3")]
    {
        use peregrine::config::{Http3Limits, QuicLimits};
        limits.extend(fields("Http3Limits", &Http3Limits::default()));
        limits.extend(fields("QuicLimits", &QuicLimits::default()));
    }
    #[cfg(feature = "websocket")]
    limits.extend(fields("WsLimits", &peregrine::ws::WsLimits::default()));
    #[cfg(feature = "multipart")]
    limits.extend(fields(
        "MultipartLimits",
        &peregrine::multipart::MultipartLimits::default(),
    ));
    #[cfg(feature = "dir")]
    {
        let fields = fields("DirConfig", &peregrine::files::DirConfig::default());
        let is_limit = |name: &str| {
            OF_DIR
                .iter()
                .any(|limit| name.ends_with(&format!("::{limit}")))
        };
        limits.extend(fields.into_iter().filter(|(name, _)| is_limit(name)));
    }
    #[cfg(feature = "compress")]
    {
        let fields = fields(
            "CompressConfig",
            &peregrine::compression::CompressConfig::default(),
        );
        let is_limit = |name: &str| !name.contains("_level") && !name.contains("_quality");
        limits.extend(fields.into_iter().filter(|(name, _)| is_limit(name)));
    }
    #[cfg(feature = "sessions")]
    {
        let fields = fields(
            "SessionConfig",
            &peregrine::sessions::SessionConfig::default(),
        );
        let is_limit = |name: &str| !name.ends_with("::cookie") && !name.ends_with("::secure");
        limits.extend(fields.into_iter().filter(|(name, _)| is_limit(name)));
    }
    let cache = peregrine::response_cache::CacheConfig::default();
    let is_limit = |name: &str| !name.ends_with("fields") && !name.contains("::ignore");
    let of_cache = fields("CacheConfig", &cache).into_iter();
    limits.extend(of_cache.filter(|(name, _)| is_limit(name)));
    #[cfg(feature = "json")]
    limits.push(("Request::json".to_owned(), "127".to_owned()));
    for (name, value) in fields("Config", &Config::default()) {
        let field = name.split("::").nth(1).expect("a field");
        match OF_CONFIG.contains(&field) {
            true => limits.push((name, value)),
            false => assert!(NO_LIMITS.contains(&field), "is {name} a limit?"),
        }
    }
    limits
}

#[test]
fn every_limit_is_in_the_table() {
    let rows = rows();
    let mut faults = Vec::new();
    let limits = limits();
    for (name, value) in &limits {
        let Some((default, _)) = rows.get(name) else {
            faults.push(format!("{name} is not in the table of src/config/mod.rs"));
            continue;
        };
        let written = default.replace([',', ' '], "");
        let value = &value.replace("0ns", "0s");
        // What depends on the machine, or on nothing, is said in words.
        let words = ["4 per CPU", "a 16th", "any", "10,000 a second"];
        let in_words = words.iter().any(|words| default.starts_with(words));
        if written != *value && !in_words {
            faults.push(format!("{name} is {value}, not {default}"));
        }
    }
    let is_known = |name: &String| {
        limits.iter().any(|(known, _)| known == name) || FIXED.contains(&name.as_str())
    };
    // Without its feature a value is not available.
    let has_feature = |name: &String| {
        let of = |kind| name.starts_with(kind);
        (cfg!(feature = "websocket") || !of("WsLimits::") && !of("Config::ws_"))
            && (cfg!(feature = "http2") || !of("Http2Limits::"))
            && (cfg!(feature = "http3") || !of("Http3Limits::") && !of("QuicLimits::"))
            && (cfg!(feature = "tls") || !of("Config::tls_"))
            && (cfg!(feature = "multipart") || !of("MultipartLimits::"))
            && (cfg!(feature = "sessions") || !of("SessionConfig::"))
            && (cfg!(feature = "compress") || !of("CompressConfig::"))
            && (cfg!(feature = "json") || !of("Request::json"))
            && (cfg!(feature = "dir") || !of("DirConfig::"))
    };
    let unknown = rows
        .keys()
        .filter(|name| has_feature(name) && !is_known(name));
    faults.extend(unknown.map(|name| format!("{name} is in the table, and nowhere else")));
    none(faults);
}

#[test]
fn every_limit_is_shown_by_a_test() {
    let files = rust_files(&["src", "crates", "tests"]);
    let missing = rows()
        .into_iter()
        .filter(|(_, (_, test))| !is_test(test, &files));
    none(missing.map(|(limit, (_, test))| format!("{limit}: there is no test {test}")));
}

/// Whether a test is named by its file and function.
fn is_test(name: &str, files: &[File]) -> bool {
    let Some((path, function)) = name.rsplit_once("::") else {
        return false;
    };
    let path = path.replace("::", "/");
    let folders = ["tests/it", "tests", "src", "crates/protocol/src"];
    let places = folders.map(|folder| format!("{folder}/{path}.rs"));
    let mut text = files.iter().filter(|file| places.contains(&file.path));
    text.any(|file| {
        let lines: Vec<_> = file.text.lines().map(str::trim).collect();
        let start = format!("fn {function}()");
        let at = lines.iter().position(|line| line.starts_with(&start));
        let mut above = lines[..at.unwrap_or(0)].iter().rev();
        let mut attributes = above.by_ref().take_while(|line| line.starts_with("#["));
        attributes.any(|line| *line == "#[test]")
    })
}

#[test]
fn a_missing_test_is_reported() {
    let file = |text: &str| File {
        path: "tests/it/slow.rs".into(),
        text: text.into(),
    };
    let files = [file("#[test]\nfn there() {}\nfn helper() {}\n")];
    assert!(is_test("slow::there", &files));
    for name in [
        "slow::gone",
        "slow::ther",
        "fast::there",
        "there",
        "slow::helper",
    ] {
        assert!(!is_test(name, &files), "{name}");
    }
}
