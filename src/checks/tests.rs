//! Runs the checks on all seeds and on a fixed sequence of changes to them, with every `cargo test`.

use super::{CHECKS, Changes, seeds};

/// The number of changed inputs for each check. It takes half a second without optimisation.
const CHANGED: usize = 2000;

#[test]
fn heads() {
    run("head");
}

#[test]
fn routes() {
    run("router");
}

#[test]
fn framings() {
    run("framing");
}

#[test]
fn chunked_bodies() {
    run("chunked");
}

#[test]
fn header_compression() {
    run("hpack");
}

#[test]
fn http2_connections() {
    run("http2");
}

#[test]
fn field_sections() {
    run("qpack");
}

#[test]
fn http3_connections() {
    run("http3");
}

#[test]
fn http3_frames() {
    run("http3_frames");
}

#[test]
fn connections() {
    run("connection");
}

#[test]
fn deferred_responses() {
    run("late");
}

#[cfg(feature = "dir")]
#[test]
fn files() {
    run("dir");
}

#[test]
fn responses() {
    run("response");
}

#[cfg(feature = "websocket")]
#[test]
fn frames() {
    run("frame");
}

#[cfg(feature = "websocket")]
#[test]
fn websockets() {
    run("websocket");
}

#[cfg(feature = "deflate")]
#[test]
fn compressed_messages() {
    run("deflate");
}

#[cfg(feature = "multipart")]
#[test]
fn forms() {
    run("multipart");
}

#[test]
fn targets() {
    run("target");
}

fn run(name: &str) {
    let check = CHECKS.iter().find(|(known, _)| *known == name);
    let (_, check) = check.expect("a check of this name");
    let seeds = seeds::of(name);
    assert!(!seeds.is_empty(), "no seeds");
    seeds.iter().for_each(|seed| super::run(*check, seed));
    let mut changes = Changes::new(0);
    for _ in 0..CHANGED {
        super::run(*check, &changes.input(&seeds));
    }
}
