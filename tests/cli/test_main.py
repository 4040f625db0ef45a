"""The commands as they are typed: what they print, and their exit codes."""

import importlib
import json
import os
import pwd
import subprocess
from pathlib import Path

import cyclopts
import pytest

from beamlit_controller.cli.main import COMMANDS
from beamlit_controller.kubernetes import api_server
from fakes import commands

EXAMPLES = Path(__file__).parents[2] / "examples"

FRAGMENT_WITH_TABS = """\
offloadingConfig:
    behavior:
      percentage: 50
    metrics:
      - type: External
\t\t\t  external:
\t\t\t    metric:
\t\t\t      name: my_custom_metric_in_prom
"""


@pytest.mark.parametrize(
    ("manifest", "settings"),
    [
        ("prometheus.yaml", "settings-prometheus.yaml"),
        ("promql.yaml", "settings-prometheus.yaml"),
        ("direct-vllm.yaml", "settings-standalone.yaml"),
        ("demo.yaml", "demo-settings.yaml"),
    ],
)
def test_the_examples_are_valid_without_a_cluster(manifest: str, settings: str) -> None:
    checked = commands.typed("check", "--standalone", EXAMPLES / manifest, "--settings", EXAMPLES / settings)

    (said,) = checked.stdout.splitlines()
    assert checked.returncode == 0
    assert said == f"{EXAMPLES / manifest}: valid" or "spec.offloadingConfig.behavior.mode" in said


def test_check_tells_all_mistakes_of_all_files(tmp_path: Path) -> None:
    manifest, settings = tmp_path / "model.yaml", tmp_path / "settings.yaml"
    text = (EXAMPLES / "prometheus.yaml").read_text()
    manifest.write_text(text.replace("percentage: 50", "percentage: 150").replace("type: Value", "type: Valeu"))
    settings.write_text("config:\n  metricInformr: {}\n")

    checked = commands.typed("check", manifest, settings, "--settings", EXAMPLES / "settings-prometheus.yaml")

    assert checked.returncode == 1
    assert "spec.offloadingConfig.behavior.percentage: " in checked.stdout
    assert "150" in checked.stdout
    assert "Value" in checked.stdout
    assert "metricInformer" in checked.stdout


def test_check_says_what_to_mend_about_tabs(tmp_path: Path) -> None:
    page = tmp_path / "page.yaml"
    page.write_text(FRAGMENT_WITH_TABS)

    checked = commands.typed("check", page)

    assert checked.returncode == 1
    assert "tab" in checked.stdout
    assert "spaces" in checked.stdout


def test_check_refuses_what_needs_a_cluster_and_says_what_to_use_instead() -> None:
    manifest = EXAMPLES / "resource-cpu.yaml"

    anywhere = commands.typed("check", manifest)
    here = commands.typed("check", "--standalone", manifest, "--settings", EXAMPLES / "settings-standalone.yaml")

    assert anywhere.returncode == 0
    assert here.returncode == 1
    assert "which needs a cluster; use a Pods metric with spec.metricServiceRef" in here.stdout


def test_check_takes_folders_and_sees_models_that_share_an_address(tmp_path: Path) -> None:
    manifests, settings = tmp_path / "manifests", tmp_path / "settings.yaml"
    manifests.mkdir()
    text = (EXAMPLES / "prometheus.yaml").read_text()
    (manifests / "a.yaml").write_text(text)
    (manifests / "b.yaml").write_text(text.replace("name: llama\n  namespace", "name: mistral\n  namespace"))
    given = (EXAMPLES / "settings-prometheus.yaml").read_text()
    settings.write_text(given.replace("listen:\n      default/llama: 127.0.0.1:8000", "listen: 127.0.0.1:8000"))

    checked = commands.typed("check", "--standalone", manifests, "--settings", settings)

    assert checked.returncode == 1
    assert f"{manifests / 'b.yaml'}: valid" in checked.stdout
    assert "config.standalone.listen: 127.0.0.1:8000 is for one model, and there are 2" in checked.stdout


def test_check_finds_nothing_in_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("")

    checked = commands.typed("check", tmp_path / "empty.yaml")

    assert (checked.returncode, checked.stdout) == (
        1,
        f"{tmp_path / 'empty.yaml'}: expected a ModelDeployment, got nothing\n",
    )


def test_check_without_a_file_to_read_says_so(tmp_path: Path) -> None:
    checked = commands.typed("check", tmp_path / "none.yaml")

    assert checked.returncode == 1
    assert checked.stdout == f"{tmp_path / 'none.yaml'}: No such file or directory\n"


def test_render_envoy_prints_every_file() -> None:
    rendered = commands.typed("render", "envoy", EXAMPLES / "demo.yaml", "--settings", EXAMPLES / "demo-settings.yaml")

    assert rendered.returncode == 0
    files = dict(part.split("\n", 1) for part in rendered.stdout.split("--- # ")[1:])
    assert {"bootstrap.json", "cds.json", "lds.json", "rds-front.json"} <= set(files)
    assert any(name.startswith("rds-remote_hop_") for name in files)
    assert all(json.loads(text) for text in files.values())


def test_render_crd_prints_the_definition() -> None:
    rendered = commands.typed("render", "crd")

    assert rendered.returncode == 0
    assert "name: modeldeployments.deployment.beamlit.com" in rendered.stdout


def test_run_refuses_settings_with_mistakes(tmp_path: Path) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text("config:\n  standalone: {listen: 8000}\n")

    ran = commands.typed("run", "--manifests", tmp_path, "--settings", settings, "--state-dir", tmp_path / "state")

    assert ran.returncode == 1
    assert "config.standalone.listen: expected host:port" in ran.stderr
    assert not (tmp_path / "state").exists()


def test_run_refuses_a_folder_that_is_not_there(tmp_path: Path) -> None:
    ran = commands.typed("run", "--manifests", tmp_path / "none")

    assert ran.returncode == 1
    assert "--manifests: expected a folder" in ran.stderr


def test_explain_says_when_there_is_nobody_to_ask() -> None:
    explained = commands.typed("explain", "llama", "--address", "http://127.0.0.1:9")

    assert explained.returncode == 1
    assert "http://127.0.0.1:9" in explained.stdout + explained.stderr


def test_check_tells_a_target_that_its_metric_can_never_reach(tmp_path: Path) -> None:
    manifest = tmp_path / "model.yaml"
    text = (EXAMPLES / "direct-vllm.yaml").read_text()
    fraction = text.replace("vllm:num_requests_waiting", "vllm:kv_cache_usage_perc")
    manifest.write_text(fraction.replace("averageValue: 5", "averageValue: 80"))

    checked = commands.typed("check", manifest)

    assert checked.returncode == 1
    assert "vllm:kv_cache_usage_perc is a fraction from 0 to 1: expected a target such as 0.8, got 80" in checked.stdout


def test_check_says_that_a_prometheus_is_not_there() -> None:
    checked = commands.typed("check", EXAMPLES / "prometheus.yaml", "--prometheus", "127.0.0.1:9")
    mistyped = commands.typed("check", EXAMPLES / "prometheus.yaml", "--prometheus", "127.0.0.1:9", "--since", "long")

    assert (checked.returncode, mistyped.returncode) == (1, 1)
    assert "can't connect" in checked.stdout
    assert "--since: expected a time such as 90s" in mistyped.stdout


def test_convert_prints_a_manifest_and_tells_the_rest_apart(tmp_path: Path) -> None:
    converted = commands.typed("convert", EXAMPLES / "keda.yaml")
    manifest = tmp_path / "model.yaml"
    manifest.write_text(
        converted.stdout.replace("    metrics:", "    remoteBackend: {host: api.example.com}\n    metrics:")
    )

    checked = commands.typed("check", manifest, "--settings", EXAMPLES / "settings-prometheus.yaml")

    assert converted.returncode == 0
    assert "serverAddress" in converted.stderr
    assert (checked.returncode, checked.stdout) == (0, f"{manifest}: valid\n")


def test_convert_tells_by_its_exit_code_that_something_was_left_out() -> None:
    converted = commands.typed("convert", EXAMPLES / "settings-prometheus.yaml")

    assert (converted.returncode, converted.stdout) == (1, "")
    assert "expected a ModelDeployment, a HorizontalPodAutoscaler or a ScaledObject" in converted.stderr


def test_check_names_the_settings_file_that_it_found_among_the_files(tmp_path: Path) -> None:
    text = (EXAMPLES / "prometheus.yaml").read_text()
    (tmp_path / "a.yaml").write_text(text)
    (tmp_path / "b.yaml").write_text(text.replace("name: llama\n  namespace", "name: mistral\n  namespace"))
    settings = tmp_path / "settings.yaml"
    given = (EXAMPLES / "settings-prometheus.yaml").read_text()
    settings.write_text(given.replace("listen:\n      default/llama: 127.0.0.1:8000", "listen: 127.0.0.1:8000"))

    checked = commands.typed("check", tmp_path / "a.yaml", tmp_path / "b.yaml", settings, "--standalone")

    assert checked.returncode == 1
    assert f"{settings}: config.standalone.listen: 127.0.0.1:8000 is for one model" in checked.stdout


def test_check_asks_which_of_two_settings_files_counts(tmp_path: Path) -> None:
    for name in ("one.yaml", "two.yaml"):
        (tmp_path / name).write_text("config: {}\n")

    alone = commands.typed("check", tmp_path / "one.yaml", tmp_path / "two.yaml")
    beside = commands.typed("check", EXAMPLES / "resource-cpu.yaml", tmp_path / "one.yaml", tmp_path / "two.yaml")

    assert alone.returncode == 0
    assert beside.returncode == 1
    assert "--settings: several settings files were given; name the one to check against: " in beside.stderr


def test_check_without_anything_to_check_says_so(tmp_path: Path) -> None:
    nothing, empty = commands.typed("check"), commands.typed("check", tmp_path)

    assert (nothing.returncode, empty.returncode) == (1, 1)
    assert "expected manifests, folders of them, or settings files; got none" in nothing.stderr
    assert empty.stdout == f"{tmp_path}: holds no manifests: expected files that end with .json, .yaml, .yml\n"


def test_check_takes_of_a_folder_what_run_takes(tmp_path: Path) -> None:
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / ".hidden.yaml").write_text("kind: [")
    (tmp_path / "a.yaml").write_text((EXAMPLES / "resource-cpu.yaml").read_text())

    checked = commands.typed("check", tmp_path)

    assert (checked.returncode, checked.stdout) == (0, f"{tmp_path / 'a.yaml'}: valid\n")


def test_an_override_without_a_name_in_the_environment_has_that_of_the_user(tmp_path: Path) -> None:
    """It was said to be by hand, and by nobody."""
    (tmp_path / "decisions").mkdir()
    (tmp_path / "decisions" / "default.llama.json").touch()
    without = {name: value for name, value in os.environ.items() if name != "USER"}

    done = commands.typed("override", "llama", "25%", "--state-dir", tmp_path, environment=without)

    (file,) = (tmp_path / "overrides").iterdir()
    assert (done.returncode, json.loads(file.read_bytes())["author"]) == (0, pwd.getpwuid(os.getuid()).pw_name)


@pytest.mark.parametrize("model", [("llama",), ("default/llama",), ("llama", "-n", "default")], ids=" ".join)
def test_an_override_on_this_machine_takes_a_model_in_each_form(tmp_path: Path, model: tuple[str, ...]) -> None:
    (tmp_path / "decisions").mkdir()
    (tmp_path / "decisions" / "default.llama.json").touch()

    done = commands.typed("override", *model, "--percentage", "25", "--state-dir", tmp_path)

    assert done.stdout == "default/llama: 25 % until it is cleared\n"


CONTEXTS = """\
current-context: first
clusters: [{name: here, cluster: {server: "http://127.0.0.1:9"}}]
contexts:
  - {name: first, context: {cluster: here, user: me}}
  - {name: second, context: {cluster: here, user: me, namespace: research}}
users: [{name: me, user: {}}]
"""


def test_an_override_in_a_cluster_uses_the_context_it_is_given(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text(CONTEXTS)

    there = api_server.configuration(kubeconfig, context="second")
    unknown = commands.typed("override", "llama", "25%", "--context", "third", "--kubeconfig", kubeconfig)

    assert (api_server.configuration(kubeconfig).namespace, there.namespace) == ("default", "research")
    assert unknown.returncode == 1
    assert "Context 'third' not found" in unknown.stderr


def test_run_says_in_one_line_why_it_can_not_run(tmp_path: Path) -> None:
    (tmp_path / "manifests").mkdir()
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "shares.sock").mkdir()
    settings = tmp_path / "settings.yaml"
    settings.write_text('config: {standalone: {webListen: "127.0.0.1:0"}}')

    failed = commands.typed(
        "run", "--manifests", tmp_path / "manifests", "--settings", settings, "--state-dir", tmp_path / "state"
    )

    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1].startswith("beamlit-controller: the RTDS server can't listen")
    assert "Traceback" not in failed.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_the_overview_begins_as_the_command_describes_itself(name: str) -> None:
    command = getattr(importlib.import_module(f"beamlit_controller.cli.{name}"), name)
    itself = command.help if isinstance(command, cyclopts.App) else command.__doc__

    assert itself.startswith(COMMANDS[name].removesuffix("."))


def test_a_reader_that_ends_early_gets_no_traceback() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as nobody:
        words = [commands.COMMAND, "render", "crd"]
        done = subprocess.run(words, stdout=nobody, stderr=subprocess.PIPE, timeout=60, check=False)

    assert (done.returncode, done.stderr) == (141, b"")
