//! Bytes as a key file, whatever it is.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut keys = gateway_min::KeySet::<4>::new();
    match keys.add(data) {
        Ok(added) => assert_eq!(added.keys, keys.len()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
