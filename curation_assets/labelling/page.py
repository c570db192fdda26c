"""`curate label`: the page on which experts label, served on this machine only.

Plain HTML forms, one small script for keys and timing, nothing from elsewhere. Who has the link's token may label; a
`SameSite=Strict` cookie keeps it out of the address afterwards, forms carry a second one derived from it, and requests
that name another host are refused (DNS rebinding). A record's text reaches the page escaped, the guideline as Markdown
without raw HTML, and the content security policy lets nothing run or load that is not served here.
"""

import contextlib
import hashlib
import math
import secrets
import socket
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

import jinja2
import uvicorn
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from curation_assets.labelling.desk import (
    COMMENT_CHARS,
    EXCERPT_CHARS,
    MODES,
    Answered,
    Desk,
    Refused,
    View,
    raters_per_item,
)
from curation_assets.labelling.standing import Item

PORT = 8765
HOSTS = ["127.0.0.1", "localhost", "[::1]"]
"""By these names the server is asked from this machine, through an SSH tunnel too; the port may be any."""
FORM_BYTES = 64 << 10
RATER_CHARS = 80
FILES = Path(__file__).parent / "page_files"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).disable("image")

REASONS = {
    "boundary_pair": "it lies close to a text of which the model thinks otherwise",
    "uncertain": "the model was unsure of it",
    "random": "it was drawn at random, so that the model is measured fairly",
    "top_of_score": "it scores among the highest of a rare class",
    "new_concept": "it belongs to a concept that is new in the pool",
}


def app(desk: Desk, token: str) -> Starlette:
    """The labelling page as an ASGI application. Whoever knows the token may use it."""
    cookie = f"curate_label_{hashlib.sha256(str(desk.warehouse.path).encode()).hexdigest()[:8]}"
    form_token = hashlib.sha256(f"form {token}".encode()).hexdigest()
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FILES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

    def html(name: str, status: int = 200, **values: Any) -> HTMLResponse:
        return HTMLResponse(templates.get_template(name).render(form_token=form_token, **values), status)

    def refusal(request: Request, message: str, status: int) -> Response:
        if wants_json(request):
            return JSONResponse({"problem": message}, status)
        return html("message.html", status, title="Cannot go on", message=message, again=status == 503)

    async def guard(request: Request, go_on: Callable[[Request], Any]) -> Response:
        """Let in who has the token, and put the security headers on whatever is answered."""
        response = await admitted(request, go_on)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    async def admitted(request: Request, go_on: Callable[[Request], Any]) -> Response:
        path = request.scope[
            "path"
        ]  # that of the request line: older Starlettes make request.url out of the Host header
        if path.startswith("/files/") or path == "/favicon.ico":
            return await go_on(request)
        given = request.query_params.get("token")
        if given is not None and is_same(given, token):
            # A page of our own goes on to the next: a redirect would count as coming from where the link was clicked, and a
            # strict cookie would stay behind.
            kept = {name: value for name, value in request.query_params.items() if name in ("rater", "mode")}
            entered = html("enter.html", goes_to=f"/?{urlencode(kept)}")
            entered.set_cookie(cookie, token, httponly=True, samesite="strict")
            return entered
        if not is_same(request.cookies.get(cookie, ""), token):
            return refusal(
                request,
                "Open the link that `curate label` printed when it was started last: its token is missing here.",
                403,
            )
        try:
            if request.method == "POST":
                request.state.form = await form_of(request, form_token)
            return await go_on(request)
        except Refused as refused:
            return refusal(request, str(refused), refused.status)

    def start(request: Request) -> Response:
        if request.query_params.get("rater"):
            return RedirectResponse(f"/label?{urlencode(identity(request.query_params.get))}", 303)
        snapshot = desk.current()
        return html(
            "start.html",
            task=snapshot.task,
            items=len(snapshot.items),
            raters=desk.raters(),
            disputed=desk.disputed(),
            asked=raters_per_item(snapshot),
        )

    def label(request: Request) -> Response:
        who = identity(request.query_params.get)
        if not who["rater"]:
            return RedirectResponse("/", 303)
        view = desk.view(who["rater"], who["mode"])
        settles = MODES[who["mode"]] == "adjudicator"
        return html("label.html", **who, view=view, settles=settles, shows_guess=desk.shows_guess, **page_values(view))

    def answer(request: Request) -> Response:
        form = request.state.form
        who = identity(form.get)
        label_, answer_ = form.get("label"), "label" if form.get("label") else form.get("answer", "")
        if answer_ not in ("label", "unsure", "skip"):
            raise Refused("The form holds no answer; nothing was saved.")
        desk.answer(
            **who,
            item_id=form.get("item_id", ""),
            answer=answer_,
            label=label_,
            comment=form.get("comment", ""),
            guideline_version=form.get("guideline_version", ""),
            act_id=act_id(form),
            page_seconds=number(form.get("page_seconds")),
            hidden_seconds=number(form.get("hidden_seconds")),
        )
        return gone_on(request, who)

    def undo(request: Request) -> Response:
        who = identity(request.state.form.get)
        desk.undo(**who, act_id=act_id(request.state.form))
        # The answer taken back opens the item again in the ordinary queue.
        who["mode"] = {"again": "label", "adjudicate_again": "adjudicate"}.get(who["mode"], who["mode"])
        return gone_on(request, who)

    def gone_on(request: Request, who: dict[str, str]) -> Response:
        following = f"/label?{urlencode(who)}"
        return JSONResponse({"next": following}) if wants_json(request) else RedirectResponse(following, 303)

    def favicon(request: Request) -> Response:
        return Response(status_code=204)

    return Starlette(
        routes=[
            Route("/", start),
            Route("/label", label),
            Route("/answer", answer, methods=["POST"]),
            Route("/undo", undo, methods=["POST"]),
            Route("/favicon.ico", favicon),
            Mount("/files", StaticFiles(directory=FILES / "static")),
        ],
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS, www_redirect=False),
            Middleware(BaseHTTPMiddleware, dispatch=guard),
        ],
        exception_handlers={Refused: lambda request, refused: refusal(request, str(refused), refused.status)},
    )


async def form_of(request: Request, form_token: str) -> dict[str, str]:
    """The fields of a posted form. Raises Refused if another site sent it, it is too large or no form."""
    origin = request.headers.get("origin")
    if origin is not None and origin.split("://", 1)[-1] != request.headers.get("host"):
        raise Refused("This form came from another site; nothing was saved.", 403)
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > FORM_BYTES:
            raise Refused("The form is too large; nothing was saved. Is the comment very long?", 413)
    try:
        fields = parse_qs(body.decode("utf-8"), keep_blank_values=True, errors="strict", max_num_fields=50)
    except ValueError as error:
        raise Refused("The form cannot be read; nothing was saved.") from error
    form = {name: values[-1] for name, values in fields.items()}
    if not is_same(form.get("form_token", ""), form_token):
        raise Refused("The form does not carry this server's token; nothing was saved. Reload the page.", 403)
    return form


def identity(field: Callable[[str], str | None]) -> dict[str, str]:
    """Rater and mode of a request, made clean. Raises Refused if the name cannot be one."""
    rater = " ".join((field("rater") or "").split())
    if len(rater) > RATER_CHARS or any(unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Cn") for char in rater):
        raise Refused(f"A rater's name has at most {RATER_CHARS} characters, all of them printable.")
    mode = field("mode") or "label"
    if mode not in MODES:
        raise Refused(f"There is no mode {mode!r}; the modes are {', '.join(MODES)}.")
    return {"rater": rater, "mode": mode}


def page_values(view: View) -> dict[str, Any]:
    """What label.html shows beside the view itself. The guess and the reason are those of `settled`, never of what is open."""
    task, settled = view.snapshot.task, view.settled
    thought = {}
    if settled:
        item = settled.item
        thought = {"guess": guess(item), "reason": REASONS.get(item.reason, item.reason) + distance(item)}
    return {
        "task": task,
        "classes": [(number, one) for number, one in enumerate(task.classes, start=1)],
        "guideline": guideline_html(task.guideline),
        "previous": said(view.previous) if view.previous else None,
        "settled": said(settled) | thought if settled else None,
        "raters_per_item": raters_per_item(view.snapshot),
        "comment_chars": COMMENT_CHARS,
    }


def said(answered: Answered) -> dict[str, str]:
    """An answer of the rater in words, and the beginning of its text."""
    act, item = answered
    return {
        "answer": act["label"] or {"unsure": "unsure", "skip": "skipped"}.get(act["answer"], act["answer"]),
        "excerpt": excerpt(item.text) if item else "a record that is not in the queue",
    }


def guess(item: Item) -> str | None:
    """The model's class when the item was queued, and its probability."""
    if item.predicted_label is None:
        return None
    share = f" ({item.predicted_probability:.0%})" if item.predicted_probability is not None else ""
    return f"{item.predicted_label}{share}"


def distance(item: Item) -> str:
    """How far the partner is, in words; nothing where there is none."""
    return f" (cosine distance {item.distance:.2f})" if item.partner_record_id and item.distance is not None else ""


def excerpt(text: str) -> str:
    """The beginning of a text on one line."""
    line = " ".join(text[: EXCERPT_CHARS * 4].split())
    return line if len(line) <= EXCERPT_CHARS else line[: EXCERPT_CHARS - 1] + "…"


def guideline_html(markdown: str) -> Markup:
    """The guideline's Markdown as HTML that is safe to show: raw HTML is shown as text, links are http(s) or mail, images are links.

    Its headings come below the page's own, and its links open beside the page.
    """
    tokens = MARKDOWN.parse(markdown)
    for token in [one for block in tokens for one in (block, *(block.children or []))]:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1]) + 2)}"
        if token.type == "link_open":
            open_beside(token)
    return Markup(MARKDOWN.renderer.render(tokens, MARKDOWN.options, {}))  # the renderer escapes


def open_beside(link: Token) -> None:
    """Let a link open in a tab of its own, knowing nothing of where it came from; one to anywhere but the web goes nowhere."""
    if not str(link.attrGet("href") or "").lower().startswith(("http://", "https://", "mailto:")):
        link.attrSet("href", "#")
    link.attrSet("target", "_blank")
    link.attrSet("rel", "noopener noreferrer")


def act_id(form: dict[str, str]) -> str:
    """The id of an act that the form carries. Raises Refused if it has another shape than we gave it."""
    given = form.get("act_id", "")
    if len(given) != 32 or any(char not in "0123456789abcdef" for char in given):
        raise Refused("The form carries no id of ours; nothing was saved. Reload the page.")
    return given


def number(text: str | None) -> float | None:
    """A finite number from a form, or None."""
    try:
        value = float(text or "nan")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def wants_json(request: Request) -> bool:
    """Whether the page's script asks, which goes on by itself."""
    return request.headers.get("accept", "").startswith("application/json")


def is_same(given: str, token: str) -> bool:
    """Compare a secret in a time that does not depend on where it differs."""
    return secrets.compare_digest(given.encode(), token.encode())


def listening(port: int | None) -> socket.socket:
    """A socket on 127.0.0.1: on the port given, else on PORT or, where that is taken, on any free one.

    Raises OSError if the given port is taken.
    """
    candidates = [port] if port is not None else [PORT, 0]
    for candidate in candidates:
        found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind(("127.0.0.1", candidate))
            found.listen(128)  # two servers may both bind a port that nobody listens on yet
        except OSError:
            found.close()
            if candidate == candidates[-1]:
                raise
        else:
            return found
    raise AssertionError  # the last candidate returned or raised


def link(port: int, token: str, rater: str | None = None, mode: str | None = None) -> str:
    """The address that lets a rater in."""
    values = {"token": token, "rater": rater, "mode": mode}
    return f"http://127.0.0.1:{port}/?{urlencode({name: value for name, value in values.items() if value})}"


def serve(desk: Desk, found: socket.socket, token: str) -> None:
    """Serve the page on a listening socket until the process is interrupted. The desk's thread is the caller's to start."""
    config = uvicorn.Config(
        app(desk, token),
        log_level="warning",
        access_log=False,  # it would hold the token
        server_header=False,
        ws="none",
        lifespan="off",
        timeout_graceful_shutdown=2,
    )
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises it anew once it has shut down
        uvicorn.Server(config).run(sockets=[found])
