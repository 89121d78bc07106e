//! The certificates of a `Tls`, by the name that a client asks for.

use super::engine::{Certificate, Options};
use super::error::TlsError;
use crate::log::event;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// How often files are looked at for changes.
const RECHECK: Duration = Duration::from_secs(10);

/// Where a chain and its key come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// In PEM.
    Memory(Box<[u8]>, Box<[u8]>),
    /// One certificate.
    #[cfg(feature = "tls-self-signed")]
    Der(Box<[u8]>, Box<[u8]>),
    Files([PathBuf; 2]),
}

/// By which a file that has changed is known: when it was modified, and its length.
type Stamps = [Option<(SystemTime, u64)>; 2];

impl Source {
    pub(crate) fn files(chain: &Path, key: &Path) -> Source {
        Source::Files([chain.to_owned(), key.to_owned()])
    }

    fn stamps(&self) -> Stamps {
        let stamp = |path: &PathBuf| {
            let metadata = fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        };
        match self {
            Source::Files(paths) => paths.each_ref().map(stamp),
            _ => [None; 2],
        }
    }

    fn load(&self, options: &Options) -> Result<Certificate, TlsError> {
        let read =
            |path: &PathBuf| fs::read(path).map_err(|error| TlsError::Read(path.clone(), error));
        match self {
            Source::Memory(chain, key) => Certificate::from_pem(chain, key, options),
            #[cfg(feature = "tls-self-signed")]
            Source::Der(certificate, key) => Certificate::from_der(certificate, key, options),
            Source::Files(paths @ [chain, key]) => {
                let loaded = Certificate::from_pem(&read(chain)?, &read(key)?, options);
                let at = |error: &TlsError| match error {
                    TlsError::NoKey | TlsError::EncryptedKey | TlsError::KeyMismatch => 1,
                    _ => 0,
                };
                loaded.map_err(|error| TlsError::In(paths[at(&error)].clone(), Box::new(error)))
            }
        }
    }
}

#[derive(Debug)]
struct Entry {
    /// In lower case. `None`: the default.
    name: Option<Box<str>>,
    certificate: Certificate,
    source: Source,
    /// Of the files when they were last read, whether they could be used or not.
    stamps: Stamps,
}

impl Entry {
    fn load(name: Option<Box<str>>, source: Source, options: &Options) -> Result<Entry, TlsError> {
        // Before the files are read: what is written meanwhile is seen the next time.
        let stamps = source.stamps();
        let certificate = checked(name.as_deref(), &source, options)?;
        Ok(Entry {
            name,
            certificate,
            source,
            stamps,
        })
    }

    fn reload(&mut self, options: &Options) -> Result<(), TlsError> {
        self.stamps = self.source.stamps();
        self.certificate = checked(self.name.as_deref(), &self.source, options)?;
        Ok(())
    }
}

fn checked(
    name: Option<&str>,
    source: &Source,
    options: &Options,
) -> Result<Certificate, TlsError> {
    let certificate = source.load(options)?;
    match name {
        Some(name) if !certificate.is_for(name) => Err(TlsError::WrongName(name.to_owned())),
        _ => Ok(certificate),
    }
}

/// Certificates that all connections of a [`Tls`](super::Tls) share. A lock is taken once for each handshake.
#[derive(Debug, Default)]
pub(crate) struct Store(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    /// Sorted by name, so that the default is the first.
    sorted: Vec<Entry>,
    checked: Option<Instant>,
    /// How keys are loaded.
    options: Options,
}

impl Store {
    pub(crate) fn add(&self, name: Option<&str>, source: Source) -> Result<(), TlsError> {
        let name = name.map(|name| name.to_ascii_lowercase().into_boxed_str());
        let mut entries = self.lock();
        let entry = Entry::load(name, source, &entries.options)?;
        let sorted = &mut entries.sorted;
        match sorted.binary_search_by(|other| other.name.cmp(&entry.name)) {
            Ok(at) => sorted[at] = entry,
            Err(at) => sorted.insert(at, entry),
        }
        Ok(())
    }

    /// The certificate for a client that asks for this name.
    pub(crate) fn certificate(&self, name: Option<&str>) -> Option<Certificate> {
        let mut entries = self.lock();
        entries.recheck();
        let find = |name: Option<&str>| {
            let found = entries
                .sorted
                .binary_search_by(|entry| entry.name.as_deref().cmp(&name));
            found.ok().map(|at| entries.sorted[at].certificate.clone())
        };
        let Some(name) = name.map(str::to_ascii_lowercase) else {
            return find(None);
        };
        let wildcard = name.split_once('.').map(|(_, rest)| format!("*.{rest}"));
        find(Some(&name))
            .or_else(|| wildcard.and_then(|name| find(Some(&name))))
            .or_else(|| find(None))
    }

    pub(crate) fn reload(&self) -> Result<(), TlsError> {
        let Entries {
            sorted, options, ..
        } = &mut *self.lock();
        sorted
            .iter_mut()
            .try_for_each(|entry| entry.reload(options))
    }

    /// Loads keys with these options from now on.
    pub(crate) fn set_options(&self, options: &Options) -> Result<(), TlsError> {
        self.lock().options = options.clone();
        self.reload()
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    /// Reads files that have changed.
    fn recheck(&mut self) {
        let now = Instant::now();
        if self.checked.is_some_and(|checked| now - checked < RECHECK) {
            return;
        }
        self.checked = Some(now);
        let changed = |entry: &&mut Entry| entry.source.stamps() != entry.stamps;
        for entry in self.sorted.iter_mut().filter(changed) {
            let name = entry.name.clone();
            let name = name.as_deref().unwrap_or("the default");
            match entry.reload(&self.options) {
                Ok(()) => event!(Info, "the certificate for {name} was read again"),
                Err(error) => event!(
                    Warn,
                    "the certificate for {name} stays as it was, the changed files cannot be used: {error}"
                ),
            }
        }
    }
}
