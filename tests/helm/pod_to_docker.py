#!/usr/bin/env python3
"""Runs the pod that the chart renders, without Kubernetes: its container's specification, translated into `docker run`.

    helm template kv helm/emptyserver | pod_to_docker.py --image emptyserver:dev

Command, environment, user and group, root file system, capabilities, volumes, Secrets as files, memory limit, ports and grace
period come from what was rendered. It has to become ready, answer with the password, end within its grace period with exit
code 0, and have its data after a second start.
"""
import argparse
import base64
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import yaml

WITHIN_SECONDS = 60


def docker(*words):
    output = subprocess.run(["docker", *words], capture_output=True, text=True)
    if output.returncode:
        raise SystemExit(f"docker {' '.join(words)}: {output.stderr}")
    return output.stdout.strip()


def until(what, ask):
    deadline = time.monotonic() + WITHIN_SECONDS
    while time.monotonic() < deadline:
        answer = ask()
        if answer:
            return answer
        time.sleep(0.05)
    raise SystemExit(f"no {what} within {WITHIN_SECONDS} s")


def bytes_of(quantity):
    units = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "k": 10**3, "M": 10**6, "G": 10**9}
    for unit, factor in units.items():
        if quantity.endswith(unit):
            return int(float(quantity.removesuffix(unit)) * factor)
    return int(quantity)


class Pod:
    def __init__(self, objects, image, scratch, name):
        stateful_set = next(one for one in objects if one["kind"] == "StatefulSet")
        self.secrets = {one["metadata"]["name"]: one for one in objects if one["kind"] == "Secret"}
        self.spec = stateful_set["spec"]["template"]["spec"]
        self.claims = {claim["metadata"]["name"] for claim in stateful_set["spec"].get("volumeClaimTemplates", [])}
        self.container = self.spec["containers"][0]
        self.image, self.scratch, self.name = image, scratch, name
        self.docker_volumes = []

    def run(self):
        security = {**self.spec["securityContext"], **self.container["securityContext"]}
        assert security["runAsNonRoot"] and security["runAsUser"] != 0, "it would run as root"
        assert security["seccompProfile"]["type"] == "RuntimeDefault", "Docker's default profile is the runtime's"
        words = ["run", "--detach", "--user", f"{security['runAsUser']}:{security['runAsGroup']}"]
        words += ["--group-add", str(security["fsGroup"])]
        if security["readOnlyRootFilesystem"]:
            words += ["--read-only"]
        if not security["allowPrivilegeEscalation"]:
            words += ["--security-opt", "no-new-privileges"]
        for capability in security["capabilities"]["drop"]:
            words += ["--cap-drop", capability]
        for variable in self.container["env"]:
            words += ["--env", f"{variable['name']}={variable['value']}"]
        for mount in self.container["volumeMounts"]:
            words += ["--volume", f"{self.source(mount, security)}:{mount['mountPath']}{':ro' if mount.get('readOnly') else ''}"]
        for port in self.container["ports"]:
            words += ["--publish", f"127.0.0.1::{port['containerPort']}"]
        words += ["--memory", str(bytes_of(self.container["resources"]["limits"]["memory"]))]
        words += ["--stop-timeout", str(self.spec["terminationGracePeriodSeconds"])]
        command = self.container.get("command")
        if command:
            words += ["--entrypoint", command[0]]
        words += [self.image, *(command or [])[1:], *self.container.get("args", [])]
        return docker(*words)

    def source(self, mount, security):
        """A claim is a named volume that the group may write, as the kubelet makes it with fsGroup; a Secret is its files."""
        name = mount["name"]
        if name in self.claims:
            volume = f"{self.name}-{name}"
            if volume not in self.docker_volumes:
                docker("volume", "create", volume)
                self.docker_volumes.append(volume)
                place = pathlib.Path(docker("volume", "inspect", "--format", "{{.Mountpoint}}", volume))
                os.chown(place, 0, security["fsGroup"])
                # A volume that has something in it is left as it is: the image's directory must not be copied into it.
                (place / "lost+found").mkdir()
                place.chmod(0o2775)
            return volume
        volume = next(one for one in self.spec["volumes"] if one["name"] == name)
        secret = self.secrets[volume["secret"]["secretName"]]
        directory = self.scratch / name
        directory.mkdir(exist_ok=True)
        for item in volume["secret"]["items"]:
            (directory / item["path"]).write_bytes(base64.b64decode(secret["data"][item["key"]]))
        return directory

    def port(self, container, name):
        number = next(port["containerPort"] for port in self.container["ports"] if port["name"] == name)
        return int(docker("port", container, f"{number}/tcp").splitlines()[0].rsplit(":", 1)[1])

    def probe(self, container, which):
        """What the kubelet would find."""
        probe = self.container[which]
        url = f"http://127.0.0.1:{self.port(container, probe['httpGet']['port'])}{probe['httpGet']['path']}"
        try:
            with urllib.request.urlopen(url, timeout=probe["timeoutSeconds"]) as answer:
                return answer.status == 200
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def password(self):
        return (self.scratch / "password" / "password").read_text()


def ask(port, *commands):
    """The lines that plain text commands are answered with."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as stream:
        stream.sendall("".join(command + "\r\n" for command in [*commands, "QUIT"]).encode())
        return stream.makefile().read().splitlines()


def run(pod):
    container = pod.run()
    try:
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            until(f"success of the {probe}", lambda: pod.probe(container, probe))
        port = pod.port(container, "redis")
        assert ask(port, "GET greeting")[0].startswith("-NOAUTH"), "it serves without the password"
        first = ask(port, f"AUTH {pod.password()}", "GET greeting", "SET greeting hello")
        began = time.monotonic()
        docker("stop", container)
        took = time.monotonic() - began
        state = json.loads(docker("inspect", "--format", "{{json .State}}", container))
        assert state["ExitCode"] == 0, f"it ends with {state['ExitCode']}: {docker('logs', container)}"
        assert took < pod.spec["terminationGracePeriodSeconds"], f"it took {took} s to end"
        return first, took
    finally:
        docker("rm", "--force", container)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--image", required=True)
    arguments = parser.parse_args()
    objects = [one for one in yaml.safe_load_all(sys.stdin) if one]
    with tempfile.TemporaryDirectory() as scratch:
        os.chmod(scratch, 0o755)
        pod = Pod(objects, arguments.image, pathlib.Path(scratch), f"emptyserver-pod-{os.getpid()}")
        try:
            first, took = run(pod)
            assert first[:3] == ["+OK", "$-1", "+OK"], first
            again, _ = run(pod)
            assert again[:3] == ["+OK", "$5", "hello"], again
        finally:
            for volume in pod.docker_volumes:
                docker("volume", "rm", "--force", volume)
    print(f"the rendered pod becomes ready, serves with its password, ends in {took:.2f} s with code 0, and keeps its data")


main()
