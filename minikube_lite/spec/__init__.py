"""Kubernetes objects as values: models, quantities, CPU arithmetic, YAML with positions. Pure; all floors call it."""
