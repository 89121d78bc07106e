//! The tree of patterns: which of them match a path, the most specific one first.
//!
//! It is a radix tree over the bytes of the path. A parameter takes the rest of its segment, and a tail the rest of
//! the path. Patterns that differ only in the names of their parameters have one leaf.

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
    /// The number of leaves.
    leaves: usize,
}

#[derive(Debug, Default)]
struct Node {
    prefix: Prefix,
    /// The first bytes of the children with a prefix.
    firsts: Vec<u8>,
    children: Vec<u32>,
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
}

#[derive(Debug)]
struct Param {
    suffix: Box<[u8]>,
    node: u32,
}

/// The parameters of a match: their positions in the head of the request, and how many there are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Params {
    pub(super) spans: [Span; MAX_PARAMS],
    pub(super) count: usize,
    /// Where the path begins in the head.
    path: usize,
}

impl Params {
    /// None yet, for a path that begins at this position of the head.
    #[inline]
    pub(super) fn new(path: usize) -> Params {
        Params {
            spans: [Span::default(); MAX_PARAMS],
            count: 0,
            path,
        }
    }

    /// Adds one with these positions in the path.
    #[inline]
    fn push(&mut self, start: usize, end: usize) {
        self.spans[self.count] = Span::new(self.path + start, self.path + end);
        self.count += 1;
    }
}

impl Tree {
    pub(super) fn new() -> Tree {
        Tree {
            nodes: vec![Node::default()],
            leaves: 0,
        }
    }

    /// The leaf of a pattern, and whether it is new.
    pub(super) fn insert(&mut self, pieces: &[Piece]) -> (u32, bool) {
        let mut at = 0;
        for piece in pieces {
            at = match piece {
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
            let place = self.nodes[at].firsts.iter().position(|&b| b == first);
            let Some(place) = place else {
                let node = self.add(Node {
                    prefix: Prefix::new(bytes),
                    ..Node::default()
                });
                self.nodes[at].firsts.push(first);
                self.nodes[at].children.push(node);
                return node as usize;
            };
            let child = self.nodes[at].children[place];
            let prefix = &self.nodes[child as usize].prefix.bytes;
            let common = prefix.iter().zip(bytes).take_while(|(a, b)| a == b).count();
            let next = match common == prefix.len() {
                true => child,
                false => self.split(child, common),
            };
            self.nodes[at].children[place] = next;
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
            firsts: vec![below[0]],
            children: vec![child],
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
        let (mut node, mut at) = (&self.nodes[0], 0);
        loop {
            let rest = &path[at..];
            if rest.is_empty() {
                return node.leaf;
            }
            let word = word(rest);
            if let Some(child) = node.child(word) {
                let below = &self.nodes[child as usize];
                if below.prefix.starts(rest, word) {
                    (node, at) = (below, at + below.prefix.bytes.len());
                    continue;
                }
            }
            if node.params.is_empty() {
                let tail = node.tail?;
                params.push(at, path.len());
                return Some(tail);
            }
            let len = segment(rest);
            let mut all = node.params.iter();
            let of = |param: &Param| Some((param.node, param.value(&rest[..len])?));
            let (below, value) = all.find_map(of)?;
            params.push(at, at + value);
            (node, at) = (&self.nodes[below as usize], at + len);
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
        self.walk(0, path, 0, params, visit)
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
        loop {
            let rest = &path[at..];
            if rest.is_empty() {
                return node.leaf.is_some_and(|leaf| visit(leaf, params));
            }
            let word = word(rest);
            if let Some(child) = node.child(word) {
                let below = &self.nodes[child as usize];
                if below.prefix.starts(rest, word) {
                    let end = at + below.prefix.bytes.len();
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
                    let len = segment(rest);
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
            let len = segment(rest);
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
    /// The child whose prefix begins with the first byte of this word.
    #[inline]
    fn child(&self, word: u64) -> Option<u32> {
        let place = self.firsts.iter().position(|&b| b == word as u8)?;
        Some(self.children[place])
    }
}

impl Prefix {
    fn new(bytes: &[u8]) -> Prefix {
        let bits = 8 * bytes.len().min(8) as u32;
        Prefix {
            bytes: bytes.into(),
            word: word(bytes),
            mask: u64::MAX.checked_shr(64 - bits).unwrap_or(0),
        }
    }

    /// Whether `rest` begins with it. `word` has the first bytes of `rest`.
    #[inline]
    fn starts(&self, rest: &[u8], word: u64) -> bool {
        word & self.mask == self.word && (self.bytes.len() <= 8 || rest.starts_with(&self.bytes))
    }
}

/// The first 8 bytes, the first one lowest. Where there are fewer, the others are 0, which no pattern has.
#[inline]
fn word(bytes: &[u8]) -> u64 {
    if let Some(all) = bytes.first_chunk() {
        return u64::from_le_bytes(*all);
    }
    let at = |n: usize| u64::from(bytes[n]) << (8 * n);
    match (bytes.first_chunk(), bytes.last_chunk(), bytes.len()) {
        // The two overlap.
        (Some(low), Some(high), len) => {
            let (low, high) = (u32::from_le_bytes(*low), u32::from_le_bytes(*high));
            u64::from(low) | u64::from(high) << (8 * (len - 4))
        }
        (_, _, 0) => 0,
        (_, _, len) => at(0) | at(len / 2) | at(len - 1),
    }
}

/// The length of the segment at the beginning of `rest`.
#[inline]
fn segment(rest: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    let mut at = 0;
    while let Some(eight) = rest[at..].first_chunk() {
        // A slash becomes 0, and the highest bit of the first 0 is the first that is set.
        let bytes = u64::from_le_bytes(*eight) ^ (ONES * u64::from(b'/'));
        let zeros = bytes.wrapping_sub(ONES) & !bytes & (ONES << 7);
        if zeros != 0 {
            return at + zeros.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let end = rest[at..].iter().position(|&b| b == b'/');
    end.map_or(rest.len(), |end| at + end)
}
