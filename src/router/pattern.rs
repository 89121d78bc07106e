//! Patterns of routes: their text, their pieces, and the names of their parameters.

use super::error::PatternFault;
use super::tree::{MAX_PARAMS, Piece};
use crate::http::request::route::RoutePattern;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// The longest pattern, in bytes.
const MAX_PATTERN: usize = 4096;

/// A pattern, read from its text.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    pub(super) pieces: Vec<Piece>,
    pub(super) known: &'static RoutePattern,
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Result<Pattern, PatternFault> {
        if text.len() > MAX_PATTERN {
            return Err(PatternFault::TooLong);
        }
        if !text.starts_with('/') {
            return Err(PatternFault::NoSlash);
        }
        if text
            .bytes()
            .any(|b| !b.is_ascii_graphic() || matches!(b, b'?' | b'#'))
        {
            return Err(PatternFault::Character);
        }
        let (mut pieces, mut names) = (Vec::new(), Vec::new());
        let mut literal = Vec::new();
        for segment in text[1..].split('/') {
            literal.push(b'/');
            if pieces.last() == Some(&Piece::Tail) {
                return Err(PatternFault::AfterTail);
            }
            let Some((before, name, after)) = braces(segment)? else {
                literal.extend_from_slice(segment.as_bytes());
                continue;
            };
            literal.extend_from_slice(before.as_bytes());
            pieces.push(Piece::Literal(std::mem::take(&mut literal)));
            let (name, piece) = match name.strip_prefix('*') {
                Some(_) if !before.is_empty() || !after.is_empty() => {
                    return Err(PatternFault::TailWithText);
                }
                Some(name) => (name, Piece::Tail),
                None => (name, Piece::Param(after.into())),
            };
            if name.is_empty() || names.iter().any(|other| other == name) {
                return Err(PatternFault::Name);
            }
            names.push(name.to_owned());
            pieces.push(piece);
        }
        if names.len() > MAX_PARAMS {
            return Err(PatternFault::TooManyParams);
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        let known = known(text, names);
        Ok(Pattern { pieces, known })
    }

    pub(super) fn text(&self) -> &'static str {
        self.known.text
    }
}

/// What is before, in and after the braces of a segment; `None` without braces.
fn braces(segment: &str) -> Result<Option<(&str, &str, &str)>, PatternFault> {
    let Some((before, rest)) = segment.split_once('{') else {
        return match segment.contains('}') {
            true => Err(PatternFault::Braces),
            false => Ok(None),
        };
    };
    let (name, after) = rest.split_once('}').ok_or(PatternFault::Braces)?;
    let others = [before, name, after];
    match others.iter().any(|text| text.contains(['{', '}'])) {
        true => Err(PatternFault::Braces),
        false => Ok(Some((before, name, after))),
    }
}

/// All patterns of the program by their text. Requests refer to them, and copies of requests may outlive a router.
/// Each text is kept once, so the memory is bounded by the number of different patterns.
static KNOWN: Mutex<BTreeMap<String, &'static RoutePattern>> = Mutex::new(BTreeMap::new());

fn known(text: &str, names: Vec<String>) -> &'static RoutePattern {
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(pattern) = known.get(text) {
        return pattern;
    }
    let text: &'static str = String::leak(text.to_owned());
    let pattern = &*Box::leak(Box::new(RoutePattern::new(text, names)));
    known.insert(text.to_owned(), pattern);
    pattern
}

/// The pattern of a route in a router that is nested at `prefix`. The route `/` is the prefix itself.
pub(super) fn join(prefix: &str, pattern: &str) -> String {
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    match pattern {
        "/" if !prefix.is_empty() => prefix.to_owned(),
        _ => format!("{prefix}{pattern}"),
    }
}
