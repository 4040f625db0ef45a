import pytest

from beamlit_controller.api import yaml_documents
from beamlit_controller.api.yaml_documents import Document, Malformed


def content(text: str) -> object:
    (only,) = yaml_documents.load(text)
    assert isinstance(only, Document), only
    return only.content


def complaint(text: str) -> str:
    *_, last = yaml_documents.load(text)
    assert isinstance(last, Malformed), last
    return last.message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1", {"a": 1}),
        ("[010, 0x1f, -3, 1_000]", [8, 31, -3, 1000]),
        ("[0.5, .inf, 1e3, 1.5e+3]", [0.5, float("inf"), "1e3", 1500.0]),
        ("[yes, Off, 'yes']", [True, False, "yes"]),
        ("[~, null, '']", [None, None, ""]),
        ("[2026-01-31, 2026-01-31T10:00:00Z]", ["2026-01-31", "2026-01-31T10:00:00Z"]),
        ("[8080:80, 1:30:10.5]", ["8080:80", "1:30:10.5"]),
        ("a: &x [1]\nb: *x", {"a": [1], "b": [1]}),
        ("a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}", {"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}}),
        ("a: {<<: [{b: 1}, {b: 2, c: 3}]}", {"a": {"b": 1, "c": 3}}),
        ("{a: 1,\n\tb: 2}", {"a": 1, "b": 2}),
        ("a: |\n  x\n\n  \ty", {"a": "x\n\n\ty"}),
    ],
)
def test_reads_yaml_as_the_tools_of_kubernetes_do(text: str, expected: object) -> None:
    assert content(text) == expected


def test_numbers_the_documents_and_leaves_out_empty_ones() -> None:
    assert list(yaml_documents.load("---\n---\na: 1\n---\n# nothing\n---\nb: 2\n")) == [
        Document(2, {"a": 1}),
        Document(4, {"b": 2}),
    ]


def test_gives_the_documents_before_one_that_is_no_yaml() -> None:
    good, bad = yaml_documents.load("a: 1\n---\nb: [\n---\nc: 3")

    assert good == Document(1, {"a": 1})
    assert isinstance(bad, Malformed)
    assert bad.number == 2
    assert bad.message.startswith("line 4, column 1: not YAML")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("a: 1\nb: 2\na: 3", 'line 3: the key "a" is there twice'),
        ("x:\n  - {a: 1, a: 1}", "line 2: the key"),
        ("1: a\n1: b", "line 2: the key 1 is there twice"),
        ("1: a\ntrue: b", "line 2: the keys 1 and true can't stand together: quote them"),
        ("off: a\n0.0: b", "line 2: the keys false and 0.0 can't stand together: quote them"),
        ("? [1]\n: 2", "a key must be text"),
        ("a: !!python/object/apply:os.system [true]", "the tag tag:yaml.org,2002:python/object/apply:os.system"),
        ("a: !secret b", "the tag !secret is not supported"),
        ("a: !!int b", 'expected a whole number, got "b"'),
        ("a: !!float b", 'expected a number, got "b"'),
        ("a: !!bool b", 'expected true or false, got "b"'),
        ("a: " + "1" * 5000, "expected a whole number"),
        ("&a [*a]", "an alias may not occur inside the node that it refers to"),
        ("a: {<<: 3}", "<< can only merge mappings"),
        ("a: *b", "undefined alias"),
        ("\x00", "not YAML"),
        ("\ud800", "not valid Unicode"),
    ],
)
def test_says_what_is_wrong(text: str, part: str) -> None:
    assert part in complaint(text)


def test_tells_several_mistakes_of_a_document_at_once() -> None:
    lines = [each.message for each in yaml_documents.load("a: 1\na: 2\nb: !x y") if isinstance(each, Malformed)]

    assert len(lines) == 2


def test_says_that_tabs_are_no_indentation_and_where_they_are() -> None:
    message = complaint("a:\n\tb: 1\n\tc: 2\n  d: 3\n \te: 4\n")

    assert message == (
        "line 2: YAML does not allow tabs for indentation; replace them with spaces (lines 2-3 and 5 begin with tabs)"
    )


def test_says_that_an_ellipsis_stands_for_something_left_out() -> None:
    assert "line 2: `...` stands for what an example leaves out" in complaint("spec:\n  ...\n  model: x\n")


def test_refuses_a_text_over_the_size_cap() -> None:
    assert "larger than 1048576 bytes" in complaint("a" * (yaml_documents.MAX_BYTES + 1))
    assert content("a" * yaml_documents.MAX_BYTES) == "a" * yaml_documents.MAX_BYTES


@pytest.mark.parametrize("piece", ["[", "{a: ", "- ", "? ", "[{a: ["])
def test_refuses_what_is_nested_too_deep_before_composing_it(piece: str) -> None:
    assert "nested deeper" in complaint(piece * (yaml_documents.MAX_BYTES // len(piece)))


def test_refuses_aliases_that_unfold_to_very_much() -> None:
    rows = "".join(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 40))

    message = complaint(f"a0: &a0 [{','.join('x' * 10)}]\n{rows}")

    assert "more than 200000 values, with aliases expanded" in message
