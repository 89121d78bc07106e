#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| peregrine_fuzz::check("nats", bytes));
