//! Has criterion time the benches of this crate.

use criterion::{Criterion, criterion_group, criterion_main};
use std::time::Duration;

fn all(criterion: &mut Criterion) {
    let mut benches = peregrine_micro::benches();
    for group in benches.chunk_by_mut(|a, b| a.group == b.group) {
        let mut timed = criterion.benchmark_group(group[0].group);
        for bench in group {
            timed.bench_function(bench.name, |bencher| bencher.iter(&mut bench.run));
        }
        timed.finish();
    }
}

criterion_group! {
    name = micro;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = all
}
criterion_main!(micro);
