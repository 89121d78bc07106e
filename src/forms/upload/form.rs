//! A complete form: texts and files.

use super::file::FormFile;
use std::borrow::Cow;

/// The texts and files of a form that [`Upload`](crate::multipart::Upload) has read, each in the order of the form.
/// Several may have the same name.
///
/// Texts are bytes. Browsers send UTF-8 from pages in UTF-8. `text` and `texts` replace other bytes by
/// U+FFFD; [`Form::bytes`] returns the bytes as they were sent.
///
/// When this value is dropped, the files are removed, unless they were taken out ([`Form::into_files`]) and
/// [kept](FormFile::keep).
#[derive(Debug, Default)]
pub struct Form {
    texts: Vec<(String, Vec<u8>)>,
    files: Vec<FormFile>,
}

impl Form {
    /// The first text with this name.
    pub fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        self.bytes(name).map(String::from_utf8_lossy)
    }

    /// The first text with this name, as it was sent.
    pub fn bytes(&self, name: &str) -> Option<&[u8]> {
        let mut texts = self.texts.iter();
        let text = texts.find(|(key, _)| key == name);
        text.map(|(_, bytes)| &bytes[..])
    }

    /// All texts with their names.
    ///
    /// ```
    /// # use peregrine::multipart::{MultipartLimits, Upload};
    /// # let body = b"--x\r\nContent-Disposition: form-data; name=to\r\n\r\nAda\r\n\
    /// #     --x\r\nContent-Disposition: form-data; name=to\r\n\r\nBo\r\n--x--";
    /// # let (limits, folder) = (MultipartLimits::default(), std::env::temp_dir());
    /// # let form = Upload::read("multipart/form-data; boundary=x", body, limits, folder).unwrap();
    /// let recipients = form.texts().filter(|(name, _)| *name == "to");
    /// assert!(recipients.map(|(_, text)| text).eq(["Ada", "Bo"]));
    /// ```
    pub fn texts(&self) -> impl ExactSizeIterator<Item = (&str, Cow<'_, str>)> {
        let texts = self.texts.iter();
        texts.map(|(name, bytes)| (name.as_str(), String::from_utf8_lossy(bytes)))
    }

    /// The first file of the field with this name. `None` also if the user has chosen no file.
    pub fn file(&self, name: &str) -> Option<&FormFile> {
        self.files.iter().find(|file| file.name() == name)
    }

    /// All files.
    pub fn files(&self) -> &[FormFile] {
        &self.files
    }

    /// All files, taken out of the form.
    pub fn into_files(self) -> Vec<FormFile> {
        self.files
    }

    pub(super) fn begin_text(&mut self, name: &str) {
        self.texts.push((name.to_owned(), Vec::new()));
    }

    /// Appends bytes to the last text.
    pub(super) fn extend_text(&mut self, bytes: &[u8]) {
        if let Some((_, text)) = self.texts.last_mut() {
            text.extend_from_slice(bytes);
        }
    }

    pub(super) fn push_file(&mut self, file: FormFile) {
        self.files.push(file);
    }
}
