// SPDX-License-Identifier: GPL-2.0-or-later
// grpc-js as a client of tests/interop/grpc_echo.c. Arguments: folder of the certificates, port. Prints one line of JSON a result.
'use strict';
const fs = require('fs');
const path = require('path');
const grpc = require('@grpc/grpc-js');

const [folder, port] = process.argv.slice(2);
const read = (name) => fs.readFileSync(path.join(folder, name));
const checked = { checkServerIdentity: (host, cert) => {
  if (cert.subjectaltname.includes('spiffe://example.org/controller/echo')) return undefined;
  return new Error(`not the server: ${cert.subjectaltname}`);
} };
const own = () => grpc.credentials.createSsl(read('ca.pem'), read('client.key'), read('client.pem'), checked);
const nobody = () => grpc.credentials.createSsl(read('ca.pem'), null, null, checked);
const same = (bytes) => bytes;
const method = (name, requestStream, responseStream) => ({
  path: `/test.Echo/${name}`, requestStream, responseStream,
  requestSerialize: same, requestDeserialize: same, responseSerialize: same, responseDeserialize: same,
});
const Echo = grpc.makeGenericClientConstructor({
  unary: method('Unary', false, false),
  stream: method('Stream', true, true),
  count: method('Count', false, true),
  fail: method('Fail', false, false),
  slow: method('Slow', false, false),
  missing: method('Missing', false, false),
}, 'Echo');
const options = { 'grpc.max_receive_message_length': 32 << 20, 'grpc.max_send_message_length': 32 << 20 };
const connect = (credentials, more) => new Echo(`127.0.0.1:${port}`, credentials, { ...options, ...more });

const say = (name, result) => console.log(JSON.stringify({ name, ...result }));
const failure = (error) => ({ code: error.code, details: error.details });
const unary = (client, name, bytes, more = {}) => new Promise((resolve) => {
  client[name](bytes, new grpc.Metadata(), more, (error, answer) => {
    resolve(error ? failure(error) : { code: 0, same: Buffer.compare(answer, bytes) === 0, length: answer.length });
  });
});
const gather = (call) => new Promise((resolve) => {
  const lengths = [];
  call.on('data', (bytes) => lengths.push(bytes.length));
  call.on('error', (error) => resolve(failure(error)));
  call.on('end', () => resolve({ code: 0, lengths }));
});

async function main() {
  const client = connect(own());
  say('unary', await unary(client, 'unary', Buffer.from('hello')));
  say('empty', await unary(client, 'unary', Buffer.alloc(0)));
  say('large', await unary(client, 'unary', Buffer.alloc(15 << 20, 'x')));
  say('too large', await unary(client, 'unary', Buffer.alloc((16 << 20) + 1)));
  say('fail', await unary(client, 'fail', Buffer.from('x')));
  say('missing', await unary(client, 'missing', Buffer.from('x')));
  say('deadline', await unary(client, 'slow', Buffer.from('x'), { deadline: Date.now() + 200 }));
  say('count', await gather(client.count(Buffer.alloc(300))));

  const stream = client.stream();
  const streamed = gather(stream);
  for (let i = 0; i < 200; i++) {
    if (!stream.write(Buffer.alloc(i * 997 % 70000))) await new Promise((resolve) => stream.once('drain', resolve));
  }
  stream.end();
  const { code, lengths = [] } = await streamed;
  say('stream', { code, count: lengths.length, ordered: lengths.every((length, i) => length === i * 997 % 70000) });

  const cancelled = client.stream();
  const outcome = gather(cancelled);
  cancelled.write(Buffer.from('x'));
  cancelled.once('data', () => cancelled.cancel());
  say('cancel', await outcome);

  const many = await Promise.all(Array.from({ length: 150 }, (_, i) => unary(client, 'unary', Buffer.alloc(i * 100))));
  say('many', { good: many.filter((result) => result.same).length });

  const gzip = connect(own(), { 'grpc.default_compression_algorithm': 2 });
  say('gzip', await unary(gzip, 'unary', Buffer.alloc(1000)));
  say('nobody', await unary(connect(nobody()), 'fail', Buffer.from('x')));
}

main().then(() => process.exit(0), (error) => {
  console.error(error);
  process.exit(1);
});
