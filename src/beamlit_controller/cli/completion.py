"""`completion SHELL`: print a shell completion script."""

from typing import Literal


def completion(shell: Literal["bash", "zsh", "fish"]) -> None:
    """Print the completion script of a shell. For bash: `source <(beamlit-controller completion bash)`.

    Parameters
    ----------
    shell
        The shell.
    """
    from beamlit_controller.cli import main  # noqa: PLC0415 - it has this command in turn

    print(main.app.generate_completion(shell=shell), end="")
