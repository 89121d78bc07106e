//! Trees of the `include_dir` crate.

use super::{DirConfig, Embedded};
use include_dir::Dir;
use std::io;

impl Embedded {
    /// Serves a folder that the `include_dir!` macro has put into the program. Needs the feature `embed`.
    ///
    /// ```
    /// use include_dir::{Dir, include_dir};
    /// use peregrine::files::{DirConfig, Embedded};
    ///
    /// static PAGES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/static");
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let pages = Embedded::from_dir(&PAGES, DirConfig::default())?;
    /// # let mut client = peregrine::testing::Connection::new(&pages);
    /// # client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    /// # assert!(client.received().starts_with(b"HTTP/1.1 200 OK\r\n"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// A setting is not valid ([`ConfigError`](crate::config::ConfigError)).
    pub fn from_dir(dir: &'static Dir<'static>, config: DirConfig) -> io::Result<Embedded> {
        let mut files = Vec::new();
        let mut folders = vec![dir];
        while let Some(folder) = folders.pop() {
            folders.extend(folder.dirs());
            for file in folder.files() {
                if let Some(path) = file.path().to_str() {
                    files.push((path.replace('\\', "/"), file.contents()));
                }
            }
        }
        Embedded::new(files, config)
    }
}
