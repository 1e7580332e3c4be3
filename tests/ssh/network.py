"""The way to sshd: addresses, ports, algorithms; and keywords that must not be in the way."""

from __future__ import annotations

from tests.ssh.case import Case

NODE = "Host n\n    HostName node.example\n"
V4 = "198.18.2.1 -> 198.18.2.2"
V6 = "2001:2:0:2::1 -> 2001:2:0:2::2"


def ignored(*lines: str, **more: object) -> Case:
    """Keywords that change nothing of a login."""
    text = ", ".join(f"`{line}`" for line in lines)
    return Case(text, NODE + "".join(f"    {line}\n" for line in lines), **more)  # type: ignore[arg-type]


def only(where: str, line: str, **more: object) -> Case:
    """One list of algorithms, of sshd or in ssh_config."""
    if where == "sshd":
        return Case(f"sshd: `{line}`", NODE, sshd={"node": line}, **more)  # type: ignore[arg-type]
    return Case(f"`{line}`", f"{NODE}    {line}\n", **more)  # type: ignore[arg-type]


ADDRESSES = (
    Case("`Port`", f"{NODE}    Port 2222\n", "root@node:2222 good", fallback=""),
    Case(
        "`Port`, and sshd does not listen there",
        f"{NODE}    Port 2223\n",
        "",
        ssh="Connection refused",
        fab="node.example:2223: Connection refused",
    ),
    Case(
        "`Port` in hosts.toml",
        NODE,
        "root@node:2222 good",
        target="ssh://n:2222",
        nodes=("n:2222",),
        fallback="",
    ),
    Case("a name with both families", NODE, route=V6),
    Case("`AddressFamily inet`", f"{NODE}    AddressFamily inet\n", route=V4, fallback=""),
    Case("`AddressFamily inet6`", f"{NODE}    AddressFamily inet6\n", route=V6),
    Case("`AddressFamily any`", f"{NODE}    AddressFamily any\n", route=V6),
    Case(
        "`AddressFamily inet6`, and a name that has IPv4 alone",
        "Host n\n    HostName four.example\n    AddressFamily inet6\n",
        "",
        ssh="Could not resolve hostname four.example",
        fab="four.example",
    ),
    Case(
        "both families, and sshd listens on IPv4 alone",
        NODE,
        route=V4,
        sshd={"node": "AddressFamily inet"},
    ),
    Case("an IPv4 address", "Host n\n    HostName 198.18.2.2\n", route=V4),
    Case("an IPv6 address", "Host n\n    HostName 2001:2:0:2::2\n", route=V6, fallback=""),
    Case("an IPv6 address, written at length", "Host n\n    HostName 2001:2:0:2:0:0:0:2\n", route=V6),
    Case(
        "an IPv6 address, and a port",
        "Host n\n    HostName 2001:2:0:2::2\n    Port 2222\n",
        "root@node:2222 good",
    ),
    Case("an IPv6 address of the link", "Host n\n    HostName fe80::2%%node\n    HostKeyAlias node\n"),
    Case(
        "`BindAddress`",
        f"{NODE}    AddressFamily inet\n    BindAddress 198.18.2.3\n",
        route="198.18.2.3 -> 198.18.2.2",
    ),
    Case(
        "`BindAddress` with IPv6",
        f"{NODE}    BindAddress 2001:2:0:2::3\n",
        route="2001:2:0:2::3 -> 2001:2:0:2::2",
    ),
    Case(
        "`BindAddress` that this machine does not have",
        f"{NODE}    AddressFamily inet\n    BindAddress 198.18.9.9\n",
        "",
        ssh="Cannot assign requested address",
        fab="Cannot assign requested address",
    ),
    Case("`BindInterface`", f"{NODE}    AddressFamily inet\n    BindInterface node\n", route=V4),
    Case(
        "a name that does not resolve",
        "Host n\n    HostName nowhere.example\n",
        "",
        ssh="Could not resolve hostname nowhere.example",
        fab="the name nowhere.example cannot be resolved",
    ),
    Case(
        "`ConnectTimeout`, and nobody answers",
        "Host n\n    HostName 198.18.2.99\n    ConnectTimeout 1\n",
        "",
        ssh="Connection timed out",
        fab="cannot connect to 198.18.2.99:22",
    ),
    Case("`ConnectTimeout 1m30s`", f"{NODE}    ConnectTimeout 1m30s\n", fallback=""),
    Case("`ConnectTimeout none`", f"{NODE}    ConnectTimeout none\n"),
    Case("an address that is this machine's own", "Host n\n    HostName localhost\n", "root@here good"),
)

IGNORED = (
    ignored("ServerAliveInterval 15", "ServerAliveCountMax 2", "TCPKeepAlive no", "ConnectionAttempts 3"),
    ignored("Compression yes", "IPQoS lowdelay throughput", "RekeyLimit 1G 1h", "EscapeChar none"),
    ignored("ForwardAgent yes", "ForwardX11 yes", "ForwardX11Trusted yes", agent=("good",)),
    ignored("ForwardAgent /srv/agent", agent=("good",)),
    ignored("ForwardAgent $SSH_AUTH_SOCK", agent=("good",)),
    ignored("RemoteCommand true"),
    ignored("RequestTTY force"),
    ignored("LocalForward 127.0.0.1:8022 node:22", "DynamicForward 1080", "RemoteForward 9022 node:22"),
    ignored("ClearAllForwardings yes", "ExitOnForwardFailure yes", "GatewayPorts no", "Tunnel no"),
    ignored("SendEnv LANG LC_*", "SetEnv WHO=me", "XAuthLocation /usr/bin/xauth"),
    ignored("PermitLocalCommand yes", "LocalCommand true %h %p %C"),
    ignored("ControlMaster auto", "ControlPath /srv/%C"),
    ignored("ControlMaster no", "ControlPath none", "ControlPersist 10m"),
    ignored("LogLevel QUIET"),
    ignored("LogLevel DEBUG3"),
    ignored("VerifyHostKeyDNS ask", "VisualHostKey yes", "FingerprintHash md5"),
    ignored("BatchMode yes", "NumberOfPasswordPrompts 1", "AddKeysToAgent yes"),
    ignored("HashKnownHosts yes", "UpdateHostKeys ask"),
    ignored("HostbasedAuthentication yes", "NoHostAuthenticationForLocalhost yes"),
    ignored("ChallengeResponseAuthentication no", "UsePrivilegedPort no", "Protocol 2"),
    ignored("PKCS11Provider none", "SecurityKeyProvider internal", "CASignatureAlgorithms -ssh-rsa"),
)

ALGORITHMS = (
    only("sshd", "Ciphers aes256-ctr"),
    only("sshd", "Ciphers aes128-gcm@openssh.com,aes256-gcm@openssh.com"),
    only("sshd", "Ciphers chacha20-poly1305@openssh.com", fab="ciphers"),
    only("sshd", "MACs hmac-sha2-512-etm@openssh.com"),
    only("sshd", "MACs umac-128-etm@openssh.com", fab="macs"),
    only("sshd", "KexAlgorithms curve25519-sha256"),
    only("sshd", "KexAlgorithms ecdh-sha2-nistp521"),
    only("sshd", "KexAlgorithms diffie-hellman-group16-sha512"),
    only("sshd", "KexAlgorithms sntrup761x25519-sha512@openssh.com", fab="kex"),
    only("sshd", "HostKeyAlgorithms rsa-sha2-512", known="node.example <node.rsa>\n"),
    only("sshd", "HostKeyAlgorithms ecdsa-sha2-nistp256", known="node.example <node.ecdsa>\n"),
    only("ssh", "Ciphers aes128-ctr,aes256-ctr"),
    only("ssh", "Ciphers +aes128-cbc"),
    only("ssh", "Ciphers ^aes256-ctr"),
    only("ssh", "Ciphers -chacha20-*"),
    only("ssh", "Ciphers chacha20-poly1305@openssh.com", fab="/srv/config:3"),
    only("ssh", "MACs hmac-sha2-256"),
    only("ssh", "MACs umac-64-etm@openssh.com", fab="/srv/config:3"),
    only("ssh", "KexAlgorithms curve25519-sha256"),
    only("ssh", "KexAlgorithms -diffie-hellman-group14-*"),
    only("ssh", "KexAlgorithms sntrup761x25519-sha512@openssh.com", fab="/srv/config:3"),
    only("ssh", "HostKeyAlgorithms rsa-sha2-512,rsa-sha2-256", known="node.example <node.rsa>\n"),
    only(
        "ssh",
        "HostKeyAlgorithms ecdsa-sha2-nistp256",
        known="node.example <node>\nnode.example <node.ecdsa>\n",
    ),
    only("ssh", "Ciphers no-such-cipher", logins="", ssh="Bad SSH2 cipher spec", fab="/srv/config:3"),
    Case(
        "`Ciphers` that sshd does not have",
        f"{NODE}    Ciphers aes128-ctr\n",
        "",
        sshd={"node": "Ciphers aes256-ctr"},
        ssh="no matching cipher found",
        fab="cipher",
    ),
)

CASES = (*ADDRESSES, *IGNORED, *ALGORITHMS)
