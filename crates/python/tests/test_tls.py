"""HTTPS: the options of the command line, and what each interface sees of it."""

import http.client
import json
import os
import signal
import ssl
import subprocess
import tempfile
import unittest

from .wire import PATIENCE, Case, Process, eventually, get, serving


def native(req, res):
    res.text(req.scheme)


def wsgi(environ, start_response):
    start_response("200 OK", [])
    return [environ["wsgi.url_scheme"].encode()]


async def asgi(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["scheme"].encode()})


def native_clients(req, res):
    res.json(req.client_certificates)


def wsgi_clients(environ, start_response):
    start_response("200 OK", [])
    found = [environ[key] for key in ("SSL_CLIENT_CERT", "SSL_CLIENT_VERIFY") if key in environ]
    return [json.dumps(found[:1] if found[1:] == ["SUCCESS"] else found).encode()]


async def asgi_clients(scope, receive, send):
    if scope["type"] == "http":
        tls = scope["extensions"]["tls"]
        assert tls["tls_version"] == 0x0304 and tls["cipher_suite"] in (0x1301, 0x1302, 0x1303), tls
        assert tls["server_cert"] is None and tls["client_cert_error"] is None, tls
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(tls["client_cert_chain"]).encode()})


class Tls(Case):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.certificate, self.key = (os.path.join(folder.name, name) for name in ("cert.pem", "key.pem"))
        self.make_certificate()

    def make_certificate(self):
        """A new one replaces the files one after the other, each at once."""
        made = [self.key + ".new", self.certificate + ".new"]
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
             "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", made[0], "-out", made[1]],
            check=True, capture_output=True,
        )
        for path in made:
            os.replace(path, path.removesuffix(".new"))

    def make_client(self, name):
        """An authority and a certificate of it; returns the paths of the certificates and of the key."""
        authority, key, certificate = (os.path.join(os.path.dirname(self.key), name + end) for end in (".ca", ".key", ".pem"))
        new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        subprocess.run([*new, "-subj", "/CN=authority", "-keyout", authority + ".key", "-out", authority], check=True, capture_output=True)
        subprocess.run(
            [*new, "-subj", "/CN=client", "-addext", "basicConstraints=critical,CA:FALSE", "-CA", authority, "-CAkey", authority + ".key",
             "-keyout", key, "-out", certificate],
            check=True, capture_output=True,
        )
        return authority, certificate, key

    def context(self):
        return ssl.create_default_context(cafile=self.certificate)

    def get(self, address, context=None):
        """The body of a response whose server has the certificate, and the version of TLS."""
        connection = http.client.HTTPSConnection(*address, context=context or self.context(), timeout=PATIENCE)
        try:
            connection.request("GET", "/")
            version = connection.sock.version()
            return connection.getresponse().read(), version
        finally:
            connection.close()

    def process(self, *arguments):
        process = Process("tests.test_tls:wsgi", "--wsgi", *arguments)
        self.addCleanup(process.__exit__)
        return process

    def test_each_interface_sees_the_scheme(self):
        for interface, app in (("native", native), ("wsgi", wsgi), ("asgi", asgi)):
            with self.subTest(interface):
                with serving(app, interface, ssl_certfile=self.certificate, ssl_keyfile=self.key) as running:
                    self.assertTrue(running.url.startswith("https://"), running.url)
                    self.assertEqual(self.get(running.address), (b"https", "TLSv1.3"))

    def test_key_in_the_file_of_the_certificate(self):
        with open(self.key) as key, open(self.certificate, "a") as both:
            both.write(key.read())
        with serving(native, ssl_certfile=self.certificate) as running:
            self.assertEqual(self.get(running.address)[0], b"https")

    def test_others_are_refused(self):
        with serving(native, ssl_certfile=self.certificate, ssl_keyfile=self.key) as running:
            old = self.context()
            old.maximum_version = ssl.TLSVersion.TLSv1_2
            with self.assertRaises(ssl.SSLError):
                self.get(running.address, old)
            plain = get(running.address)
            self.assertEqual((plain.status, plain.body), (400, b"this port speaks TLS: use https\n"))
            self.assertEqual(self.get(running.address)[0], b"https")

    def test_command_line(self):
        process = self.process("--workers", "2", "--ssl-certfile", self.certificate, "--ssl-keyfile", self.key)
        self.assertEqual(self.get(process.address)[0], b"https")
        self.assertIn(b"listening on https://", process.log)
        self.assertEqual(process.stop(), 0)

    def test_new_workers_read_the_new_certificate(self):
        process = self.process("--ssl-certfile", self.certificate, "--ssl-keyfile", self.key)
        self.assertEqual(self.get(process.address)[0], b"https")
        self.make_certificate()
        with self.assertRaises(ssl.SSLCertVerificationError):
            self.get(process.address)
        process.signal(signal.SIGHUP)

        def is_new():
            try:
                return self.get(process.address)[0] == b"https"
            except ssl.SSLCertVerificationError:
                return False

        eventually(is_new)
        self.assertEqual(process.stop(), 0)

    def test_certificates_of_clients(self):
        authority, certificate, key = self.make_client("client")
        with open(certificate) as file:
            own = file.read()
        required = {"ssl_ca_certs": authority, "ssl_cert_reqs": ssl.CERT_REQUIRED}
        optional = {**required, "ssl_cert_reqs": ssl.CERT_OPTIONAL}
        for interface, app in (("native", native_clients), ("wsgi", wsgi_clients), ("asgi", asgi_clients)):
            for options, threads in ((required, 1), (required, 2), (optional, 1), (optional, 2), ({}, 1)):
                with self.subTest(interface, options=options, threads=threads), serving(
                    app, interface, threads=threads, ssl_certfile=self.certificate, ssl_keyfile=self.key, **options
                ) as running:
                    with_own = self.context()
                    with_own.load_cert_chain(certificate, key)
                    body = self.get(running.address, with_own)[0]
                    self.assertEqual(json.loads(body), [own] if options else [])
                    if options is required:
                        # A client of TLS 1.3 learns of the refusal when it reads.
                        with self.assertRaises((ssl.SSLError, ConnectionError, http.client.BadStatusLine)):
                            self.get(running.address)
                    else:
                        self.assertEqual(self.get(running.address)[0], b"[]")

    def test_a_client_of_another_authority(self):
        authority, *own = self.make_client("own")
        _, *others = self.make_client("others")
        process = self.process("--ssl-certfile", self.certificate, "--ssl-keyfile", self.key, "--ssl-ca", authority, "--ssl-client-verify")
        context = self.context()
        context.load_cert_chain(*own)
        self.assertEqual(self.get(process.address, context)[0], b"https")
        context = self.context()
        context.load_cert_chain(*others)
        with self.assertRaises((ssl.SSLError, ConnectionError, http.client.BadStatusLine)):
            self.get(process.address, context)
        self.assertEqual(process.stop(), 0)

    def test_a_key_with_a_password(self):
        locked = self.key + ".locked"
        subprocess.run(["openssl", "pkcs8", "-topk8", "-in", self.key, "-out", locked, "-passout", "pass:o\u00fc"], check=True, capture_output=True)
        options = ["--ssl-certfile", self.certificate, "--ssl-keyfile", locked]
        process = self.process(*options, "--ssl-keyfile-password", "o\u00fc")
        self.assertEqual(self.get(process.address)[0], b"https")
        self.assertEqual(process.stop(), 0)
        for wrong in (["--ssl-keyfile-password", "other"], ["--ssl-keyfile-password", ""]):
            process = self.process(*options, *wrong)
            self.assertEqual(process.wait(), 1, process.log)
            self.assertIn(b"peregrine: ", process.log)

    def test_options_that_are_not_valid(self):
        missing = self.certificate + ".none"
        for wrong in (["--ssl-keyfile", self.key], ["--ssl-certfile", missing], ["--ssl-certfile", self.certificate, "--uds", missing],
                      ["--ssl-certfile", self.certificate, "--ssl-keyfile", missing], ["--ssl-client-verify"],
                      ["--ssl-certfile", self.certificate, "--ssl-ca-certs", self.certificate], ["--ssl-ca-certs", self.certificate],
                      ["--ssl-certfile", self.certificate, "--ssl-ca-certs", missing, "--ssl-client-verify"],
                      ["--ssl-certfile", self.certificate, "--ssl-client-verify"]):
            process = self.process(*wrong)
            self.assertEqual(process.wait(), 1, wrong)
            self.assertIn(b"peregrine: ", process.log)

    def test_files_that_are_no_certificate(self):
        # The key is no certificate.
        with self.assertRaises(ValueError):
            with serving(native, ssl_certfile=self.key, ssl_keyfile=self.key):
                pass


if __name__ == "__main__":
    unittest.main()
