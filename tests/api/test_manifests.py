import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import thorough
from beamlit_controller.api import manifests
from beamlit_controller.api import settings as settings_file
from beamlit_controller.api.manifests import Parsed
from beamlit_controller.api.settings import Settings
from beamlit_controller.core.metric_spec import ExternalMetric, ResourceMetric, Utilization, Value
from beamlit_controller.core.spec import ModelKey

HEAD = "apiVersion: deployment.beamlit.com/v1alpha1\nkind: ModelDeployment\nmetadata: {name: NAME}\n"
DOCUMENT = HEAD + "spec: {offloadingConfig: {remoteBackend: {host: a.b}}}\n"


def parse(text: str) -> Parsed:
    return manifests.parse(text, settings=Settings())


def messages(text: str) -> list[str]:
    return [each.message for each in parse(text).problems]


def test_reads_several_documents() -> None:
    parsed = parse("---\n".join(DOCUMENT.replace("NAME", name) for name in ("a", "b")))

    assert [spec.key for spec in parsed.specs] == [ModelKey("default", "a"), ModelKey("default", "b")]
    assert not parsed.problems


def test_the_later_of_two_with_one_name_is_refused() -> None:
    parsed = parse("---\n".join((DOCUMENT.replace("NAME", "a"), DOCUMENT.replace("NAME", "a, namespace: default"))))

    assert len(parsed.specs) == 1
    (problem,) = parsed.problems
    assert (problem.where, problem.field) == ("document 2 (default/a)", "metadata.name")


def test_every_problem_names_its_document() -> None:
    parsed = parse(
        "---\n".join((DOCUMENT.replace("NAME", "a"), HEAD.replace("NAME", "b"), "3\n", "kind: Pod\n", "a: ["))
    )

    assert [str(each) for each in parsed.problems] == [
        "document 2 (default/b): spec: required, but not given",
        "document 3: expected a ModelDeployment, got a number",
        'document 4: kind: expected ModelDeployment, got "Pod"',
        ("document 5: line 15, column 1: not YAML: did not find expected node content"),
    ]
    assert len(parsed.specs) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: ModelDeploymnt", 'expected ModelDeployment, got "ModelDeploymnt"; did you mean ModelDeployment?'),
        ("kind: List", "a List is not supported"),
        (
            "apiVersion: deployment.beamlit.com/v1beta1\nkind: ModelDeployment",
            'expected deployment.beamlit.com/v1alpha1, got "deployment.beamlit.com/v1beta1"',
        ),
        ("config: {}", "this is a settings file, not a manifest: give it to --settings"),
        ("serviceRef: {}", "only a part of a manifest: serviceRef belongs below spec:"),
        ("hello: world", "expected a ModelDeployment: apiVersion: deployment.beamlit.com/v1alpha1"),
        ("[]", "expected a ModelDeployment, got a list"),
    ],
)
def test_says_what_a_document_is_that_is_no_model(text: str, message: str) -> None:
    (found,) = messages(text)

    assert found.startswith(message)


def test_an_exported_object_is_read_as_it_is(full: dict[str, Any], prometheus: Settings) -> None:
    full["metadata"] |= {
        "uid": "6e1d",
        "resourceVersion": "12",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "managedFields": [{"manager": "kubectl"}],
        "finalizers": ["a/b"],
        "ownerReferences": [],
    }

    assert manifests.parse(yaml.safe_dump(full), settings=prometheus).specs


# The users' page.


@pytest.mark.parametrize(("name", "lines"), [("resource", "lines 2-3"), ("external", "lines 6-9 and 12-16")])
def test_the_page_as_it_stands_says_that_tabs_have_to_become_spaces(data: Path, name: str, lines: str) -> None:
    (message,) = messages((data / f"page-{name}.tabs.yaml").read_text())

    assert "YAML does not allow tabs for indentation; replace them with spaces" in message
    assert lines in message


def test_the_pages_settings_as_they_stand_say_the_same(data: Path) -> None:
    parsed = settings_file.parse((data / "page-settings.tabs.yaml").read_text())

    assert not isinstance(parsed, Settings)
    assert "YAML does not allow tabs for indentation; replace them with spaces (lines 3-5" in parsed[0].message


def test_the_pages_settings_work_re_indented(data: Path) -> None:
    parsed = settings_file.parse((data / "page-settings.yaml").read_text())

    assert isinstance(parsed, Settings)
    assert parsed.prometheus is not None
    assert parsed.prometheus.url == "http://my-local-prom:9090"


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("resource", "above spec, apiVersion: deployment.beamlit.com/v1alpha1, kind: ModelDeployment"),
        ("external", "offloadingConfig belongs below spec:, and above that apiVersion"),
        ("metrics", "metrics belongs below spec: and offloadingConfig:, and above that apiVersion"),
    ],
)
def test_a_fragment_of_the_page_says_which_lines_are_missing_around_it(data: Path, name: str, missing: str) -> None:
    (message,) = messages((data / f"page-{name}.yaml").read_text())

    assert message.startswith("only a part of a manifest: ")
    assert missing in message


@pytest.mark.parametrize("name", ["resource", "external", "metrics"])
def test_the_page_works_re_indented_with_those_lines_around_it(data: Path, prometheus: Settings, name: str) -> None:
    text = (data / f"page-{name}.yaml").read_text()
    around = {"resource": "", "external": "spec:\n", "metrics": "spec:\n offloadingConfig:\n"}[name]
    indent = {"resource": "", "external": "  ", "metrics": "  "}[name]
    whole = HEAD.replace("NAME", "llama") + around + "".join(indent + line for line in text.splitlines(keepends=True))

    parsed = manifests.parse(whole, settings=prometheus)

    assert not parsed.problems
    (metric,) = parsed.specs[0].metrics
    if name == "external":
        assert isinstance(metric, ExternalMetric)
        assert (metric.metric.name, metric.target) == ("my_custom_metric_in_prom", Value(10_000))
        assert metric.metric.selector.match_labels == (("my_label", "value"),)
    else:
        assert metric == ResourceMetric("cpu", Utilization(50))
    assert parsed.specs[0].behavior.percentage == (100 if name == "metrics" else 50)


# Whatever comes, it is a spec or a problem.


def places(node: Any) -> Any:  # noqa: ANN401 - JSON
    """Yield every place in a tree where a value stands."""
    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in pairs:
        yield node, key
        yield from places(value)


FULL: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "data" / "full.yaml").read_text())
PROMETHEUS = settings_file.parse("config: {metricInformer: {type: prometheus, prometheus: {address: 'a:1'}}}")
WORDS = sorted({key for _, key in places(FULL) if isinstance(key, str)})
SETTINGS_WORDS = ["config", "metricInformer", "prometheus", "address", "standalone", "services", "listen"]

TEXTS = st.text() | st.sampled_from([*WORDS, *SETTINGS_WORDS])
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS
JUNK = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=6), max_leaves=30
)


def settled(text: str) -> None:
    """Check that the text is read, and that nothing is neither a spec nor a problem."""
    parsed = parse(text)
    assert isinstance(parsed, Parsed)
    assert all(each.message and each.where for each in parsed.problems)
    outcome = settings_file.parse(text)
    assert isinstance(outcome, Settings) or all(each.message for each in outcome)


@given(JUNK)
@settings(deadline=None)
def test_junk_in_json_never_raises(value: object) -> None:
    settled(json.dumps(value))


@given(JUNK)
@settings(deadline=None)
def test_junk_in_a_manifest_never_raises(value: object) -> None:
    head = {"apiVersion": "deployment.beamlit.com/v1alpha1", "kind": "ModelDeployment"}
    text = json.dumps(head | {"metadata": {"name": "a"}, "spec": value})
    parsed = parse(text)

    assert bool(parsed.specs) != bool(parsed.problems)


@given(
    st.text(alphabet=st.characters() | st.sampled_from("{}[]:-,&*!|>'\"%@`#?\t\n ~<."))
    | st.binary().map(lambda raw: raw.decode("latin-1"))
)
@settings(deadline=None)
def test_junk_text_never_raises(text: str) -> None:
    settled(text)


@given(st.data())
@settings(deadline=None, max_examples=thorough.examples(300))
def test_any_one_field_replaced_by_junk_is_a_problem_or_still_fine(data: st.DataObject) -> None:
    document = deepcopy(FULL)
    place, key = data.draw(st.sampled_from(list(places(document))))
    place[key] = data.draw(JUNK)

    parsed = manifests.parse(json.dumps(document), settings=PROMETHEUS)

    assert bool(parsed.specs) != bool(parsed.problems)
