//! Histograms of times, with buckets on a logarithmic scale.

use super::{Counter, nanos};
use std::time::Duration;

/// Number of buckets: below 1 µs, and two for each factor of 2 up to 100.7 s and more.
pub(crate) const BUCKETS: usize = 54;

/// How many of some calls took how long. [`Stats::handler_times`](crate::metrics::Stats::handler_times) and
/// [`Stats::response_times`](crate::metrics::Stats::response_times) return it.
///
/// The buckets end at 1, 2, 3, 4, 6, 8, 12, 16 µs and so on, each at 1.33 or 1.5 times the end of the one before, up
/// to 100.7 s. The last bucket has no end. A quantile is the end of its bucket, so from 2 µs on it is too high by half at
/// most.
///
/// ```
/// use peregrine::metrics::{Histogram, Stats};
/// use std::time::Duration;
///
/// let times: Histogram = Stats::new().response_times();
/// assert_eq!((times.count(), times.quantile(0.99)), (0, None));
/// let (end, count) = times.buckets().next().expect("the first bucket");
/// assert_eq!((end, count), (Some(Duration::from_micros(1)), 0));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; BUCKETS],
    nanos: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram {
            counts: [0; BUCKETS],
            nanos: 0,
        }
    }
}

impl Histogram {
    /// Number of calls.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The sum of their times.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.nanos)
    }

    /// The buckets, the one with the shortest times first: where each ends, which is above all its times, and its
    /// number of calls. The last one has no end.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<Duration>, u64)> + '_ {
        (0..BUCKETS).map(|at| (end(at), self.counts[at]))
    }

    /// The time within which this part of the calls was done: 0.5 is the median. The end of its bucket is
    /// returned, or the beginning of the last one, 100.7 s. `None` without calls.
    ///
    /// `part` is from 0 to 1; other values count as the nearest of the two.
    pub fn quantile(&self, part: f64) -> Option<Duration> {
        let count = self.count();
        let rank = (part.clamp(0.0, 1.0) * count as f64).ceil() as u64;
        let mut below = 0;
        let at = self.counts.iter().position(|in_bucket| {
            below += in_bucket;
            *in_bucket > 0 && below >= rank
        })?;
        end(at).or_else(|| end(at - 1))
    }
}

impl std::ops::Add for Histogram {
    type Output = Histogram;

    fn add(self, other: Histogram) -> Histogram {
        Histogram {
            counts: std::array::from_fn(|at| self.counts[at] + other.counts[at]),
            nanos: self.nanos + other.nanos,
        }
    }
}

impl std::iter::Sum for Histogram {
    fn sum<I: Iterator<Item = Histogram>>(histograms: I) -> Histogram {
        histograms.fold(Histogram::default(), |sum, one| sum + one)
    }
}

/// The bucket of a time.
fn bucket(nanos: u64) -> usize {
    let micros = nanos / 1000;
    match micros {
        0 => 0,
        1 => 1,
        _ => {
            let octave = micros.ilog2() as usize;
            let half = (micros >> (octave - 1)) & 1;
            (2 * octave + half as usize).min(BUCKETS - 1)
        }
    }
}

/// Where a bucket ends.
fn end(bucket: usize) -> Option<Duration> {
    let (octave, half) = (bucket / 2, bucket % 2);
    let micros = match bucket {
        0 => 1,
        1 => 2,
        _ if bucket + 1 == BUCKETS => return None,
        _ if half == 0 => 3 << (octave - 1),
        _ => 2 << octave,
    };
    Some(Duration::from_micros(micros))
}

/// The histogram of one thread. Only that thread adds to it.
#[derive(Debug)]
pub(crate) struct LiveHistogram {
    counts: [Counter; BUCKETS],
    nanos: Counter,
}

impl Default for LiveHistogram {
    fn default() -> LiveHistogram {
        LiveHistogram {
            counts: std::array::from_fn(|_| Counter::default()),
            nanos: Counter::default(),
        }
    }
}

impl LiveHistogram {
    pub(crate) fn add(&self, time: Duration) {
        let nanos = nanos(time);
        self.counts[bucket(nanos)].add(1);
        self.nanos.add(nanos);
    }

    pub(crate) fn snapshot(&self) -> Histogram {
        Histogram {
            counts: std::array::from_fn(|at| self.counts[at].get()),
            nanos: self.nanos.get(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_is_below_the_end_of_its_bucket() {
        let mut ends = Vec::new();
        for at in 0..BUCKETS - 1 {
            let end = nanos(end(at).expect("an end"));
            assert_eq!((bucket(end - 1), bucket(end)), (at, at + 1), "{end} ns");
            ends.push(end / 1000);
        }
        assert_eq!(ends[..9], [1, 2, 3, 4, 6, 8, 12, 16, 24]);
        assert_eq!((bucket(0), bucket(u64::MAX)), (0, BUCKETS - 1));
        assert_eq!(end(BUCKETS - 1), None);
    }

    #[test]
    fn quantiles_are_ends_of_buckets() {
        let live = LiveHistogram::default();
        for micros in [0, 5, 5, 5, 5, 5, 5, 5, 5, 100] {
            live.add(Duration::from_micros(micros));
        }
        let times = live.snapshot();
        assert_eq!(
            (times.count(), times.sum()),
            (10, Duration::from_micros(140))
        );
        for (part, micros) in [
            (-1.0, 1),
            (0.0, 1),
            (0.1, 1),
            (0.11, 6),
            (0.5, 6),
            (0.9, 6),
            (0.91, 128),
            (2.0, 128),
        ] {
            let expected = Duration::from_micros(micros);
            assert_eq!(times.quantile(part), Some(expected), "{part}");
        }
        // A longer call never has a shorter time.
        let longest = [90, 101, 1000].map(|seconds| {
            let live = LiveHistogram::default();
            live.add(Duration::from_secs(seconds));
            live.snapshot().quantile(1.0)
        });
        assert_eq!(longest, [Some(Duration::from_micros(3 << 25)); 3]);
        let twice = times + times;
        assert_eq!(
            (twice.count(), twice.quantile(0.5)),
            (20, times.quantile(0.5))
        );
    }
}
