//! Where certificates come from: memory, or files, and whether these have changed.

use super::engine::{Certificate, Options};
use super::error::TlsError;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Where a chain and its key come from.
pub(crate) enum Source {
    /// In PEM.
    Memory(Box<[u8]>, Box<[u8]>),
    /// One certificate.
    #[cfg(feature = "tls-self-signed")]
    Der(Box<[u8]>, Box<[u8]>),
    Files([PathBuf; 2]),
}

/// Without the keys.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Files(paths) => f.debug_tuple("Files").field(paths).finish(),
            _ => f.write_str("Memory"),
        }
    }
}

/// By which a file that has changed is known: when it was modified, its length, and which file it is.
pub(super) type Stamps = [Option<(SystemTime, u64, Identity)>; 2];

/// The inode of a file, and when its contents, owner or mode was changed.
#[cfg(unix)]
type Identity = (u64, u64, i64, i64);
#[cfg(not(unix))]
type Identity = ();

#[cfg(unix)]
fn identity(metadata: &fs::Metadata) -> Identity {
    use std::os::unix::fs::MetadataExt;
    let (seconds, nanoseconds) = (metadata.ctime(), metadata.ctime_nsec());
    (metadata.dev(), metadata.ino(), seconds, nanoseconds)
}

#[cfg(not(unix))]
fn identity(_: &fs::Metadata) -> Identity {}

impl Source {
    pub(crate) fn files(chain: &Path, key: &Path) -> Source {
        Source::Files([chain.to_owned(), key.to_owned()])
    }

    pub(super) fn stamps(&self) -> Stamps {
        let stamp = |path: &PathBuf| {
            let metadata = fs::metadata(path).ok()?;
            let modified = metadata.modified().ok()?;
            Some((modified, metadata.len(), identity(&metadata)))
        };
        match self {
            Source::Files(paths) => paths.each_ref().map(stamp),
            _ => [None; 2],
        }
    }

    pub(super) fn load(&self, options: &Options) -> Result<Certificate, TlsError> {
        let read =
            |path: &PathBuf| fs::read(path).map_err(|error| TlsError::Read(path.clone(), error));
        match self {
            Source::Memory(chain, key) => {
                Certificate::from_pem(chain, key, options).map_err(|(_, error)| error)
            }
            #[cfg(feature = "tls-self-signed")]
            Source::Der(certificate, key) => Certificate::from_der(certificate, key, options),
            Source::Files(paths @ [chain, key]) => {
                let loaded = Certificate::from_pem(&read(chain)?, &read(key)?, options);
                loaded.map_err(|(part, error)| {
                    TlsError::In(paths[part as usize].clone(), Box::new(error))
                })
            }
        }
    }
}
