//! CPU time and size of compressed responses, by coding and level.
//!
//!     cargo bench --features brotli,zstd --bench compression
//!
//! A response is a JSON list of notes. The time is that of the thread, per response, without that of the same
//! response as it is. So it includes what the filter costs, and no socket.

use peregrine::compression::{Compress, CompressConfig};
use peregrine::testing::Connection;
use std::time::Duration;

fn main() {
    println!("| coding | level | 1 KiB: bytes | us | 10 KiB: bytes | us | 100 KiB: bytes | us |");
    println!("|---|---|---|---|---|---|---|---|");
    let with = CompressConfig::default;
    let gzip = [1, 2, 3, 4, 5, 6, 9].map(|level| ("gzip", level, with().gzip_level(level)));
    let brotli = [1, 2, 3, 4, 5, 6, 9].map(|q| ("br", q, with().brotli_quality(q)));
    let zstd = [1, 2, 3, 4, 5, 6, 9].map(|level| ("zstd", level, with().zstd_level(level as i32)));
    for (coding, level, config) in gzip.into_iter().chain(brotli).chain(zstd) {
        print!("| {coding} | {level} |");
        for bytes in [1 << 10, 10 << 10, 100 << 10] {
            let (plain, _) = measure("identity", bytes, with());
            let (time, len) = measure(coding, bytes, config.clone());
            print!(" {len} | {:.1} |", (time - plain).max(0.0));
        }
        println!();
    }
}

/// A JSON list of about this length.
fn json(bytes: usize) -> String {
    let note = |n: u64| {
        let random = n.wrapping_mul(6_364_136_223_846_793_005).rotate_left(23);
        format!(
            "{{\"id\":{n},\"title\":\"Note {random:x}\",\"stars\":{},\"tags\":[\"home\",\"shop\"],\
             \"text\":\"Buy {} litres of milk on the way, and call {:x}\"}}",
            random % 5,
            random % 7,
            random >> 40
        )
    };
    let mut text = String::from("[");
    for n in 0.. {
        text.push_str(&note(n));
        if text.len() >= bytes {
            break;
        }
        text.push(',');
    }
    text + "]"
}

/// Microseconds of a response, and the bytes of its body.
fn measure(coding: &str, bytes: usize, config: CompressConfig) -> (f64, usize) {
    let body = json(bytes);
    let app = Compress::with_config(
        peregrine::from_fn(move |_, res| {
            res.header("Content-Type", "application/json").body(&body)
        }),
        config,
    );
    let mut client = Connection::new(&app);
    let request = format!("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {coding}\r\n\r\n");
    let mut once = |count: usize| {
        let begun = cpu_time();
        let mut received = 0;
        for _ in 0..count {
            client.send(request.as_bytes());
            received = client.take_received().len();
        }
        (cpu_time() - begun, received)
    };
    once(10);
    let count = (20 << 20) / bytes.max(10 << 10);
    let runs = [(); 5].map(|()| once(count));
    let best = runs.iter().map(|run| run.0).min().unwrap_or_default();
    (best.as_secs_f64() * 1e6 / count as f64, runs[0].1)
}

/// CPU time of this thread.
#[cfg(target_os = "linux")]
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[cfg(not(target_os = "linux"))]
fn cpu_time() -> Duration {
    use std::sync::OnceLock;
    use std::time::Instant;
    static BEGUN: OnceLock<Instant> = OnceLock::new();
    BEGUN.get_or_init(Instant::now).elapsed()
}
