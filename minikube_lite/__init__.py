"""The version, and nothing else: the launcher's imports pass through here."""

__version__ = "0.1.0"
