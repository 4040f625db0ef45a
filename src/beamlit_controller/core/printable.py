"""Text from elsewhere made fit to show: it must not steer the terminal, forge a log line or fill the screen."""

_CONTROLS = {code: repr(chr(code))[1:-1] for code in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)}
_CONTROLS_BUT_LINES = {code: said for code, said in _CONTROLS.items() if chr(code) not in "\t\n"}


def line(text: str) -> str:
    r"""Give the text as one line: control characters are written out, as `\n` or `\x1b`."""
    return text.translate(_CONTROLS)


def lines(text: str) -> str:
    """Give the text with its line breaks, all other control characters written out."""
    return text.translate(_CONTROLS_BUT_LINES)


def short(text: str, longest: int) -> str:
    """Give the text, cut to so many characters."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
