//! Files of a form on the disk, and their names.

use crate::forms::multipart::PartHead;
use crate::shared::file_name::{is_device, is_invisible, is_special};
use std::borrow::Cow;
use std::collections::hash_map::RandomState;
use std::fs::{self, File, OpenOptions};
use std::hash::BuildHasher;
use std::io;
use std::path::{Component, Path, PathBuf};

/// A file of a form, on the disk. It is removed when this value is dropped, unless it was
/// [kept](FormFile::keep).
#[derive(Debug)]
pub struct FormFile {
    about: About,
    len: u64,
    /// Empty if the program has taken over the file.
    path: PathBuf,
}

impl FormFile {
    /// The name of its field in the form.
    pub fn name(&self) -> &str {
        &self.about.name
    }

    /// The name that the client gives to the file; see [`PartHead::file_name`].
    pub fn file_name(&self) -> &str {
        &self.about.file_name
    }

    /// The result of [`display_name`] for the name that the client gives.
    pub fn display_name(&self) -> String {
        display_name(&self.about.file_name)
    }

    /// The media type that the client sends. It is not checked.
    pub fn content_type(&self) -> Option<&str> {
        self.about.content_type.as_deref()
    }

    /// The length in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the length is 0.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The path of the file while this value lives.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves the file on the disk and returns its path. Use `std::fs::rename` to move it to its place. The
    /// file is not synced.
    ///
    /// ```
    /// # use peregrine::multipart::{MultipartLimits, Upload};
    /// # fn main() -> Result<(), peregrine::multipart::UploadError> {
    /// # let body = b"--x\r\nContent-Disposition: form-data; name=f; filename=g\r\n\r\n1\r\n--x--";
    /// # let (limits, folder) = (MultipartLimits::default(), std::env::temp_dir());
    /// # let form = Upload::read("multipart/form-data; boundary=x", body, limits, folder)?;
    /// for file in form.into_files() {
    ///     let path = file.keep();
    ///     assert!(path.exists());
    ///     # std::fs::remove_file(path)?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn keep(mut self) -> PathBuf {
        std::mem::take(&mut self.path)
    }

    pub(super) fn grow(&mut self, by: usize) {
        self.len += by as u64;
    }
}

impl Drop for FormFile {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            // The program may have moved the file; then nothing is removed.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The fields of a file part.
#[derive(Debug, Default)]
pub(super) struct About {
    name: String,
    file_name: String,
    content_type: Option<String>,
}

impl About {
    pub(super) fn of(head: &PartHead<'_>) -> About {
        About {
            name: head.name.to_owned(),
            file_name: head.file_name.unwrap_or_default().to_owned(),
            content_type: head.content_type.map(str::to_owned),
        }
    }
}

/// The function that names files.
type Namer = Box<dyn FnMut(&PartHead<'_>) -> String + Send>;

/// The folder for new files.
pub(super) struct Folder {
    path: PathBuf,
    names: Option<Namer>,
}

impl Folder {
    pub(super) fn new(path: PathBuf) -> Folder {
        Folder { path, names: None }
    }

    pub(super) fn name_files(&mut self, names: Namer) {
        self.names = Some(names);
    }

    /// Creates a file. The name that the client gives is only stored.
    pub(super) fn create(&mut self, about: About) -> io::Result<(File, FormFile)> {
        let name = match &mut self.names {
            Some(name) => name(&PartHead {
                name: &about.name,
                file_name: Some(&about.file_name),
                content_type: about.content_type.as_deref(),
            }),
            None => random_name(),
        };
        if !is_plain(&name) {
            let why = "the name for a file is not a single component of a path";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let path = self.path.join(name);
        // The open fails if the name exists. So no other process can have put a link there.
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let handle = options.open(&path)?;
        let file = FormFile {
            about,
            len: 0,
            path,
        };
        Ok((handle, file))
    }
}

impl std::fmt::Debug for Folder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.path.fmt(f)
    }
}

/// 128 random bits as digits. Names do not repeat, and cannot be predicted without access to the folder. The
/// standard library seeds its hash maps from the random numbers of the system; this saves a dependency.
fn random_name() -> String {
    let random = |n: u8| RandomState::new().hash_one(n);
    format!("{:016x}{:016x}", random(0), random(1))
}

fn is_plain(name: &str) -> bool {
    let mut components = Path::new(name).components();
    let one = components.next();
    let plain = matches!(one, Some(Component::Normal(one)) if one == name);
    plain && components.next().is_none() && !name.bytes().any(is_special) && !is_device(name)
}

/// Maximum bytes of a name from [`display_name`]. Common file systems allow more, so a suffix can be added
/// that makes the name unique.
const MAX_DISPLAY_NAME: usize = 200;

/// Maximum bytes of an extension, with its dot, that a shortened name keeps.
const MAX_EXTENSION: usize = 21;

/// Makes a name that can be shown to a person from the file name that a client has sent.
///
/// The result is the part after the last slash or backslash, with these changes. Control characters, invisible
/// characters, and characters with a meaning in the paths of some system are replaced by `_`. Dots and spaces
/// at both ends are removed. The name of a device gets a `_` before it. The length is at most 200 bytes; a
/// shortened name keeps an extension of at most 20 bytes. If nothing remains, the result is `file`.
///
/// The result is also a harmless component of a path on any system. But two files may have the same name, or
/// names that a file system treats as equal. So create files with such names by `create_new`, in a folder of
/// their own.
///
/// ```
/// use peregrine::multipart::display_name;
///
/// assert_eq!(display_name("C:\\photos\\falcon.jpg"), "falcon.jpg");
/// assert_eq!(display_name("../../etc/passwd"), "passwd");
/// assert_eq!(display_name("a\"b\r\n<c>.txt"), "a_b___c_.txt");
/// assert_eq!(display_name("con.txt"), "_con.txt");
/// assert_eq!(display_name(".."), "file");
/// ```
pub fn display_name(file_name: &str) -> String {
    let last = file_name.rsplit(['/', '\\']).next().unwrap_or_default();
    let name: String = last.chars().map(harmless).collect();
    let is_blank = |c: char| c == '.' || c.is_whitespace();
    let name = name.trim_start_matches(is_blank).trim_end_matches(is_blank);
    match &*shortened(name) {
        "" => "file".to_owned(),
        device if is_device(device) => format!("_{device}"),
        name => name.to_owned(),
    }
}

/// A name of at most [`MAX_DISPLAY_NAME`] bytes, with its extension.
fn shortened(name: &str) -> Cow<'_, str> {
    if name.len() <= MAX_DISPLAY_NAME {
        return Cow::Borrowed(name);
    }
    let dot = name.rfind('.').unwrap_or(name.len());
    let (stem, extension) = match name.len() - dot <= MAX_EXTENSION {
        true => name.split_at(dot),
        false => (name, ""),
    };
    let end = (0..=stem.len().min(MAX_DISPLAY_NAME - extension.len())).rev();
    let end = end.into_iter().find(|end| stem.is_char_boundary(*end));
    let stem = stem[..end.unwrap_or(0)].trim_end_matches(|c: char| c == '.' || c.is_whitespace());
    Cow::Owned(format!("{stem}{extension}"))
}

fn harmless(c: char) -> char {
    let is_special = u8::try_from(c).is_ok_and(|b| b.is_ascii() && is_special(b));
    match c {
        '"' | '<' | '>' | '|' | '?' | '*' => '_',
        c if is_special || is_invisible(c) || c.is_control() => '_',
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_names() {
        let long = "\u{e4}".repeat(150);
        for (sent, shown) in [
            ("a.txt", "a.txt"),
            ("", "file"),
            ("/", "file"),
            ("a/", "file"),
            ("a\\..", "file"),
            (" . .a. .", "a"),
            (".htaccess", "htaccess"),
            ("\0\u{202e}gpj.exe", "__gpj.exe"),
            ("a:b", "a_b"),
            ("a\u{61c}\u{180e}\u{2028}\u{e0041}b", "a____b"),
            ("NUL", "_NUL"),
            ("com1.tar.gz", "_com1.tar.gz"),
            ("\u{fffd}.txt", "\u{fffd}.txt"),
            ("100%.txt", "100%.txt"),
            (&long, &long[..200]),
            (&format!("a{long}"), &format!("a{}", &long[..198])),
            (&format!("{long}.jpeg"), &format!("{}.jpeg", &long[..194])),
            (&format!("{long}a.b.txt"), &format!("{}.txt", &long[..196])),
            (&format!("{long}.{long}"), &long[..200]),
            (&format!("{long}."), &long[..200]),
            (
                &format!("{}.. {}.x", &long[..194], &long[..40]),
                &format!("{}.x", &long[..194]),
            ),
        ] {
            assert_eq!(display_name(sent), shown, "{sent:?}");
            assert_eq!(display_name(shown), shown, "nothing more is changed");
        }
    }

    /// For any input, the result is one plain component.
    #[test]
    fn display_names_are_plain() {
        let pieces = [
            "a", ".", "..", "/", "\\", ":", " ", "con", "\0", "\u{ad}", "\u{e4}", "\n",
        ];
        for a in pieces {
            for b in pieces {
                for c in pieces {
                    let shown = display_name(&[a, b, c].concat());
                    assert!(is_plain(&shown), "{shown:?}");
                    assert_eq!(display_name(&shown), shown);
                }
            }
        }
        for c in '\0'..='\u{2fff}' {
            assert!(is_plain(&display_name(&format!("{c}"))), "{c:?}");
        }
    }

    #[test]
    fn given_names_are_one_component() {
        for good in ["a", "a.txt", ".a", "a b", "-"] {
            assert!(is_plain(good), "{good}");
        }
        for bad in [
            "", ".", "..", "a/b", "/a", "a/", "./a", "a\\b", "c:a", "nul", "a\0",
        ] {
            assert!(!is_plain(bad), "{bad}");
        }
    }

    #[test]
    fn random_names_differ() {
        let names: std::collections::HashSet<_> = (0..1000).map(|_| random_name()).collect();
        assert_eq!(names.len(), 1000);
        assert!(names.iter().all(|name| name.len() == 32 && is_plain(name)));
    }
}
