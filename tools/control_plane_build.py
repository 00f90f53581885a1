"""The Kubernetes control plane of the tests: built from ``e2e/controlplane``, once for all checkouts.

``KUBEBUILDER_ASSETS`` is taken instead where it is set. What is built is kept in the user's cache, in a
folder named by all that goes into it; the folder appears when the build is whole, and `PLACE` leads to it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from steps import ROOT, TOOLS, Expected, Stamp, StepFailed, run

MODULE = ROOT / "e2e" / "controlplane"
PLACE = TOOLS / "controlplane"
BINARY = "controlplane"
PARTS = ("etcd", "kube-apiserver", "kubectl")
ASSETS = "KUBEBUILDER_ASSETS"
WITHOUT = "PANNIER_NO_CONTROL_PLANE"

_SOURCES = (*sorted(MODULE.glob("*.go")), MODULE / "go.mod", MODULE / "go.sum")
_UNFINISHED = "unfinished-"
_VERSION = "k8s.io/component-base/version"
_ADVICE = (
    "Check that Go modules can be fetched (GOPROXY), then run make again: what is compiled is kept.\n"
    f"To test without Kubernetes: {WITHOUT}=1 make test."
)


def provide(find_go: Callable[[], Path]) -> None:
    """Have a control plane, or fail: only who asks for it goes without."""
    if os.environ.get(WITHOUT):
        print(f"  Control plane: left out, as {WITHOUT} asks; tests that need one are skipped", flush=True)
        return
    if assets := os.environ.get(ASSETS):
        refuse_incomplete(Path(assets))
        return
    stamp = Stamp(TOOLS / ".installed-controlplane", *_SOURCES)
    if stamp.is_current() and not missing_parts(PLACE):
        return
    go = find_go()
    environment = go_environment(go)
    flags = build_flags(required("k8s.io/kubernetes", (MODULE / "go.mod").read_text()))
    folder = cache_folder() / "controlplane" / build_key(_output(go, environment, "env", "GOVERSION"), flags)
    with _one_at_a_time(folder.parent):
        if not folder.exists():
            _build(go, flags, environment, folder)
    PLACE.unlink(missing_ok=True)
    PLACE.symlink_to(folder)
    stamp.write()


def refuse_incomplete(assets: Path) -> None:
    """Say what a folder from outside lacks."""
    if missing := missing_parts(assets):
        raise StepFailed(
            f"{ASSETS} is {assets}, which lacks {', '.join(missing)}.\n"
            f"Name a folder that holds {', '.join(PARTS)}, or unset it to have them built."
        )


def missing_parts(folder: Path) -> list[str]:
    """List the programs that a folder does not hold."""
    return [part for part in PARTS if not os.access(folder / part, os.X_OK)]


def cache_folder() -> Path:
    """Where things are kept that several checkouts share."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pannier"


def machine_go() -> Path | None:
    """The machine's Go, unless it is older than the module asks for."""
    path = shutil.which("go")
    if path is None:
        return None
    said = subprocess.run([path, "env", "GOVERSION"], cwd=ROOT, capture_output=True, text=True, check=False)
    wanted = re.search(r"^go ([\d.]+)", (MODULE / "go.mod").read_text(), re.MULTILINE)
    return Path(path) if wanted and _numbers(said.stdout) >= _numbers(wanted[1]) else None


def go_environment(go: Path) -> dict[str, str]:
    """Settings of Go: nothing but the module decides; a Go that is ours keeps to our cache."""
    settings = {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -modcacherw", "GOWORK": "off"}
    if go.is_relative_to(TOOLS):
        cache = cache_folder()
        settings |= {"GOCACHE": str(cache / "go-build"), "GOPATH": str(cache / "go")}
    return settings


def required(module: str, go_mod: str) -> str:
    """Read the version of a module that go.mod requires."""
    found = re.search(rf"^\s*{re.escape(module)} (v\S+)", go_mod, re.MULTILINE)
    if found is None:
        raise StepFailed(f"{MODULE / 'go.mod'} requires no {module}")
    return found[1]


def build_flags(kubernetes: str) -> list[str]:
    """Options of the build: the same bytes wherever it runs, and the version that Kubernetes is asked for."""
    major, minor, _ = kubernetes.removeprefix("v").split(".", 2)
    stamped = {
        "gitVersion": kubernetes,
        "gitMajor": major,
        "gitMinor": minor,
        "gitTreeState": "clean",
    }
    linked = " ".join(f"-X {_VERSION}.{name}={value}" for name, value in stamped.items())
    return ["-trimpath", "-buildvcs=false", "-ldflags", f"-s -w {linked}"]


def build_key(go_version: str, flags: Sequence[str], sources: Sequence[Path] = _SOURCES) -> str:
    """Name a build by all that goes into it."""
    digest = hashlib.sha256("\0".join([go_version, *flags, *PARTS]).encode())
    for source in sources:
        digest.update(f"\0{source.name}\0".encode() + source.read_bytes())
    return digest.hexdigest()[:16]


def _build(go: Path, flags: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
    """Build beside the final place and move it there whole, so that half a build is never found."""
    listing = ("list", "-deps", ".")
    run("Kubernetes sources (Go)", [go, "-C", MODULE, *listing], advice=_ADVICE, env=environment)
    packages = Expected(len(_output(go, environment, *listing).splitlines()), "packages")
    for killed in folder.parent.glob(f"{_UNFINISHED}*"):  # nobody else builds now
        shutil.rmtree(killed)
    with tempfile.TemporaryDirectory(prefix=_UNFINISHED, dir=folder.parent) as unfinished:
        new = Path(unfinished) / "new"
        new.mkdir()
        command: list[str | Path] = ["nice", "-n", "10", go, "-C", MODULE, "build", "-v", *flags]
        title = "Kubernetes control plane (Go; minutes, once)"
        run(title, [*command, "-o", new / BINARY, "."], advice=_ADVICE, env=environment, expected=packages)
        for part in PARTS:
            (new / part).symlink_to(BINARY)
        new.rename(folder)


@contextlib.contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("  Control plane: another checkout builds one; waiting for it ...", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _output(go: Path, environment: Mapping[str, str], *command: str) -> str:
    said = subprocess.run(
        [go, "-C", MODULE, *command],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if said.returncode:
        raise StepFailed(f"go {' '.join(command)} failed:\n{said.stderr.strip()}\n\n{_ADVICE}")
    return said.stdout


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])
