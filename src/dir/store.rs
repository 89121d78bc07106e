//! From a path to what it answers with: looks into the cache, at the disk, and at what changed.

use super::accept::Coding;
use super::cache::Cache;
use super::config::DirConfig;
use super::listing;
use super::open::{Opened, Source, Stamp, descriptors, is_absence, is_out_of_descriptors};
use super::resource::{Maker, Resource, Variant};
use crate::conn::payload::Payload;
use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

/// The times of a file are as coarse as this on some file systems: a file that was changed less
/// long ago is read again the next time, whatever its times say.
const COARSE: Duration = Duration::from_secs(3);

/// How often a file that changes while it is read is read again.
const READS: usize = 3;

/// Of the process's descriptors, one in so many is for files that are kept open. The others are for
/// connections, and for files that are sent.
const FILES_SHARE: usize = 4;

/// A folder or a file, with what is remembered of it.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) config: DirConfig,
    pub(crate) source: Source,
    pub(crate) cache: Cache,
}

/// What is under a path.
#[derive(Debug)]
pub(crate) enum Found {
    File(Arc<Resource>),
    /// A folder that was asked for without its slash.
    NeedsSlash,
    /// Nothing, or a folder that is not shown.
    Nothing,
    /// The system could not say.
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

    /// What `path`, relative and decoded, names, as it is now or was a moment ago.
    pub(crate) fn find(&self, path: &[u8]) -> Found {
        let kept = self.cache.shard(path).get(path).cloned();
        match kept {
            Some(kept) if self.cache.is_good(&kept) => Found::File(kept),
            kept => self.look(path, kept),
        }
    }

    /// Looks at the disk. `kept` is what was there the last time.
    pub(crate) fn look(&self, path: &[u8], kept: Option<Arc<Resource>>) -> Found {
        let found = match self.opened(path, kept.as_ref()) {
            Err(error) if is_out_of_descriptors(&error) && self.cache.close_files() => {
                crate::log::event!(Warn, "cached files were closed: {error}");
                self.opened(path, kept.as_ref())
            }
            found => found,
        };
        let found = found.unwrap_or_else(|error| match is_absence(&error) {
            true => Found::Nothing,
            false => {
                crate::log::event!(Warn, "a file could not be opened: {error}");
                Found::Failed
            }
        });
        match &found {
            Found::File(file) if kept.as_ref().is_some_and(|kept| Arc::ptr_eq(kept, file)) => {
                self.cache.mark(file);
            }
            Found::File(file) => self.cache.insert(path, file.clone()),
            _ if kept.is_some() => self.cache.remove(path),
            _ => {}
        }
        found
    }

    fn opened(&self, path: &[u8], kept: Option<&Arc<Resource>>) -> io::Result<Found> {
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
            true => self.list(path, &opened).map(Found::File),
            false => Ok(Found::Nothing),
        }
    }

    /// The page that lists a folder. It is kept like a file, and made anew with every look: a file that
    /// grows changes nothing in the times of its folder.
    fn list(&self, path: &[u8], folder: &Opened) -> io::Result<Arc<Resource>> {
        let (names, most) = (self.config.names(), self.config.list_entries);
        let shown = |name: &[u8]| names.allow(name, path.is_empty());
        let list = self.source.list(path, &folder.file, most, shown)?;
        let page = Payload::from(Arc::new(listing::page(path, list, most).into_bytes()));
        let variant = Maker::page(&self.config).memory(Coding::Identity, page, None);
        Ok(Arc::new(Resource::new(vec![variant], Vec::new(), false)))
    }

    /// What was kept, if it is still the same; read anew otherwise.
    fn resource(
        &self,
        path: &[u8],
        plain: Opened,
        kept: Option<&Arc<Resource>>,
    ) -> io::Result<Arc<Resource>> {
        let mut files = vec![(Coding::Identity, plain)];
        if self.config.precompressed {
            for coding in Coding::COMPRESSED {
                match self.sibling(path, coding) {
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

    fn sibling(&self, path: &[u8], coding: Coding) -> io::Result<Opened> {
        match &self.source {
            Source::Folder(_) => self
                .source
                .open(&[path, coding.suffix().as_bytes()].concat()),
            Source::File { .. } => self.source.open(coding.suffix().as_bytes()),
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
            // A length that is not told right: its times may not be, either.
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

    /// The whole of a file that is small enough to be kept. One that changes while it is read is
    /// read again, and in the end left to be sent from the disk; so is one that there is no memory for.
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

    /// The plain file in gzip, if it is worth it and nobody has done it before.
    #[cfg(feature = "compress")]
    fn compressed(
        &self,
        name: &[u8],
        bodies: &[(Coding, Opened, Option<Vec<u8>>)],
    ) -> Option<Vec<u8>> {
        use super::resource::{compressed, is_compressible};
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

/// All that can be read of a file whose length is not what the system says: 0 in `/proc`, a page in `/sys`,
/// anything on a drive of the network.
///
/// # Errors
///
/// There is more than `most`, and without a length it cannot be sent from the disk.
fn whole(mut file: &File, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io::Seek::rewind(&mut file)?;
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > most {
        true => Err(io::Error::other(
            "the file is longer than the system says, and than DirConfig::hot_file_bytes",
        )),
        false => Ok(bytes),
    }
}

fn shared(bytes: Vec<u8>) -> Payload {
    Arc::new(bytes).into()
}

/// Room for one byte more than `len`, so that a file that grows is seen to. The length is what the system
/// says of a file, and may be anything.
fn room(len: u64) -> Option<Vec<u8>> {
    let len = usize::try_from(len).ok()?.checked_add(1)?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_no_promise() {
        assert!(room(10).is_some_and(|bytes| bytes.capacity() >= 11));
        assert!(room(u64::MAX).is_none());
        assert!(room(isize::MAX as u64).is_none());
    }
}
