"""The product at work on one machine in about 90 seconds: `python -m demo`, or `make demo`.

Two small model servers of limited capacity, a third one as the remote behind TLS, a load that rises above what the
first two can serve and falls again; between them the controller and Envoy, run as users run them. What is made up is
only the tokens: queues, requests, metrics, certificates and the split are real.

Read `story` first: it is the run from beginning to end.
"""
