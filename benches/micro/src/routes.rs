//! Routes by path: 130 patterns of an API, and a path for each of them.

use crate::Benches;
use peregrine::internals::Routes;
use std::hint::black_box;

/// The paths of the API of GitHub, one pattern in a line.
const PATTERNS: &str = include_str!("routes.txt");

/// A path that the pattern matches: a parameter has its own name as the value.
fn path(pattern: &str) -> String {
    pattern.replace(['{', '}', '*'], "")
}

pub(crate) fn add(benches: &mut Benches) {
    let paths: Vec<String> = PATTERNS.lines().map(path).collect();
    let group = "130 routes, one request for each";
    let (routes, own) = (Routes::new(PATTERNS.lines()), paths.clone());
    benches.add(group, "peregrine", move || {
        for path in black_box(&own) {
            assert!(black_box(routes.find(path)).is_some());
        }
    });
    let mut router = matchit::Router::new();
    for (number, pattern) in PATTERNS.lines().enumerate() {
        router.insert(pattern, number).expect("a valid pattern");
    }
    benches.add(group, "matchit", move || {
        for path in black_box(&paths) {
            assert!(black_box(router.at(path)).is_ok());
        }
    });
}
