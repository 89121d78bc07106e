//! Limits in the notation of `tests/cases`, for `cases` and `tests/it/cases.rs`.

use super::Limits;

/// Sets the limit of a line `name=number`.
pub(super) fn set_limit(limits: &mut Limits, limit: &str) {
    let (name, number) = limit.split_once('=').expect("name=number");
    let limit = match name {
        "target_bytes" => &mut limits.target_bytes,
        "head_bytes" => &mut limits.head_bytes,
        "header_fields" => &mut limits.header_fields,
        "body_bytes" => &mut limits.body_bytes,
        "chunk_extension_bytes" => &mut limits.chunk_extension_bytes,
        _ => panic!("no limit is called {name}"),
    };
    *limit = number.parse().expect("a number");
}
