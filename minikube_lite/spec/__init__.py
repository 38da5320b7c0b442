"""Kubernetes objects as values: models, quantities, CPU arithmetic, YAML with positions. Pure; called by every floor above."""
