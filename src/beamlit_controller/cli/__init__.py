"""The commands, one module each: parse the arguments, call, print.

In: command lines. Out: text for people, exit codes for scripts.
May import: everything below it. Packages that are slow to import are imported by the command that needs them.
"""
