"""Asking processes whether they are ready."""

import httpx


def ready(url: str) -> httpx.Response:
    """What ``/ready`` answers."""
    return httpx.get(f"{url}/ready", timeout=6, trust_env=False)


def is_ready(url: str) -> bool:
    """Whether a process is ready."""
    try:
        return ready(url).status_code == 200
    except httpx.HTTPError:
        return False


def not_ready_because(url: str) -> str:
    """The sentence with which a process says that it is not ready; empty when it is."""
    answer = ready(url)
    if answer.status_code == 200:
        return ""
    assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
    return str(answer.json()["detail"])
