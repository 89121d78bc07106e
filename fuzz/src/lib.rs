//! The checks of the library, for cargo-fuzz and for `changed`.

pub use peregrine::checks::{CHECKS, Changes, Check, run, seeds};

/// Runs the check of this name.
///
/// # Panics
///
/// If there is none, or what it checks does not hold.
pub fn check(name: &str, input: &[u8]) {
    let check = CHECKS.iter().find(|(known, _)| *known == name);
    let (_, check) = check.expect("a check of this name");
    check(input);
}
