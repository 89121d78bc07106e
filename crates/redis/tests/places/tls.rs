//! Connections over TLS: certificates that are trusted and others, messages of all sizes, a link that breaks.

use super::{MS, texts};
use crate::support::{Gate, Node, Server, free_addr, page, pause, wait_until};
use peregrine::history::HistoryLimits;
use peregrine_redis::Config;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub(super) fn certs(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/certs");
    folder.join(name).to_str().expect("text").to_owned()
}

/// A port, and the settings of a server that speaks TLS there. Its plain port is for the test.
pub(super) fn tls_args(certificate: &str) -> (String, Vec<String>) {
    let addr = free_addr();
    let port = addr.rsplit(':').next().expect("a port").to_owned();
    let args = [
        ("--save", String::new()),
        ("--tls-port", port.clone()),
        ("--tls-cert-file", certs(&format!("{certificate}.pem"))),
        ("--tls-key-file", certs(&format!("{certificate}.key"))),
        ("--tls-auth-clients", "no".to_owned()),
        ("--tls-ca-cert-file", certs("authority.pem")),
    ];
    let args = args
        .into_iter()
        .flat_map(|(name, value)| [name.to_owned(), value]);
    (port, args.collect())
}

/// A server with TLS, and its port. `more` are further settings.
pub(super) fn start(certificate: &str, more: &[&str]) -> (Server, String) {
    let (port, args) = tls_args(certificate);
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    (Server::start_with(&[&args, more].concat()), port)
}

fn server(certificate: &str) -> (Server, String) {
    let (server, port) = start(certificate, &[]);
    (server, format!("localhost:{port}"))
}

pub(super) fn settings(authority: &str) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(certs(authority)).expect("a file") {
        roots
            .add(certificate.expect("a certificate"))
            .expect("a certificate");
    }
    let config = rustls::ClientConfig::builder().with_root_certificates(roots);
    Arc::new(config.with_no_client_auth())
}

fn trusting(addr: &str) -> Config {
    Config::new(addr)
        .backoff(MS, 20 * MS)
        .tls(settings("authority.pem"))
}

/// A server that sends its first record byte by byte, and never all of it.
#[test]
fn a_slow_handshake_is_left() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let config = trusting(&format!("localhost:{port}"));
    let _node = Node::connect(config.connect_timeout(100 * MS));
    let (mut stream, _) = listener.accept().expect("a connection");
    // A handshake of 16,000 bytes.
    let head = [22, 3, 3, 62, 128, 2, 0, 62, 124];
    stream.write_all(&head).expect("sent");
    listener.set_nonblocking(true).expect("a socket");
    wait_until("the next attempt", || {
        let _ = stream.write(&[0]);
        (0..5).for_each(|_| pause());
        listener.accept().is_ok()
    });
}

#[test]
fn messages_of_all_sizes_pass_tls() {
    let (_server, addr) = server("exact");
    let gate = Gate::to(&addr.replace("localhost", "127.0.0.1"));
    let through = gate.addr().replace("127.0.0.1", "localhost");
    let nodes = [&addr, &through].map(|addr| {
        Node::with_limits(
            trusting(addr),
            HistoryLimits::default().message_bytes(2 << 20),
        )
        .ready()
    });
    let apps = nodes.each_ref().map(Node::app);
    let mut pages = apps.each_ref().map(|app| page(app, "t", None));
    for page in &mut pages {
        page.wait_for_id();
    }
    // Around the sizes of a record and of the buffers.
    let mut due = Vec::new();
    for size in [
        1, 16_383, 16_384, 16_385, 65_535, 65_537, 300_000, 1_000_000,
    ] {
        let text = "x".repeat(size);
        nodes[0].history.publish("t", text.as_str()).expect("room");
        due.push(text);
        // What a page does not read is limited, so each is read before the next one.
        for page in &mut pages {
            page.wait_until(|lines| lines.len() >= due.len());
        }
    }
    for page in &mut pages {
        assert!(page.lines == due);
        page.lines.clear();
    }
    // A link that breaks, and one that is silent.
    for round in 1..=3 {
        let before = nodes[1].redis.connections();
        nodes[1].publish("t", round);
        gate.break_all();
        wait_until("another connection", || {
            nodes[1].redis.connections() > before
        });
        for page in &mut pages {
            page.wait_until(|lines| texts(lines).len() == round);
        }
    }
    assert!(!pages[1].is_lost());
    assert!(nodes[1].redis.flush(Duration::from_secs(60)));
}

#[test]
fn other_certificates_are_refused() {
    let (_stranger, strange) = server("stranger");
    let (_expired, expired) = server("expired");
    let (plain, good) = server("exact");
    let ip = good.replace("localhost", "127.0.0.1");
    let cases = [
        ("of another authority", trusting(&strange), "certificate"),
        ("expired", trusting(&expired), "certificate"),
        (
            "another name",
            trusting(&good).tls_name("elsewhere.example"),
            "certificate",
        ),
        (
            "an authority that is not trusted",
            trusting(&good).tls(settings("other-authority.pem")),
            "certificate",
        ),
        ("no TLS", trusting(plain.addr()), ""),
        (
            "no TLS where there should be",
            Config::new(&good).backoff(MS, 20 * MS),
            "",
        ),
    ];
    for (what, config, expected) in cases {
        let node = Node::connect(config.password("a secret"));
        wait_until(what, || {
            node.redis
                .last_error()
                .is_some_and(|error| error.contains(expected))
        });
        assert_eq!(node.redis.connections(), 0, "{what}");
    }
    // The name can be another one than the address.
    let named = Node::connect(trusting(&ip).tls_name("localhost"));
    wait_until("connected", || named.redis.is_connected());
}
