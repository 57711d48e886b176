"""Who may look at the dashboard, and what its pages may load. It shows and changes nothing."""

import hmac
import ipaddress
import secrets
from collections.abc import Sequence
from urllib.parse import urlencode

from flask import Flask, Response, make_response, redirect, request
from werkzeug.wrappers import Response as BaseResponse

_COOKIE = "flowsearch-token"
_COOKIE_SECONDS = 30 * 24 * 3600
_REFUSED = "<!doctype html><html lang=en><meta charset=utf-8><title>flowsearch</title><p>{}</p></html>"


def is_loopback(host: str) -> bool:
    """Whether nothing outside this machine reaches `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def new_token() -> str:
    """A token that cannot be guessed."""
    return secrets.token_urlsafe(24)


def policy(script_hashes: Sequence[str]) -> str:
    """The Content-Security-Policy: everything from this server, scripts by file or hash, nothing evaluated.

    Styles may be inline, because Plotly and AG Grid write theirs so.
    """
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'self' {' '.join(script_hashes)}",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


def guard(server: Flask, *, host: str, token: str | None, script_hashes: Sequence[str]) -> None:
    """Refuse who has no token where there is one, and requests for another host's name where there is none.

    The token comes once as `?token=`, and then in a cookie, so that it does not stay in the address.
    """
    if token is None and not is_loopback(host):
        raise ValueError(f"whoever reaches {host} could look; a dashboard beyond this machine needs a token")
    headers = {
        "Content-Security-Policy": policy(script_hashes),
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    }

    @server.before_request
    def check() -> BaseResponse | None:
        if request.method not in ("GET", "HEAD", "POST"):
            return _refuse(405, "The dashboard only shows.")
        if token is None:
            # Another site's page could reach this machine by a name of its own that resolves to it.
            name = request.host.rsplit(":", 1)[0] if not request.host.endswith("]") else request.host
            if not is_loopback(name.strip("[]")):
                return _refuse(403, "This dashboard answers to localhost only.")
            return None
        given = request.args.get("token")
        if given is not None and _same(given, token):
            rest = [(name, value) for name, value in request.args.items(multi=True) if name != "token"]
            answer = redirect(f"{request.path}?{urlencode(rest)}" if rest else request.path)
            answer.set_cookie(_COOKIE, token, max_age=_COOKIE_SECONDS, httponly=True, samesite="Lax")
            return answer
        if _same(request.cookies.get(_COOKIE, ""), token):
            return None
        return _refuse(401, "This dashboard needs its token: open the address that it printed, with ?token=.")

    @server.after_request
    def add(response: Response) -> Response:
        for name, value in headers.items():
            response.headers[name] = value
        return response


def _same(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode(), token.encode())


def _refuse(status: int, why: str) -> Response:
    return make_response(_REFUSED.format(why), status)
