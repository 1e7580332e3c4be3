"""Whether sshd is the one that is meant: known_hosts, and what is done with keys that are not in it."""

from __future__ import annotations

import paramiko

from tests.ssh.case import Case

NODE = "Host n\n    HostName node.example\n"
HASHED_PORT = paramiko.HostKeys.hash_host("[node.example]:2222")
UNKNOWN = "the host key of node.example is unknown"
CHANGED = "the host key of node.example HAS CHANGED"
FAILED = "Host key verification failed"
CERTIFIED = {"node": "HostCertificate /etc/lab/host/ed25519-cert.pub"}
PLAIN = f"{NODE}    UpdateHostKeys no\n"


def strict(value: str, known: str, **more: object) -> Case:
    """StrictHostKeyChecking, and a key that is unknown or another one."""
    what = "a key that has changed" if known else "an unknown key"
    config = f"{PLAIN}    StrictHostKeyChecking {value}\n"
    return Case(f"`StrictHostKeyChecking {value}`: {what}", config, known=known, records=True, **more)  # type: ignore[arg-type]


def refused(name: str, config: str, fab: str, logins: str = "", **more: object) -> Case:
    """Both refuse, for the host key."""
    return Case(name, config, logins, ssh=FAILED, fab=fab, **more)  # type: ignore[arg-type]


FILES = (
    Case("~/.ssh/known_hosts", NODE, known="node.example <node>\n"),
    Case(
        "~/.ssh/known_hosts2",
        NODE,
        known="",
        files={".ssh/known_hosts2": "node.example <node>\n"},
    ),
    Case(
        "`UserKnownHostsFile`",
        f"{NODE}    UserKnownHostsFile /srv/mine\n",
        known="",
        files={"mine": "node.example <node>\n"},
    ),
    Case(
        "`UserKnownHostsFile` with several, one in quotes, one that is not there",
        f'{NODE}    UserKnownHostsFile /srv/none /srv/empty "/srv/my hosts"\n',
        known="",
        files={"empty": "", "my hosts": "node.example <node>\n"},
        fallback="",
    ),
    Case(
        "`UserKnownHostsFile ~/...`",
        f"{NODE}    UserKnownHostsFile ~/mine\n",
        known="",
        files={"mine": "node.example <node>\n"},
    ),
    Case(
        "`UserKnownHostsFile` with %h and ${VAR}",
        f"{NODE}    UserKnownHostsFile ${{WHERE}}/%h-%p-%r\n",
        known="",
        env={"WHERE": "/srv/by name"},
        files={"by name/node.example-22-root": "node.example <node>\n"},
    ),
    refused(
        "`UserKnownHostsFile none`",
        f"{NODE}    UserKnownHostsFile none\n",
        UNKNOWN,
        known="node.example <node>\n",
    ),
    refused("`UserKnownHostsFile /dev/null`", f"{NODE}    UserKnownHostsFile /dev/null\n", UNKNOWN),
    Case(
        "`GlobalKnownHostsFile`",
        f"{NODE}    GlobalKnownHostsFile /srv/a /srv/b\n",
        known="",
        files={"a": "other <node>\n", "b": "node.example <node>\n"},
    ),
    Case("`GlobalKnownHostsFile none`", f"{NODE}    GlobalKnownHostsFile none\n"),
    Case("by another key of the host, which it then is asked for", NODE, known="node.example <node.rsa>\n"),
    Case("by a pattern", NODE, known="*.example,!bastion.example <node>\n"),
    Case(
        "by its port", f"{NODE}    Port 2222\n", "root@node:2222 good", known="[node.example]:2222 <node>\n"
    ),
    Case(
        "by its name, on another port",
        f"{NODE}    Port 2222\n",
        "root@node:2222 good",
        known="node.example <node>\n",
    ),
    Case("by its address alone", "Host n\n    HostName 198.18.2.2\n", known="198.18.2.2 <node>\n"),
    refused("by its address alone, and reached by its name", NODE, UNKNOWN, known="198.18.2.2 <node>\n"),
    refused("by the name n alone", NODE, UNKNOWN, known="n <node>\n"),
    Case("`HostKeyAlias`", f"{NODE}    HostKeyAlias lab-node\n", known="lab-node <node>\n", fallback=""),
    Case(
        "`HostKeyAlias` of many hosts",
        "Host *\n    HostKeyAlias fleet\n    UpdateHostKeys no\n"
        "Host n\n    HostName inner.example\n    ProxyJump bastion.example\n",
        "root@bastion good, root@inner good",
        known="fleet <bastion>\nfleet <inner>\n",
    ),
    Case(
        "a host behind a jump host, by its name there",
        "Host n\n    HostName inner.example\n    ProxyJump bastion.example\n",
        "root@bastion good, root@inner good",
        known="bastion.example <bastion>\ninner.example <inner>\n",
    ),
)

STRICTNESS = (
    strict("yes", "", logins="", ssh=FAILED, fab=UNKNOWN),
    strict("ask", "", logins="", ssh=FAILED, fab=UNKNOWN),
    strict("accept-new", "", fallback=""),
    strict("no", ""),
    strict("off", ""),
    strict("yes", "node.example <inner>\n", logins="", ssh=FAILED, fab=CHANGED),
    strict("accept-new", "node.example <inner>\n", logins="", ssh=FAILED, fab=CHANGED),
    strict("no", "node.example <inner>\n", fab=CHANGED),
    refused("a key that has changed", NODE, CHANGED, known="node.example <inner>\n"),
    refused("an unknown key", NODE, UNKNOWN, known="", fallback=UNKNOWN),
    Case(
        "`StrictHostKeyChecking accept-new` at the jump host, too",
        "Host *\n    StrictHostKeyChecking accept-new\n    UpdateHostKeys no\n"
        "Host n\n    HostName inner.example\n    ProxyJump bastion.example\n",
        "root@bastion good, root@inner good",
        known="",
        records=True,
    ),
    Case(
        "`StrictHostKeyChecking accept-new` at the jump host alone",
        "Host bastion.example\n    StrictHostKeyChecking accept-new\n    UpdateHostKeys no\n"
        "Host n\n    HostName inner.example\n    ProxyJump bastion.example\n",
        "root@bastion good",
        known="",
        ssh=FAILED,
        fab="the host key of inner.example is unknown",
        records=True,
    ),
    Case(
        '`ssh.host_keys = "accept-new"` in hosts.toml',
        f"{PLAIN}    StrictHostKeyChecking accept-new\n",
        known="",
        toml='host_keys = "accept-new"\n',
        records=True,
    ),
    Case(
        "`StrictHostKeyChecking accept-new` into /dev/null",
        f"{NODE}    StrictHostKeyChecking accept-new\n    UserKnownHostsFile /dev/null\n",
        known="",
    ),
    Case(
        "`StrictHostKeyChecking no` into /dev/null, for hosts that are made anew",
        f"{NODE}    StrictHostKeyChecking no\n    UserKnownHostsFile /dev/null\n",
        known="node.example <inner>\n",
        fallback="",
    ),
    Case(
        "`HashKnownHosts yes`, and a host that is known by a hash",
        f"{NODE}    HashKnownHosts yes\n",
        known=f"{paramiko.HostKeys.hash_host('node.example')} <node>\n",
    ),
)

ODD = (
    Case(
        '`ssh.host_keys = "strict"` in hosts.toml, and ssh_config would let any key pass',
        f"{PLAIN}    StrictHostKeyChecking no\n",
        known="",
        toml='host_keys = "strict"\n',
        fab=UNKNOWN,
    ),
    Case(
        "hashed, with a port",
        f"{NODE}    Port 2222\n",
        "root@node:2222 good",
        known=f"{HASHED_PORT} <node>\n",
    ),
    Case("lines that are none", NODE, known="node.example\n\n# x\n\x01\x02 \x03\nnode.example <node>\n"),
    Case(
        "`StrictHostKeyChecking accept-new`, and no known_hosts yet",
        f"{PLAIN}    StrictHostKeyChecking accept-new\n    UserKnownHostsFile /srv/new/known_hosts\n",
        known="",
    ),
    Case(
        "`StrictHostKeyChecking accept-new`, a port and an address",
        "Host n\n    HostName 198.18.2.2\n    Port 2222\n    StrictHostKeyChecking accept-new\n"
        "    UpdateHostKeys no\n",
        "root@node:2222 good",
        known="",
        records=True,
    ),
    Case(
        "`StrictHostKeyChecking accept-new`, and HostKeyAlias",
        f"{PLAIN}    StrictHostKeyChecking accept-new\n    HostKeyAlias lab-node\n    Port 2222\n",
        "root@node:2222 good",
        known="",
        records=True,
    ),
    Case(
        "`StrictHostKeyChecking accept-new` behind a jump host",
        "Host n\n    HostName inner.example\n    Port 2222\n    ProxyJump bastion.example\n"
        "    StrictHostKeyChecking accept-new\n    UpdateHostKeys no\nHost *\n    UpdateHostKeys no\n",
        "root@bastion good, root@inner:2222 good",
        known="bastion.example <bastion>\n",
        records=True,
    ),
    Case(
        "`StrictHostKeyChecking accept-new`, and a key of another kind is known",
        f"{PLAIN}    StrictHostKeyChecking accept-new\n    HostKeyAlgorithms ssh-ed25519\n",
        "",
        known="node.example <node.rsa>\n",
        ssh=FAILED,
        fab=CHANGED,
        records=True,
    ),
)

MARKERS = (
    refused(
        "`@revoked`",
        NODE,
        "the host key of node.example is REVOKED",
        known="node.example <node>\n@revoked * <node>\n",
        fallback="the host key of node.example is REVOKED",
    ),
    refused(
        "`RevokedHostKeys`, keys as text",
        f"{NODE}    RevokedHostKeys /srv/revoked\n",
        "REVOKED by /srv/revoked",
        files={"revoked": "<node>\n"},
    ),
    Case(
        "`RevokedHostKeys`, keys of others as text",
        f"{NODE}    RevokedHostKeys /srv/revoked\n",
        files={"revoked": "<inner>\n"},
    ),
    Case(
        "`RevokedHostKeys`, a binary list",
        f"{NODE}    RevokedHostKeys /srv/keys/revoked.krl\n",
        fab="/srv/keys/revoked.krl",
    ),
    refused(
        "`RevokedHostKeys`, a binary list with the host's key",
        "Host n\n    HostName inner.example\n    ProxyJump bastion.example\n"
        "    RevokedHostKeys /srv/keys/revoked.krl\n",
        "/srv/keys/revoked.krl",
        "root@bastion good",
    ),
    refused("`RevokedHostKeys` that is not there", f"{NODE}    RevokedHostKeys /srv/none\n", "/srv/none"),
    Case(
        "a host certificate, and the authority alone is known",
        NODE,
        known="@cert-authority *.example <host-ca>\n",
        sshd=CERTIFIED,
        fab="/srv/.ssh/known_hosts:1",
    ),
    Case(
        "a host certificate, and the host's key is known, too",
        NODE,
        known="@cert-authority *.example <host-ca>\nnode.example <node>\n",
        sshd=CERTIFIED,
    ),
    Case(
        "a host certificate, and its authority is not known",
        NODE,
        known="node.example <node>\n",
        sshd=CERTIFIED,
    ),
    refused(
        "an authority, and a host without a certificate",
        NODE,
        "/srv/.ssh/known_hosts:1",
        known="@cert-authority *.example <host-ca>\n",
    ),
    Case(
        "`KnownHostsCommand`",
        f"{NODE}    KnownHostsCommand /usr/bin/cat /srv/known\n",
        known="",
        files={"known": "node.example <node>\n"},
        fab="KnownHostsCommand",
        fallback="KnownHostsCommand",
    ),
    Case(
        "`KnownHostsCommand`, and a known_hosts that knows the host, too",
        f"{NODE}    KnownHostsCommand /usr/bin/cat /srv/known\n",
        known="node.example <node>\n",
        files={"known": ""},
        fab="KnownHostsCommand",
    ),
    Case("`CheckHostIP yes`, and the address is known, too", f"{NODE}    CheckHostIP yes\n"),
    Case(
        "`CheckHostIP yes`, and the address has another key",
        f"{NODE}    CheckHostIP yes\n    AddressFamily inet\n    StrictHostKeyChecking yes\n",
        "",
        known="node.example <node>\n198.18.2.2 <inner>\n",
        ssh=FAILED,
        fab="198.18.2.2",
    ),
    Case(
        "`NoHostAuthenticationForLocalhost yes`",
        "Host n\n    HostName localhost\n    NoHostAuthenticationForLocalhost yes\n",
        "root@here good",
        known="",
    ),
    Case(
        "`NoHostAuthenticationForLocalhost yes`, and a host that is none",
        f"{NODE}    NoHostAuthenticationForLocalhost yes\n",
        "",
        known="",
        ssh=FAILED,
        fab=UNKNOWN,
    ),
    Case(
        "`VerifyHostKeyDNS yes` as the only proof",
        f"{NODE}    VerifyHostKeyDNS yes\n",
        "",
        known="",
        ssh=FAILED,
        fab=UNKNOWN,
    ),
)

CASES = (*FILES, *STRICTNESS, *ODD, *MARKERS)
