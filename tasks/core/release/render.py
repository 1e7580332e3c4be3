"""Settings -> the text of kube-nginx.conf and of the units; no host is touched."""

from types import MappingProxyType

from jinja2 import Environment, FunctionLoader, StrictUndefined

from ..config import rules
from ..config.model import Settings
from ..facts.layout import CONF
from ..facts.paths import UNIT, WATCH_UNIT
from ..templates import template
from . import servers


def conf(settings: Settings, addresses: servers.Addresses = MappingProxyType({})) -> str:
    """kube-nginx.conf; for profile `runbook` the one in the runbook's "configure nginx".

    `addresses` are what a node resolves the names of apiservers to; a name without any stays a name.
    """
    found = servers.resolved(settings.apiservers, addresses)
    return _render("kube-nginx.conf.j2", settings, servers=found, names=servers.names(found))


def unit(settings: Settings) -> str:
    """kube-nginx.service; for profile `runbook` the one in the runbook's "systemd unit"."""
    return _render("kube-nginx.service.j2", settings)


def watch_unit(settings: Settings) -> str:
    """kube-nginx-watch.service, which the runbook does not have."""
    return _render("kube-nginx-watch.service.j2", settings, watch=settings.watch)


def files(settings: Settings) -> dict[str, str]:
    """All of them, by name: the watch's unit where there is to be a watch."""
    told = {CONF: conf(settings), UNIT: unit(settings)}
    watched = settings.watch.enabled and settings.proxy.user
    return told | {WATCH_UNIT: watch_unit(settings)} if watched else told


def _render(template: str, settings: Settings, **more: object) -> str:
    recommended = settings.profile != "runbook"
    newer = rules.number(settings.build.version) >= rules.ERROR_LOG_OPTION_SINCE
    return _environment.get_template(template).render(
        proxy=settings.proxy,
        recommended=recommended,
        # Without -e, nginx opens <prefix>/logs/error.log before it reads the configuration.
        stderr_option=" -e stderr" if recommended and newer else "",
        **more,
    )


_environment = Environment(
    loader=FunctionLoader(template),
    undefined=StrictUndefined,
    autoescape=False,  # noqa: S701 - neither file is HTML; `rules` lets nothing through
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
