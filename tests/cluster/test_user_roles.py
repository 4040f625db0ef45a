"""What people may do with models by the roles that every cluster has."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kube import controllers
from kube.client import Client
from kube.control_plane import ControlPlane
from kube.rest import RestError
from waiting import patiently

MODELS = "modeldeployments.deployment.beamlit.com"
READ, WRITE = ("get", "list", "watch"), ("create", "update", "patch", "delete", "deletecollection")


@pytest.fixture(scope="module")
def installed(control_plane: ControlPlane, helm: Path) -> Iterator[Client]:
    controllers.install(control_plane.client, helm)
    yield control_plane.client
    controllers.uninstall(control_plane.client)


@pytest.mark.parametrize(("role", "allowed"), [("view", READ), ("edit", (*READ, *WRITE)), ("admin", (*READ, *WRITE))])
def test_the_clusters_own_roles_let_people_do_with_models_what_their_name_says(
    installed: Client, namespace: str, role: str, allowed: tuple[str, ...]
) -> None:
    installed.kubectl("create", "serviceaccount", "ada", "-n", namespace)
    ada = f"{namespace}:ada"
    bare = verbs(installed, ada, namespace)

    installed.kubectl(
        "create", "rolebinding", role, f"--clusterrole={role}", f"--serviceaccount={ada}", "-n", namespace
    )

    patiently(lambda: may(installed, ada, allowed[-1], namespace), within=60, what=f"{role} is given to ada")
    assert bare == ()
    assert verbs(installed, ada, namespace) == allowed
    assert verbs(installed, ada, "default") == ()
    assert may(installed, ada, "get", namespace, "--subresource=status")
    assert not may(installed, ada, "patch", namespace, "--subresource=status")


def verbs(client: Client, account: str, namespace: str) -> tuple[str, ...]:
    """Return what an account may do with models."""
    return tuple(verb for verb in (*READ, *WRITE) if may(client, account, verb, namespace))


def may(client: Client, account: str, verb: str, namespace: str, *options: str) -> bool:
    as_account = f"--as=system:serviceaccount:{account}"
    try:
        answer = client.kubectl("auth", "can-i", verb, MODELS, "-n", namespace, as_account, *options)
    except RestError as error:
        if str(error) != "no":
            raise
        return False
    return answer.strip() == "yes"
