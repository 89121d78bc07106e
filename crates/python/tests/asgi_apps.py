"""Applications of ASGI frameworks: FastAPI, Starlette, Django with Channels, Falcon."""

import json


def fastapi():
    import fastapi
    from fastapi.responses import FileResponse, RedirectResponse, StreamingResponse

    app = fastapi.FastAPI()

    @app.get("/hello/{name}")
    async def hello(name: str, q: str = ""):
        return fastapi.Response(f"Hello, {name} {q}!")

    @app.post("/form")
    async def form(request: fastapi.Request):
        body = await request.form()
        return RedirectResponse("/hello/" + body["n"], 302)

    @app.post("/json")
    def sent_json(value: dict):
        return value

    @app.post("/upload")
    async def upload(f: fastapi.UploadFile):
        return fastapi.Response(str(len(await f.read())))

    @app.get("/stream")
    async def stream():
        return StreamingResponse(f"{n}\n" for n in range(3))

    @app.get("/file")
    def file():
        return FileResponse(__file__)

    @app.get("/error")
    def error():
        raise ValueError("of the application")

    @app.websocket("/ws")
    async def ws(socket: fastapi.WebSocket):
        await socket.accept()
        try:
            while True:
                await socket.send_text("got " + await socket.receive_text())
        except fastapi.WebSocketDisconnect:
            pass

    return app


def starlette():
    from starlette.applications import Starlette
    from starlette.background import BackgroundTask
    from starlette.middleware import Middleware
    from starlette.middleware.base import BaseHTTPMiddleware
    from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, RedirectResponse, StreamingResponse
    from starlette.routing import Route, WebSocketRoute

    async def hello(request):
        return PlainTextResponse(f"Hello, {request.path_params['name']} {request.query_params['q']}!")

    async def form(request):
        async with request.form() as form:
            return RedirectResponse("/hello/" + form["n"], 302, background=BackgroundTask(lambda: None))

    async def sent_json(request):
        return JSONResponse(await request.json())

    async def upload(request):
        async with request.form() as form:
            return PlainTextResponse(str(len(await form["f"].read())))

    async def stream(request):
        async def pieces():
            for n in range(3):
                yield f"{n}\n"

        return StreamingResponse(pieces())

    async def error(request):
        raise ValueError("of the application")

    async def ws(socket):
        await socket.accept()
        async for text in socket.iter_text():
            await socket.send_text("got " + text)

    class Passing(BaseHTTPMiddleware):
        async def dispatch(self, request, call_next):
            return await call_next(request)

    return Starlette(
        routes=[
            Route("/hello/{name}", hello), Route("/form", form, methods=["POST"]), Route("/json", sent_json, methods=["POST"]),
            Route("/upload", upload, methods=["POST"]), Route("/stream", stream), Route("/error", error),
            Route("/file", lambda request: FileResponse(__file__)), WebSocketRoute("/ws", ws),
        ],
        middleware=[Middleware(Passing)],
    )


def channels():
    import django
    from django.conf import settings

    if not settings.configured:
        settings.configure(
            ROOT_URLCONF=__name__, SECRET_KEY="of a test", ALLOWED_HOSTS=["*"], DATABASES={}, INSTALLED_APPS=["channels"],
            MIDDLEWARE=["django.middleware.common.CommonMiddleware"], LOGGING_CONFIG=None,
            CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}},
        )
        django.setup()
    from channels.generic.websocket import AsyncWebsocketConsumer
    from channels.routing import ProtocolTypeRouter, URLRouter
    from channels.security.websocket import AllowedHostsOriginValidator
    from django.core.asgi import get_asgi_application
    from django.http import FileResponse, HttpResponse, HttpResponseRedirect, JsonResponse, StreamingHttpResponse
    from django.urls import path

    class Consumer(AsyncWebsocketConsumer):
        async def connect(self):
            await self.channel_layer.group_add("room", self.channel_name)
            await self.accept()

        async def receive(self, text_data=None, bytes_data=None):
            await self.channel_layer.group_send("room", {"type": "said", "text": text_data})

        async def said(self, event):
            await self.send(text_data="got " + event["text"])

        async def disconnect(self, code):
            await self.channel_layer.group_discard("room", self.channel_name)

    async def stream(request):
        async def pieces():
            for n in range(3):
                yield f"{n}\n"

        return StreamingHttpResponse(pieces())

    global urlpatterns
    urlpatterns = [
        path("hello/<name>", lambda request, name: HttpResponse(f"Hello, {name} {request.GET.get('q')}!")),
        path("form", lambda request: HttpResponseRedirect("/hello/" + request.POST["n"])),
        path("json", lambda request: JsonResponse(json.loads(request.body))),
        path("upload", lambda request: HttpResponse(str(len(request.FILES["f"].read())))),
        path("stream", stream),
        path("file", lambda request: FileResponse(open(__file__, "rb"))),
        path("error", lambda request: {}["of the application"]),
    ]
    websocket = AllowedHostsOriginValidator(URLRouter([path("ws", Consumer.as_asgi())]))
    return ProtocolTypeRouter({"http": get_asgi_application(), "websocket": websocket})


def falcon():
    import falcon.asgi

    class Hello:
        async def on_get(self, req, resp, name):
            resp.text = f"Hello, {name} {req.get_param('q')}!"

    class Form:
        async def on_post(self, req, resp):
            raise falcon.HTTPFound("/hello/" + (await req.get_media())["n"])

    class Json:
        async def on_post(self, req, resp):
            resp.media = await req.get_media()

    class Upload:
        async def on_post(self, req, resp):
            async for part in await req.get_media():
                resp.text = str(len(await part.stream.read()))

    class Stream:
        async def on_get(self, req, resp):
            async def pieces():
                for n in range(3):
                    yield b"%d\n" % n

            resp.stream = pieces()

    class File:
        async def on_get(self, req, resp):
            with open(__file__, "rb") as file:
                resp.data = file.read()

    class Error:
        async def on_get(self, req, resp):
            raise ValueError("of the application")

    class Ws:
        async def on_websocket(self, req, ws):
            await ws.accept()
            try:
                while True:
                    await ws.send_text("got " + await ws.receive_text())
            except falcon.WebSocketDisconnected:
                pass

    app = falcon.asgi.App()
    for path, resource in (("/hello/{name}", Hello()), ("/form", Form()), ("/json", Json()), ("/upload", Upload()),
                           ("/stream", Stream()), ("/file", File()), ("/error", Error()), ("/ws", Ws())):
        app.add_route(path, resource)
    return app
