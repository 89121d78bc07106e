//! From the path of a request to the one of a file, no file touched.

use crate::Benches;
use peregrine::internals::relative_path;
use std::hint::black_box;
use std::path::{Component, Path};

pub(crate) fn add(benches: &mut Benches) {
    for (group, path) in [
        ("path, plain", "/assets/css/site.2024-07.css"),
        (
            "path, encoded",
            "/photos/summer%202024/%C3%A9t%C3%A9/picture%20001.jpg",
        ),
    ] {
        benches.add(group, "peregrine", move || {
            let path = relative_path(black_box(path));
            assert!(black_box(path).is_some());
        });
        benches.add(group, "decode, then std::path", move || {
            let path = percent_encoding::percent_decode_str(black_box(path)).decode_utf8();
            let path = path.expect("UTF-8");
            let path = Path::new(path.trim_start_matches('/'));
            let normal = |part| matches!(part, Component::Normal(_));
            assert!(black_box(path).components().all(normal));
        });
    }
}
