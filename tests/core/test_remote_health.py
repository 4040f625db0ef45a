"""Whether the remote can be used, from what gateways count."""

from dataclasses import replace

import pytest

from beamlit_controller.core import remote_health
from beamlit_controller.core.reason import Reason
from beamlit_controller.core.remote_health import Attempts, RemoteAssessment
from beamlit_controller.core.spec import ApiKey, OAuth, RemoteBackend, RemoteTls, Scheme, SecretKey

REMOTE = RemoteBackend(Scheme.HTTPS, "api.example.com", 443, auth=ApiKey(SecretKey("remote", "apiKey")))


def attempts(*counts: tuple[str, int, int], servers: int = 1) -> Attempts:
    return Attempts(counts, servers)


def judged(*counts: tuple[str, int, int], remote: RemoteBackend = REMOTE, servers: int = 1) -> RemoteAssessment:
    return remote_health.judge(remote, RemoteAssessment(), attempts(*counts, servers=servers))


def test_is_unknown_until_something_was_sent() -> None:
    condition = judged().condition

    assert (condition.status, condition.reason) == ("Unknown", Reason.REMOTE_NOT_ASKED)


@pytest.mark.parametrize(
    ("count", "reason", "words"),
    [
        (("no-server", 503, 1), Reason.REMOTE_UNHEALTHY, "fails its health check"),
        (("tls-expired", 503, 1), Reason.REMOTE_CERTIFICATE_EXPIRED, "the certificate of api.example.com has expired"),
        (("tls-name", 503, 1), Reason.REMOTE_CERTIFICATE_FOR_ANOTHER_NAME, "is not for api.example.com"),
        (("tls-untrusted", 503, 1), Reason.REMOTE_CERTIFICATE_UNTRUSTED, "signed by an untrusted CA"),
        (("tls", 503, 1), Reason.TLS_FAILED, "the TLS handshake"),
        (("credential", 503, 1), Reason.CREDENTIALS_UNREADABLE, "Secret remote, key apiKey: missing, empty"),
        (("timeout", 503, 1), Reason.TIMED_OUT, "connecting to api.example.com:443 timed out"),
        (("refused", 503, 1), Reason.CONNECTION_FAILED, "api.example.com:443 refused the connection"),
        (("reset", 503, 1), Reason.REMOTE_RESETS, "closed the connection before answering"),
        (("answered", 401, 1), Reason.REMOTE_REFUSES_CREDENTIAL, "answers 401"),
        (("answered", 403, 1), Reason.REMOTE_REFUSES_CREDENTIAL, "answers 403"),
        (("answered", 429, 1), Reason.REMOTE_THROTTLES, "answers 429"),
        (("answered", 500, 1), Reason.REMOTE_FAILS, "answers 500"),
        (("answered", 529, 1), Reason.REMOTE_FAILS, "answers 529"),
    ],
)
def test_names_the_cause(count: tuple[str, int, int], reason: Reason, words: str) -> None:
    condition = judged(count).condition

    assert (condition.status, condition.reason) == ("False", reason)
    assert words in condition.message
    assert condition.message.endswith("1 of the last 1 attempts failed")


def test_names_the_file_of_a_credential_where_secrets_are_files() -> None:
    judged_here = remote_health.judge(
        REMOTE, RemoteAssessment(), attempts(("credential", 503, 1)), secret_name=lambda key: f"/s/{key.name}/{key.key}"
    )

    assert judged_here.condition.message.startswith("/s/remote/apiKey: missing, empty, or not valid in a header; ")


def test_tells_an_unknown_address_from_a_failed_check() -> None:
    condition = judged(("no-server", 503, 1), servers=0).condition

    assert condition.reason is Reason.REMOTE_ADDRESS_UNKNOWN


def test_names_the_key_and_the_place_of_tokens() -> None:
    oauth = OAuth("client", SecretKey("remote", "secret"), "https://login.example.com/token")

    message = judged(("credential", 503, 2), remote=replace(REMOTE, auth=oauth)).condition.message

    assert "no token from https://login.example.com/token" in message
    assert "Secret remote, key secret" in message


def test_says_the_name_that_was_asked_for() -> None:
    message = judged(
        ("tls-name", 503, 1), remote=replace(REMOTE, tls=RemoteTls(server_name="inner.test"))
    ).condition.message

    assert "the certificate of api.example.com is not for inner.test" in message


@pytest.mark.parametrize("code", [200, 201, 302, 400, 404, 422])
def test_a_remote_that_answers_is_ready(code: int) -> None:
    condition = judged(("answered", code, 7)).condition

    assert (condition.status, condition.reason) == ("True", Reason.REMOTE_ANSWERS)
    assert condition.message == "api.example.com answered the last requests: 7 of 7"


def test_a_remote_that_answers_some_is_ready_and_its_failures_are_told() -> None:
    condition = judged(("answered", 200, 7), ("answered", 429, 2), ("reset", 503, 1)).condition

    assert (condition.status, condition.reason) == ("True", Reason.REMOTE_ANSWERS)
    assert condition.message == "api.example.com answers 429; 3 of the last 10 attempts failed"


def test_judges_by_what_is_new() -> None:
    before = judged(("answered", 200, 1000))

    after = remote_health.judge(REMOTE, before, attempts(("answered", 200, 1000), ("answered", 401, 3)))

    assert after.condition.reason is Reason.REMOTE_REFUSES_CREDENTIAL
    assert "3 of the last 3" in after.condition.message


@pytest.mark.parametrize("nothing", [(), (("full", 503, 5),), (("client-gone", 0, 5),)])
def test_what_was_known_holds_while_nothing_new_says_otherwise(nothing: tuple[tuple[str, int, int], ...]) -> None:
    before = judged(("tls-expired", 503, 3))

    after = remote_health.judge(REMOTE, before, attempts(("tls-expired", 503, 3), *nothing))

    assert after.condition == before.condition


def test_a_gateway_that_began_anew_counts_from_nothing() -> None:
    before = judged(("answered", 200, 1000))

    after = remote_health.judge(REMOTE, before, attempts(("answered", 200, 4)))

    assert "4 of 4" in after.condition.message


def test_adds_up_gateways() -> None:
    one, two = attempts(("answered", 200, 1), servers=0), attempts(("answered", 200, 2), ("reset", 503, 1))

    whole = remote_health.all_together((one, two))

    assert whole == attempts(("answered", 200, 3), ("reset", 503, 1))
