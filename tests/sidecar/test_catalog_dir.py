"""The mounted catalog, swapped the way a kubelet swaps a projected volume."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import msgspec
import pytest
from structlog.testing import capture_logs
from tests.builders import a_catalog, a_group, a_policy
from tests.mounted_volume import Volume

from pannier.catalog import Catalog, CatalogGroup
from pannier.catalog_rendering import MANIFEST, render
from pannier_sidecar.catalog_dir import CatalogDirectory
from pannier_sidecar.catalog_intake import CatalogIntake


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    """An empty volume."""
    return Volume(tmp_path)


class Ticks:
    """A sleep that ends when the test says so."""

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[asyncio.Event] = asyncio.Queue()
        self.seconds: list[float] = []

    async def sleep(self, seconds: float) -> None:
        """Wait for `tick`."""
        self.seconds.append(seconds)
        event = asyncio.Event()
        self._waiting.put_nowait(event)
        await event.wait()

    async def tick(self) -> None:
        """End one sleep and wait until the next one begins, that is, for one whole look."""
        (await self._waiting.get()).set()
        self._waiting.put_nowait(await self._waiting.get())


def _directory(volume: Volume) -> tuple[CatalogDirectory, list[Catalog]]:
    adopted: list[Catalog] = []
    return CatalogDirectory(volume.path, CatalogIntake(adopted.append)), adopted


def _reasons(directory: CatalogDirectory) -> list[str]:
    return [problem.reason for problem in directory.intake.problems]


def _with_unknown_type(catalog: Catalog, group_name: str) -> dict[str, str]:
    """Render a catalog in which one group has a type that this release does not know."""
    groups = msgspec.to_builtins(catalog.groups)
    for group in groups:
        if group["groupName"] == group_name:
            group["features"][0]["type"] = "Quaternion"
    return _render_raw(catalog.revision, [msgspec.json.encode(group) for group in groups])


def _render_raw(revision: int, groups: list[bytes]) -> dict[str, str]:
    shard = b'{"groups":[' + b",".join(groups) + b"]}"
    entry = {"name": "groups-000.json", "sha256": hashlib.sha256(shard).hexdigest()}
    manifest = {"format": 1, "revision": revision, "shards": [entry]}
    return {"groups-000.json": shard.decode(), MANIFEST: msgspec.json.encode(manifest).decode()}


def test_what_is_mounted_is_adopted_once(volume: Volume) -> None:
    """A look at an unchanged volume does nothing."""
    catalog = a_catalog(a_group())
    volume.project(render(catalog))
    directory, adopted = _directory(volume)
    assert [directory.look(), directory.look()] == [True, False]
    assert adopted == [catalog]
    assert directory.intake.problems == ()


def test_a_swap_is_followed(volume: Volume) -> None:
    """The next look sees the new state, although the old one's folder is gone."""
    directory, adopted = _directory(volume)
    for catalog in (a_catalog(a_group("a")), a_catalog(a_group("a"), a_group("b"))):
        volume.project(render(catalog))
        assert directory.look()
    assert [len(catalog.groups) for catalog in adopted] == [1, 2]


def test_a_plain_directory_works_too(tmp_path: Path) -> None:
    """Without a kubelet there is no symlink, and none is needed."""
    for name, text in render(a_catalog(a_group())).items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert CatalogDirectory(tmp_path, CatalogIntake(lambda _: None)).look()


def test_only_higher_revisions_are_taken(volume: Volume) -> None:
    """An older catalog, from a lagging mount, is refused with a reason; what is served stays."""
    old, new = a_catalog(a_group("a"), revision=5), a_catalog(a_group("b"), revision=6)
    directory, adopted = _directory(volume)
    for catalog in (new, old):
        volume.project(render(catalog))
        directory.look()
    assert adopted == [new]
    assert _reasons(directory) == ["CatalogOlder"]
    volume.project(render(new))
    directory.look()
    assert directory.intake.problems == ()


def test_an_optional_volume_that_is_not_there_yet(volume: Volume) -> None:
    """A pod starts before its namespace has a catalog, and takes it when it comes."""
    directory, adopted = _directory(volume)
    assert not directory.look()
    assert _reasons(directory) == ["CatalogMissing"]
    volume.project(render(a_catalog(a_group())))
    assert directory.look()
    assert len(adopted) == 1


def test_a_volume_that_is_later_than_the_operator_is_no_problem(volume: Volume) -> None:
    """A kubelet mounts a namespace's first catalog a minute after it is heard of; one that goes is missed."""
    directory, _ = _directory(volume)
    catalog = a_catalog(a_group())
    directory.look()
    files = {name: text.encode() for name, text in render(catalog).items()}
    assert directory.intake.attempt(files, "operator")
    directory.look()
    assert directory.intake.problems == ()
    volume.project(render(a_catalog(a_group(), revision=catalog.revision + 1)))
    assert directory.look()
    volume.project({})
    directory.look()
    assert _reasons(directory) == ["CatalogUnreadable"]


def test_a_directory_that_does_not_exist_is_a_problem_not_a_crash(tmp_path: Path) -> None:
    """Serving goes on without it."""
    directory = CatalogDirectory(tmp_path / "nowhere", CatalogIntake(lambda _: None))
    assert not directory.look()
    assert _reasons(directory) == ["CatalogUnreadable"]


def test_a_catalog_that_goes_away_is_served_on(volume: Volume) -> None:
    """A deleted ConfigMap is no order to stop serving."""
    volume.project(render(a_catalog(a_group())))
    directory, adopted = _directory(volume)
    directory.look()
    volume.project({})
    assert not directory.look()
    assert directory.intake.problems
    assert directory.intake.catalog == adopted[-1]


def test_damaged_files_change_nothing(volume: Volume) -> None:
    """A digest that does not match keeps the whole last catalog."""
    first, second = a_catalog(a_group("a")), a_catalog(a_group("b"))
    directory, adopted = _directory(volume)
    volume.project(render(first))
    directory.look()
    volume.project(render(second) | {"groups-000.json": "{}"})
    assert not directory.look()
    assert (adopted, _reasons(directory)) == ([first], ["CatalogDamaged"])


def test_a_group_that_cannot_be_used_keeps_its_last_good_version(volume: Volume) -> None:
    """The others follow the new catalog; the bad one stays as it was, with a reason."""
    directory, adopted = _directory(volume)
    volume.project(render(a_catalog(a_group("a"), a_group("b"), revision=1)))
    directory.look()
    edited = a_catalog(a_group("a", soft=1), a_group("b", soft=1), revision=2)
    volume.project(_with_unknown_type(edited, "a"))
    assert directory.look()
    assert adopted[-1].revision == 2
    served: dict[str, CatalogGroup] = {group.group_name: group for group in adopted[-1].groups}
    assert served["a"].policy == a_policy()
    assert served["b"].policy == a_policy(soft=1)
    assert [problem.path for problem in directory.intake.problems] == ["groups.a"]


def test_a_new_group_that_cannot_be_used_is_left_out(volume: Volume) -> None:
    """There is no last good version to serve; the others are served."""
    directory, adopted = _directory(volume)
    volume.project(_with_unknown_type(a_catalog(a_group("a"), a_group("b")), "a"))
    assert directory.look()
    assert [group.group_name for group in adopted[-1].groups] == ["b"]
    assert _reasons(directory) == ["GroupUnreadable"]


async def test_while_entered_it_follows_at_its_interval(volume: Volume) -> None:
    """The first look comes with entering, each later one after a sleep, none after leaving."""
    adopted: list[Catalog] = []
    ticks = Ticks()
    volume.project(render(a_catalog(a_group("a"))))
    directory = CatalogDirectory(
        volume.path, CatalogIntake(adopted.append), interval_seconds=3, sleep=ticks.sleep
    )
    async with directory:
        assert len(adopted) == 1
        volume.project(render(a_catalog(a_group("b"))))
        await ticks.tick()
        assert len(adopted) == 2
    assert set(ticks.seconds) == {3}
    assert str(adopted[-1].revision) in repr(directory)


async def test_a_catalog_that_trips_the_sidecar_does_not_end_the_following(volume: Volume) -> None:
    """A fault in adopting is logged, and the next catalog is tried."""
    adopted: list[Catalog] = []

    def adopt(catalog: Catalog) -> None:
        if catalog.revision == 2:
            raise KeyError("a bug")
        adopted.append(catalog)

    ticks = Ticks()
    async with CatalogDirectory(volume.path, CatalogIntake(adopt), sleep=ticks.sleep) as directory:
        for revision in (1, 2, 3):
            volume.project(render(a_catalog(a_group(), revision=revision)))
            await ticks.tick()
            assert _reasons(directory) == (["CatalogNotAdopted"] if revision == 2 else [])
    assert [catalog.revision for catalog in adopted] == [1, 3]


async def test_a_catalog_that_trips_the_sidecar_at_its_start_is_a_problem_not_a_crash(volume: Volume) -> None:
    """As later: it starts without, and says so; the cause is logged once, not with every look."""

    def adopt(catalog: Catalog) -> None:
        raise KeyError("a bug")

    volume.project(render(a_catalog(a_group())))
    ticks = Ticks()
    with capture_logs() as logs:
        async with CatalogDirectory(volume.path, CatalogIntake(adopt), sleep=ticks.sleep) as directory:
            await ticks.tick()
            assert _reasons(directory) == ["CatalogNotAdopted"]
    assert [log["event"] for log in logs].count("catalog_not_adopted") == 1


@pytest.mark.parametrize(
    "manifest",
    [
        b'{"format":1,"revision":9,"shards":[{"name":"\xff","sha256":"0"}]}',
        b'{"format":1,"revision":9,"shards":[],"more":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
    ids=["no UTF-8", "nested too deeply"],
)
async def test_a_manifest_of_garbage_is_a_problem_not_a_crash(tmp_path: Path, manifest: bytes) -> None:
    """Also where no decoder of JSON gets far enough to say what is wrong."""
    (tmp_path / MANIFEST).write_bytes(manifest)
    async with CatalogDirectory(tmp_path, CatalogIntake(lambda _: None)) as directory:
        assert _reasons(directory) == ["CatalogUnreadable"]


@pytest.mark.parametrize("scheme", ["GRPC", None])
def test_a_group_whose_feature_server_cannot_be_called_does_not_take_the_others_down(
    volume: Volume, scheme: str | None
) -> None:
    """A later release may call servers in a way that this one does not know: that is one group's problem."""

    def computed(scheme: str | None) -> CatalogGroup:
        service = {"name": "geo", "port": 80, "path": "/", "scheme": scheme}
        spec = {"timeoutMilliseconds": 50, "maxConcurrency": 1, "onFailure": "Unknown", "service": service}
        return msgspec.structs.replace(a_group("near"), storage_mode="None", on_demand=spec)

    volume.project(render(a_catalog(computed("HTTP"), a_group("b"), revision=1)))
    directory, adopted = _directory(volume)
    assert directory.look()
    volume.project(render(a_catalog(computed(scheme), a_group("b"), a_group("c"), revision=2)))
    assert directory.look()
    assert {group.group_name for group in adopted[-1].groups} == {"near", "b", "c"}
    assert computed("HTTP") in adopted[-1].groups
    (problem,) = directory.intake.problems
    assert (problem.reason, problem.path) == ("GroupUnreadable", "groups.near.onDemand")
