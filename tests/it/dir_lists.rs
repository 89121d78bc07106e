//! Lists of folders.

use crate::scratch::{Scratch, ask, get};
use peregrine::files::{DirConfig, DirServer};
use std::time::Duration;

#[track_caller]
fn serve(scratch: &Scratch, config: DirConfig) -> DirServer {
    DirServer::with_config(scratch.root(), config).expect("a folder")
}

#[test]
fn a_list_of_a_folder() {
    let scratch = Scratch::new();
    for name in [
        "b.txt",
        "A.txt",
        "sub/x",
        ".hidden",
        "a <b>&\"'.txt",
        "é.txt",
        "100%.txt",
    ] {
        scratch.write(name, "x");
    }
    let config = DirConfig::default().list(true);
    let server = serve(&scratch, config);
    let answer = get(&server, "/");
    let page = answer.text();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.get("content-type"), Some("text/html; charset=utf-8"));
    let at = |part: &str| {
        page.find(part)
            .unwrap_or_else(|| panic!("{part} in {page}"))
    };
    // Folders first, then by name whatever the case.
    let places = [
        at("href=\"./sub/\""),
        at("href=\"./100%25.txt\""),
        at("href=\"./a%20%3Cb%3E%26%22%27.txt\""),
        at("href=\"./A.txt\""),
        at("href=\"./b.txt\""),
        at("href=\"./%C3%A9.txt\""),
    ];
    assert!(places.is_sorted(), "{places:?}");
    assert!(page.contains("01 Jan 2020 00:00") && page.contains("1 B"));
    assert!(!page.contains(".hidden") && !page.contains("<b>"));
    assert!(!page.contains(&*scratch.outside().to_string_lossy()));
    // Every link leads to what it says.
    for link in page.split("href=\"./").skip(1) {
        let path = link.split('"').next().expect("an end");
        assert_eq!(get(&server, &format!("/{path}")).status, 200, "{path}");
    }
    assert!(get(&server, "/sub/").text().contains("href=\"../\""));
}

/// A list is made once for all that ask for it in a while, and is no dearer by HEAD.
#[test]
fn a_list_is_kept_like_a_file() {
    let scratch = Scratch::new();
    scratch.write("sub/a.txt", "x");
    for (recheck, changed) in [(3600, false), (0, true)] {
        let config = DirConfig::default()
            .list(true)
            .recheck(Duration::from_secs(recheck))
            .cache_control("max-age=3600");
        let server = serve(&scratch, config);
        let first = get(&server, "/sub/");
        assert!(first.text().contains("a.txt") && !first.text().contains("b.txt"));
        assert_eq!(first.get("cache-control"), Some("no-cache"));
        let tag = first.get("etag").expect("a tag").to_owned();
        let known = format!("If-None-Match: {tag}\r\n");
        assert_eq!(ask(&server, "GET", "/sub/", &known).status, 304);
        scratch.write("sub/b.txt", "x");
        let (get, head) = (get(&server, "/sub/"), ask(&server, "HEAD", "/sub/", ""));
        assert_eq!(get.text().contains("b.txt"), changed);
        assert_eq!(get.fields, head.fields);
        std::fs::remove_file(scratch.path("sub/b.txt")).expect("removed");
    }
}

#[test]
fn the_entries_of_a_list_are_limited() {
    let scratch = Scratch::new();
    for n in 0..20 {
        scratch.write(&format!("file-{n}"), "x");
        scratch.write(&format!(".hidden-{n}"), "x");
    }
    for (list_entries, most) in [(0, 0), (7, 7), (40, 20)] {
        let config = DirConfig::default().list(true).list_entries(list_entries);
        let page = get(&serve(&scratch, config), "/");
        let links = page.text().matches("href=\"./").count();
        // Hidden ones are read, too.
        assert!(
            links <= most && (list_entries < 40 || links == most),
            "{links}"
        );
        assert_eq!(
            page.text().contains("This list is incomplete"),
            list_entries < 40
        );
    }
}
