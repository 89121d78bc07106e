//! How files are served.

use super::path::{self, Names};
use crate::protocol::{class, fields};
use std::borrow::Cow;
use std::io;
use std::time::Duration;

/// What is served of a folder, and how. Everything has a default that is safe on the open web.
///
/// ```
/// use peregrine::{DirConfig, DirServer};
///
/// # fn main() -> std::io::Result<()> {
/// let config = DirConfig {
///     prefix: "/assets".into(),
///     cache_control: Some("max-age=3600".into()),
///     ..DirConfig::default()
/// };
/// let files = DirServer::with_config("src", config)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirConfig {
    /// Where the folder is mounted: a path without a slash at its end. Requests for other paths get
    /// 404. Default: empty, which is the root of the site.
    pub prefix: String,
    /// Names that are looked for, in this order, when a folder is asked for. A folder asked for
    /// without the slash at its end is redirected to it, with 301. Default: `index.html`.
    pub index: Vec<String>,
    /// Whether a folder without an index is listed, without what would not be served. A list is kept
    /// in memory like a file, and made again after [`DirConfig::recheck`]. Default: false, which is
    /// 404.
    pub list: bool,
    /// Entries of a folder that are read for a list; the list says that there are more. Default: 2,000.
    pub list_entries: usize,
    /// For an application that has pages without files: the path of the page, beneath the folder,
    /// that answers (200) every path that names no file and whose last component has no dot.
    /// Default: `None`.
    pub spa: Option<String>,
    /// The path, beneath the folder, of the page that comes with 404. Default: `None`, a line of
    /// text.
    pub not_found: Option<String>,
    /// Whether files and folders are served whose name begins with a dot. `.well-known` at the top
    /// is in any case (RFC 8615). Default: false.
    pub dotfiles: bool,
    /// Whether only names are served that mean the same on every system, which Windows requires in any
    /// case: UTF-8, without control characters and `\ : " < > | ? *`, without a dot or space at the end,
    /// no device such as `aux.js`, and without `~` before a digit. For folders of a file system that has
    /// the rules of Windows. Default: false, which is every name that the system can have.
    pub portable: bool,
    /// Whether symbolic links are followed. One that leads out of the folder never is, and an
    /// absolute one counts as leading out. Default: true.
    pub symlinks: bool,
    /// The `Cache-Control` field (RFC 9111 section 5.2); `None` leaves it out. Default: `no-cache`,
    /// with which a browser keeps files and asks each time whether they are still good.
    pub cache_control: Option<String>,
    /// Other values of it for paths that begin so: `("/assets/", "max-age=31536000, immutable")`.
    /// Paths are as in a request, decoded, without the prefix; the first that fits counts. Default:
    /// none.
    pub cache_rules: Vec<(String, String)>,
    /// Header fields of every response with a file. Refused are fields that belong to the library or
    /// to an upgrade, and those that depend on the file, as `ETag`. Default: `X-Content-Type-Options: nosniff`, so
    /// that what is served as text is not taken for a script.
    pub headers: Vec<(String, String)>,
    /// Content types by extension, without its dot, before those of the `mime_guess` crate. Default:
    /// none.
    pub types: Vec<(String, String)>,
    /// Whether `name.br`, `name.zst` and `name.gz` are sent for `name` to clients that accept them
    /// (RFC 9110 section 12.5.3). One that is older or larger than its file is passed over, on Unix also
    /// one of another owner. It is still sent under the name of a file that it need not agree with: set
    /// this to false for a folder that takes uploads. Default: true.
    pub precompressed: bool,
    /// Whether text files that are kept in memory and have no sibling in gzip are compressed, once.
    /// Only with the feature `compress`, nothing otherwise. Default: true.
    pub compress: bool,
    /// Files of up to this many bytes are kept in memory, with the head of their answer; none that is
    /// larger than [`DirConfig::hot_bytes`]. Default: 65,536.
    pub hot_file_bytes: u64,
    /// Bytes that all of those and the lists may take; above, what was not asked for the longest goes.
    /// Default: 64 MiB.
    pub hot_bytes: usize,
    /// Larger files that are kept open, but no more than a quarter of the descriptors that the process
    /// may have (`ulimit -n`) when the server is made. When descriptors run out they are all closed. A
    /// file that is being sent is open in any case. Default: 256.
    pub open_files: usize,
    /// How old what is known of a file may be before it is looked at again: its length, its times,
    /// whether it is still there. Zero: with every request. Default: 1 s.
    pub recheck: Duration,
    /// Ranges that one request may ask for (RFC 9110 section 14.2); with more it gets the whole
    /// file. Default: 16.
    pub max_ranges: usize,
}

impl Default for DirConfig {
    fn default() -> DirConfig {
        DirConfig {
            prefix: String::new(),
            index: vec!["index.html".to_owned()],
            list: false,
            list_entries: 2000,
            spa: None,
            not_found: None,
            dotfiles: false,
            portable: false,
            symlinks: true,
            cache_control: Some("no-cache".to_owned()),
            cache_rules: Vec::new(),
            headers: vec![("X-Content-Type-Options".to_owned(), "nosniff".to_owned())],
            types: Vec::new(),
            precompressed: true,
            compress: true,
            hot_file_bytes: 64 << 10,
            hot_bytes: 64 << 20,
            open_files: 256,
            recheck: Duration::from_secs(1),
            max_ranges: 16,
        }
    }
}

impl DirConfig {
    /// Refuses what could not be sent or found.
    pub(crate) fn checked(self) -> io::Result<DirConfig> {
        let wrong = |text| Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        let is_prefix =
            self.prefix.is_empty() || (self.prefix.starts_with('/') && !self.prefix.ends_with('/'));
        if !is_prefix {
            return wrong("DirConfig::prefix begins with a slash and does not end with one");
        }
        // What is found under these is kept under these, so they must be paths that anyone may ask for.
        let mut pages = self.spa.iter().chain(&self.not_found).chain(&self.index);
        if !pages.all(|page| is_plain_path(page, self.names())) {
            return wrong("DirConfig::spa, not_found or index has a path that would not be served");
        }
        let rules = self.cache_rules.iter().map(|(_, value)| value);
        let types = self.types.iter().map(|(_, value)| value);
        let headers = self.headers.iter().map(|(_, value)| value);
        let mut values = self
            .cache_control
            .iter()
            .chain(rules)
            .chain(types)
            .chain(headers);
        if !values.all(|value| class::is_field_value(value.as_bytes())) {
            return wrong("a value in DirConfig holds a control byte");
        }
        let is_free = |name: &str| class::is_token(name.as_bytes()) && !fields::is_of_file(name);
        if !self.headers.iter().all(|(name, _)| is_free(name)) {
            return wrong("DirConfig::headers holds a name that is no token or not free to choose");
        }
        Ok(self)
    }

    /// Which names are served.
    pub(crate) fn names(&self) -> Names {
        Names {
            dotfiles: self.dotfiles,
            portable: self.portable || !cfg!(unix),
        }
    }

    /// The `Cache-Control` of a file.
    pub(crate) fn cache_control(&self, path: &[u8]) -> Option<&str> {
        let fits = |rule: &&(String, String)| {
            let start = rule.0.strip_prefix('/').unwrap_or(&rule.0);
            path.starts_with(start.as_bytes())
        };
        let rule = self.cache_rules.iter().find(fits);
        rule.map(|rule| rule.1.as_str())
            .or(self.cache_control.as_deref())
    }

    /// The `Content-Type` of a file. Text is UTF-8.
    pub(crate) fn content_type(&self, path: &[u8]) -> String {
        let name = path.rsplit(|b| *b == b'/').next().unwrap_or(path);
        let name = &*String::from_utf8_lossy(name);
        if let Some((_, extension)) = name.rsplit_once('.') {
            let is = |own: &&(String, String)| own.0.eq_ignore_ascii_case(extension);
            if let Some((_, kind)) = self.types.iter().find(is) {
                return kind.clone();
            }
        }
        let kind = mime_guess::from_path(name).first_or_octet_stream();
        let is_text = kind.type_() == "text" || kind.subtype() == "javascript";
        match is_text && kind.get_param("charset").is_none() {
            true => format!("{kind}; charset=utf-8"),
            false => kind.to_string(),
        }
    }
}

fn is_plain_path(page: &str, names: Names) -> bool {
    let path = format!("/{page}");
    matches!(path::relative(&path, names), Ok(Cow::Borrowed(same)) if same == page.as_bytes())
}
