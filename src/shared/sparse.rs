//! Lists and maps give memory back after a peak.
//!
//! As it takes as many removals as there are places to get there, each of them costs a few steps, on
//! average.

use std::collections::HashMap;
use std::hash::Hash;

/// Places that are kept when most of them are free.
const KEPT: usize = 64;

/// Whether more than three of four places are free.
pub(crate) fn is_sparse(used: usize, all: usize) -> bool {
    all > KEPT && used < all / 4
}

/// To be called when something was removed.
pub(crate) fn shrink<K: Eq + Hash, V>(map: &mut HashMap<K, V>) {
    if is_sparse(map.len(), map.capacity()) {
        map.shrink_to(2 * map.len());
    }
}
