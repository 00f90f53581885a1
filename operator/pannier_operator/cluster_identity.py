"""What a cluster is called in the tags and claims of its tables, where nobody gave it a name."""

from __future__ import annotations

from pannier_operator.kube.api_client import KubeApi


async def find_cluster_id(api: KubeApi) -> str:
    """Take the uid of kube-system, which a cluster keeps for life. Raises `KubeFault`."""
    uid: str = (await api.get("/api/v1/namespaces/kube-system"))["metadata"]["uid"]
    return uid
