//! Every bound on what a form can make its reader hold.

/// What one `multipart/form-data` body may bring; the table in [`Config`](crate::Config#limits)
/// has these among all others. Each is met exactly, wherever the body was cut into pieces.
///
/// The limits of the server come first: a body that is buffered has at most
/// [`Limits::body_bytes`](crate::Limits::body_bytes), 1 MiB unless set otherwise.
///
/// ```
/// use peregrine::MultipartLimits;
///
/// let photos = MultipartLimits { parts: 20, file_bytes: 8 << 20, ..MultipartLimits::default() };
/// assert_eq!(photos.text_bytes, 64 << 10);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MultipartLimits {
    /// Parts of a form, fields and files together; 413 above, when the part begins. Default:
    /// 128.
    pub parts: usize,
    /// Bytes of the header lines of one part with the empty line behind them; 413 above. At most
    /// 65,535. Also bounds what may stand before the first boundary, which is thrown away: 400.
    /// Default: 8 KiB.
    pub header_bytes: usize,
    /// Bytes of one part without a file name; 413 above. Default: 64 KiB.
    pub text_bytes: usize,
    /// Bytes of the header lines and of the parts without a file name, of all parts together:
    /// about what a collected form takes in memory. 413 above. Default: 1 MiB.
    pub memory_bytes: usize,
    /// Bytes of one part with a file name; 413 above. Default: 32 MiB.
    pub file_bytes: u64,
    /// Bytes of the body, with boundaries and all that is thrown away; 413 above. Default: 64
    /// MiB.
    pub total_bytes: u64,
}

impl Default for MultipartLimits {
    fn default() -> MultipartLimits {
        MultipartLimits {
            parts: 128,
            header_bytes: 8 << 10,
            text_bytes: 64 << 10,
            memory_bytes: 1 << 20,
            file_bytes: 32 << 20,
            total_bytes: 64 << 20,
        }
    }
}
