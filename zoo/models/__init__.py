"""The networks, component by component; `build.py` puts them together."""
