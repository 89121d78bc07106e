//! Settings of a folder that is served.

use super::path;
use super::path::Names;
use crate::config::ConfigError;
use peregrine_protocol::http::fields;
use peregrine_protocol::syntax;
use std::borrow::Cow;
use std::time::Duration;

peregrine_protocol::settings! {
    /// Settings of a [`DirServer`](crate::files::DirServer), of [`FileServer`](crate::files::FileServer) or of
    /// [`Embedded`](crate::files::Embedded): what is served, and how. Every default is safe on the open web.
    ///
    /// ```
    /// use peregrine::files::{DirConfig, DirServer};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let config = DirConfig::default()
    ///     .prefix("/assets")
    ///     .cache_control("max-age=3600");
    /// let files = DirServer::with_config("src", config)?;
    /// # Ok(())
    /// # }
    /// ```
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct DirConfig {
        /// Path under which the folder is mounted, with a slash at its beginning and none at its end.
        /// Requests for other paths get 404.
        pub prefix: String = String::new()
            => "empty, the root of the site"
            => |prefix: impl Into<String>| prefix.into();
        /// File names that are tried, in this order, for a request for a folder. A request for a folder
        /// without a slash at its end is redirected to the path with the slash (301).
        pub index: Vec<String> = vec!["index.html".to_owned()]
            => "`index.html`"
            => |names: impl IntoIterator<Item: Into<String>>| names.into_iter().map(Into::into).collect();
        /// Whether a request for a folder without an index gets a list of its files. The list has only the
        /// names that are served. It is kept in memory like a file, and made again after
        /// [`DirConfig::recheck`]; the folder is read once for all orders, HTML and JSON. Otherwise such a request gets 404.
        pub list: bool = false;
        /// Number of entries of a folder that are read for a list. If the folder has more, the list says so.
        pub list_entries: usize = 2000;
        /// Page of a single-page application: its path beneath the folder. It is the response (200) to every
        /// path that names no file and has no dot in its last component.
        pub spa: Option<String> = None
            => <'a> |page: impl Into<Option<&'a str>>| page.into().map(str::to_owned);
        /// Page for responses with status 404: its path beneath the folder.
        pub not_found: Option<String> = None
            => "`None`, a line of text"
            => <'a> |page: impl Into<Option<&'a str>>| page.into().map(str::to_owned);
        /// Whether files and folders whose name begins with a dot are served. `.well-known` at the top is
        /// always served (RFC 8615).
        pub dotfiles: bool = false;
        /// Whether only portable names are served, which mean the same on every system. Otherwise
        /// every name that the system can have is served.
        ///
        /// A portable name is UTF-8, has no control characters and none of `\ : " < > | ? *`, has no dot or space
        /// at its end, is no device such as `aux.js`, and has no `~` before a digit. Windows always requires
        /// this. Set it to true for folders of a file system with the rules of Windows.
        pub portable: bool = false;
        /// Whether symbolic links are followed. A link that leads out of the folder is never followed, and
        /// an absolute link counts as one that leads out.
        pub symlinks: bool = true;
        /// Value of the `Cache-Control` field (RFC 9111 section 5.2); `None` omits the field.
        /// With `no-cache`, a browser keeps files and checks before each use whether they are current.
        pub cache_control: Option<String> = Some("no-cache".to_owned())
            => "`no-cache`"
            => <'a> |value: impl Into<Option<&'a str>>| value.into().map(str::to_owned);
        /// Other `Cache-Control` values for paths with a prefix: `("/assets/", "max-age=31536000,
        /// immutable")`. The first match applies. Paths are decoded, and without [`DirConfig::prefix`].
        pub cache_rules: Vec<(String, String)> = Vec::new()
            => "none"
            => |rules: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>| owned(rules);
        /// Header fields of every response with a file.
        ///
        /// Fields of the library, fields of an upgrade, and fields that depend on the file, such as `ETag`, are
        /// refused.
        pub headers: Vec<(String, String)> = owned([("X-Content-Type-Options", "nosniff")])
            => "`X-Content-Type-Options: nosniff`, so that a browser does not take text for a script"
            => |fields: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>| owned(fields);
        /// Content types by file extension, without its dot. They take precedence over those of the
        /// `mime_guess` crate.
        pub types: Vec<(String, String)> = Vec::new()
            => "none"
            => |types: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>| owned(types);
        /// Whether `name.br`, `name.zst` and `name.gz` are sent for `name` to clients that accept them (RFC
        /// 9110 section 12.5.3).
        ///
        /// A compressed file that is older or larger than `name` is ignored; on Unix also one of another owner.
        /// Its content is not compared with that of `name`. So set this to false for a folder that takes uploads.
        pub precompressed: bool = true;
        /// Whether text files in memory without a gzip sibling are compressed, once. It needs the feature
        /// `compress`, and has no effect without it.
        pub compress: bool = true;
        /// Size in bytes up to which a file is kept in memory, together with the head of its response. A
        /// file larger than [`DirConfig::hot_bytes`] is never kept.
        pub hot_file_bytes: u64 = 64 << 10;
        /// Bytes of memory for all files and lists that are kept. Above, those that were not requested for
        /// longest are dropped.
        pub hot_bytes: usize = 64 << 20;
        /// Number of larger files that are kept open, at most a quarter of the descriptors that the process
        /// may have (`ulimit -n`) when the server is made.
        ///
        /// When the process has no descriptors left, all of them are closed. A file that is being sent stays
        /// open.
        pub open_files: usize = 256;
        /// How long the length, the times and the existence of a file are taken as known before the disk is
        /// read again. Zero: it is read for every request.
        pub recheck: Duration = Duration::from_secs(1);
        /// Number of ranges of one request (RFC 9110 section 14.2). A request with more gets the whole file.
        pub max_ranges: usize = 16;
    }
}

/// The second texts of pairs.
fn values(pairs: &[(String, String)]) -> impl Iterator<Item = &String> {
    pairs.iter().map(|(_, value)| value)
}

/// Pairs of texts, each owned.
fn owned<N: Into<String>, V: Into<String>>(
    pairs: impl IntoIterator<Item = (N, V)>,
) -> Vec<(String, String)> {
    let owned = |(name, value): (N, V)| (name.into(), value.into());
    pairs.into_iter().map(owned).collect()
}

impl DirConfig {
    /// Refuses values that could not be sent, and paths that could not be found.
    pub(crate) fn checked(self) -> Result<DirConfig, ConfigError> {
        let is_prefix =
            |prefix: &str| prefix.is_empty() || (prefix.starts_with('/') && !prefix.ends_with('/'));
        let reason = "does not begin with a slash, or ends with one";
        ConfigError::all("DirConfig::prefix", [&self.prefix], is_prefix, reason)?;
        // A file found under one of these paths is cached under it. So each must be a path that a client may
        // request.
        let is_page = |page: &str| is_plain_path(page, self.names());
        let reason = "is a path that is never served";
        ConfigError::all("DirConfig::spa", &self.spa, is_page, reason)?;
        ConfigError::all("DirConfig::not_found", &self.not_found, is_page, reason)?;
        ConfigError::all("DirConfig::index", &self.index, is_page, reason)?;
        let is_value = |value: &str| syntax::is_field_value(value.as_bytes());
        let reason = "has a control byte";
        ConfigError::all(
            "DirConfig::cache_control",
            &self.cache_control,
            is_value,
            reason,
        )?;
        ConfigError::all(
            "DirConfig::cache_rules",
            values(&self.cache_rules),
            is_value,
            reason,
        )?;
        ConfigError::all("DirConfig::types", values(&self.types), is_value, reason)?;
        ConfigError::all(
            "DirConfig::headers",
            values(&self.headers),
            is_value,
            reason,
        )?;
        let names = self.headers.iter().map(|(name, _)| name);
        let is_free = |name: &str| syntax::is_token(name.as_bytes()) && !fields::is_of_file(name);
        let reason = "is not a token, or belongs to the library";
        ConfigError::all("DirConfig::headers", names, is_free, reason)?;
        Ok(self)
    }

    /// The rule for names that are served.
    pub(crate) fn names(&self) -> Names {
        Names {
            dotfiles: self.dotfiles,
            portable: self.portable || !cfg!(unix),
        }
    }

    /// The `Cache-Control` of a file.
    pub(crate) fn cache_control_of(&self, path: &[u8]) -> Option<&str> {
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
