"""The wire format of chat completions as OpenAI's API has it: what a request may hold, and the objects of an answer."""

import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, Field, PositiveInt

CHARACTERS_PER_TOKEN = 4
DEFAULT_COMPLETION_TOKENS = 64


class Message(BaseModel):
    """One turn of the conversation."""

    role: str
    content: str


class StreamOptions(BaseModel):
    """What a stream carries beside its tokens."""

    include_usage: bool = False


class ChatRequest(BaseModel):
    """The fields of a chat completion request that change what this server does; others are let pass."""

    model: str
    messages: list[Message] = Field(min_length=1)
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    max_tokens: PositiveInt | None = None
    max_completion_tokens: PositiveInt | None = None

    @property
    def prompt_tokens(self) -> int:
        """Return the length of the conversation in tokens, at four characters each."""
        characters = sum(len(message.content) for message in self.messages)
        return -(-characters // CHARACTERS_PER_TOKEN)

    @property
    def completion_tokens(self) -> int:
        """Return the length of the answer in tokens."""
        return self.max_completion_tokens or self.max_tokens or DEFAULT_COMPLETION_TOKENS


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: the objects that carry it, streamed or whole."""

    request: ChatRequest
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, text: str) -> dict[str, Any]:
        """Return the answer in one `chat.completion`."""
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "length"}
        return {**self._object("chat.completion"), "choices": [choice], "usage": self._usage()}

    def token(self, text: str) -> dict[str, Any]:
        """Return the chunk of one token."""
        return self._chunk({"role": "assistant", "content": text})

    def closing(self) -> dict[str, Any]:
        """Return the chunk that says why the answer ends."""
        return self._chunk({}, finish_reason="length")

    def usage(self) -> dict[str, Any]:
        """Return the last chunk of a stream that was asked for usage."""
        return {**self._object("chat.completion.chunk"), "choices": [], "usage": self._usage()}

    def _chunk(self, delta: dict[str, str], *, finish_reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        return {**self._object("chat.completion.chunk"), "choices": [choice]}

    def _object(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.request.model}

    def _usage(self) -> dict[str, int]:
        prompt, completion = self.request.prompt_tokens, self.request.completion_tokens
        return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def error(message: str, kind: str = "invalid_request_error") -> dict[str, Any]:
    """Return the body of an error answer."""
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}
