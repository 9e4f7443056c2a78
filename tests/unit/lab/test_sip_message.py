"""The lab's caller speaks SIP as RFC 3261 has it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lab.sip_message import (
    Dialog,
    SipMessage,
    SipSyntaxError,
    address_of,
    media_address,
    offer,
    tag_of,
)

NAMES = st.sampled_from(["via", "x-test", "contact", "supported"])
VALUES = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)


def dialog() -> Dialog:
    return Dialog("sip:7000@127.0.0.1:5999", "+4930123456", "Ada", ("127.0.0.1", 4000), offer("127.0.0.1", 4002))


@given(st.lists(st.tuples(NAMES, VALUES), max_size=6), st.text(max_size=60))
def test_what_is_rendered_is_parsed_back(headers: list[tuple[str, str]], body: str) -> None:
    message = SipMessage("INVITE sip:7000@host SIP/2.0", tuple(headers), body)
    parsed = SipMessage.parse(message.render())
    assert parsed.headers[:-1] == message.headers
    assert parsed.header("content-length") == str(len(body.encode()))
    assert (parsed.method, parsed.status, parsed.body) == ("INVITE", None, body)


@given(st.binary(max_size=200))
def test_a_strangers_bytes_are_refused_and_nothing_else_happens(datagram: bytes) -> None:
    with pytest.raises(SipSyntaxError):
        SipMessage.parse(datagram.replace(b"SIP/2.0", b""))


def test_compact_and_folded_headers_are_read_in_full() -> None:
    raw = b"SIP/2.0 200 OK\r\nt: <sip:a@b>;tag=9\r\ni: 42\r\nCSeq: 1\r\n INVITE\r\nl: 0\r\n\r\n"
    message = SipMessage.parse(raw)
    assert message.status == 200
    assert message.method == "INVITE"
    assert message.header("call-id") == "42"
    assert tag_of(message.header("to")) == "9"


def test_an_invite_says_who_calls_and_is_the_same_when_sent_again() -> None:
    one = dialog()
    invite = one.invite()
    assert invite == one.invite()
    assert invite.header("from").startswith('"Ada" <sip:+4930123456@127.0.0.1>;tag=')
    assert media_address(invite.body) == ("127.0.0.1", 4002)


def test_a_success_is_acknowledged_and_later_hung_up_in_the_dialog_it_made() -> None:
    one = dialog()
    headers = (("contact", "<sip:pbx@127.0.0.1:5999>"),)
    invite = one.invite()
    tagged = SipMessage(invite.start_line, tuple((n, v + ";tag=far" if n == "to" else v) for n, v in invite.headers))
    ack = one.accepted(tagged.response(200, "OK", *headers))
    bye = one.bye()
    assert ack.start_line == "ACK sip:pbx@127.0.0.1:5999 SIP/2.0"
    assert ack.header("via") != invite.header("via")
    assert tag_of(bye.header("to")) == "far"
    assert bye.header("cseq") == "2 BYE"


def test_a_refusal_is_acknowledged_in_the_transaction_of_the_invite() -> None:
    one = dialog()
    invite = one.invite()
    ack = one.refused(invite.response(404, "Not Found"))
    assert ack.header("via") == invite.header("via")
    assert one.cancel().header("via") == invite.header("via")


@pytest.mark.parametrize("header", ["<sip:a@b:1>;expires=3", "sip:a@b:1;expires=3", '"A <b>" <sip:a@b:1>'])
def test_an_address_is_found_with_and_without_brackets(header: str) -> None:
    assert address_of(header).endswith("b:1") or address_of(header) == "b"


@pytest.mark.parametrize("sdp", ["", "c=IN IP4 127.0.0.1\r\n", "m=audio 4000 RTP/AVP 0\r\n", "c=IN IP4 x\r\nm=audio y"])
def test_a_description_without_an_address_is_refused(sdp: str) -> None:
    with pytest.raises(SipSyntaxError):
        media_address(sdp)


def test_one_who_is_called_answers_and_hangs_up_in_the_dialog_of_the_invite() -> None:
    invite = SipMessage.parse(dialog().invite().render())
    one = Dialog.answering(invite, ("127.0.0.1", 4500), "")
    ringing, accepted = one.answer(invite, 180, "Ringing"), one.answer(invite, 200, "OK", offer("127.0.0.1", 4502))
    assert tag_of(ringing.header("to")) == tag_of(accepted.header("to")) == one.tag
    assert (accepted.header("from"), accepted.header("cseq")) == (invite.header("from"), invite.header("cseq"))
    assert address_of(accepted.header("contact")) == "sip:7000@127.0.0.1:4500"
    bye = one.bye()
    assert bye.start_line == "BYE sip:+4930123456@127.0.0.1:4000 SIP/2.0"
    assert tag_of(bye.header("to")) == tag_of(invite.header("from"))
    assert tag_of(bye.header("from")) == one.tag
    assert one.replaces == f"{invite.header('call-id')};to-tag={one.remote_tag};from-tag={one.tag}"
