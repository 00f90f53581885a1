"""Debian packages unpacked into .tools, for programs the machine lacks: no root, and nothing else changes.

apt-get resolves and downloads with lists and cache of our own (so any user may, and no service is started),
dpkg-deb unpacks, and a small script in .tools/bin starts a program with the libraries that came along.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import ssl
import struct
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from steps import BIN, TOOLS, StepFailed, run

PACKAGES = TOOLS / "debian"
_STATE = TOOLS / "apt"
_ARCHIVES = _STATE / "cache" / "archives"
_STORE_PASSWORD = "changeit"  # noqa: S105 (Java's customary one; the store holds public certificates)


@dataclass(frozen=True)
class Program:
    """One program: where it comes from and how old it may be."""

    name: str
    package: str
    file: str
    """Its place in the unpacked package."""
    minimum: int = 0
    """Lowest major version that will do; 0 = any."""
    version_option: str = "--version"

    def found(self) -> str | None:
        """Path of the program, ours or the machine's, or None where it is missing or too old."""
        path = shutil.which(self.name, path=f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}")
        return path if path and (not self.minimum or self._major(path) >= self.minimum) else None

    def _major(self, path: str) -> int:
        said = subprocess.run([path, self.version_option], capture_output=True, text=True, check=False)
        match = re.search(r'(?:version "|v=)(\d+)', said.stdout + said.stderr)
        return int(match[1]) if match else 0


REDIS = Program("redis-server", "redis-server", "usr/bin/redis-server", 6)
JAVA = Program("java", "openjdk-17-jre-headless", "usr/lib/jvm/*/bin/java", 17, "-version")
MAVEN = Program("mvn", "maven", "usr/share/maven/bin/mvn")
RUNC = Program("runc", "runc", "usr/sbin/runc")
NFT = Program("nft", "nftables", "usr/sbin/nft")
IP = Program("ip", "iproute2", "bin/ip")
WRK = Program("wrk", "wrk", "usr/bin/wrk")


def provide(programs: Iterable[Program]) -> None:
    """Unpack what is missing and leave a start script for each in .tools/bin."""
    missing = [program for program in programs if program.found() is None]
    if not missing:
        return
    unpack([program.package for program in missing])
    for program in missing:
        _start_script(program)


def unpack(packages: list[str]) -> Path:
    """Download packages with all they depend on and the machine lacks, and unpack them; returns the root."""
    title = f"Debian packages {', '.join(packages)}"
    advice = f"Install them yourself (as root: apt-get install {' '.join(packages)}), then run make again."
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise StepFailed(f"{title}: this machine has no apt-get and dpkg-deb.\n{advice}")
    apt = _private_apt()
    _refresh_lists()
    download: list[str | Path] = [
        *apt,
        "-y",
        "--no-install-recommends",
        "--download-only",
        "install",
        *packages,
    ]
    run(title, download, advice=advice)
    for archive in sorted(_ARCHIVES.glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", archive, PACKAGES], check=True)
        archive.unlink()
    _relink(PACKAGES)
    return PACKAGES


@functools.cache
def _refresh_lists() -> None:
    """Learn what Debian has now; once per run is enough."""
    for directory in (_STATE / "lists" / "partial", _ARCHIVES / "partial", PACKAGES):
        directory.mkdir(parents=True, exist_ok=True)
    advice = (
        "Check apt's sources and the network, or install redis-server, a Java 17 runtime and maven yourself."
    )
    run("Package lists", [*_private_apt(), "update"], advice=advice)


def _private_apt() -> list[str]:
    """An apt-get with lists and cache of its own."""
    options = {
        "Dir::State::Lists": _STATE / "lists",
        "Dir::Cache": _STATE / "cache",
        "Dir::Log": _STATE,
        "Debug::NoLocking": "true",  # the locks would be the system's, and need root
        "APT::Sandbox::User": "",
    }
    return ["apt-get", "-q", *(part for name, value in options.items() for part in ("-o", f"{name}={value}"))]


def _relink(root: Path) -> None:
    """Links of packages mean the system's root; make them point into ours where the target is."""
    for link in [path for path in root.rglob("*") if path.is_symlink()]:
        target = link.readlink()
        inside = root / target.relative_to("/") if target.is_absolute() else link
        if inside != link and os.path.lexists(inside):
            link.unlink()
            link.symlink_to(os.path.relpath(inside, link.parent))


def libraries() -> str:
    """Where unpacked libraries are, as LD_LIBRARY_PATH has it."""
    return ":".join(sorted({str(file.parent) for file in PACKAGES.glob("**/lib/*-linux-gnu/**/*.so*")}))


def _start_script(program: Program) -> None:
    executable = next(iter(sorted(PACKAGES.glob(program.file))), None)
    if executable is None:
        raise StepFailed(
            f"package {program.package} holds no {program.file}; install {program.name} yourself"
        )
    lines = [
        "#!/bin/sh",
        f'export LD_LIBRARY_PATH="{libraries()}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}"',
    ]
    if program is MAVEN:
        lines += _maven_environment()
    script = BIN / program.name
    BIN.mkdir(parents=True, exist_ok=True)
    script.write_text("\n".join([*lines, f'exec "{executable}" "$@"', ""]))
    script.chmod(0o755)


def _maven_environment() -> list[str]:
    store = PACKAGES / "trusted.jks"
    _write_trust_store(store)
    options = f"-Djavax.net.ssl.trustStore={store} -Djavax.net.ssl.trustStorePassword={_STORE_PASSWORD}"
    return [
        f'export PATH="{BIN}:$PATH"',
        f'export MAVEN_HOME="{PACKAGES}/usr/share/maven"',
        f'export MAVEN_OPTS="{options} $MAVEN_OPTS"',
    ]


def _write_trust_store(path: Path) -> None:
    """The system's certificates in Java's JKS format; Debian's package makes it only when installed."""
    bundle = Path(os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt"))
    files = [bundle] if bundle.exists() else sorted(PACKAGES.glob("usr/share/ca-certificates/**/*.crt"))
    text = "\n".join(file.read_text() for file in files)
    blocks = re.findall(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", text, re.DOTALL)
    store = struct.pack(">III", 0xFEEDFEED, 2, len(blocks))
    for number, block in enumerate(blocks):
        certificate = ssl.PEM_cert_to_DER_cert(block)
        alias = f"ca{number}".encode()
        store += struct.pack(">IH", 2, len(alias)) + alias + struct.pack(">QH", int(time.time() * 1000), 5)
        store += b"X.509" + struct.pack(">I", len(certificate)) + certificate
    salted = _STORE_PASSWORD.encode("utf-16-be") + b"Mighty Aphrodite" + store
    path.write_bytes(store + hashlib.sha1(salted).digest())  # noqa: S324 (the format's own)
