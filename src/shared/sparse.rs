//! Lists and maps give memory back after a peak.
//!
//! To reach this state, about as many removals are needed as there are places. So each removal costs a few
//! steps on average.

use std::collections::HashMap;
use std::hash::Hash;

/// Places that are kept when most of them are free.
const KEPT: usize = 64;

/// Whether more than three quarters of the places are free.
pub(crate) fn is_sparse(used: usize, all: usize) -> bool {
    all > KEPT && used < all / 4
}

/// Called after a removal.
pub(crate) fn shrink<K: Eq + Hash, V>(map: &mut HashMap<K, V>) {
    if is_sparse(map.len(), map.capacity()) {
        map.shrink_to(2 * map.len());
    }
}
