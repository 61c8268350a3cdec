"""The key of `openai:NAME` is nowhere but in the header it is for."""

import json
import logging
import traceback

import pytest

from agemem_eval.harness.errors import ModelError, UsageError
from agemem_eval.harness.models.openai import OpenAIModel
from agemem_eval.harness.testserver import BODY_FAULTS, FAULTS, first

from .fakes import endpoint, request

KEY = "sk-planted-0123456789abcdef"


def everything_about(error):
    """An exception with all it drags along: contexts, attributes, the locals of its frames."""
    seen, queue, texts = set(), [error], []
    while queue:
        value = queue.pop()
        if value is None or id(value) in seen:
            continue
        seen.add(id(value))
        texts += [repr(value), str(value), repr(vars(value))]
        for frame, _ in traceback.walk_tb(value.__traceback__):
            if frame.f_code.co_filename != __file__:  # this file knows the key, of course
                texts.append(f"{frame.f_code.co_qualname}: {frame.f_locals!r}")
        queue += [value.__cause__, value.__context__]
        queue += [a for a in value.args if isinstance(a, BaseException)]
    assert any("JsonClient" in text for text in texts)
    return "\n".join(texts)


@pytest.mark.parametrize("fault", [*FAULTS, "400", "401", "404", "429", "500", "wrong key"])
async def test_the_key_never_leaks(fault, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    expected = "another-key" if fault == "wrong key" else KEY
    faults = first() if fault == "wrong key" else (lambda _: fault)
    options = {"max_retries": 1, "timeout_s": 0.2}
    texts = []
    async with endpoint(faults=faults, api_key=expected, options=options) as (server, model):
        try:
            texts.append(repr(await model.generate(request())))
            assert fault in BODY_FAULTS
        except ModelError as error:
            texts.append(everything_about(error))
        texts += [repr(model), repr(model._client), json.dumps(model.info.identity)]
        texts += [repr(vars(model)), repr(vars(model._client)), repr(model.info)]
        if fault == "wrong key":  # the server repeats what it was given
            assert "***" in texts[0]
    assert server.requests[0].headers["Authorization"] == f"Bearer {KEY}"
    assert KEY not in "\n".join(texts) + caplog.text


def test_a_key_no_header_can_carry(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-ü\nX-Evil: 1")
    with pytest.raises(UsageError, match=r"\$OPENAI_API_KEY holds characters") as caught:
        OpenAIModel("m")
    assert "Evil" not in str(caught.value)
