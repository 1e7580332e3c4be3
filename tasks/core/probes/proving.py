"""Whether a node's proxy leads to an apiserver: seen through sshd, or with what the node has for it."""

from __future__ import annotations

from collections.abc import Sequence

from ..config.address import Endpoint
from ..errors import StepError
from ..ssh.node import Node
from . import fallback, reach
from .reach import Proof, Reached

_SECONDS = 3


def prove(
    node: Node, listeners: Sequence[Endpoint], apiservers: Sequence[Endpoint], answered: bool = False
) -> Proof:
    """What `reach.proof` says; where sshd forbids forwarding, curl, openssl or bash on the node ask.

    Raises StepError where the node itself fails.
    """
    proof = reach.proof(node.transport, listeners, apiservers, _SECONDS, answered)
    if not proof.untried:
        return proof
    met = _asked(node, [*listeners, *apiservers])
    return reach.conclude(
        {listener: met[listener] for listener in listeners},
        {apiserver: met[apiserver] for apiserver in apiservers},
        answered,
    )


def answered(node: Node, listeners: Sequence[Endpoint], apiservers: Sequence[Endpoint]) -> bool:
    """Whether the node has a way to some apiserver now: through one of `listeners`, or directly.

    Raises StepError where the node itself fails.
    """
    known = reach.answered(node.transport, listeners, apiservers, _SECONDS)
    if not known and not node.is_connected:
        raise StepError("the connection broke while apiservers were looked for")
    if known is None:
        return any(reached.ok for reached in _asked(node, [*listeners, *apiservers]).values())
    return known


def _asked(node: Node, endpoints: Sequence[Endpoint]) -> dict[Endpoint, Reached]:
    seen = fallback.ask(node, list(dict.fromkeys(endpoints)), _SECONDS)
    return {endpoint: Reached(met.ok, met.text, met.seconds or 0.0) for endpoint, met in seen.items()}
