"""Deciding, apart from doing: plan, status, back-off, hashes, OCI config. No clock, disk, thread or process."""
