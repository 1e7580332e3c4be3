"""Lines of known_hosts, each with what OpenSSH's ssh says of the host."""

from __future__ import annotations

from dataclasses import dataclass

import paramiko

ALL = ("ed", "rsa", "ec")
HASHED = paramiko.HostKeys.hash_host("n1.example")
HASHED_PORT = paramiko.HostKeys.hash_host("[n1.example]:2222")


@dataclass(frozen=True)
class Case:
    """Lines of known_hosts, and what ssh says of the host: accepted, changed, revoked, unknown.

    `ours` is what we say, where that is not the same. {ed} and such are the host's keys, {other_ed}
    another's. `second` is the second file of UserKnownHostsFile, `machine` that of GlobalKnownHostsFile;
    `more` are further lines of ssh_config.
    """

    lines: str
    says: str
    ours: str = ""
    host: str = "n1.example"
    port: int = 22
    offers: tuple[str, ...] = ("ed",)
    second: str = ""
    machine: str = ""
    more: str = ""


CASES = {
    "nothing": Case("", "unknown"),
    "a name": Case("n1.example {ed}\n", "accepted"),
    "a name, another key": Case("n1.example {other_ed}\n", "changed"),
    "another name": Case("n2.example {ed}\n", "unknown"),
    "another case": Case("N1.Example {other_ed}\n", "changed"),
    "another case of the host": Case("n1.example {ed}\n", "accepted", host="N1.EXAMPLE"),
    "two blanks": Case("n1.example  {other_ed}\n", "changed"),
    "tabs": Case("n1.example\tssh-ed25519\t{ed64}\tme\n", "accepted"),
    "leading blanks": Case(" \t n1.example {other_ed}\n", "changed"),
    "a comment": Case("# n1.example {other_ed}\n\n  # n1.example {other_ed}\n", "unknown"),
    "a comment after the key": Case("n1.example {ed} me@here # too\n", "accepted"),
    "a comment for a key": Case("n1.example # {ed}\n", "unknown"),
    "CRLF": Case("\r\nn2.example {other_ed}\r\nn1.example {ed}\r\n", "accepted"),
    "no final newline": Case("n2.example {ed}\nn1.example {other_ed}", "changed"),
    "no final newline, a new host": Case("n2.example {ed}", "unknown"),
    "other separators": Case("n1.example\x0c{other_ed}\nn2.example\x85n1.example {other_ed}\n", "unknown"),
    "not ASCII": Case("n\xe4.example {other_ed}\nn1.example {ed} M\xe4x\n", "accepted"),
    "a list": Case("n0.example,N1.example,192.0.2.1 {other_ed}\n", "changed"),
    "a list with a blank": Case("n2.example, n1.example {other_ed}\n", "unknown"),
    "a wildcard": Case("*.example {other_ed}\n", "changed"),
    "a wildcard and its key": Case("*.Example {ed}\n", "accepted"),
    "a question mark": Case("n?.example {other_ed}\n", "changed"),
    "brackets are no pattern": Case("n[12].example {other_ed}\n", "unknown"),
    "a dot is a dot": Case("n1?example,n1.exampl? {ed}\n", "accepted"),
    "negated": Case("*.example,!n1.example {other_ed}\n", "unknown"),
    "negated before": Case("!n1.*,* {other_ed}\n", "unknown"),
    "negated only": Case("!n2.example {other_ed}\n", "unknown"),
    "hashed": Case(f"{HASHED} {{ed}}\n", "accepted"),
    "hashed, another key": Case(f"{HASHED} {{other_ed}}\n", "changed", host="N1.example"),
    "hashed, in a list": Case(f"{HASHED},n1.example {{other_ed}}\n", "unknown"),
    "hashed, broken": Case(f"|1|AAAA {{other_ed}}\n|1|%|%| {{other_ed}}\n{HASHED} {{ed}}\n", "accepted"),
    "hashed with a port": Case(f"{HASHED_PORT} {{ed}}\n", "accepted", port=2222),
    "hashed with a port, another key": Case(f"{HASHED_PORT} {{other_ed}}\n", "changed", port=2222),
    "a port": Case("[n1.example]:2222 {ed}\n", "accepted", port=2222),
    "another port": Case("[n1.example]:2223 {ed}\n", "unknown", port=2222),
    "a port that is not needed": Case("[n1.example]:22 {other_ed}\n", "unknown"),
    "a port, and a name without": Case("n1.example {ed}\n", "accepted", port=2222),
    "a port, and another key without": Case("n1.example {other_ed}\n", "unknown", port=2222),
    "a port with another key": Case("n1.example {ed}\n[n1.example]:2222 {other_ed}\n", "changed", port=2222),
    "a port and a wildcard": Case("*.example {other_ed}\n", "unknown", port=2222),
    "a port and a star": Case("* {other_ed}\n", "changed", port=2222),
    "IPv4": Case("127.0.0.1 {ed}\n", "accepted", host="127.1"),
    "IPv6": Case("::1 {ed}\n", "accepted", host="::1"),
    "IPv6 at length": Case("::1 {ed}\n", "accepted", host="0:0:0:0:0:0:0:1"),
    "IPv6 at length in the file": Case("0:0:0:0:0:0:0:1 {ed}\n", "unknown", host="::1"),
    "IPv6 and a port": Case("[2001:2::1]:2222 {ed}\n", "accepted", host="2001:2::1", port=2222),
    "revoked": Case("@revoked n1.example {ed}\n", "revoked"),
    "revoked by a wildcard, and known": Case("n1.example {ed}\n@revoked * {ed}\n", "revoked"),
    "another key is revoked": Case("@revoked n1.example {other_ed}\n", "unknown"),
    "the old key is revoked": Case("@revoked * {other_ed}\nn1.example {ed}\n", "accepted"),
    "revoked in the machine's file": Case("n1.example {ed}\n", "revoked", machine="@revoked  n1.* {ed}\n"),
    "revoked, with tabs": Case("@revoked\tn1.example\tssh-ed25519\t{ed64}\n", "revoked"),
    "revoked, with one tab": Case("@revoked\tn1.example {ed}\n", "unknown"),
    # ssh warns that the key is revoked, and then records it under the name with the port
    "revoked without the port": Case("@revoked n1.example {ed}\n", "unknown", "revoked", port=2222),
    "an unknown marker": Case("@trusted n1.example {other_ed}\n", "unknown"),
    "two markers": Case("@revoked @cert-authority n1.example {ed}\n", "unknown"),
    "a marker alone": Case("@revoked\n@cert-authority \nn1.example {ed}\n", "accepted"),
    "an authority": Case("@cert-authority *.example {other_ed}\n", "unknown", "certified"),
    "an authority, the same key": Case("@cert-authority *.example {ed}\n", "unknown", "certified"),
    "an authority, without the port": Case(
        "@cert-authority *.example {other_ed}\n", "unknown", "certified", port=2222
    ),
    "an authority, and a key": Case("@cert-authority * {other_ed}\nn1.example {ed}\n", "accepted"),
    "an authority, and another key": Case("@cert-authority * {ed}\nn1.example {other_ed}\n", "changed"),
    "an authority for another": Case("@cert-authority n2.example {ed}\n", "unknown"),
    "a key of another kind": Case("n1.example {rsa}\n", "changed"),
    "a kind that is not offered, and one that is": Case(
        "n1.example {rsa}\nn1.example {ed}\n", "accepted", offers=("ed", "ec")
    ),
    "only rsa is known": Case("n1.example {rsa}\n", "accepted", offers=ALL),
    "only ecdsa is known": Case("n1.example {ec}\n", "accepted", offers=ALL),
    "only rsa is known, by a wildcard": Case("n?.example {rsa}\n", "accepted", offers=ALL),
    "only rsa is known, and it is another": Case("n1.example {other_rsa}\n", "changed", offers=ALL),
    "rsa is known without the port": Case("n1.example {rsa}\n", "unknown", port=2222, offers=ALL),
    "the best kind is known and not offered": Case(
        "n1.example {other_ed}\nn1.example {rsa}\n", "changed", offers=("rsa", "ec")
    ),
    "one kind is revoked, another known": Case(
        "@revoked n1.example {ed}\nn1.example {rsa}\n", "accepted", offers=ALL
    ),
    "two keys of a kind": Case("n1.example {other_ed}\nn1.example {ed}\n", "accepted"),
    "two keys of a kind, the other first": Case("n1.example {ed}\nn1.example {other_ed}\n", "accepted"),
    "broken lines between": Case(
        "n1.example\nn1.example ssh-ed25519 AAAA!\nn1.example ssh-rsa\nn1.example {ed}\n", "accepted"
    ),
    "broken lines only": Case(
        "n1.example ssh-ed25519 AAAA\nn1.example ssh-rsa {other64}\nn1.example {other_ed}AAAA\n"
        "n1.example ED25519 {other64}\nn1.example 1024 {other_ed}\n",
        "unknown",
    ),
    "another name of rsa": Case("n1.example rsa-sha2-512 {rsa64}\n", "changed"),
    "the second file": Case("n2.example {other_ed}", "accepted", second="n1.example {ed}\n"),
    "the second file, another key": Case("", "changed", second="n1.example {other_ed}\n"),
    "the second file, revoked": Case("n1.example {ed}\n", "revoked", second="@revoked n1.example {ed}\n"),
    "the second file, another host": Case("", "unknown", second="n2.example {ed}\n"),
    "the machine's file": Case("", "accepted", machine="n1.example {ed}\n"),
    "the machine's file, another key": Case("", "changed", machine="n1.example {other_ed}\n"),
    "the machine's file, and ours": Case("n1.example {ed}\n", "accepted", machine="n1.example {other_ed}\n"),
    "an alias": Case("alias {ed}\n", "accepted", more="HostKeyAlias alias"),
    "an alias, the host's name": Case("n1.example {ed}\n", "unknown", more="HostKeyAlias alias"),
    "an alias has no port": Case("alias {ed}\n", "accepted", port=2222, more="HostKeyAlias Alias"),
    "an alias with a port": Case("[alias]:2222 {ed}\n", "unknown", port=2222, more="HostKeyAlias alias"),
    "an alias revoked": Case("@revoked ali* {ed}\n", "revoked", more="HostKeyAlias alias"),
    "a host name": Case("n1.example {ed}\n", "accepted", host="short", more="HostName n1.example"),
    "recorded as a hash": Case("", "unknown", more="HashKnownHosts yes"),
}

STRICT = (
    *("nothing", "a name", "a wildcard", "negated", "revoked", "revoked without the port", "an authority"),
    *("a port, and another key without", "broken lines only", "an alias, the host's name"),
)
"""The cases that are tried without accept-new, too."""
