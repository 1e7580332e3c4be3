"""A cluster's own tasks, among them a deploy of kube-nginx to nodes that are drained meanwhile."""

from invoke import Collection, task
from kube_nginx.tasks import TaskFailed, deploy, diff
from kube_nginx.tasks import ns as kube_nginx


def cordoned(c):
    """The nodes that get no pods now."""
    seen = c.run("kubectl get nodes --field-selector spec.unschedulable=true -o name", hide=True)
    return {line.removeprefix("node/") for line in seen.stdout.splitlines()}


@task(help={"rack": "The group of hosts.toml, or whatever --limit takes."})
def roll(c, rack):
    """Drain the nodes of a rack that would change, deploy to them, and uncordon those that work."""
    changing = [node for node, plan in diff(c, limit=rack).items() if plan.action != "nothing"]
    if not changing:
        return
    before = cordoned(c)  # by somebody else, who has a reason
    failed = set()
    try:
        for node in changing:
            c.run(f"kubectl drain {node} --ignore-daemonsets --delete-emptydir-data --timeout 5m")
        deploy(c, limit=",".join(changing))
    except TaskFailed as error:
        failed = {record.host for record in error.records if record.error}
        raise
    finally:
        for node in changing:
            if node not in before | failed:
                c.run(f"kubectl uncordon {node}")


ns = Collection(roll)
ns.add_collection(kube_nginx, "kube-nginx")
