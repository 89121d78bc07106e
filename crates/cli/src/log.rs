//! Access logs: for eyes, for tools, and as JSON.

use crate::args::Log;
use crate::color;
use peregrine::access_log::AccessEntry;
use std::io::{IsTerminal, Write};
use std::time::Duration;

/// How a line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Pretty { color: bool },
    Plain,
    Json,
}

impl Form {
    /// `None`: no log.
    pub(crate) fn of(log: Log) -> Option<Form> {
        let is_terminal = std::io::stdout().is_terminal();
        let color = is_terminal && colors_are_wanted();
        match log {
            Log::Auto if is_terminal => Some(Form::Pretty { color }),
            Log::Auto | Log::Plain => Some(Form::Plain),
            Log::Pretty => Some(Form::Pretty { color }),
            Log::Json => Some(Form::Json),
            Log::Off => None,
        }
    }

    pub(crate) fn write(self, entry: &AccessEntry<'_>, user: Option<&str>, line: &mut Vec<u8>) {
        match self {
            Form::Pretty { color } => pretty(entry, color, line),
            Form::Plain => entry.clone().with_user(user).common(line),
            Form::Json => json(entry, user, line),
        }
    }
}

/// See <https://no-color.org>.
pub(crate) fn colors_are_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// A method and a target without control characters: a client chooses them.
fn request(entry: &AccessEntry<'_>) -> (String, String) {
    let Some(request) = entry.request() else {
        return ("-".into(), "-".into());
    };
    let mut target = Vec::new();
    AccessEntry::escape(request.target(), &mut target);
    let target = String::from_utf8_lossy(&target).into_owned();
    (request.method().to_owned(), target)
}

fn pretty(entry: &AccessEntry<'_>, color: bool, line: &mut Vec<u8>) {
    let (method, target) = request(entry);
    let status = entry.status();
    let gap = if color { color::GAP } else { ' ' };
    let day = entry.unix_time() % 86_400;
    let (hour, minute, second) = (day / 3600, day / 60 % 60, day % 60);
    let took = time(entry.took());
    let size = entry.body_bytes().map_or("-".into(), size);
    // A write to a vector cannot fail.
    let _ = write!(
        line,
        "{hour:02}:{minute:02}:{second:02}{gap}{status}{gap}{method:<6} {target}{gap}{size} {took}"
    );
}

fn json(entry: &AccessEntry<'_>, user: Option<&str>, line: &mut Vec<u8>) {
    let (method, target) = request(entry);
    let quoted = |text: &str| {
        let mut out = String::from("\"");
        for c in text.chars() {
            match c {
                '"' | '\\' => out.extend(['\\', c]),
                c if c.is_control() => out += &format!("\\u{:04x}", u32::from(c)),
                c => out.push(c),
            }
        }
        out + "\""
    };
    let client = entry
        .client_addr()
        .map_or("null".into(), |addr| format!("\"{}\"", addr.ip()));
    let bytes = entry
        .body_bytes()
        .map_or("null".into(), |bytes| bytes.to_string());
    let user = user.map_or("null".into(), &quoted);
    let _ = write!(
        line,
        "{{\"time\":{},\"client\":{client},\"user\":{user},\"method\":{},\"target\":{},\"status\":{},\"bytes\":{bytes},\"seconds\":{}}}",
        entry.unix_time(),
        quoted(&method),
        quoted(&target),
        entry.status(),
        entry.took().as_secs_f64(),
    );
}

fn time(took: Duration) -> String {
    match took.as_micros() {
        micros @ 0..1000 => format!("{micros} µs"),
        micros @ 1000..1_000_000 => format!("{}.{} ms", micros / 1000, micros / 100 % 10),
        micros => format!("{}.{} s", micros / 1_000_000, micros / 100_000 % 10),
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes / 1024),
        _ => format!("{} MiB", bytes / 1_048_576),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes() {
        assert_eq!(time(Duration::from_micros(999)), "999 µs");
        assert_eq!(time(Duration::from_micros(1550)), "1.5 ms");
        assert_eq!(time(Duration::from_millis(2400)), "2.4 s");
        assert_eq!(
            [size(5), size(2048), size(3 << 20)],
            ["5 B", "2 KiB", "3 MiB"]
        );
    }
}
