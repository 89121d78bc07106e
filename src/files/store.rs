//! From a path to a file: the cache, the disk, and changes on the disk.

use super::cache::Cache;
use super::config::DirConfig;
use super::listing::Form;
use super::open::{Opened, Source, Stamp, descriptors, is_absence, is_out_of_descriptors};
use super::resource::{Maker, Resource, SIBLINGS, Variant};
use crate::http::content_coding::Coding;
use peregrine_protocol::payload::Payload;
use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

/// Resolution of file times on the coarsest file systems. A file that was changed within this time is read
/// again at the next look, whatever its times are.
const COARSE: Duration = Duration::from_secs(3);

/// How often a file that changes during a read is read again.
const READS: usize = 3;

/// A share of 1 / 4 of the descriptors is for files that are kept open. The others are for connections, and
/// for files that are being sent.
const FILES_SHARE: usize = 4;

/// A folder or a file, with its cache.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) config: DirConfig,
    pub(crate) source: Source,
    pub(crate) cache: Cache,
}

/// The content of a path.
#[derive(Debug)]
pub(crate) enum Found {
    File(Arc<Resource>),
    /// A folder, requested without its slash.
    NeedsSlash,
    /// Nothing, or a folder that is not listed.
    Nothing,
    /// An error of the system.
    Failed,
}

impl Store {
    pub(crate) fn new(config: DirConfig, source: Source) -> Store {
        let open_files = config.open_files.min(descriptors() / FILES_SHARE);
        Store {
            cache: Cache::new(config.hot_bytes, open_files, config.recheck),
            config,
            source,
        }
    }

    /// The content of `path`, which is relative and decoded; a list in this form. It may be as old as
    /// [`DirConfig::recheck`].
    pub(crate) fn find(&self, path: &[u8], form: Form) -> Found {
        let kept = |key: &[u8]| self.cache.shard(key).get(key).cloned();
        // A file has one form. A list in another form than the default one has a key of its own.
        let kept = match kept(path) {
            Some(list) if list.is_list && form != Form::default() => kept(&form.key(path)),
            None if form != Form::default() => kept(&form.key(path)),
            kept => kept,
        };
        match kept {
            Some(kept) if self.cache.is_good(&kept) => Found::File(kept),
            kept => self.look(path, form, kept),
        }
    }

    /// Looks at the disk. `kept` is the content of the last look.
    fn look(&self, path: &[u8], form: Form, kept: Option<Arc<Resource>>) -> Found {
        let found = match self.opened(path, form, kept.as_ref()) {
            Err(error) if is_out_of_descriptors(&error) && self.cache.close_files() => {
                crate::log::event!(
                    Warn,
                    "closed the cached files, as no descriptor was left: {error}"
                );
                self.opened(path, form, kept.as_ref())
            }
            found => found,
        };
        let found = found.unwrap_or_else(|error| match is_absence(&error) {
            true => Found::Nothing,
            false => {
                crate::log::event!(Warn, "cannot open a file: {error}");
                Found::Failed
            }
        });
        match &found {
            Found::File(file) if kept.as_ref().is_some_and(|kept| Arc::ptr_eq(kept, file)) => {
                self.cache.mark(file);
            }
            // It is in the cache already. An index that is there no more would hide the lists.
            Found::File(list) if list.is_list => match kept {
                Some(kept) if !kept.is_list => self.cache.remove(path),
                _ => {}
            },
            Found::File(file) => self.cache.insert(path, file.clone()),
            _ if kept.is_some() => {
                self.cache.remove(path);
                self.cache.remove(&form.key(path));
            }
            _ => {}
        }
        found
    }

    fn opened(&self, path: &[u8], form: Form, kept: Option<&Arc<Resource>>) -> io::Result<Found> {
        let opened = self.source.open(path)?;
        if !opened.is_folder() {
            return self.resource(path, opened, kept).map(Found::File);
        }
        if matches!(self.source, Source::File { .. }) {
            return Ok(Found::Nothing);
        }
        if !path.is_empty() && !path.ends_with(b"/") {
            return Ok(Found::NeedsSlash);
        }
        for index in &self.config.index {
            let path = [path, index.as_bytes()].concat();
            match self.source.open(&path) {
                Ok(opened) if !opened.is_folder() => {
                    return self.resource(&path, opened, kept).map(Found::File);
                }
                Ok(_) => {}
                Err(error) if is_absence(&error) => {}
                Err(error) => return Err(error),
            }
        }
        match self.config.list {
            true => self.list(path, form, &opened).map(Found::File),
            false => Ok(Found::Nothing),
        }
    }

    /// The list of a folder. It is cached like a file, and made again at every look, because the
    /// times of a folder do not change when a file in it grows.
    fn list(&self, path: &[u8], form: Form, folder: &Opened) -> io::Result<Arc<Resource>> {
        let source = self.entries(path, folder)?;
        let list = source.items.as_deref().cloned().unwrap_or_default();
        let most = self.config.list_entries;
        let text = Payload::from(Arc::new(form.write(path, list, most).into_bytes()));
        let maker = Maker::list(&self.config, form.content_type());
        let list = Arc::new(Resource::list(maker.memory(Coding::Identity, text, None)));
        self.cache
            .insert_made_from(&source, &form.key(path), list.clone());
        Ok(list)
    }

    /// The entries of a folder, which are read once for all forms of its list.
    fn entries(&self, path: &[u8], folder: &Opened) -> io::Result<Arc<Resource>> {
        let key = Form::source_key(path);
        let kept = self.cache.shard(&key).get(&key[..]).cloned();
        if let Some(kept) = kept.filter(|kept| self.cache.is_fresh(kept)) {
            return Ok(kept);
        }
        let (names, most) = (self.config.names(), self.config.list_entries);
        let shown = |name: &[u8]| names.allow(name, path.is_empty());
        let mut items = self.source.list(path, &folder.file, most, shown)?;
        items.items.shrink_to_fit();
        let read = Arc::new(Resource::items(Arc::new(items)));
        self.cache.insert(&key, read.clone());
        Ok(read)
    }

    /// The kept resource if its files have not changed; otherwise a new one.
    fn resource(
        &self,
        path: &[u8],
        plain: Opened,
        kept: Option<&Arc<Resource>>,
    ) -> io::Result<Arc<Resource>> {
        let mut files = vec![(Coding::Identity, plain)];
        if self.config.precompressed {
            for (coding, suffix) in SIBLINGS {
                match self.sibling(path, suffix) {
                    Ok(opened) if opened.stands_for(&files[0].1) => files.push((coding, opened)),
                    Ok(_) => {}
                    Err(error) if is_absence(&error) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        let stamps: Vec<Stamp> = files.iter().map(|(_, file)| file.stamp()).collect();
        let settled = files.iter().all(|(_, file)| file.age() > COARSE);
        match kept {
            Some(kept) if kept.settled && kept.stamps == stamps => Ok(kept.clone()),
            _ => self.read(path, files, settled),
        }
    }

    fn sibling(&self, path: &[u8], suffix: &str) -> io::Result<Opened> {
        match &self.source {
            Source::Folder(_) => self.source.open(&[path, suffix.as_bytes()].concat()),
            Source::File { .. } => self.source.open(suffix.as_bytes()),
        }
    }

    fn read(
        &self,
        path: &[u8],
        files: Vec<(Coding, Opened)>,
        mut settled: bool,
    ) -> io::Result<Arc<Resource>> {
        let name = match &self.source {
            Source::Folder(_) => path,
            Source::File { name, .. } => name,
        };
        let mut bodies = Vec::new();
        let mut stamps = Vec::new();
        for (coding, mut opened) in files {
            let bytes = self.read_hot(&mut opened)?;
            let stamp = opened.stamp();
            // The length was wrong, so the times may be wrong too.
            settled &= bytes
                .as_ref()
                .is_none_or(|bytes| bytes.len() as u64 == stamp.len);
            stamps.push(stamp);
            bodies.push((coding, opened, bytes));
        }
        let compressed = self.compressed(name, &bodies);
        let varies = bodies.len() > 1 || compressed.is_some();
        let content_type = self.config.content_type(name).into();
        let maker = Maker::new(&self.config, name, content_type, varies);
        let mut variants: Vec<Variant> = Vec::new();
        let plain_modified = bodies[0].1.modified();
        for (coding, opened, bytes) in bodies {
            let (stamp, modified) = (opened.stamp(), opened.modified());
            variants.push(match bytes {
                Some(bytes) => maker.memory(coding, shared(bytes), modified),
                None => {
                    let file = Arc::new(opened.file);
                    maker.file(coding, file, stamp, modified, settled)
                }
            });
        }
        if let Some(bytes) = compressed {
            variants.push(maker.memory(Coding::Gzip, shared(bytes), plain_modified));
        }
        Ok(Arc::new(Resource::new(variants, stamps, settled)))
    }

    /// The bytes of a file that is small enough for the cache. A file that changes during the read is read
    /// again. If it keeps changing, or if there is no memory for it, it is sent from the disk.
    fn read_hot(&self, opened: &mut Opened) -> io::Result<Option<Vec<u8>>> {
        for _ in 0..READS {
            let len = opened.meta.len();
            let most = self.config.hot_file_bytes.min(self.config.hot_bytes as u64);
            let Some(mut bytes) = room(len).filter(|_| len <= most) else {
                return Ok(None);
            };
            let mut file = &opened.file;
            io::Seek::rewind(&mut file)?;
            file.take(len + 1).read_to_end(&mut bytes)?;
            let before = opened.stamp();
            opened.meta = opened.file.metadata()?;
            if before != opened.stamp() {
                continue;
            }
            if bytes.len() as u64 != len {
                bytes = whole(file, most)?;
            }
            bytes.shrink_to_fit();
            return Ok(Some(bytes));
        }
        Ok(None)
    }

    /// The plain file in gzip, if that is useful and no compressed variant exists.
    #[cfg(feature = "compress")]
    fn compressed(
        &self,
        name: &[u8],
        bodies: &[(Coding, Opened, Option<Vec<u8>>)],
    ) -> Option<Vec<u8>> {
        use super::resource::compressed;
        use crate::http::compressible::is_compressible;
        let is_there = bodies.iter().any(|body| body.0 == Coding::Gzip);
        let wanted = self.config.compress && !is_there;
        let plain = bodies[0].2.as_ref().filter(|_| wanted)?;
        match is_compressible(&self.config.content_type(name)) {
            true => compressed(plain),
            false => None,
        }
    }

    #[cfg(not(feature = "compress"))]
    fn compressed(&self, _: &[u8], _: &[(Coding, Opened, Option<Vec<u8>>)]) -> Option<Vec<u8>> {
        None
    }
}

/// Reads a file whose length differs from what the system says: 0 in `/proc`, a page in `/sys`, any value on
/// a network drive.
///
/// # Errors
///
/// The file has more than `most` bytes. Without a length it cannot be sent from the disk.
fn whole(mut file: &File, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io::Seek::rewind(&mut file)?;
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > most {
        true => Err(io::Error::other(
            "the file is longer than its length in the system, and longer than DirConfig::hot_file_bytes",
        )),
        false => Ok(bytes),
    }
}

fn shared(bytes: Vec<u8>) -> Payload {
    Arc::new(bytes).into()
}

/// An empty vector for one byte more than `len`, so that growth of the file is noticed. `len` comes from the
/// system and may have any value.
fn room(len: u64) -> Option<Vec<u8>> {
    let len = usize::try_from(len).ok()?.checked_add(1)?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering::Relaxed;

    /// A list that is made from kept entries is as old as they are.
    #[test]
    fn a_list_is_read_again_with_its_entries() {
        let hour = Duration::from_secs(3600);
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let source = Source::folder(&folder, false, hour).expect("a folder");
        let config = DirConfig::default().list(true).recheck(hour);
        let store = Store::new(config, source);
        let list = |form| match store.find(b"", form) {
            Found::File(list) => list,
            other => panic!("{other:?}"),
        };
        let first = list(Form::default());
        let key = Form::source_key(b"");
        let entries = store
            .cache
            .shard(&key)
            .get(&key[..])
            .cloned()
            .expect("kept");
        assert_eq!(first.checked.load(Relaxed), entries.checked.load(Relaxed));
        // Any time that is not over, so that it is told from that of this moment.
        entries.checked.store(u64::MAX, Relaxed);
        let other = list(Form::descending());
        assert_eq!(other.checked.load(Relaxed), u64::MAX);
        assert!(Arc::ptr_eq(&other, &list(Form::descending())), "it is kept");
    }

    #[test]
    fn a_length_from_the_system_may_be_wrong() {
        assert!(room(10).is_some_and(|bytes| bytes.capacity() >= 11));
        assert!(room(u64::MAX).is_none());
        assert!(room(isize::MAX as u64).is_none());
    }
}
