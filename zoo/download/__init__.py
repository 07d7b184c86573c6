"""Getting files from hosts that nobody needs to trust, and keeping them: remote -> transfer -> cache -> lock."""
