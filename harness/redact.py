"""Takes secrets out of texts: a last line of defence behind code that does not write them."""

from __future__ import annotations

import base64
import json
import re
from urllib.parse import quote, quote_plus

_SHORTEST_SECRET = 8  # characters; shorter ones are "EMPTY" and such
_SHORTEST_PART = 16


class Redactor:
    """Takes secrets out of texts, also where they are encoded as URLs, JSON or base64 are."""

    __slots__ = ("_forms",)

    def __init__(self, *secrets: str) -> None:
        forms = {
            form for secret in secrets if len(secret) >= _SHORTEST_SECRET for form in _forms(secret)
        }
        self._forms = [(form, form.encode()) for form in sorted(forms, key=len, reverse=True)]

    def text(self, text: str) -> str:
        """A text without secrets."""
        for form, _ in self._forms:
            if form in text:
                text = text.replace(form, "***")
        return text

    def body(self, body: bytes) -> bytes:
        """Bytes without secrets."""
        for _, form in self._forms:
            if form in body:
                body = body.replace(form, b"***")
        return body


def _forms(secret: str) -> set[str]:
    """How a secret may be written."""
    forms = {secret, quote(secret, safe=""), quote(secret), quote_plus(secret)}
    escaped = json.dumps(secret)[1:-1]
    forms |= {escaped, escaped.replace("/", "\\/")}
    # What is left of it in texts that were encoded twice; no shorter part, which might be a word.
    core = max(re.findall("[A-Za-z0-9]+", secret), key=len, default="")
    forms |= {core} if len(core) >= _SHORTEST_PART else set()
    raw = secret.encode()
    for ahead in range(3):  # bytes before it, modulo 3, decide how base64 writes the rest
        digits = base64.b64encode(b"\0" * ahead + raw).decode()
        inner = digits[(ahead * 8 + 5) // 6 : (ahead + len(raw)) * 8 // 6]
        forms |= {inner, inner.replace("+", "-").replace("/", "_")}
    return forms
