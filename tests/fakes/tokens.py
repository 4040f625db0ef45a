"""A token endpoint for OAuth2 client credentials, and the requests it received."""

import json
from urllib.parse import parse_qsl

from fakes.upstream import Exchange


class Tokens:
    """Gives `token-1`, `token-2`, … to who knows the secret."""

    def __init__(self, secret: str, *, lifetime: int = 3600) -> None:
        self.secret = secret
        self.lifetime = lifetime
        self.asked: list[dict[str, str]] = []

    async def __call__(self, exchange: Exchange) -> None:
        """Answer one request for a token."""
        form = dict(parse_qsl(exchange.request.body.content.decode()))
        self.asked.append(form)
        if form.get("client_secret") != self.secret:
            await exchange.respond(b'{"error": "invalid_client"}', status="401 Unauthorized")
            return
        token = {"access_token": f"token-{len(self.asked)}", "token_type": "Bearer", "expires_in": self.lifetime}
        await exchange.respond(json.dumps(token).encode(), headers=(("content-type", "application/json"),))
