#![no_main]

#[path = "../../tests/it/hostile/bodies.rs"]
#[expect(dead_code, reason = "the other targets use the rest")]
mod bodies;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bodies::relay(bytes));
