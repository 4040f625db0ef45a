"""Edge to a machine without a cluster: manifests from a folder, Envoy as a child process, state in a file.

In: a folder of manifests, a settings file, a state folder. Out: specs, supervised Envoy processes, remembered decisions.
May import: `controller`, `api`, `core`, the HTTP client.
"""
