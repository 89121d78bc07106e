//! Properties of the tree of patterns for tests and fuzzing.

use super::pattern::Pattern;
use super::tree::{Params, Piece, Tree};
use crate::checks::Choices;
use std::cmp::Reverse;

/// The segments of the patterns that are tried.
const SEGMENTS: [&str; 18] = [
    "a",
    "b",
    "ab",
    "abb",
    "",
    "{p}",
    "a{p}",
    "{p}b",
    "a{p}b",
    "{p}.b",
    // Around a word of 8 bytes and two of them, with differences in the middle.
    "a.bbbbb",
    "a.babbbb",
    "aaaaaaaa",
    "aaaaaaab",
    "aaaaaaaabaaaaaaaa",
    "aaaaaaaaabaaaaaaa",
    "aaaaaaaa{p}bbbbbbbb",
    "{p}.bbbbbbbbbbbbbbbb",
];

/// The tree of a router, without handlers, for benches.
#[derive(Debug)]
pub struct Routes(Tree);

impl Routes {
    /// The tree of valid patterns.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Routes {
        let mut tree = Tree::new();
        for pattern in patterns {
            tree.insert(&Pattern::parse(pattern).expect("a valid pattern").pieces);
        }
        Routes(tree)
    }

    /// The number of the pattern that matches, and of its parameters.
    pub fn find(&self, path: &str) -> Option<(u32, usize)> {
        let (path, mut params) = (path.as_bytes(), Params::new(0));
        if let Some(leaf) = self.0.direct(path, &mut params) {
            return Some((leaf, params.count));
        }
        let mut found = None;
        let visit = &mut |leaf: u32, _: &Params| {
            found = Some(leaf);
            true
        };
        self.0.search(path, &mut params, visit);
        found.map(|leaf| (leaf, params.count))
    }
}

/// The tree finds the patterns that match, in the order of their precedence, with the same parameters as a matcher that
/// tries every pattern.
pub(crate) fn check(bytes: &[u8]) {
    let mut choices = Choices(bytes);
    let (mut tree, mut patterns) = (Tree::new(), Vec::<Vec<Piece>>::new());
    for _ in 0..choices.below(16) {
        let pieces = Pattern::parse(&pattern(&mut choices))
            .expect("a valid pattern")
            .pieces;
        let (leaf, is_new) = tree.insert(&pieces);
        assert_eq!(is_new, !patterns.contains(&pieces), "{pieces:?}");
        if is_new {
            patterns.push(pieces.clone());
        }
        assert_eq!(patterns[leaf as usize], pieces);
    }
    while !choices.is_empty() {
        compare(&tree, &patterns, &path(&mut choices));
    }
}

fn pattern(choices: &mut Choices<'_>) -> String {
    let mut text = String::new();
    for at in 0..1 + choices.below(5) {
        let segment = SEGMENTS[choices.below(SEGMENTS.len())];
        text.push('/');
        text.push_str(&segment.replace('p', &format!("p{at}")));
    }
    if choices.byte() % 4 == 0 {
        text.push_str("/{*rest}");
    }
    text
}

fn path(choices: &mut Choices<'_>) -> Vec<u8> {
    let letter = |b: &u8| b"ab./ab//"[usize::from(b % 8)];
    let mut path = Vec::new();
    for _ in 0..choices.byte() % 4 {
        path.push(b'/');
        let segment = SEGMENTS[choices.below(SEGMENTS.len())];
        let (before, after) = segment.split_once("{p}").unwrap_or((segment, ""));
        let value = match after.len() < segment.len() && segment.contains('{') {
            true => "ab.aaaaaaaaaaaaaaa".split_at(choices.below(19)).0,
            false => "",
        };
        path.extend([before, value, after].concat().into_bytes());
    }
    if path.is_empty() || choices.byte() % 2 == 0 {
        path.push(b'/');
        path.extend(choices.text(12).iter().map(letter));
    }
    if choices.byte() % 4 == 0 {
        // One byte is another one.
        let at = 1 + choices.below(path.len());
        if let Some(byte) = path.get_mut(at) {
            *byte = letter(&choices.byte());
        }
    }
    path
}

fn compare(tree: &Tree, patterns: &[Vec<Piece>], path: &[u8]) {
    let mut found = Vec::new();
    let visit = &mut |leaf: u32, params: &Params| {
        let spans = params.route.params[..params.count].iter();
        found.push((leaf, spans.map(|span| span.of(path)).collect::<Vec<_>>()));
        false
    };
    assert!(!tree.search(path, &mut Params::new(0), visit));
    let numbered = (0..).zip(patterns);
    let matching = numbered.filter_map(|(leaf, pieces)| {
        let (rank, params) = matches(pieces, path)?;
        Some((rank, leaf, params))
    });
    let mut expected: Vec<_> = matching.collect();
    expected.sort();
    let expected: Vec<_> = expected
        .into_iter()
        .map(|(_, leaf, params)| (leaf, params))
        .collect();
    assert_eq!(found, expected, "{} {patterns:?}", path.escape_ascii());
    let mut params = Params::new(0);
    if let Some(leaf) = tree.direct(path, &mut params) {
        let spans = params.route.params[..params.count].iter();
        let direct = (leaf, spans.map(|span| span.of(path)).collect());
        assert_eq!(Some(&direct), expected.first(), "{}", path.escape_ascii());
    }
}

/// The precedence of a segment; a smaller one is used first: is it a tail, the length of its text before the parameter,
/// and after it.
type Rank = Vec<(bool, Reverse<usize>, Reverse<usize>)>;

/// A matcher that knows segments only. Returns the precedence, and the parameters.
fn matches<'p>(pieces: &[Piece], path: &'p [u8]) -> Option<(Rank, Vec<&'p [u8]>)> {
    let (mut rank, mut params) = (Rank::new(), Vec::new());
    let mut segments: Vec<&[u8]> = path[1..].split(|&b| b == b'/').collect();
    segments.reverse();
    for (before, param) in by_segment(pieces) {
        let segment = segments.pop()?;
        match param {
            None if segment == before => rank.push((false, Reverse(segment.len()), Reverse(0))),
            None => return None,
            Some(Piece::Param(suffix)) => {
                let value = segment.strip_prefix(&*before)?.strip_suffix(&**suffix)?;
                if value.is_empty() {
                    return None;
                }
                rank.push((false, Reverse(before.len()), Reverse(suffix.len())));
                params.push(value);
            }
            Some(_) => {
                segments.push(segment);
                segments.reverse();
                let len = segments.join(&b'/').len();
                let rest = &path[path.len() - len..];
                rank.push((true, Reverse(0), Reverse(0)));
                params.push(rest);
                return (len > 0).then_some((rank, params));
            }
        }
    }
    segments.is_empty().then_some((rank, params))
}

/// The text of each segment before its parameter, and the parameter.
fn by_segment(pieces: &[Piece]) -> Vec<(Vec<u8>, Option<&Piece>)> {
    let mut segments = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Literal(bytes) => {
                let texts = bytes[1..].split(|&b| b == b'/');
                segments.extend(texts.map(|text| (text.to_vec(), None)));
            }
            param => segments.last_mut().expect("a slash is first").1 = Some(param),
        }
    }
    segments
}

#[cfg(test)]
mod tests {
    use crate::http::request::Request;
    use crate::http::response::{Done, Response};
    use crate::router::{PatternFault, Route, RouteError, Router};
    use crate::testing::Connection;

    #[test]
    fn patterns_that_are_not_valid_are_refused() {
        for (pattern, expected) in [
            ("", PatternFault::NoSlash),
            ("a", PatternFault::NoSlash),
            ("/ä", PatternFault::Character),
            ("/a b", PatternFault::Character),
            ("/a?b", PatternFault::Character),
            ("/{a", PatternFault::Braces),
            ("/a}", PatternFault::Braces),
            ("/{a}{b}", PatternFault::Braces),
            ("/{{a}}", PatternFault::Braces),
            ("/{}", PatternFault::Name),
            ("/{*}", PatternFault::Name),
            ("/{a}/{a}", PatternFault::Name),
            ("/{*a}/b", PatternFault::AfterTail),
            ("/{*a}/", PatternFault::AfterTail),
            ("/a{*b}", PatternFault::TailWithText),
            ("/{*a}.png", PatternFault::TailWithText),
            (
                "/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}",
                PatternFault::TooManyParams,
            ),
        ] {
            match Router::new().try_route(Route::get(pattern, ok)) {
                Err(RouteError::Pattern { fault, .. }) => assert_eq!(fault, expected, "{pattern}"),
                other => panic!("{pattern}: {other:?}"),
            }
        }
        let long = format!("/{}", "a".repeat(4096));
        assert!(Router::new().try_route(Route::get(&long, ok)).is_err());
    }

    fn ok(_: &Request<'_>, res: Response<'_>) -> Done {
        res.text("ok")
    }

    #[test]
    fn ten_thousand_routes_are_found_and_nothing_else() {
        let path = |n: usize| format!("/group{}/item{n}", n % 97);
        let routes = (0..10_000).map(path);
        let app = routes.fold(Router::new(), |app, path| {
            app.get(&path, |req, res| res.text(req.route().unwrap_or("")))
                .get(&format!("{path}/{{id}}.json"), |req, res| {
                    res.text(req.param_str("id").unwrap_or_default())
                })
        });
        assert_eq!(app.routes().as_slice().len(), 20_000);
        let mut client = Connection::new(&app);
        for n in (0..10_000).step_by(7) {
            for (target, expected) in [
                (path(n), path(n)),
                (format!("{}/{n}.json", path(n)), n.to_string()),
                (format!("{}/.json", path(n)), "Not Found\n".into()),
                (format!("{}x", path(n)), "Not Found\n".into()),
            ] {
                client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
                let received = String::from_utf8(client.take_received()).expect("text");
                let expected = format!("\r\n\r\n{expected}");
                assert!(received.ends_with(&expected), "{target}: {received}");
            }
        }
    }
}
