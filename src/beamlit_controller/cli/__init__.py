"""The commands: parse the arguments, call, print.

In: what was typed. Out: text for people, exit codes for scripts.
May import: everything below it. Heavy parts are imported by the command that needs them.
"""
