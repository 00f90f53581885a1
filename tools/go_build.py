"""Programs built from a Go module of this repository, once for all checkouts.

What is built is kept in the user's cache, in a folder named by all that goes into it; the folder appears when
the build is whole, and a link in .tools leads to it.
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
from dataclasses import dataclass, field
from pathlib import Path

from steps import ROOT, TOOLS, Expected, Stamp, StepFailed, run

_UNFINISHED = "unfinished-"


@dataclass(frozen=True)
class GoModule:
    """A module, the programs that it holds, and what they are called."""

    name: str
    """Of its folder in the cache, and of the link in .tools."""
    title: str
    folder: Path
    parts: tuple[str, ...]
    """Names that programs are called by."""
    advice: str
    packages: tuple[str, ...] = (".",)
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Go names a program by its package; what it is to be called instead."""
    links: Mapping[str, str] = field(default_factory=dict)
    """Further names of one program."""

    @property
    def place(self) -> Path:
        """Where the checkout finds the programs."""
        return TOOLS / self.name

    @property
    def sources(self) -> tuple[Path, ...]:
        """Every file of ours that the programs are made of."""
        return (*sorted(self.folder.rglob("*.go")), self.folder / "go.mod", self.folder / "go.sum")

    def required(self, module: str) -> str:
        """Read the version of a module that go.mod requires."""
        return required(module, self.folder / "go.mod")


def provide(module: GoModule, find_go: Callable[[], Path], flags: Sequence[str]) -> None:
    """Have the programs of a module, built now unless any checkout has built the same before."""
    stamp = Stamp(TOOLS / f".installed-{module.name}", *module.sources)
    if stamp.is_current() and not missing_parts(module.place, module.parts):
        return
    go = find_go()
    environment = go_environment(go)
    version = _output(module, go, environment, "env", "GOVERSION")
    folder = cache_folder() / module.name / build_key(version, flags, module.parts, module.sources)
    with _one_at_a_time(folder.parent, module.title):
        if not folder.exists():
            _build(module, go, flags, environment, folder)
    module.place.unlink(missing_ok=True)
    module.place.symlink_to(folder)
    stamp.write()


def missing_parts(folder: Path, parts: Sequence[str]) -> list[str]:
    """List the programs that a folder does not hold."""
    return [part for part in parts if not os.access(folder / part, os.X_OK)]


def cache_folder() -> Path:
    """Where things are kept that several checkouts share."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pannier"


def machine_go(module: Path) -> Path | None:
    """The machine's Go, unless it is older than the module asks for."""
    path = shutil.which("go")
    if path is None:
        return None
    said = subprocess.run([path, "env", "GOVERSION"], cwd=ROOT, capture_output=True, text=True, check=False)
    wanted = re.search(r"^go ([\d.]+)", (module / "go.mod").read_text(), re.MULTILINE)
    return Path(path) if wanted and _numbers(said.stdout) >= _numbers(wanted[1]) else None


def go_environment(go: Path) -> dict[str, str]:
    """Settings of Go: nothing but the module decides; a Go that is ours keeps to our cache."""
    settings = {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -modcacherw", "GOWORK": "off"}
    if go.is_relative_to(TOOLS):
        cache = cache_folder()
        settings |= {"GOCACHE": str(cache / "go-build"), "GOPATH": str(cache / "go")}
    return settings


def required(module: str, go_mod: Path) -> str:
    """Read the version of a module that a go.mod requires."""
    found = re.search(rf"^\s*{re.escape(module)} (v\S+)", go_mod.read_text(), re.MULTILINE)
    if found is None:
        raise StepFailed(f"{go_mod} requires no {module}")
    return found[1]


def build_flags(linked: Mapping[str, str], *, tags: Sequence[str] = ()) -> list[str]:
    """Options of a build: the same bytes wherever it runs, with the named variables set."""
    variables = " ".join(f"-X {name}={value}" for name, value in linked.items())
    chosen = ["-tags", ",".join(tags)] if tags else []
    return ["-trimpath", "-buildvcs=false", *chosen, "-ldflags", f"-s -w {variables}".strip()]


def kubernetes_version(kubernetes: str) -> dict[str, str]:
    """Variables by which Kubernetes tells its version when it is asked."""
    major, minor, _ = kubernetes.removeprefix("v").split(".", 2)
    told = {"gitVersion": kubernetes, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    return {f"k8s.io/component-base/version.{name}": value for name, value in told.items()}


def build_key(go_version: str, flags: Sequence[str], parts: Sequence[str], sources: Sequence[Path]) -> str:
    """Name a build by all that goes into it."""
    digest = hashlib.sha256("\0".join([go_version, *flags, *parts]).encode())
    for source in sources:
        digest.update(f"\0{source.name}\0".encode() + source.read_bytes())
    return digest.hexdigest()[:16]


def _build(
    module: GoModule, go: Path, flags: Sequence[str], environment: Mapping[str, str], folder: Path
) -> None:
    """Build beside the final place and move it there whole, so that half a build is never found."""
    listing = ("list", "-deps", *module.packages)
    sources = f"Sources of {module.title} (Go)"
    run(sources, [go, "-C", module.folder, *listing], advice=module.advice, env=environment)
    packages = Expected(len(_output(module, go, environment, *listing).splitlines()), "packages")
    for killed in folder.parent.glob(f"{_UNFINISHED}*"):  # nobody else builds now
        shutil.rmtree(killed)
    with tempfile.TemporaryDirectory(prefix=_UNFINISHED, dir=folder.parent) as unfinished:
        new = Path(unfinished) / "new"
        new.mkdir()
        command: list[str | Path] = ["nice", "-n", "10", go, "-C", module.folder, "build", "-v", *flags]
        run(
            f"{module.title} (Go; minutes, once)",
            [*command, "-o", f"{new}/", *module.packages],
            advice=module.advice,
            env=environment,
            expected=packages,
        )
        for built, called in module.renamed.items():
            (new / built).rename(new / called)
        for part, program in module.links.items():
            (new / part).symlink_to(program)
        new.rename(folder)


@contextlib.contextmanager
def _one_at_a_time(folder: Path, title: str) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"  {title}: another checkout builds it; waiting for it ...", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _output(module: GoModule, go: Path, environment: Mapping[str, str], *command: str) -> str:
    said = subprocess.run(
        [go, "-C", module.folder, *command],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if said.returncode:
        raise StepFailed(f"go {' '.join(command)} failed:\n{said.stderr.strip()}\n\n{module.advice}")
    return said.stdout


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])
