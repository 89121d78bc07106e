//! `Lease`: the buffers that a connection uses in a turn.

use crate::shared::buffer_pool::BufferPool;
use crate::shared::output::Output;
use peregrine_protocol::h1::read_buf::Input;

/// The buffers of a connection for one turn.
pub(crate) struct Lease {
    pub(crate) input: Box<Input>,
    pub(crate) output: Box<Output>,
}

impl Lease {
    /// The buffers that the connection has kept, and for others those of the pool.
    #[inline(always)]
    pub(crate) fn take(
        input: &mut Option<Box<Input>>,
        output: &mut Option<Box<Output>>,
        pool: &mut BufferPool,
    ) -> Lease {
        Lease {
            input: input.take().unwrap_or_else(|| pool.input()),
            output: output.take().unwrap_or_else(|| pool.output()),
        }
    }

    /// Ends the turn. Buffers that are not empty stay with the connection.
    #[inline(always)]
    pub(crate) fn end(
        self,
        input: &mut Option<Box<Input>>,
        output: &mut Option<Box<Output>>,
        pool: &mut BufferPool,
    ) {
        match self.input.is_empty() {
            true => pool.give_input(self.input),
            false => *input = Some(self.input),
        }
        match self.output.is_empty() {
            true => pool.give_output(self.output),
            false => *output = Some(self.output),
        }
    }
}
