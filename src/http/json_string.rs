//! JSON texts that the library writes itself (RFC 8259).

/// Appends a JSON string with its quotes.
pub(crate) fn push_string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_and_quotes_are_escaped() {
        let mut out = String::new();
        push_string("a\"\\\n\u{1}\u{7f}é", &mut out);
        assert_eq!(out, "\"a\\\"\\\\\\n\\u0001\\u007fé\"");
    }
}
