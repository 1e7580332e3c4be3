"""Several nodes at once: each gets what ssh_config says of it, and not what it says of its neighbour."""

from __future__ import annotations

from tests.ssh.case import Case

AT = "    HostName node.example\n"
BASTION = "Host b\n    HostName bastion.example\n"


def fleet(name: str, config: str, targets: str, *logins: str, **more: object) -> Case:
    """Nodes, and the logins of all, in the order of the alphabet."""
    first, *others = targets.split()
    return Case(name, config, ", ".join(sorted(logins)), target=first, others=tuple(others), **more)  # type: ignore[arg-type]


CASES = (
    fleet(
        "a block for each node, and one for all",
        "Host n1\n    HostName node.example\nHost n2\n    HostName bastion.example\n"
        "Host n3\n    HostName localhost\nHost *\n    User ops\n",
        "n1 n2 n3",
        "ops@node good",
        "ops@bastion good",
        "ops@here good",
    ),
    fleet(
        "one HostName for all, and a port, a user and a key for each",
        f"Host n1\n    Port 2222\nHost n2\n    User ops\nHost n3\n    IdentityFile /srv/keys/second\n"
        f"Host n*\n{AT}",
        "n1 n2 n3",
        "root@node:2222 good",
        "ops@node good",
        "root@node second",
    ),
    fleet(
        "users and ports in hosts.toml",
        f"Host n*\n{AT}",
        "n1 ops@n2 ssh://gate@n3:2222",
        "root@node good",
        "ops@node good",
        "gate@node:2222 good",
        nodes=("n1", "ops@n2", "gate@n3:2222"),
    ),
    fleet(
        "one node twice, by two names",
        f"Host n1\n{AT}Host n2\n{AT}    User ops\n",
        "n1 n2",
        "root@node good",
        "ops@node good",
    ),
    fleet(
        "`IdentityFile` with %n",
        f"Host n*\n{AT}    IdentityFile /srv/%n\n",
        "n1 n2",
        "root@node second",
        "root@node third",
        files={"n1": "<<second>>", "n2": "<<third>>"},
    ),
    fleet(
        "`IdentityFile` with %h and %p",
        "Host n1\n    HostName node.example\nHost n2\n    HostName bastion.example\n"
        "Host n3\n    HostName node.example\n    Port 2222\nHost *\n    IdentityFile /srv/%h-%p\n",
        "n1 n2 n3",
        "root@node second",
        "root@bastion third",
        "root@node:2222 ecdsa",
        files={
            "node.example-22": "<<second>>",
            "bastion.example-22": "<<third>>",
            "node.example-2222": "<<ecdsa>>",
        },
    ),
    fleet(
        "`UserKnownHostsFile` with %h",
        "Host n1\n    HostName node.example\nHost n2\n    HostName bastion.example\n"
        "Host *\n    UserKnownHostsFile /srv/%h\n",
        "n1 n2",
        "root@node good",
        "root@bastion good",
        known="",
        files={"node.example": "node.example <node>\n", "bastion.example": "bastion.example <bastion>\n"},
    ),
    fleet(
        "`Match host` after a HostName of each",
        "Host n1\n    HostName node.example\nHost n2\n    HostName bastion.example\n"
        "Match host node.*\n    User ops\nMatch host bastion.*\n    Port 2222\n",
        "n1 n2",
        "ops@node good",
        "root@bastion:2222 good",
    ),
    fleet(
        "`Match originalhost` with a list and with `!`",
        f"Match originalhost n1,n2,!n2\n    User ops\nMatch !originalhost n1\n    Port 2222\nHost *\n{AT}",
        "n1 n2",
        "ops@node good",
        "root@node:2222 good",
    ),
    fleet(
        "`Match exec` that looks at the name",
        f'Match exec "test %n = n1"\n    User ops\nMatch exec "test %n = n2"\n    User gate\nHost *\n{AT}',
        "n1 n2 n3",
        "ops@node good",
        "gate@node good",
        "root@node good",
    ),
    fleet(
        "`Match user` of users in hosts.toml",
        f"Match user ops\n    Port 2222\nMatch user gate\n    IdentityFile /srv/keys/second\nHost *\n{AT}",
        "n1 ops@n2 gate@n3",
        "root@node good",
        "ops@node:2222 good",
        "gate@node second",
    ),
    fleet(
        "`Match final` of what is found",
        f"Match final host node.example\n    User ops\nHost n1\n{AT}Host n2\n    HostName bastion.example\n",
        "n1 n2",
        "ops@node good",
        "root@bastion good",
    ),
    fleet(
        "`Include` under a Host that holds for some",
        f"Host n1 n2\n    Include /srv/more\nHost *\n{AT}",
        "n1 n2 n3",
        "ops@node good",
        "root@node:2222 good",
        "root@node good",
        files={"more": "Host n1\n    User ops\nHost n2\n    Port 2222\nHost n3\n    User gate\n"},
    ),
    fleet(
        "a pattern that leaves one out",
        f"Host n* !n2\n    User ops\nHost *\n{AT}",
        "n1 n2 n3",
        "ops@node good",
        "root@node good",
    ),
    fleet(
        "names that are the beginning of others",
        f"Host n\n    User ops\nHost nn\n    Port 2222\nHost *\n{AT}",
        "n nn nnn",
        "ops@node good",
        "root@node:2222 good",
        "root@node good",
    ),
    fleet(
        "some behind a jump host",
        f"{BASTION}Host i*\n    HostName inner.example\n    ProxyJump b\nHost i2\n    User ops\nHost n\n{AT}",
        "i1 i2 n",
        "root@bastion good",
        "root@inner good",
        "ops@inner good",
        "root@node good",
    ),
    fleet(
        "one jump host, as two users",
        f"{BASTION}Host i1\n    ProxyJump gate@b\nHost i2\n    ProxyJump ops@b\n    User ops\n"
        "Host i*\n    HostName inner.example\n",
        "i1 i2",
        "gate@bastion good",
        "ops@bastion good",
        "root@inner good",
        "ops@inner good",
    ),
    fleet(
        "a jump host that is a node, too",
        f"{BASTION}Host i\n    HostName inner.example\n    ProxyJump b\n",
        "b i",
        "root@bastion good",
        "root@inner good",
    ),
    fleet(
        "an agent for one node, none for another",
        f"Host n1\n    IdentityAgent none\nHost n2\n    IdentityAgent /srv/agent\n    Port 2222\n"
        f"Host *\n{AT}",
        "n1 n2",
        "root@node good",
        "root@node:2222 second",
        agent=("second",),
        use_agent=False,
    ),
    fleet(
        "an address family for each",
        f"Host n1\n    AddressFamily inet\n    User ops\nHost n2\n    AddressFamily inet6\nHost *\n{AT}",
        "n1 n2",
        "ops@node good",
        "root@node good",
    ),
    fleet(
        "`StrictHostKeyChecking` for some",
        "Host n1\n    HostName node.example\n    StrictHostKeyChecking accept-new\n"
        "Host n2\n    HostName bastion.example\nHost *\n    UpdateHostKeys no\n",
        "n1 n2",
        "root@node good",
        "root@bastion good",
        known="bastion.example <bastion>\n",
        records=True,
    ),
)
