"""A registry of npm on loopback, with the packages of a folder and nothing else.

Packages of other platforms are listed without a file: npm must see that they exist, and must not ask for them.
"""

import base64
import contextlib
import hashlib
import http.server
import json
import pathlib
import tarfile
import threading
from collections.abc import Iterator

from artefacts import npm
from artefacts.project import VERSION
from artefacts.targets import TARGETS


class Registry(http.server.ThreadingHTTPServer):
    """What it serves, and how much of it was fetched."""

    def __init__(self, folder: pathlib.Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/"
        self.bytes_sent = 0
        self.fetched: list[str] = []
        self.files = {file.name: file.read_bytes() for file in folder.glob("*.tgz")}
        manifests = [npm.platform_manifest(target) for target in TARGETS]
        for file in folder.glob("*.tgz"):
            with tarfile.open(file) as tar:
                manifest = tar.extractfile("package/package.json")
                assert manifest is not None
                manifests.append(json.load(manifest))
        self.manifests = {manifest["name"]: manifest for manifest in manifests}

    def packument(self, name: str) -> bytes | None:
        """Returns what a registry says about a package."""
        manifest = self.manifests.get(name)
        if manifest is None:
            return None
        file = f"{name}-{VERSION}.tgz"
        digest = hashlib.sha512(self.files.get(file, b"")).digest()
        dist = {
            "tarball": f"{self.url}{name}/-/{file}",
            "integrity": f"sha512-{base64.b64encode(digest).decode()}",
        }
        versions = {VERSION: manifest | {"dist": dist}}
        return json.dumps({"name": name, "dist-tags": {"latest": VERSION}, "versions": versions}).encode()


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Registry

    def do_GET(self) -> None:
        name, _, file = self.path.partition("?")[0].lstrip("/").partition("/-/")
        content = self.server.files.get(file) if file else self.server.packument(name)
        if content is None:
            self.send_error(404)
            return
        if file:
            self.server.fetched.append(file)
        self.server.bytes_sent += len(content)
        self.send_response(200)
        self.send_header("content-type", "application/octet-stream" if file else "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *values: object) -> None:
        """Nothing: the trial reports what was fetched."""


@contextlib.contextmanager
def serving(folder: pathlib.Path) -> Iterator[Registry]:
    """Serves the packages of a folder."""
    with Registry(folder) as registry:
        thread = threading.Thread(target=registry.serve_forever, daemon=True)
        thread.start()
        try:
            yield registry
        finally:
            registry.shutdown()
            thread.join()
