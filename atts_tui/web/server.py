"""A small web server around `textual-serve`, which runs one viewer process for each browser.

Every address lies under a secret, so that who knows the port does not know the page. Pages of other sites
cannot open the socket (its Origin is checked), nothing is loaded from elsewhere, nothing is cached.
"""

import asyncio
import hmac
import logging
import shlex
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from aiohttp import web
from textual_serve.server import Server

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; img-src data:; connect-src 'self' ws: wss:; "
    "style-src 'self' 'unsafe-inline'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

_HERE = Path(__file__).parent


class WebServer(Server):
    """Serves the screen that a command opens, one process of it for each browser."""

    def __init__(self, command: Sequence[str], *, host: str, port: int, secret: str, viewers: int) -> None:
        """At most `viewers` browsers at once: each costs a process of about 80 MB."""
        super().__init__(shlex.join(command), host=host, port=port, title="atts")
        self._secret = secret
        self._viewers = viewers
        self._open = 0

    async def run(self, ready: Callable[[str], None]) -> None:
        """Serves until cancelled. `ready` is told the address once it answers.

        Raises:
            OSError: the port is in use, or the host is none of this machine.
        """
        # A viewer's failure is told on its page; the package would print it with every local variable.
        logging.getLogger("textual-serve").setLevel(logging.CRITICAL)
        runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=2.0)
        await runner.setup()
        try:
            site = web.TCPSite(runner, self.host, self.port)
            await site.start()
            host, port = runner.addresses[0][:2]
            ready(f"http://{f'[{host}]' if ':' in host else host}:{port}/{self._secret}/")
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()

    def _application(self) -> web.Application:
        @web.middleware
        async def guarded(
            request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
        ) -> web.StreamResponse:
            if request.path.startswith("/download/"):  # its page asks there, with a key that is a secret
                return await handler(request)
            given = request.path.split("/", 2)[1] if request.path.count("/") >= 2 else ""
            if not hmac.compare_digest(given.encode(), self._secret.encode()):
                return web.Response(status=404, text="Nothing is here.", headers=HEADERS)
            return await handler(request)

        async def headers(request: web.Request, response: web.StreamResponse) -> None:
            del request
            response.headers.update(HEADERS)

        app = web.Application(middlewares=[guarded])
        app.on_response_prepare.append(headers)
        base = f"/{self._secret}"
        app.add_routes(
            [
                web.get(f"{base}/", _file("page.html")),
                web.get(f"{base}/page.css", _file("page.css")),
                web.get(f"{base}/page.js", _file("page.js")),
                web.get(f"{base}/ws", self._socket),
                web.get("/download/{key}", self.handle_download),
                web.static(f"{base}/static", self.statics_path),
            ]
        )
        return app

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        origin = request.headers.get("Origin", "")
        if origin.partition("://")[2] != request.host:
            return web.Response(status=403, text="This socket is for its own page only.")
        if self._open >= self._viewers:
            return web.Response(status=503, text=f"{self._viewers} viewers are open; no more are taken.")
        self._open += 1
        try:
            response: web.StreamResponse = await self.handle_websocket(request)
        finally:
            self._open -= 1
        return response


def _file(name: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def serve(_: web.Request) -> web.StreamResponse:
        return web.FileResponse(_HERE / name)

    return serve
