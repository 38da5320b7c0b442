"""The kernel: launcher, shim, mounts, cgroups, namespaces. Speaks OCI, never Kubernetes; standard library only."""
