"""Selectors as Kubernetes writes and reads them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamlit_controller.core.metric_spec import Operator, Requirement, Selector
from beamlit_controller.kubernetes import pod_selector

KEYS = st.sampled_from(["app", "tier", "example.com/role", "a"])
VALUES = st.sampled_from(["x", "y-1", "z.2", "w_3"])
REQUIREMENTS = st.one_of(
    st.builds(
        Requirement, KEYS, st.sampled_from([Operator.IN, Operator.NOT_IN]), st.lists(VALUES, min_size=1).map(tuple)
    ),
    st.builds(Requirement, KEYS, st.sampled_from([Operator.EXISTS, Operator.DOES_NOT_EXIST])),
)
SELECTORS = st.builds(
    Selector,
    st.dictionaries(KEYS, VALUES).map(lambda labels: tuple(labels.items())),
    st.lists(REQUIREMENTS, max_size=4).map(tuple),
)


@given(SELECTORS, st.dictionaries(KEYS, VALUES))
def test_what_is_written_reads_as_what_matches_the_same(selector: Selector, labels: dict[str, str]) -> None:
    read = pod_selector.parse(pod_selector.write(selector)).selector

    assert read.matches(labels) == selector.matches(labels)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("app=llm", "app=llm"),
        ("b=2,a=1", "a=1,b=2"),
        ("a==1", "a==1"),
        ("a!=1", "a!=1"),
        (" q in ( z , y ),!k , x", "!k,q in (y,z),x"),
        ("c notin (404,500)", "c notin (404,500)"),
        ("example.com/role=a.b_c-d", "example.com/role=a.b_c-d"),
        ("a=", "a="),
        ("", ""),
    ],
)
def test_a_selector_of_a_scale_is_asked_for_in_its_canonical_form(text: str, written: str) -> None:
    assert pod_selector.parse(text).text == written


@pytest.mark.parametrize("text", ["app=llm;", "a=b=c", "in (a)", "a in b", "a in (b", "!a=b", "a>1", "ü=1", "a b"])
def test_what_is_no_selector_is_refused_with_what_came(text: str) -> None:
    with pytest.raises(ValueError, match="expected a label selector"):
        pod_selector.parse(text)


def test_a_selector_of_many_values_is_read_in_linear_time_up_to_a_length() -> None:
    """A Deployment whose selector had 30,000 values held up the whole controller for many seconds."""
    values = ",".join(f"v{number:05x}" for number in range(1000))
    longest = f"app in ({values})"

    assert pod_selector.parse(longest).text == longest
    for text in (f"app in ({values * 30})", "a," * 5000, "(" * 10_000, "a in (" * 2000):
        with pytest.raises(ValueError, match="expected a label selector of at most 8192 characters") as raised:
            pod_selector.parse(text)
        assert len(str(raised.value)) < 200


@given(st.text("ab=!,() in.\u00b2", max_size=300))
def test_any_text_is_a_selector_or_a_short_value_error(text: str) -> None:
    try:
        read = pod_selector.parse(text)
    except ValueError as error:
        said = str(error)
    else:
        said = ""
        assert pod_selector.parse(read.text).selector.matches({}) == read.selector.matches({})

    assert len(said) < 400
