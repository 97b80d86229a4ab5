"""The version of this release; CHANGELOG.md says what is in each."""

__version__ = "1.0.0"
