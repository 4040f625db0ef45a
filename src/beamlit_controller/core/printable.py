"""Makes foreign text safe to show, so that it can't control the terminal, forge a log line or flood the screen."""

# Invisible characters that reverse, join or hide text.
_INVISIBLE = (
    0xAD,
    0x61C,
    *range(0x200B, 0x2010),
    *range(0x2028, 0x202F),
    *range(0x2060, 0x2070),
    0xFEFF,
    *range(0xE0000, 0xE0080),
)
_CONTROLS = {code: repr(chr(code))[1:-1] for code in (*range(0x20), *range(0x7F, 0xA0), *_INVISIBLE)}
_CONTROLS_BUT_LINES = {code: said for code, said in _CONTROLS.items() if chr(code) not in "\t\n"}


def line(text: str) -> str:
    r"""Return the text as one line, with control characters escaped, such as `\n`, `\x1b` or `\u202e`."""
    return text.translate(_CONTROLS)


def lines(text: str) -> str:
    """Return the text with its line breaks, and with all other control characters escaped."""
    return text.translate(_CONTROLS_BUT_LINES)


def short(text: str, longest: int) -> str:
    """Return the text, cut to the given number of characters."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
