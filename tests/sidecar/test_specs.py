"""A directory of manifests: all of it is served, or every fault in it is named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pannier.errors import SpecInvalid
from pannier_sidecar.specs import catalog_from_directory, read_directory

MANIFEST = """\
apiVersion: pannier.dev/v1alpha1
kind: FeatureGroup
metadata: {{name: {name}}}
spec:
  groupName: {group}
  key: {{entity: user}}
  features:
  - {{id: 0, name: city, type: {type}}}
  storage: {{mode: Dedicated}}
"""


def _write(directory: Path, file: str, group: str, *, name: str | None = None, type_: str = "String") -> Path:
    path = directory / file
    path.write_text(MANIFEST.format(name=name or group, group=group, type=type_), encoding="utf-8")
    return path


def _refused(directory: Path) -> list[str]:
    with pytest.raises(SpecInvalid) as refusal:
        catalog_from_directory(directory, revision=1)
    return [f"{problem.reason} {problem}" for problem in refusal.value.problems]


def test_every_group_of_a_directory_is_served(tmp_path: Path) -> None:
    """YAML and JSON files, as ``kubectl apply -f DIR`` reads them; other files and folders are left alone."""
    _write(tmp_path, "b.yaml", "views")
    _write(tmp_path, "a.yml", "clicks")
    _write(tmp_path, "README.md", "ignored")
    (tmp_path / "folder.yaml").mkdir()
    catalog = catalog_from_directory(tmp_path, revision=7, namespace="ads", table_prefix="dev")
    assert catalog.revision == 7
    assert [(group.group_name, group.table_name, group.access) for group in catalog.groups] == [
        ("clicks", "dev.ads.clicks", "ReadWrite"),
        ("views", "dev.ads.views", "ReadWrite"),
    ]


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    """Some editors write one."""
    _write(tmp_path, "a.yaml", "clicks")
    text = (tmp_path / "a.yaml").read_text(encoding="utf-8")
    (tmp_path / "a.yaml").write_text(text, encoding="utf-8-sig")
    assert len(catalog_from_directory(tmp_path, revision=1).groups) == 1


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    """A typo in --specs says which directory is not there."""
    (told,) = _refused(tmp_path / "nowhere")
    assert told == f"SpecsMissing {tmp_path}/nowhere: cannot be read: No such file or directory"


def test_a_file_in_place_of_a_directory_is_named(tmp_path: Path) -> None:
    """--specs wants a directory."""
    file = _write(tmp_path, "a.yaml", "clicks")
    (told,) = _refused(file)
    assert told == f"SpecsUnreadable {file}: cannot be read: Not a directory"


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    """A broken link stands for any file that cannot be opened (permissions do not stop root)."""
    _write(tmp_path, "a.yaml", "clicks")
    (tmp_path / "b.yaml").symlink_to(tmp_path / "gone.yaml")
    (told,) = _refused(tmp_path)
    assert told == f"SpecsMissing {tmp_path}/b.yaml: cannot be read: No such file or directory"


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    """Bytes that are not UTF-8 are refused with their place."""
    (tmp_path / "a.yaml").write_bytes(b"a: \xff\n")
    (told,) = _refused(tmp_path)
    assert told == f"NotText {tmp_path}/a.yaml: is not UTF-8 text (byte 3)"


def test_an_empty_directory_is_refused(tmp_path: Path) -> None:
    """Serving nothing is never what was meant."""
    (told,) = _refused(tmp_path)
    assert told == f"SpecsEmpty {tmp_path}: holds no FeatureGroup in a .yaml, .yml or .json file"


def test_a_directory_of_other_kinds_says_so(tmp_path: Path) -> None:
    """Whoever pointed at the wrong directory sees what is in it."""
    (tmp_path / "a.yaml").write_text("apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n", encoding="utf-8")
    (told,) = _refused(tmp_path)
    assert told.endswith("only other kinds: " + f"{tmp_path}/a.yaml:1: Secret s is not for Pannier")


def test_all_faults_of_all_files_come_in_one_error(tmp_path: Path) -> None:
    """A good group beside bad ones is not served alone: half a catalog looks like lost data."""
    _write(tmp_path, "a.yaml", "clicks")
    _write(tmp_path, "b.yaml", "views", type_="Strin")
    _write(tmp_path, "c.yaml", "'a#b'")
    assert [told.partition(":")[0].rpartition("/")[2] for told in _refused(tmp_path)] == [
        "b.yaml",
        "c.yaml",
        "c.yaml",
    ]
    assert len(read_directory(tmp_path).groups) == 1


def test_a_group_name_given_twice_names_both_places(tmp_path: Path) -> None:
    """Two files that claim one name are both said, with their lines."""
    first = _write(tmp_path, "a.yaml", "clicks")
    second = _write(tmp_path, "b.yaml", "clicks", name="others")
    (told,) = _refused(tmp_path)
    assert told.startswith(f"GroupNameTaken {second}:5: spec.groupName: 'clicks' is taken by {first}:5;")


def test_a_resource_given_twice_names_both_places(tmp_path: Path) -> None:
    """Kubectl would let the second overwrite the first."""
    first = _write(tmp_path, "a.yaml", "clicks", name="same")
    second = _write(tmp_path, "b.yaml", "views", name="same")
    (told,) = _refused(tmp_path)
    assert told == f"DuplicateResource {second}:1: metadata.name: 'same' is declared in {first}:1 already"


def test_a_pipe_is_passed_over(tmp_path: Path) -> None:
    """Reading one would never end; a start must not hang on what lies in the directory."""
    _write(tmp_path, "a.yaml", "clicks")
    os.mkfifo(tmp_path / "b.yaml")
    assert [manifest.group.spec.group_name for manifest in read_directory(tmp_path).groups] == ["clicks"]


COMPUTED = """\
apiVersion: pannier.dev/v1alpha1
kind: FeatureGroup
metadata: {{name: {name}}}
spec:
  groupName: {name}
  key: {{entity: user}}
  features:
  - {{id: 0, name: score, type: Float64}}
  storage: {{mode: None}}
  onDemand:
    service: {{name: scores, port: 8080}}
    inputs:
    - {{name: of, group: {group}, features: [{feature}]}}
"""


def _computed(directory: Path, name: str, group: str, feature: str = "score") -> None:
    text = COMPUTED.format(name=name, group=group, feature=feature)
    (directory / f"{name}.yaml").write_text(text, encoding="utf-8")


def test_inputs_that_form_a_cycle_are_named_by_file_and_line(tmp_path: Path) -> None:
    """Each group of the cycle, and how it goes round; one that leads into it as well."""
    for name, group in (("a", "b"), ("b", "c"), ("c", "a"), ("outside", "a")):
        _computed(tmp_path, name, group)
    refused = _refused(tmp_path)
    assert [problem.split()[0] for problem in refused] == ["InputCycle"] * 4
    assert f"{tmp_path / 'a.yaml'}:1: spec.onDemand.inputs" in refused[0]
    assert "a -> b -> c -> a" in refused[0]


def test_an_input_that_is_not_declared_is_named(tmp_path: Path) -> None:
    """A feature of a group that is here has to be there; a group that is not may be declared elsewhere."""
    _write(tmp_path, "stored.yaml", "stored")
    _computed(tmp_path, "good", "stored", "city")
    _computed(tmp_path, "wrong", "stored", "town")
    assert ["UnknownInputFeature" in problem for problem in _refused(tmp_path)] == [True]
    (tmp_path / "wrong.yaml").unlink()
    _computed(tmp_path, "lonely", "elsewhere")
    found = read_directory(tmp_path)
    assert found.problems == ()
    (note,) = found.notes
    assert "lonely.yaml:1" in note
    assert "'elsewhere'" in note
