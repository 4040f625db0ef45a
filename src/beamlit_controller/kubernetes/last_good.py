"""Stores the last good spec of each model, so that it stays in force after a restart.

It is stored in the gateway's ConfigMap, which the ModelDeployment owns. Reading it back validates it like any manifest:
anyone who can write the ConfigMap can also write the ModelDeployment, and gains nothing. A replica reads it if it sees
an invalid spec and has not seen a valid one of that model.
"""

import asyncio
import json
from collections.abc import Iterator, Mapping
from typing import Final

import structlog

from beamlit_controller.core.spec import ModelKey
from beamlit_controller.kubernetes import gateway_objects, managed_objects
from beamlit_controller.kubernetes.api_server import ApiError, ApiServer, Json
from beamlit_controller.kubernetes.models import LastGoodSpec
from beamlit_controller.kubernetes.paths import CONFIG_MAPS
from beamlit_controller.kubernetes.store import Store

log = structlog.stdlib.get_logger(__name__)

FILE: Final = "last-good-spec.json"
LARGEST: Final = 256 * 1024
"""A spec larger than this is not stored: a ConfigMap holds 1 MiB, and Envoy's files come first."""
NOT_FOUND: Final = 404
AGAIN: Final = 5.0


def config_map_data(good: LastGoodSpec | None) -> Mapping[str, str]:
    """Return the keys to add to the ConfigMap."""
    if good is None:
        return {}
    text = json.dumps({"generation": good.generation, "spec": good.spec}, sort_keys=True)
    return {FILE: text} if len(text.encode()) <= LARGEST else {}


def parse(config_map: Json, uid: str) -> LastGoodSpec | None:
    """Parse the stored spec of the model with this uid; None if there is no usable one."""
    text = (config_map.get("data") or {}).get(FILE)
    if managed_objects.owner(config_map) != uid or not isinstance(text, str) or len(text) > LARGEST:
        return None
    try:
        content = json.loads(text)
        spec, generation = content["spec"], content["generation"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return LastGoodSpec(spec, generation) if isinstance(spec, dict) and isinstance(generation, int) else None


class LastGood:
    """Reads the last good specs of rejected models. Every replica runs it, because every replica serves percentages."""

    def __init__(self, server: ApiServer, store: Store) -> None:
        self._server = server
        self._store = store

    async def run(self) -> None:
        """Read the last good spec whenever a model is rejected, until cancelled."""
        changes = self._store.changes.subscribe()
        try:
            for key in self._store.model_keys():
                changes.add(key)
            while True:
                failed = [key for key in await changes.keys() if not await self._attempt(key)]
                if failed:
                    await asyncio.sleep(AGAIN)
                for key in failed:
                    changes.add(key)
        finally:
            self._store.changes.unsubscribe(changes)

    async def _attempt(self, key: ModelKey) -> bool:
        """Try one model. An unexpected error is logged and retried; other models are not affected."""
        try:
            return await self._recall(key)
        except Exception as error:
            log.exception("last good spec not looked up", model=str(key), error=repr(error)[:200])
            return False

    async def _recall(self, key: ModelKey) -> bool:
        """Read the model's last good spec if it is needed; return False if that has to be retried."""
        model = self._store.models.models.get(key)
        if model is None or not model.awaits_last_good:
            return True
        try:
            content = await self._server.get(CONFIG_MAPS.path(key.namespace, gateway_objects.gateway_name(key)))
        except ApiError as error:
            if error.code != NOT_FOUND:
                log.warning("last good spec not read", model=str(key), code=error.code, error=error.message[:200])
                return False
            content = {"metadata": {}}
        self._store.remember(key, model.uid, next(_goods(content, model.uid), None))
        return True


def _goods(config_map: Json, uid: str) -> Iterator[LastGoodSpec]:
    try:
        good = parse(config_map, uid)
    except (KeyError, TypeError, AttributeError):
        return
    if good is not None:
        yield good
