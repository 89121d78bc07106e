//! The tree of patterns: which of them match a path, the most specific one first.
//!
//! It is a radix tree over the bytes of the path. A parameter takes the rest of its segment, and a tail the rest of
//! the path. Patterns that differ only in the names of their parameters have one leaf.
//!
//! All patterns begin with a slash, so the root is behind it.

use crate::http::request::route::RouteMatch;
use peregrine_protocol::Span;

pub(super) use crate::http::request::route::MAX_PARAMS;

/// A part of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// These bytes, slashes included.
    Literal(Vec<u8>),
    /// One byte or more of a segment, followed by this text at the end of the segment.
    Param(Vec<u8>),
    /// One byte or more: the rest of the path.
    Tail,
}

#[derive(Debug, Default)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    /// The leaf of `/`.
    root: Option<u32>,
    /// The number of leaves.
    leaves: usize,
}

#[derive(Debug, Default)]
struct Node {
    prefix: Prefix,
    /// The children with a prefix, by their first bytes. 0 is no child: it is the root.
    children: Vec<u32>,
    /// The byte that has the first place among them.
    base: u8,
    /// Longer suffixes first.
    params: Vec<Param>,
    tail: Option<u32>,
    leaf: Option<u32>,
}

/// The bytes of the path that lead to a node from its parent.
#[derive(Debug, Default)]
struct Prefix {
    bytes: Box<[u8]>,
    /// The first 8 of them, and the bits of them that there are.
    word: u64,
    mask: u64,
    /// The last 8 of them, if there are more.
    last: u64,
}

#[derive(Debug)]
struct Param {
    suffix: Box<[u8]>,
    node: u32,
}

/// The parameters of a match, and how many there are. The match is made in place, without a copy of the parameters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Params {
    pub(super) route: RouteMatch,
    pub(super) count: usize,
    /// Where the path begins in the head.
    path: usize,
}

impl Params {
    /// None yet, for a path that begins at this position of the head.
    #[inline]
    pub(super) fn new(path: usize) -> Params {
        Params {
            route: RouteMatch::unknown(),
            count: 0,
            path,
        }
    }

    /// Adds one with these positions in the path.
    #[inline]
    fn push(&mut self, start: usize, end: usize) {
        self.route.params[self.count] = Span::new(self.path + start, self.path + end);
        self.count += 1;
    }
}

impl Tree {
    pub(super) fn new() -> Tree {
        Tree {
            nodes: vec![Node::default()],
            root: None,
            leaves: 0,
        }
    }

    /// The leaf of a pattern, and whether it is new.
    pub(super) fn insert(&mut self, pieces: &[Piece]) -> (u32, bool) {
        let mut at = 0;
        for (place, piece) in pieces.iter().enumerate() {
            at = match piece {
                Piece::Literal(bytes) if place == 0 => self.literal(at, &bytes[1..]),
                Piece::Literal(bytes) => self.literal(at, bytes),
                Piece::Param(suffix) => self.param(at, suffix),
                Piece::Tail => {
                    let next = self.leaves as u32;
                    let leaf = *self.nodes[at].tail.get_or_insert(next);
                    return self.found(leaf, next);
                }
            };
        }
        let next = self.leaves as u32;
        let leaf = *self.nodes[at].leaf.get_or_insert(next);
        self.root = self.nodes[0].leaf;
        self.found(leaf, next)
    }

    fn found(&mut self, leaf: u32, next: u32) -> (u32, bool) {
        let is_new = leaf == next;
        self.leaves += usize::from(is_new);
        (leaf, is_new)
    }

    fn add(&mut self, node: Node) -> u32 {
        self.nodes.push(node);
        (self.nodes.len() - 1) as u32
    }

    /// The node behind these bytes.
    fn literal(&mut self, mut at: usize, mut bytes: &[u8]) -> usize {
        while let Some(&first) = bytes.first() {
            let Some(child) = self.nodes[at].child(first) else {
                let node = self.add(Node {
                    prefix: Prefix::new(bytes),
                    ..Node::default()
                });
                self.nodes[at].set_child(first, node);
                return node as usize;
            };
            let prefix = &self.nodes[child as usize].prefix.bytes;
            let common = prefix.iter().zip(bytes).take_while(|(a, b)| a == b).count();
            let next = match common == prefix.len() {
                true => child,
                false => self.split(child, common),
            };
            self.nodes[at].set_child(first, next);
            (at, bytes) = (next as usize, &bytes[common..]);
        }
        at
    }

    /// A new node with the first `common` bytes of the prefix of `child`, above it.
    fn split(&mut self, child: u32, common: usize) -> u32 {
        let prefix = std::mem::take(&mut self.nodes[child as usize].prefix);
        let (above, below) = prefix.bytes.split_at(common);
        self.nodes[child as usize].prefix = Prefix::new(below);
        self.add(Node {
            prefix: Prefix::new(above),
            children: vec![child],
            base: below[0],
            ..Node::default()
        })
    }

    fn param(&mut self, at: usize, suffix: &[u8]) -> usize {
        let params = &self.nodes[at].params;
        if let Some(param) = params.iter().find(|param| *param.suffix == *suffix) {
            return param.node as usize;
        }
        let place = params.partition_point(|param| param.suffix.len() >= suffix.len());
        let node = self.add(Node::default());
        let suffix = suffix.into();
        self.nodes[at].params.insert(place, Param { suffix, node });
        node as usize
    }

    /// The most specific leaf that matches `path`, unless the search would have to go back. Then it is `None`, and
    /// [`Tree::search`] has to look for it.
    #[inline(always)]
    pub(super) fn direct(&self, path: &[u8], params: &mut Params) -> Option<u32> {
        params.count = 0;
        match path {
            b"/" => self.root,
            [b'/', ..] => self.descend(path, params),
            _ => None,
        }
    }

    /// The same, for a path with more than a slash. It has all registers for its loop.
    #[inline(never)]
    fn descend(&self, path: &[u8], params: &mut Params) -> Option<u32> {
        let (mut node, mut rest) = (&self.nodes[0], &path[1..]);
        let last = last_word(path);
        loop {
            if rest.is_empty() {
                return node.leaf;
            }
            let word = first_word(rest, last);
            if let Some(child) = node.child(word as u8) {
                let below = &self.nodes[child as usize];
                if let Some(behind) = below.prefix.strip(rest, word) {
                    (node, rest) = (below, behind);
                    continue;
                }
            }
            let at = path.len() - rest.len();
            if node.params.is_empty() {
                let tail = node.tail?;
                params.push(at, path.len());
                return Some(tail);
            }
            let (segment, behind) = rest.split_at(segment(rest, word, last));
            let mut all = node.params.iter();
            let of = |param: &Param| Some((param.node, param.value(segment)?));
            let (below, value) = all.find_map(of)?;
            params.push(at, at + value);
            (node, rest) = (&self.nodes[below as usize], behind);
        }
    }

    /// Calls `visit` with the leaves that match `path`, the most specific one first, until it returns true.
    #[inline]
    pub(super) fn search(
        &self,
        path: &[u8],
        params: &mut Params,
        visit: &mut impl FnMut(u32, &Params) -> bool,
    ) -> bool {
        params.count = 0;
        path.first() == Some(&b'/') && self.walk(0, path, 1, params, visit)
    }

    /// The search below a node. Its prefix ends at `at`.
    ///
    /// Each node is visited once at most, because it can be reached in one way only. Where there is no second way, the
    /// search goes on without a call, because it need not come back.
    fn walk(
        &self,
        node: u32,
        path: &[u8],
        mut at: usize,
        params: &mut Params,
        visit: &mut impl FnMut(u32, &Params) -> bool,
    ) -> bool {
        let mut node = &self.nodes[node as usize];
        let last = last_word(path);
        loop {
            let rest = &path[at..];
            if rest.is_empty() {
                return node.leaf.is_some_and(|leaf| visit(leaf, params));
            }
            let word = first_word(rest, last);
            if let Some(child) = node.child(word as u8) {
                let below = &self.nodes[child as usize];
                if let Some(behind) = below.prefix.strip(rest, word) {
                    let end = path.len() - behind.len();
                    if node.params.is_empty() && node.tail.is_none() {
                        (node, at) = (below, end);
                        continue;
                    }
                    let count = params.count;
                    if self.walk(child, path, end, params, visit) {
                        return true;
                    }
                    params.count = count;
                }
            }
            match (&*node.params, node.tail) {
                ([], None) => return false,
                ([param], None) => {
                    let len = segment(rest, word, last);
                    let Some(value) = param.value(&rest[..len]) else {
                        return false;
                    };
                    params.push(at, at + value);
                    (node, at) = (&self.nodes[param.node as usize], at + len);
                }
                _ => return self.walk_params(node, path, at, params, visit),
            }
        }
    }

    fn walk_params(
        &self,
        node: &Node,
        path: &[u8],
        at: usize,
        params: &mut Params,
        visit: &mut impl FnMut(u32, &Params) -> bool,
    ) -> bool {
        let count = params.count;
        let rest = &path[at..];
        if !node.params.is_empty() {
            let last = last_word(path);
            let len = segment(rest, first_word(rest, last), last);
            for param in &node.params {
                let Some(value) = param.value(&rest[..len]) else {
                    continue;
                };
                params.count = count;
                params.push(at, at + value);
                if self.walk(param.node, path, at + len, params, visit) {
                    return true;
                }
            }
        }
        let Some(tail) = node.tail else {
            return false;
        };
        params.count = count;
        params.push(at, path.len());
        visit(tail, params)
    }
}

impl Param {
    /// The length of the value in a segment that has the suffix, and more.
    #[inline]
    fn value(&self, segment: &[u8]) -> Option<usize> {
        let value = segment.len().checked_sub(self.suffix.len())?;
        let is_match = self.suffix.is_empty() || segment.ends_with(&self.suffix);
        (is_match && value > 0).then_some(value)
    }
}

impl Node {
    /// The child whose prefix begins with this byte.
    #[inline]
    fn child(&self, first: u8) -> Option<u32> {
        let place = usize::from(first.wrapping_sub(self.base));
        let child = *self.children.get(place)?;
        (child != 0).then_some(child)
    }

    fn set_child(&mut self, first: u8, child: u32) {
        if self.children.is_empty() {
            self.base = first;
        }
        let before = usize::from(self.base.saturating_sub(first));
        self.children.splice(..0, std::iter::repeat_n(0, before));
        self.base = self.base.min(first);
        let place = usize::from(first - self.base);
        let len = self.children.len().max(place + 1);
        self.children.resize(len, 0);
        self.children[place] = child;
    }
}

impl Prefix {
    fn new(bytes: &[u8]) -> Prefix {
        let bits = 8 * bytes.len().min(8) as u32;
        let last = last_word(bytes);
        Prefix {
            bytes: bytes.into(),
            word: first_word(bytes, last),
            mask: u64::MAX.checked_shr(64 - bits).unwrap_or(0),
            last,
        }
    }

    /// What follows it, if `rest` begins with it. `word` has the first bytes of `rest`.
    #[inline]
    fn strip<'p>(&self, rest: &'p [u8], word: u64) -> Option<&'p [u8]> {
        if word & self.mask != self.word {
            return None;
        }
        let (own, behind) = rest.split_at_checked(self.bytes.len())?;
        // The first and the last 8 bytes are all up to 16.
        let is_same = match own.len() {
            0..=8 => true,
            9..=16 => last_word(own) == self.last,
            _ => own == &*self.bytes,
        };
        is_same.then_some(behind)
    }
}

/// The last 8 bytes, the last one highest. Where there are fewer, the others are 0.
#[inline]
fn last_word(bytes: &[u8]) -> u64 {
    match bytes.last_chunk() {
        Some(last) => u64::from_le_bytes(*last),
        None => {
            let add = |word: u64, &byte: &u8| word >> 8 | u64::from(byte) << 56;
            bytes.iter().fold(0, add)
        }
    }
}

/// The first 8 bytes of the rest of a path, the first one lowest. Where there are fewer, the others are 0, which no pattern has.
/// `last` is the last word of the path, which has them all then.
#[inline]
fn first_word(rest: &[u8], last: u64) -> u64 {
    match rest.first_chunk() {
        Some(first) => u64::from_le_bytes(*first),
        None => last.checked_shr(64 - 8 * rest.len() as u32).unwrap_or(0),
    }
}

/// The length of the segment at the beginning of the rest of a path, whose first word is `word`.
#[inline]
fn segment(rest: &[u8], mut word: u64, last: u64) -> usize {
    const ONES: u64 = u64::MAX / 255;
    let mut at = 0;
    loop {
        // A slash becomes 0, and the highest bit of the first 0 is the first that is set.
        let bytes = word ^ (ONES * u64::from(b'/'));
        let zeros = bytes.wrapping_sub(ONES) & !bytes & (ONES << 7);
        if zeros != 0 {
            return at + zeros.trailing_zeros() as usize / 8;
        }
        at += 8;
        if at >= rest.len() {
            return rest.len();
        }
        word = first_word(&rest[at..], last);
    }
}
