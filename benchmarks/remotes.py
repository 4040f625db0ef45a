"""What the hop of a remote costs a request: plain, with tokens read, and with everything that a remote may have.

`wrk` with 16 kept connections POSTs chats of 1 KiB, which an nginx answers with a JSON of 1 KiB or a stream of 32 events, both with the
usage in them. Rounds are interleaved, every other one backwards. A request for the remote passes the hop, a local one does not.
"""

import json
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from statistics import median

from beamlit_controller.core.price import Budget, BudgetUnit, Period, Price, UsageMode
from beamlit_controller.core.spec import ApiKey, AwsSignature, OffloadSpec, RemoteBackend, Scheme, SecretKey
from benchmarks import load, machine, peers
from benchmarks.load import Load
from benchmarks.peers import Peer

ROUNDS = 5
SECONDS = 1
SIZE = 1024
EVENTS = 32
USAGE = {"prompt_tokens": 250, "completion_tokens": EVENTS, "total_tokens": 250 + EVENTS}

PLAIN = RemoteBackend(Scheme.HTTP, "127.0.0.1", 0, usage=UsageMode.IGNORE)
COUNTED = replace(PLAIN, usage=UsageMode.READ)
PAID = replace(
    PLAIN,
    usage=UsageMode.ASK,
    price=Price(Decimal(1), Decimal(2)),
    budget=Budget(Decimal(10**9), BudgetUnit.COST, Period.DAY),
)
ALL = replace(
    PAID,
    name="one",
    replaced_prefix="/v1",
    path_prefix="/openai/v1",
    query_to_add=(("api-version", "1"),),
    headers_to_add=(("x-team", "search"),),
    model_names=(("model", "the-remotes-own-name"),),
    auth=ApiKey(SecretKey("remote", "apiKey")),
)
SIGNED = replace(ALL, auth=AwsSignature(SecretKey("remote", "credentials"), "us-west-2", "bedrock"))
REMOTES = {
    "nothing counted": (PLAIN,),
    "tokens read": (COUNTED,),
    "price and budget": (PAID,),
    "and path, query, name, API key": (ALL,),
    "and a second remote": (ALL, replace(ALL, name="two")),
    "signed for AWS instead of the key": (SIGNED,),
}
LOCAL = {f"{name}, all local": REMOTES[name] for name in ("nothing counted", "and a second remote")}


async def main() -> None:
    async with _server_and_gateways() as (folder, each):
        taken = [await _rounds(folder, each, kind) for kind in ("json", "events")]
    rows = ((name, *(cell for cpu in taken for cell in _cells(cpu, name))) for name in taken[0])
    head = ("", "CPU us/request, JSON", "of the first", "CPU us/request, stream", "of the first")
    machine.table(f"Remotes, CPU of the gateway (median of {ROUNDS} rounds of {SECONDS} s)", head, rows)


def _cells(cpu: dict[str, list[float]], name: str) -> tuple[str, str]:
    """Return the median, and the median of what it is of the first one's in the same round, as the machine has other work."""
    first = next(each for each in cpu if (each in LOCAL) == (name in LOCAL))
    ratios = [one / other for one, other in zip(cpu[name], cpu[first], strict=True)]
    return f"{median(cpu[name]):.0f}", f"{median(ratios):.2f}"


@asynccontextmanager
async def _server_and_gateways() -> AsyncIterator[tuple[Path, Sequence[Peer]]]:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-")))
        port = await stack.enter_async_context(peers.model_server(folder, document=_document(), events=_events()))
        setups = [*((name, of, 100) for name, of in REMOTES.items()), *((name, of, 0) for name, of in LOCAL.items())]
        gateways = [
            await stack.enter_async_context(
                peers.gateway(folder, port, share=share, spec=_spec(remotes), named=name, asked="/v1/json/completions")
            )
            for name, remotes, share in setups
        ]
        yield folder, [replace(peer, name=name) for peer, (name, _, _) in zip(gateways, setups, strict=True)]


def _spec(remotes: tuple[RemoteBackend, ...]) -> OffloadSpec:
    first, *others = remotes
    return replace(peers.PLAIN, remote=first, next_remotes=tuple(others))


async def _rounds(folder: Path, each: Sequence[Peer], kind: str) -> dict[str, list[float]]:
    """Return the CPU in us a request, of each peer in each round."""
    taken: dict[str, list[float]] = {peer.name: [] for peer in each}
    asked = Load(f"/v1/{kind}/completions", body=_body(), connections=16, seconds=SECONDS)
    for turn in range(ROUNDS):
        for peer in each[:: 1 if turn % 2 == 0 else -1]:
            taken[peer.name].append((await load.send(folder, peer, asked)).cpu)
    return taken


def _body() -> str:
    return json.dumps({"model": "model", "stream": True, "prompt": "x" * (SIZE - 50)})


def _document() -> str:
    return json.dumps({"model": "model", "choices": [{"text": "x" * (SIZE - 180)}], "usage": USAGE})


def _events() -> str:
    delta = {"model": "model", "choices": [{"index": 0, "delta": {"content": " word"}}]}
    last = {"model": "model", "choices": [], "usage": USAGE}
    return "".join(f"data: {json.dumps(each)}\n\n" for each in (*[delta] * EVENTS, last)) + "data: [DONE]\n\n"
