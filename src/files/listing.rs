//! The page that lists a folder.

use super::open::{Item, Items};
use crate::http::html::Escaped;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use peregrine_protocol::http::encode;
use std::fmt::{self, Display, Formatter, Write as _};

/// Characters that a link contains unencoded.
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

/// `path` is that of the folder: decoded, empty or with a slash at its end. `most` of its entries were read.
pub(crate) fn page(path: &[u8], list: Items, most: usize) -> String {
    let Items { mut items, cut } = list;
    items.sort_by_cached_key(|item| {
        let name = String::from_utf8_lossy(&item.name).to_lowercase();
        (!item.is_folder, name, item.name.clone())
    });
    let mut page = String::new();
    let title = String::from_utf8_lossy(path);
    let title = Escaped(&title);
    // A write to a string cannot fail.
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>/{title}</title><style>{STYLE}</style></head>\n<body><h1>/{title}</h1><ul>\n"
    );
    if !path.is_empty() {
        page.push_str("<li><a href=\"../\">../</a></li>\n");
    }
    for item in &items {
        let _ = row(item, &mut page);
    }
    page.push_str("</ul>");
    if cut {
        let _ = write!(
            page,
            "<p>This list is incomplete: only {most} entries of the folder were read.</p>"
        );
    }
    page.push_str("</body></html>\n");
    page
}

fn row(item: &Item, page: &mut String) -> fmt::Result {
    let slash = if item.is_folder { "/" } else { "" };
    let link = percent_encode(&item.name, PLAIN);
    let name = String::from_utf8_lossy(&item.name);
    let name = Escaped(&name);
    write!(page, "<li><a href=\"./{link}{slash}\">{name}{slash}</a>")?;
    let date = encode::date(item.modified);
    // The part from the day to the minute.
    let date = std::str::from_utf8(&date[5..22]).unwrap_or_default();
    write!(page, "<span>{date}</span>")?;
    match item.is_folder {
        true => page.write_str("<span></span></li>\n"),
        false => writeln!(page, "<span>{}</span></li>", Size(item.len)),
    }
}

/// A number of bytes in a readable unit.
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
            name: name.as_bytes().to_vec(),
            is_folder,
            is_link: false,
            len,
            modified: 784_111_777,
        }
    }

    #[test]
    fn names_are_text_whatever_they_hold() {
        let name = "<script>alert('\"&')</script>.html";
        let list = Items {
            items: vec![item(name, false, 1536)],
            cut: false,
        };
        let page = page(b"a&b/", list, 10);
        assert!(page.contains("<title>/a&amp;b/</title>"));
        assert!(page.contains("&lt;script&gt;alert(&#39;&quot;&amp;&#39;)&lt;"));
        assert!(
            page.contains("href=\"./%3Cscript%3Ealert%28%27%22%26%27%29%3C%2Fscript%3E.html\"")
        );
        assert!(!page.contains("<script"));
        assert!(page.contains("<span>06 Nov 1994 08:49</span><span>1.5 KiB</span>"));
    }

    #[test]
    fn nothing_hides_in_a_name() {
        for (name, shown) in [
            ("a\u{202e}gpj.exe", "a\u{fffd}gpj.exe"),
            (
                "\u{61c}\u{180e}\u{2028}\u{2029}\u{e0041}\u{7f}\n",
                "\u{fffd}".repeat(7).as_str(),
            ),
            (
                "\u{645}\u{6cc}\u{200c}\u{62e}",
                "\u{645}\u{6cc}\u{200c}\u{62e}",
            ),
        ] {
            assert_eq!(Escaped(name).to_string(), shown);
        }
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
