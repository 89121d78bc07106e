"""Applications of frameworks behind the server: each has a page, a form, an upload, a stream and an error."""

import json
import unittest

from . import asgi_apps
from .wire import PATIENCE, Case, Client, Process, serving, websocket

FORM = "Content-Type: application/x-www-form-urlencoded\r\n"
JSON = "Content-Type: application/json\r\n"


def multipart(content):
    body = b'--b\r\nContent-Disposition: form-data; name="f"; filename="a.bin"\r\n\r\n' + content + b"\r\n--b--\r\n"
    return {"body": body, "fields": "Content-Type: multipart/form-data; boundary=b\r\n", "method": "POST"}


def flask():
    import flask

    app = flask.Flask(__name__)
    app.secret_key = "of a test"

    @app.get("/hello/<name>")
    def hello(name):
        return f"Hello, {name} {flask.request.args.get('q')}!"

    @app.post("/form")
    def form():
        flask.session["n"] = flask.request.form["n"]
        return flask.redirect(flask.url_for("hello", name=flask.request.form["n"]))

    @app.post("/json")
    def sent_json():
        return flask.jsonify(flask.request.json)

    @app.post("/upload")
    def upload():
        return str(len(flask.request.files["f"].read()))

    @app.get("/stream")
    def stream():
        return flask.Response((f"{n}\n" for n in range(3)), mimetype="text/plain")

    @app.get("/file")
    def file():
        return flask.send_file(__file__)

    @app.get("/error")
    def error():
        raise ValueError("of the application")

    return app


def django():
    import django
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application
    from django.http import FileResponse, HttpResponse, HttpResponseRedirect, JsonResponse, StreamingHttpResponse
    from django.urls import path

    if not settings.configured:
        settings.configure(
            ROOT_URLCONF=__name__, SECRET_KEY="of a test", ALLOWED_HOSTS=["*"], DATABASES={},
            MIDDLEWARE=["django.middleware.common.CommonMiddleware"], LOGGING_CONFIG=None,
        )
        django.setup()
    global urlpatterns
    urlpatterns = [
        path("hello/<name>", lambda request, name: HttpResponse(f"Hello, {name} {request.GET.get('q')}!")),
        path("form", lambda request: HttpResponseRedirect("/hello/" + request.POST["n"])),
        path("json", lambda request: JsonResponse(json.loads(request.body))),
        path("upload", lambda request: HttpResponse(str(len(request.FILES["f"].read())))),
        path("stream", lambda request: StreamingHttpResponse(f"{n}\n" for n in range(3))),
        path("file", lambda request: FileResponse(open(__file__, "rb"))),
        path("error", lambda request: {}["of the application"]),
    ]
    return get_wsgi_application()


def falcon():
    import falcon

    class Hello:
        def on_get(self, req, resp, name):
            resp.text = f"Hello, {name} {req.get_param('q')}!"

    class Form:
        def on_post(self, req, resp):
            raise falcon.HTTPFound("/hello/" + req.get_media()["n"])

    class Json:
        def on_post(self, req, resp):
            resp.media = req.get_media()

    class Upload:
        def on_post(self, req, resp):
            for part in req.get_media():
                resp.text = str(len(part.stream.read()))

    class Stream:
        def on_get(self, req, resp):
            resp.stream = iter([b"0\n", b"1\n", b"2\n"])

    class File:
        def on_get(self, req, resp):
            resp.stream = open(__file__, "rb")

    class Error:
        def on_get(self, req, resp):
            raise ValueError("of the application")

    app = falcon.App()
    for path, resource in (("/hello/{name}", Hello()), ("/form", Form()), ("/json", Json()), ("/upload", Upload()),
                           ("/stream", Stream()), ("/file", File()), ("/error", Error())):
        app.add_route(path, resource)
    return app


class Frameworks(Case):
    def exercise(self, app, interface="wsgi", file=__file__, **options):
        with serving(app, interface, **options) as running, Client(running.address) as client:
            for _ in range(2):
                answer = client.get("/hello/%C3%A9?q=1")
                self.assertEqual((answer.status, answer.body.decode()), (200, "Hello, \xe9 1!"))
                answer = client.get("/form", method="POST", body=b"n=5", fields=FORM)
                self.assertEqual((answer.status, answer.field("location")), (302, "/hello/5"))
                self.assertEqual(json.loads(client.get("/json", method="POST", body=b'{"a":1}', fields=JSON).body), {"a": 1})
                self.assertEqual(client.get("/upload", **multipart(b"z" * 200_000)).body, b"200000")
                self.assertEqual(client.get("/stream").body, b"0\n1\n2\n")
                with open(file, "rb") as content:
                    self.assertEqual(client.get("/file").body, content.read())
                self.assertIn(client.get("/file", method="HEAD").status, (200, 405))
                self.assertEqual(client.get("/error").status, 500)
                self.assertEqual(client.get("/none").status, 404)
            if interface == "asgi":
                self.exercise_websocket(running.address)

    def exercise_websocket(self, address):
        with websocket(address, "/ws") as ws:
            for n in range(3):
                ws.send(str(n))
                self.assertEqual(ws.recv(PATIENCE), f"got {n}")

    def test_wsgi(self):
        for make in (flask, django, falcon):
            for threads in (1, 4):
                with self.subTest(make=make.__name__, threads=threads):
                    self.exercise(make(), threads=threads)

    def test_asgi(self):
        for make in (asgi_apps.fastapi, asgi_apps.starlette, asgi_apps.falcon):
            for loop in ("asyncio", "uvloop"):
                with self.subTest(make=make.__name__, loop=loop):
                    self.exercise(make(), "asgi", asgi_apps.__file__, loop=loop)

    def test_channels(self):
        """In a process of its own, because Django has one configuration."""
        with Process("tests.asgi_apps:channels", "--asgi", "--factory") as process:
            with Client(process.address) as client:
                self.assertEqual(client.get("/hello/a?q=1").body, b"Hello, a 1!")
                self.assertEqual(client.get("/upload", **multipart(b"z" * 200_000)).body, b"200000")
                self.assertEqual(client.get("/stream").body, b"0\n1\n2\n")
                self.assertEqual(client.get("/error").status, 500)
            self.exercise_websocket(process.address)
            self.assertEqual(process.stop(), 0)


if __name__ == "__main__":
    unittest.main()
