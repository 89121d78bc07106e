//! Certificates: by name, from files that change, of clients.

use super::client::{
    client_config, client_config_with, client_config_with_chain, connect_with, der, path, pem,
};
use super::{start_tls, start_tls_with};
use crate::scratch::Scratch;
use crate::support::{Witness, ended, own_addr, wait_until, workers};
use peregrine::tls::TlsError;
use peregrine::{Server, Tls};
use rustls::{AlertDescription, Error};
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

/// The certificate of this name in `tests/certs`.
fn tls_of(name: &str) -> Tls {
    let [chain, key] = ["pem", "key"].map(|kind| pem(&format!("{name}.{kind}")));
    Tls::from_pem(&chain, &key).expect("a pair")
}

#[test]
fn errors_say_what_to_do() {
    let scratch = Scratch::new();
    let missing = scratch.path("missing.pem");
    let error = Tls::from_pem_files(&missing, &missing).expect_err("no file");
    assert!(
        matches!(&error, TlsError::Read(path, _) if *path == missing),
        "{error}"
    );
    assert!(error.to_string().contains("missing.pem"), "{error}");

    let no_certificate = Tls::from_pem(b"nothing", b"nothing").expect_err("no PEM");
    assert!(
        matches!(no_certificate, TlsError::NoCertificate),
        "{no_certificate}"
    );
    let error = std::io::Error::from(no_certificate);
    assert!(error.to_string().contains("BEGIN CERTIFICATE"), "{error}");
}

#[test]
fn a_certificate_belongs_to_its_tls() {
    let (running, addr) = start_tls(super::self_signed());
    let config = Arc::new(client_config());
    let mut client = connect_with(addr, &config, "other.example");
    assert_eq!(
        client.get("/tls").text(),
        "true Some(\"other.example\") http/1.1 false 0"
    );
    running.stop();
    ended(running);
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let error = |chain: &str, key: &str| {
        let error = Tls::from_pem_files(path(chain), path(key)).expect_err("no pair");
        let TlsError::In(path, inner) = error else {
            panic!("no file: {error}");
        };
        let file = path.file_name().expect("a name").to_owned();
        (file.into_string().expect("a name"), *inner)
    };
    let (file, inner) = error("exact.pem", "encrypted.key");
    assert_eq!(file, "encrypted.key");
    assert!(matches!(inner, TlsError::EncryptedKey), "{inner}");
    let (file, inner) = error("exact.pem", "wildcard.key");
    assert_eq!(file, "wildcard.key");
    assert!(matches!(inner, TlsError::KeyMismatch), "{inner}");
    // RSA with 1,024 bits.
    let (_, inner) = error("weak.pem", "weak.key");
    assert!(matches!(inner, TlsError::Invalid(_)), "{inner}");
    // Clients see that it has expired; a server may start with it.
    Tls::from_pem_files(path("expired.pem"), path("expired.key")).expect("a warning only");
}

#[test]
fn the_certificate_is_chosen_by_the_name_that_the_client_asks_for() {
    let tls = super::self_signed()
        .add_pem("a.example", &pem("exact.pem"), &pem("exact.key"))
        .and_then(|tls| {
            tls.add_pem_files("*.a.example", path("wildcard.pem"), path("wildcard.key"))
        })
        .expect("two pairs");
    let (running, addr) = start_tls(tls);
    let config = Arc::new(client_config());
    let certificate = |name: &str| {
        let mut client = connect_with(addr, &config, name);
        let text = client.get("/tls").text().to_owned();
        assert!(text.contains(&name.to_ascii_lowercase()), "{text}");
        let chain = client.stream.conn.peer_certificates().expect("a chain");
        chain[0].clone()
    };
    assert_eq!(certificate("a.example"), der("exact"));
    assert_eq!(certificate("A.example"), der("exact"));
    assert_eq!(certificate("b.a.example"), der("wildcard"));
    let default = certificate("b.example");
    assert!(![der("exact"), der("wildcard")].contains(&default));
    assert_eq!(certificate("c.b.a.example"), default);
    running.stop();
    ended(running);
}

#[test]
fn new_connections_get_a_certificate_whose_files_were_replaced() {
    let scratch = Scratch::new();
    let copy = |name: &str| {
        scratch.write("cert.pem", pem(&format!("{name}.pem")));
        scratch.write("key.pem", pem(&format!("{name}.key")));
    };
    copy("exact");
    let tls = Tls::from_pem_files(scratch.path("cert.pem"), scratch.path("key.pem"));
    let tls = tls.expect("a pair");
    let (running, addr) = start_tls(tls.clone());
    let config = Arc::new(client_config());
    let certificate = || {
        let mut client = connect_with(addr, &config, "a.example");
        client.get("/");
        let chain = client.stream.conn.peer_certificates().expect("a chain");
        (chain[0].clone(), client)
    };
    let (first, mut open) = certificate();
    assert_eq!(first, der("exact"));
    scratch.write("key.pem", pem("wildcard.key"));
    let error = tls.reload().expect_err("half of a pair");
    assert!(error.to_string().contains("key.pem"), "{error}");
    assert_eq!(certificate().0, der("exact"));
    copy("wildcard");
    tls.reload().expect("a pair");
    // A session of before would be resumed without a look at the certificate.
    let config = Arc::new(client_config());
    let mut client = connect_with(addr, &config, "a.example");
    client.get("/");
    let chain = client.stream.conn.peer_certificates().expect("a chain");
    assert_eq!(chain[0], der("wildcard"));
    assert_eq!(open.get("/").text(), "hello", "open connections go on");
    running.stop();
    ended(running);
}

#[test]
fn clients_without_a_certificate_of_the_authority_are_refused() {
    let tls = tls_of("exact").require_client_certificates(&pem("authority.pem"));
    let app = Witness::new(|req, res| {
        let tls = req.tls().expect("TLS");
        let own = tls.client_chain().next().map(<[u8]>::to_vec);
        res.send(own.unwrap_or_default())
    });
    let server = Server::new(app.clone()).config(workers(1));
    let server = server.bind_tls(own_addr(), tls.expect("an authority"));
    let running = server.start().expect("a server");
    let addr = running.local_addr().expect("an address");
    let config = Arc::new(client_config_with(Some("client")));
    for is_resumed in [false, true] {
        let mut client = connect_with(addr, &config, "localhost");
        assert_eq!(client.get("/").body, der("client").as_ref());
        let kind = client.stream.conn.handshake_kind();
        assert_eq!(kind == Some(rustls::HandshakeKind::Resumed), is_resumed);
    }
    for (certificate, expected) in [
        (None, AlertDescription::CertificateRequired),
        (Some("stranger"), AlertDescription::UnknownCA),
        // It is for servers.
        (Some("exact"), AlertDescription::UnsupportedCertificate),
        (Some("expired"), AlertDescription::CertificateExpired),
    ] {
        let config = Arc::new(client_config_with(certificate));
        let mut client = connect_with(addr, &config, "localhost");
        let peer = client.stream.sock.local_addr().expect("an address");
        // The client believes that its handshake is complete.
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(10));
        let error = client.stream.read(&mut [0; 10]).expect_err("an alert");
        let error = error
            .get_ref()
            .and_then(|error| error.downcast_ref::<Error>());
        assert_eq!(error, Some(&Error::AlertReceived(expected)));
        let text = app.one_error("handshake", peer);
        assert!(text.starts_with("the TLS handshake failed: "), "{text}");
    }
    wait_until("all are counted", || {
        running.counters().handshakes_failed == 4
    });
    running.stop();
    ended(running);
}

#[test]
fn clients_that_are_asked_for_a_certificate_may_have_none() {
    let tls = tls_of("exact").ask_for_client_certificates(&pem("authority.pem"));
    let (running, addr) = start_tls_with(workers(1), tls.expect("an authority"));
    for (certificate, chain) in [(None, 0), (Some("client"), 1)] {
        let config = Arc::new(client_config_with(certificate));
        let mut client = connect_with(addr, &config, "localhost");
        let text = client.get("/tls").text().to_owned();
        assert!(text.ends_with(&format!(" {chain}")), "{text}");
    }
    let config = Arc::new(client_config_with(Some("stranger")));
    let mut client = connect_with(addr, &config, "localhost");
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.stream.read(&mut [0; 10]).expect_err("an alert");
    drop(client);
    wait_until("it is counted", || {
        running.counters().handshakes_failed == 1
    });
    running.stop();
    ended(running);
}

/// A client with a certificate neither gets what others have got, nor leaves what they get.
#[test]
fn clients_with_a_certificate_share_no_kept_response() {
    use peregrine::response_cache::{CacheConfig, ResponseCache};
    for is_ignored in [false, true] {
        let config = CacheConfig::default().ignore_client_certificates(is_ignored);
        let app = ResponseCache::new(config).wrap(peregrine::from_fn(|req, res| {
            let tls = req.tls().expect("TLS");
            res.text(format!("{} certificates", tls.client_chain().len()))
        }));
        let tls = tls_of("exact").ask_for_client_certificates(&pem("authority.pem"));
        let server = Server::new(app).config(workers(1));
        let running = server.bind_tls(own_addr(), tls.expect("an authority"));
        let running = running.start().expect("a server");
        let addr = running.local_addr().expect("a TCP address");
        let texts = [Some("client"), None, Some("client"), None].map(|certificate| {
            let config = Arc::new(client_config_with(certificate));
            let mut client = connect_with(addr, &config, "localhost");
            client.get("/").text().to_owned()
        });
        let expected = match is_ignored {
            false => ["1", "0", "1", "0"],
            true => ["1"; 4],
        };
        assert_eq!(texts, expected.map(|count| format!("{count} certificates")));
        running.stop();
        ended(running);
    }
}

/// A chain of almost 64 KiB is taken, and a longer one is not.
#[test]
fn clients_may_send_long_chains() {
    let tls = tls_of("exact").require_client_certificates(&pem("authority.pem"));
    let app = Witness::new(|req, res| {
        let tls = req.tls().expect("TLS");
        res.text(tls.client_chain().len().to_string())
    });
    let server = Server::new(app.clone()).config(workers(1));
    let server = server.bind_tls(own_addr(), tls.expect("an authority"));
    let running = server.start().expect("a server");
    let addr = running.local_addr().expect("an address");
    // A certificate that nothing needs, again and again, each with 5 bytes of framing (RFC 8446 section 4.4.2).
    let filler = der("other-authority");
    let chain = |bytes: usize| {
        let count = bytes / (filler.len() + 5);
        let mut chain = vec![der("client")];
        chain.extend(std::iter::repeat_n(filler.clone(), count));
        chain
    };
    for (bytes, is_resumed) in [(0, true), (4000, true), (20_000, false), (62_000, false)] {
        let chain = chain(bytes);
        let text = chain.len().to_string();
        let config = Arc::new(client_config_with_chain(chain, "client"));
        let mut client = connect_with(addr, &config, "localhost");
        assert_eq!(client.get("/").text(), text);
        // A ticket with all of them would be longer than clients read.
        let mut client = connect_with(addr, &config, "localhost");
        assert_eq!(client.get("/").text(), text);
        let kind = client.stream.conn.handshake_kind();
        assert_eq!(kind == Some(rustls::HandshakeKind::Resumed), is_resumed);
    }
    for bytes in [68_000, 200_000] {
        let config = Arc::new(client_config_with_chain(chain(bytes), "client"));
        let mut client = connect_with(addr, &config, "localhost");
        let peer = client.stream.sock.local_addr().expect("an address");
        // The server may have closed it before all is sent.
        let _ = client
            .stream
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        // `rustls` has the same limit for one message, and reads its length first.
        let text = app.one_error("handshake", peer);
        assert!(text.contains("HandshakePayloadTooLarge"), "{text}");
    }
    running.stop();
    ended(running);
}

/// RFC 6797 section 7.2: without TLS the field is not sent.
#[test]
fn responses_over_tls_alone_have_hsts() {
    let tls = super::self_signed().hsts(Duration::from_secs(300));
    let server = Server::new(super::App).config(workers(1));
    let server = server.bind(own_addr()).bind_tls(own_addr(), tls);
    let running = server
        .bind_tls(own_addr(), super::self_signed())
        .start()
        .expect("a server");
    let addrs = super::addrs(&running);
    let mut plain = crate::support::Client::connect(addrs[0]);
    let config = Arc::new(client_config());
    let mut secure = connect_with(addrs[1], &config, "localhost");
    let mut other = connect_with(addrs[2], &config, "localhost");
    for path in ["/", "/later", "/stream", "/close"] {
        let field = |answer: crate::support::Answer| {
            answer.get("strict-transport-security").map(str::to_owned)
        };
        assert_eq!(field(plain.get(path)), None, "{path}");
        assert_eq!(field(secure.get(path)).as_deref(), Some("max-age=300"));
        assert_eq!(field(other.get(path)), None, "{path}");
    }
    let mut refused = connect_with(addrs[1], &config, "localhost");
    refused.send("GET / HTTP/1.1\r\n\r\n");
    let answer = refused.answer(crate::support::Asked::Other);
    assert_eq!(
        (answer.status, answer.get("strict-transport-security")),
        (400, Some("max-age=300"))
    );
    // Without TLS, although the address has it.
    let mut insecure = crate::support::Client::connect(addrs[1]);
    let answer = insecure.get("/");
    assert_eq!(
        (answer.status, answer.get("strict-transport-security")),
        (400, None)
    );
    let mut again = connect_with(addrs[1], &config, "localhost");
    let field = again
        .get("/")
        .get("strict-transport-security")
        .map(str::to_owned);
    assert_eq!(field.as_deref(), Some("max-age=300"));
    // A refused connection waits for the end of its client.
    drop((plain, secure, other, refused, insecure, again));
    running.stop();
    ended(running);
}
