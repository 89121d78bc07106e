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
    // Windows has no such name with a quote or a bracket.
    let (strange, its_link) = match cfg!(windows) {
        true => ("a &'.txt", "href=\"./a%20%26%27.txt\""),
        false => ("a <b>&\"'.txt", "href=\"./a%20%3Cb%3E%26%22%27.txt\""),
    };
    for name in [
        "b.txt", "A.txt", "sub/x", ".hidden", strange, "é.txt", "100%.txt",
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
        at(its_link),
        at("href=\"./A.txt\""),
        at("href=\"./b.txt\""),
        at("href=\"./%C3%A9.txt\""),
    ];
    assert!(places.is_sorted(), "{places:?}");
    assert!(page.contains(">2020-01-01 00:00<") && page.contains(">1 B<"));
    assert!(!page.contains(".hidden") && !page.contains("<b>"));
    assert!(!page.contains(&*scratch.outside().to_string_lossy()));
    // Every link leads to what it says.
    for link in page.split("href=\"./").skip(1) {
        let path = link.split('"').next().expect("an end");
        assert_eq!(get(&server, &format!("/{path}")).status, 200, "{path}");
    }
    assert!(get(&server, "/sub/").text().contains("href=\"../\""));
}

/// All forms are made from one read of the folder, so they tell the same.
#[test]
fn a_folder_is_read_once_for_all_forms() {
    let scratch = Scratch::new();
    scratch.write("one", "x");
    let hour = Duration::from_secs(3600);
    let server = serve(&scratch, DirConfig::default().list(true).recheck(hour));
    assert!(get(&server, "/?sort=size").text().contains("one"));
    scratch.write("two", "x");
    let json = "Accept: application/json\r\n";
    for query in ["/", "/?sort=time", "/?sort=name&order=desc", "/?sort=size"] {
        for fields in ["", json] {
            let list = ask(&server, "GET", query, fields);
            assert!(
                list.text().contains("one") && !list.text().contains("two"),
                "{query}"
            );
        }
    }
    // An index comes and goes: lists are kept as before.
    let server = serve(
        &scratch,
        DirConfig::default().list(true).recheck(Duration::ZERO),
    );
    scratch.write("index.html", "the index");
    assert_eq!(get(&server, "/?sort=size").text(), "the index");
    std::fs::remove_file(scratch.path("index.html")).expect("removed");
    assert!(get(&server, "/?sort=size").text().contains("two"));
    assert!(get(&server, "/").text().contains("two"));
    // What a cache has no room for is read each time.
    let small = DirConfig::default().list(true).recheck(hour).hot_bytes(0);
    let server = serve(&scratch, small);
    assert!(!get(&server, "/").text().contains("three"));
    scratch.write("three", "x");
    assert!(get(&server, "/").text().contains("three"));
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

/// The names of a page, in their order.
fn names(page: &str) -> Vec<&str> {
    let links = page.split("href=\"./").skip(1);
    links
        .map(|link| link.split(['"', '?']).next().expect("an end"))
        .collect()
}

#[test]
fn a_list_is_sorted_by_its_query() {
    let scratch = Scratch::new();
    for (name, bytes, time) in [("b", 3, 300), ("a", 2, 100), ("c", 1, 200), ("sub/x", 9, 9)] {
        scratch.write_at(name, vec![b'x'; bytes], 1_000_000_000 + time);
    }
    // Also where each form is kept.
    for recheck in [0, 3600] {
        let config = DirConfig::default()
            .list(true)
            .recheck(Duration::from_secs(recheck));
        let server = serve(&scratch, config);
        for _ in 0..2 {
            for (query, expected) in [
                ("", "sub/ a b c"),
                ("?", "sub/ a b c"),
                ("?sort=name&order=desc", "sub/ c b a"),
                ("?order=desc", "sub/ c b a"),
                ("?sort=size", "sub/ c a b"),
                ("?sort=size&order=desc", "sub/ b a c"),
                ("?sort=time&order=asc", "sub/ a c b"),
                ("?order=desc&sort=time", "sub/ b c a"),
                // What means nothing has no effect.
                ("?sort=%73ize&order=DESC", "sub/ c a b"),
                ("?sort=Size", "sub/ a b c"),
                ("?sort=size%00&order=%ff", "sub/ a b c"),
                ("?sort[]=size&<script>", "sub/ a b c"),
                ("?sort=time&sort=size", "sub/ a c b"),
                ("?sort", "sub/ a b c"),
            ] {
                let answer = get(&server, &format!("/{query}"));
                assert_eq!(answer.status, 200, "{query}");
                assert_eq!(names(answer.text()).join(" "), expected, "{query}");
                assert!(!answer.text().contains("<script"));
            }
        }
        // A file has no order.
        assert_eq!(get(&server, "/a?sort=size&order=desc").text(), "xx");
    }
}

#[test]
fn a_list_in_json_for_clients_that_prefer_it() {
    let scratch = Scratch::new();
    // Windows has no name with a quote.
    let (strange, its_url) = match cfg!(windows) {
        true => ("b '1'.txt", "./b%20%271%27.txt"),
        false => ("b \"1\".txt", "./b%20%221%22.txt"),
    };
    for (name, bytes) in [(strange, "xx"), ("sub/x", "x")] {
        scratch.write(name, bytes);
    }
    let config = DirConfig::default()
        .list(true)
        .recheck(crate::scratch::AN_HOUR);
    let server = serve(&scratch, config);
    let page = get(&server, "/sub/");
    let lists = |accept: &str, expected: &str| {
        let answer = ask(&server, "GET", "/sub/", accept);
        let kind = answer.get("content-type").expect("a type").to_owned();
        assert_eq!((answer.status, &*kind), (200, expected), "{accept}");
        assert_eq!(answer.get("vary"), Some("Accept"));
        answer
    };
    let html = "text/html; charset=utf-8";
    assert_eq!(lists("Accept: */*\r\n", html).body, page.body);
    lists("Accept: image/png\r\n", html);
    lists("Accept: text/html, application/json;q=0.9\r\n", html);
    let json = lists("Accept: application/json\r\n", "application/json");
    assert_eq!(
        json.text(),
        "{\"path\":\"/sub/\",\"complete\":true,\"entries\":[\n{\"name\":\"x\",\"url\":\"./x\",\"type\":\"file\",\
         \"size\":1,\"modified\":\"2020-01-01T00:00:00Z\"}\n]}\n"
    );
    // The tag is that of the form.
    let known = |tag: &str| format!("Accept: application/json\r\nIf-None-Match: {tag}\r\n");
    let tag = json.get("etag").expect("a tag");
    let unchanged = ask(&server, "GET", "/sub/", &known(tag));
    assert_eq!(
        (unchanged.status, unchanged.get("vary")),
        (304, Some("Accept"))
    );
    let other = page.get("etag").expect("a tag");
    assert_eq!(ask(&server, "GET", "/sub/", &known(other)).status, 200);
    let top = ask(
        &server,
        "GET",
        "/?sort=name&order=desc",
        "Accept: application/json\r\n",
    );
    let value: serde_json::Value = serde_json::from_str(top.text()).expect("JSON");
    assert_eq!(value["entries"][0]["type"], "folder");
    assert_eq!(value["entries"][1]["name"], strange);
    assert_eq!(value["entries"][1]["url"], its_url);
    // A file is what it is.
    assert_eq!(
        ask(&server, "GET", "/sub/x", "Accept: application/json\r\n").text(),
        "x"
    );
}

#[test]
fn a_list_says_that_it_needs_nothing_else() {
    let scratch = Scratch::new();
    scratch.write("a", "x");
    let config = DirConfig::default().list(true);
    let policy = |config: DirConfig, path: &str| {
        let answer = get(&serve(&scratch, config), path);
        answer.get("content-security-policy").map(str::to_owned)
    };
    let list = policy(config.clone(), "/").expect("a policy");
    assert!(list.starts_with("default-src 'none'; style-src 'sha256-"));
    assert_eq!(policy(config.clone(), "/a"), None);
    let own = config.headers([("content-security-policy", "default-src 'self'")]);
    assert_eq!(policy(own, "/").as_deref(), Some("default-src 'self'"));
}
