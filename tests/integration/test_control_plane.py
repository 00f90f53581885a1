"""The tests' API server: users have the rights they are granted, and what they lack is found out."""

from __future__ import annotations

from tests.control_plane import ApiServer
from tests.permissions import grant, operator_rights

READ = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]
OK, FORBIDDEN = 200, 403


def test_a_user_has_the_rights_that_were_granted_and_no_others(api_server: ApiServer, namespace: str) -> None:
    """Nothing at first, then what the role says, in its namespace only; refusals are on record."""
    user = api_server.user(f"reader-of-{namespace}")
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    assert api_server.call("GET", path, user=user)[0] == FORBIDDEN
    grant(api_server, user, READ, [namespace])
    assert api_server.call("GET", path, user=user)[0] == OK
    assert api_server.call("GET", "/api/v1/namespaces/default/configmaps", user=user)[0] == FORBIDDEN
    refused = [said.partition(": ")[0] for said in api_server.refusals(user)]
    assert refused == [f"list {path}", "list /api/v1/namespaces/default/configmaps"]


def test_kubectl_acts_for_the_user_it_is_given(api_server: ApiServer, namespace: str) -> None:
    """``kubectl auth whoami`` knows the administrator and everybody else."""
    user = api_server.user(f"nobody-of-{namespace}")
    assert user.name in api_server.kubectl("auth", "whoami", user=user)
    assert "system:masters" in api_server.kubectl("auth", "whoami")


def test_the_rights_of_the_operator_are_read_from_its_reference() -> None:
    """Each of the three lists is there and has rules."""
    for rules in operator_rights():
        assert all({"apiGroups", "resources", "verbs"} <= rule.keys() for rule in rules)
        assert rules
