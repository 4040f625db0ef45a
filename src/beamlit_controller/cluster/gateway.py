"""What a gateway's Envoy reads in its pod, and what the gateways' keeper is given."""

from functools import partial

from beamlit_controller.cluster.given import AUTHORITY, Cluster
from beamlit_controller.cluster.view import View
from beamlit_controller.controller.ports import Clock
from beamlit_controller.core.spec import OffloadSpec
from beamlit_controller.envoy import config, routes
from beamlit_controller.envoy.place import Place
from beamlit_controller.envoy.share_access import Tokens
from beamlit_controller.kubernetes import gateway_objects
from beamlit_controller.kubernetes.api_server import ApiServer
from beamlit_controller.kubernetes.gateway_objects import Envoy
from beamlit_controller.kubernetes.gateways import Surroundings
from beamlit_controller.kubernetes.plan import Plan
from beamlit_controller.kubernetes.reach import Question, Reach
from beamlit_controller.kubernetes.takeovers import Around, Takeovers


def surroundings(given: Cluster, view: View, tokens: Tokens) -> Surroundings:
    """Give what the keeper looks things up in."""
    return Surroundings(
        models=view.models,
        owned=view.owned,
        services=view.services,
        service=view.service,
        named_ports=view.pods.named_ports,
        render=partial(rendered, given, tokens),
        image=given.image,
        changed=view.changed,
    )


def takeovers(server: ApiServer, view: View, reach: Reach, clock: Clock) -> Takeovers:
    """Give what takes Services over."""
    return Takeovers(server, Around(view.models, view.services, reach, view.readable, clock))


QUESTION = Question(routes.REACH_PATH, routes.REACHED)
"""What a gateway is asked to learn whether it reaches the model."""


def rendered(given: Cluster, tokens: Tokens, spec: OffloadSpec, plan: Plan) -> Envoy:
    """Give what a gateway's Envoy reads in its pod."""
    anywhere = "[::]" if plan.ipv6 else "0.0.0.0"  # noqa: S104 - a pod's own addresses
    local = f"{gateway_objects.local_name(spec.key)}.{spec.key.namespace}.svc.{given.domain}."
    place = Place(
        node=str(spec.key),
        directory=gateway_objects.CONFIG_DIRECTORY,
        front=f"{anywhere}:{plan.ports.front}",
        stats=f"{anywhere}:{plan.ports.stats}",
        admin=f"unix:{gateway_objects.ADMIN_SOCKET}",
        shares=given.shares.reached_at,
        local=(f"{local}:{plan.local_port}",),
        passed=tuple((f"{anywhere}:{number}", f"{local}:{number}") for _, number in plan.ports.passed),
        by_client=plan.by_client,
        secrets=gateway_objects.SECRETS_DIRECTORY,
        mounted=True,
        gateways=spec.gateway.replicas,
        shares_ca=(given.shares.secrets / AUTHORITY).read_text(),
        shares_token=tokens.of(str(spec.key)),
    )
    return Envoy(config.files(spec, place), routes.PROBE_PATH, (routes.PROBE_HEADER, place.node))
