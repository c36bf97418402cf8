//! Tokens that PyJWT and jose made are accepted, and mean what was signed. The scripts
//! beside the vectors make them anew; `.ci/test` compares (Ed25519 is deterministic).

use gateway_min::{KeySet, Policy, Scratch, UnixTime, verify};
use serde_json::Value;

const CASES: &str = include_str!("interop/cases.json");
const THEIRS: &str = include_str!("interop/theirs.txt");

#[test]
fn what_other_libraries_sign_is_accepted_and_read_alike() {
    let spec: Value = serde_json::from_str(CASES).unwrap();
    let mut public = spec["jwk"].clone();
    public.as_object_mut().unwrap().remove("d");
    let mut keys = KeySet::<1>::new();
    keys.add(public.to_string().as_bytes()).unwrap();
    let policy = Policy {
        audience: "screening-gateway",
        issuer: None,
        leeway_secs: 0,
        max_lifetime_secs: 43_200,
    };
    let now = UnixTime::from_secs(spec["now"].as_i64().unwrap());
    let mut judged = 0;
    for line in THEIRS.lines() {
        let [library, name, token] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let case = name.trim_end_matches("-Ed25519");
        let case = spec["cases"]
            .as_array()
            .unwrap()
            .iter()
            .find(|known| known["name"] == case)
            .unwrap();
        let mut scratch = Scratch::new();
        let message = verify(token.as_bytes(), &keys, &policy, now, &mut scratch).unwrap();
        let signed = &case["claims"];
        assert_eq!(message.jti(), signed["jti"], "{library} {name}");
        assert_eq!(
            message.subject(),
            signed["sub"].as_str(),
            "{library} {name}"
        );
        assert_eq!(
            message.actor(),
            signed["act"]["sub"].as_str(),
            "{library} {name}"
        );
        let parameters = message
            .parameters()
            .map_or(Value::Null, |raw| serde_json::from_str(raw).unwrap());
        assert_eq!(parameters, signed["parameters"], "{library} {name}");
        judged += 1;
    }
    assert_eq!(judged, 3 + 6, "three cases by PyJWT, and twice by jose");
}
