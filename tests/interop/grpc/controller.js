// SPDX-License-Identifier: GPL-2.0-or-later
// grpc-js as an administrator of a real controller, from the .proto files alone. Arguments: folder of the .proto files, folder of the
// credentials, address. Prints one line of JSON a result.
'use strict';
const fs = require('fs');
const path = require('path');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const [protos, folder, address] = process.argv.slice(2);
const read = (name) => fs.readFileSync(path.join(folder, name));
const definition = loader.loadSync('admin.proto', { includeDirs: [protos], longs: Number, enums: String, defaults: true });
const { Admin } = grpc.loadPackageDefinition(definition).twofold.v1;
// The controller's identity is its SPIFFE ID, not a DNS name.
const checked = { checkServerIdentity: (host, cert) => (cert.subjectaltname.includes('/controller/') ? undefined : new Error('not it')) };
const connect = (key, cert) => new Admin(address, grpc.credentials.createSsl(read('network-ca.pem'), key, cert, checked));
const call = (client, method, request) => new Promise((resolve) => {
  client[method](request, { deadline: Date.now() + 10000 }, (error, answer) => resolve(error ? { code: error.code, details: error.details } : { code: 0, answer }));
});
const say = (name, result) => console.log(JSON.stringify({ name, ...result }));

async function main() {
  const admin = connect(read('admin.key'), read('admin.pem'));
  say('token', await call(admin, 'CreateToken', { host: 'web', labels: [{ key: 'role', value: 'web' }],
    addresses: [Buffer.from([192, 0, 2, 1])], validSeconds: 600 }));
  say('hosts', await call(admin, 'ListHosts', {}));
  say('bad policy', await call(admin, 'CheckPolicy', { text: 'version: 1\nnonsense: true\n' }));
  say('show', await call(admin, 'ShowPolicy', {}));
  say('nobody', await call(connect(null, null), 'ListHosts', {}));
}

main().then(() => process.exit(0), (error) => {
  console.error(error);
  process.exit(1);
});
