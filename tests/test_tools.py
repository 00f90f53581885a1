"""The installation steps: the finished are skipped, the failed say so, the half done do not count."""

from __future__ import annotations

import hashlib
import os
import struct
from pathlib import Path

import bootstrap
import debian
import pytest
import steps
from steps import Stamp, StepFailed, check_sha256, run

CERTIFICATE = "-----BEGIN CERTIFICATE-----\nAAEC\n-----END CERTIFICATE-----\n"
"""Three bytes in the wrapping of a certificate: the store holds bytes and does not look into them."""


@pytest.fixture(autouse=True)
def _log_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "LOG", tmp_path / "install.log")


def test_stamp_goes_stale_with_its_inputs(tmp_path: Path) -> None:
    """A finished step is skipped until a file it was made from changes."""
    lock = tmp_path / "lock.txt"
    lock.write_text("a==1")
    Stamp(tmp_path / "stamp", lock).write()
    assert Stamp(tmp_path / "stamp", lock).is_current()
    lock.write_text("a==2")
    assert not Stamp(tmp_path / "stamp", lock).is_current()


def test_stamp_goes_stale_when_the_checkout_moves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Environments hold absolute paths, so a moved checkout installs anew."""
    Stamp(tmp_path / "stamp").write()
    monkeypatch.setattr(steps, "ROOT", tmp_path)
    assert not Stamp(tmp_path / "stamp").is_current()


def test_failed_command_shows_its_output_and_what_to_do(capfd: pytest.CaptureFixture[str]) -> None:
    """A step that fails says which, why, and what to do; a step that works says how long it took."""
    run("good", ["true"], advice="")
    assert "good: done in" in capfd.readouterr().out
    with pytest.raises(StepFailed, match=r"(?s)bad failed \(exit code 3\).*no such registry.*try later"):
        run("bad", ["sh", "-c", "echo no such registry; exit 3"], advice="try later")


def test_missing_command_is_told() -> None:
    """A program that is not there is a failed step, not a traceback."""
    with pytest.raises(StepFailed, match=r"(?s)cannot start no-such-program.*install it"):
        run("step", ["no-such-program"], advice="install it")


def test_download_with_another_checksum_is_removed(tmp_path: Path) -> None:
    """Bytes other than the tested ones are refused, and are gone for the next attempt."""
    file = tmp_path / "tool.tgz"
    file.write_bytes(b"other")
    with pytest.raises(StepFailed, match="sha256"):
        check_sha256(file, "0" * 64, "tool")
    assert not file.exists()


def test_download_with_the_checksum_stays(tmp_path: Path) -> None:
    """Bytes that were tested are kept."""
    file = tmp_path / "tool.tgz"
    file.write_bytes(b"tested")
    check_sha256(file, hashlib.sha256(b"tested").hexdigest(), "tool")
    assert file.exists()


def test_interrupted_download_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was being fetched when Ctrl-C came is not found by the next run."""
    monkeypatch.setattr(bootstrap, "TOOLS", tmp_path / "tools")

    def interrupted() -> None:
        with bootstrap._unfinished("tool") as directory:
            (directory / "half").write_text("")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list((tmp_path / "tools").iterdir()) == []


@pytest.mark.parametrize(("said", "found"), [('openjdk version "17.0.1"', True), ('version "11.0.2"', False)])
def test_program_that_is_too_old_counts_as_missing(
    said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, found: bool
) -> None:
    """A Java of the machine is used if it is new enough for the emulator, else another is unpacked."""
    java = tmp_path / "java"
    java.write_text(f"#!/bin/sh\necho '{said}' >&2\n")
    java.chmod(0o755)
    monkeypatch.setattr(debian, "BIN", tmp_path / "nothing")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin{os.pathsep}/bin")
    assert (debian.JAVA.found() == str(java)) is found
    assert (debian.JAVA.found() is None) is not found


def test_links_of_unpacked_packages_stay_inside(tmp_path: Path) -> None:
    """An absolute link means the unpacked root where its target is there, else the machine's."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "java.conf").write_text("ours")
    inside, outside = tmp_path / "conf", tmp_path / "null"
    inside.symlink_to("/etc/java.conf")
    outside.symlink_to("/dev/null")
    debian._relink(tmp_path)
    assert inside.read_text() == "ours"
    assert outside.readlink() == Path("/dev/null")


def test_trust_store_holds_every_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Java's store has the format's head, one entry for each certificate, and the digest that guards it."""
    bundle, store = tmp_path / "bundle.crt", tmp_path / "trusted.jks"
    bundle.write_text(CERTIFICATE * 2)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    debian._write_trust_store(store)
    written = store.read_bytes()
    assert struct.unpack(">III", written[:12]) == (0xFEEDFEED, 2, 2)
    assert written.count(b"X.509" + struct.pack(">I", 3) + b"\x00\x01\x02") == 2
    salted = "changeit".encode("utf-16-be") + b"Mighty Aphrodite" + written[:-20]
    assert written[-20:] == hashlib.sha1(salted).digest()
