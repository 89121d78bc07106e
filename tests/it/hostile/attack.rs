//! One scenario against one server, and what came of it.

use super::crowd::Crowd;
use super::polite::{PAUSE, Phase, Place, Polite, Waits};
use super::scenarios::Scenario;
use super::script::End;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How large and how long.
pub(crate) struct Scale {
    pub(crate) count: usize,
    /// Answers to the well-behaved before the load, and after it.
    pub(crate) answers: usize,
    /// For how long all are idle before a burst.
    pub(crate) idle: Duration,
    /// Whether to wait for the end of the clients of a burst.
    pub(crate) to_the_end: bool,
    /// Seconds after which no limit has left a client that takes one byte in each. What is there still is
    /// refused, and sees that when it has read what came before: from then on it takes 4 KiB in each second,
    /// which is far from the end of a large response, and more than the limit for slow readers asks for.
    pub(crate) late: u64,
    /// Of clients that come at any time under load, 95 in 100 must have their response within this.
    pub(crate) soon: Duration,
    /// For anything to happen.
    pub(crate) patience: Duration,
}

pub(crate) struct Outcome {
    pub(crate) waits: Option<Waits>,
    /// How long the load lasted.
    pub(crate) took: Duration,
    /// When the first and the last connection was aborted, counted from its connect.
    pub(crate) cut: Option<(Duration, Duration)>,
    /// How many ended how.
    pub(crate) ends: BTreeMap<String, usize>,
    /// What must not be.
    pub(crate) faults: Vec<String>,
}

/// Calls `at_rest` just before the load begins, with the well-behaved clients connected, and `over`
/// when all others are gone.
pub(crate) fn attack(
    scenario: &Scenario,
    place: Place,
    scale: &Scale,
    at_rest: impl FnOnce(),
    over: impl FnOnce() -> Result<(), String>,
) -> Outcome {
    let mut faults = Vec::new();
    let polite = Polite::start(place, scenario.polite);
    polite.wait(Phase::Before, scale.answers / 10, scale.patience);
    polite.forget(Phase::Before);
    polite.wait(Phase::Before, scale.answers, scale.patience);
    at_rest();
    polite.enter(Phase::During);
    let from = Instant::now();
    let scripts = (0..scale.count).map(scenario.script);
    let mut crowd = Crowd::new(place, scripts)
        .at_most(scenario.at_once)
        .attacks(scenario.attacks)
        .all_from(scenario.from)
        .late_after(scale.late);
    if let Some(burst) = scenario.burst {
        if !crowd.run_until(scale.patience, Crowd::all_connected) {
            faults.push("not all could connect".to_owned());
        }
        let until = Instant::now() + scale.idle;
        crowd.run_until(scale.patience, |_| Instant::now() >= until);
        crowd.send_all(&burst.as_bytes().into());
        let all = |crowd: &Crowd| crowd.answered(1) == scale.count;
        if !crowd.run_until(scale.patience, all) {
            faults.push(format!("{} of the burst answered", crowd.answered(1)));
        }
    }
    let to_the_end = scenario.burst.is_none() || scale.to_the_end;
    if to_the_end && !crowd.run_until(scale.patience, Crowd::all_gone) {
        faults.push(format!("{} never cut", scale.count - crowd.gone()));
    }
    let took = from.elapsed();
    polite.enter(Phase::After);
    polite.wait(Phase::After, scale.answers, scale.patience);
    let (cut, ends) = match to_the_end {
        true => judge(&crowd, &mut faults),
        false => (None, BTreeMap::new()),
    };
    drop(crowd);
    faults.extend(over().err());
    let waits = polite.end();
    if waits.is_none() {
        faults.push("a well-behaved client has not got its answer".to_owned());
    }
    faults.extend(
        waits
            .iter()
            .filter_map(|[_, during, _]| late(during, scale.soon)),
    );
    Outcome {
        waits,
        took,
        cut,
        ends,
        faults,
    }
}

/// One question follows the other: while one waits for longer than that, all that would have come then
/// are late.
fn late(waits: &[Duration], soon: Duration) -> Option<String> {
    let all: Duration = waits.iter().map(|&wait| wait + PAUSE).sum();
    let late: Duration = waits.iter().map(|wait| wait.saturating_sub(soon)).sum();
    (late * 20 > all).then(|| format!("of {all:?} one would have come too late in {late:?}"))
}

/// Whether each has ended as it had to.
pub(crate) fn judge(
    crowd: &Crowd,
    faults: &mut Vec<String>,
) -> (Option<(Duration, Duration)>, BTreeMap<String, usize>) {
    let (mut ends, mut wrong) = (BTreeMap::new(), BTreeMap::new());
    let (mut first, mut last) = (Duration::MAX, Duration::ZERO);
    for (expected, end) in crowd.ends() {
        let Some((end, after)) = end else { continue };
        *ends.entry(end.to_string()).or_default() += 1;
        if !end.is(expected) {
            *wrong
                .entry(format!("{end:?} instead of {expected:?}"))
                .or_insert(0) += 1;
        }
        if end != End::Left {
            (first, last) = (first.min(after), last.max(after));
        }
    }
    faults.extend(wrong.iter().map(|(what, count)| format!("{count}: {what}")));
    ((last > Duration::ZERO).then_some((first, last)), ends)
}
