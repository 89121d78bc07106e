//! The page that lists a folder.

use super::open::Item;
use super::path::is_servable;
use crate::protocol::encode;
use crate::response::{Done, Response};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::fmt::{self, Display, Formatter, Write as _};

/// Entries that a list has at most: the page is made on the event loop, for every request anew.
pub(crate) const MOST: usize = 2000;

/// What stands in a link as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:16px/1.5 system-ui,sans-serif;max-width:50rem;margin:0 auto;padding:1rem}\
h1{font-size:1.25rem;font-weight:600;overflow-wrap:anywhere}\
ul{list-style:none;margin:0;padding:0}\
li{display:flex;flex-wrap:wrap;gap:0 1rem;border-top:1px solid #8884;padding:.5rem 0}\
a{flex:1 1 14rem;overflow-wrap:anywhere;text-decoration:none}\
a:hover{text-decoration:underline}\
span{opacity:.7;font-variant-numeric:tabular-nums}\
span:last-child{min-width:5rem;text-align:right}";

/// `path` is the folder's, decoded, empty or with a slash at its end.
pub(crate) fn answer(path: &str, mut items: Vec<Item>, dotfiles: bool, res: Response<'_>) -> Done {
    let cut = items.len() >= MOST;
    items.retain(|item| is_servable(&item.name, path.is_empty(), dotfiles));
    items.sort_by_cached_key(|item| (!item.is_folder, item.name.to_lowercase(), item.name.clone()));
    let page = page(path, &items, cut);
    res.lines(b"Cache-Control: no-cache\r\nX-Content-Type-Options: nosniff\r\n")
        .html(&page)
}

fn page(path: &str, items: &[Item], cut: bool) -> String {
    let mut page = String::new();
    let title = Escaped(path);
    // Writing to a string does not fail.
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>/{title}</title><style>{STYLE}</style></head>\n<body><h1>/{title}</h1><ul>\n"
    );
    if !path.is_empty() {
        page.push_str("<li><a href=\"../\">../</a></li>\n");
    }
    for item in items {
        let _ = row(item, &mut page);
    }
    page.push_str("</ul>");
    if cut {
        let _ = write!(
            page,
            "<p>There is more than this: only {MOST} entries were read.</p>"
        );
    }
    page.push_str("</body></html>\n");
    page
}

fn row(item: &Item, page: &mut String) -> fmt::Result {
    let slash = if item.is_folder { "/" } else { "" };
    let link = utf8_percent_encode(&item.name, PLAIN);
    let name = Escaped(&item.name);
    write!(page, "<li><a href=\"./{link}{slash}\">{name}{slash}</a>")?;
    let date = encode::date(item.modified);
    // Day to minute.
    let date = std::str::from_utf8(&date[5..22]).unwrap_or_default();
    write!(page, "<span>{date}</span>")?;
    match item.is_folder {
        true => page.write_str("<span></span></li>\n"),
        false => writeln!(page, "<span>{}</span></li>", Size(item.len)),
    }
}

/// Text that cannot be taken for markup.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.find(['&', '<', '>', '"', '\'']) {
            f.write_str(&rest[..at])?;
            f.write_str(match rest.as_bytes()[at] {
                b'&' => "&amp;",
                b'<' => "&lt;",
                b'>' => "&gt;",
                b'"' => "&quot;",
                _ => "&#39;",
            })?;
            rest = &rest[at + 1..];
        }
        f.write_str(rest)
    }
}

/// Bytes as people say them.
struct Size(u64);

impl Display for Size {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut tenths = self.0.saturating_mul(10);
        let mut unit = 0;
        while tenths >= 10_240 && unit < 4 {
            tenths /= 1024;
            unit += 1;
        }
        match unit {
            0 => write!(f, "{} B", self.0),
            unit => {
                let name = ["B", "KiB", "MiB", "GiB", "TiB"][unit];
                write!(f, "{}.{} {name}", tenths / 10, tenths % 10)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(name: &str, is_folder: bool, len: u64) -> Item {
        Item {
            name: name.to_owned(),
            is_folder,
            is_link: false,
            len,
            modified: 784_111_777,
        }
    }

    #[test]
    fn names_are_text_whatever_they_hold() {
        let name = "<script>alert('\"&')</script>.html";
        let page = page("a&b/", &[item(name, false, 1536)], false);
        assert!(page.contains("<title>/a&amp;b/</title>"));
        assert!(page.contains("&lt;script&gt;alert(&#39;&quot;&amp;&#39;)&lt;"));
        assert!(
            page.contains("href=\"./%3Cscript%3Ealert%28%27%22%26%27%29%3C%2Fscript%3E.html\"")
        );
        assert!(!page.contains("<script"));
        assert!(page.contains("<span>06 Nov 1994 08:49</span><span>1.5 KiB</span>"));
    }

    #[test]
    fn sizes() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1 << 20, "1.0 MiB"),
            (10 << 30, "10.0 GiB"),
        ] {
            assert_eq!(Size(bytes).to_string(), text);
        }
    }
}
