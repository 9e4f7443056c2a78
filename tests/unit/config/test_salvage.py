"""What can still be read of a configuration that is refused."""

import pytest

from agentd.config.salvage import salvaged_table

OURS = {"url": "http://10.0.0.1:8088", "app": "voices"}
TABLE = '[asterisk]\nurl = "http://10.0.0.1:8088"  # the other host\napp = "voices"\n'


@pytest.mark.parametrize(
    "text",
    [
        TABLE,
        f"{TABLE}\n[agents.sales]\ngreeting = 'Hi'\n",
        "asterisk.url = 'http://10.0.0.1:8088'\nasterisk.app = 'voices'\n",
        "asterisk = { url = 'http://10.0.0.1:8088', app = 'voices' }\n",
    ],
)
def test_of_toml_it_is_the_table_as_it_stands(text: str) -> None:
    assert salvaged_table(text, "asterisk") == OURS


@pytest.mark.parametrize(
    "text",
    [
        f"{TABLE}[agents.sales\nurl = 'http://another'\n",
        f"{TABLE}[[agents]]\napp = 'another'\n",
        f"[agents.sales]\ngreeting = 'Hi\n{TABLE}",
        f"{TABLE}username =\n[calls]\nmax_calls = 3\n",
        f'[calls]\napp = "another"\n{TABLE}[calls]\napp = "another"\n',
        f"deep = {'[' * 100}\n{TABLE}",
        TABLE.replace("[asterisk]", " [ asterisk ] # where it is"),
        f"<<<<<<< HEAD\n{TABLE}=======\n",
    ],
    ids=[
        "a header",
        "a header of another kind",
        "a string",
        "a value",
        "a table twice",
        "too deep",
        "blanks",
        "a merge",
    ],
)
def test_of_a_broken_text_it_is_every_line_of_the_table_that_is_whole(text: str) -> None:
    assert salvaged_table(f"{text}\n]broken[\n", "asterisk") == OURS


@pytest.mark.parametrize(
    "text", ["", "[agents.a]\n", "asterisk = 3\n", "[asterisk]\n", "[asterisk.more]\nurl = 1\n]", "\x00"]
)
def test_where_there_is_none_it_is_empty(text: str) -> None:
    assert salvaged_table(text, "asterisk") == {}
