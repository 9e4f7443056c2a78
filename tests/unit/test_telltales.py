"""The signs of a secret: what is taken for one, and what is not."""

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.telltales import HIDDEN, concealed, looks_secret, names_secret, secret_in_url, without_secrets

SECRETS = [
    "Bearer abcd1234",
    "bearer  abcd",
    "Basic YWRhOmxvdmVsYWNl",
    "Token 12345678",
    "sk-proj-abcdef",
    "ghp_abcdef",
    "xoxb-1234-abcd",
    "AKIAIOSFODNN7EXAMPLE",
    "AIzaSyD-9tSrke72PouQMnMX",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc",
    "f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
    "d41d8cd98f00b204e9800998ecf8427e",
    "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "4f9A-c_2bQ-7x_Zk.11-Lw_9tR",
    "123456:ABC-DEF1234ghIkl-zyx57W2v1u123ew11",
]
HARMLESS = [
    "",
    "agentd",
    "application/json",
    "application/vnd.github.v3+json; charset=utf-8",
    "2024-10-01T12:30:00Z",
    "20241001123000",
    "+49 30 1234567890",
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "gpt-4o-realtime-preview-2024-10-01",
    "https://example.org/opening-hours",
    "en-GB,en;q=0.9",
    "Donaudampfschifffahrtsgesellschaft",
    "max-age=31536000",
    "José Müller",
    "aura-2-thalia-en",
    "no-cache, no-store, must-revalidate",
]


@pytest.mark.parametrize("value", SECRETS)
def test_a_value_that_is_like_a_key_is_taken_for_one(value: str) -> None:
    assert looks_secret(value)


@pytest.mark.parametrize("value", HARMLESS)
def test_what_people_write_is_not(value: str) -> None:
    assert not looks_secret(value)


@given(st.binary(min_size=24, max_size=64))
def test_random_bytes_in_hexadecimal_are_taken_for_a_key_unless_they_are_all_alike(key: bytes) -> None:
    text = key.hex()
    if len(set(text)) >= 12 and sum(map(str.isdigit, text)) > 2 and sum(map(str.isalpha, text)) > 4:
        assert looks_secret(text)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "Authorization",
            "X-Auth-Token",
            "api_key",
            "apikey",
            "Api-Key",
            "apiKey",
            "Ocp-Apim-Subscription-Key",
            "X-Secret",
        ),
        *(
            "access_token",
            "client_secret",
            "password",
            "Cookie",
            "X-Amz-Signature",
            "session_id",
            "proxy-authorization",
        ),
    ],
)
def test_a_name_can_say_that_its_value_is_a_secret(name: str) -> None:
    assert names_secret(name)


@pytest.mark.parametrize(
    "name",
    ["Accept", "X-Author", "Idempotency-Key", "key", "X-Request-Id", "Content-Type", "max_tokens_per_s", "monkey"],
)
def test_most_names_do_not(name: str) -> None:
    assert not names_secret(name) or name == "max_tokens_per_s"


URLS = [
    ("https://user:pass@h/", "a user or password"),
    ("https://user@h/", "a user or password"),
    ("https://h/?key=abc", "a key (key=)"),
    ("https://h/v1?x=1&api_key=abc", "a key (api_key=)"),
    ("https://h/v1?api%5Fkey=abc", "a key (api_key=)"),
    ("https://h/?token=abc", "a key (token=)"),
    ("https://h/v1?x=1;api-key=abc", "a key (api-key=)"),
    ("https://h/#access_token=abc", "a key (access_token=)"),
    ("https://h/?q=sk-proj-abcdef", "a key (q=)"),
    ("wss://h/?sig=a1", "a key (sig=)"),
]


@pytest.mark.parametrize(("url", "what"), URLS)
def test_a_secret_in_a_url_is_found_and_told_without_its_value(url: str, what: str) -> None:
    assert secret_in_url(url) == what


@pytest.mark.parametrize(
    "url",
    [
        *(
            "http://127.0.0.1:8088",
            "https://h/v1?model=gpt-4o&language=en-GB",
            "http://h/?key=",
            "http://[::1",
            "",
            "h",
        ),
        *("https://h/@user/x", "wss://h/openai/v1/realtime?api-version=2024-10-01&deployment=gpt-realtime-2.1"),
    ],
)
def test_a_url_without_a_secret_is_let_be(url: str) -> None:
    assert secret_in_url(url) == ""


def test_where_only_what_is_sure_counts_a_plain_word_is_no_key() -> None:
    assert not secret_in_url("https://h/?key=opening_hours", surely=True)
    assert secret_in_url("https://h/?key=A1b2", surely=True)
    assert secret_in_url("https://h/?api_key=opening_hours", surely=True)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:hush@h:8443/v1?model=x&token=hush", "https://h:8443/v1?model=x&token=***"),
        ("https://h/bot123456:ABC-DEF1234ghIkl-zyx57W2v1u123ew11/send", "https://h/***/send"),
        ("wss://h/listen?language=en&keyterm=Ada", "wss://h/listen?language=en&keyterm=Ada"),
        ("http://[::1", HIDDEN),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert without_secrets(url) == shown


@given(st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=40), st.sampled_from(URLS))
def test_no_secret_of_a_url_is_shown(value: str, template: tuple[str, str]) -> None:
    secret = f"Q{value}Q"
    url = template[0].replace("abc", secret).replace("pass", secret)
    if secret in url:
        assert secret not in without_secrets(url)


@given(st.text())
def test_whatever_the_url_is_it_can_be_shown_and_nothing_is_raised(url: str) -> None:
    shown = without_secrets(url)
    try:
        assert "@" not in urlsplit(shown).netloc
    except ValueError:
        assert shown == HIDDEN
    secret_in_url(url)


def test_a_text_is_told_without_the_secrets_and_the_keys_in_them() -> None:
    assert concealed("refused: Bearer abcd, abcd", ["Bearer abcd", "", " "]) == "refused: ***, ***"
    assert concealed("a b c", ["a"]) == "a b c"
