"""The chart through the real helm: what it installs, what it refuses, and that what is rendered of it is up to date."""

import copy
import json
import re
import shutil
import subprocess
import textwrap
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from tools import chart as rendering
from tools import dashboards

from absence import missing
from beamlit_controller.api import settings
from beamlit_controller.api.settings import Settings
from beamlit_controller.wiring.cluster_options import LEASE
from kube.control_plane import ControlPlane

Json = dict[str, Any]

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "chart"
KUBERNETES = "--kube-version=1.36.0"
SYSTEM = "beamlit-system"
ALL = {
    name: {"enabled": True}
    for name in (
        "admissionPolicies",
        "networkPolicy",
        "serviceMonitor",
        "podMonitor",
        "prometheusRule",
        "podDisruptionBudget",
        "dashboards",
    )
}
USERS = yaml.safe_load((ROOT / "tests" / "api" / "data" / "page-settings.yaml").read_text())


def run(
    helm: Path, command: str, values: Json | None = None, *, name: str = "beamlit-controller", namespace: str = SYSTEM
) -> subprocess.CompletedProcess[str]:
    named = [name] if command == "template" else []
    return subprocess.run(
        [helm, command, *named, CHART, KUBERNETES, f"--namespace={namespace}", "--values=-"],
        input=json.dumps(values or {}),
        capture_output=True,
        text=True,
        check=False,
    )


def template(
    helm: Path, values: Json | None = None, *, name: str = "beamlit-controller", namespace: str = SYSTEM
) -> list[Json]:
    return copy.deepcopy(_rendered(helm, json.dumps(values or {}), name, namespace))


@cache
def _rendered(helm: Path, values: str, name: str, namespace: str) -> list[Json]:
    done = run(helm, "template", json.loads(values), name=name, namespace=namespace)
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.load_all(done.stdout, yaml.CSafeLoader) if each]


def of(kind: str, objects: list[Json]) -> list[Json]:
    return [each for each in objects if each["kind"] == kind]


def pods(objects: list[Json]) -> list[Json]:
    return [each["spec"]["template"]["spec"] for each in objects if each["kind"] in {"Deployment", "Job"}]


def rules(objects: list[Json]) -> list[Json]:
    return [rule for each in objects if each["kind"] in {"Role", "ClusterRole"} for rule in each["rules"]]


@pytest.mark.parametrize("name", rendering.render_all())
def test_what_is_rendered_is_up_to_date(name: str) -> None:
    assert (ROOT / name).read_text() == rendering.render_all()[name], "make render"


def test_helm_finds_nothing_to_complain_of(helm: Path) -> None:
    done = run(helm, "lint", ALL)

    assert done.returncode == 0, done.stdout


def test_the_users_values_are_the_settings_as_they_stand(helm: Path) -> None:
    (config,) = of("ConfigMap", template(helm, USERS))

    settings = yaml.safe_load(config["data"]["settings.yaml"])["config"]

    assert settings["metricInformer"] == USERS["config"]["metricInformer"]


def apart(**term: object) -> Json:
    """Return an affinity by which a pod does not run beside another."""
    terms = [{"topologyKey": "kubernetes.io/hostname", **term}]
    return {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}


MEMORY = {"containerName": "controller", "resource": "limits.memory"}


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"replica": 1}, "replica"),
        ({"image": {"repo": "x"}}, "repo"),
        ({"config": {"metricInformer": {"typ": "prometheus"}}}, "typ"),
        ({"config": {"metricInformer": {"type": "graphite"}}}, "type"),
        ({"config": {"metricInformer": {"type": "prometheus", "prometheus": {"adress": "a:1"}}}}, "adress"),
        ({"config": {"gateway": {"tolerations": [{"key": "a", "efect": "NoSchedule"}]}}}, "efect"),
        ({"config": {"gateway": {"nodeSelector": {"gpu": True}}}}, "gpu"),
        ({"image": {"pullPolicy": "Sometimes"}}, "pullPolicy"),
        ({"image": {"digest": "latest"}}, "digest"),
        ({"replicas": "two"}, "replicas"),
        ({"resources": {"request": {"cpu": "1"}}}, "request"),
        ({"tolerations": [{"key": "gpu", "operater": "Exists"}]}, "operater"),
        ({"tolerations": [{"key": "gpu", "effect": "NoSchedul"}]}, "effect"),
        ({"affinity": {"nodeAffinty": {}}}, "nodeAffinty"),
        ({"affinity": {"podAntiAffinity": {"required": []}}}, "required"),
        ({"nodeSelector": {"gpu": True}}, "nodeSelector"),
        ({"imagePullSecrets": ["registry"]}, "imagePullSecrets"),
        ({"extraEnv": [{"name": "A", "valueOf": {}}]}, "valueOf"),
        ({"extraEnv": [{"value": "a"}]}, "name"),
        ({"extraVolumeMounts": [{"name": "a", "mountPath": "/a", "readonly": True}]}, "readonly"),
        ({"podLabels": {"a": 1}}, "podLabels"),
        ({"podLabels": {"a": "no value"}}, "podLabels"),
        ({"release": {"podLabels": {"a..b/c": "d"}}}, "podLabels"),
        ({"podAnnotations": {"a b": "c"}}, "podAnnotations"),
        ({"tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]}, "tolerations"),
        ({"config": {"gateway": {"tolerations": [{"key": "a", "tolerationSeconds": 1}]}}}, "tolerations"),
        ({"config": {"gateway": {"affinity": apart(labelSelectr={})}}}, "labelSelectr"),
        ({"affinity": apart(labelSelector={"matchExpressions": [{"key": "a", "operator": "In"}]})}, "values"),
        ({"extraEnv": [{"name": "A", "valueFrom": {"resourceFieldRef": MEMORY}}]}, "containerName"),
        ({"release": None}, "release"),
        ({"config": None}, "config"),
        ({"config": {"metricInformer": {"type": "prometheus"}}}, "prometheus"),
        ({"config": {"namespaces": ["a", "a"]}}, "namespaces"),
        ({"config": {"standalone": {"listen": "127.0.0.1:8080"}}}, "standalone"),
    ],
    ids=str,
)
def test_a_value_that_is_not_known_or_not_right_is_refused_by_name(helm: Path, values: Json, word: str) -> None:
    done = run(helm, "template", values)

    assert done.returncode != 0
    assert word in done.stderr


@pytest.mark.parametrize(
    "path",
    [
        "podLabels",
        "release.podLabels",
        "serviceMonitor.labels",
        "podMonitor.labels",
        "dashboards.labels",
        "prometheusRule.labels",
    ],
)
def test_a_label_that_the_chart_sets_is_refused(helm: Path, path: str) -> None:
    """In `podLabels` it took the pods away from the Deployment's and the Service's selector."""
    (deployment,) = of("Deployment", template(helm))
    for label in deployment["metadata"]["labels"]:
        values: Json = {label: "x"}
        for name in reversed(path.split(".")):
            values = {name: values}

        assert f"{path}: expected labels that the chart does not set itself, got {label}" in (
            run(helm, "template", values).stderr
        )


def test_the_annotation_that_restarts_the_pods_is_the_charts(helm: Path) -> None:
    done = run(helm, "template", {"podAnnotations": {"checksum/config": "x"}})

    assert "podAnnotations: expected annotations that the chart does not set itself, got checksum/config" in done.stderr


def test_a_variable_that_the_chart_sets_or_that_is_given_twice_is_refused(helm: Path) -> None:
    values = {"clusterDomain": "example.org", "extraEnv": [{"name": "A", "value": "a"}]}
    (deployment,) = of("Deployment", template(helm, values))
    names = [each["name"] for each in deployment["spec"]["template"]["spec"]["containers"][0]["env"]]

    assert "CLUSTER_DOMAIN" in names
    for name in (*names, "SHARES_ADDRESS"):
        added = [*values["extraEnv"], {"name": name, "value": "b"}]
        assert f"extraEnv: expected each variable once, and none that the chart sets itself, got {name}" in (
            run(helm, "template", {**values, "extraEnv": added}).stderr
        )


def test_a_value_of_null_is_none(helm: Path) -> None:
    nothing = dict.fromkeys(("podLabels", "podAnnotations", "extraEnv", "tolerations", "affinity"))

    values: Json = {**nothing, "release": {"podLabels": None, "podAnnotations": None}, "dashboards": {"labels": None}}
    assert of("Deployment", template(helm, values))


def test_several_replicas_without_an_election_are_refused(helm: Path) -> None:
    alone = {"config": {"enableLeaderElection": False}}

    assert "enableLeaderElection" in run(helm, "template", {**alone, "replicas": 2}).stderr
    assert run(helm, "template", {**alone, "replicas": 1}).returncode == 0


@pytest.mark.parametrize(("elects", "strategy"), [(True, "RollingUpdate"), (False, "Recreate")])
def test_without_an_election_the_old_replica_ends_before_a_new_one_starts(
    helm: Path, *, elects: bool, strategy: str
) -> None:
    """A new one decided beside the old one."""
    (deployment,) = of("Deployment", template(helm, {"config": {"enableLeaderElection": elects}, "replicas": 1}))

    assert deployment["spec"]["strategy"]["type"] == strategy
    assert ("rollingUpdate" in deployment["spec"]["strategy"]) == elects


def test_all_pods_are_restricted(helm: Path) -> None:
    for pod in pods(template(helm, ALL)):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False
            assert security["readOnlyRootFilesystem"] is True
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert {"requests", "limits"} <= container["resources"].keys()


@pytest.mark.parametrize("fixed", [True, False], ids=str)
def test_one_setting_has_the_cluster_assign_the_user_of_every_pod(
    helm: Path,
    fixed: bool,  # noqa: FBT001 - a case
) -> None:
    """OpenShift refuses pods with a user or group outside of their namespace's own range."""
    objects = template(helm, {**ALL, "config": {"runAsFixedUser": fixed}})

    ids = dict.fromkeys(("runAsUser", "runAsGroup", "fsGroup"), 65532) if fixed else {}
    for pod in pods(objects):
        assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}, **ids}
    (config,) = [each for each in of("ConfigMap", objects) if "settings.yaml" in each["data"]]
    read = settings.parse(config["data"]["settings.yaml"])
    assert isinstance(read, Settings)
    assert read.gateway_pods.fixed_user is fixed


PLACED: Json = {
    "nodeSelector": {"example.com/pool": "edge"},
    "tolerations": [{"operator": "Exists"}],
    "affinity": {
        "podAntiAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 1, "podAffinityTerm": {"topologyKey": "topology.kubernetes.io/zone"}}
            ]
        }
    },
    "priorityClassName": "serving",
    "imagePullSecrets": [{"name": "registry"}],
}


def test_what_is_set_for_gateways_reaches_the_controller_and_not_its_own_pods(helm: Path) -> None:
    objects = template(helm, {"config": {"gateway": PLACED}})

    (config,) = of("ConfigMap", objects)
    assert yaml.safe_load(config["data"]["settings.yaml"])["config"]["gateway"] == PLACED
    assert not [name for pod in pods(objects) for name in PLACED if name in pod]


def test_the_dashboards_come_as_they_are_rendered_with_the_label_that_grafana_looks_for(helm: Path) -> None:
    given = {"dashboards": {"enabled": True, "labels": {"team": "search"}}}
    found = [each for each in template(helm, given) if "grafana_dashboard" in each["metadata"].get("labels", {})]

    assert {name: text for each in found for name, text in each["data"].items()} == {
        path.rpartition("/")[2]: text.rstrip("\n") for path, text in dashboards.render_all().items()
    }
    assert all(each["metadata"]["labels"]["team"] == "search" for each in found)


def test_what_is_committed_of_the_dashboards_is_what_is_rendered() -> None:
    for path, text in dashboards.render_all().items():
        assert (ROOT / path).read_text(encoding="utf-8") == text


def test_no_right_reads_a_secret_or_everything(helm: Path) -> None:
    for rule in rules(template(helm, ALL)):
        assert "secrets" not in rule["resources"]
        assert "*" not in rule["verbs"]
        if "*" in rule["apiGroups"]:
            assert (rule["resources"], rule["verbs"]) == (["*/scale"], ["get"])
        if "*" in rule["resources"]:
            assert rule["apiGroups"][0].endswith(".metrics.k8s.io")


def test_admission_policies_are_about_the_charts_own_accounts_and_may_be_left_out(helm: Path) -> None:
    objects = template(helm, ALL)

    policies = of("ValidatingAdmissionPolicy", objects)
    accounts = [
        f"system:serviceaccount:beamlit-system:{name}" for name in ("beamlit-controller", "beamlit-controller-release")
    ]
    for policy in policies:
        (condition,) = policy["spec"]["matchConditions"]
        assert condition["expression"] == f"request.userInfo.username in {accounts}"
    bound = {each["spec"]["policyName"] for each in of("ValidatingAdmissionPolicyBinding", objects)}
    assert bound == {each["metadata"]["name"] for each in policies} != set()
    assert of("ValidatingAdmissionPolicy", template(helm, {"admissionPolicies": {"enabled": False}})) == []


def test_a_right_to_change_an_object_is_narrowed_by_an_admission_policy(helm: Path) -> None:
    objects = template(helm, ALL)
    (granted,) = [each for each in of("ClusterRole", objects) if each["metadata"]["name"].endswith("-models")]

    changed = {
        resource
        for rule in granted["rules"]
        for resource in rule["resources"]
        if "patch" in rule["verbs"] and not resource.endswith("/status")
    }
    narrowed = {
        resource
        for policy in of("ValidatingAdmissionPolicy", objects)
        for rule in policy["spec"]["matchConstraints"]["resourceRules"]
        for resource in rule["resources"]
    }

    assert changed == narrowed


def test_no_right_touches_service_accounts(helm: Path) -> None:
    assert not [rule for rule in rules(template(helm, ALL)) if "serviceaccounts" in rule["resources"]]


def test_every_right_says_what_needs_it() -> None:
    texts = [
        (CHART / "templates" / name).read_text()
        for name in ("_helpers.tpl", "rbac.yaml", "release.yaml", "userroles.yaml")
    ]

    for text in texts:
        for before in re.findall(r"(.*)\n *- apiGroups:", text):
            assert before.strip().startswith("#"), before


AGGREGATE = "rbac.authorization.k8s.io/aggregate-to-"
READ, WRITE = {"get", "list", "watch"}, {"create", "update", "patch", "delete", "deletecollection"}


@pytest.mark.parametrize(("role", "verbs"), [("view", READ), ("edit", READ | WRITE), ("admin", READ | WRITE)])
def test_the_clusters_own_roles_get_what_their_name_says_of_models(helm: Path, role: str, verbs: set[str]) -> None:
    (found,) = [each for each in user_roles(template(helm)) if f"{AGGREGATE}{role}" in each["metadata"]["labels"]]

    granted = {(resource, verb) for rule in found["rules"] for resource in rule["resources"] for verb in rule["verbs"]}
    models = {("modeldeployments", verb) for verb in verbs}
    assert granted == models | {("modeldeployments/status", verb) for verb in READ}
    assert {group for rule in found["rules"] for group in rule["apiGroups"]} == {"deployment.beamlit.com"}
    assert found["metadata"]["name"] == f"beamlit-controller-{role}"


@pytest.mark.parametrize("values", [{"userRoles": {"enabled": False}}, {"config": {"namespaces": ["models"]}}], ids=str)
def test_without_user_roles_the_clusters_own_stay_as_they_are(helm: Path, values: Json) -> None:
    assert user_roles(template(helm, values)) == []


def user_roles(objects: list[Json]) -> list[Json]:
    return [each for each in of("ClusterRole", objects) if AGGREGATE in str(each["metadata"]["labels"])]


def test_limited_to_namespaces_nothing_is_granted_elsewhere(helm: Path) -> None:
    objects = template(helm, {"config": {"namespaces": ["one", "two"]}})

    assert of("ClusterRole", objects) == of("ClusterRoleBinding", objects) == []
    assert {each["metadata"]["namespace"] for each in of("Role", objects)} == {"beamlit-system", "one", "two"}
    assert {each["metadata"]["namespace"] for each in of("RoleBinding", objects)} == {"beamlit-system", "one", "two"}


RELEASES = [("ours", "one"), ("ours", "two"), ("theirs", "one"), ("r" * 53, "n" * 63)]
"""Names and namespaces of releases in one cluster; the last are as long as Helm and Kubernetes allow."""


def test_releases_of_the_same_name_or_in_the_same_namespace_share_no_object(helm: Path) -> None:
    """Two of one name had the same admission policies, so the second could not be installed."""
    named = [
        (each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"])
        for index, (name, namespace) in enumerate(RELEASES)
        for each in template(helm, _disjoint(index), name=name, namespace=namespace)
    ]

    assert len(named) == len(set(named))
    assert max(len(name) for _, _, name in named) <= 253


def test_a_release_has_a_lease_of_its_own_and_rights_to_that_alone(helm: Path) -> None:
    """All releases in a namespace had one Lease, so one of them never had a leader."""
    for index, (name, namespace) in enumerate(RELEASES):
        objects = template(helm, _disjoint(index), name=name, namespace=namespace)
        (deployment,) = of("Deployment", objects)
        lease = deployment["metadata"]["name"]

        started = [container["args"] for pod in pods(objects) for container in pod["containers"]]
        granted = [rule for rule in rules(objects) if rule["resources"] == ["leases"] and rule["verbs"] != ["create"]]
        assert [f"--lease={lease}" in each for each in started] == [True, True]
        assert [rule.get("resourceNames") for rule in granted] == [[lease], [lease]]
        assert [rule["verbs"] for rule in granted] == [["get", "update"], ["get", "update", "delete"]]
        # By this `kubectl offload` finds a controller without an election.
        assert deployment["spec"]["template"]["spec"]["serviceAccountName"] == lease


def test_a_release_of_the_usual_name_has_the_lease_that_the_commands_assume(helm: Path) -> None:
    (deployment,) = of("Deployment", template(helm))

    assert deployment["metadata"]["name"] == LEASE


def _disjoint(index: int) -> Json:
    return {**ALL, "config": {"namespaces": [f"models-{index}"]}, "crds": {"enabled": False}}


def test_the_resource_stays_when_the_chart_goes_and_may_be_left_out(helm: Path) -> None:
    (definition,) = of("CustomResourceDefinition", template(helm))

    assert definition["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert of("CustomResourceDefinition", template(helm, {"crds": {"enabled": False}})) == []


def test_everything_is_given_back_before_the_controller_goes(helm: Path) -> None:
    (job,) = of("Job", template(helm))

    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-delete"
    assert job["spec"]["template"]["spec"]["containers"][0]["args"][0] == "release"
    assert of("Job", template(helm, {"release": {"enabled": False}})) == []


def test_the_pod_that_gives_everything_back_gets_what_the_controllers_pods_get(helm: Path) -> None:
    """Without the affinity, the labels and the variables of the controller's pods, it was refused or stayed pending."""
    terms = [{"matchExpressions": [{"key": "pool", "operator": "In", "values": ["system"]}]}]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    values = {
        "imagePullSecrets": [{"name": "registry"}],
        "nodeSelector": {"pool": "system"},
        "tolerations": [{"key": "system", "operator": "Exists"}],
        "affinity": {"nodeAffinity": required, **apart(labelSelector={"matchLabels": CONTROLLERS})},
        "podLabels": {"team": "search"},
        "podAnnotations": {"example.com/cost": "search"},
        "extraEnv": [{"name": "TZ", "value": "Europe/Paris"}],
        "logLevel": "debug",
    }

    (job,) = of("Job", template(helm, values))

    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    for name in ("imagePullSecrets", "nodeSelector", "tolerations"):
        assert pod[name] == values[name]
    assert pod["affinity"] == {"nodeAffinity": required}
    assert job["spec"]["template"]["metadata"]["labels"].items() >= {"team": "search"}.items()
    assert job["spec"]["template"]["metadata"]["annotations"].items() >= {"example.com/cost": "search"}.items()
    assert values["extraEnv"][0] in container["env"]
    assert "--log-level=debug" in container["args"]


def test_nothing_of_the_controllers_pods_keeps_the_job_that_stops_them_from_starting(helm: Path) -> None:
    """It was never scheduled if a pod of the controller was on every node, or held the only copy of a volume."""
    beside = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": CONTROLLERS}}
    near = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [beside]}}
    volumes = {
        "extraVolumes": [{"name": "certificates", "persistentVolumeClaim": {"claimName": "certificates"}}],
        "extraVolumeMounts": [{"name": "certificates", "mountPath": "/etc/certificates"}],
    }

    for affinity in (near, apart(labelSelector={"matchLabels": CONTROLLERS})):
        (job,) = of("Job", template(helm, {"affinity": affinity, **volumes}))

        pod = job["spec"]["template"]["spec"]
        assert "affinity" not in pod
        assert [each["name"] for each in pod["volumes"]] == ["config"]


CONTROLLERS = {"app.kubernetes.io/name": "beamlit-controller"}


@pytest.mark.parametrize("namespace", ["123", "null", "on", "1e3"])
def test_a_namespace_may_have_any_name(helm: Path, namespace: str) -> None:
    """The Role for a namespace called null was created in the controller's own."""
    objects = template(helm, {"config": {"namespaces": [namespace]}}, name=f"{namespace}", namespace=namespace)

    places = [each["metadata"]["namespace"] for each in objects if "namespace" in each["metadata"]]
    subjects = [subject["namespace"] for each in objects for subject in each.get("subjects", ())]
    assert set(places) == set(subjects) == {namespace}
    assert {each["metadata"]["labels"]["app.kubernetes.io/instance"] for each in of("Role", objects)} == {namespace}


def test_a_parent_chart_may_install_it_on_a_condition(helm: Path) -> None:
    passed_on = template(helm, {"enabled": True, "global": {"imageRegistry": "registry.example.com"}})

    assert [each["metadata"]["name"] for each in passed_on] == [each["metadata"]["name"] for each in template(helm)]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"extraVolumes": [{"name": "config", "emptyDir": {}}]},
            "extraVolumes: expected names that the chart does not use itself, got config",
        ),
        (
            {"extraVolumeMounts": [{"name": "a", "mountPath": "/etc/shares/"}]},
            "extraVolumeMounts: expected paths that the chart does not use itself, got /etc/shares/",
        ),
    ],
    ids=str,
)
def test_a_volume_that_the_chart_has_is_refused(helm: Path, values: Json, message: str) -> None:
    assert message in run(helm, "template", values).stderr


def test_no_mesh_keeps_the_job_from_completing_unless_asked_for(helm: Path) -> None:
    """A sidecar that is no native one runs on after the command has ended, so the Job never completed."""
    injected = {"sidecar.istio.io/inject": "true"}

    def labels(values: Json) -> Json:
        (job,) = of("Job", template(helm, values))
        return job["spec"]["template"]["metadata"]["labels"]

    (job,) = of("Job", template(helm))
    assert labels({})["sidecar.istio.io/inject"] == "false"
    assert job["spec"]["template"]["metadata"]["annotations"] == {"linkerd.io/inject": "disabled"}
    assert labels({"podLabels": injected})["sidecar.istio.io/inject"] == "false"
    assert labels({"release": {"podLabels": injected}})["sidecar.istio.io/inject"] == "true"


def test_an_image_by_digest_is_the_image_of_all_pods_and_of_the_gateways(helm: Path) -> None:
    digest = f"sha256:{'0a' * 32}"

    objects = template(helm, {"image": {"repository": "example.com/it", "tag": "1", "digest": digest}})

    containers = [each for pod in pods(objects) for each in pod["containers"]]
    named = [each["value"] for one in containers for each in one.get("env", ()) if each["name"] == "GATEWAY_IMAGE"]
    assert {each["image"] for each in containers} == {f"example.com/it:1@{digest}"}
    assert named == [f"example.com/it:1@{digest}"]


def test_what_is_said_after_an_installation_holds_after_an_upgrade_too(helm: Path, tmp_path: Path) -> None:
    """It said that no request leaves before a ModelDeployment is created, but kept ones offloaded at once."""
    said = notes(helm, tmp_path, {})

    assert "take effect at once" in said
    assert "until you create" not in said


def test_a_prometheus_that_is_not_used_is_pointed_out_after_an_installation(helm: Path, tmp_path: Path) -> None:
    prometheus = {"prometheus": {"address": "my-local-prom:9090"}}
    remark = "config.metricInformer.prometheus has no effect with type kubernetes"

    assert remark in notes(helm, tmp_path, {"config": {"metricInformer": prometheus}})
    assert remark not in notes(helm, tmp_path, USERS)
    assert remark not in notes(helm, tmp_path, {})


def notes(helm: Path, folder: Path, values: Json) -> str:
    """Render the notes as a template like any other: `helm template` leaves NOTES.txt out, and an installation needs a cluster."""
    copied = shutil.copytree(CHART, folder / "chart", dirs_exist_ok=True)
    text = (copied / "templates" / "NOTES.txt").read_text()
    (copied / "templates" / "notes.yaml").write_text(f"notes: |\n{textwrap.indent(text, '  ')}")
    done = subprocess.run(
        [helm, "template", "beamlit-controller", copied, KUBERNETES, "--show-only=templates/notes.yaml", "--values=-"],
        input=json.dumps(values),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return str(yaml.safe_load(done.stdout)["notes"])


def test_with_a_secret_of_ones_own_every_rendering_is_the_same(helm: Path) -> None:
    first, second = (template(helm, {"shares": {"existingSecret": "shares"}}) for _ in range(2))

    assert first == second
    assert not of("Secret", first)


def test_another_setting_is_another_pod(helm: Path) -> None:
    def checksum(values: Json) -> str:
        (deployment,) = of("Deployment", template(helm, values))
        return deployment["spec"]["template"]["metadata"]["annotations"]["checksum/config"]

    assert checksum({}) != checksum(USERS)


def test_alerts_and_dashboards_ask_for_metrics_that_there_are() -> None:
    known = " ".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    rules = re.findall(r"(?m)^ +expr: (.+)$", (CHART / "templates" / "monitoring.yaml").read_text())

    asked = set(re.findall(r"beamlit_\w+", " ".join((*rules, *dashboards.queries()))))

    assert asked
    for name in asked:
        assert re.sub("_(total|bucket)$", "", name) in known, name


def test_a_models_namespace_is_not_taken_for_the_controllers(helm: Path) -> None:
    (monitor,) = of("ServiceMonitor", template(helm, ALL))

    assert [endpoint["honorLabels"] for endpoint in monitor["spec"]["endpoints"]] == [True]


LEADERS_LEASE = "beamlit-system/beamlit-controller"
LEADER = {f'beamlit_leader{{lease="{LEADERS_LEASE}"}}': "1x600"}
RISING = "0+1x600"
LLAMA, QWEN = '{namespace="models", name="llama"}', '{namespace="models", name="qwen"}'
BY_REASON = '{namespace="models", name="llama", reason="MetricNotFound"}'
OF_LLAMA = {"namespace": "models", "name": "llama"}


@pytest.mark.parametrize(
    ("alert", "labels", "series", "silent_at", "fires_at"),
    [
        (
            "BeamlitNobodyDecides",
            {"lease": LEADERS_LEASE},
            {f'beamlit_leader{{lease="{LEADERS_LEASE}"}}': "0x600"},
            "1m",
            "3m",
        ),
        (  # another release decides
            "BeamlitNobodyDecides",
            {"lease": LEADERS_LEASE},
            {f'beamlit_leader{{lease="{LEADERS_LEASE}"}}': "0x600", 'beamlit_leader{lease="ops/theirs"}': "1x600"},
            "1m",
            "3m",
        ),
        ("BeamlitNobodyDecides", {"lease": LEADERS_LEASE}, {'beamlit_leader{lease="ops/theirs"}': "1x600"}, "1m", "3m"),
        (
            "BeamlitWatchesRefused",
            {"namespace": "research"},
            {  # every replica tells it
                'beamlit_watches_refused{namespace="research", pod="a"}': "10x600",
                'beamlit_watches_refused{namespace="research", pod="b"}': "10x600",
                'beamlit_watches_refused{namespace="models", pod="a"}': "0x600",
            },
            "4m",
            "6m",
        ),
        (
            "BeamlitMetricsUnreadable",
            {**OF_LLAMA, "reason": "MetricNotFound"},
            {f"beamlit_source_errors_total{BY_REASON}": RISING},
            "9m",
            "15m",
        ),
        ("BeamlitRoundsFail", OF_LLAMA, {f"beamlit_rounds_failed_total{LLAMA}": RISING}, "4m", "10m"),
        (
            "BeamlitGatewayDown",
            OF_LLAMA,
            {  # every replica tells it
                'beamlit_gateways_ready{namespace="models", name="llama", pod="a"}': "0x600",
                'beamlit_gateways_ready{namespace="models", name="llama", pod="b"}': "0x600",
                f"beamlit_gateways_ready{QWEN}": "2x600",
            },
            "1m",
            "3m",
        ),
        (
            "BeamlitRemoteFails",
            OF_LLAMA,
            {f"beamlit_remote_ready{LLAMA}": "0x600", f"beamlit_remote_ready{QWEN}": "1x600"},
            "4m",
            "6m",
        ),
        (
            "BeamlitRemoteBudgetNearlySpent",
            {**OF_LLAMA, "remote": "paid"},
            {
                'beamlit_remote_budget_used_ratio{namespace="models", name="llama", remote="paid"}': "0.79x59 0.8x500",
                'beamlit_remote_budget_used_ratio{namespace="models", name="llama", remote="free"}': "0x600",
            },
            "59m",
            "1h1m",
        ),
        (
            "BeamlitOffloadingForLong",
            OF_LLAMA,
            {f"beamlit_offload_percentage{LLAMA}": "50x600", f"beamlit_offload_percentage{QWEN}": "0x600"},
            "5h",
            "6h1m",
        ),
        (
            "BeamlitOffloadingForLong",  # another replica leads after 200 minutes
            OF_LLAMA,
            {
                'beamlit_offload_percentage{namespace="models", name="llama", pod="a"}': "50x199 stale",
                'beamlit_offload_percentage{namespace="models", name="llama", pod="b"}': "_x200 50x400",
            },
            "5h",
            "6h1m",
        ),
    ],
)
def test_an_alert_fires_alone_when_it_has_lasted_and_names_the_model(  # noqa: PLR0917 - a row of the table
    helm: Path, tmp_path: Path, alert: str, labels: Json, series: Json, silent_at: str, fires_at: str
) -> None:
    (rule,) = of("PrometheusRule", template(helm, ALL))
    rules = {each["alert"]: each for group in rule["spec"]["groups"] for each in group["rules"]}

    said = rules[alert]["annotations"]["summary"]
    told = re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda found: labels[found[1]], said)
    carried = {**labels, **rules[alert]["labels"]}

    leader = {} if alert == "BeamlitNobodyDecides" else LEADER
    silent = [_expected(silent_at, name) for name in rules]
    fires = [_expected(fires_at, name, (carried, told) if name == alert else None) for name in rules]
    _check_rules(tmp_path, rule["spec"], {**leader, **series}, [*silent, *fires])


def test_a_model_of_which_nothing_really_leaves_is_not_offloading_for_long(helm: Path, tmp_path: Path) -> None:
    (rule,) = of("PrometheusRule", template(helm, ALL))
    name = "BeamlitOffloadingForLong"
    series = {f"beamlit_offload_percentage{LLAMA}": "100x600", f"beamlit_sent_ratio{LLAMA}": "0x600"}
    leaving = {**series, f"beamlit_sent_ratio{LLAMA}": "0.2x600"}
    alert = next(each for group in rule["spec"]["groups"] for each in group["rules"] if each["alert"] == name)
    told = re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda found: OF_LLAMA[found[1]], alert["annotations"]["summary"])

    _check_rules(tmp_path, rule["spec"], {**LEADER, **series}, [_expected("7h", name)])
    fires = _expected("7h", name, ({**OF_LLAMA, **alert["labels"]}, told))
    _check_rules(tmp_path, rule["spec"], {**LEADER, **leaving}, [fires])


def test_with_a_place_for_the_runbooks_every_alert_leads_to_a_section_of_its_own(helm: Path) -> None:
    given = {"prometheusRule": {"enabled": True, "runbookUrl": "https://docs.example/monitoring"}}
    (rule,) = of("PrometheusRule", template(helm, given))

    page = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
    sections = {title.lower() for title in re.findall(r"(?m)^### (\w+)$", page)}
    alerts = [each for group in rule["spec"]["groups"] for each in group["rules"]]
    assert {each["alert"].lower() for each in alerts} == sections
    for alert in alerts:
        assert alert["annotations"]["runbook_url"] == f"https://docs.example/monitoring#{alert['alert'].lower()}"


def _expected(at: str, alert: str, firing: tuple[Json, str] | None = None) -> Json:
    there = [{"exp_labels": firing[0], "exp_annotations": {"summary": firing[1]}}] if firing else []
    return {"eval_time": at, "alertname": alert, "exp_alerts": there}


def _check_rules(folder: Path, rules: Json, series: Json, expected: list[Json]) -> None:
    (folder / "rules.yaml").write_text(yaml.safe_dump(rules))
    given = [{"series": name, "values": values} for name, values in series.items()]
    tests = [{"interval": "1m", "input_series": given, "alert_rule_test": expected}]
    (folder / "tests.yaml").write_text(
        yaml.safe_dump({"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests})
    )
    promtool = shutil.which("promtool") or missing("prometheus", "make test installs it as root")
    done = subprocess.run(
        [promtool, "test", "rules", folder / "tests.yaml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_api_server_takes_all_of_it(helm: Path, control_plane: ControlPlane) -> None:
    client = control_plane.client
    native = [each for each in template(helm, ALL) if "monitoring.coreos.com" not in each["apiVersion"]]
    client.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "beamlit-system"}})

    client.kubectl(
        "apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump_all(native)
    )


def test_with_its_default_values_nothing_has_anywhere_to_go(helm: Path) -> None:
    (config,) = of("ConfigMap", template(helm))

    read = settings.parse(config["data"]["settings.yaml"])

    assert isinstance(read, Settings)
    assert read.default_remotes == ()


def test_files_and_variables_that_the_settings_name_are_given_to_the_controller(helm: Path) -> None:
    values = {
        "extraEnv": [{"name": "AWS_PROFILE", "value": "team"}],
        "extraVolumes": [{"name": "servers", "secret": {"secretName": "servers"}}],
        "extraVolumeMounts": [{"name": "servers", "mountPath": "/etc/metric-secrets/models/servers", "readOnly": True}],
    }

    (deployment,) = of("Deployment", template(helm, values))

    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert values["extraEnv"][0] in container["env"]
    assert values["extraVolumes"][0] in pod["volumes"]
    assert values["extraVolumeMounts"][0] in container["volumeMounts"]
