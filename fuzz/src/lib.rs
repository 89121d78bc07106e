//! The checks of the library and of the crates of brokers, for cargo-fuzz and for `changed`.

pub use peregrine::checks::{Changes, Check, run, seeds};

/// The checks of the crates of brokers.
const BROKERS: [(&str, Check); 2] = [
    ("nats", peregrine_nats::check::check),
    ("resp", peregrine_redis::check::check),
];

/// All checks, by name.
pub fn checks() -> impl Iterator<Item = (&'static str, Check)> {
    peregrine::checks::CHECKS.iter().copied().chain(BROKERS)
}

/// Runs the check of this name.
///
/// # Panics
///
/// If there is none, or what it checks does not hold.
pub fn check(name: &str, input: &[u8]) {
    let check = checks().find(|(known, _)| *known == name);
    let (_, check) = check.expect("a check of this name");
    check(input);
}
