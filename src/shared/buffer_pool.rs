//! Buffers that the connections of one thread share.

use super::output::Output;
use peregrine_protocol::h1::read_buf::Input;

/// How many buffers of each kind are kept. A connection needs them only while a request is incomplete or a
/// response is unsent; in most turns it begins and ends without one.
const KEEP: usize = 64;

/// How many wide buffers are kept for bodies of HTTP/2. A new one would be filled with zeros, which costs as much as it
/// saves.
const KEEP_WIDE: usize = 16;

/// Last in, first out, so the next buffer is one that is still in the CPU cache.
#[derive(Default)]
pub(crate) struct BufferPool {
    #[expect(clippy::vec_box, reason = "the boxes are what connections take")]
    inputs: Vec<Box<Input>>,
    #[expect(clippy::vec_box, reason = "the boxes are what connections take")]
    wide: Vec<Box<Input>>,
    #[expect(clippy::vec_box, reason = "the boxes are what connections take")]
    outputs: Vec<Box<Output>>,
    /// The number of buffers that are leased.
    #[cfg(test)]
    pub(crate) away: usize,
}

impl BufferPool {
    #[inline]
    pub(crate) fn input(&mut self) -> Box<Input> {
        #[cfg(test)]
        {
            self.away += 1;
        }
        self.inputs.pop().unwrap_or_else(|| Box::new(Input::new()))
    }

    #[inline]
    pub(crate) fn output(&mut self) -> Box<Output> {
        #[cfg(test)]
        {
            self.away += 1;
        }
        self.outputs.pop().unwrap_or_default()
    }

    /// Takes a buffer back. Its content is dropped here, so no byte of one connection can reach another.
    #[inline]
    pub(crate) fn give_input(&mut self, mut input: Box<Input>) {
        #[cfg(test)]
        self.come_back();
        if input.has_grown() {
            self.give_grown(input);
        } else if self.inputs.len() < KEEP {
            input.clear();
            self.inputs.push(input);
        }
    }

    #[cold]
    fn give_grown(&mut self, mut input: Box<Input>) {
        if input.is_wide() && self.wide.len() < KEEP_WIDE {
            input.clear();
            self.wide.push(input);
        } else if self.inputs.len() < KEEP {
            input.recycle();
            self.inputs.push(input);
        }
    }

    /// Gives a buffer more room: large frames of a body come in. It goes on with what it holds.
    #[cfg(feature = "http2")]
    pub(crate) fn widen(&mut self, input: &mut Input) {
        let wide = self.wide.pop();
        let mut wide = wide.unwrap_or_else(|| Box::new(Input::wide()));
        input.exchange_room(&mut wide);
        if self.inputs.len() < KEEP {
            self.inputs.push(wide);
        }
    }

    #[inline]
    pub(crate) fn give_output(&mut self, mut output: Box<Output>) {
        #[cfg(test)]
        self.come_back();
        if self.outputs.len() < KEEP {
            output.clear();
            self.outputs.push(output);
        }
    }

    /// Counts a buffer as returned. Also for a buffer that leaves the pool for good.
    #[cfg(test)]
    pub(crate) fn come_back(&mut self) {
        self.away = self.away.checked_sub(1).expect("given back once");
    }
}

#[cfg(all(test, feature = "http2"))]
mod tests {
    use super::*;

    fn fill(input: &mut Input, bytes: &[u8]) {
        input.space()[..bytes.len()].copy_from_slice(bytes);
        input.filled(bytes.len());
    }

    #[test]
    fn few_wide_buffers_are_kept() {
        let mut pool = BufferPool::default();
        let most = |pool: &mut BufferPool| -> Vec<_> { (0..70).map(|_| pool.input()).collect() };
        let new = Input::new().held();
        let mut inputs = most(&mut pool);
        for (n, input) in (0..).zip(&mut inputs) {
            let room = input.space().len();
            fill(input, &vec![n; room]);
            assert!(input.is_tight());
            pool.widen(input);
            assert!(input.is_wide() && !input.is_tight());
            assert_eq!(input.unread(), vec![n; room]);
            fill(input, b"more");
            assert_eq!(input.available(), room + 4);
        }
        inputs.into_iter().for_each(|input| pool.give_input(input));
        assert_eq!((pool.wide.len(), pool.inputs.len()), (KEEP_WIDE, KEEP));
        // Nothing of them is left for others, neither bytes nor room.
        for input in most(&mut pool) {
            assert_eq!((input.unread(), input.held()), (&b""[..], new));
        }
        assert!(pool.wide.iter().all(|input| input.is_empty()));
    }
}
