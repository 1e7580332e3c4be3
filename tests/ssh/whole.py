"""Whole files, of the kind that tools and distributions write."""

from __future__ import annotations

from tests.ssh.case import Case

NODE = "Host n\n    HostName node.example\n"

# A distribution's policy for all programs, which ssh_config includes where nothing else has been said.
POLICY = """\
Ciphers aes256-gcm@openssh.com,chacha20-poly1305@openssh.com,aes256-ctr,aes128-gcm@openssh.com,aes128-ctr
MACs hmac-sha2-256-etm@openssh.com,umac-128-etm@openssh.com,hmac-sha2-512-etm@openssh.com,hmac-sha2-256
GSSAPIKexAlgorithms gss-curve25519-sha256-,gss-nistp256-sha256-
KexAlgorithms curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,diffie-hellman-group14-sha256
PubkeyAcceptedAlgorithms ecdsa-sha2-nistp256,ssh-ed25519,sk-ssh-ed25519@openssh.com,rsa-sha2-256,rsa-sha2-512
HostKeyAlgorithms ecdsa-sha2-nistp256,ssh-ed25519,ssh-ed25519-cert-v01@openssh.com,rsa-sha2-256,rsa-sha2-512
CASignatureAlgorithms ecdsa-sha2-nistp256,ssh-ed25519,rsa-sha2-256,rsa-sha2-512
"""

CASES = (
    Case(
        "a virtual machine's: a port of this machine, and a host key that is made anew each time",
        "Host n\n    HostName 127.0.0.1\n    User ops\n    Port 2222\n    UserKnownHostsFile /dev/null\n"
        "    StrictHostKeyChecking no\n    PasswordAuthentication no\n    IdentityFile /srv/keys/rsa\n"
        "    IdentitiesOnly yes\n    LogLevel FATAL\n    PubkeyAcceptedKeyTypes +ssh-rsa\n"
        "    HostKeyAlgorithms +ssh-rsa\n",
        "ops@here:2222 rsa",
        known="",
        agent=("stranger1",),
    ),
    Case(
        "another virtual machine's: everything in quotes, one connection for all",
        'Host n\n  IdentityFile "/srv/keys/second"\n  StrictHostKeyChecking no\n'
        "  UserKnownHostsFile /dev/null\n  NoHostAuthenticationForLocalhost yes\n  GSSAPIAuthentication no\n"
        "  PreferredAuthentications publickey\n  Compression no\n  BatchMode yes\n  IdentitiesOnly yes\n"
        '  Ciphers "^aes128-gcm@openssh.com,aes256-gcm@openssh.com"\n  User ops\n  ControlMaster auto\n'
        '  ControlPath "/srv/ssh.sock"\n  ControlPersist no\n  Hostname 127.0.0.1\n  Port 2222\n',
        "ops@here:2222 second",
        known="",
    ),
    Case(
        "an installer's bastion: addresses, and ProxyCommand ssh without any file",
        "Host 198.18.1.2\n  StrictHostKeyChecking no\n  ControlMaster auto\n  ControlPath /srv/%r@%h:%p\n"
        "Host 198.18.3.2 198.18.3.130\n"
        "  ProxyCommand ssh -F /dev/null -o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no "
        "-W %h:%p -p 2222 gate@198.18.1.2\n",
        "gate@bastion:2222 good, root@inner good",
        target="198.18.3.2",
    ),
    Case(
        "a cloud's: instances by their names, through a program of its own, which is told the alias",
        'Host i-*\n  ProxyCommand sh -c "/srv/bin/relay node.example %p"\n  HostKeyAlias %h.cloud\n',
        target="i-0123",
        known="%h.cloud <node>\n",
    ),
    Case(
        "an access proxy's: a certificate and a known_hosts of its own, and ProxyCommand with its user",
        "Host *.cluster bastion.example\n    UserKnownHostsFile /srv/proxy/known_hosts\n"
        "    IdentityFile /srv/keys/signed\n    CertificateFile /srv/keys/certificates/signed.pub\n"
        "    IdentitiesOnly yes\n"
        "Host *.cluster !bastion.example\n    HostName inner.example\n    Port 2222\n"
        "    ProxyCommand ssh -F /srv/config -l root bastion.example -W %h:%p\n",
        "root@bastion signed certificate, root@inner:2222 signed certificate",
        target="n.cluster",
        known="",
        agent=("stranger1", "stranger2"),
        files={"proxy/known_hosts": "bastion.example <bastion>\n[inner.example]:2222 <inner>\n"},
    ),
    Case(
        "a desktop's agent, whose socket has blanks in its name",
        f'Host *\n    IdentityAgent "~/Group Containers/../agent"\n{NODE}',
        "root@node second",
        keys={},
        agent=("second",),
        use_agent=False,
        files={"Group Containers/x": ""},
    ),
    Case(
        "a distribution's: `Match final all` with a policy for algorithms",
        f"{NODE}Include /srv/50-distribution.conf\n",
        files={
            "50-distribution.conf": "Match final all\n    Include /srv/policy\n    GSSAPIAuthentication yes\n"
            "    ForwardX11Trusted yes\n    SendEnv LANG LC_*\n    SendEnv XMODIFIERS\n",
            "policy": POLICY,
        },
    ),
    Case(
        "another distribution's: ways into machines of this one, by ProxyUseFdpass",
        f"Include /srv/20-proxy.conf\n{NODE}",
        files={
            "20-proxy.conf": "Host unix/* unix%* vsock/* vsock%*\n    ProxyCommand /usr/lib/ssh-proxy %h %p\n"
            "    ProxyUseFdpass yes\n    CheckHostIP no\nHost .host\n"
            "    ProxyCommand /usr/lib/ssh-proxy unix/run/sshd %p\n    ProxyUseFdpass yes\n"
        },
    ),
    Case(
        "an administrator's: folders of files, defaults at the end",
        None,
        "gate@bastion:2222 third, ops@inner second",
        target="prod-1",
        keys={},
        agent=("stranger1", "second", "third"),
        files={
            ".ssh/config": "Include config.d/*\n\nHost *\n    ServerAliveInterval 60\n"
            "    HashKnownHosts yes\n"
            "    AddKeysToAgent yes\n    IdentitiesOnly yes\n    User nobody\n",
            ".ssh/config.d/10-prod": "Host prod-*\n    User ops\n    HostName inner.example\n"
            "    IdentityFile /srv/keys/second.pub\n    ProxyJump gate\n",
            ".ssh/config.d/20-gates": "Host gate gate-*\n    HostName bastion.example\n    Port 2222\n"
            "    User gate\n    IdentityFile /srv/keys/third.pub\n    ProxyJump none\n",
            ".ssh/config.d/old": "#Host prod-*\n#    User root\n",
        },
    ),
    Case(
        "a script's: a file for one node, and nothing of it is the user's own",
        "Host *\n    HostName node.example\n    HostKeyAlias job-7\n    UserKnownHostsFile /srv/job/hosts\n"
        "    GlobalKnownHostsFile /dev/null\n    IdentityFile /srv/job/key\n    IdentitiesOnly yes\n"
        "    IdentityAgent none\n    StrictHostKeyChecking yes\n    ConnectTimeout 10\n    LogLevel ERROR\n",
        "root@node second",
        agent=("good",),
        files={"job/hosts": "job-7 <node>\n", "job/key": "<<second>>"},
    ),
)
