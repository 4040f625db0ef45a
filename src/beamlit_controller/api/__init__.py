"""What users write and read: the `ModelDeployment` resource, the settings file, and the status, as pydantic models.

In: parsed YAML or JSON. Out: `core.spec` values, or all mistakes at once, each with its field. May import: `core`,
pydantic, a YAML parser. No I/O: callers read the files.
"""
