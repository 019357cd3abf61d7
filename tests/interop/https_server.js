// SPDX-License-Identifier: GPL-2.0-or-later
// Node's HTTP/2 as the far end of a tunnel: node https_server.js FOLDER ADDRESS PORT. Carries CONNECT to the authority when that is ADDRESS; anything
// else is answered with 401. Says "ready" on standard output, then a line of JSON for each request.
'use strict';
const fs = require('fs');
const http2 = require('http2');
const net = require('net');
const path = require('path');

const [folder, address, port] = process.argv.slice(2);
const read = (name) => fs.readFileSync(path.join(folder, name));

const server = http2.createSecureServer({
    key: read('workload.key'),
    cert: read('workload.pem'),
    ca: read('workload-ca.pem'),
    requestCert: true,
    rejectUnauthorized: true,
    minVersion: 'TLSv1.3',
});
server.on('stream', (stream, headers) => {
    console.log(JSON.stringify({headers, san: stream.session.socket.getPeerCertificate().subjectaltname}));
    const [, host, number] = /^\[?([^\]]*?)\]?:(\d+)$/.exec(headers[':authority'] || '') || [];
    if (headers[':method'] !== 'CONNECT' || host !== address) {
        stream.respond({':status': 401, 'twofold-reason': 'not here'}, {endStream: true});
        return;
    }
    const socket = net.connect({host, port: Number(number), allowHalfOpen: true}, () => {
        stream.respond({':status': 200});
        stream.pipe(socket);
        socket.pipe(stream);
    });
    socket.on('error', () => (stream.headersSent ? stream.close(http2.constants.NGHTTP2_CONNECT_ERROR)
                                                 : stream.respond({':status': 503}, {endStream: true})));
    stream.on('error', () => socket.destroy());
});
server.listen(Number(port), address, () => console.log('ready'));
