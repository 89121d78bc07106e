//! Texts that are used once.

use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// 32 hexadecimal digits that no earlier call has returned, and that nothing outside of the process can have known.
pub(crate) fn unique() -> String {
    static SEED: OnceLock<RandomState> = OnceLock::new();
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let hash = |salt: u64| SEED.get_or_init(RandomState::new).hash_one((count, salt));
    format!("{:016x}{:016x}", hash(0), hash(1))
}
