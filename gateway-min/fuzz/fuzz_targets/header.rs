//! Bytes as a protected header that our key has signed.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let token = gateway_fuzz::sign(data, br#"{"aud":"gw","exp":9,"jti":"j"}"#);
    if gateway_fuzz::judge(token.as_bytes()).is_ok() {
        let header: serde_json::Value = serde_json::from_slice(data).unwrap();
        assert!(["EdDSA", "Ed25519"].contains(&header["alg"].as_str().unwrap()));
        assert!(header.get("crit").is_none());
    }
});
