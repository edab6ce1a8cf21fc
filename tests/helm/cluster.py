"""As much of a Kubernetes API on loopback as helm's `lookup` asks for: what kinds there are, and Secrets. It stores nothing itself."""
import contextlib
import http.server
import json
import threading
from collections.abc import Iterator

KINDS = {"v1": {"Secret": "secrets", "Service": "services", "ServiceAccount": "serviceaccounts", "Pod": "pods"}, "apps/v1": {"StatefulSet": "statefulsets"}}


@contextlib.contextmanager
def serving(secrets: dict[str, dict]) -> Iterator[str]:
    """The address of an API whose Secrets are these, by name, in whatever namespace; what changes in the dict is seen at once."""

    class Api(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.split("?")[0]
            name = path.rsplit("/", 1)[1]
            known = {
                "/version": {"major": "1", "minor": "33", "gitVersion": "v1.33.0"},
                "/api": {"kind": "APIVersions", "versions": ["v1"]},
                "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": [group("apps")]},
                "/api/v1": resources("v1"),
                "/apis/apps/v1": resources("apps/v1"),
            }  # fmt: skip
            if path in known:
                self.answer(200, known[path])
            elif "/secrets/" in path and name in secrets:
                self.answer(200, secrets[name])
            else:
                self.answer(404, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404})

        def answer(self, status: int, body: dict) -> None:
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            """Silent."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def group(name: str) -> dict:
    version = {"groupVersion": f"{name}/v1", "version": "v1"}
    return {"name": name, "versions": [version], "preferredVersion": version}


def resources(version: str) -> dict:
    listed = [{"name": plural, "singularName": kind.lower(), "namespaced": True, "kind": kind, "verbs": ["get", "list"]} for kind, plural in KINDS[version].items()]
    return {"kind": "APIResourceList", "groupVersion": version, "resources": listed}
