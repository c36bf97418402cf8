//! Bytes as the members of a JWK.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let jwk = [br#"{"kty":"OKP","crv":"Ed25519","#.as_slice(), data, b"}"].concat();
    let mut keys = gateway_min::KeySet::<4>::new();
    if keys.add(&jwk).is_ok() {
        let jwk: serde_json::Value = serde_json::from_slice(&jwk).unwrap();
        let kid = keys.kids().next().unwrap();
        assert!(jwk.get("kid").is_none_or(|named| named == kid));
        assert!(jwk.get("d").is_none());
    }
});
