//! Bytes as claims that our key has signed.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let token = gateway_fuzz::sign(br#"{"alg":"EdDSA"}"#, data);
    if let Ok(jti) = gateway_fuzz::judge(token.as_bytes()) {
        let claims: serde_json::Value = serde_json::from_slice(data).unwrap();
        assert_eq!(claims["jti"].as_str(), Some(jti.as_str()));
        assert!(claims["exp"].as_i64().unwrap() > 0);
    }
});
