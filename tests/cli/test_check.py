"""`check` looks at all files together: every mistake of each, and what `run` rejects because of another file."""

import json
from pathlib import Path

import pytest

from fakes import commands

EXAMPLES = Path(__file__).parents[2] / "examples"


def manifest(name: str = "llama", *, percentage: int = 50, host: str = "api.example.com") -> str:
    spec = {
        "serviceRef": {"name": "llama", "targetPort": 8000},
        "offloadingConfig": {
            "remoteBackend": {"host": host},
            "behavior": {"percentage": percentage},
            "metrics": [
                {
                    "type": "External",
                    "external": {"metric": {"name": "load"}, "target": {"type": "Value", "value": 10}},
                }
            ],
        },
    }
    api = {"apiVersion": "deployment.beamlit.com/v1alpha1", "kind": "ModelDeployment", "metadata": {"name": name}}
    return json.dumps({**api, "spec": spec})


def settings(path: Path, **standalone: object) -> Path:
    given = {"services": {"default/llama": ["127.0.0.1:8001"]}, "listen": {"default/llama": "127.0.0.1:8000"}}
    informer = {"type": "prometheus", "prometheus": {"address": "127.0.0.1:9090"}}
    path.write_text(json.dumps({"config": {"metricInformer": informer, "standalone": {**given, **standalone}}}))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "manifests").mkdir()
    return tmp_path / "manifests"


def lines(*arguments: str | Path) -> list[str]:
    """Return what `check` prints; it has found mistakes."""
    checked = commands.typed("check", *arguments)
    assert (checked.returncode, checked.stderr) == (1, "")
    return checked.stdout.splitlines()


def test_a_model_in_two_files_of_a_folder_is_a_mistake_as_it_is_to_run(folder: Path, tmp_path: Path) -> None:
    (folder / "a.yaml").write_text(manifest())
    (folder / "b.yaml").write_text(manifest(percentage=20))

    told = lines("--standalone", folder, "--settings", settings(tmp_path / "settings.yaml"))

    why = "metadata.name: default/llama is already defined in a.yaml; rename or remove one of them"
    assert told == [f"{folder}/a.yaml: valid", f"{folder}/b.yaml: {why}"]


def test_a_model_in_files_of_two_folders_is_none(folder: Path, tmp_path: Path) -> None:
    (folder / "a.yaml").write_text(manifest())
    (tmp_path / "a.yaml").write_text(manifest(percentage=20))
    against = settings(tmp_path / "settings.yaml")

    checked = commands.typed("check", "--standalone", folder, tmp_path / "a.yaml", "--settings", against)

    assert (checked.returncode, checked.stderr) == (0, "")


def test_one_file_that_can_not_be_read_hides_no_mistake_of_the_others(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"\xff")
    (tmp_path / "b.yaml").write_text(manifest(percentage=150))

    told = lines(tmp_path / "none.yaml", tmp_path / "a.yaml", folder, tmp_path / "b.yaml")

    assert [line.removeprefix(f"{tmp_path}/").split(": ")[0] for line in told] == [
        "none.yaml",
        "a.yaml",
        "manifests",
        "b.yaml",
    ]
    assert "expected at most 100, got 150" in told[-1]


@pytest.mark.parametrize("flags", [(), ("--standalone",)])
def test_settings_with_a_mistake_hide_none_of_the_manifests_and_add_none(tmp_path: Path, flags: tuple[str]) -> None:
    against = settings(tmp_path / "settings.yaml", lisen="127.0.0.1:1")
    for name, given in {"good": manifest(host="127.0.0.1"), "bad": manifest(percentage=150)}.items():
        (tmp_path / f"{name}.yaml").write_text(given)

    told = lines(*flags, tmp_path / "good.yaml", tmp_path / "bad.yaml", "--settings", against)

    assert told[0] == f"{tmp_path}/good.yaml: valid"
    assert "expected at most 100, got 150" in told[1]
    assert told[2] == f"{against}: config.standalone.lisen: no such field, did you mean listen?"
    assert told[3:] == [f"{against}: note: the manifests were checked without these settings"]


def test_what_convert_understands_is_referred_to_it() -> None:
    (told,) = lines(EXAMPLES / "autoscaler.yaml")

    assert told.endswith("; `beamlit-controller convert FILE` prints a ModelDeployment for it")


def test_a_model_whose_gateway_no_config_map_holds_is_a_mistake_in_a_cluster_only(tmp_path: Path) -> None:
    given = json.loads(manifest())
    names = {f"{number}{'é' * 1_000}": "x" for number in range(100)}
    given["spec"]["offloadingConfig"]["remoteBackend"]["modelNames"] = names
    path = tmp_path / "llama.yaml"
    path.write_text(json.dumps(given, ensure_ascii=False))
    configured = settings(tmp_path / "settings.yaml")

    (told,) = (line for line in lines(path, "--settings", configured) if "note:" not in line)
    alone = commands.typed("check", "--standalone", path, "--settings", configured)

    assert told.startswith(f"{path}: default/llama: Envoy's files have ")
    assert "a ConfigMap holds 1,048,576: use fewer or shorter modelNames" in told
    assert alone.returncode == 0


def test_a_prometheus_that_is_not_used_is_a_note(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("config: {metricInformer: {prometheus: {address: 'my-local-prom:9090'}}}\n")

    checked = commands.typed("check", path)

    assert checked.returncode == 0
    assert checked.stdout.startswith(
        f"{path}: note: config.metricInformer.prometheus: has no effect with type kubernetes"
    )
