"""What the server fills in, drops and refuses."""

from beamlit_controller.kubernetes.api_server import Json
from beamlit_controller.kubernetes.paths import DEPLOYMENTS, MODEL_DEPLOYMENTS, SERVICES
from fakes.semantics.world import CONTAINER, GOOD, INVALID, MODEL, Play, World, refusal

_UNCHECKED = (
    "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation"
)


async def _status_limits(world: World) -> object:
    await world.create(MODEL_DEPLOYMENTS)
    condition = {"type": "Ready", "status": "True", "reason": "R", "message": "m"}
    bad: list[Json] = [
        {"model": "m" * 1025},
        {"conditions": [{**condition, "status": "Perhaps"}]},
        {"conditions": [{**condition, "message": "m" * 32769}]},
        {"conditions": [{"type": "Ready"}]},
        {"observedGeneration": -1},
        {"observedGeneration": "1"},
        {"offloading": {"percentage": 101, "reason": "R", "message": "m", "since": "2026-01-01T00:00:00Z"}},
        {"offloading": {"percentage": 1, "reason": "R", "message": "m", "since": "yesterday"}},
        {"conditions": [condition, condition]},
    ]
    return [await refusal(world, world.merge(MODEL_DEPLOYMENTS, {"status": each}, "status")) for each in bad]


async def _unknown_fields(world: World) -> object:
    await world.create(MODEL_DEPLOYMENTS)
    status = {"status": {"unknown": 1, "model": "m"}}
    return (await world.merge(MODEL_DEPLOYMENTS, status, "status"))["status"]


async def _bad_spec(world: World) -> object:
    config = GOOD[MODEL_DEPLOYMENTS]["spec"]["offloadingConfig"]
    specs = ({"offloadingConfig": {**config, "behavior": {"percentage": 101}}}, {"gateway": {"replicas": "two"}}, None)
    return [(await refusal(world, world.create(MODEL_DEPLOYMENTS, spec=each)))[:2] for each in specs]


async def _model_defaults(world: World) -> object:
    config = GOOD[MODEL_DEPLOYMENTS]["spec"]["offloadingConfig"]
    spec = {"offloadingConfig": {**config, "behavior": {}}, "gateway": {}, "routing": {}}
    found = (await world.create(MODEL_DEPLOYMENTS, spec=spec))["spec"]
    return found["gateway"]["replicas"], found["routing"]["mode"], found["offloadingConfig"]["behavior"]["percentage"]


async def _service_defaults(world: World) -> object:
    spec = (await world.create(SERVICES))["spec"]
    assert spec.pop("clusterIP") == spec.pop("clusterIPs")[0]
    return spec


async def _deployment_defaults(world: World) -> object:
    spec = dict(GOOD[DEPLOYMENTS]["spec"])
    container = {**CONTAINER, "ports": [{"containerPort": 80}], "volumeMounts": []}
    spec["template"] = {
        "metadata": {"labels": {"app": "a"}},
        "spec": {"containers": [container], "imagePullSecrets": []},
    }
    return (await world.create(DEPLOYMENTS, spec=spec))["spec"]


async def _immutable(world: World) -> object:
    await world.create(DEPLOYMENTS)
    labels = {"app": "b"}
    change = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}}}
    return (await refusal(world, world.merge(DEPLOYMENTS, {"spec": change})))[:2]


async def _selector_and_template(world: World) -> object:
    spec = {**GOOD[DEPLOYMENTS]["spec"], "selector": {"matchLabels": {"app": "b"}}}
    return (await refusal(world, world.create(DEPLOYMENTS, spec=spec)))[:2]


def _limited(why: str) -> tuple[int, str, str]:
    return 422, "Invalid", f'{MODEL} "a" is invalid: {f"[{why}]" if _UNCHECKED in why or "," in why else why}'


TABLE = (
    Play(
        "a status keeps to its limits",
        _status_limits,
        [
            _limited(f"status.model: Too long: may not be more than # bytes, {_UNCHECKED}"),
            _limited(
                'status.conditions[0].status: Unsupported value: "Perhaps": '
                f'supported values: "True", "False", "Unknown", {_UNCHECKED}'
            ),
            _limited(f"status.conditions[0].message: Too long: may not be more than # bytes, {_UNCHECKED}"),
            _limited(
                "status.conditions[0].status: Required value, status.conditions[0].reason: Required value, "
                f"status.conditions[0].message: Required value, {_UNCHECKED}"
            ),
            _limited(
                "status.observedGeneration: Invalid value: -1: observedGeneration in body should be greater than or equal to 0"
            ),
            _limited(
                'status.observedGeneration: Invalid value: "string": '
                f'observedGeneration in body must be of type integer: "string", {_UNCHECKED}'
            ),
            _limited(
                "status.offloading.percentage: Invalid value: #: "
                "offloading.percentage in body should be less than or equal to #"
            ),
            _limited(
                'status.offloading.since: Invalid value: "yesterday": '
                f'offloading.since in body must be of type date-time: "yesterday", {_UNCHECKED}'
            ),
            _limited('status.conditions[1]: Duplicate value: {"type":"Ready"}'),
        ],
    ),
    Play("an unknown field is dropped", _unknown_fields, {"model": "m", "observedGeneration": 0}),
    Play("a spec keeps to its limits", _bad_spec, [INVALID] * 3),
    Play("a model has defaults", _model_defaults, (2, "Takeover", 100)),
    Play(
        "a Service has defaults",
        _service_defaults,
        {
            "internalTrafficPolicy": "Cluster",
            "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
            "selector": {"app": "a"},
            "sessionAffinity": "None",
            "type": "ClusterIP",
        },
    ),
    Play(
        "a Deployment has defaults",
        _deployment_defaults,
        {
            "progressDeadlineSeconds": 600,
            "replicas": 0,
            "revisionHistoryLimit": 10,
            "selector": {"matchLabels": {"app": "a"}},
            "strategy": {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}, "type": "RollingUpdate"},
            "template": {
                "metadata": {"labels": {"app": "a"}},
                "spec": {
                    "containers": [
                        {
                            "image": "i",
                            "imagePullPolicy": "Always",
                            "name": "c",
                            "ports": [{"containerPort": 80, "protocol": "TCP"}],
                            "resources": {},
                            "terminationMessagePath": "/dev/termination-log",
                            "terminationMessagePolicy": "File",
                        }
                    ],
                    "dnsPolicy": "ClusterFirst",
                    "restartPolicy": "Always",
                    "schedulerName": "default-scheduler",
                    "securityContext": {},
                    "terminationGracePeriodSeconds": 30,
                },
            },
        },
    ),
    Play("a Deployment's selector stays", _immutable, INVALID),
    Play("a Deployment selects its own pods", _selector_and_template, INVALID),
)
