//! The transport with TLS against the client of `rustls`, in memory.

mod handshake;
mod sending;

use crate::runtime::tls::Tls;
use crate::runtime::transport::{Plain, Secure, Transport, Unserved};
use crate::shared::output::Output;
use peregrine_protocol::Seconds;
use peregrine_protocol::h1::response_encoder::ListenerFields;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

/// Takes any certificate.
#[derive(Debug)]
struct Trusting;

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        unreachable!("TLS 1.3 alone is spoken")
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::ED25519,
        ]
    }
}

pub(crate) fn client_config() -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

/// The same for QUIC, with HTTP/3.
#[cfg(feature = "http3")]
pub(crate) fn quic_client_config() -> Arc<quinn_proto::crypto::rustls::QuicClientConfig> {
    let mut config = client_config();
    config.alpn_protocols = vec![b"h3".to_vec()];
    let config = config.try_into();
    Arc::new(config.expect("a cipher suite for the first packets"))
}

/// What lies between server and client.
#[derive(Default)]
struct Wire {
    to_server: Vec<u8>,
    is_eof: bool,
    to_client: Vec<u8>,
    /// How many bytes the server can write now.
    room: usize,
    writes: usize,
    is_shut: bool,
}

/// The end of the server.
struct Pipe(Arc<Mutex<Wire>>);

impl Pipe {
    fn wire(&self) -> MutexGuard<'_, Wire> {
        self.0.lock().expect("no panic")
    }
}

impl Transport for Pipe {
    fn socket(&self) -> Option<&Plain> {
        None
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut wire = self.wire();
        let n = wire.to_server.len().min(buffer.len());
        buffer[..n].copy_from_slice(&wire.to_server[..n]);
        wire.to_server.drain(..n);
        match n {
            0 if !wire.is_eof => Err(ErrorKind::WouldBlock.into()),
            n => Ok(n),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut wire = self.wire();
        let n = bytes.len().min(wire.room);
        wire.room -= n;
        wire.writes += 1;
        wire.to_client.extend_from_slice(&bytes[..n]);
        match n {
            0 => Err(ErrorKind::WouldBlock.into()),
            n => Ok(n),
        }
    }

    fn write_vectored(&mut self, _: &[IoSlice<'_>]) -> io::Result<usize> {
        unreachable!("records are written one after the other")
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.wire().is_shut = true;
        Ok(())
    }

    fn reset(&mut self) {}

    fn local_addr(&self) -> Option<SocketAddr> {
        None
    }
}

/// A server and a client, and what they have received.
struct Pair {
    server: Secure<Pipe>,
    client: ClientConnection,
    wire: Arc<Mutex<Wire>>,
    /// What the protocol of the server reads at once.
    buffer: Vec<u8>,
    at_server: Vec<u8>,
    is_eof: bool,
    at_client: Vec<u8>,
    client_eof: bool,
}

const UNLIMITED: usize = usize::MAX;

impl Pair {
    fn new(tls: &Tls, config: ClientConfig, name: &'static str) -> Pair {
        let wire = Arc::new(Mutex::new(Wire {
            room: UNLIMITED,
            ..Wire::default()
        }));
        let session = tls.session().expect("a session");
        let session = (session, tls.handshake_bytes());
        let name = ServerName::try_from(name).expect("a name");
        let client = ClientConnection::new(Arc::new(config), name);
        Pair {
            server: Secure::new(
                Pipe(wire.clone()),
                session,
                Seconds::NEVER,
                Unserved::Refuse,
                ListenerFields::default(),
            ),
            client: client.expect("a client"),
            wire,
            buffer: vec![0; 16 << 10],
            at_server: Vec::new(),
            is_eof: false,
            at_client: Vec::new(),
            client_eof: false,
        }
    }

    /// A pair whose handshake is complete.
    fn connected() -> Pair {
        let mut pair = Pair::new(&self_signed(), client_config(), "localhost");
        pair.carry(UNLIMITED);
        assert!(!pair.client.is_handshaking() && pair.server.handshake().is_none());
        pair
    }

    /// What the client has to send.
    fn client_sends(&mut self) -> Vec<u8> {
        let mut sent = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut sent).expect("memory");
        }
        sent
    }

    /// These bytes arrive at the server, which reads all that it can.
    fn arrive(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.wire
            .lock()
            .expect("no panic")
            .to_server
            .extend_from_slice(bytes);
        self.server_reads()
    }

    /// As the event loop: while something arrives, or was read and not given.
    fn server_reads(&mut self) -> io::Result<()> {
        loop {
            match self.server.read(&mut self.buffer) {
                Ok(0) => {
                    self.is_eof = true;
                    assert!(!self.server.wants().read, "the end is told once");
                    return Ok(());
                }
                Ok(n) => self.at_server.extend_from_slice(&self.buffer[..n]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    assert!(
                        !self.server.wants().read,
                        "a read brings what was said to be there"
                    );
                    if self.wire.lock().expect("no panic").to_server.is_empty() {
                        return Ok(());
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The client reads what has been sent to it.
    fn client_reads(&mut self) {
        let sent = std::mem::take(&mut self.wire.lock().expect("no panic").to_client);
        let mut sent = &sent[..];
        while !sent.is_empty() {
            self.client.read_tls(&mut sent).expect("memory");
            self.client.process_new_packets().expect("valid records");
            let mut part = [0; 4096];
            loop {
                match self.client.reader().read(&mut part) {
                    Ok(0) => {
                        self.client_eof = true;
                        break;
                    }
                    Ok(n) => self.at_client.extend_from_slice(&part[..n]),
                    Err(_) => break,
                }
            }
        }
    }

    /// Carries bytes to and fro until there are none; those of the client in pieces of `step`.
    fn carry(&mut self, step: usize) {
        loop {
            let sent = self.client_sends();
            for piece in sent.chunks(step) {
                self.arrive(piece).expect("a valid client");
            }
            self.server.flush().expect("room");
            self.client_reads();
            if !self.client.wants_write() {
                return;
            }
        }
    }

    /// The server sends all of `output`, with room for so many bytes at a time. Checks what is told of it.
    fn send(&mut self, output: &mut Output, room: usize) {
        let total = output.len();
        let mut told = 0;
        while !output.is_empty() {
            self.wire.lock().expect("no panic").room = room;
            match self.server.send(output) {
                Ok(written) => {
                    told += written.bytes as u64;
                    output.advance(written.bytes);
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            self.client_reads();
            // 64 KiB, the frames of their records and an alert.
            assert!(self.server.held() <= (64 << 10) + 1024);
            assert!(
                told <= self.at_client.len() as u64 + (16 << 10),
                "no more is told than has left"
            );
        }
        assert_eq!(told, total);
        assert!(
            !self.server.wants().write,
            "nothing is left when the output is empty"
        );
        self.wire.lock().expect("no panic").room = UNLIMITED;
    }
}

pub(crate) fn self_signed() -> Tls {
    Tls::self_signed(&["localhost", "127.0.0.1"]).expect("a certificate")
}

fn text(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + i / 251) as u8).collect()
}

#[test]
fn bytes_may_arrive_in_pieces_of_any_size() {
    for step in [1, 2, 3, 7, 100, 1000, 17_000, UNLIMITED] {
        let mut pair = Pair::new(&self_signed(), client_config(), "localhost");
        pair.client
            .writer()
            .write_all(b"early bird")
            .expect("buffered");
        pair.carry(step);
        let body = text(40_000);
        pair.client.writer().write_all(&body).expect("buffered");
        pair.carry(step);
        assert_eq!(
            pair.at_server,
            [b"early bird", &body[..]].concat(),
            "{step}"
        );
        let mut output = Output::default();
        output.push(b"response");
        pair.send(&mut output, UNLIMITED);
        assert_eq!(pair.at_client, b"response", "{step}");
        assert_eq!(pair.server.held(), 0, "{step}");
    }
}

#[test]
fn records_and_buffers_of_any_size() {
    for record in [32, 100, 1024, 16 << 10] {
        for buffer in [1, 20, 1000, 16 << 10, 64 << 10] {
            let mut config = client_config();
            config.max_fragment_size = Some((record + 5).max(32));
            let mut pair = Pair::new(&self_signed(), config, "localhost");
            pair.buffer = vec![0; buffer];
            pair.carry(UNLIMITED);
            let body = text(70_000);
            pair.client.set_buffer_limit(None);
            pair.client.writer().write_all(&body).expect("buffered");
            pair.carry(UNLIMITED);
            assert!(
                pair.at_server == body,
                "records of {record}, buffers of {buffer}"
            );
            assert_eq!(pair.server.held(), 0);
        }
    }
}

#[test]
fn records_of_one_byte() {
    let mut pair = Pair::connected();
    let mut sent = Vec::new();
    for byte in 0..=255 {
        pair.client.writer().write_all(&[byte]).expect("buffered");
        sent.extend(pair.client_sends());
    }
    pair.arrive(&sent).expect("valid records");
    assert_eq!(pair.at_server, (0..=255).collect::<Vec<u8>>());
}

#[test]
fn keys_are_updated_by_the_client() {
    let mut pair = Pair::connected();
    for round in 0..5_u8 {
        pair.client.refresh_traffic_keys().expect("a connection");
        pair.client
            .writer()
            .write_all(&[round; 3])
            .expect("buffered");
        pair.carry(1 + usize::from(round));
        let mut output = Output::default();
        output.push(&[b'a' + round; 2]);
        pair.send(&mut output, 11);
    }
    assert_eq!(
        pair.at_server,
        b"\0\0\0\x01\x01\x01\x02\x02\x02\x03\x03\x03\x04\x04\x04"
    );
    assert_eq!(pair.at_client, b"aabbccddee");
}

/// Without data between them; `rustls` allows 32.
#[test]
fn a_flood_of_key_updates_ends_the_connection() {
    let mut pair = Pair::connected();
    let mut flood = Vec::new();
    for _ in 0..40 {
        pair.client.refresh_traffic_keys().expect("a connection");
        flood.extend(pair.client_sends());
    }
    let error = pair.arrive(&flood).expect_err("too many");
    assert_eq!(error.kind(), ErrorKind::InvalidData);
}

#[test]
fn the_end_of_the_client_is_told_once_and_the_server_goes_on() {
    for step in [1, UNLIMITED] {
        let mut pair = Pair::connected();
        pair.client
            .writer()
            .write_all(b"the last")
            .expect("buffered");
        pair.client.send_close_notify();
        pair.carry(step);
        assert_eq!((&pair.at_server[..], pair.is_eof), (&b"the last"[..], true));
        assert!(!pair.client_eof);
        let mut output = Output::default();
        output.push(b"a late response");
        pair.server.near_end();
        pair.send(&mut output, UNLIMITED);
        assert_eq!(
            (&pair.at_client[..], pair.client_eof),
            (&b"a late response"[..], true)
        );
    }
}

/// RFC 9112 section 9.8: what counts is whether the message is complete.
#[test]
fn an_end_without_close_notify_is_an_end() {
    let mut pair = Pair::connected();
    pair.client
        .writer()
        .write_all(b"half a requ")
        .expect("buffered");
    pair.carry(UNLIMITED);
    pair.wire.lock().expect("no panic").is_eof = true;
    pair.arrive(b"").expect("the end");
    assert!(pair.is_eof);
    assert_eq!(pair.at_server, b"half a requ");
}

#[test]
fn responses_leave_between_the_parts_of_a_record() {
    let mut pair = Pair::connected();
    pair.client
        .writer()
        .write_all(b"request")
        .expect("buffered");
    let sent = pair.client_sends();
    for (i, byte) in sent.iter().enumerate() {
        pair.arrive(&[*byte]).expect("a part of a record");
        let mut output = Output::default();
        output.push(&[b'a' + i as u8 % 26]);
        pair.send(&mut output, UNLIMITED);
    }
    assert_eq!(pair.at_server, b"request");
    assert_eq!(pair.at_client.len(), sent.len());
}

#[test]
fn a_record_that_was_changed_ends_the_connection() {
    let mut pair = Pair::connected();
    pair.client
        .writer()
        .write_all(b"request")
        .expect("buffered");
    let mut sent = pair.client_sends();
    *sent.last_mut().expect("a record") ^= 1;
    let error = pair.arrive(&sent).expect_err("a wrong tag");
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert_eq!(pair.at_server, b"");
}

/// What came before it in the same read does not hold the alert back.
#[test]
fn an_alert_is_sent_whatever_came_with_its_cause() {
    let mut pair = Pair::connected();
    pair.client.writer().write_all(b"one").expect("buffered");
    let mut sent = pair.client_sends();
    pair.client.writer().write_all(b"two").expect("buffered");
    sent.extend(pair.client_sends());
    *sent.last_mut().expect("a record") ^= 1;
    pair.arrive(&sent).expect_err("a wrong tag");
    let received = std::mem::take(&mut pair.wire.lock().expect("no panic").to_client);
    pair.client.read_tls(&mut &received[..]).expect("memory");
    let error = pair.client.process_new_packets().expect_err("an alert");
    assert_eq!(
        error,
        rustls::Error::AlertReceived(rustls::AlertDescription::BadRecordMac)
    );
}
