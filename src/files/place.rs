//! Files that a program reads or changes beside what is served.

use super::DirServer;
use super::open::Source;
use super::path::{self, Names};
use std::fs::File;
use std::io;
use std::path::PathBuf;

impl DirServer {
    /// Opens the file or folder that `path` names, by the rules of [`DirServer::serve`]: what a request cannot get, this
    /// does not open. It is opened for reading, past the cache.
    ///
    /// `path` is the rest of a request path, still percent-encoded, with a slash at its beginning. `index.html` is not
    /// looked for. The call uses the disk on the thread of the caller.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound): the path is not one that is served, or names a pipe, a device or a
    /// socket. Also errors of the system.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use peregrine::files::DirServer;
    ///
    /// let files = DirServer::new("src")?;
    /// assert!(files.open("/lib.rs")?.metadata()?.is_file());
    /// assert!(files.open("/../Cargo.toml").is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn open(&self, path: &str) -> io::Result<File> {
        let relative = path::relative(path, self.store.config.names());
        let relative = relative.map_err(|_| io::ErrorKind::NotFound)?;
        Ok(self.store.source.open(&relative)?.file)
    }

    /// The place of a file or folder on the disk that a program may make, replace or remove for a client. It need not
    /// exist; the folder around it does. `None`: there is no such place.
    ///
    /// `path` is the rest of a request path, still percent-encoded, with a slash at its beginning; one slash at its end
    /// is ignored. The rules are stricter than those for files that are served:
    ///
    /// - Each name is portable, whatever [`DirConfig::portable`](super::DirConfig::portable) says. So no short
    ///   name of Windows, no device, and no name that the system would change.
    /// - With links and short names resolved, the folder around the place is beneath the root, and no name on the way is
    ///   hidden unless [`DirConfig::dotfiles`](super::DirConfig::dotfiles) is on. `.well-known` counts as hidden.
    /// - Without [`DirConfig::symlinks`](super::DirConfig::symlinks) no folder on the way is a link.
    ///
    /// The last name may be a link: replace it by a rename, and remove it, so that its target remains.
    /// The root has no place. The call uses the disk on the thread of the caller. A program that makes links in the
    /// folder between this call and the use of its result can lead elsewhere: clients must not be able to make links.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use peregrine::files::DirServer;
    ///
    /// let files = DirServer::new("src")?;
    /// assert!(files.place("/new%20file").is_some_and(|place| place.ends_with("new file")));
    /// for path in ["/", "/../new", "/.git", "/absent/new", "/GIT~1", "/a%2fb"] {
    ///     assert_eq!(files.place(path), None);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn place(&self, path: &str) -> Option<PathBuf> {
        let names = Names {
            portable: true,
            ..self.store.config.names()
        };
        let relative = path::relative(path, names).ok()?;
        let relative = std::str::from_utf8(&relative).ok()?;
        let Source::Folder(root) = &self.store.source else {
            return None;
        };
        root.place(relative, |name| names.allow(name, false)).ok()
    }
}
