"""Small real servers that tests speak to: they answer, and misbehave, over sockets on 127.0.0.1."""
