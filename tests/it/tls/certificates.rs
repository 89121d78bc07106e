//! Certificates: by name, from files that change, of clients.

use super::client::{client_config, connect_with};
use super::start_tls;
use crate::scratch::Scratch;
use crate::support::ended;
use peregrine::Tls;
use peregrine::tls::TlsError;
use std::sync::Arc;

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
