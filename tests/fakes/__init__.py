"""Small real servers for tests: they answer, and misbehave, over sockets on 127.0.0.1."""
