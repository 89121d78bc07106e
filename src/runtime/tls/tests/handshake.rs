//! Handshakes and records that are split, broken off, wrong or too long.

use super::{Pair, UNLIMITED, client_config, self_signed, text};
use crate::runtime::transport::Transport;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustls::ConnectionTrafficSecrets;
use std::io::{ErrorKind, Write};

#[test]
fn a_handshake_may_be_split_anywhere() {
    let tls = self_signed();
    let mut first_len = usize::MAX;
    let mut at = 0;
    while at < first_len {
        let mut pair = Pair::new(&tls, client_config(), "localhost");
        let first = pair.client_sends();
        first_len = first.len();
        pair.arrive(&first[..at]).expect("half a hello");
        pair.arrive(&first[at..]).expect("a hello");
        pair.client_reads();
        pair.client.writer().write_all(b"a").expect("buffered");
        let second = pair.client_sends();
        let at_second = at.min(second.len());
        pair.arrive(&second[..at_second])
            .expect("half of the finish");
        pair.arrive(&second[at_second..]).expect("the finish");
        assert_eq!(pair.at_server, b"a", "{at}");
        assert_eq!(pair.server.held(), pair.server.unsent(), "{at}");
        at += 1;
    }
}

#[test]
fn a_client_may_leave_in_the_middle_of_its_handshake() {
    let mut pair = Pair::new(&self_signed(), client_config(), "localhost");
    let first = pair.client_sends();
    pair.arrive(&first).expect("a hello");
    pair.wire.lock().expect("no panic").is_eof = true;
    let error = pair.arrive(b"").expect_err("half a handshake");
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    // Nothing can be said before the keys are known.
    let before = pair.wire.lock().expect("no panic").writes;
    pair.server.end_write();
    assert_eq!(pair.wire.lock().expect("no panic").writes, before);
}

/// RFC 8446 section 6.1: the client will send nothing more, so its handshake is never complete.
#[test]
fn close_notify_in_a_handshake_is_the_end() {
    for is_read in [false, true] {
        let mut pair = Pair::new(&self_signed(), client_config(), "localhost");
        let mut sent = pair.client_sends();
        if is_read {
            pair.arrive(&sent).expect("a hello");
            sent.clear();
        }
        pair.client.send_close_notify();
        sent.extend(pair.client_sends());
        let error = pair.arrive(&sent).expect_err("half a handshake");
        assert!(error.to_string().contains("CloseNotify"), "{error}");
    }
}

#[test]
fn what_is_no_tls_gets_an_alert() {
    for bytes in [
        &b"\x80\x2e\x01\x03\x01"[..],
        b"\x17\x03\x03\0\x05hello",
        b"\x16\x03\x01\xff\xff",
        b"\x16\x03\x01\x00\x05hello",
        b"\0\0\0\0\0\0\0\0",
    ] {
        let mut pair = Pair::new(&self_signed(), client_config(), "localhost");
        let error = pair.arrive(bytes).expect_err("not TLS");
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        let wire = pair.wire.lock().expect("no panic");
        // `rustls` has nothing to say to a message that is too long.
        let is_told = !bytes.ends_with(b"hello") || bytes[0] != 22;
        assert_eq!(wire.to_client.first() == Some(&21), is_told, "{error}");
    }
}

/// A hello that never ends, in records of one byte and of 100.
#[test]
fn a_handshake_has_so_many_bytes() {
    let authority = include_bytes!("../../../../tests/certs/authority.pem");
    let with_certificates = self_signed().ask_for_client_certificates(authority);
    let with_certificates = with_certificates.expect("an authority");
    for (tls, most) in [(self_signed(), 16 << 10), (with_certificates, 64 << 10)] {
        for size in [1, 100] {
            let mut pair = Pair::new(&tls, client_config(), "localhost");
            let hello = [&[1, 0, 0xff, 0xf0][..], &[0; 70_000]].concat();
            let record = |part: &[u8]| [&[22, 3, 1, 0, part.len() as u8][..], part].concat();
            let records: Vec<u8> = hello.chunks(size).flat_map(record).collect();
            let mut sent = 0;
            let error = records.chunks(600).find_map(|piece| {
                sent += piece.len();
                pair.arrive(piece).err()
            });
            let error = error.expect("a limit");
            assert_eq!(
                error.to_string(),
                "a handshake message of the client is too long"
            );
            assert!((most..most + (2 << 10)).contains(&sent), "{sent}");
        }
    }
}

/// A message of 64 KiB in records of 1,000 bytes, as a part of which a connection must not keep it.
#[test]
fn a_message_after_the_handshake_has_at_most_a_record() {
    let mut config = client_config();
    config.enable_secret_extraction = true;
    let mut pair = Pair::new(&self_signed(), config, "localhost");
    pair.carry(UNLIMITED);
    let Pair {
        mut server,
        client,
        wire,
        mut buffer,
        ..
    } = pair;
    let secrets = client.dangerous_extract_secrets().expect("allowed");
    let (first, ConnectionTrafficSecrets::Aes256Gcm { key, iv }) = secrets.tx else {
        panic!("another cipher suite");
    };
    let key = UnboundKey::new(&AES_256_GCM, key.as_ref()).expect("a key");
    let key = LessSafeKey::new(key);
    // The message that the client has announced is KeyUpdate (RFC 8446 section 4.6.3).
    let message = [&[24, 0, 0xff, 0xf0][..], &[0; 60_000]].concat();
    let mut sent = 0;
    let error = message
        .chunks(1000)
        .zip(first..)
        .find_map(|(part, number)| {
            // RFC 8446 sections 5.2 and 5.3.
            let mut record = [part, &[22]].concat();
            let len = u16::try_from(record.len() + 16).expect("a short record");
            let [high, low] = len.to_be_bytes();
            let header = [23, 3, 3, high, low];
            let mut nonce: [u8; 12] = iv.as_ref().try_into().expect("12 bytes");
            for (byte, of_number) in nonce[4..].iter_mut().zip(number.to_be_bytes()) {
                *byte ^= of_number;
            }
            let nonce = Nonce::assume_unique_for_key(nonce);
            key.seal_in_place_append_tag(nonce, Aad::from(header), &mut record)
                .expect("encrypted");
            let bytes = [&header[..], &record].concat();
            sent += bytes.len();
            wire.lock().expect("no panic").to_server.extend(bytes);
            let error = server.read(&mut buffer).expect_err("no plaintext");
            (error.kind() != ErrorKind::WouldBlock).then_some(error)
        });
    let error = error.expect("a limit");
    assert_eq!(
        error.to_string(),
        "a handshake message of the client is too long"
    );
    assert!((16 << 10..20 << 10).contains(&sent), "{sent}");
}

/// A record of which a part is missing is not decrypted.
#[test]
fn a_record_that_is_cut_off_is_no_data() {
    for missing in [1, 16, 29, 40] {
        let mut pair = Pair::connected();
        pair.client
            .writer()
            .write_all(&text(100))
            .expect("buffered");
        let mut sent = pair.client_sends();
        pair.client
            .writer()
            .write_all(b"the rest")
            .expect("buffered");
        sent.extend(pair.client_sends());
        sent.truncate(sent.len() - missing);
        pair.arrive(&sent).expect("valid so far");
        pair.wire.lock().expect("no panic").is_eof = true;
        pair.arrive(b"").expect("the end");
        assert!(pair.is_eof);
        let whole = if missing < 40 { text(100) } else { Vec::new() };
        assert_eq!(pair.at_server, whole, "{missing}");
    }
}
