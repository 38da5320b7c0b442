"""Kubernetes REST over the node: objects, tables, watch, logs, exec. Every failure is a `Status`."""
