#!/usr/bin/env python3
"""Runs the pod that the chart renders: its container, translated into `docker run`, with the ownership that a kubelet would give.

    pod_to_docker.py --image IMAGE RENDERED.yaml

It becomes ready by its own readiness probe, asks for the password, takes writes, passes the pod of `helm test`, ends with code 0
within its grace period, and has the data at its second start. Needs Docker, and root (or sudo) for the volumes' owner.
"""
import argparse
import atexit
import base64
import http.client
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time

import yaml

START_SECONDS_MAX = 60
KEYS = 200
AS_ROOT = [] if os.geteuid() == 0 else ["sudo"]


def docker(*arguments: str, check: bool = True, seconds: float = 120) -> subprocess.CompletedProcess:
    run = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=seconds, check=False)
    if check and run.returncode:
        sys.exit(f"docker {' '.join(arguments)}: {run.stderr.strip()}")
    return run


def bytes_of(quantity: str) -> int:
    for suffix, factor in {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "k": 10**3, "M": 10**6, "G": 10**9}.items():
        if quantity.endswith(suffix):
            return int(float(quantity.removesuffix(suffix)) * factor)
    return int(float(quantity))


def cores_of(quantity: str) -> float:
    text = str(quantity)
    return float(text[:-1]) / 1000 if text.endswith("m") else float(text)


class Rendered:
    """The objects of one render. Volumes become directories below `directory`, which outlive a container as claims do."""

    def __init__(self, path: str, directory: pathlib.Path):
        self.objects = [each for each in yaml.safe_load_all(pathlib.Path(path).read_text()) if each]
        self.directory = directory
        self.stateful_set = self.one("StatefulSet")["spec"]

    def one(self, kind: str, name: str | None = None) -> dict:
        found = [each for each in self.objects if each["kind"] == kind and name in (None, each["metadata"]["name"])]
        if len(found) != 1:
            sys.exit(f"{len(found)} objects of kind {kind} and name {name}")
        return found[0]

    def secret(self, name: str) -> dict[str, bytes]:
        return {key: base64.b64decode(value) for key, value in self.one("Secret", name)["data"].items()}

    def flags(self, pod: dict, container: dict) -> list[str]:
        """What `docker run` needs, but the image and the ports."""
        security = {**pod.get("securityContext", {}), **container.get("securityContext", {})}
        flags = ["--pull", "never", "--no-healthcheck", "--stop-timeout", str(pod.get("terminationGracePeriodSeconds", 30))]
        if "runAsUser" in security:
            flags += ["--user", f"{security['runAsUser']}:{security.get('runAsGroup', 0)}"]
        if "fsGroup" in security:
            flags += ["--group-add", str(security["fsGroup"])]
        if security.get("readOnlyRootFilesystem"):
            flags += ["--read-only"]
        if security.get("allowPrivilegeEscalation") is False:
            flags += ["--security-opt", "no-new-privileges"]
        for capability in security.get("capabilities", {}).get("drop", []):
            flags += ["--cap-drop", capability]
        limits = container.get("resources", {}).get("limits", {})
        if "memory" in limits:
            flags += ["--memory", str(bytes_of(limits["memory"])), "--memory-swap", str(bytes_of(limits["memory"]))]
        if "cpu" in limits:
            flags += ["--cpus", str(cores_of(limits["cpu"]))]
        for variable in container.get("env", []):
            if "value" not in variable:
                sys.exit(f"{variable['name']}: only plain values can be translated")
            flags += ["--env", f"{variable['name']}={variable['value']}"]
        for mount in container.get("volumeMounts", []):
            source = self.volume(pod, mount["name"], security.get("fsGroup", 0))
            flags += ["--volume", f"{source}:{mount['mountPath']}" + (":ro" if mount.get("readOnly") else "")]
        return flags

    def volume(self, pod: dict, name: str, group: int) -> pathlib.Path:
        """A kubelet gives volumes to root and the pod's fsGroup: directories with 2775, a Secret's files with its defaultMode."""
        path = self.directory / name
        if path.exists():
            return path
        claims = [each["metadata"]["name"] for each in self.stateful_set.get("volumeClaimTemplates", [])]
        source = next((each for each in pod.get("volumes", []) if each["name"] == name), None)
        subprocess.run([*AS_ROOT, "install", "-d", "-o", "0", "-g", str(group), "-m", "2775", str(path)], check=True)
        if name in claims or source.keys() & {"emptyDir", "persistentVolumeClaim"}:
            return path
        if "secret" not in source:
            sys.exit(f"the volume {name} can't be translated")
        data, mode = self.secret(source["secret"]["secretName"]), source["secret"]["defaultMode"]
        for item in source["secret"]["items"]:
            plain = self.directory / "plain"
            plain.write_bytes(data[item["key"]])
            target = str(path / item["path"])
            subprocess.run([*AS_ROOT, "install", "-o", "0", "-g", str(group), "-m", f"{mode:o}", str(plain), target], check=True)
            plain.unlink()
        return path


class Resp:
    """As little of the protocol as the check needs."""

    def __init__(self, port: int):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.stream = self.socket.makefile("rb")

    def call(self, *arguments: bytes) -> bytes:
        self.socket.sendall(b"*%d\r\n" % len(arguments) + b"".join(b"$%d\r\n%s\r\n" % (len(each), each) for each in arguments))
        line = self.stream.readline()
        if not line.startswith(b"$") or line == b"$-1\r\n":
            return line.rstrip(b"\r\n")
        return self.stream.read(int(line[1:]) + 2)[:-2]


class Running:
    """The started container."""

    def __init__(self, rendered: Rendered, image: str, network: str):
        pod = rendered.stateful_set["template"]["spec"]
        self.container = next(each for each in pod["containers"] if each["name"] == "emptyserver")
        self.grace_seconds = pod["terminationGracePeriodSeconds"]
        ports = {each["name"]: each["containerPort"] for each in self.container["ports"]}
        flags = [*rendered.flags(pod, self.container), "--network", network]
        for service in (each["metadata"]["name"] for each in rendered.objects if each["kind"] == "Service"):
            flags += ["--network-alias", service]
        for port in ports.values():
            flags += ["--publish", f"127.0.0.1::{port}"]
        if "command" in self.container:
            flags += ["--entrypoint", self.container["command"][0]]
        self.started = time.monotonic()
        self.id = docker("run", "--detach", *flags, image, *self.container.get("command", [])[1:], *self.container.get("args", [])).stdout.strip()
        atexit.register(docker, "rm", "--force", self.id, check=False)
        published = json.loads(docker("inspect", self.id).stdout)[0]["NetworkSettings"]["Ports"]
        self.ports = {name: int(published[f"{port}/tcp"][0]["HostPort"]) for name, port in ports.items()} if published else {}

    def probe(self, name: str) -> int | None:
        """The status that the probe gets, None where nothing answers in its time."""
        probe = self.container[name]
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[probe["httpGet"]["port"]], timeout=probe.get("timeoutSeconds", 1))
        try:
            connection.request("GET", probe["httpGet"]["path"])
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def wait_until_ready(self) -> float:
        while self.ports and time.monotonic() < self.started + START_SECONDS_MAX:
            if self.probe("readinessProbe") == 200:
                return time.monotonic() - self.started
            if not json.loads(docker("inspect", self.id).stdout)[0]["State"]["Running"]:
                break
            time.sleep(0.05)
        sys.exit(f"not ready:\n{docker('logs', self.id).stderr}")

    def stop(self) -> float:
        """Seconds that the shutdown took. `docker stop` kills after the time of --stop-timeout, as a kubelet does."""
        asked = time.monotonic()
        docker("stop", self.id, seconds=self.grace_seconds + 30)
        took = time.monotonic() - asked
        state = json.loads(docker("inspect", self.id).stdout)[0]["State"]
        if state["ExitCode"] != 0 or state["OOMKilled"]:
            sys.exit(f"ended with code {state['ExitCode']}, killed for memory: {state['OOMKilled']}\n{docker('logs', self.id).stderr}")
        return took


def password_of(rendered: Rendered, pod: dict) -> bytes | None:
    source = next((each["secret"] for each in pod["volumes"] if each["name"] == "password"), None)
    return rendered.secret(source["secretName"])[source["items"][0]["key"]] if source else None


def logged_in(port: int, password: bytes | None) -> Resp:
    client = Resp(port)
    if password is not None:
        expect(client.call(b"PING").startswith(b"-NOAUTH"), "it serves without the password")
        expect(client.call(b"AUTH", password + b"x").startswith(b"-WRONGPASS"), "it takes a wrong password")
        expect(client.call(b"AUTH", password) == b"+OK", "it refuses the password")
    expect(client.call(b"PING") == b"+PONG", "no PONG")
    return client


def expect(holds: bool, otherwise: str) -> None:
    if not holds:
        sys.exit(otherwise)


def helm_test(rendered: Rendered, image: str, network: str) -> None:
    """The pod of `helm test`, which finds the Service by its name; and that it fails without the password."""
    found = [each for each in rendered.objects if each["kind"] == "Pod" and each["metadata"].get("annotations", {}).get("helm.sh/hook") == "test"]
    for pod in (each["spec"] for each in found):
        container = pod["containers"][0]
        flags = ["--rm", *rendered.flags(pod, container), "--network", network]
        run = docker("run", *flags, image, *container["args"], check=False)
        expect(run.returncode == 0 and run.stdout == "PONG\n", f"helm test ends with {run.returncode}: {run.stdout}{run.stderr}")
        if container.get("env"):
            run = docker("run", *flags, "--env", f"{container['env'][0]['name']}=", image, *container["args"], check=False)
            expect(run.returncode == 1 and "NOAUTH" in run.stdout + run.stderr, f"helm test without a password: {run}")


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--image", required=True)
    arguments.add_argument("rendered")
    given = arguments.parse_args()
    directory = pathlib.Path(tempfile.mkdtemp(prefix="emptyserver-pod-"))
    atexit.register(subprocess.run, [*AS_ROOT, "rm", "-rf", str(directory)], check=False)
    # Traversable for the pod's user, as a kubelet's directories are.
    directory.chmod(0o755)
    rendered = Rendered(given.rendered, directory)
    network = f"emptyserver-pod-{os.getpid()}"
    docker("network", "create", network)
    atexit.register(docker, "network", "rm", network, check=False)
    password = password_of(rendered, rendered.stateful_set["template"]["spec"])

    first = Running(rendered, given.image, network)
    ready_seconds = first.wait_until_ready()
    client = logged_in(first.ports["resp"], password)
    for number in range(KEYS):
        expect(client.call(b"SET", b"key:%d" % number, b"value %d" % number) == b"+OK", "a write was refused")
    for probe in ("livenessProbe", "startupProbe"):
        if probe in first.container:
            expect(first.probe(probe) == 200, f"the {probe} fails")
    helm_test(rendered, given.image, network)
    stop_seconds = first.stop()
    expect(stop_seconds < first.grace_seconds, "the shutdown took as long as the grace period")

    second = Running(rendered, given.image, network)
    second.wait_until_ready()
    client = logged_in(second.ports["resp"], password)
    for number in range(KEYS):
        expect(client.call(b"GET", b"key:%d" % number) == b"value %d" % number, f"key:{number} is lost")
    second.stop()
    print(f"ready after {ready_seconds:.2f} s, ended with 0 after {stop_seconds:.2f} s, {KEYS} keys there at the second start")


if __name__ == "__main__":
    main()
