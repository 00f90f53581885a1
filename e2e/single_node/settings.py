"""The configuration of every part of a node, as the documents that the parts read. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from e2e.single_node import layout as at
from e2e.single_node.layout import Layout

CONTAINERD_SOCKET: Final = "/run/containerd/containerd.sock"
PAUSE_IMAGE: Final = "localhost/pannier-e2e-pause:latest"
ISSUER: Final = "https://kubernetes.default.svc"
KERNEL_SETTINGS: Final[Mapping[str, int]] = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1_000_000,
    "kernel/keys/root_maxbytes": 25_000_000,
}
"""What the kubelet insists on. They are the whole machine's, so it is shown files that say so instead."""


def documents(layout: Layout) -> Mapping[str, str]:
    """Every file of the settings folder, by its name; JSON is YAML."""
    return {
        "containerd.toml": _containerd(layout),
        "cni/10-pods.conflist": json.dumps(_pod_network()),
        "kubelet.yaml": json.dumps(_kubelet(layout)),
        "proxy.yaml": json.dumps(_proxy(layout)),
        "Corefile": _dns(layout),
        "resolv.conf": "",
        **{f"kernel/{name.replace('/', '-')}": f"{value}\n" for name, value in KERNEL_SETTINGS.items()},
    }


def _containerd(layout: Layout) -> str:
    return f"""version = 3
[plugins.'io.containerd.cri.v1.images']
  snapshotter = 'overlayfs'
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = '{PAUSE_IMAGE}'
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ['{layout.programs.node}']
    conf_dir = '{layout.settings}/cni'
"""


def _pod_network() -> dict[str, Any]:
    addresses = {
        "type": "host-local",
        "dataDir": "/run/cni-addresses",
        "ranges": [[{"subnet": at.PODS}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {"type": "bridge", "bridge": "pods", "isGateway": True, "hairpinMode": True, "ipam": addresses}
    return {"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge]}


def _kubelet(layout: Layout) -> dict[str, Any]:
    """Settings of the kubelet; how long an edited ConfigMap takes to be mounted is Kubernetes' default."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{layout.name}",
        "enforceNodeAllocatable": [],
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "oomScoreAdj": 0,
        "failSwapOn": False,
        "makeIPTablesUtilChains": False,
        "resolvConf": str(layout.settings / "resolv.conf"),
        "clusterDomain": "cluster.local",
        "clusterDNS": [at.ADDRESS],
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {
            "memory.available": "50Mi",
            "nodefs.available": "0%",
            "nodefs.inodesFree": "0%",
            "imagefs.available": "0%",
        },
        "volumePluginDir": "/run/kubelet-plugins",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": False},
            "x509": {"clientCAFile": str(layout.keys / "ca.crt")},
        },
        "authorization": {"mode": "AlwaysAllow"},
    }


def _proxy(layout: Layout) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": str(layout.kubeconfig)},
        "clusterCIDR": at.PODS,
        "hostnameOverride": layout.name,
        # zero = left alone: they are the machine's
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "nftables": {"minSyncPeriod": "100ms"},
    }


def _dns(layout: Layout) -> str:
    return f""".:53 {{
  bind {at.ADDRESS}
  errors
  kubernetes cluster.local {{
    kubeconfig {layout.kubeconfig}
    ttl 1
  }}
}}
"""


def commands(layout: Layout) -> Mapping[str, list[str]]:
    """The command of every part, in the order in which they start."""
    keys, settings, config = layout.keys, layout.settings, f"--kubeconfig={layout.kubeconfig}"
    return {
        "etcd": ["etcd", f"--data-dir={layout.folder}/etcd", "--unsafe-no-fsync", "--log-level=warn"],
        "containerd": ["containerd", f"--config={settings}/containerd.toml"],
        "kube-apiserver": _api_server(layout),
        "kube-controller-manager": [
            "kube-controller-manager",
            config,
            "--leader-elect=false",
            f"--service-account-private-key-file={keys}/service-account.key",
            f"--root-ca-file={keys}/ca.crt",
            "--profiling=false",
        ],
        "kube-scheduler": ["kube-scheduler", config, "--leader-elect=false"],
        "kubelet": [
            "kubelet",
            f"--config={settings}/kubelet.yaml",
            f"--kubeconfig={layout.folder}/node.kubeconfig",
            f"--hostname-override={layout.name}",
            f"--node-ip={at.ADDRESS}",
        ],
        "kube-proxy": ["kube-proxy", f"--config={settings}/proxy.yaml"],
        "dns": ["dns", "-conf", f"{settings}/Corefile"],
    }


def _api_server(layout: Layout) -> list[str]:
    keys = layout.keys
    options = {
        "etcd-servers": "http://127.0.0.1:2379",
        "advertise-address": at.ADDRESS,
        "secure-port": str(at.API_PORT),
        "tls-cert-file": f"{keys}/server.crt",
        "tls-private-key-file": f"{keys}/server.key",
        "client-ca-file": f"{keys}/ca.crt",
        "service-account-key-file": f"{keys}/service-account.key",
        "service-account-signing-key-file": f"{keys}/service-account.key",
        "service-account-issuer": ISSUER,
        "service-cluster-ip-range": at.SERVICES,
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "kubelet-client-certificate": f"{keys}/admin.crt",
        "kubelet-client-key": f"{keys}/admin.key",
        "kubelet-preferred-address-types": "InternalIP",
        "shutdown-delay-duration": "0s",
        "profiling": "false",
    }
    return ["kube-apiserver", *(f"--{name}={value}" for name, value in options.items())]
