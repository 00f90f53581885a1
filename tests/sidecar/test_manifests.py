"""Manifests: several documents of a text, with file and line in every complaint."""

from __future__ import annotations

from itertools import pairwise

import pytest

from pannier_sidecar.manifests import Manifests, parse_manifests

GOOD = """\
apiVersion: pannier.dev/v1alpha1
kind: FeatureGroup
metadata: {name: clicks, namespace: shop}
spec:
  groupName: clicks
  key: {entity: user}
  features:
  - {id: 0, name: city, type: String}
  storage: {mode: Dedicated}
"""


def _parse(text: str) -> Manifests:
    return parse_manifests(text, "groups.yaml")


def _told(found: Manifests) -> list[str]:
    return [str(problem) for problem in found.problems]


def test_a_sound_document_becomes_a_group_that_knows_its_place() -> None:
    """The lines of the document and of its groupName are kept for later complaints."""
    (manifest,) = _parse(f"# a comment\n---\n{GOOD}").groups
    assert str(manifest.group) == "shop/clicks (clicks)"
    assert (manifest.file, manifest.line, manifest.name_line) == ("groups.yaml", 3, 7)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (("name: city, type: String", "name: city, type: Strin"), "groups.yaml:8: spec.features[0].type:"),
        (("groupName: clicks", "groupName: 'a#b'"), "groups.yaml:5: spec.groupName:"),
        (("  groupName: clicks\n", ""), "groups.yaml:4: spec.groupName: is required"),
        (("mode: Dedicated", "mode: Shared"), "groups.yaml:9: spec.storage.tableName:"),
        (("entity: user", "entity:"), "groups.yaml:6: spec.key.entity: is null"),
        (("id: 0", "id: 1"), "groups.yaml:8: spec.features[0].id:"),
    ],
)
def test_a_fault_is_reported_with_its_line(change: tuple[str, str], place: str) -> None:
    """The line of the field, or of what it is missing from."""
    (told,) = _told(_parse(GOOD.replace(*change)))
    assert told.startswith(place)


def test_a_bad_document_does_not_hide_the_others() -> None:
    """Good groups before and after it are read, with their own lines."""
    bad = GOOD.replace("type: String", "type: Text")
    found = _parse(f"{GOOD}---\n{bad}---\n{GOOD}")
    assert [manifest.line for manifest in found.groups] == [1, 21]
    assert [problem.line for problem in found.problems] == [18]


def test_other_kinds_are_noted_and_passed_over() -> None:
    """A file may hold what kubectl needs besides."""
    found = _parse(f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: other}}\n---\n{GOOD}---\n\n---\n")
    assert len(found.groups) == 1
    assert found.problems == ()
    assert found.notes == ("groups.yaml:1: ConfigMap other is not for Pannier",)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("apiVersion: pannier.dev/v1alpha1\nkind: FeatureGrop\n", "InvalidChoice"),
        ("apiVersion: panier.dev/v1alpha1\nkind: FeatureGroup\n", "InvalidChoice"),
        ("kind: FeatureGroup\n", "MissingField"),
        ("spec: {}\n", "MissingField"),
        ("- a\n- b\n", "InvalidType"),
        ("just text\n", "InvalidType"),
    ],
)
def test_what_was_meant_for_pannier_is_never_passed_over(text: str, reason: str) -> None:
    """A misspelt kind or group is a fault, not another kind."""
    found = _parse(text)
    assert found.notes == ()
    assert reason in {problem.reason for problem in found.problems}


def test_another_operators_feature_group_is_another_kind() -> None:
    """Kinds of the same name in a foreign group are none of Pannier's business."""
    found = _parse(
        "apiVersion: sagemaker.services.k8s.aws/v1alpha1\nkind: FeatureGroup\nmetadata: {name: x}\n"
    )
    assert found == Manifests(notes=("groups.yaml:1: FeatureGroup x is not for Pannier",))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: {b: [\n", 2),
        ("a: 'b\n", 2),
        ("a: b\n  c: d\n", 2),
        ("a: *nowhere\n", 1),
        ("\tb: c\n", 1),
        ("? {a: b}\n: c\n", 1),
    ],
)
def test_broken_yaml_is_reported_with_its_line(text: str, line: int) -> None:
    """The file is named with the line the parser stopped at."""
    (problem,) = _parse(text).problems
    assert (problem.reason, problem.line) == ("NotYaml", line)


def test_groups_before_broken_yaml_are_kept() -> None:
    """A slip at the end of a file still shows what came before it."""
    found = _parse(f"{GOOD}---\na: [\n")
    assert (len(found.groups), len(found.problems)) == (1, 1)


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [*a]\n",
        "a: &a [x]\n" + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in pairwise("abcdefghi")),
        "[" * 5000,
        'a: "\x01"\n',
        "a" * 5000 + "\udcff",
    ],
    ids=["an alias of itself", "aliases that multiply", "nested without end", "control", "no text"],
)  # fmt: skip
def test_hostile_yaml_is_refused_quickly(text: str) -> None:
    """No document makes the reader hang or crash."""
    (problem,) = _parse(text).problems
    assert problem.reason == "NotYaml"


def test_a_key_given_twice_is_a_fault() -> None:
    """YAML would keep the last one in silence; kubectl refuses it as well."""
    (told,) = _told(_parse(GOOD.replace("  key:", "  groupName: views\n  key:")))
    assert told == "groups.yaml:6: spec.groupName: is given twice; the first is in line 5"


def test_merge_keys_work_and_keep_their_lines() -> None:
    """An override of a merged value is no duplicate, and a fault in it has the line of the override."""
    base = "  - &base {id: 0, name: city, type: String}\n"
    others = "  - {<<: *base, id: 1, name: town}\n  - {<<: *base, id: 2, name: 7}\n"
    text = GOOD.replace(base.replace("&base ", ""), base + others)
    (told,) = _told(_parse(text))
    assert told.startswith("groups.yaml:10: spec.features[2].name: 7 is a number")


def test_scalars_are_read_as_kubectl_reads_them() -> None:
    """What looks like a date is text, and an exponent makes a number."""
    at = "name: at, type: Timestamp, default: 2013-01-01T05:00:00Z}"
    number = "{id: 1, name: x, type: Float64, default: 1e3}"
    text = GOOD.replace("name: city, type: String}", f"{at}\n  - {number}")
    (manifest,) = _parse(text).groups
    assert [feature.default for feature in manifest.group.spec.features] == ["2013-01-01T05:00:00Z", 1000.0]


def test_a_manifest_without_namespace_gets_the_given_one() -> None:
    """As with ``kubectl -n``."""
    text = GOOD.replace(", namespace: shop", "")
    (manifest,) = parse_manifests(text, "groups.yaml", namespace="ads").groups
    assert manifest.group.metadata.namespace == "ads"
