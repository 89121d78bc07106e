//! Certificates over QUIC: by name, after a reload, of clients.

use super::client::{Client, Settings};
use super::trusting::{der, pem};
use super::{address, counted};
use peregrine::{Server, Tls};
use quinn_proto::{ConnectionError, TransportErrorCode};
use rustls::AlertDescription;

/// The certificate of this name in `tests/certs`.
fn tls_of(name: &str) -> Tls {
    let [chain, key] = ["pem", "key"].map(|kind| pem(&format!("{name}.{kind}")));
    Tls::from_pem(&chain, &key).expect("a pair")
}

fn asking_for(host: &'static str) -> Settings {
    Settings {
        host,
        ..Settings::default()
    }
}

fn with_certificate(certificate: Option<&'static str>) -> Settings {
    Settings {
        certificate,
        ..Settings::default()
    }
}

#[test]
fn the_certificate_is_chosen_by_the_name_that_the_client_asks_for() {
    let tls = super::tls()
        .add_pem("a.example", &pem("exact.pem"), &pem("exact.key"))
        .and_then(|tls| tls.add_pem("*.a.example", &pem("wildcard.pem"), &pem("wildcard.key")));
    let server = Server::from_fn(|req, res| {
        let tls = req.tls().expect("TLS");
        res.text(tls.server_name().unwrap_or_default())
    });
    let server = server.bind_tls("127.0.0.1:0", tls.expect("two pairs"));
    let server = server.start().expect("a server");
    let certificate = |host| {
        let mut client = Client::connect_with(address(&server), asking_for(host));
        assert_eq!(client.get("/").text(), host);
        client.close();
        client.certificate()
    };
    assert_eq!(certificate("a.example"), der("exact"));
    assert_eq!(certificate("b.a.example"), der("wildcard"));
    let default = certificate("b.example");
    assert!(![der("exact"), der("wildcard")].contains(&default));
    assert_eq!(certificate("c.b.a.example"), default);
}

/// Connections that are open go on with the old one.
#[test]
fn new_connections_get_a_certificate_whose_files_were_replaced() {
    let folder = std::env::temp_dir().join(format!("peregrine-http3-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let files = ["pem", "key"].map(|kind| folder.join(kind));
    let copy = |name: &str| {
        for (file, kind) in files.iter().zip(["pem", "key"]) {
            std::fs::write(file, pem(&format!("{name}.{kind}"))).expect("written");
        }
    };
    copy("exact");
    let tls = Tls::from_pem_files(&files[0], &files[1]).expect("a pair");
    let server = Server::from_fn(|_, res| res.text("hello"));
    let server = server.bind_tls("127.0.0.1:0", tls.clone());
    let server = server.start().expect("a server");
    let mut open = Client::connect(address(&server));
    assert_eq!(open.certificate(), der("exact"));
    copy("wildcard");
    tls.reload().expect("a pair");
    let mut client = Client::connect(address(&server));
    assert_eq!(client.certificate(), der("wildcard"));
    for client in [&mut open, &mut client] {
        assert_eq!(client.get("/").text(), "hello");
        client.close();
    }
    std::fs::remove_dir_all(&folder).expect("removed");
}

#[test]
fn clients_without_a_certificate_of_the_authority_are_refused() {
    let tls = tls_of("exact").require_client_certificates(&pem("authority.pem"));
    let server = Server::from_fn(|req, res| {
        let tls = req.tls().expect("TLS");
        let own = tls.client_chain().next().map(<[u8]>::to_vec);
        res.send(own.unwrap_or_default())
    });
    let server = server.bind_tls("127.0.0.1:0", tls.expect("an authority"));
    let server = server.start().expect("a server");
    let mut client = Client::connect_with(address(&server), with_certificate(Some("client")));
    assert_eq!(client.get("/").body, der("client").as_ref());
    client.close();
    for (certificate, expected) in [
        (None, AlertDescription::CertificateRequired),
        (Some("stranger"), AlertDescription::UnknownCA),
        // It is for servers.
        (Some("exact"), AlertDescription::UnsupportedCertificate),
        (Some("expired"), AlertDescription::CertificateExpired),
    ] {
        let mut client = Client::new(address(&server), with_certificate(certificate));
        match client.end() {
            ConnectionError::ConnectionClosed(close) => {
                let code = TransportErrorCode::crypto(expected.into());
                assert_eq!(close.error_code, code, "{certificate:?}");
            }
            other => panic!("{certificate:?}: {other}"),
        }
    }
    counted(&server, |counters| counters.handshakes_failed == 4);
}

#[test]
fn clients_that_are_asked_for_a_certificate_may_have_none() {
    let tls = tls_of("exact").ask_for_client_certificates(&pem("authority.pem"));
    let server = Server::from_fn(|req, res| {
        let tls = req.tls().expect("TLS");
        res.text(tls.client_chain().len().to_string())
    });
    let server = server.bind_tls("127.0.0.1:0", tls.expect("an authority"));
    let server = server.start().expect("a server");
    for (certificate, count) in [(None, "0"), (Some("client"), "1")] {
        let mut client = Client::connect_with(address(&server), with_certificate(certificate));
        assert_eq!(client.get("/").text(), count);
        client.close();
    }
}

/// The first packets have AES-128 all the same (RFC 9001 section 5.2).
#[test]
fn a_provider_without_the_cipher_of_the_first_packets() {
    let mut provider = rustls::crypto::ring::default_provider();
    provider.cipher_suites =
        vec![rustls::crypto::ring::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256];
    let tls = super::tls().with_provider(std::sync::Arc::new(provider));
    let server = Server::from_fn(|_, res| res.text("hello"));
    let server = server.bind_tls("127.0.0.1:0", tls.expect("a suite for TLS 1.3"));
    let server = server.start().expect("a server");
    let mut client = Client::connect(address(&server));
    assert_eq!(client.get("/").text(), "hello");
    client.close();
}
