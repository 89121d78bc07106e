//! Runs every check, or those that are named, on all seeds and on so many changes to them, and prints how
//! many inputs that were: `changed 50000 [CHECK...]`. The same inputs each time, so a build does not depend
//! on chance; and no fuzzer, so it needs nothing but a stable compiler.

use peregrine_fuzz::{Changes, checks, run, seeds};
use std::env;
use std::time::Instant;

fn main() {
    let mut args = env::args().skip(1);
    let count = args.next().and_then(|n| n.parse().ok());
    let count: usize = count.expect("a number of changed inputs");
    let named: Vec<String> = args.collect();
    for (name, check) in checks() {
        if !named.is_empty() && !named.iter().any(|one| *one == name) {
            continue;
        }
        let begin = Instant::now();
        let seeds = seeds::of(name);
        seeds.iter().for_each(|seed| run(check, seed));
        // Another row than that of `cargo test`.
        let mut changes = Changes::new(1);
        for _ in 0..count {
            run(check, &changes.input(&seeds));
        }
        let runs = seeds.len() + count;
        let seconds = begin.elapsed().as_secs_f64();
        println!(
            "ok inputs to {name:<11} {runs:>8} executions, {:>4} seeds {seconds:>6.1} s",
            seeds.len()
        );
    }
}
