//! Changes of the fields of a head.

use super::Head;
#[cfg(any(feature = "http2", feature = "http3"))]
use crate::Span;

impl Head {
    /// Removes the fields of these names, of which the table keeps no place ([`Known`](super::Known)).
    pub fn remove(&mut self, head: &[u8], names: &[&str]) {
        for index in (0..usize::from(self.count)).rev() {
            let name = self.fields[index].name.of(head);
            if names
                .iter()
                .any(|own| name.eq_ignore_ascii_case(own.as_bytes()))
            {
                self.fields
                    .copy_within(index + 1..usize::from(self.count), index);
                self.count -= 1;
                let behind = self.known.iter_mut().filter(|at| usize::from(**at) > index);
                behind.for_each(|at| *at -= 1);
            }
        }
    }

    /// The value of the first field of this name is `value`.
    #[cfg(any(feature = "http2", feature = "http3"))]
    pub(crate) fn replace_value(&mut self, name: &[u8], bytes: &[u8], value: Span) {
        let mut fields = self.fields[..usize::from(self.count)].iter_mut();
        if let Some(field) = fields.find(|field| field.name.of(bytes) == name) {
            field.value = value;
        }
    }
}
