"""The repository keeps its shape: what a reviewer would otherwise have to look for in every change."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("contract/pannier", "operator/pannier_operator", "sidecar/pannier_sidecar", "cli/pannier_cli")
MAX_MODULE_LINES = 300
WRITTEN_REASON = "# Longer than 300 lines because "
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "managers", "misc"}
REGISTRY_HOST = re.compile(
    r"(?:pypi|pythonhosted|npmjs|maven|apache|debian|ubuntu|golang|crates|githubusercontent)"
    r"\.(?:org|com|io)\b|registry\.\w+\.|/simple/|artifact[a-z]*\.(?:io|com)",
    re.IGNORECASE,
)
"""Where packages come from is for each machine's own configuration, never for this repository."""
HOST_EXEMPT = {
    "LICENSE": "the licence names the foundation that wrote it",
    "tests/test_layout.py": "spells the hosts it looks for",
}
COVERED_THROUGH: dict[str, str] = {}
"""Module -> the test that covers it from outside, where no test has its name or imports it."""


def tracked() -> list[Path]:
    """Files under version control, and those that the next commit would add."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.fail(f"git cannot list the files: {listed.stderr}")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def modules() -> list[Path]:
    """Every Python file of ours."""
    return [path for path in tracked() if path.suffix == ".py"]


def test_operator_folder_does_not_shadow_the_standard_library() -> None:
    """`operator/__init__.py` would make `import operator` find ours and break Python itself."""
    assert not (ROOT / "operator" / "__init__.py").exists()


def test_modules_stay_short_or_say_why_not() -> None:
    """A module over 300 lines does two things, unless its author wrote down why it does one."""
    too_long = {
        str(path.relative_to(ROOT)): lines
        for path in modules()
        if (lines := len((text := path.read_text()).splitlines())) > MAX_MODULE_LINES
        and WRITTEN_REASON not in text
    }
    assert not too_long


def test_no_module_has_a_name_that_says_nothing() -> None:
    """A module is named for the step or thing it is."""
    vague = [str(path.relative_to(ROOT)) for path in modules() if VAGUE_NAMES & set(path.stem.split("_"))]
    assert not vague


def test_every_module_says_what_it_is() -> None:
    """A module opens with a docstring."""
    silent = [
        str(path.relative_to(ROOT))
        for path in modules()
        if path.read_text().strip() and not path.read_text().lstrip().startswith(('"""', "#!"))
    ]
    assert not silent


def test_every_module_has_its_test() -> None:
    """A module has a test of its name, or a test that imports it, or the exception is written down."""
    tests = {path.name: path.read_text() for path in (ROOT / "tests").rglob("*.py")}
    sources = "\n".join(tests.values())
    untested = [
        str(module.relative_to(ROOT))
        for package in PACKAGES
        for module in sorted((ROOT / package).rglob("*.py"))
        if module.name not in {"__init__.py", "__main__.py"}
        and f"test_{module.name}" not in tests
        and not imports(sources, module)
        and str(module.relative_to(ROOT)) not in COVERED_THROUGH
    ]
    assert not untested


def imports(sources: str, module: Path) -> bool:
    """Whether an import names the module, whole or as ``from package import module``."""
    *package, name = module.relative_to(ROOT).with_suffix("").parts[1:]
    dotted = re.escape(".".join(package))
    return re.search(rf"\b{dotted}(?:\.{name}\b| import [^\n]*\b{name}\b)", sources) is not None


def test_exceptions_are_still_needed() -> None:
    """An exception names a module and a test that exist."""
    named = [*COVERED_THROUGH, *COVERED_THROUGH.values()]
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_no_package_registry_is_named() -> None:
    """Package registries are each machine's own configuration: no tracked file names a host of one."""
    named = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path in tracked()
        if str(path.relative_to(ROOT)) not in HOST_EXEMPT and path.suffix not in {".png", ".gif", ".ico"}
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if REGISTRY_HOST.search(line)
    ]
    assert not named
