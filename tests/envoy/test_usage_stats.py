"""What is read of a gateway's counts of tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamlit_controller.core.usage import Usage
from beamlit_controller.envoy import usage_stats

PAGE = """\
# TYPE envoy_offload_remote_answers counter
envoy_offload_remote_answers{remote="one",usage="read"} 12
envoy_offload_remote_answers{remote="one",usage="unread"} 2
envoy_offload_remote_answers{remote="one",usage="gone"} 3
envoy_offload_remote_answers{usage="unread"} 1
# TYPE envoy_offload_remote_tokens counter
envoy_offload_remote_tokens{direction="input",remote="one"} 3400
envoy_offload_remote_tokens{direction="output",remote="one"} 560
"""


def test_reads_requests_and_tokens_of_each_remote() -> None:
    assert usage_stats.usage(PAGE) == {
        "one": Usage(requests=17, input_tokens=3400, output_tokens=560, unread=5),
        "": Usage(requests=1, unread=1),
    }


ODD = (
    'envoy_offload_remote_tokens{direction="input",remote="' + "a" * 64 + '"} 1',
    'envoy_offload_remote_tokens{direction="input",remote="Ä"} 1',
    'envoy_offload_remote_tokens{direction="input"} ' + "9" * 5000,
    'envoy_offload_remote_tokens{direction="input"} ٣',
    'envoy_offload_remote_tokens{direction="input"} -3',
    "envoy_offload_remote_tokens{" + 'a="b",' * 10_000 + "} 1",
)


def test_a_label_is_only_its_whole_name() -> None:
    line = 'envoy_offload_remote_tokens{direction="input",of_remote="one",remote="two"} 1\n'
    other = 'envoy_offload_remote_tokens{direction="input",remote="two",of_remote="one"} 1\n'

    assert usage_stats.usage(line + other) == {"two": Usage(input_tokens=2)}


@pytest.mark.parametrize("line", ODD)
def test_what_is_no_number_of_a_gateway_is_not_there(line: str) -> None:
    assert usage_stats.usage(line + "\n") == {}


def test_any_number_of_names_on_a_page_is_bounded() -> None:
    page = "".join(f'envoy_offload_remote_tokens{{direction="input",remote="r{n}"}} 1\n' for n in range(20_000))

    assert len(usage_stats.usage(page)) <= 1000


@given(st.text())
def test_never_raises(page: str) -> None:
    usage_stats.usage(page)
