//! `RouteError`: why a route cannot be added.

use std::panic::Location;

/// Why a route cannot be added to a [`Router`](crate::Router).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RouteError {
    /// A route with the same method and the same pattern, apart from the names of parameters, is there already.
    Conflict {
        /// The method; `*` for all.
        method: String,
        /// The pattern, and where it was added.
        pattern: String,
        /// Where this route was made.
        place: &'static Location<'static>,
        /// The pattern of the other route.
        other: String,
        /// Where the other route was made.
        other_place: &'static Location<'static>,
    },
    /// The pattern is not valid.
    Pattern {
        /// The pattern.
        pattern: String,
        /// Why it is not valid.
        fault: PatternFault,
        /// Where this route was made.
        place: &'static Location<'static>,
    },
}

/// Why a pattern is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PatternFault {
    /// It does not begin with a slash.
    NoSlash,
    /// It is longer than 4,096 bytes.
    TooLong,
    /// It has a character that a path cannot have. Write it percent-encoded.
    Character,
    /// Braces do not match, or a segment has more than one parameter.
    Braces,
    /// A parameter has no name, or two have the same one.
    Name,
    /// `{*name}` is not the last segment.
    AfterTail,
    /// The segment of `{*name}` has other text.
    TailWithText,
    /// It has more than 8 parameters.
    TooManyParams,
}

impl std::fmt::Display for PatternFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            PatternFault::NoSlash => "it does not begin with a slash",
            PatternFault::TooLong => "it is longer than 4096 bytes",
            PatternFault::Character => "it has a character that must be percent-encoded",
            PatternFault::Braces => "its braces do not match, or a segment has two parameters",
            PatternFault::Name => "a parameter has no name, or the name of another one",
            PatternFault::AfterTail => "a segment follows the tail",
            PatternFault::TailWithText => "the segment of the tail has other text",
            PatternFault::TooManyParams => "it has more than 8 parameters",
        })
    }
}

impl std::fmt::Display for RouteError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RouteError::Conflict {
                method,
                pattern,
                place,
                other,
                other_place,
            } => write!(
                f,
                "the route `{method} {pattern}` ({place}) conflicts with `{method} {other}` ({other_place})"
            ),
            RouteError::Pattern {
                pattern,
                fault,
                place,
            } => write!(f, "the pattern `{pattern}` ({place}) is not valid: {fault}"),
        }
    }
}

impl std::error::Error for RouteError {}
