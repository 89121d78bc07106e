//! The page that lists a folder. It works without scripts, and needs no other file.

use super::{Form, Sort, link, time};
use crate::files::open::{Item, Items};
use crate::http::html::Escaped;
use std::fmt::{self, Display, Formatter, Write as _};

const STYLE: &str = include_str!("list.css");
const ICONS: &str = include_str!("icons.svg");
const FAVICON: &str = "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'>\
    <path d='M4 8c10 0 16 4 24 16-8-3-12-3-16 1 0-6-2-12-8-17z' fill='%23d9622b'/></svg>";

/// The `Content-Security-Policy` of the page: its own style, by its hash, and its icon. Nothing that a name holds is
/// loaded or run. A test tells the hash of a style that has changed.
pub(crate) const POLICY: &str = "default-src 'none'; style-src 'sha256-OQr+5Pz/8fyFTRjediU+99AoOkaPuk9CwMLcbjSdGmM='; \
    img-src data:; base-uri 'none'; form-action 'none'";

pub(super) fn page(path: &[u8], list: &Items, most: usize, form: Form) -> String {
    let mut page = String::new();
    // A write to a string cannot fail.
    let _ = head(path, &mut page)
        .and_then(|()| crumbs(path, form, &mut page))
        .and_then(|()| table(path, list, most, form, &mut page));
    page
}

fn head(path: &[u8], page: &mut String) -> fmt::Result {
    let title = String::from_utf8_lossy(path);
    let title = Escaped(&title);
    write!(
        page,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>/{title}</title><link rel=\"icon\" href=\"{FAVICON}\"><style>{STYLE}</style></head>\n\
         <body>{ICONS}<main>"
    )
}

/// Links to the folders above, by the names in the path.
fn crumbs(path: &[u8], form: Form, page: &mut String) -> fmt::Result {
    let inner = path.strip_suffix(b"/").unwrap_or(path);
    let names: Vec<_> = inner
        .split(|b| *b == b'/')
        .filter(|name| !name.is_empty())
        .collect();
    let order = Order(form);
    let up = |levels: usize| "../".repeat(levels);
    match names.len() {
        0 => page.write_str("<h1>/")?,
        depth => write!(
            page,
            "<h1><a href=\"{}{order}\" aria-label=\"Top folder\">/</a>",
            up(depth)
        )?,
    }
    for (at, name) in names.iter().enumerate() {
        let name = String::from_utf8_lossy(name);
        let name = Escaped(&name);
        match names.len() - at - 1 {
            0 => write!(page, "<i>&rsaquo;</i><bdi>{name}</bdi>")?,
            levels => write!(
                page,
                "<i>&rsaquo;</i><a href=\"{}{order}\"><bdi>{name}</bdi></a>",
                up(levels)
            )?,
        }
    }
    page.write_str("</h1>\n")
}

fn table(path: &[u8], list: &Items, most: usize, form: Form, page: &mut String) -> fmt::Result {
    let folders = list.items.iter().filter(|item| item.is_folder).count();
    let files = list.items.len() - folders;
    let bytes = list
        .items
        .iter()
        .filter(|item| !item.is_folder)
        .map(|item| item.len);
    let bytes = Size(bytes.fold(0, u64::saturating_add));
    let several = |n: usize| if n == 1 { "" } else { "s" };
    let (of_folders, of_files) = (several(folders), several(files));
    writeln!(
        page,
        "<p>{folders} folder{of_folders}, {files} file{of_files}, {bytes}</p>"
    )?;
    if list.cut {
        writeln!(
            page,
            "<p role=\"status\">This list is incomplete: only {most} entries of the folder were read.</p>"
        )?;
    }
    page.write_str("<table><thead><tr>")?;
    for (sort, title) in [
        (Sort::Name, "Name"),
        (Sort::Size, "Size"),
        (Sort::Time, "Modified (UTC)"),
    ] {
        column(sort, title, form, page)?;
    }
    page.write_str("</tr></thead><tbody>\n")?;
    let order = Order(form);
    if !path.is_empty() {
        writeln!(
            page,
            "<tr><td><a href=\"../{order}\"><svg class=\"d\" aria-hidden=\"true\"><use href=\"#d\"/></svg>../</a></td>\
             <td></td><td></td></tr>"
        )?;
    }
    for item in &list.items {
        row(item, order, page)?;
    }
    page.write_str("</tbody></table></main></body></html>\n")
}

/// The head of a column: a link that sorts by it, or the other way round if the list is sorted by it.
fn column(sort: Sort, title: &str, form: Form, page: &mut String) -> fmt::Result {
    let is_current = form.sort == sort;
    let state = match (is_current, form.descending) {
        (false, _) => "",
        (true, false) => " aria-sort=\"ascending\"",
        (true, true) => " aria-sort=\"descending\"",
    };
    // The largest and the newest first.
    let descending = if is_current {
        !form.descending
    } else {
        sort != Sort::Name
    };
    let (sort, order) = (sort.name(), if descending { "desc" } else { "asc" });
    write!(
        page,
        "<th{state}><a href=\"?sort={sort}&amp;order={order}\">{title}</a></th>"
    )
}

fn row(item: &Item, order: Order, page: &mut String) -> fmt::Result {
    let (link, slash) = link(item);
    let name = String::from_utf8_lossy(&item.name);
    let icon = icon(item, &name);
    let class = if item.is_folder { " class=\"d\"" } else { "" };
    let name = Escaped(&name);
    write!(page, "<tr><td><a href=\"./{link}{slash}")?;
    if item.is_folder {
        write!(page, "{order}")?;
    }
    write!(
        page,
        "\"><svg{class} aria-hidden=\"true\"><use href=\"#{icon}\"/></svg><span><bdi>{name}</bdi>{slash}</span></a></td>"
    )?;
    match item.is_folder {
        true => page.write_str("<td></td>")?,
        false => write!(
            page,
            "<td title=\"{} bytes\">{}</td>",
            item.len,
            Size(item.len)
        )?,
    }
    match time(item) {
        // Without the seconds.
        Some(time) => {
            let (day, minute) = (&time[..10], &time[11..16]);
            writeln!(
                page,
                "<td><time datetime=\"{time}\">{day} {minute}</time></td></tr>"
            )
        }
        None => page.write_str("<td></td></tr>\n"),
    }
}

/// The symbol of `icons.svg` for an item.
fn icon(item: &Item, name: &str) -> char {
    if item.is_folder {
        return 'd';
    }
    let Some(kind) = mime_guess::from_path(name).first() else {
        return 'f';
    };
    match (kind.type_().as_str(), kind.subtype().as_str()) {
        ("image", _) => 'i',
        ("audio", _) => 'a',
        ("video", _) => 'v',
        ("text", _) | (_, "json" | "javascript" | "xml" | "toml" | "x-sh" | "x-yaml") => 't',
        (
            _,
            "zip" | "gzip" | "x-tar" | "x-bzip2" | "x-xz" | "zstd" | "x-7z-compressed" | "vnd.rar",
        ) => 'z',
        _ => 'f',
    }
}

/// The query of links that keep the order of the list. Empty for the default.
#[derive(Clone, Copy)]
struct Order(Form);

impl Display for Order {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Form {
            sort, descending, ..
        } = self.0;
        match (sort, descending) {
            (Sort::Name, false) => Ok(()),
            (sort, true) => write!(f, "?sort={}&amp;order=desc", sort.name()),
            (sort, false) => write!(f, "?sort={}&amp;order=asc", sort.name()),
        }
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
    use super::super::tests::item;
    use super::*;

    #[test]
    fn names_are_text_whatever_they_hold() {
        let name = "<script>alert('\"&')</script>.html";
        let list = Items {
            items: vec![item(name, false, 1536, 784_111_777)],
            cut: false,
        };
        let page = page(b"a&b/", &list, 10, Form::default());
        assert!(page.contains("<title>/a&amp;b/</title>"));
        assert!(page.contains("<bdi>&lt;script&gt;alert(&#39;&quot;&amp;&#39;)&lt;"));
        assert!(
            page.contains("href=\"./%3Cscript%3Ealert%28%27%22%26%27%29%3C%2Fscript%3E.html\"")
        );
        assert!(!page.contains("<script"));
        assert!(page.contains(">1994-11-06 08:49</time>") && page.contains(">1.5 KiB</td>"));
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
    fn links_lead_up_by_every_name_of_the_path() {
        let list = Items::default();
        let form = Form {
            sort: Sort::Time,
            descending: true,
            json: false,
        };
        let page = page("a/<b>/\u{5d0}/".as_bytes(), &list, 10, form);
        for part in [
            "<a href=\"../../../?sort=time&amp;order=desc\" aria-label=\"Top folder\">/</a>",
            "<a href=\"../../?sort=time&amp;order=desc\"><bdi>a</bdi></a>",
            "<a href=\"../?sort=time&amp;order=desc\"><bdi>&lt;b&gt;</bdi></a>",
            "<bdi>\u{5d0}</bdi></h1>",
            "<th><a href=\"?sort=name&amp;order=asc\">Name</a>",
            "<th><a href=\"?sort=size&amp;order=desc\">Size</a>",
            "<th aria-sort=\"descending\"><a href=\"?sort=time&amp;order=asc\">",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
    }

    #[test]
    fn icons_are_there() {
        for (name, expected) in [
            ("a.png", 'i'),
            ("a.mp3", 'a'),
            ("a.webm", 'v'),
            ("a.rs", 't'),
            ("a.json", 't'),
            ("a.tar.gz", 'z'),
            ("a.pdf", 'f'),
            ("a", 'f'),
        ] {
            let icon = icon(&item(name, false, 1, 1), name);
            assert_eq!(icon, expected, "{name}");
            assert!(ICONS.contains(&format!("id=\"{icon}\"")));
        }
        assert_eq!(icon(&item("a.png", true, 1, 1), "a.png"), 'd');
    }

    #[cfg(feature = "sessions")]
    #[test]
    fn the_policy_allows_the_style() {
        use base64::Engine as _;
        let hash = ring::digest::digest(&ring::digest::SHA256, STYLE.as_bytes());
        let hash = base64::engine::general_purpose::STANDARD.encode(hash);
        assert!(POLICY.contains(&format!("'sha256-{hash}'")), "{hash}");
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
