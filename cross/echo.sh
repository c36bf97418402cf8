#!/usr/bin/env bash
# Prints a test message that travels a gateway's whole path and asks for nothing: an `echo`,
# signed with a private key that is not kept on the board. Needs openssl 3.
#
#     cross/echo.sh PRIVATE-KEY.pem GATEWAY-ID [ISSUER] >echo.txt
#     curl http://BOARD:9090/do -H 'Content-Type: application/jose' -d @echo.txt
#
# Good for five minutes, once. For people; cross/install-test.sh tries it.
set -euo pipefail

private=${1:?which private key?}
audience=${2:?which gateway?}
issuer=${3:-http://localhost:8080}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

base64url() {
    openssl base64 -A | tr '+/' '-_' | tr -d '='
}
# The thumbprint of RFC 7638, by which a gateway holds a key that has no name.
x=$(openssl pkey -in "$private" -pubout -outform DER | tail -c 32 | base64url)
kid=$(printf '{"crv":"Ed25519","kty":"OKP","x":"%s"}' "$x" | openssl dgst -sha256 -binary | base64url)
now=$(date +%s)
header=$(printf '{"alg":"EdDSA","kid":"%s","typ":"gateway-message+jwt"}' "$kid" | base64url)
claims=$(printf '{"iss":"%s","aud":"%s","iat":%d,"exp":%d,"jti":"echo-%s","schema_version":1,"action_type":"echo"}' \
    "$issuer" "$audience" "$now" "$((now + 300))" "$(openssl rand -hex 16)" | base64url)
printf %s "$header.$claims" >"$work/signed"
openssl pkeyutl -sign -inkey "$private" -rawin -in "$work/signed" -out "$work/signature"
printf '%s.%s.%s\n' "$header" "$claims" "$(base64url <"$work/signature")"
