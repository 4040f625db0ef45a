"""What is told of a gateway's faults."""

from beamlit_controller.core.spec import ModelKey
from beamlit_controller.standalone.faults import Fault, Faults

TAKEN = "cannot bind '127.0.0.1:8080': Address already in use"


def test_a_fault_that_only_repeats_another_in_more_words_is_not_told() -> None:
    faults = Faults(ModelKey("default", "llama"))

    faults.add(Fault.REFUSED, f"Envoy has not accepted lds.json: {TAKEN}; the previous configuration stays in force")
    faults.add(Fault.LISTENER, TAKEN)
    faults.add(Fault.REMOTE, "an odd page")

    assert faults.text == f"{TAKEN}; an odd page"
    assert faults.count == 3


def test_the_same_message_of_two_faults_is_told_once() -> None:
    faults = Faults(ModelKey("default", "llama"))

    faults.add(Fault.FILES, "No space left on device")
    faults.add(Fault.PROCESS, "No space left on device")

    assert faults.text == "No space left on device"
