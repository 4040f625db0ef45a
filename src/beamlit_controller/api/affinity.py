"""The affinity of pods, as operators write it: the fields, and the rules of the API server, are those of a pod (`core/v1`)."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from beamlit_controller.api import problems
from beamlit_controller.api.label_names import LabelKey, LabelValue
from beamlit_controller.api.model import StrictModel
from beamlit_controller.api.rules import Mistake
from beamlit_controller.api.scalars import DnsLabel

_MOST = 100
_Values = Annotated[list[Annotated[str, StringConstraints(max_length=253)]], Field(max_length=_MOST)]


class _Requirement(StrictModel):
    """The base of requirements: how many values an operator takes."""

    @classmethod
    def mistakes(cls, given: Mapping[Any, object]) -> Iterator[Mistake]:
        """Report a number of values that the operator does not take."""
        yield from super().mistakes(given)
        operator, values = given.get("operator"), given.get("values", [])
        if not isinstance(values, list):
            return
        if operator in {"In", "NotIn"} and not values:
            yield Mistake(("values",), f"expected at least one value with operator {operator}, got none")
        if operator in {"Exists", "DoesNotExist"} and values:
            yield Mistake(("values",), f"may not be set with operator {operator}")
        if operator in {"Gt", "Lt"} and not (len(values) == 1 and _is_integer(values[0])):
            yield Mistake(("values",), f"expected one whole number in quotes with operator {operator}")


def _is_integer(value: object) -> bool:
    return isinstance(value, str) and value.removeprefix("-").isdecimal() and value.isascii()


class NodeRequirement(_Requirement):
    """A requirement for the labels of a node."""

    key: LabelKey = Field(description="Key of the label.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"] = Field(
        description="Relation between the label and `values`."
    )
    values: _Values = Field(default=[], description="Values, if the operator takes any.")


class FieldRequirement(StrictModel):
    """A requirement for the name of a node."""

    key: Literal["metadata.name"] = Field(description="The field.")
    operator: Literal["In", "NotIn"] = Field(description="Relation between the field and `values`.")
    values: Annotated[_Values, Field(min_length=1, max_length=1)] = Field(description="The name of one node.")


class LabelRequirement(_Requirement):
    """A requirement for the labels of a pod or a namespace."""

    key: LabelKey = Field(description="Key of the label.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"] = Field(
        description="Relation between the label and `values`."
    )
    values: Annotated[list[LabelValue], Field(max_length=_MOST)] = Field(
        default=[], description="Values, if the operator takes any."
    )


class AffinitySelector(StrictModel):
    """The labels that pods or namespaces must have. A selector of a metric, whose keys may be labels of Prometheus, is another one."""

    match_labels: dict[LabelKey, LabelValue] = Field(
        default={}, max_length=_MOST, description="Labels with their values."
    )
    match_expressions: list[LabelRequirement] = Field(default=[], max_length=_MOST, description="Requirements.")


class NodeSelectorTerm(StrictModel):
    """Requirements that a node must all meet."""

    match_expressions: list[NodeRequirement] = Field(default=[], max_length=_MOST, description="For its labels.")
    match_fields: list[FieldRequirement] = Field(default=[], max_length=_MOST, description="For its name.")


class NodeSelector(StrictModel):
    """Terms of which a node must meet one."""

    node_selector_terms: list[NodeSelectorTerm] = Field(min_length=1, max_length=_MOST, description="The terms.")


Weight = Annotated[int, Field(ge=1, le=100)]


class PreferredNodes(StrictModel):
    """A preferred term."""

    weight: Weight = Field(description="From 1 to 100.")
    preference: NodeSelectorTerm = Field(description="The term.")


class PodAffinityTerm(StrictModel):
    """Pods, and the label of nodes by which a node is near them."""

    topology_key: LabelKey = Field(description="Key of a label of nodes: nodes with the same value are near.")
    label_selector: AffinitySelector | None = Field(default=None, description="The pods; by default none.")
    namespace_selector: AffinitySelector | None = Field(default=None, description="Their namespaces, by labels.")
    namespaces: list[DnsLabel] = Field(
        default=[], max_length=_MOST, description="Their namespaces, by name; by default that of the pod itself."
    )
    match_label_keys: list[LabelKey] = Field(
        default=[],
        max_length=_MOST,
        description="Keys of labels that must have the same value as those of the pod itself.",
    )
    mismatch_label_keys: list[LabelKey] = Field(
        default=[],
        max_length=_MOST,
        description="Keys of labels that must have another value than those of the pod itself.",
    )

    @classmethod
    def mistakes(cls, given: Mapping[Any, object]) -> Iterator[Mistake]:
        """Report keys of labels without a selector to add them to."""
        yield from super().mistakes(given)
        for name in ("matchLabelKeys", "mismatchLabelKeys"):
            if given.get(name) and "labelSelector" not in given:
                yield Mistake((name,), f"expected labelSelector beside it, got {problems.came(given[name])} alone")


class PreferredPods(StrictModel):
    """A preferred term."""

    weight: Weight = Field(description="From 1 to 100.")
    pod_affinity_term: PodAffinityTerm = Field(description="The term.")


class NodeAffinity(StrictModel):
    """Nodes that are required or preferred."""

    required_during_scheduling_ignored_during_execution: NodeSelector | None = Field(
        default=None, description="Terms of which one must match."
    )
    preferred_during_scheduling_ignored_during_execution: list[PreferredNodes] = Field(
        default=[], max_length=_MOST, description="Terms with a weight."
    )


class PodAffinity(StrictModel):
    """Pods near which, or away from which, pods run."""

    required_during_scheduling_ignored_during_execution: list[PodAffinityTerm] = Field(
        default=[], max_length=_MOST, description="Terms that must all hold."
    )
    preferred_during_scheduling_ignored_during_execution: list[PreferredPods] = Field(
        default=[], max_length=_MOST, description="Terms with a weight."
    )


class Affinity(StrictModel):
    """Nodes and other pods, near which or away from which pods run."""

    node_affinity: NodeAffinity | None = Field(default=None, description="Nodes that are required or preferred.")
    pod_affinity: PodAffinity | None = Field(default=None, description="Pods to run near.")
    pod_anti_affinity: PodAffinity | None = Field(default=None, description="Pods to run away from.")
