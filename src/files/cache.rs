//! Cache of open files, by path.
//!
//! Every request of every worker reads the cache. A file that is new or has changed is written to it. A
//! request takes one shared lock of one shard, and only copies while it holds the lock. One lock for all
//! shards was tried first: then every worker writes to the same cache line, whatever it serves.

use super::resource::Resource;
use crate::runtime::clock;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

const SHARDS: usize = 16;

type Map = HashMap<Box<[u8]>, Arc<Resource>, Seed>;

/// Invariant: while no lock is held, `bytes` and `files` are the sums over the resources in all shards.
#[derive(Debug)]
pub(crate) struct Cache {
    shards: [RwLock<Map>; SHARDS],
    bytes: AtomicUsize,
    files: AtomicUsize,
    most_bytes: usize,
    most_files: usize,
    /// In milliseconds.
    recheck: u64,
    /// When it was made, of [`clock::turn_nanos`].
    start: u64,
    /// Held while entries are removed to free space.
    clearing: Mutex<()>,
}

impl Cache {
    pub(crate) fn new(most_bytes: usize, most_files: usize, recheck: Duration) -> Cache {
        let seed = Seed::new();
        Cache {
            shards: std::array::from_fn(|_| RwLock::new(Map::with_hasher(seed))),
            bytes: AtomicUsize::new(0),
            files: AtomicUsize::new(0),
            most_bytes,
            most_files,
            recheck: u64::try_from(recheck.as_millis()).unwrap_or(u64::MAX),
            start: clock::nanos(),
            clearing: Mutex::new(()),
        }
    }

    /// The shard that may have `path`.
    pub(crate) fn shard(&self, path: &[u8]) -> RwLockReadGuard<'_, Map> {
        let shard = &self.shards[index(path)];
        shard.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Milliseconds since the cache was made, at the beginning of this turn.
    #[inline]
    fn now(&self) -> u64 {
        clock::turn_nanos().saturating_sub(self.start) / 1_000_000
    }

    /// Notes the use of a resource. False if its files must be looked at first; of several requests at the
    /// same time, only one gets false.
    pub(crate) fn is_good(&self, resource: &Resource) -> bool {
        let now = self.now();
        let second = (now / 1000) as u32;
        // Written at most once a second: a cache line that is only read can be shared by all processors.
        if resource.used.load(Relaxed) != second {
            resource.used.store(second, Relaxed);
        }
        let checked = resource.checked.load(Relaxed);
        if now - checked.min(now) < self.recheck {
            return true;
        }
        // With a recheck of zero every request looks.
        self.recheck > 0
            && resource
                .checked
                .compare_exchange(checked, now, Relaxed, Relaxed)
                .is_err()
    }

    /// Whether its files were looked at a short time ago. It is no use of it.
    pub(crate) fn is_fresh(&self, resource: &Resource) -> bool {
        let now = self.now();
        now - resource.checked.load(Relaxed).min(now) < self.recheck
    }

    /// Keeps a resource that was made from another one. It has to be looked at when the other one has.
    pub(crate) fn insert_made_from(&self, source: &Resource, path: &[u8], made: Arc<Resource>) {
        self.insert(path, made.clone());
        made.checked.store(source.checked.load(Relaxed), Relaxed);
    }

    /// Notes that its files have been looked at now.
    pub(crate) fn mark(&self, resource: &Resource) {
        let now = self.now();
        resource.checked.store(now, Relaxed);
        resource.used.store((now / 1000) as u32, Relaxed);
    }

    /// Keeps a resource instead of the earlier one for this path. A resource larger than the whole cache is
    /// not kept.
    pub(crate) fn insert(&self, path: &[u8], resource: Arc<Resource>) {
        self.mark(&resource);
        let (weight, files) = (resource.weight(), resource.open_files());
        if weight > self.most_bytes || files > self.most_files {
            return self.remove(path);
        }
        let shard = &self.shards[index(path)];
        let mut map = shard.write().unwrap_or_else(PoisonError::into_inner);
        self.bytes.fetch_add(weight, Relaxed);
        self.files.fetch_add(files, Relaxed);
        let before = map.insert(path.into(), resource);
        drop(map);
        self.forget(before);
        if self.is_full(0) {
            self.make_room();
        }
    }

    pub(crate) fn remove(&self, path: &[u8]) {
        let shard = &self.shards[index(path)];
        let mut map = shard.write().unwrap_or_else(PoisonError::into_inner);
        let before = map.remove(path);
        drop(map);
        self.forget(before);
    }

    fn forget(&self, resource: Option<Arc<Resource>>) {
        if let Some(resource) = resource {
            self.bytes.fetch_sub(resource.weight(), Relaxed);
            self.files.fetch_sub(resource.open_files(), Relaxed);
        }
    }

    /// Whether the cache is over its limits, or over its limits less a share of 1 / `spare`.
    fn is_full(&self, spare: usize) -> bool {
        let most = |limit: usize| match spare {
            0 => limit,
            spare => limit - limit / spare,
        };
        self.bytes.load(Relaxed) > most(self.most_bytes)
            || self.files.load(Relaxed) > most(self.most_files)
    }

    /// Removes the entries that were not requested for longest until an eighth is free. So the next removal
    /// is a while away.
    fn make_room(&self) {
        let _one = self.clearing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<(u32, Box<[u8]>)> = Vec::new();
        for shard in &self.shards {
            let map = shard.read().unwrap_or_else(PoisonError::into_inner);
            all.extend(
                map.iter()
                    .map(|(path, r)| (r.used.load(Relaxed), path.clone())),
            );
        }
        all.sort_unstable();
        for (_, path) in all {
            if !self.is_full(8) {
                return;
            }
            self.remove(&path);
        }
    }

    /// Removes all entries that hold a file open, because no descriptors are left. False if there was none.
    pub(crate) fn close_files(&self) -> bool {
        let mut open = Vec::new();
        for shard in &self.shards {
            let mut map = shard.write().unwrap_or_else(PoisonError::into_inner);
            map.retain(|_, resource| {
                let stays = resource.open_files() == 0;
                if !stays {
                    open.push(resource.clone());
                }
                stays
            });
        }
        let were_there = !open.is_empty();
        open.into_iter()
            .for_each(|resource| self.forget(Some(resource)));
        were_there
    }

    /// Bytes and files held.
    #[cfg(test)]
    pub(crate) fn held(&self) -> (usize, usize) {
        (self.bytes.load(Relaxed), self.files.load(Relaxed))
    }
}

/// Spreads names evenly enough, and is cheaper than a second hash.
fn index(path: &[u8]) -> usize {
    let at = |at: usize| path.get(at).map_or(0, |b| usize::from(*b));
    (at(path.len() / 2) + path.len() + at(0)) % SHARDS
}

/// Start value and factor of the hashes. They are random for each process. So names with equal hashes cannot
/// be chosen for files that are put into the folder.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seed {
    start: u64,
    factor: u64,
}

impl Seed {
    fn new() -> Seed {
        let random = RandomState::new();
        Seed {
            start: random.hash_one(0),
            factor: random.hash_one(1) | 1,
        }
    }
}

impl BuildHasher for Seed {
    type Hasher = PathHasher;

    fn build_hasher(&self) -> PathHasher {
        PathHasher {
            state: self.start,
            factor: self.factor,
        }
    }
}

/// Multiplies and folds, eight bytes at a time.
pub(crate) struct PathHasher {
    state: u64,
    factor: u64,
}

impl PathHasher {
    fn mix(&mut self, word: u64) {
        let product = u128::from(self.state ^ word) * u128::from(self.factor);
        self.state = product as u64 ^ (product >> 64) as u64;
    }
}

impl Hasher for PathHasher {
    fn write(&mut self, bytes: &[u8]) {
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            let mut eight = [0; 8];
            eight.copy_from_slice(word);
            self.mix(u64::from_le_bytes(eight));
        }
        let mut last = [0; 8];
        last[..words.remainder().len()].copy_from_slice(words.remainder());
        self.mix(u64::from_le_bytes(last) ^ (bytes.len() as u64) << 56);
    }

    /// The length of a slice, written before its bytes: `write` includes it already.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.state
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::config::DirConfig;
    use crate::files::resource::Maker;
    use crate::http::content_coding::Coding;

    fn resource(bytes: usize) -> Arc<Resource> {
        let config = DirConfig::default();
        let maker = Maker::new(&config, b"a", "text/plain".into(), false);
        let variant = maker.memory(Coding::Identity, vec![0; bytes].into(), None);
        Arc::new(Resource::new(vec![variant], Vec::new(), true))
    }

    #[test]
    fn the_budget_holds_whatever_comes() {
        let cache = Cache::new(100_000, 4, Duration::from_secs(1));
        for i in 0..1000 {
            cache.insert(format!("file-{i}").as_bytes(), resource(i * 7 % 5000));
            assert!(cache.held().0 <= 100_000);
        }
        assert!(cache.held().0 > 50_000, "and is used");
        cache.insert(b"huge", resource(200_000));
        assert!(cache.shard(b"huge").get(&b"huge"[..]).is_none());
        for i in 0..1000 {
            cache.remove(format!("file-{i}").as_bytes());
        }
        assert_eq!(cache.held(), (0, 0));
    }

    #[test]
    fn a_replaced_entry_no_longer_counts() {
        let cache = Cache::new(100_000, 4, Duration::from_secs(1));
        for _ in 0..100 {
            cache.insert(b"same", resource(5000));
        }
        let once = cache.held().0;
        assert!((5000..8000).contains(&once), "{once}");
    }

    #[test]
    fn one_request_checks_the_files_again() {
        let cache = Cache::new(100_000, 4, Duration::from_secs(3600));
        let file = resource(1);
        cache.mark(&file);
        assert!(cache.is_good(&file));
        let always = Cache::new(100_000, 4, Duration::ZERO);
        assert!(!always.is_good(&file) && !always.is_good(&file));
    }

    #[test]
    fn hashes_are_of_this_cache_alone() {
        let hash = |seed: &Seed, path: &[u8]| seed.hash_one(path);
        let (one, two) = (Seed::new(), Seed::new());
        assert_eq!(hash(&one, b"a/b.txt"), hash(&one, b"a/b.txt"));
        for path in [&b""[..], b"a", b"a/b.txt", b"assets/css/site.2024-07.css"] {
            assert_ne!(hash(&one, path), hash(&two, path));
        }
    }
}
