//! HTML forms: multipart bodies, and uploads that are kept in files.

#[cfg(feature = "multipart")]
pub(crate) mod multipart;
#[cfg(feature = "multipart")]
pub(crate) mod upload;
