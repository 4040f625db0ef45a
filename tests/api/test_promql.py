"""What `check` says of a query, before anybody is asked: real queries of real people, and where they are from."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from fractions import Fraction

import promql_parser
import pytest

from beamlit_controller.api import first_byte_queries, promql, promql_ranges
from beamlit_controller.core.metric_spec import FirstByte

# Nothing to say: each gives one series at all times, or nobody could know better.
GOOD = {
    "vllm production stack": 'sum(vllm:num_requests_waiting{namespace="default",model_name="llama3"})',
    "lines": 'sum(\n  vllm:num_requests_waiting{app="llm"}\n)  # all of them',
    "quantile": 'histogram_quantile(0.95, sum by (le) (rate(vllm:time_to_first_token_seconds_bucket{a="b"}[1m])))',
    "ratio": "sum(rate(errors_total[5m])) / sum(rate(requests_total[5m]))",
    "kept alive": "sum(queue > 10) or vector(0)",
    "kept alive by on": 'sum(queue{a="b"} > 10) or on() vector(0)',
    "bool": "sum(queue > bool 10)",
    "scalar": "scalar(max(queue))",
    "clamped": "clamp_max(avg(queue), 10)",
    "a subquery": "max_over_time(sum(queue)[5m:30s])",
    "the end of a regular expression": 'sum(queue{model=~"llama.*$|mixtral$"})',
    "label_replace with groups": 'sum(label_replace(queue, "a", "$1-${name}", "b", "(.*)(?P<name>x)"))',
    "brackets in strings": "max(queue{a=\"(\",b='[',c=`{`})",
    "a comment with a bracket": "max(queue) # (the queue",
    "two sums": "max(a) + on() sum(b)",
    "count of values": "count(queue)",
    "kedacore/keda#1881": (
        'sum(kube_pod_status_phase{namespace="n",phase="Running"}) / '
        'sum(kube_pod_status_phase{namespace="n",phase="Running",pod=~"workload2.*"})'
    ),
    "kedacore/keda#4148": (
        '((sum(rate(container_cpu_usage_seconds_total{container=~".*checkoutservice" }[60s])))/ '
        '(sum(kube_pod_container_resource_requests{resource="cpu", container=~".*checkoutservice"}) )*100)'
    ),
    "kedacore/keda#6549": 'sum(rate(nginx_ingress_controller_requests{namespace="ingress-nginx"}[1m])) * 60\n',
    "grafana/grafana#53248": '(count(count by(cpu) (node_cpu_seconds_total{job="qnap-node"})))',
    "absent, or 0": "absent(queue) or vector(0)",
    "1 where there is no series": "sum(queue) or absent(queue)",
    "series chosen by others": "sum(queue and on(pod) ready == 1)",
    "series without others": "max(queue unless on(pod) draining)",
    "chosen by what is always there": "sum(queue) and on() vector(1)",
    "chosen, or 0": "sum(queue) and on() sum(traffic) or vector(0)",
    "one filter for each case": "max(a) > 10 or max(b)",
    "by the clock": "sum(queue) * (hour() > bool 8)",
    "a schedule": "vector(1) * hour()",
    "the highest": "topk(1, sum by (model) (queue))",
    "one series with another label": 'label_replace(sum(queue), "a", "$1", "b", "(.*)")',
    "in flight by two counters": "sum(started_total) - sum(finished_total)",
    "a subquery of a counter": "max_over_time(sum(rate(requests_total[1m]))[5m:30s])",
    "how many have a counter": "count(requests_total)",
    "a native histogram": "histogram_quantile(0.95, sum(rate(latency_seconds[1m])))",
    "a rate of buckets as they are recorded": "histogram_quantile(0.95, sum by (le) (job:latency:rate5m))",
    "GoogleCloudPlatform/kubernetes-engine-samples: TTFT": (
        "histogram_quantile(0.5, sum by (le) (rate(vllm:time_to_first_token_seconds_bucket[1m]))) * 1000"
    ),
}

# What no Prometheus can read.
BROKEN = {
    "Grafana's interval": ("sum(rate(x[$__rate_interval]))", "$__rate_interval"),
    "Grafana's interval in braces": ("sum(rate(x[${__interval}]))", "${__interval}"),
    "Grafana's range": ("sum(increase(x[$__range]))", "$__range"),
    "a variable in a label": ('sum(x{model_name="$model_name"})', "$model_name"),
    "a variable in braces in a label": ('sum(x{model_name=~"${model_name:regex}"})', "${model_name"),
    "a variable of old Grafana": ('sum(x{model_name="[[model]]"})', "[[model]]"),
    "a template of prometheus-adapter": ("sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)", "<<"),
    "a template of Helm": ("sum(x) / {{ .Values.replicas }}", "{{"),
    "a template of Helm in a label": ('sum(x{ns="{{ .Release.Namespace }}"})', "{{"),
    "grafana/grafana#15168": (
        'sum(changes(process_start_time_seconds{ instance=~"$instance"}[$__interval]))',
        "$instance",
    ),
    "grafana/grafana#44542": ("rate(node_cpu_seconds_total[$__rate_interval])", "$__rate_interval"),
    "canonical/grafana-k8s-operator#495": ('avg(x{job="$job"}) by (job $grouping)', "$grouping"),
    "not closed": ("sum(rate(x[1m])", "( at character 4 is not closed"),
    "closed twice": ("sum(rate(x[1m])))", ") at character 17 closes nothing"),
    "crossed": ("sum(rate(x[1m)])", "closes nothing"),
    "a brace": ('sum(x{a="b")', "closes nothing"),
    "a backslash before the last quote": ('sum(x{a="b\\"})', "string that begins at character 9 is not closed"),
    "a back quote": ("sum(x{a=`b})", "string that begins at character 9 is not closed"),
    "a quote": ('sum(x{a="b})', "string that begins at character 9 is not closed"),
}

# What is valid, and does not do what its author thinks.
TOLD = {
    # kedacore/keda#3065: an empty result where 0 was meant.
    "an alert's expression": ("sum(vllm:num_requests_waiting) > 10", "is a filter"),
    "a filter within": ("sum(queue > 10)", "is a filter"),
    "a filter in parentheses": ("(sum(queue) >= 10)", "is a filter"),
    "equality": ("max(up) == 1", "is a filter"),
    "difference": ("max(queue) != 0", "is a filter"),
    "a filter on the right": ("max(queue) and max(up) > 0", "is a filter"),
    "the other way round": ("10 < max(queue)", "is a filter"),
    "a filter in a function": ("clamp_min(max(queue) > 10, 1)", "is a filter"),
    # Empty just as well, and rarely known to be.
    "absent": ("absent(up{job='vllm'})", "`absent` is 1 or empty"),
    "absent over time": ("max(absent_over_time(queue[5m]))", "`absent_over_time` is 1 or empty"),
    "and": ("sum(a) and on() sum(b)", "`and` is a filter: while its right side has no series"),
    "and of sums within a sum": ("sum(sum(a) and on() sum(b))", "`and` is a filter"),
    "and with a filter": ("max(queue) and on() max(up) > 0", "`and` is a filter"),
    "unless": ("sum(a) unless on() sum(b)", "`unless` is a filter: while its right side has a series"),
    "unless with a filter": ("sum(a) unless on() (sum(b) > 3)", "`unless` is a filter"),
    "a filter in each case": ("max(a) > 10 or max(b) > 10", "is a filter"),
    # Always the same.
    "a number": ("42", "reads no series"),
    "a number as a vector": ("vector(1)", "reads no series"),
    "arithmetic": ("2 * pi()", "reads no series"),
    # kubernetes-monitoring/kubernetes-mixin#855: pairs of Prometheus double every series.
    "labels without aggregation": ('vllm:num_requests_waiting{namespace="default"}', "several series"),
    "a quantile for each pod": ("histogram_quantile(0.95, sum by (le, pod) (rate(x_bucket[1m])))", "several series"),
    "a quantile of everything": ("histogram_quantile(0.95, rate(x_bucket[1m]))", "several series"),
    "a rate": ("rate(requests_total[5m])", "several series"),
    "by pod": ("sum by (pod) (queue)", "several series"),
    "without": ("max without (instance) (queue)", "several series"),
    "topk": ("topk(2, queue)", "several series"),
    "topk by": ("topk by (pod) (1, queue)", "several series"),
    "a ratio by labels": ("rate(a[5m]) / rate(b[5m])", "several series"),
    "count_values": ('count_values("v", queue)', "several series"),
    "kedacore/keda#702": (
        'rabbitmq_queue_messages{queue="1"}\n/\nrabbitmq_queue_consumers{queue="1"}',
        "several series",
    ),
    "kedacore/keda#5781": ('count(container_cpu_cfs_throttled_periods_total{a="b"}) by (container)', "several series"),
    "kedacore/keda#5432": ('kaka_query{topic="event.x-y.v1"} offset 2m', "`offset`"),
    "offset": ("sum(queue offset 5m)", "`offset`"),
    "offset in a range": ("sum(rate(requests_total[5m] offset 1h))", "`offset`"),
    "offset of a subquery": ("max_over_time(sum(queue)[5m:1m] offset 1m)", "`offset`"),
    "negative offset": ("sum(queue offset -5m)", "`offset`"),
    "a fixed time": ("sum(queue @ 1609746000)", "`@`"),
    # What histogram_quantile does not complain about, and gives NaN, +Inf or nothing for.
    "prometheus/prometheus#10011, a percentile": (
        "histogram_quantile(95, sum by (le) (rate(x_bucket[1m])))",
        "0.95, not 95",
    ),
    "no le": ("histogram_quantile(0.95, sum(rate(x_bucket[1m])))", "needs the label le"),
    "le taken away": ("histogram_quantile(0.95, sum without (le) (rate(x_bucket[1m])))", "several series"),
    "since the beginning": ("histogram_quantile(0.95, sum by (le) (x_bucket))", "everything since the server started"),
    # A counter as it is can only engage, and never release.
    "a counter": ("sum(vllm:generation_tokens_total)", "is a counter by its name, and only rises"),
    "a counter per replica": ("sum(http_requests_total) / count(up)", "is a counter by its name, and only rises"),
    "a rate of a gauge": ("sum(rate(vllm:num_requests_waiting[1m]))", "is a gauge: use avg_over_time"),
    "an increase of a gauge": ("max(increase(DCGM_FI_DEV_GPU_UTIL[5m]))", "is a gauge: use avg_over_time"),
    # A range where Prometheus' page draws a graph; a metric is one value.
    "a range": ("vllm:num_requests_waiting[5m]", "returns a range of samples"),
    "a subquery alone": ("(sum(queue)[5m:])", "returns a range of samples"),
    "a string": ('"5"', "returns a string"),
    # Names of other products, which PromQL reads as something else.
    "SQS, kubernetes-sigs/custom-metrics": ("sqs-messages-visible", '{"sqs-messages-visible"}'),
    "KEDA's own names": ("s0-prometheus", '{"s0-prometheus"}'),
    "OpenTelemetry, prometheus/prometheus#13095": (
        "gen_ai.server.time_to_first_token",
        '{"gen_ai.server.time_to_first_token"}',
    ),
    "Google": ("kubernetes.io|container|accelerator|duty_cycle", '{"kubernetes.io|container|accelerator|duty_cycle"}'),
    "Datadog, DataDog/datadog-operator": (
        "datadogmetric@default:nginx-requests",
        '{"datadogmetric@default:nginx-requests"}',
    ),
    "Datadog's queries": ("avg:vllm.queue{*}", "can't be parsed as PromQL"),
    "InfluxQL": ("SELECT value FROM queue", "can't be parsed as PromQL"),
    "quotes of a word processor": ("sum(queue{a=“b”})", "can't be parsed as PromQL"),
    "a value without quotes": ("sum(queue{a=b})", "expected string"),
    "a range of sums": ("sum(queue[5m])", "expected type vector"),
    # MetricsQL, which VictoriaMetrics reads and Prometheus doesn't; and what people mistype.
    "WITH": ("WITH (q = queue) sum(q)", "asks the server itself"),
    "limit": ("sum(queue) limit 5", "asks the server itself"),
    "median_over_time": ("sum(median_over_time(queue[5m]))", "asks the server itself"),
    "no range": ("sum(rate(requests_total))", "asks the server itself"),
    "an OpenTelemetry name": ("http.server.active_requests", "asks the server itself"),
}


@pytest.mark.parametrize("query", GOOD.values(), ids=GOOD)
def test_of_a_good_query_nothing_is_said(query: str) -> None:
    assert not [*promql.mistakes(query), *promql.notices(query)]


@pytest.mark.parametrize(("query", "named"), BROKEN.values(), ids=BROKEN)
def test_what_no_prometheus_can_read_is_a_mistake_that_names_it(query: str, named: str) -> None:
    assert any(named in mistake for mistake in promql.mistakes(query))


@pytest.mark.parametrize(("query", "said"), TOLD.values(), ids=TOLD)
def test_what_is_valid_but_seldom_meant_is_told_and_not_refused(query: str, said: str) -> None:
    assert not [*promql.mistakes(query)]
    assert any(said in notice for notice in promql.notices(query))


Shape = Callable[[int], str]


@pytest.mark.parametrize(
    "query",
    [
        "rate(x[1e400])",
        "x offset 1e400",
        "x offset -1e+20",
        "x OFFSET Inf",
        "max_over_time(x[5m:1e400])",
        "x[ 18446744073709551615 ]",
        "x[1e19]",
    ],
)
def test_a_duration_with_which_the_parser_would_panic_is_a_notice(
    query: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """A panic is no `Exception`: it ended the command, and would have ended the controller. It writes a stack trace, too."""
    assert any("is out of range" in notice for notice in promql.notices(query))
    assert not capfd.readouterr().err


@pytest.mark.parametrize(
    "query", ["x > 1e400", "x[1e3]", "x offset 1e2", 'x{a="[1e400]"}', "job:1e400:sum", "x @ 1e18"]
)
def test_other_large_numbers_and_usual_durations_are_parsed(query: str) -> None:
    assert promql.parse(query)


@pytest.mark.parametrize(
    "query",
    [
        'sum(x{a=~"("})',
        'sum(x{a!~"("})',
        "sum(x{a=~'('})",
        "sum(x{a=~`(`})",
        'sum(x{a = "b" or b\n=~\t"("})',
        'sum({"x", "a"=~"("})',
        'sum({"=~", a=~"("})',
        'sum(x{a=~# a comment\n"("})',
        'sum(x{a="\\"",b=~"("})',
        "sum(x{a='\"', b=~'(', c='\"'})",
        # A comment of Prometheus ends with a carriage return as well.
        'sum(x # "\r{a=~"("})',
    ],
)
def test_no_regular_expression_is_compiled(query: str) -> None:
    """Each took up to 5 MiB. A query of 700 of them, 16 kB long, ended the process, and so the controller of all models."""
    assert isinstance(promql.parse(query), promql_parser.AggregateExpr)
    assert not [*promql.notices(query)]
    assert promql_ranges.covered(query) == timedelta(0)


def test_a_query_for_the_first_byte_is_recognized_whatever_its_matchers_are() -> None:
    query = 'max(vllm:time_to_first_token_seconds{pod=~"("})'

    assert first_byte_queries.of_query(query) == FirstByte(Fraction(1))


HUGE = {
    "blanks after offset": "x offset" + " " * 1_000_000 + "!",
    "blanks after the sign of an offset": "x offset -" + " " * 1_000_000 + "!",
    "dots in a duration": "x[" + "1." * 500_000 + "]",
    "digits in a duration": "x[" + "1" * 1_000_000 + "y]",
    "open brackets": "[" * 1_000_000,
    "offsets": "offset " * 150_000,
}


@pytest.mark.parametrize("query", HUGE.values(), ids=HUGE)
def test_durations_are_looked_for_in_linear_time(query: str) -> None:
    """It was quadratic: 6 s for the 16,000 characters that a query may have, so hours for these."""
    with pytest.raises(ValueError, match=r"."):
        promql.parse(query)


def test_a_query_longer_than_a_metric_may_be_is_not_parsed() -> None:
    assert promql.is_small("x" * 16_384)
    assert not promql.is_small("x" * 16_385)


def test_another_panic_of_the_parser_is_a_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    class PanicException(BaseException):
        """Named as that of PyO3, which can't be imported."""

    def panic(_: str) -> None:
        raise PanicException("unreachable")

    monkeypatch.setattr(promql.promql_parser, "parse", panic)

    assert any("the parser failed: unreachable" in notice for notice in promql.notices("x"))


def test_the_same_mistake_is_told_once_and_not_too_many_of_them() -> None:
    assert len([*promql.mistakes("sum(rate(x[$__interval]) / rate(y[$__interval]))")]) == 1
    assert len([*promql.mistakes("+".join(f"$v{number}" for number in range(1000)))]) == 5


DEEP: dict[str, Shape] = {
    "parentheses": lambda n: "(" * n + "1" + ")" * n,
    "signs": lambda n: "-" * n + "x",
    "sums": lambda n: "+".join(["x"] * n),
    "powers": lambda n: "^".join(["x"] * n),
    "functions": lambda n: "sum(" * n + "x" + ")" * n,
    "sets": lambda n: " or ".join(["x"] * n),
    "brackets": lambda n: "[" * n,
    "quotes": lambda n: '"' * n,
    "escaped quotes": lambda n: '"' + '\\"' * n,
    "single quotes": lambda n: "x{a='" + "\\'" * n,
    "backslashes": lambda n: 'x{a="' + "\\" * n,
    "labels": lambda n: "x{" + ",".join(f'a{i}="b"' for i in range(n)) + "}",
    "grouped": lambda n: "sum by (a) (" * (n // 2) + "x" + ")" * (n // 2),
    "everything": lambda n: "sum(-(x+" * (n // 4) + "x" + "))" * (n // 4),
    "comparisons": lambda n: ">".join(["x"] * n),
    "equations": lambda n: "==".join(["x"] * n),
    "subqueries": lambda n: "rate(" * (n // 2) + "x" + "[5m:1m])" * (n // 2),
}


@pytest.mark.parametrize("count", [50, 99, 101, 5_000])
@pytest.mark.parametrize("shape", DEEP.values(), ids=DEEP)
def test_no_query_ends_the_process(shape: Shape, count: int) -> None:
    """The parser is native code that calls itself: a stack that overflows there is no exception. Here it is a small one."""
    query, found = shape(count)[:16384], list[str]()

    with a_stack_of(512 * 1024):
        thread = threading.Thread(
            target=lambda: found.extend((*promql.mistakes(query), *promql.notices(query), "read"))
        )
        thread.start()
    thread.join()

    assert found[-1] == "read"


@contextmanager
def a_stack_of(size: int) -> Iterator[None]:
    before = threading.stack_size(size)
    try:
        yield
    finally:
        threading.stack_size(before)


def test_a_long_query_of_many_labels_is_still_looked_at() -> None:
    labels = ",".join(f'label_{number}=~"value-{number}"' for number in range(300))

    assert any("is a filter" in notice for notice in promql.notices(f"sum(queue{{{labels}}}) > 1"))


@pytest.mark.parametrize("query", ['{job!~"|x"}', 'sum({namespace!~"^$"})', 'x{job!~""}'])
def test_a_selector_of_which_one_matcher_excludes_nothing_written_is_valid(query: str) -> None:
    assert promql.parse(query)
