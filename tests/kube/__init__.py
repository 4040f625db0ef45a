"""A real Kubernetes for the tests, from package registries alone: how it is built and started."""
