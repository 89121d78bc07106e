//! A response that is made apart from the fields of layers around it.

use super::filter::{RecordedResponse, ResponseFilter};
use super::{Done, Response};
use peregrine_protocol::http::{field_block, fields};

impl Response<'_> {
    /// Responds by `respond`, which begins without the fields that are set until now. `filter` gets the response without them. They
    /// are added after it, as [`joined`] says.
    pub(crate) fn filtered_apart(
        mut self,
        filter: Box<dyn ResponseFilter>,
        respond: impl FnOnce(Response<'_>) -> Done,
    ) -> Done {
        let outer = self.take_fields();
        self.filtered(Box::new(Apart { outer, filter }), respond)
    }

    /// The block of fields that are set until now.
    pub(crate) fn fields_so_far(&mut self) -> &[u8] {
        let from = self.recorder.fields_from();
        &self.output.since(self.recorder.mark)[from..]
    }

    /// Whether a field may be set.
    #[inline]
    pub(crate) fn has_fields(&self) -> bool {
        self.recorder.begun > 0 && self.output.len_since(self.recorder.mark) > 0
    }

    /// The status that is set until now.
    #[inline]
    pub(crate) fn status_so_far(&self) -> u16 {
        self.recorder.head.status
    }

    /// Whether it is made on another thread than that of its connection, or later.
    pub(crate) fn is_late(&self) -> bool {
        self.recorder.is_late()
    }

    /// Removes the fields that are set until now.
    pub(super) fn take_fields(&mut self) -> Vec<u8> {
        let fields = self.fields_so_far().to_vec();
        self.output.truncate(self.recorder.mark);
        if !self.recorder.is_recorded() {
            self.recorder.begun = 0;
        }
        fields
    }

    /// Writes a block of fields that are known to be valid, where none is set.
    pub(super) fn with_fields(self, block: &[u8]) -> Self {
        self.recorder.push_fields(block, self.output);
        self
    }
}

struct Apart {
    outer: Vec<u8>,
    filter: Box<dyn ResponseFilter>,
}

impl ResponseFilter for Apart {
    fn apply(self: Box<Self>, response: &mut RecordedResponse<'_>) {
        self.filter.apply(response);
        if !self.outer.is_empty() {
            let fields = joined(&self.outer, response.fields());
            response.set_fields(&fields);
        }
    }
}

/// Both blocks of fields. A field of `own` replaces those of `outer` with its name, unless it is a list to which both add.
pub(super) fn joined(outer: &[u8], own: &[u8]) -> Vec<u8> {
    let mut all = Vec::with_capacity(outer.len() + own.len());
    for (name, value) in field_block::fields(outer) {
        let is_replaced = match fields::is_shared(name) {
            true => field_block::fields(own)
                .any(|field| field.0.eq_ignore_ascii_case(name) && field.1 == value),
            false => field_block::find(own, name).is_some(),
        };
        if !is_replaced {
            field_block::push(name, value, &mut all);
        }
    }
    all.extend_from_slice(own);
    all
}
