//! The page of a list: the same for each folder. Its script gets the list in JSON from the library.

use crate::folder::Allowed;
use peregrine::{Done, Response};
use pulldown_cmark::{Event, Options, Parser, html};
use std::fs::File;
use std::io::{self, Read};

const PAGE: &str = include_str!("../page/list.html");
const STYLE: &str = include_str!("../page/list.css");
const SCRIPT: &str = include_str!("../page/list.js");

/// The page runs its own script, and nothing that a file or a name holds.
pub(crate) const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The most bytes of a README that are shown.
const README: u64 = 512 << 10;

/// A part of the page.
pub(crate) enum Asset {
    Style,
    Script,
    /// What clients may do.
    Rights,
}

/// The part of the page at this path.
pub(crate) fn asset(path: &str) -> Option<Asset> {
    match path {
        "/.peregrine/list.css" => Some(Asset::Style),
        "/.peregrine/list.js" => Some(Asset::Script),
        "/.peregrine/rights.json" => Some(Asset::Rights),
        _ => None,
    }
}

impl Asset {
    pub(crate) fn send(self, allowed: Allowed, res: Response<'_>) -> Done {
        let res = res.header("Cache-Control", "no-cache");
        match self {
            Asset::Style => res.header("Content-Type", "text/css").body(STYLE),
            Asset::Script => res.header("Content-Type", "text/javascript").body(SCRIPT),
            Asset::Rights => {
                let Allowed { upload, delete, .. } = allowed;
                let rights = format!("{{\"upload\":{upload},\"delete\":{delete}}}\n");
                res.header("Content-Type", "application/json").body(rights)
            }
        }
    }
}

pub(crate) fn page(res: Response<'_>) -> Done {
    res.header("Content-Security-Policy", POLICY)
        .header("Cache-Control", "no-cache")
        .header("Vary", "Accept")
        .header("X-Content-Type-Options", "nosniff")
        .html(PAGE)
}

/// A file in Markdown as HTML. HTML in it is shown as text.
pub(crate) fn markdown(file: File) -> io::Result<String> {
    let mut text = Vec::new();
    file.take(README).read_to_end(&mut text)?;
    Ok(rendered(&String::from_utf8_lossy(&text)))
}

fn rendered(text: &str) -> String {
    let options =
        Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    let events = Parser::new_ext(text, options).map(|event| match event {
        Event::Html(text) | Event::InlineHtml(text) => Event::Text(text),
        event => event,
    });
    let mut page = String::new();
    html::push_html(&mut page, events);
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_in_markdown_is_text() {
        let page = rendered("# T\n\n<script>alert(1)</script>\n\na <img src=x onerror=y> b\n");
        assert!(page.contains("<h1>T</h1>") && page.contains("&lt;script&gt;"));
        assert!(!page.contains("<script") && !page.contains("<img"));
    }
}
