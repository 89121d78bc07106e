//! The list of a folder, in its forms.

mod page;

pub(crate) use page::POLICY;

use super::open::{Item, Items};
use crate::http::accept;
use crate::http::json_string::push_string;
use crate::http::request::Request;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, percent_encode};
use peregrine_protocol::http::encode;
use std::borrow::Cow;
use std::cmp::Reverse;

/// Characters that a link contains unencoded.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// By what a list is sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Sort {
    #[default]
    Name,
    Size,
    Time,
}

impl Sort {
    /// The value of `sort` in a query.
    fn name(self) -> &'static str {
        match self {
            Sort::Name => "name",
            Sort::Size => "size",
            Sort::Time => "time",
        }
    }
}

/// What a client asks of a list. There are twelve forms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Form {
    sort: Sort,
    descending: bool,
    json: bool,
}

impl Form {
    #[cfg(test)]
    pub(crate) fn descending() -> Form {
        Form {
            descending: true,
            ..Form::default()
        }
    }

    /// By the query and by `Accept`. Values that mean nothing count as absent.
    pub(crate) fn of(req: &Request<'_>) -> Form {
        let asked = req.query("sort");
        let sort = [Sort::Size, Sort::Time]
            .into_iter()
            .find(|sort| asked.as_deref() == Some(sort.name()));
        Form {
            sort: sort.unwrap_or_default(),
            descending: req.query("order").as_deref() == Some("desc"),
            json: accept::choose(req, &["text/html", "application/json"]) == 1,
        }
    }

    /// The name of the list of `path` in the cache: the path itself for the default form. No path has a zero byte.
    pub(crate) fn key(self, path: &[u8]) -> Cow<'_, [u8]> {
        if self == Form::default() {
            return Cow::Borrowed(path);
        }
        let flags = (u8::from(self.json) << 1) | u8::from(self.descending);
        Cow::Owned([path, &[0, (self.sort as u8) << 2 | flags]].concat())
    }

    /// The name of what all lists of `path` are made from.
    pub(crate) fn source_key(path: &[u8]) -> Vec<u8> {
        [path, &[0, u8::MAX]].concat()
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self.json {
            true => "application/json",
            false => "text/html; charset=utf-8",
        }
    }

    /// `path` is that of the folder: decoded, empty or with a slash at its end. `most` of its entries were read.
    pub(crate) fn write(self, path: &[u8], mut list: Items, most: usize) -> String {
        self.order(&mut list.items);
        match self.json {
            true => json(path, &list),
            false => page::page(path, &list, most, self),
        }
    }

    /// Folders are first in every order. Equal sizes and times are in the order of names. Folders have no size.
    fn order(self, items: &mut [Item]) {
        items.sort_by_cached_key(|item| {
            let name = String::from_utf8_lossy(&item.name).to_lowercase();
            (name, item.name.clone())
        });
        let value = |item: &Item| match self.sort {
            Sort::Name => 0,
            Sort::Size if item.is_folder => 0,
            Sort::Size => item.len,
            Sort::Time => item.modified,
        };
        match (self.descending, self.sort) {
            (true, Sort::Name) => items.reverse(),
            (true, _) => items.sort_by_key(|item| Reverse(value(item))),
            (false, _) => items.sort_by_key(value),
        }
        items.sort_by_key(|item| !item.is_folder);
    }
}

/// The link to an item, relative to its folder.
fn link(item: &Item) -> (PercentEncode<'_>, &'static str) {
    let slash = if item.is_folder { "/" } else { "" };
    (percent_encode(&item.name, PLAIN), slash)
}

/// `2020-01-31T23:59:59Z`; `None`: the time is not known.
fn time(item: &Item) -> Option<String> {
    let time = encode::timestamp(item.modified);
    (item.modified > 0).then(|| String::from_utf8_lossy(&time).into_owned())
}

fn json(path: &[u8], list: &Items) -> String {
    let mut out = String::from("{\"path\":");
    push_string(&format!("/{}", String::from_utf8_lossy(path)), &mut out);
    out.push_str(",\"complete\":");
    out.push_str(if list.cut { "false" } else { "true" });
    out.push_str(",\"entries\":[");
    for (at, item) in list.items.iter().enumerate() {
        out.push_str(if at > 0 { ",\n" } else { "\n" });
        out.push_str("{\"name\":");
        push_string(&String::from_utf8_lossy(&item.name), &mut out);
        let (link, slash) = link(item);
        out.push_str(&format!(",\"url\":\"./{link}{slash}\",\"type\":"));
        match item.is_folder {
            true => out.push_str("\"folder\""),
            false => out.push_str(&format!("\"file\",\"size\":{}", item.len)),
        }
        match time(item) {
            Some(time) => out.push_str(&format!(",\"modified\":\"{time}\"}}")),
            None => out.push_str(",\"modified\":null}"),
        }
    }
    out.push_str("\n]}\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn item(name: &str, is_folder: bool, len: u64, modified: u64) -> Item {
        Item {
            name: name.as_bytes().to_vec(),
            is_folder,
            is_link: false,
            len,
            modified,
        }
    }

    #[test]
    fn folders_are_first_in_every_order() {
        let form = |sort, descending| Form {
            sort,
            descending,
            json: false,
        };
        for (form, expected) in [
            (form(Sort::Name, false), "A/ z/ B c d"),
            (form(Sort::Name, true), "z/ A/ d c B"),
            (form(Sort::Size, false), "A/ z/ c d B"),
            (form(Sort::Size, true), "A/ z/ B c d"),
            (form(Sort::Time, false), "z/ A/ d c B"),
            (form(Sort::Time, true), "A/ z/ B c d"),
        ] {
            let mut items = [
                item("c", false, 5, 20),
                item("z", true, 9, 1),
                item("B", false, 70, 30),
                item("A", true, 4, 2),
                item("d", false, 5, 10),
            ];
            form.order(&mut items);
            let name = |item: &Item| {
                let (name, slash) = link(item);
                format!("{name}{slash}")
            };
            let names: Vec<_> = items.iter().map(name).collect();
            assert_eq!(names.join(" "), expected, "{form:?}");
        }
    }

    #[test]
    fn every_form_has_a_place_of_its_own() {
        let mut keys = std::collections::HashSet::new();
        for sort in [Sort::Name, Sort::Size, Sort::Time] {
            for (descending, json) in [(false, false), (true, false), (false, true), (true, true)] {
                let form = Form {
                    sort,
                    descending,
                    json,
                };
                assert!(keys.insert(form.key(b"a/").into_owned()));
            }
        }
        assert!(keys.insert(Form::source_key(b"a/")));
        assert!(keys.contains(&b"a/"[..]));
    }

    #[test]
    fn json_has_every_name() {
        let mut strange = item("a\"\u{202e}\n", false, 7, 0);
        strange.name.push(0xff);
        let list = Items {
            items: vec![item("sub", true, 4096, 784_111_777), strange],
            cut: true,
        };
        let expected = "{\"path\":\"/a&b/\",\"complete\":false,\"entries\":[\n\
            {\"name\":\"sub\",\"url\":\"./sub/\",\"type\":\"folder\",\"modified\":\"1994-11-06T08:49:37Z\"},\n\
            {\"name\":\"a\\\"\u{202e}\\n\u{fffd}\",\"url\":\"./a%22%E2%80%AE%0A%FF\",\"type\":\"file\",\"size\":7,\"modified\":null}\n]}\n";
        assert_eq!(json(b"a&b/", &list), expected);
    }
}
