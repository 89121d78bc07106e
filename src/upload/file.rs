//! Files of a form on the disk, and the names they come with.

use crate::multipart::PartHead;
use crate::protocol::file_name::{is_device, is_invisible, is_special};
use std::borrow::Cow;
use std::collections::hash_map::RandomState;
use std::fs::{self, File, OpenOptions};
use std::hash::BuildHasher;
use std::io;
use std::path::{Component, Path, PathBuf};

/// A file that came with a form, on the disk. It is removed when this is dropped, unless it was
/// [kept](FormFile::keep).
#[derive(Debug)]
pub struct FormFile {
    about: About,
    len: u64,
    /// Empty when it is somebody else's.
    path: PathBuf,
}

impl FormFile {
    /// The name of its field in the form.
    pub fn name(&self) -> &str {
        &self.about.name
    }

    /// What the client calls it; see [`PartHead::file_name`].
    pub fn file_name(&self) -> &str {
        &self.about.file_name
    }

    /// [`display_name`] of that.
    pub fn display_name(&self) -> String {
        display_name(&self.about.file_name)
    }

    /// The media type that the client thinks it has. Nothing has been checked of it.
    pub fn content_type(&self) -> Option<&str> {
        self.about.content_type.as_deref()
    }

    /// Its length in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has no byte.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where it lies while this lives.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves it on the disk, where it is, for `std::fs::rename` to move it to where it belongs. It
    /// has not been synced.
    ///
    /// ```
    /// # use peregrine::{MultipartLimits, Upload};
    /// # fn main() -> Result<(), peregrine::UploadError> {
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
            // Somebody may have moved it: it is theirs then.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// What the form says of a file.
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

/// Says what a file is called.
type Namer = Box<dyn FnMut(&PartHead<'_>) -> String + Send>;

/// Where files are created.
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

    /// A new file. What the client calls it is only passed on.
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
            let why = "the name given to a file is not one component of a path";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let path = self.path.join(name);
        // Fails if anything of the name is there, so nobody can have put a link in its place.
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

/// 128 bits as digits: nobody meets one twice, and nobody who does not see the folder can tell one
/// beforehand. The standard library seeds its hash maps by the system's random numbers, which saves
/// a dependency.
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

/// Bytes of a name made by [`display_name`]: below what any common file system takes, so that there
/// is room for something to tell two of them apart.
const MAX_DISPLAY_NAME: usize = 200;

/// Bytes of an extension, with its dot, that a name keeps when it is shortened.
const MAX_EXTENSION: usize = 21;

/// A name to show to people, made of the one that a client has given to a file: what stands behind
/// its last slash or backslash, without control characters and those that have a meaning in a path on
/// some system or cannot be seen, each replaced by `_`; without dots at its beginning, dots and spaces
/// at its end, or the sense of a device; at most 200 bytes, of which what stands behind the last dot is
/// kept if it has at most 20; `file` if nothing remains.
///
/// It is also harmless as one component of a path on any system. But clients can still give the same
/// name twice, or two that a file system takes for one: create files of such names with
/// `create_new`, in a folder of their own.
///
/// ```
/// use peregrine::display_name;
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

/// At most [`MAX_DISPLAY_NAME`] bytes of a name, with its extension.
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

    /// Whatever was sent, what is shown is one plain component.
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
