"""Strategies for Hypothesis that several tests share."""
