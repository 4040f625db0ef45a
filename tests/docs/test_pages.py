"""Every YAML and every command of the pages for users does what it is shown for; every link leads somewhere."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cyclopts import App

from beamlit_controller.api import crd, manifests, settings
from beamlit_controller.api.offloading import OffloadingConfig
from beamlit_controller.api.settings import Settings
from beamlit_controller.api.v1alpha1 import Spec
from beamlit_controller.cli import kubectl, main
from beamlit_controller.core.reason import Reason
from docs import pages
from docs.pages import ROOT, Block

REMOTE = {"remoteBackend": {"host": "api.example.com"}}
OTHERS_FIELDS = {"ignoreDifferences", "syncPolicy", "uninstall"}
"""Fields of Argo CD's Application and of Flux's HelmRelease."""
OTHERS_KINDS = {"Certificate", "ConfigMap", "ScaledObject", "Service"}
VALUES = yaml.safe_load((ROOT / "chart" / "values.yaml").read_text())
SYSTEMS = {"docker", "export", "loginctl", "openssl", "pip", "python3", "rm", "systemctl"}
"""Programs that are not ours, of which nothing here knows more."""
OF_A_SERVICE = {"spec.selector"}


def words(command: str) -> list[str]:
    return shlex.split(command)


COMMANDS = [(str(block), command) for block in pages.blocks("sh") for command in block.commands]


def ours() -> Iterator[tuple[str, App, list[str]]]:
    """Yield our commands of all pages, those within the prose too if they have arguments, each with the program that runs it."""
    shown = [command for _, command in COMMANDS]
    quoted = [each for page in pages.PAGES for each in pages.quoted(page) if OF_OURS.match(each)]
    for command in dict.fromkeys([*shown, *quoted]):
        match [Path(words(command)[0]).name, *words(command)[1:]]:
            case ["beamlit-controller", *rest]:
                yield command, main.app, rest
            case ["kubectl", "offload", *rest]:
                yield command, kubectl.app, rest


OF_OURS = re.compile(r"(beamlit-controller|kubectl offload) [a-z]+ ")
OURS = list(ours())


def test_blocks_of_code_are_yaml_or_commands_or_only_to_look_at() -> None:
    assert {block.language for block in pages.blocks()} == {"yaml", "sh", ""}


@pytest.mark.parametrize("block", pages.blocks("yaml"), ids=str)
def test_yaml_is_valid_as_it_stands(block: Block) -> None:
    content = yaml.safe_load(block.text)

    refused = mistakes(content, block.text, settings_of(block.page))

    assert refused == ()


def settings_of(page: Path) -> Settings:
    """Return the settings that a page shows first; the defaults if it shows none."""
    shown = (each.text for each in pages.blocks("yaml") if each.page == page and each.text.startswith("config:"))
    read = settings.parse(next(shown, "config: {}"))
    assert isinstance(read, Settings)
    return read


def mistakes(content: dict[str, Any], text: str, given: Settings) -> tuple[object, ...]:
    """Try a piece of YAML as what its fields say that it is."""
    keys = set(content)
    if keys == {"config"}:
        read = settings.parse(text)
        return () if isinstance(read, Settings) else read
    if keys <= set(VALUES):
        return tuple(not_values(content, VALUES))
    if content.get("kind") in OTHERS_KINDS:
        return tuple(keys - {"apiVersion", "kind", "metadata", "spec", "data"})
    if "kind" in keys:
        return manifests.parse(text, settings=given).problems
    return pieces(content, given)


def pieces(content: dict[str, Any], given: Settings) -> tuple[object, ...]:
    """Try a piece of YAML as fields of a spec, of its offloadingConfig, or of somebody else's object."""
    keys = set(content)
    if keys <= set(Spec.fields()):
        config = REMOTE | content.get("offloadingConfig", {})
        return manifests.parse(around(content | {"offloadingConfig": config}), settings=given).problems
    if keys <= set(OffloadingConfig.fields()):
        single = {} if "remoteBackends" in content else REMOTE
        return manifests.parse(around({"offloadingConfig": single | content}), settings=given).problems
    return tuple(foreign(content))


def not_values(content: dict[str, Any], known: dict[str, Any], above: str = "") -> Iterator[str]:
    """Yield the paths that are no values of the chart; below an empty mapping anything goes."""
    for name, value in content.items():
        if name not in known:
            yield f"{above}{name}"
        elif isinstance(value, dict) and known[name]:
            yield from not_values(value, known[name], f"{above}{name}.")


def around(spec: dict[str, Any]) -> str:
    """Write a manifest around a piece of its spec."""
    about = {"apiVersion": "deployment.beamlit.com/v1alpha1", "kind": "ModelDeployment", "metadata": {"name": "llama"}}
    whole = {"serviceRef": {"name": "llama", "targetPort": 8000}, "offloadingConfig": REMOTE, **spec}
    return yaml.safe_dump({**about, "spec": whole})


def foreign(content: dict[str, Any]) -> list[str]:
    """Return the fields that neither an object of Kubernetes, nor Argo CD's or Flux's, nor the rules of prometheus-adapter have."""
    known = {"apiVersion", "kind", "metadata", "spec", "externalRules"}
    strange = [key for key in content if key not in known]
    spec = content.get("spec", {})
    return strange + [key for key in spec if key not in {"selector", *OTHERS_FIELDS}]


@pytest.mark.parametrize(("program", "line"), [each[1:] for each in OURS], ids=[each[0] for each in OURS])
def test_our_own_commands_take_what_the_page_gives_them(program: App, line: list[str]) -> None:
    """`kubectl offload explain NAME -n NAMESPACE` was an error, in the runbooks of two alerts."""
    command, bound, _ = program.parse_args(line, exit_on_error=False, print_error=False)

    assert command.__name__ == line[0]
    assert bound.arguments or len(line) == 1


def test_the_columns_of_kubectl_get_are_those_of_the_resource() -> None:
    install = (ROOT / "docs" / "install.md").read_text()
    columns = crd.definition()["spec"]["versions"][0]["additionalPrinterColumns"]
    plain = [each["name"] for each in columns if not each.get("priority")]
    (shown,) = re.findall(r"^NAMESPACE +NAME +(.*)$", install, re.MULTILINE)
    (wide,) = re.findall(r"`--output wide` adds (.*?)\.\n", install, re.DOTALL)

    assert shown.split() == plain
    assert [name for name in re.findall(r"`([A-Z-]+)`", wide) if name not in plain] == [
        each["name"] for each in columns if each.get("priority")
    ]


@pytest.mark.parametrize(("where", "command"), COMMANDS, ids=[f"{where} {command}" for where, command in COMMANDS])
def test_other_commands_name_only_what_there_is(where: str, command: str) -> None:
    program, *rest = words(command)

    match Path(program).name:
        case "make":
            targets = [word for word in rest if "=" not in word]
            assert set(targets) <= set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        case "kubectl":
            files = [word for word in rest if word.endswith(".yaml") and "/" in word]
            kinds = [word for word in rest if word.startswith("modeldeployment")]
            assert all((ROOT / file).exists() for file in files)
            assert all(re.fullmatch(r"modeldeployments?(\.deployment\.beamlit\.com)?(/\w+)?", kind) for kind in kinds)
        case "helm":
            assert rest[0] in {"install", "upgrade", "uninstall"}
            assert rest[0] == "uninstall" or (ROOT / rest[2] / "Chart.yaml").exists()
        case name:
            assert name in {"beamlit-controller", "prek", *SYSTEMS} or re.match("[A-Z]+=", name), where


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_a_file_and_a_heading(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)]*))?\)", pages.prose(page))

    broken = [link for link in links if not leads(page, *link)]

    assert broken == []


def leads(page: Path, path: str, heading: str) -> bool:
    target = (page.parent / path).resolve() if path else page
    return target.exists() and (not heading or heading in anchors(target))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_index_of_decisions_has_each_by_its_title() -> None:
    decisions = ROOT / "docs" / "decisions"
    titles = [
        (path.read_text().partition("\n")[0].removeprefix("# "), path.name) for path in sorted(decisions.glob("0*.md"))
    ]

    listed = re.findall(r"^- \[(.*)\]\((.*)\)$", (decisions / "index.md").read_text(), re.MULTILINE)

    assert listed == titles


def test_every_reason_is_explained() -> None:
    listed = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", (ROOT / "docs" / "reasons.md").read_text(), re.MULTILINE)

    explained = {name for names in listed for name in re.findall(r"\w+", names)}

    assert {each.value for each in Reason} - explained == set()


def test_metrics_that_pages_name_are_published() -> None:
    source = "\n".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    named = {name for page in pages.PAGES for name in re.findall(r"\bbeamlit_(\w+)", page.read_text())}

    unknown = {name for name in named if name.removesuffix("_total") not in source}

    assert unknown - {"controller"} == set()


FIELD = re.compile(
    r"`((?:spec|config|behavior|overflow|remoteBackend|offloadingConfig|stickiness|routing|gateway|standalone"
    r"|metricInformer|metricServiceRef)(?:\.[a-zA-Z]+)+)(?:: [^`]*)?`"
)


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_fields_that_a_page_names_are_there(page: Path) -> None:
    known = fields()

    strange = [
        name for name in FIELD.findall(pages.prose(page)) if not any(f".{path}".endswith(f".{name}") for path in known)
    ]

    assert set(strange) <= OF_A_SERVICE


def fields() -> set[str]:
    """Return the path of every field of the resource and of the settings, as the reference lists them."""
    texts = [(ROOT / "docs" / "reference" / name).read_text() for name in ("modeldeployment.md", "settings.md")]
    found: set[str] = set()
    for text in texts:
        for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
            path = section.split("`")[1] if section.startswith("`") else ""
            found |= {
                f"{path}.{name}".replace("[]", "") for name in re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
            }
    return found
