//! Choice of a content coding from `Accept-Encoding` (RFC 9110 section 12.5.3).

use crate::http::accept::weight;

/// A content coding, or none (RFC 9110 section 8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    /// None.
    Identity,
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
    /// RFC 1952.
    Gzip,
    /// The format of RFC 1950.
    Deflate,
}

impl Coding {
    /// The name in `Content-Encoding`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Coding::Identity => "identity",
            Coding::Brotli => "br",
            Coding::Zstd => "zstd",
            Coding::Gzip => "gzip",
            Coding::Deflate => "deflate",
        }
    }
}

/// Weights in thousandths by coding, from `Accept-Encoding`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AcceptedCodings {
    listed: [Option<u16>; 5],
    any: Option<u16>,
}

impl AcceptedCodings {
    /// Reads all `Accept-Encoding` field lines. Parts that cannot be parsed are skipped.
    pub(crate) fn parse<'a>(lines: impl Iterator<Item = &'a [u8]>) -> AcceptedCodings {
        let mut accepted = AcceptedCodings {
            listed: [None; 5],
            any: None,
        };
        for element in lines.flat_map(|line| line.split(|&b| b == b',')) {
            let mut parts = element.split(|&b| b == b';').map(<[u8]>::trim_ascii);
            let name = parts.next().unwrap_or_default();
            let Some(weight) = weight(parts) else {
                continue;
            };
            match slot(name) {
                Some(coding) => accepted.listed[coding as usize] = Some(weight),
                None if name == b"*" => accepted.any = Some(weight),
                None => {}
            }
        }
        accepted
    }

    /// The weight that the client gives to a coding; 0: it must not be sent.
    fn weight(&self, coding: Coding) -> u16 {
        self.listed[coding as usize].or(self.any).unwrap_or(0)
    }

    /// The coding of `there` with the highest weight. `there` is in the server's order of preference.
    ///
    /// If the client accepts none of them, the result is `Identity`, even if the client excludes that too: a
    /// response that most clients can read is better than 406.
    pub(crate) fn choose(&self, there: impl Iterator<Item = Coding>) -> Coding {
        let plain = self.listed[Coding::Identity as usize].unwrap_or(0);
        let mut best = (Coding::Identity, plain);
        for coding in there.filter(|coding| *coding != Coding::Identity) {
            let weight = self.weight(coding);
            // At equal weights the smaller representation wins.
            let is_better = match best.0 {
                Coding::Identity => weight > 0 && weight >= best.1,
                _ => weight > best.1,
            };
            if is_better {
                best = (coding, weight);
            }
        }
        best.0
    }
}

fn slot(name: &[u8]) -> Option<Coding> {
    [
        (&b"gzip"[..], Coding::Gzip),
        // RFC 9110 section 8.4.1.3: the same coding.
        (b"x-gzip", Coding::Gzip),
        (b"br", Coding::Brotli),
        (b"zstd", Coding::Zstd),
        (b"deflate", Coding::Deflate),
        (b"identity", Coding::Identity),
    ]
    .into_iter()
    .find(|(known, _)| name.eq_ignore_ascii_case(known))
    .map(|(_, coding)| coding)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preferred_coding_that_exists() {
        use Coding::{Brotli, Gzip, Identity, Zstd};
        let all = &[Identity, Brotli, Zstd, Gzip][..];
        for (field, there, expected) in [
            ("gzip, deflate, br, zstd", all, Brotli),
            ("gzip, deflate, br, zstd", &[Identity, Gzip], Gzip),
            ("gzip", &[Identity, Brotli], Identity),
            ("", all, Identity),
            ("identity", all, Identity),
            ("br;q=0.5, gzip;q=0.8", all, Gzip),
            ("br;q=0, gzip;q=0, zstd;q=0", all, Identity),
            ("*", all, Brotli),
            ("*;q=0.1, gzip;q=0.2", all, Gzip),
            ("br;q=0, *", all, Zstd),
            ("*;q=0", all, Identity),
            ("identity;q=0, br;q=0.001", all, Brotli),
            ("identity;q=0", all, Identity),
            ("gzip;q=0.5, identity", all, Identity),
            ("gzip;q=1.0, identity", all, Gzip),
            ("x-gzip", all, Gzip),
            ("GZIP ; Q=1.000", all, Gzip),
            ("gzip;q=1.001, br;q=2", all, Identity),
            ("gzip;q=0.0001", all, Identity),
            ("gzip;q=-1", all, Identity),
            ("gzip;q=.5", all, Identity),
            ("gzip;level=9", all, Gzip),
            (",, gzip ,,", all, Gzip),
            (
                "br;q=0.9, zstd;q=0.9, gzip;q=0.9",
                &[Identity, Gzip, Zstd],
                Gzip,
            ),
        ] {
            let accepted = AcceptedCodings::parse([field.as_bytes()].into_iter());
            assert_eq!(accepted.choose(there.iter().copied()), expected, "{field}");
        }
        let lines = [&b"br;q=0.1"[..], b"gzip"].into_iter();
        assert_eq!(
            AcceptedCodings::parse(lines).choose(all.iter().copied()),
            Gzip
        );
    }
}
