"""Hugging Face repositories as sources, over plain https.

`HF_ENDPOINT` names another server with the same interface. `HF_TOKEN` opens private and gated repositories: it is sent
to that server only, not to the storage that it redirects to, and no message shows it.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from zoo import settings
from zoo.manifest.hosts import HUB


def is_hub(url: str) -> bool:
    """Whether a URL is on the Hub, or on the server that `HF_ENDPOINT` names."""
    return urlsplit(url).netloc in (urlsplit(HUB).netloc, urlsplit(settings.hub_endpoint()).netloc)


def at_endpoint(url: str) -> str:
    """The URL on the server that stands in for the Hub."""
    return url.replace(HUB, settings.hub_endpoint(), 1) if url.startswith(f"{HUB}/") else url


def headers(url: str) -> dict[str, str]:
    """What a request to this URL carries: the token, on the Hub itself."""
    token = settings.hub_token()
    return {"Authorization": f"Bearer {token}"} if token and is_hub(url) else {}
