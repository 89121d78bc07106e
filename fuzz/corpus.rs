//! Writes the seeds of every check, the cases of `tests/cases` among them, to `fuzz/corpus`, where
//! cargo-fuzz looks for inputs.

use std::{env, fs, path::Path};

fn main() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for check in env::args().skip(1) {
        let folder = corpus.join(&check);
        fs::create_dir_all(&folder).expect("a folder");
        for (i, seed) in peregrine_fuzz::seeds::of(&check).into_iter().enumerate() {
            fs::write(folder.join(format!("seed-{i}")), seed).expect("a file");
        }
    }
}
