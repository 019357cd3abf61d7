#!/usr/bin/python3
"""The demo's HTTP service on `api`: counts visits in Redis, reads a row from PostgreSQL, streams on /stream."""

import http.server
import sys
import time

import psycopg2
import redis

DB = sys.argv[1]


class Service(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/stream":
            self.stream()
            return
        visits = redis.Redis(DB, 6379, socket_timeout=20).incr("visits")
        with psycopg2.connect(host=DB, user="demo", dbname="demo", connect_timeout=20, sslmode="disable") as connection:
            with connection.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM pgbench_accounts")
                accounts = cursor.fetchone()[0]
        body = f"visits={visits} accounts={accounts}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def stream(self):
        """One line every 100 ms until the client or the network ends it."""
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        try:
            for number in range(36000):
                self.wfile.write(b"tick %d\n" % number)
                self.wfile.flush()
                time.sleep(0.1)
        except OSError:
            pass

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer((sys.argv[2], 8080), Service).serve_forever()
