// jose as the other party: `make` prints its tokens, `check FILE` verifies ours.

import { readFileSync } from "node:fs";
import { createLocalJWKSet, importJWK, jwtVerify, SignJWT } from "jose";

const spec = JSON.parse(readFileSync(new URL("cases.json", import.meta.url), "utf8"));

async function make() {
  const key = await importJWK(spec.jwk, "EdDSA");
  for (const { name, header, claims } of spec.cases) {
    const token = await new SignJWT(claims).setProtectedHeader({ ...header, alg: "EdDSA" }).sign(key);
    console.log("jose", name, token);
    const fullySpecified = await new SignJWT(claims).setProtectedHeader({ ...header, alg: "Ed25519" }).sign(key);
    console.log("jose", `${name}-Ed25519`, fullySpecified);
  }
}

async function check(path) {
  const { d, ...publicJwk } = spec.jwk;
  const keys = createLocalJWKSet({ keys: [{ ...publicJwk, use: "sig", alg: "EdDSA" }] });
  const tokens = readFileSync(path, "utf8").split(/\s+/).filter(Boolean);
  for (const token of tokens) {
    await jwtVerify(token, keys, {
      audience: "screening-gateway",
      typ: "gateway-message+jwt",
      currentDate: new Date(spec.now * 1000),
      requiredClaims: ["exp", "jti"],
    });
  }
  if (tokens.length === 0) throw new Error("no token to check");
  console.log(`jose accepted ${tokens.length} of ours`);
}

await (process.argv[2] === "make" ? make() : check(process.argv[3]));
