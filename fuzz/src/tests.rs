//! The checks on all seeds and on a fixed row of changes to them, with every `cargo test`.

#[cfg(feature = "dir")]
use super::dir;
use super::{chunked, connection, framing, head, late, response, seeds, target};

/// Changed inputs per check: what takes half a second without optimisation.
const CHANGED: usize = 2000;

#[test]
fn heads() {
    run("head", head::check);
}

#[test]
fn framings() {
    run("framing", framing::check);
}

#[test]
fn chunked_bodies() {
    run("chunked", chunked::check);
}

#[test]
fn connections() {
    run("connection", connection::check);
}

#[test]
fn late_answers() {
    run("late", late::check);
}

#[cfg(feature = "dir")]
#[test]
fn files() {
    run("dir", dir::check);
}

#[test]
fn responses() {
    run("response", response::check);
}

#[cfg(feature = "websocket")]
#[test]
fn frames() {
    run("frame", super::frame::check);
}

#[cfg(feature = "websocket")]
#[test]
fn websockets() {
    run("websocket", super::websocket::check);
}

#[cfg(feature = "deflate")]
#[test]
fn compressed_messages() {
    run("deflate", super::websocket::check_deflate);
}

#[cfg(feature = "multipart")]
#[test]
fn forms() {
    run("multipart", super::multipart::check);
}

#[test]
fn targets() {
    run("target", target::check);
}

/// Prints the input that a check fails on.
struct OnPanic<'a>(&'a [u8]);

impl Drop for OnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the input: b\"{}\"", self.0.escape_ascii());
        }
    }
}

fn run(name: &str, check: fn(&[u8])) {
    let seeds = seeds::of(name);
    assert!(!seeds.is_empty(), "no seeds");
    let guarded = |input: &[u8]| {
        let _on_panic = OnPanic(input);
        check(input);
    };
    seeds.iter().for_each(|seed| guarded(seed));
    let mut changes = Changes(0x9e37_79b9_7f4a_7c15);
    for _ in 0..CHANGED {
        guarded(&changes.input(&seeds));
    }
}

/// Pieces that mean something.
const WORDS: [&[u8]; 31] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b":",
    b": ",
    b";",
    b"=",
    b"\"",
    b"\\",
    b",",
    b"\0",
    b"\xff",
    b"\x80",
    b"HTTP/1.1",
    b"Host: a\r\n",
    b"Content-Length: 5\r\n",
    b"0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Expect: 100-continue\r\n",
    b"Connection: close\r\n",
    b"%2",
    b"../",
    b"%2e%2E/",
    b"--X-y",
    b"\r\n--X-y\r\n",
    b"Content-Disposition: form-data; name=a\r\n",
    b"filename=\"",
    b"%22",
];

/// Numbers that look random and are the same each time (xorshift64*).
struct Changes(u64);

impl Changes {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit.max(1)
    }

    /// A seed with one to six changes.
    fn input(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut input = seeds[self.below(seeds.len())].clone();
        for _ in 0..=self.below(6) {
            self.change(&mut input, seeds);
        }
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let at = self.below(input.len() + 1);
        let end = (at + self.below(12)).min(input.len());
        match self.below(7) {
            0 => input.truncate(at),
            1 => drop(input.drain(at..end)),
            2 => input
                .splice(at..at, WORDS[self.below(WORDS.len())].to_vec())
                .for_each(drop),
            3 => input
                .splice(at..end, WORDS[self.below(WORDS.len())].to_vec())
                .for_each(drop),
            4 => input.insert(at, self.below(256) as u8),
            5 => input.splice(at..at, input[at..end].to_vec()).for_each(drop),
            _ => {
                let other = &seeds[self.below(seeds.len())];
                let from = self.below(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
        }
        if let Some(byte) = input.get_mut(at) {
            if self.below(3) == 0 {
                *byte ^= 1 << self.below(8);
            }
        }
    }
}
