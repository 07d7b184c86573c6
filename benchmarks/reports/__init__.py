"""Records to Markdown, HTML, CSV, JSON and plots."""
