//! File names that are not safe on some system.

/// The longest name that common file systems allow, in bytes.
#[cfg(feature = "dir")]
pub(crate) const MAX_NAME: usize = 255;

/// Path separators, the mark of drives and streams, and control bytes.
#[cfg(any(feature = "dir", feature = "multipart"))]
pub(crate) fn is_special(b: u8) -> bool {
    matches!(b, 0..=0x1f | 0x7f | b'/' | b'\\' | b':')
}

/// Characters that cannot be seen in a name. Some file systems ignore them, so `.git` could be written as a
/// name that does not begin with a dot. Some of them change the direction of the text after them, or break
/// the line.
pub(crate) fn is_invisible(c: char) -> bool {
    matches!(c, '\u{80}'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}')
}

/// Invisible characters that some file systems ignore when they compare names: `Default_Ignorable_Code_Point`
/// of Unicode. Linux does so in case-insensitive folders. Emoji and some scripts use a few of them.
#[cfg(feature = "dir")]
pub(crate) fn is_ignorable(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// The names of devices on Windows, with any extension.
#[cfg(any(feature = "dir", feature = "multipart"))]
pub(crate) fn is_device(name: &str) -> bool {
    // No device name begins with another letter. For most names the check ends here.
    if !matches!(
        name.as_bytes().first().unwrap_or(&0) | 0x20,
        b'a' | b'c' | b'l' | b'n' | b'p'
    ) {
        return false;
    }
    let stem = name.split('.').next().unwrap_or(name).trim_end_matches(' ');
    let is = |device: &str| stem.eq_ignore_ascii_case(device);
    if ["con", "prn", "aux", "nul", "conin$", "conout$", "clock$"]
        .into_iter()
        .any(is)
    {
        return true;
    }
    let mut chars = stem.chars();
    let (head, port) = match chars.next_back() {
        Some(port) => (chars.as_str(), port),
        None => return false,
    };
    let is_port = matches!(port, '0'..='9' | '\u{b9}' | '\u{b2}' | '\u{b3}');
    is_port && (head.eq_ignore_ascii_case("com") || head.eq_ignore_ascii_case("lpt"))
}
