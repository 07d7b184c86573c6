"""Downloads files from untrusted hosts, verifies and caches them: remote -> transfer -> cache -> lock."""
