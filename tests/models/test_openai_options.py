"""Building `openai:NAME`: options, identity, card, tokenizer."""

import pytest
import tokenizers

from agemem_eval.harness.errors import DataError, UsageError
from agemem_eval.harness.models import make_model


@pytest.fixture(autouse=True)
def no_key(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"base_url": "localhost:8000/v1"}, "not of the form http"),
        ({"base_url": "ftp://host/v1"}, "not of the form http"),
        ({"base_url": "http://"}, "not of the form http"),
        ({"base_url": "http://host:99999/v1"}, "not of the form http"),
        ({"base_url": "http://[::1/v1"}, "not of the form http"),
        ({"base_url": "http://user:secret@host/v1"}, "no user, password"),
        ({"base_url": "http://user:secret@host:99999/v1"}, "not of the form http"),
        ({"base_url": "user:secret@host/v1"}, "not of the form http"),
        ({"base_url": "http://host/v1?key=secret"}, "no user, password"),
        ({"base_url": "http://host/v1/chat/completions/"}, "must end before"),
        ({}, r"needs a key: set \$OPENAI_API_KEY"),
        ({"api_key_env": "sk-given-by-mistake"}, "takes the name of an environment variable"),
        ({"timeout_s": "soon"}, "option timeout_s: .*'soon'"),
        ({"timeout_s": "nan"}, "option timeout_s"),
        ({"max_retries": "-1"}, "option max_retries"),
        ({"max_in_flight": "0"}, "option max_in_flight"),
        ({"rpm": "0"}, "option rpm"),
        ({"rpm": "inf"}, "option rpm"),
        ({"tpm": "many"}, "option tpm: .*'many'"),
        ({"extra_body": "{"}, "option extra_body"),
        ({"extra_body": '{"messages": []}'}, "'messages' is not for it to set"),
        ({"max_tokens_field": "tokens"}, "option max_tokens_field"),
        ({"timeout": "3"}, "did you mean 'timeout_s'"),
    ],
)
def test_wrong_options_are_usage_errors(options, message):
    if options:
        options = {"base_url": "http://127.0.0.1:1/v1", **options}
    with pytest.raises(UsageError, match=message) as caught:
        make_model("openai:m", options)
    assert "secret" not in str(caught.value)
    assert "sk-given" not in str(caught.value)


def test_a_name_is_needed():
    with pytest.raises(UsageError, match="openai:NAME"):
        make_model("openai", {"base_url": "http://127.0.0.1:1/v1"})


def local(**options):
    return make_model("openai:m", {"base_url": "http://127.0.0.1:1/v1", **options})


def test_identity_is_the_model_and_its_decoding_not_the_address():
    base = local()
    assert base.info.name == "openai:m"
    assert base.info.training == "none"
    assert base.info.writes
    assert not base.info.oracle
    elsewhere = make_model("openai:m", {"base_url": "https://other.example/v1/"})
    assert elsewhere.info.identity == base.info.identity
    assert local(timeout_s="3").info.identity == base.info.identity
    assert local(max_in_flight="3", rpm="60", tpm="1e6").info.identity == base.info.identity
    assert local(seed="1").info.identity != base.info.identity
    assert local(**{"extra-body": '{"a": 1}'}).info.identity != base.info.identity


def test_the_card_says_what_the_weights_are(tmp_path):
    card = tmp_path / "card.json"
    card.write_text('{"training": "agemem", "revision": "7"}')
    trained = local(card=str(card))
    assert trained.info.training == "agemem"
    card.write_text('{"training": "agemem", "revision": "8"}')
    assert local(card=str(card)).info.identity != trained.info.identity
    for text in ("", "[]", "{}", '{"training": "agemen"}', "[" * 100_000, "\xff" * 2**21):
        card.write_text(text, encoding="utf-8")
        with pytest.raises((DataError, UsageError), match=r"card\.json"):
            local(card=str(card))
    with pytest.raises(DataError, match=r"none\.json"):
        local(card=str(tmp_path / "none.json"))


def test_a_tokenizer_counts_instead_of_the_estimate(tmp_path):
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    path = tmp_path / "tokenizer.json"
    made.save(str(path))
    model = local(tokenizer=str(path))
    assert model.count_tokens("refrigerators everywhere!!!") == 2
    assert model.info.identity["tokens"] != local().info.identity["tokens"]
    path.write_text("{}")
    with pytest.raises(DataError, match="cannot read the tokenizer"):
        local(tokenizer=str(path))
