//! Which content types get smaller by compression.

/// Whether compression of this type is likely to be useful.
pub(crate) fn is_compressible(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or("").trim();
    let known = [
        "application/javascript",
        "application/json",
        "application/wasm",
        "application/x-ndjson",
        "application/xml",
        "image/bmp",
    ];
    let begins = |start: &str| {
        let part = essence.get(..start.len());
        part.is_some_and(|part| part.eq_ignore_ascii_case(start))
    };
    let ends = |end: &str| {
        let part = essence
            .len()
            .checked_sub(end.len())
            .and_then(|at| essence.get(at..));
        part.is_some_and(|part| part.eq_ignore_ascii_case(end))
    };
    begins("text/")
        || ends("+json")
        || ends("+xml")
        || known
            .iter()
            .any(|known| essence.eq_ignore_ascii_case(known))
}
