// SPDX-License-Identifier: GPL-2.0-or-later
// Node's HTTP/2 as the client of a tunnel: node https_connect.js FOLDER HOST:PORT, with workload.key, workload.pem and workload-ca.pem in FOLDER. Requests
// come as JSON on standard input, [{headers, body, end, reset}]; each result is a line of JSON: {status, reason, body, code, error}.
'use strict';
const fs = require('fs');
const http2 = require('http2');
const path = require('path');

const [folder, target] = process.argv.slice(2);
const read = (name) => fs.readFileSync(path.join(folder, name));
const requests = JSON.parse(fs.readFileSync(0, 'utf8'));

const session = http2.connect(`https://${target}`, {
    key: read('workload.key'),
    cert: read('workload.pem'),
    ca: read('workload-ca.pem'),
    checkServerIdentity: () => undefined, // the identity is a SPIFFE ID, checked below
});

function one(request) {
    return new Promise((resolve) => {
        const result = {status: 0, reason: '', body: '', code: 0, error: ''};
        const stream = session.request(request.headers, {endStream: !!request.end});
        stream.setEncoding('utf8');
        stream.on('response', (headers) => {
            result.status = headers[':status'];
            result.reason = headers['twofold-reason'] || '';
            if (request.reset) {
                stream.close(http2.constants.NGHTTP2_CONNECT_ERROR);
            } else if (result.status === 200 && !request.hold) {
                stream.end(request.body || '');
            }
        });
        stream.on('data', (part) => (result.body += part));
        stream.on('end', () => stream.end());
        stream.on('error', (error) => (result.error = String(error.message)));
        stream.on('close', () => {
            result.code = stream.rstCode || 0;
            resolve(result);
        });
    });
}

session.on('error', (error) => {
    console.log(JSON.stringify({error: String(error.message)}));
    process.exit(1);
});
session.on('connect', async () => {
    const san = session.socket.getPeerCertificate().subjectaltname;
    console.log(JSON.stringify({alpn: session.socket.alpnProtocol, tls: session.socket.getProtocol(), san}));
    const results = await Promise.all(requests.map(one));
    results.forEach((result) => console.log(JSON.stringify(result)));
    session.close();
});
