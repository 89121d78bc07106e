//! Prints the public API of a crate, one item a line, from the JSON of rustdoc.
//!
//! The version of `public-api` in `Cargo.toml` belongs to the version of rustc: both know one format of the JSON.

use public_api::Builder;
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let json = std::env::args().nth(1).ok_or("usage: public-api-record FILE.json")?;
    let api = Builder::from_rustdoc_json(json)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build()?;
    print!("{api}");
    Ok(())
}
