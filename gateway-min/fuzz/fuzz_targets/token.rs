//! Bytes as a token, as a request's body, and as a line for `verify`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut room = vec![0; data.len()];
    assert!(gateway_fuzz::judge(data).is_err(), "a token without our key");
    if let Ok(token) = gateway_min::message_of(data, &mut room) {
        let body: serde_json::Value = serde_json::from_slice(data).unwrap();
        assert_eq!(body["message"].as_str().unwrap().as_bytes(), token);
    }
    if let Ok(text) = gateway_min::json_string(data, &mut room) {
        assert_eq!(serde_json::from_slice::<String>(data).unwrap().as_bytes(), text);
    }
});
