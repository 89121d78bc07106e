//! Priorities (RFC 9218). Those of RFC 7540 are not looked at.

use crate::syntax;

/// Which response is sent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priority {
    /// 0 to 7; the lowest is sent first.
    pub urgency: u8,
    /// Pieces are of use before all is there: such responses take turns.
    pub incremental: bool,
}

impl Default for Priority {
    fn default() -> Priority {
        Priority {
            urgency: 3,
            incremental: false,
        }
    }
}

impl Priority {
    /// The value of a `Priority` field or of PRIORITY_UPDATE. What is not understood is ignored, as RFC 9218
    /// section 4 asks for.
    pub fn parse(value: &[u8]) -> Priority {
        let mut priority = Priority::default();
        for member in syntax::list(value) {
            let member = member.split(|&b| b == b';').next().unwrap_or(member);
            match syntax::trim(member) {
                [b'u', b'=', urgency @ b'0'..=b'7'] => priority.urgency = urgency - b'0',
                b"i" | b"i=?1" => priority.incremental = true,
                b"i=?0" => priority.incremental = false,
                _ => {}
            }
        }
        priority
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_rfc_9218() {
        for (value, urgency, incremental) in [
            ("", 3, false),
            ("u=0", 0, false),
            ("u=7, i", 7, true),
            ("i", 3, true),
            ("i=?0", 3, false),
            (" u=5 ,\ti=?1;x", 5, true),
            ("u=2, u=4", 4, false),
            ("u=8", 3, false),
            ("u=-1", 3, false),
            ("u=1.0", 3, false),
            ("u", 3, false),
            ("i=1", 3, false),
            ("U=1, x=y, i", 3, true),
            ("\"", 3, false),
        ] {
            let found = Priority::parse(value.as_bytes());
            let wanted = Priority {
                urgency,
                incremental,
            };
            assert_eq!(found, wanted, "{value}");
        }
    }
}
