"""Image references in; read-only layers and an OCI image config out. Called by node, knows nothing of pods."""
