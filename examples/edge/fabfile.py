"""kube-nginx's tasks, as they are: `fab --list`."""

from kube_nginx.tasks import ns  # noqa: F401 - fab finds its tasks by this name
