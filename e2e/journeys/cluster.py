"""The cluster as its users see it: kubectl, helm and commands in pods; each is printed as it is typed."""

from __future__ import annotations

import json
import os
import string
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

ROOT: Final = Path(__file__).resolve().parent.parent.parent
MANIFESTS: Final = Path(__file__).parent / "manifests"
APPS: Final = Path(__file__).parent / "apps"
SYSTEM: Final = "pannier-system"
_POLL_SECONDS: Final = 0.2

T = TypeVar("T")


class CommandFailed(AssertionError):
    """A command ended with another exit code than 0; the message is what it printed."""


class Cluster:
    """One cluster and the images that are there for the journeys."""

    def __init__(self, images: Mapping[str, str]) -> None:
        """``images``: pannier, redis and dynamodb, as pods name them."""
        self.images = images

    def sh(self, command: str, *, text: str = "") -> str:
        """Run one line as a shell has it; gives what it prints, raises `CommandFailed`."""
        print(f"$ {command}", flush=True)
        done = self._run(command, text)
        print(done.stdout, end="", flush=True)
        if done.returncode:
            raise CommandFailed(f"{command}\n{done.stdout}{done.stderr}")
        return done.stdout

    def refused(self, command: str, *, text: str = "") -> str:
        """Run a line that has to be refused; gives the message."""
        print(f"$ {command}", flush=True)
        done = self._run(command, text)
        print(done.stderr, end="", flush=True)
        assert done.returncode, f"{command} was not refused:\n{done.stdout}"
        return done.stderr

    def quiet(self, command: str) -> str:
        """Run a line that looks, and is run again and again: nothing is printed."""
        done = self._run(command, "")
        if done.returncode:
            raise CommandFailed(f"{command}\n{done.stdout}{done.stderr}")
        return done.stdout

    def json(self, command: str) -> Any:
        """Run a line that looks, and read what it says as JSON."""
        return json.loads(self.quiet(command))

    def apply(self, manifest: str, *, namespace: str | None = None, **parts: object) -> None:
        """Apply a manifest of the journeys, with its parts filled in."""
        where = f" --namespace {namespace}" if namespace else ""
        if not parts:
            self.sh(f"kubectl apply --filename {(MANIFESTS / manifest).relative_to(ROOT)}{where}")
            return
        filled = ", ".join(f"{name}: {part}" for name, part in parts.items())
        print(f"# {(MANIFESTS / manifest).relative_to(ROOT)} with {filled}")
        self.sh(f"kubectl apply --filename -{where}", text=self.filled(manifest, **parts))

    def filled(self, manifest: str, **parts: object) -> str:
        """Read a manifest of the journeys, with its parts filled in."""
        return string.Template((MANIFESTS / manifest).read_text()).substitute(parts)

    def config_of_apps(self, namespace: str) -> None:
        """Put the apps' scripts where their pods find them."""
        files = f"--from-file={APPS.relative_to(ROOT)} --dry-run=client --output yaml"
        self.sh(
            f"kubectl create configmap app {files} --namespace {namespace} "
            f"| kubectl apply --filename - --namespace {namespace}"
        )

    def deploy(self, namespace: str, script: str = "idle.py", *, replicas: int = 1) -> None:
        """Deploy an app with a sidecar and wait until its pods are ready."""
        self.config_of_apps(namespace)
        self.apply(
            "app.yaml", namespace=namespace, image=self.images["pannier"], script=script, replicas=replicas
        )
        self.sh(f"kubectl rollout status deployment/app --namespace {namespace} --timeout=120s")

    def pods(self, namespace: str, selector: str = "app=app") -> list[str]:
        """Names of an app's pods that are there and not on their way out."""
        found = self.json(f"kubectl get pods --namespace {namespace} --selector {selector} --output json")
        return [
            pod["metadata"]["name"]
            for pod in found["items"]
            if "deletionTimestamp" not in pod["metadata"] and pod["status"].get("phase") == "Running"
        ]

    def pannier(self, namespace: str, command: str, *, pod: str = "deployment/app") -> str:
        """Run the pannier command in an app's pod, beside its sidecar."""
        return self.sh(f"kubectl exec --namespace {namespace} {pod} --container app -- pannier {command}")

    def asked(self, namespace: str, command: str, *, pod: str = "deployment/app") -> Any:
        """Run the pannier command in an app's pod, for JSON."""
        return self.json(
            f"kubectl exec --namespace {namespace} {pod} --container app -- pannier {command} --json"
        )

    def group_is(self, condition: str, name: str, namespace: str, *, seconds: int = 120) -> None:
        """Wait for a condition of a FeatureGroup; where it does not come, show what stands in its place."""
        group = f"featuregroup/{name} --namespace {namespace}"
        try:
            self.sh(f"kubectl wait --for=condition={condition} {group} --timeout={seconds}s")
        except CommandFailed:
            self.sh(f"kubectl describe {group}")
            raise

    @contextmanager
    def namespace(self, name: str) -> Iterator[str]:
        """Have a namespace for a journey."""
        print(flush=True)
        self.sh(f"kubectl create namespace {name}")
        try:
            yield name
        finally:
            print(flush=True)
            self.sh(f"kubectl delete namespace {name} --wait=false --ignore-not-found")

    def eventually(self, what: str, look: Callable[[], T], *, seconds: float = 60.0) -> T:
        """Look until something is there (truthy); an assertion or a failed command counts as not yet."""
        give_up_at = time.monotonic() + seconds
        while True:
            try:
                if found := look():
                    return found
                last: object = found
            except AssertionError as error:
                last = error
            assert time.monotonic() < give_up_at, f"{what}: not within {seconds:.0f} s; last: {last}"
            time.sleep(_POLL_SECONDS)

    def _run(self, command: str, text: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            input=text,
            cwd=ROOT,
            env={**os.environ, "PATH": _path()},
            capture_output=True,
            text=True,
            check=False,
        )

    def __repr__(self) -> str:
        return f"<Cluster {os.environ.get('KUBECONFIG')}>"


def _path() -> str:
    """The user's, with helm and pannier of this checkout first."""
    return os.pathsep.join([str(ROOT / ".venv" / "bin"), os.environ.get("PATH", os.defpath)])
