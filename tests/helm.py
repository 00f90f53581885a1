"""Real Helm: the one that the lock installs, or that of the PATH."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.servers import ServerFailed

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "charts" / "pannier"
FEATURE_SERVER_CHART = ROOT / "charts" / "feature-server"
RELEASE, NAMESPACE = "pannier", "pannier-system"
KUBERNETES = "1.36.0"
Object = dict[str, Any]


class HelmRefused(Exception):
    """Helm said no; the message is what it said."""


def helm(*arguments: str, values: Mapping[str, Any] | None = None) -> str:
    """Run Helm; gives what it prints, raises `HelmRefused`."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    program = shutil.which("helm", path=path)
    if program is None:
        raise ServerFailed("helm is neither in .venv nor on PATH; `make test-tools` installs it")
    given = [] if values is None else ["--values", "-"]
    with tempfile.TemporaryDirectory(
        prefix="pannier-helm-"
    ) as home:  # it would cache what it finds in ~/.kube
        done = subprocess.run(
            [program, *arguments, *given],
            input=json.dumps(values) if values is not None else None,
            env={**os.environ, "HOME": home},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise HelmRefused(done.stderr + done.stdout)
    return done.stdout


def every_value_is_described(chart: Path) -> None:
    """Assert that values.yaml and its schema name the same values, each with a description."""
    schema = json.loads((chart / "values.schema.json").read_text())
    defaults = yaml.safe_load((chart / "values.yaml").read_text())

    def compare(node: Object, values: Any, path: str) -> None:
        for name, child in node["properties"].items():
            here = f"{path}.{name}"
            assert child.get("description"), here
            assert name in values or here == ".global", here
            if "properties" in child:
                compare(child, values[name], here)
        assert values.keys() <= node["properties"].keys(), path

    compare(schema, defaults, "")


def render(
    values: Mapping[str, Any] | None = None,
    *,
    namespace: str = NAMESPACE,
    chart: Path = CHART,
    release: str = RELEASE,
) -> list[Object]:
    """Render a chart, the operator's by default; gives its objects."""
    where = ("--namespace", namespace, "--kube-version", KUBERNETES)
    text = helm("template", release, str(chart), *where, values=values)
    return [found for found in yaml.safe_load_all(text) if found]


def pick(objects: list[Object], kind: str, suffix: str = "") -> Object:
    """Find the one object of a kind whose name ends so."""
    (found,) = [o for o in objects if o["kind"] == kind and o["metadata"]["name"].endswith(suffix)]
    return found


def arguments_of(deployment: Object) -> dict[str, str]:
    """Read the flags of the operator's container; a switch that is on is "true"."""
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    command, *flags = container["args"]
    assert (container["command"], command) == (["pannier"], "operator")
    pairs = (flag.removeprefix("--").partition("=") for flag in flags)
    return {name: value if equals else "true" for name, equals, value in pairs}
