//! What a `Tls` can be told beside its certificates: a provider, a log of keys, settings of `rustls`.

use super::client::{client_config, connect_with, der, key};
use super::{self_signed, start_tls};
use crate::support::{ended, own_addr, workers};
use peregrine::{Server, Tls};
use rustls::crypto::ring;
use rustls::{NamedGroup, ServerConfig};
use std::sync::Arc;
#[cfg(target_os = "linux")]
use std::sync::Mutex;

#[test]
fn settings_of_rustls_tell_the_server_name_too() {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![der("exact")], key("exact"))
        .expect("a pair");
    let tls = Tls::from_rustls(Arc::new(config));
    let error = tls.clone().key_log().expect_err("it has its settings");
    assert!(error.to_string().contains("from_rustls"), "{error}");
    let (running, addr) = start_tls(tls);
    let config = Arc::new(client_config());
    let mut client = connect_with(addr, &config, "a.example");
    assert_eq!(
        client.get("/tls").text(),
        "true Some(\"a.example\")  false 0"
    );
    running.stop();
    ended(running);
}

#[test]
fn another_provider_brings_its_cipher_suites_and_groups() {
    let suite_and_group = |tls: Tls| {
        let server = Server::from_fn(|req, res| {
            let tls = req.tls().expect("TLS");
            res.text(tls.cipher_suite())
        });
        let server = server.config(workers(1)).bind_tls(own_addr(), tls);
        let running = server.start().expect("a server");
        let addr = running.local_addr().expect("an address");
        let mut client = connect_with(addr, &Arc::new(client_config()), "localhost");
        let suite = client.get("/").text().to_owned();
        let group = client.stream.conn.negotiated_key_exchange_group();
        let group = group.expect("a full handshake").name();
        running.stop();
        ended(running);
        (suite, group)
    };
    let (suite, group) = suite_and_group(self_signed());
    assert_eq!(
        (&*suite, group),
        ("TLS13_AES_256_GCM_SHA384", NamedGroup::X25519)
    );

    let mut provider = ring::default_provider();
    provider.cipher_suites = vec![ring::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256];
    provider.kx_groups = vec![ring::kx_group::SECP384R1];
    let tls = self_signed().with_provider(Arc::new(provider.clone()));
    let (suite, group) = suite_and_group(tls.expect("a suite for TLS 1.3"));
    assert_eq!(
        (&*suite, group),
        ("TLS13_CHACHA20_POLY1305_SHA256", NamedGroup::secp384r1)
    );

    provider.cipher_suites.clear();
    let error = self_signed().with_provider(Arc::new(provider));
    let error = error.expect_err("no suite").to_string();
    assert!(error.contains("cipher suites"), "{error}");
}

/// What a client logs, as lines of a file.
#[cfg(target_os = "linux")]
#[derive(Debug, Default)]
struct Lines(Mutex<Vec<String>>);

#[cfg(target_os = "linux")]
impl rustls::KeyLog for Lines {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let line = format!("{label} {} {}", hex(client_random), hex(secret));
        self.0.lock().expect("no panic").push(line);
    }
}

/// In a process of its own, whose environment names the file.
#[test]
#[cfg(target_os = "linux")]
fn secrets_are_logged_where_that_is_asked_for() {
    const VARIABLE: &str = "SSLKEYLOGFILE";
    let scratch = crate::scratch::Scratch::new();
    let file = scratch.path("secrets");
    let shell = format!("export {VARIABLE}='{}'", file.display());
    let name = "tls::settings::secrets_are_logged_where_that_is_asked_for";
    if crate::alone::alone_after(&shell, name) {
        return;
    }
    let file = std::env::var_os(VARIABLE).expect("set by the shell");
    let logged = || std::fs::read_to_string(&file).unwrap_or_default();
    let secrets = |tls: Tls| {
        let lines = Arc::new(Lines::default());
        let mut config = client_config();
        config.key_log = lines.clone();
        let (running, addr) = start_tls(tls);
        let mut client = connect_with(addr, &Arc::new(config), "localhost");
        assert_eq!(client.get("/").text(), "hello");
        running.stop();
        ended(running);
        let mut lines = lines.0.lock().expect("no panic").clone();
        lines.sort();
        lines
    };
    // Those of both sides for the handshake and for data, and one for exporters.
    assert_eq!(secrets(self_signed()).len(), 5);
    assert_eq!(logged(), "");
    let wanted = secrets(self_signed().key_log().expect("settings"));
    let logged = logged();
    let mut lines: Vec<_> = logged.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, wanted, "both sides have the same secrets");
}
