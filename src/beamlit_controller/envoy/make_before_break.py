"""Orders the steps of a configuration change: the new one is in force before it gets requests, the old one stays until its last.

Everything that leads to a remote is named after what defines the remote, so the requested configuration can exist
beside the present one. Only the front's routes decide which of them gets requests, and they change in one step. Each
step follows from the present files, the requested files, and what the gateways report, so a new controller continues
where the last one stopped.
"""

import json
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial

from beamlit_controller.core.gateway_config import ConfigInForce, ConfigStep, Files
from beamlit_controller.envoy import config_stats, failover, resources, routes
from beamlit_controller.envoy.identity import NAMED
from beamlit_controller.envoy.messages import Message

CLUSTERS, LISTENERS, FRONT = "cds.json", "lds.json", f"rds-{routes.FRONT}.json"
CHAINS = (failover.LOCAL_ONLY, failover.LOCAL_FIRST, failover.REMOTE_FIRST)
_CHAINS = tuple(re.compile(rf"{kind}_[0-9a-f]{{12}}\b") for kind in CHAINS)
"""One pattern per kind: a pattern that begins with fixed text is matched many times faster than an alternation."""
OWN = ("rds-", "sds-")
MOST_LEAVING = 4
"""Maximum number of old remotes, and of old chains of each kind, that stay: a ConfigMap holds 1 MiB. The oldest are removed first."""


@dataclass(frozen=True, slots=True)
class _Config:
    """Clusters and listeners by name, and the text of all files."""

    files: Files
    clusters: dict[str, Message]
    listeners: dict[str, Message]

    @property
    def names(self) -> list[str]:
        """Return the names that are derived from content."""
        return [name for name in (*self.clusters, *self.listeners) if NAMED.fullmatch(name)]

    @property
    def chains(self) -> dict[str, Message]:
        """Return the first chain of each kind, which is the requested one."""
        named = {_kind(name): content for name, content in reversed(self.clusters.items())}
        return {kind: named[kind] for kind in CHAINS if kind in named}

    @property
    def remotes(self) -> list[str]:
        """Return the ids of the remotes, in order, each once."""
        return list(dict.fromkeys(_id(name) for name in self.names if _kind(name) not in CHAINS))


def next_step(present: Files, requested: Files, seen: Sequence[ConfigInForce]) -> ConfigStep:
    """Return the files to give next. `seen` is the report of each gateway that has the present ones."""
    if present == requested:
        return ConfigStep(requested, settled=_in_force(present, seen))
    try:
        before, after = _parsed(present), _parsed(requested)
    except (KeyError, ValueError):
        return ConfigStep(requested, settled=True)  # there are no present files, or no usable ones
    return _followed(before, after, seen)


def _followed(before: _Config, after: _Config, seen: Sequence[ConfigInForce]) -> ConfigStep:
    is_there = _in_force(before.files, seen) and _has(before, after)
    is_same = _chains_in(after.files[FRONT]) <= _chains_in(before.files[FRONT])
    front = (after if is_there or is_same else before).files[FRONT]
    switched = is_there and before.files[FRONT] == front
    busy = {each for one in seen for each in one.busy} if switched else before.remotes
    leaving = _leaving(before, after, needed=_remotes_of(before), busy=busy)
    chains = _old_chains(before, after, switched=switched)
    stays = partial(_stays, leaving=leaving, switched=switched)
    files = {**_files(before, after, stays, chains), FRONT: front}
    return ConfigStep(files, settled=switched and not leaving and files == dict(before.files))


def _in_force(files: Files, seen: Sequence[ConfigInForce]) -> bool:
    return all(not each.warming and not config_stats.missing(files, each) for each in seen)


def _has(before: _Config, after: _Config) -> bool:
    """Return whether everything requested is present. A chain kept from before may lead elsewhere by now."""
    chains = {name: content for name, content in after.clusters.items() if _kind(name) in CHAINS}
    return set(after.names) <= set(before.names) and all(
        before.clusters.get(name) == content for name, content in chains.items()
    )


def _leaving(before: _Config, after: _Config, *, needed: Collection[str], busy: Collection[str]) -> list[str]:
    """Return the remotes that are no longer requested but have to stay for now, newest first."""
    leaving = [each for each in before.remotes if each not in after.remotes and each in busy]
    newest = leaving[:MOST_LEAVING]
    return [each for each in leaving if each in newest or each in needed]


def _old_chains(before: _Config, after: _Config, *, switched: bool) -> list[Message]:
    """Return the chains that are no longer requested. Requests that began under the old routes may still use them.

    Once the new routes are in force, the old chains lead to the same servers as the new ones.
    """
    in_use = _chains_in(before.files[FRONT])
    found: list[Message] = []
    for kind, now in after.chains.items():
        old = [name for name in before.clusters if _kind(name) == kind and name not in after.clusters]
        kept = sorted(old, key=lambda name: name not in in_use)[:MOST_LEAVING]
        found += [{**now, "name": name} if switched else before.clusters[name] for name in kept]
    return found


def _files(before: _Config, after: _Config, stays: Callable[[str], bool], chains: Sequence[Message]) -> dict[str, str]:
    """Return the requested files together with what has to stay, in the order to write them."""
    texts = {
        name: text for name, text in before.files.items() if name[:4] in OWN and name not in after.files and stays(name)
    }
    clusters = [each for name, each in before.clusters.items() if name not in after.clusters and stays(name)]
    # A port is released immediately, because another listener may be waiting for it.
    internal = {name: each for name, each in before.listeners.items() if "internal_listener" in each}
    listeners = [each for name, each in internal.items() if name not in after.listeners and stays(name)]
    files = {**after.files, **texts}
    merged = {
        CLUSTERS: _with(files.pop(CLUSTERS), [*after.clusters.values()], [*clusters, *chains]),
        **{name: files.pop(name) for name in tuple(files) if name.startswith("rds-")},
        LISTENERS: _with(files.pop(LISTENERS), [*after.listeners.values()], listeners),
    }
    return {**files, **merged}


def _with(text: str, asked_for: list[Message], others: list[Message]) -> str:
    return resources.text([*asked_for, *others]) if others else text


def _parsed(files: Files) -> _Config:
    """Parse the files, which somebody may have edited. Raises KeyError and ValueError."""
    read = {
        name: resources.read(text) for name, text in files.items() if name in (CLUSTERS, LISTENERS) or name[:4] in OWN
    }
    clusters, listeners = ({str(each["name"]): each for each in read[name]} for name in (CLUSTERS, LISTENERS))
    return _Config({FRONT: files[FRONT], **files}, clusters, listeners)


def _remotes_of(config: _Config) -> set[str]:
    """Return the remotes that the front's routes lead to."""
    chains = (config.clusters[name] for name in _chains_in(config.files[FRONT]) if name in config.clusters)
    members = (found for chain in chains for found in NAMED.finditer(json.dumps(chain)))
    return {found["id"] for found in members if found["kind"] not in CHAINS}


def _chains_in(text: str) -> set[str]:
    return {found for chain in _CHAINS for found in chain.findall(text)}


def _stays(name: str, *, leaving: Collection[str], switched: bool) -> bool:
    """Return whether a resource that is not requested has to stay for now."""
    found = NAMED.search(name)
    if found is None:
        return not switched
    return found["kind"] not in CHAINS and found["id"] in leaving


def _kind(name: str) -> str:
    found = NAMED.fullmatch(name)
    return found["kind"] if found else ""


def _id(name: str) -> str:
    found = NAMED.fullmatch(name)
    return found["id"] if found else ""
