//! Feeds any bytes to `starling_tests::hostile::request`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| starling_tests::hostile::request(bytes));
