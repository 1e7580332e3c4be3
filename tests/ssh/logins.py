"""How a login is made: keys, agents, certificates, and what of them comes first."""

from __future__ import annotations

from tests.ssh.case import Case

NODE = "Host n\n    HostName node.example\n"
STRANGERS = tuple(f"stranger{number}" for number in range(1, 8))
FEW = {"node": "MaxAuthTries 3"}
DENIED = "Permission denied"
REFUSED = "refused the login"
NO_KEYS: dict[str, str] = {}


def key(name: str, **more: object) -> Case:
    """A key file alone."""
    text = f"a key file: {name}"
    return Case(text, f"{NODE}    IdentityFile /srv/keys/{name}\n", f"root@node {name}", keys={}, **more)  # type: ignore[arg-type]


def typed(name: str, fab: str = "") -> Case:
    """A locked key file whose passphrase is typed."""
    config = f"{NODE}    IdentityFile /srv/keys/{name}\n"
    return Case(
        f"a key file with a passphrase, which is typed: {name}",
        config,
        f"root@node {name}",
        keys={},
        types="correct horse",
        fab=fab,
    )


FILES = (
    key("ecdsa", fallback=""),
    key("ecdsa384"),
    key("ecdsa521"),
    key("rsa"),
    key("rsa-pem"),
    key("rsa-pkcs8"),
    key("ecdsa-pem"),
    key("ecdsa-pkcs8"),
    key("second"),
    Case("~/.ssh/id_rsa, without a word", NODE, "root@node rsa", keys={"id_rsa": "rsa"}),
    Case("~/.ssh/id_ecdsa, without a word", NODE, "root@node ecdsa", keys={"id_ecdsa": "ecdsa"}),
    Case(
        "~/.ssh/id_rsa before ~/.ssh/id_ed25519",
        NODE,
        "root@node rsa",
        keys={"id_ed25519": "good", "id_rsa": "rsa"},
    ),
    Case(
        "IdentityFile, and then no ~/.ssh/id_ed25519, which fab tries last",
        f"{NODE}    IdentityFile /srv/keys/stranger1\n",
        "",
        ssh=DENIED,
        instead="root@node good",
    ),
    Case(
        "IdentityFile, IdentitiesOnly, and then no ~/.ssh/id_ed25519",
        f"{NODE}    IdentityFile /srv/keys/stranger1\n    IdentitiesOnly yes\n",
        "",
        ssh=DENIED,
        fab=REFUSED,
    ),
    Case(
        "a name that ssh does not try: ~/.ssh/mine", NODE, "", keys={"mine": "good"}, ssh=DENIED, fab=REFUSED
    ),
    Case(
        "several IdentityFile: in their order",
        f"{NODE}    IdentityFile /srv/keys/stranger1\n    IdentityFile /srv/keys/third\n"
        "    IdentityFile /srv/keys/second\n",
        "root@node third",
        fallback="",
    ),
    Case(
        "IdentityFile of several blocks: all of them",
        f"{NODE}    IdentityFile /srv/keys/stranger1\nHost *\n    IdentityFile /srv/keys/second\n",
        "root@node second",
    ),
    Case(
        "an IdentityFile that is not there",
        f"{NODE}    IdentityFile /srv/none\n    IdentityFile /srv/keys/second\n",
        "root@node second",
    ),
    Case(
        "an IdentityFile that is no key",
        f"{NODE}    IdentityFile /srv/hosts.toml\n    IdentityFile /srv/keys/second\n",
        "root@node second",
    ),
    Case(
        "an IdentityFile that is a folder",
        f"{NODE}    IdentityFile /srv/keys\n    IdentityFile /srv/keys/second\n",
        "root@node second",
    ),
    Case(
        "an IdentityFile that others may read: ssh passes over it",
        f"{NODE}    IdentityFile /srv/open\n",
        "",
        keys=NO_KEYS,
        files={"open": "<<second>>"},
        modes={"open": 0o644},
        ssh="UNPROTECTED PRIVATE KEY FILE",
        fab="/srv/open",
    ),
    Case(
        "an IdentityFile that others may read, then another one",
        f"{NODE}    IdentityFile /srv/open\n    IdentityFile /srv/keys/third\n",
        "root@node third",
        files={"open": "<<second>>"},
        modes={"open": 0o644},
    ),
    Case("`IdentityFile none`", f"{NODE}    IdentityFile none\n", "", ssh=DENIED, fab=REFUSED),
    Case(
        "`IdentityFile none`, and an agent",
        f"{NODE}    IdentityFile none\n",
        "root@node second",
        agent=("second",),
    ),
    Case(
        "`ssh.identity` in hosts.toml, which is -i",
        f"{NODE}    IdentitiesOnly yes\n    IdentityFile /srv/keys/second\n",
        "root@node second",
        toml='identity = "/srv/keys/second"\n',
    ),
    Case(
        "`PubkeyAuthentication no`",
        f"{NODE}    PubkeyAuthentication no\n",
        "",
        ssh=DENIED,
        fab="PubkeyAuthentication",
    ),
    Case(
        "`PreferredAuthentications password`",
        f"{NODE}    PreferredAuthentications password\n",
        "",
        ssh=DENIED,
        fab=REFUSED,
    ),
    Case(
        "`PreferredAuthentications gssapi-with-mic`",
        f"{NODE}    PreferredAuthentications gssapi-with-mic\n",
        "",
        ssh=DENIED,
        fab="gssapi-with-mic",
    ),
    Case(
        "`PreferredAuthentications gssapi-with-mic,publickey`",
        f"{NODE}    GSSAPIAuthentication yes\n    PreferredAuthentications gssapi-with-mic,publickey\n",
    ),
    Case(
        "`GSSAPIAuthentication yes`, as Debian has it",
        f"{NODE}    GSSAPIAuthentication yes\n    GSSAPIDelegateCredentials no\n",
    ),
    Case(
        "`PasswordAuthentication no`",
        f"{NODE}    PasswordAuthentication no\n    KbdInteractiveAuthentication no\n",
    ),
)

LOCKED = (
    typed("locked"),
    typed("locked-pem"),
    typed("locked-pkcs8"),
    typed("locked-gcm"),
    typed("locked-chacha", fab="keys/locked-chacha"),
    Case(
        "a key file with a passphrase, and nobody to type it",
        f"{NODE}    IdentityFile /srv/keys/locked\n",
        "",
        keys=NO_KEYS,
        ssh=DENIED,
        fab="keys/locked (ED25519",
    ),
    Case(
        "a key file with a passphrase, and nobody to type it, then another one",
        f"{NODE}    IdentityFile /srv/keys/locked\n    IdentityFile /srv/keys/second\n",
        "root@node second",
    ),
    Case(
        "~/.ssh/id_rsa with a passphrase, and ~/.ssh/id_ed25519 without",
        NODE,
        keys={"id_rsa": "locked-pem", "id_ed25519": "good"},
    ),
    Case(
        "a key file with a passphrase, in the agent, too",
        f"{NODE}    IdentityFile /srv/keys/locked\n",
        "root@node locked",
        agent=("locked",),
    ),
    *(
        Case(
            f"the same with IdentitiesOnly: {name}",
            f"{NODE}    IdentityFile /srv/keys/{name}\n    IdentitiesOnly yes\n",
            f"root@node {name}",
            agent=("stranger1", name),
        )
        for name in ("locked", "locked-pem", "locked-pkcs8")
    ),
)

AGENTS = (
    Case("an agent alone", NODE, "root@node second", keys=NO_KEYS, agent=("second",), fallback=""),
    Case("an agent with rsa", NODE, "root@node rsa", keys=NO_KEYS, agent=("rsa",)),
    Case("an agent with ecdsa", NODE, "root@node ecdsa", keys=NO_KEYS, agent=("ecdsa",)),
    Case("an agent before the files that ssh tries by itself", NODE, "root@node second", agent=("second",)),
    Case(
        "an agent, and an IdentityFile that it does not hold: the agent first",
        f"{NODE}    IdentityFile /srv/keys/third\n",
        "root@node second",
        agent=("second",),
    ),
    Case(
        "an agent that holds the key of the IdentityFile, which is first",
        f"{NODE}    IdentityFile /srv/keys/third\n",
        "root@node third",
        agent=("second", "third"),
    ),
    Case(
        "an agent with many other keys, and sshd's MaxAuthTries: ssh fails",
        NODE,
        "",
        agent=STRANGERS,
        sshd=FEW,
        ssh="Too many authentication failures",
        fab="IdentitiesOnly",
    ),
    Case(
        "an agent with many other keys, MaxAuthTries, and IdentitiesOnly",
        f"{NODE}    IdentityFile ~/.ssh/id_ed25519\n    IdentitiesOnly yes\n",
        agent=STRANGERS,
        sshd=FEW,
        fallback="",
    ),
    Case(
        "an agent with many other keys, MaxAuthTries, and the IdentityFile in the agent",
        f"{NODE}    IdentityFile /srv/keys/second\n",
        "root@node second",
        agent=(*STRANGERS, "second"),
        sshd=FEW,
    ),
    Case(
        "IdentitiesOnly without IdentityFile: the files that ssh tries by itself",
        f"{NODE}    IdentitiesOnly yes\n",
        agent=("second",),
    ),
    Case(
        "IdentitiesOnly, and the agent's key as NAME.pub alone",
        f"{NODE}    IdentitiesOnly yes\n    IdentityFile ~/.ssh/mine.pub\n",
        "root@node second",
        keys={"mine.pub": "second.pub"},
        agent=("stranger1", "third", "second"),
    ),
    Case(
        "IdentitiesOnly, and the agent's key as NAME.pub beside no NAME",
        f"{NODE}    IdentitiesOnly yes\n    IdentityFile ~/.ssh/mine\n",
        "root@node second",
        keys={"mine.pub": "second.pub"},
        agent=("stranger1", "third", "second"),
    ),
    Case(
        "NAME.pub without an agent",
        f"{NODE}    IdentityFile ~/.ssh/mine.pub\n",
        "",
        keys={"mine.pub": "second.pub"},
        ssh=DENIED,
        fab=REFUSED,
    ),
    Case(
        "`IdentityAgent` with a path",
        f"{NODE}    IdentityAgent /srv/agent\n",
        "root@node second",
        agent=("second",),
        use_agent=False,
    ),
    Case(
        "`IdentityAgent ~/...`",
        f"{NODE}    IdentityAgent ~/agent\n",
        "root@node second",
        agent=("second",),
        use_agent=False,
    ),
    Case("`IdentityAgent none`", f"{NODE}    IdentityAgent none\n", agent=("second",)),
    Case(
        "`IdentityAgent SSH_AUTH_SOCK`",
        f"{NODE}    IdentityAgent SSH_AUTH_SOCK\n",
        "root@node second",
        agent=("second",),
    ),
    Case(
        "`IdentityAgent $MY_AGENT`",
        f"{NODE}    IdentityAgent $MY_AGENT\n",
        "root@node second",
        agent=("second",),
        use_agent=False,
        env={"MY_AGENT": "/srv/agent"},
    ),
    Case(
        "`IdentityAgent ${MY}/agent`",
        f"{NODE}    IdentityAgent ${{MY}}/agent\n",
        "root@node second",
        agent=("second",),
        use_agent=False,
        env={"MY": "/srv"},
    ),
    Case("`IdentityAgent` that is not there", f"{NODE}    IdentityAgent /srv/nobody\n", agent=("second",)),
    Case("SSH_AUTH_SOCK that is not there", NODE, env={"SSH_AUTH_SOCK": "/srv/nobody"}),
    Case(
        "two agents: the jump host's and the node's own",
        "Host b\n    HostName bastion.example\n    IdentityAgent /srv/agent\n"
        "Host n\n    HostName inner.example\n    IdentityAgent none\n    ProxyJump b\n",
        "root@bastion second, root@inner good",
        agent=("second",),
        use_agent=False,
    ),
)

CERTIFICATES = (
    Case(
        "a certificate beside the key",
        f"{NODE}    IdentityFile /srv/keys/certified\n",
        "root@node certified certificate",
        fallback="",
    ),
    Case(
        "a certificate beside ~/.ssh/id_ed25519",
        NODE,
        "root@node certified certificate",
        keys={"id_ed25519": "certified", "id_ed25519-cert.pub": "certified-cert.pub"},
    ),
    Case(
        "`CertificateFile`",
        f"{NODE}    IdentityFile /srv/keys/signed\n    CertificateFile /srv/keys/certificates/signed.pub\n",
        "root@node signed certificate",
    ),
    Case(
        "`CertificateFile` with %h and ${VAR}",
        f"{NODE}    IdentityFile /srv/keys/signed\n    CertificateFile ${{KEYS}}/%n.pub\n",
        "root@node signed certificate",
        env={"KEYS": "/srv"},
        files={"n.pub": "<<certificates/signed.pub>>"},
    ),
    Case(
        "`CertificateFile`, and its key in the agent",
        f"{NODE}    CertificateFile /srv/keys/certificates/signed.pub\n",
        "root@node signed certificate",
        keys=NO_KEYS,
        agent=("signed",),
    ),
    Case(
        "a certificate in the agent alone",
        NODE,
        "root@node certified certificate",
        keys=NO_KEYS,
        agent=("certified",),
    ),
    Case(
        "a certificate in the agent, IdentitiesOnly and the key's .pub",
        f"{NODE}    IdentitiesOnly yes\n    IdentityFile ~/.ssh/mine\n",
        "root@node certified certificate",
        keys={"mine.pub": "certified.pub", "mine-cert.pub": "certified-cert.pub"},
        agent=("stranger1", "certified"),
    ),
    Case(
        "a certificate that has expired",
        f"{NODE}    IdentityFile /srv/keys/expired\n",
        "",
        keys=NO_KEYS,
        ssh=DENIED,
        fab=REFUSED,
    ),
    Case(
        "a certificate that has expired, then another key",
        f"{NODE}    IdentityFile /srv/keys/expired\n    IdentityFile /srv/keys/second\n",
        "root@node second",
    ),
    Case(
        "a certificate for another user",
        f"{NODE}    IdentityFile /srv/keys/for-ops\n",
        "",
        keys=NO_KEYS,
        ssh=DENIED,
        fab=REFUSED,
    ),
    Case(
        "a certificate for this user",
        f"{NODE}    User ops\n    IdentityFile /srv/keys/for-ops\n",
        "ops@node for-ops certificate",
    ),
    Case(
        "a key that is let in with its certificate and without: the certificate first",
        f"{NODE}    IdentityFile /srv/keys/certified\n    IdentityFile /srv/keys/second\n",
        "root@node certified certificate",
    ),
    Case(
        "a certificate at the jump host",
        "Host b\n    HostName bastion.example\n    IdentityFile /srv/keys/certified\n"
        "Host n\n    HostName inner.example\n    ProxyJump b\n",
        "root@bastion certified certificate, root@inner good",
    ),
)

ALGORITHMS = (
    Case(
        "sshd takes rsa-sha2-512 alone",
        f"{NODE}    IdentityFile /srv/keys/rsa\n",
        "root@node rsa",
        sshd={"node": "PubkeyAcceptedAlgorithms rsa-sha2-512"},
    ),
    Case(
        "sshd takes rsa-sha2-512 alone, with the key in the agent",
        NODE,
        "root@node rsa",
        keys=NO_KEYS,
        agent=("rsa",),
        sshd={"node": "PubkeyAcceptedAlgorithms rsa-sha2-512"},
    ),
    Case(
        "`PubkeyAcceptedAlgorithms` leaves keys out",
        f"{NODE}    PubkeyAcceptedAlgorithms ecdsa-sha2-nistp256\n    IdentityFile /srv/keys/good\n"
        "    IdentityFile /srv/keys/ecdsa\n",
        "root@node ecdsa",
    ),
    Case(
        "`PubkeyAcceptedAlgorithms -...`",
        f"{NODE}    PubkeyAcceptedAlgorithms -ssh-ed25519*\n    IdentityFile /srv/keys/good\n"
        "    IdentityFile /srv/keys/rsa\n",
        "root@node rsa",
    ),
    Case(
        "`PubkeyAcceptedKeyTypes`, its old name",
        f"{NODE}    PubkeyAcceptedKeyTypes ecdsa-sha2-nistp256\n    IdentityFile /srv/keys/good\n"
        "    IdentityFile /srv/keys/ecdsa\n",
        "root@node ecdsa",
    ),
    Case(
        "`PubkeyAcceptedAlgorithms +ssh-rsa`, and an sshd that takes that",
        f"{NODE}    PubkeyAcceptedAlgorithms +ssh-rsa\n    IdentityFile /srv/keys/rsa\n",
        "root@node rsa",
        sshd={"node": "PubkeyAcceptedAlgorithms +ssh-rsa"},
    ),
)

HARDWARE = (
    Case("a security key in the agent", NODE, "root@node touch", keys=NO_KEYS, agent=("touch",)),
    Case(
        "a security key in the agent, and its key file",
        f"{NODE}    IdentityFile /srv/keys/touch\n    IdentitiesOnly yes\n",
        "root@node touch",
        agent=("touch",),
    ),
    Case(
        "a security key's key file without an agent, and no such key in this machine",
        f"{NODE}    IdentityFile /srv/keys/touch\n",
        "",
        keys=NO_KEYS,
        ssh=DENIED,
        fab="/srv/keys/touch",
    ),
    Case(
        "a security key's key file without an agent, then another key",
        f"{NODE}    IdentityFile /srv/keys/touch\n    IdentityFile /srv/keys/second\n",
        "root@node second",
    ),
    Case("`PKCS11Provider`, and a key file that is let in", f"{NODE}    PKCS11Provider /srv/none.so\n"),
    Case("`SecurityKeyProvider`, and a key that needs none", f"{NODE}    SecurityKeyProvider /srv/none.so\n"),
)

PASSWORDS = (
    Case(
        "a password, which is typed: --prompt-for-login-password",
        f"{NODE}    User ops-password\n    PreferredAuthentications password\n",
        "ops-password@node password",
        sshd={"node": "PasswordAuthentication yes"},
        types="lab",
        asks="--prompt-for-login-password",
    ),
    Case(
        "a password, which is typed, after keys that are not let in",
        f"{NODE}    User ops-password\n    IdentityFile /srv/keys/stranger1\n",
        "ops-password@node password",
        keys=NO_KEYS,
        sshd={"node": "PasswordAuthentication yes"},
        types="lab",
        asks="--prompt-for-login-password",
    ),
    Case(
        "a password and a key, of which sshd wants both",
        f"{NODE}    User ops-password\n",
        "ops-password@node password",
        sshd={"node": "PasswordAuthentication yes\nAuthenticationMethods publickey,password"},
        types="lab",
        asks="--prompt-for-login-password",
    ),
)

TWO_STEPS = (
    Case(
        "sshd wants two keys",
        f"{NODE}    IdentityFile /srv/keys/second\n    IdentityFile /srv/keys/third\n",
        "root@node third",
        sshd={"node": "AuthenticationMethods publickey,publickey"},
    ),
    Case(
        "sshd wants two keys, and there is one",
        f"{NODE}    IdentityFile /srv/keys/second\n",
        "",
        keys=NO_KEYS,
        sshd={"node": "AuthenticationMethods publickey,publickey"},
        ssh=DENIED,
        fab=REFUSED,
    ),
    Case(
        "sshd has no key of this user",
        f"{NODE}    User gate\n",
        "",
        sshd={"node": "AllowUsers root"},
        ssh=DENIED,
        fab=REFUSED,
    ),
    Case("a banner", NODE, sshd={"node": "Banner /etc/lab/sshd_config"}),
)

CASES = (*FILES, *LOCKED, *AGENTS, *CERTIFICATES, *ALGORITHMS, *HARDWARE, *PASSWORDS, *TWO_STEPS)
