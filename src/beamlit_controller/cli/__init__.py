"""The commands, one module each: parse the arguments, call, print.

In: command lines. Out: text for people, exit codes for scripts.
May import: everything below it. Packages that are slow to import are imported by the command that needs them.

`main` lists all commands; the module of a command has its name. `kubectl` is the plugin `kubectl offload`. Shared:

- `inputs`: reads files, and ends with one line that says what is wrong; `output`: prints
- `scaffold`: what `init` writes
- `explain_screen`: the screen of `explain`; `top_table`: the table of `top`; `changes`: a change in words
"""
