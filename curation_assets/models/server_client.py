"""JSON over HTTP to a server that may be busy, slow, limited, wrong or gone: retries, pace, and which errors end it all."""

import datetime
import email.utils
import os
import random
import re
import threading
import time
from typing import Any
from urllib.parse import urlsplit

import requests

from curation_assets.progress import logger

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 60.0
"""Pauses between attempts: a uniform draw from 0 to twice the last bound ("full jitter", M. Brooker, "Exponential Backoff
And Jitter", AWS Architecture Blog, 2015). The bounds are ours."""

LONGEST_RETRY_AFTER_SECONDS = 600.0
"""A server that asks for a longer pause in Retry-After has ended the run: come back later. Ours."""

CONNECT_SECONDS = 10.0

MESSAGE_CHARS = 300
"""Length to which a server's error message is cut. Ours."""


class Refused(RuntimeError):
    """The server answered that it will not do this request; another may do."""

    def __init__(self, message: str, status: int) -> None:
        """Keep the HTTP status."""
        super().__init__(message)
        self.status = status


class Unavailable(RuntimeError):
    """No usable answer after all attempts; ``status`` is the last HTTP status, None if there was no answer at all."""

    def __init__(self, message: str, status: int | None = None) -> None:
        """Keep the HTTP status."""
        super().__init__(message)
        self.status = status


class Stop(RuntimeError):
    """No request to this server can succeed: a wrong key, no credit, no such model or address."""


class Pace:
    """Lets requests through at most so many, with so many tokens, per minute; evenly, and over all threads."""

    def __init__(self, requests_per_minute: float | None, tokens_per_minute: float | None) -> None:
        """None for no limit."""
        self._seconds_per_request = 60 / requests_per_minute if requests_per_minute else 0.0
        self._seconds_per_token = 60 / tokens_per_minute if tokens_per_minute else 0.0
        self._lock = threading.Lock()
        self._next = 0.0

    def turn(self, tokens: int) -> float:
        """Take the next turn, for a request of so many tokens: seconds to wait for it."""
        with self._lock:
            now = time.monotonic()
            start = max(now, self._next)
            self._next = start + max(self._seconds_per_request, self._seconds_per_token * tokens)
            return start - now

    def hold(self, seconds: float) -> None:
        """Give no turn for so many seconds: the server asked everyone to wait."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)


class Client:
    """Sends JSON to one server. Only http and https; redirects are not followed; the key is neither stored nor logged.

    429, 5xx, timeouts, broken connections and broken JSON are tried again, ``attempts`` times in all, with growing random
    pauses or what Retry-After asks for. ``stopped`` ends all pauses, in all threads.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key_variable: str | None = None,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        timeout_seconds: float = 120,
        connections: int = 8,
        attempts: int = 8,
    ) -> None:
        """Check the address and read the key. Raises ValueError for an address or a key variable that cannot be used."""
        self.base_url = checked_url(base_url)
        if api_key_variable and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", api_key_variable):
            raise ValueError(
                "api_key_variable is the name of an environment variable, made of letters, digits and _; what was given is none and "
                "not repeated here. If it is the key itself, replace that key: configs are stored with the run."
            )
        self._key_variable = api_key_variable
        self._key = (os.environ.get(api_key_variable) or "").strip() if api_key_variable else ""
        if api_key_variable and not self._key:
            raise ValueError(
                f"The environment variable {api_key_variable}, which should hold the key of {self.base_url}, is not set."
            )
        self.pace = Pace(requests_per_minute, tokens_per_minute)
        self.stopped = threading.Event()
        self._timeout = (CONNECT_SECONDS, timeout_seconds)
        self._attempts = attempts
        self._session = requests.Session()
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, requests.adapters.HTTPAdapter(pool_maxsize=connections))
        host = urlsplit(self.base_url).hostname
        if self._key and self.base_url.startswith("http:") and host not in ("127.0.0.1", "localhost", "::1"):
            logger.warning("The key in %s goes to %s unencrypted; use https if you can.", api_key_variable, host)

    def get(self, path: str, *, attempts: int) -> Any:
        """Get what is at a path under the base address, as parsed JSON; raises as `post` does."""
        return self._request("GET", path, None, tokens=0, attempts=attempts)

    def post(self, path: str, body: dict[str, Any], *, tokens: int, attempts: int | None = None) -> Any:
        """Post JSON to a path under the base address, in its turn for so many tokens: the answer, as parsed JSON.

        Raises Refused, Unavailable or Stop.
        """
        return self._request("POST", path, body, tokens=tokens, attempts=attempts or self._attempts)

    def _request(self, method: str, path: str, body: dict[str, Any] | None, *, tokens: int, attempts: int) -> Any:
        pause, problem, status = 0.0, "", None
        for attempt in range(attempts):
            if self.stopped.wait(pause) or self.stopped.wait(self.pace.turn(tokens)):
                raise Unavailable(f"Not asked any more: {problem or 'the run was stopped'}.")
            try:
                response = self._session.request(
                    method,
                    f"{self.base_url}{path}",
                    json=body,
                    auth=self._authorize,
                    timeout=self._timeout,
                    allow_redirects=False,
                )
                status = response.status_code
                if status == 200:
                    return response.json()
                self.pace.hold(self._check(response))
                problem = f"{status} {self._message(response)}"
            except (requests.exceptions.SSLError, requests.exceptions.InvalidHeader) as error:
                raise Stop(f"{self.base_url} cannot be asked: {self._clean(str(error))}") from None
            except requests.exceptions.RequestException as error:  # no connection, timeout, broken off, not JSON
                problem = f"{type(error).__name__}: {self._clean(str(error))}"
            pause = random.uniform(0, min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2**attempt))
        raise Unavailable(f"{self.base_url}{path} gave no answer in {attempts} attempts. The last: {problem}", status)

    def _check(self, response: requests.Response) -> float:
        """Seconds the server wants everyone to wait before another attempt; raises where another is no use."""
        status, message = response.status_code, self._message(response)
        if status in (401, 403):
            key = (
                f"Put a valid key into {self._key_variable}"
                if self._key_variable
                else "Name the variable that holds its key"
            )
            raise Stop(f"{self.base_url} refuses access ({status}: {message}). {key}.")
        if status == 402 or (status == 429 and "insufficient_quota" in response.text):
            raise Stop(f"{self.base_url} asks for payment ({status}: {message}).")
        if 300 <= status < 400:
            raise Stop(
                f"{self.base_url} redirects to {response.headers.get('Location')}; give that address if you trust it."
            )
        if status not in (408, 409, 425, 429) and (status < 500 or status == 501 or "logprob" in message):
            raise Refused(f"{status} {message}", status)
        retry_after = _seconds_of(response.headers.get("Retry-After"))
        if retry_after > LONGEST_RETRY_AFTER_SECONDS:
            raise Stop(f"{self.base_url} asks to be left alone for {retry_after:.0f} seconds ({status}: {message}).")
        return retry_after

    def _authorize(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the key. Being there without one too, it keeps requests from taking a password out of ~/.netrc."""
        if self._key:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request

    def _message(self, response: requests.Response) -> str:
        """Say what the server said went wrong, in one line."""
        try:
            body = response.json()
            said = body.get("error") or body.get("detail") or body.get("message") or body
            said = said.get("message") or said if isinstance(said, dict) else said
        except (ValueError, AttributeError):
            said = response.text
        return self._clean(str(said))

    def _clean(self, message: str) -> str:
        message = " ".join(message.split())
        return (message.replace(self._key, "***") if self._key else message)[:MESSAGE_CHARS]


def checked_url(base_url: str) -> str:
    """Return the base address of an OpenAI-compatible server without a slash at the end; /v1 where it has no path.

    Raises ValueError for anything but a plain http or https address: what it holds is stored with the run.

    >>> checked_url("http://127.0.0.1:8000/"), checked_url("https://api.example.com/openai/v1")
    ('http://127.0.0.1:8000/v1', 'https://api.example.com/openai/v1')
    """
    parts = urlsplit(base_url.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{base_url!r} is no server's address; it begins with http:// or https:// and a host.")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError(
            f"The address of {parts.hostname} holds a password, a query or a fragment. Addresses are stored with the run: put "
            "the key into an environment variable and name it in api_key_variable."
        )
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/') or '/v1'}"


def _seconds_of(retry_after: str | None) -> float:
    """Seconds that a Retry-After header asks for, as a number or a date (RFC 9110, 10.2.3); 0 if it says nothing usable."""
    if not retry_after:
        return 0.0
    if re.fullmatch(r"\d+(\.\d+)?", retry_after.strip()):
        return float(retry_after)
    try:
        until = email.utils.parsedate_to_datetime(retry_after)
    except ValueError:
        return 0.0
    until = until if until.tzinfo else until.replace(tzinfo=datetime.timezone.utc)
    return max((until - datetime.datetime.now(datetime.timezone.utc)).total_seconds(), 0.0)
