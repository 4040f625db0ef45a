"""What a resource may say at its oddest, Envoy takes: each field that is free text has such a value, all at once."""

import json
import re
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from beamlit_controller.api import translate
from beamlit_controller.api.settings import Settings
from beamlit_controller.api.translate import Accepted
from beamlit_controller.envoy import command, config, paths
from beamlit_controller.envoy.gateway_params import GatewayParams
from fakes import one_file, secrets
from fakes.tls import Authority

ODD = 'a"\\]]--%s\u2028ü{}{{$model %REQ(x)% %ENVIRONMENT(HOME)% 100%'
REGEX = "/(.*)[a-z]+{1,9}$^|%20\"<>`'!&;=@,+~"
SECRET = {"name": "remote", "key": "a.b-c_d"}
HEADERS = {"x!#$%&'*+.^_`|~": "v", "x-odd": ODD, "x-tab": "a\tb", "x-empty": "", "x-long": "v" * 7000}
FIRST = {
    "name": "first",
    "host": "[2001:db8::1]:65535",
    "pathPrefix": "/$workspace/$model/(x)[y]*",
    "headersToAdd": HEADERS,
    "headersToRemove": ["x!#$%&'*+.^`|~-", "X-UPPER"],
    "query": {"ü&=?#%": ODD, "a b": "%&=?#"},
    "queryToRemove": ["ü", "%", '"\\', "[]"],
    "modelNames": {ODD: ODD, "b": None, "\u202e": "\U0001f600"},
    "onStatus": list(range(400, 464)),
    "usage": "Ask",
    "maxInFlight": 2**31 - 1,
    "healthCheck": {"path": REGEX.replace("%20", "%ff"), "periodSeconds": 1},
    "authConfig": {
        "type": "apiKey",
        "apiKeyConfig": {"secretRef": SECRET, "header": "X-KEY!#$", "prefix": '%REQ(x)% "\\'},
    },
}
SECOND = {
    "name": "second",
    "host": "a_b.xn--bcher-kva.example",
    "tls": {"serverName": "EXAMPLE.com"},
    "authConfig": {
        "type": "oauth",
        "oauthConfig": {
            "clientId": "a&client_secret=x&scope=admin ü%",
            "clientSecretRef": SECRET,
            "tokenUrl": f"https://api.example.com/{'x' * 1900}?a=%zz",
            "scopes": ["%REQ(x)%", "a:b/c.d"],
        },
    },
}
SPEC: dict[str, Any] = {
    "model": f"org/{ODD}",
    "serviceRef": {"name": "llama", "targetPort": 8000},
    "gateway": {"resources": {"limits": {"memory": "64Mi", "cpu": "0"}, "requests": {"memory": "67108864"}}},
    "offloadingConfig": {
        "remoteBackends": [FIRST, SECOND],
        "keepLocal": [
            *({"pathPrefix": f"{REGEX}{number}"} for number in range(60)),
            *({"header": f"x!#$&'*+.^`|~{number}", "value": ODD} for number in range(20)),
        ],
        "mayLeave": [
            *({"pathPrefix": f"{REGEX}{number}", "methods": ["GET", "POST"]} for number in range(60)),
            *({"header": f"x-{number}", "value": ODD.replace(",", "")} for number in range(20)),
        ],
        "stickiness": {"cookie": "x!#$%&'*+.^_`|~"},
        "overflow": {"onStatus": list(range(400, 450)), "afterSeconds": 3600, "maxRequestBytes": 2**30},
        "allowOverride": True,
    },
}


@pytest.mark.parametrize("text", ["a.b*c", "é", "日本 \u2028", "\U0001f600|x"])
def test_a_literal_matches_the_bytes_of_its_text_and_nothing_else(text: str) -> None:
    """Envoy refused what has a number above 255, and with it all routes."""
    pattern = re.compile(paths.literal(text).encode())

    assert pattern.fullmatch(text.encode())
    assert not pattern.fullmatch(text.replace(text[0], "z").encode())


@pytest.mark.system
def test_envoy_takes_the_oddest_values_that_are_accepted(tmp_path: Path) -> None:
    resource = {
        "apiVersion": "deployment.beamlit.com/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "llama"},
        "spec": SPEC,
    }
    read = translate.read(resource, Settings(allowed_remote_hosts=("*",)))
    assert isinstance(read, Accepted), read
    authority = Authority(tmp_path)
    secrets.put(tmp_path, SECRET["name"], **{SECRET["key"]: b"of this test"})
    params = GatewayParams(
        node="default/llama",
        directory=str(tmp_path),
        front="127.0.0.1:8080",
        stats="127.0.0.1:9902",
        admin=f"unix:{tmp_path}/admin.sock",
        shares=f"unix:{tmp_path}/shares.sock",
        local=("127.0.0.1:8000",),
        secrets=str(tmp_path),
        system_ca=str(authority.cert),
    )
    bootstrap = tmp_path / "bootstrap.json"
    bootstrap.write_text(json.dumps(one_file.in_one(config.files(read.spec, params))))

    words = command.command(tmp_path, concurrency=1, drain=timedelta(seconds=1))
    checked = subprocess.run([*words, "--mode", "validate"], capture_output=True, text=True, check=False)

    assert checked.stdout.strip() == f"configuration '{bootstrap}' OK", checked.stderr[-1000:]
