"""Other projects' parameter names, and strict loading."""
