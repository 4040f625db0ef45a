"""What users write and read: the `ModelDeployment` resource, the settings file, and the status, as pydantic models.

In: YAML or JSON that somebody wrote. Out: `core.spec` values, or every mistake in it at once, each with its field.
May import: `core`, pydantic, a YAML parser. No I/O: callers read the files.
"""
