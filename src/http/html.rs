//! Text in the pages that the library writes.

use crate::shared::file_name::is_invisible;
use std::fmt::{self, Display, Formatter};

/// Text without markup and without hidden characters. A name could otherwise show its letters in another
/// order, or a second line.
pub(crate) struct Escaped<'a>(pub(crate) &'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.find(|c| escaped(c).is_some()) {
            let (plain, special) = rest.split_at(at);
            let mut special = special.chars();
            let instead = special.next().and_then(escaped);
            f.write_str(plain)?;
            f.write_str(instead.unwrap_or_default())?;
            rest = special.as_str();
        }
        f.write_str(rest)
    }
}

/// The replacement of a character; `None`: itself.
fn escaped(c: char) -> Option<&'static str> {
    match c {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        '"' => Some("&quot;"),
        '\'' => Some("&#39;"),
        // Persian and many emoji need these.
        '\u{200c}' | '\u{200d}' => None,
        c if c.is_control() || is_invisible(c) => Some("\u{fffd}"),
        _ => None,
    }
}
