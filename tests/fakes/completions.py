"""A model that speaks OpenAI's chat completions, streamed word by word."""

import json

from fakes.upstream import Answer, Exchange


def completions(words: str, *, model: str = "llama") -> Answer:
    """Answer chat completions with these words, and anything else with 404."""

    async def answer(exchange: Exchange) -> None:
        if not exchange.request.line[1].endswith("/v1/chat/completions"):
            await exchange.respond(status="404 Not Found")
            return
        asked = json.loads(exchange.request.body.content)
        if asked.get("stream"):
            await _stream(exchange, words, model)
        else:
            message = {"message": {"role": "assistant", "content": words}, "finish_reason": "stop", "index": 0}
            await exchange.respond(_json(_completion("chat.completion", model, message)), headers=JSON)

    return answer


JSON = (("content-type", "application/json"),)
EVENTS = (("content-type", "text/event-stream"),)


async def _stream(exchange: Exchange, words: str, model: str) -> None:
    await exchange.begin(headers=EVENTS)
    for word in words.split():
        delta = {"delta": {"role": "assistant", "content": f"{word} "}, "finish_reason": None, "index": 0}
        await exchange.send(_event(_json(_completion("chat.completion.chunk", model, delta))))
    end = {"delta": {}, "finish_reason": "stop", "index": 0}
    await exchange.send(_event(_json(_completion("chat.completion.chunk", model, end))))
    await exchange.send(_event(b"[DONE]"))
    await exchange.send(b"")


def _completion(kind: str, model: str, choice: dict[str, object]) -> dict[str, object]:
    return {"id": "chatcmpl-1", "object": kind, "created": 1, "model": model, "choices": [choice]}


def _json(document: dict[str, object]) -> bytes:
    return json.dumps(document).encode()


def _event(content: bytes) -> bytes:
    return b"data: %b\n\n" % content
