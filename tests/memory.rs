//! A streamed response takes no more memory than its limit, however long it is. In a program of its own,
//! whose memory belongs to this test only.
#![cfg(target_os = "linux")]

// Parts of them are for other tests.
#[allow(dead_code)]
#[path = "it/alone.rs"]
mod alone;
#[allow(dead_code, unused_imports)]
#[path = "it/support.rs"]
mod support;

use alone::resident;
use peregrine::body::SendError;
use peregrine::{Done, Request, Response, from_fn};
use sha1::{Digest, Sha1};
use std::io::{Read, Write};
use std::time::Instant;
use support::{Client, start, workers};

const MIB: u64 = 1 << 20;

/// What all of this process may grow by.
const GROWTH: usize = 20 << 20;

const PIECE: usize = 60_000;

/// Bytes that no two places have in common, made as they are read (xorshift64).
struct Noise {
    state: u64,
    left: u64,
}

impl Noise {
    fn new(len: u64) -> Noise {
        Noise {
            state: 0x9e37_79b9_7f4a_7c15,
            left: len,
        }
    }
}

impl Read for Noise {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let len = self.left.min(into.len() as u64) as usize;
        // Whole words, but at the end.
        let len = if len > 8 { len & !7 } else { len };
        for word in into[..len].chunks_mut(8) {
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            word.copy_from_slice(&self.state.to_le_bytes()[..word.len()]);
        }
        self.left -= len as u64;
        Ok(len)
    }
}

/// Pieces of all sizes, large and small ones.
fn push(mut body: peregrine::body::BodySender, len: u64) -> Result<(), SendError> {
    let mut noise = Noise::new(len);
    let sizes = [PIECE, 8, 4000, 16 << 10, 160, 24_000].into_iter().cycle();
    for size in sizes {
        let mut piece = Vec::with_capacity(size);
        let read = (&mut noise).take(size as u64).read_to_end(&mut piece);
        read.expect("noise never fails");
        if piece.is_empty() {
            break;
        }
        body.send(piece)?;
    }
    body.finish()
}

fn handle(req: &Request<'_>, res: Response<'_>) -> Done {
    let len = req.query("len").expect("a length");
    let len = len.parse().expect("a number");
    match req.path() {
        "/pushed" => {
            let (done, body) = res.stream();
            std::thread::spawn(move || push(body, len));
            done
        }
        "/written" => {
            let (done, mut body) = res.stream_exact(len);
            std::thread::spawn(move || {
                std::io::copy(&mut Noise::new(len), &mut body)?;
                body.flush()?;
                Ok::<_, std::io::Error>(body.finish()?)
            });
            done
        }
        _ => res.send_reader(Noise::new(len), None),
    }
}

/// The hash of a body as long as that, read as it comes, and the most memory seen meanwhile.
fn fetch(client: &mut Client, path: &str, len: u64) -> (Vec<u8>, usize) {
    client.send(format!("GET {path}?len={len} HTTP/1.1\r\nHost: a\r\n\r\n"));
    let (_, declared) = client.head();
    let (mut hash, mut at, mut most, mut looked) = (Sha1::new(), 0, 0, 0);
    let mut part = vec![0; 64 << 10];
    loop {
        if declared > 0 {
            let left = (len - at).min(part.len() as u64) as usize;
            part.truncate(left);
            client.body(&mut part);
        } else {
            part = client.chunk();
        }
        if part.is_empty() {
            break;
        }
        hash.update(&part);
        at += part.len() as u64;
        if at - looked > 4 * MIB {
            (most, looked) = (most.max(resident()), at);
        }
    }
    assert_eq!(at, len, "{path}");
    (hash.finalize().to_vec(), most)
}

fn expected(len: u64) -> Vec<u8> {
    let (mut hash, mut noise) = (Sha1::new(), Noise::new(len));
    let mut part = vec![0; 64 << 10];
    loop {
        match noise.read(&mut part).expect("noise never fails") {
            0 => return hash.finalize().to_vec(),
            n => hash.update(&part[..n]),
        }
    }
}

fn stream(len: u64) {
    let expected = expected(len);
    let (_server, addr) = start(from_fn(handle), workers(1));
    let mut client = Client::connect(addr);
    for path in ["/pushed", "/written", "/read"] {
        // Threads, pools and buffers that stay are made once.
        fetch(&mut client, path, 4 * MIB);
        let before = resident();
        let began = Instant::now();
        let (hash, most) = fetch(&mut client, path, len);
        assert_eq!(hash, expected, "{path}: other bytes");
        let growth = most.saturating_sub(before);
        println!(
            "{path}: {} MiB in {:.1} s, {} KiB more memory at most, {} in all",
            len / MIB,
            began.elapsed().as_secs_f64(),
            growth >> 10,
            most >> 10,
        );
        assert!(growth < GROWTH, "{path}: {growth} bytes more memory");
    }
}

#[test]
fn a_long_response_in_little_memory() {
    stream(64 * MIB);
}

/// `cargo test --release --test memory -- --ignored --nocapture`
#[test]
#[ignore = "a minute with optimisation, and many without"]
fn two_gibibytes_in_little_memory() {
    stream(2048 * MIB);
}
