// A real OpenID Connect provider (the npm package oidc-provider) for the sign-in tests. It
// listens on a free loopback port and says which. MANAGE is the installation it knows;
// with CERT and KEY it speaks HTTPS. It ends when its standard input does.
import fs from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import * as jose from 'jose';
import Provider from 'oidc-provider';

const manage = process.env.MANAGE;
const tls = process.env.CERT;

const works = { organisation: 'DEMO', permissions: ['signin', 'send'] };
const people = {
  'uid-radiographer': { name: 'Jo Radiographer', email: 'jo@example.nhs.uk', ...works },
  // The same address: another person all the same.
  'uid-other': { name: 'Jo Other', email: 'jo@example.nhs.uk', organisation: 'DEMO', permissions: ['signin'] },
  'uid-administrator': { name: 'Ada Ministrator', organisation: 'DEMO', permissions: ['signin', 'administer'] },
  'uid-no-permission': { name: 'Nell Nothing', organisation: 'DEMO', permissions: [] },
  'uid-elsewhere': { name: 'Ed Elsewhere', organisation: 'NOWHERE', permissions: ['signin'] },
  'uid-two': { name: 'Toni Two', organisation: ['DEMO', 'SECOND'], permissions: ['signin'] },
  'uid-cis2': {
    name: 'Cis Two', permissions: ['signin'],
    nhsid_user_orgs: [{ org_name: 'Elsewhere', org_code: 'X99' }, { org_name: 'Demonstration', org_code: 'DEMO' }],
    id_assurance_level: '3', authentication_assurance_level: '3',
  },
  'uid-weak': {
    name: 'Wes Weak', permissions: ['signin'], nhsid_user_orgs: [{ org_name: 'Demonstration', org_code: 'DEMO' }],
    id_assurance_level: '3', authentication_assurance_level: '1',
  },
};

const signing = [];
for (const [alg, options] of [['RS256', {}], ['PS384', {}], ['ES256', {}], ['ES384', {}], ['EdDSA', { crv: 'Ed25519' }]]) {
  const { privateKey } = await jose.generateKeyPair(alg, { extractable: true, ...options });
  signing.push({ ...(await jose.exportJWK(privateKey)), alg, use: 'sig' });
}

const client = (client_id, more) => ({
  client_id,
  redirect_uris: [`${manage}/auth/oidc/callback`],
  grant_types: ['authorization_code'],
  response_types: ['code'],
  backchannel_logout_uri: `${manage}/auth/oidc/back-channel-logout`,
  backchannel_logout_session_required: true,
  ...more,
});
// Both halves have characters that a form writes otherwise.
const secret = { token_endpoint_auth_method: 'client_secret_basic', client_secret: 'a secret: with+signs/and%more' };
const clients = signing.map(({ alg }) =>
  client(`manage ${alg}`, { ...secret, id_token_signed_response_alg: alg }));
clients.push(client('manage-key', {
  token_endpoint_auth_method: 'private_key_jwt',
  token_endpoint_auth_signing_alg: 'RS512',
  jwks_uri: `${manage}/auth/oidc/jwks`,
}));

const server = tls
  ? https.createServer({ cert: fs.readFileSync(tls), key: fs.readFileSync(process.env.KEY) })
  : http.createServer();
await new Promise((done) => server.listen(0, '127.0.0.1', done));
const { port } = server.address();
const issuer = `${tls ? 'https' : 'http'}://127.0.0.1:${port}`;

const provider = new Provider(issuer, {
  clients,
  jwks: { keys: signing },
  cookies: { keys: ['for tests only'] },
  scopes: ['openid', 'profile', 'email', 'nhsperson', 'associatedorgs'],
  claims: {
    openid: ['sub'],
    profile: ['name', 'organisation', 'permissions'],
    email: ['email'],
    nhsperson: ['id_assurance_level', 'authentication_assurance_level'],
    associatedorgs: ['nhsid_user_orgs'],
  },
  acrValues: ['AAL3_ANY'],
  pkce: { required: () => true },
  enabledJWA: {
    clientAuthSigningAlgValues: ['RS512'],
    idTokenSigningAlgValues: ['RS256', 'PS384', 'ES256', 'ES384', 'EdDSA'],
  },
  features: {
    devInteractions: { enabled: true },
    backchannelLogout: { enabled: true },
    rpInitiatedLogout: { enabled: true },
  },
  // Its own fetch refuses loopback addresses, where everything here is.
  fetch: (url, options) => fetch(url, { ...options, dispatcher: undefined }),
  async findAccount(_, id) {
    const person = people[id];
    return person && { accountId: id, claims: async () => ({ sub: id, ...person }) };
  },
});
for (const event of ['server_error', 'grant.error', 'backchannel.error', 'authorization.error']) {
  provider.on(event, (_, error) => console.error(event, error.error_description ?? error, error.cause ?? ''));
}
provider.on('backchannel.success', (_, c) => console.error('backchannel.success', c.clientId));
server.on('request', provider.callback());
console.log(`listening on ${issuer}`);
process.stdin.on('end', () => process.exit(0)).resume();
