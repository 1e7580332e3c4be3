"""Which folders may be the proxy's own, and in which nginx may be compiled: checks (see `check`)."""

import re

from .validation import matching

_path = matching(
    r"(?=.{1,200}\Z)(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9_.][A-Za-z0-9_.+-]{0,99}){1,20}",
    "must be an absolute path without .., // or / at its end, made of letters, digits and "
    ". _ + -, such as /opt/k8s/kube-nginx",
)

# What a sandboxed unit cannot see (PrivateTmp, PrivateDevices, ProtectHome), what is gone after a
# boot, and what belongs to the system or to other programs: no folder there can be the proxy's own.
_OTHERS = (
    "calico|cilium|cni|containerd|containers|crio|docker|dockershim|etcd|flannel|k0s|k3s|kubelet|kube-proxy"
    "|kube-router|lxc|lxd|microk8s|minikube|podman|rancher|rke2?|weave"
)
_CLOSED = re.compile(
    r"(/(bin|boot|dev|etc|home|lib\w*|lost\+found|proc|root|run|sbin|snap|sys|tmp)"
    r"|/usr/(?!local(/|$))[^/]+|/usr/local/(s?bin|etc|games|include|lib\w*|man|share|src)"
    r"|/var/(backups|cache|crash|lock|log|mail|run|spool|tmp)"
    rf"|/var/lib/({_OTHERS}|apt|ceph|dbus|dhcp|dpkg|kubernetes|longhorn|nfs|rook|rpm|snapd|systemd)"
    rf"|/(opt|(data|srv)(/k8s)?)/({_OTHERS})"
    r"|/opt/(bin|google|kube/bin|kubernetes/(bin|cfg|conf|logs|ssl)|k8s/(bin|cert|work))"
    r"|/data/k8s/k8s)(/.*)?"
)
# Shared by others, though a folder inside may be the proxy's own.
_SHARED = re.compile(
    r"/[^/]+|/usr/local|/var/(lib|local|mail|opt)|/opt/(k8s|kube|kubernetes)|/(data|srv)/k8s"
)
# Anybody may make a folder there.
_PASSING = re.compile(r"(/tmp|/var/tmp|/dev|/run|/var/run|/var/lock|/var/crash|/private(/var)?/tmp)(/.*)?")


def work_dir(value: object) -> str:
    """A folder in which nginx is compiled, here or on a build host."""
    path = _path(value)
    if _PASSING.fullmatch(path):
        raise ValueError(
            "is in a folder that is emptied now and then, and where anybody may make one of that name first. "
            "What is built there runs as root on the nodes: write a folder that is yours alone, such as "
            "/opt/k8s/work"
        )
    return path


def prefix(value: object) -> str:
    """A folder that is the proxy's own: it is removed as a whole when the proxy is uninstalled."""
    path = _path(value)
    if _CLOSED.fullmatch(path) or _SHARED.fullmatch(path):
        raise ValueError(
            "is, or is in, a folder that is not for kube-nginx alone: shared, temporary, a home, the system's"
            " or another program's. Uninstall removes the prefix with all that is in it; write a folder of "
            "its own, such as /opt/k8s/kube-nginx"
        )
    return path


def metrics(value: object) -> str:
    """A file that node_exporter's textfile collector reads; the folder is its own."""
    path = _path(value)
    if not path.endswith(".prom"):
        raise ValueError("must end with .prom, or node_exporter does not read it")
    return path
