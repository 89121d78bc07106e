//! File names that are not safe on some system.

/// Longest component that any common file system takes, in bytes.
#[cfg(feature = "dir")]
pub(crate) const MAX_NAME: usize = 255;

/// Separators of some system, the mark of drives and streams, and control bytes.
pub(crate) fn is_special(b: u8) -> bool {
    matches!(b, 0..=0x1f | 0x7f | b'/' | b'\\' | b':')
}

/// Characters that cannot be seen in a name. Some file systems leave them out of it, which would let
/// `.git` be written as a name without a dot at its beginning; some turn the direction of what follows,
/// or break its line.
pub(crate) fn is_invisible(c: char) -> bool {
    matches!(c, '\u{80}'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}')
}

/// Characters that some file systems leave out when they compare names, and which nobody sees:
/// `Default_Ignorable_Code_Point` of Unicode. Folders of Linux in which case does not matter do so. Emoji and
/// other writing is made with some of them.
#[cfg(feature = "dir")]
pub(crate) fn is_ignorable(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// The names of devices on Windows, with any extension.
pub(crate) fn is_device(name: &str) -> bool {
    // None of them begins with another letter: the check that most names end at.
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
