"""PyJWT as the other party: `make` prints its tokens, `check FILE` verifies ours."""

import json
import pathlib
import sys

import jwt

SPEC = json.loads((pathlib.Path(__file__).parent / "cases.json").read_text("utf-8"))
JWK = SPEC["jwk"]


def make():
    key = jwt.PyJWK.from_dict(JWK | {"alg": "EdDSA"}).key
    for case in SPEC["cases"]:
        token = jwt.encode(case["claims"], key, algorithm="EdDSA", headers=case["header"])
        print("PyJWT", case["name"], token)


def check(path):
    public = {name: JWK[name] for name in ("kty", "crv", "x", "kid")}
    keys = {public["kid"]: jwt.PyJWK.from_dict(public | {"alg": "EdDSA"})}
    tokens = pathlib.Path(path).read_text("utf-8").split()
    for token in tokens:
        key = keys[jwt.get_unverified_header(token)["kid"]]
        # Only the clock is left out: the tokens are of a fixed day.
        jwt.decode(
            token,
            key,
            algorithms=["EdDSA"],
            audience="screening-gateway",
            options={"verify_exp": False, "verify_iat": False, "verify_nbf": False, "require": ["exp", "jti"]},
        )
    assert tokens, "no token to check"
    print(f"PyJWT {jwt.__version__} accepted {len(tokens)} of ours")


if sys.argv[1] == "make":
    make()
else:
    check(sys.argv[2])
