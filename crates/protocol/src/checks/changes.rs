//! Changes of inputs that checks try.

/// Pieces that mean something.
const WORDS: [&[u8]; 31] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b":",
    b": ",
    b";",
    b"=",
    b"\"",
    b"\\",
    b",",
    b"\0",
    b"\xff",
    b"\x80",
    b"HTTP/1.1",
    b"Host: a\r\n",
    b"Content-Length: 5\r\n",
    b"0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Expect: 100-continue\r\n",
    b"Connection: close\r\n",
    b"%2",
    b"../",
    b"%2e%2E/",
    b"--X-y",
    b"\r\n--X-y\r\n",
    b"Content-Disposition: form-data; name=a\r\n",
    b"filename=\"",
    b"%22",
];

/// Inputs made of seeds, the same ones each time: numbers that look random (xorshift64*).
pub struct Changes(u64);

impl Changes {
    /// One of many rows of inputs.
    pub fn new(row: u64) -> Changes {
        Changes(0x9e37_79b9_7f4a_7c15 ^ row << 1)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit.max(1)
    }

    /// A seed with one to six changes.
    pub fn input(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut input = seeds[self.below(seeds.len())].clone();
        for _ in 0..=self.below(6) {
            self.change(&mut input, seeds);
        }
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let at = self.below(input.len() + 1);
        let end = (at + self.below(12)).min(input.len());
        match self.below(7) {
            0 => input.truncate(at),
            1 => drop(input.drain(at..end)),
            2 => input
                .splice(at..at, WORDS[self.below(WORDS.len())].to_vec())
                .for_each(drop),
            3 => input
                .splice(at..end, WORDS[self.below(WORDS.len())].to_vec())
                .for_each(drop),
            4 => input.insert(at, self.below(256) as u8),
            5 => input.splice(at..at, input[at..end].to_vec()).for_each(drop),
            _ => {
                let other = &seeds[self.below(seeds.len())];
                let from = self.below(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
        }
        if let Some(byte) = input.get_mut(at) {
            if self.below(3) == 0 {
                *byte ^= 1 << self.below(8);
            }
        }
    }
}
