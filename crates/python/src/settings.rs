//! Settings of a server, from a dict of Python.

use peregrine::Config;
use peregrine::config::{ForwardedFields, IpNetwork};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::path::PathBuf;
use std::time::Duration;

/// `peregrine.options.Options` says what they mean, and has the defaults.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Settings {
    pub(crate) runtime_threads: usize,
    pub(crate) threads: usize,
    pub(crate) limit_concurrency: usize,
    pub(crate) limit_max_body: usize,
    pub(crate) limit_connections: usize,
    pub(crate) limit_max_requests: Option<u64>,
    pub(crate) timeout_keep_alive: f64,
    pub(crate) timeout_graceful_shutdown: f64,
    pub(crate) timeout_response: f64,
    pub(crate) root_path: String,
    pub(crate) static_paths: Vec<(String, PathBuf)>,
    pub(crate) forwarded_allow_ips: Vec<String>,
    pub(crate) ws_max_size: usize,
    pub(crate) ws_ping_interval: f64,
    pub(crate) ws_ping_timeout: f64,
    pub(crate) ws_any_origin: bool,
    pub(crate) access_log: bool,
    pub(crate) ssl_certfile: Option<PathBuf>,
    pub(crate) ssl_keyfile: Option<PathBuf>,
    /// The key in PEM, if its file has a password.
    pub(crate) ssl_key: Option<Vec<u8>>,
    pub(crate) ssl_ca_certs: Option<PathBuf>,
    pub(crate) ssl_cert_reqs: u8,
}

fn seconds(seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|error| PyValueError::new_err(format!("{seconds}: {error}")))
}

impl Settings {
    pub(crate) fn config(&self) -> PyResult<Config> {
        let mut config = Config::default()
            .workers(self.runtime_threads)
            .ws_threads(1);
        config.connections = self.limit_connections;
        config.stop_timeout = seconds(self.timeout_graceful_shutdown)?;
        config.limits.body_bytes = self.limit_max_body;
        config.limits.idle_timeout = seconds(self.timeout_keep_alive)?;
        config.limits.response_timeout = seconds(self.timeout_response)?;
        config.ws_limits.message_bytes = self.ws_max_size;
        config.ws_limits.frame_bytes = self.ws_max_size;
        config.ws_limits.idle_timeout = seconds(self.ws_ping_interval)?;
        config.ws_limits.pong_timeout = seconds(self.ws_ping_timeout)?;
        // The server goes away, and its client may come back.
        config.ws_close_code = 1012;
        if self.ws_any_origin {
            config.ws_origins = peregrine::ws::WsOrigins::Any;
        }
        if !self.forwarded_allow_ips.is_empty() {
            let networks = self.forwarded_allow_ips.iter().map(|text| {
                text.parse::<IpNetwork>()
                    .map_err(|error| PyValueError::new_err(format!("{text}: {error}")))
            });
            config.trusted_proxies = networks.collect::<PyResult<_>>()?;
            config.forwarded = ForwardedFields::X {
                proto: true,
                host: false,
            };
        }
        Ok(config)
    }
}
