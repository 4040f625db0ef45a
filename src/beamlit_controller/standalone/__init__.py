"""Runs on one machine without a cluster: manifests from a folder, Envoy as a process, state in files.

In: a folder of manifests, a settings file, a state folder. Out: specs, supervised Envoy processes, recorded decisions.
May import: `controller`, `api`, `core`, the HTTP client.
"""
