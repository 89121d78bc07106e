//! Properties of the reader of replies, for tests and fuzzing: not part of the API.

use crate::resp::{Parser, RespError, Value};
use crate::{handshake, log};

/// Bytes of a value.
const MOST: usize = 200;

/// All values of some bytes that come in pieces, and the error at which they end.
pub(crate) fn parse(
    bytes: &[u8],
    mut piece: impl FnMut() -> usize,
) -> (Vec<Value>, Option<RespError>) {
    let (mut parser, mut values, mut rest) = (Parser::new(MOST), Vec::new(), bytes);
    loop {
        loop {
            match parser.next() {
                Ok(Some(value)) => values.push(value),
                Ok(None) => break,
                Err(error) => return (values, Some(error)),
            }
        }
        assert!(parser.kept() <= MOST + bytes.len());
        if rest.is_empty() {
            return (values, None);
        }
        let (first, behind) = rest.split_at(piece().min(rest.len()));
        parser.push(first);
        rest = behind;
    }
}

/// What is read does not depend on the pieces in which it comes, and what is made of it survives everything.
pub fn check(input: &[u8]) {
    let whole = parse(input, || usize::MAX);
    // A value that is too large may be known as such earlier or later.
    if whole.1 != Some(RespError::TooLarge) {
        for pieces in [1, 2, 3, 7] {
            assert_eq!(parse(input, || pieces), whole);
        }
    }
    for value in &whole.0 {
        log::check(value);
        let nodes = handshake::nodes(value);
        assert!(nodes.iter().all(|node| node.contains(':')));
    }
}
