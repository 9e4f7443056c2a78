"""An error in the log: a plain traceback of bounded length, whatever the error holds."""

import pytest

from agentd.service.tracebacks import MAX_ERRORS, MAX_LENGTH, MAX_MESSAGE, plain_traceback, shortened


def caught(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as found:
        return found


def chain(length: int) -> BaseException:
    """Errors each of which led to the next one."""
    error: BaseException = caught(ValueError("number 0"))
    for number in range(1, length):
        try:
            try:
                raise error
            except ValueError:
                raise ValueError(f"number {number}")  # noqa: B904
        except ValueError as next_one:
            error = next_one
    return error


def test_an_error_is_told_as_python_tells_it() -> None:
    secret = "a variable's value"
    text = plain_traceback(caught(ValueError("first\nsecond")))
    assert text.startswith("Traceback (most recent call last):\n  File ")
    assert text.endswith("ValueError: first\nsecond")
    assert "raise error" in text
    assert secret not in text


def test_a_cause_comes_before_what_it_caused() -> None:
    try:
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise RuntimeError("outer") from error
    except RuntimeError as error:
        text = plain_traceback(error)
    assert text.index("KeyError: 'inner'") < text.index("direct cause") < text.index("RuntimeError: outer")


def test_what_was_being_handled_comes_before_it_too_unless_it_was_suppressed() -> None:
    try:
        try:
            raise KeyError("inner")
        except KeyError:
            raise RuntimeError("outer")  # noqa: B904
    except RuntimeError as error:
        text = plain_traceback(error)
        error.__suppress_context__ = True
        alone = plain_traceback(error)
    assert text.index("KeyError: 'inner'") < text.index("During handling") < text.index("RuntimeError: outer")
    assert "KeyError" not in alone


def test_a_group_tells_its_members_and_where_each_was_raised() -> None:
    group = ExceptionGroup("both", [caught(ValueError("one")), ExceptionGroup("inner", [caught(OSError("two"))])])
    text = plain_traceback(caught(group))
    assert "ExceptionGroup: both (2 sub-exceptions)" in text
    assert "  +---- 1 of 2\n  | Traceback (most recent call last):" in text
    assert "  | ValueError: one" in text
    assert "  |   | OSError: two" in text


def test_notes_are_told() -> None:
    error = ValueError("x")
    error.add_note("call 17.1")
    assert plain_traceback(error) == "ValueError: x\ncall 17.1"


def test_an_error_of_a_package_is_told_with_its_place() -> None:
    class Odd(Exception):
        pass

    assert plain_traceback(Odd("x")).endswith(f"{__name__}.{Odd.__qualname__}: x")


@pytest.mark.parametrize("length", [5, 300])
def test_of_a_long_chain_the_last_errors_are_told(length: int) -> None:
    text = plain_traceback(chain(length))
    assert text.startswith(f"[{length - 4} earlier errors]")
    assert text.endswith(f"ValueError: number {length - 1}")
    assert len(text) <= MAX_LENGTH


def test_a_circle_of_errors_is_told_once() -> None:
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    assert plain_traceback(one).count("ValueError") == 2


def test_groups_of_hundreds_each_with_a_chain_of_its_own_are_a_few_pages() -> None:
    """26 MB and 86 s of CPU for one error, where rich was installed."""
    group: BaseException = ExceptionGroup("all", [chain(100) for _ in range(5)] * 60)
    for depth in range(30):
        group = ExceptionGroup(f"depth {depth}", [group, *[ValueError("x")] * 300])  # type: ignore[list-item]
    text = plain_traceback(caught(group))
    assert len(text) <= MAX_LENGTH + 100
    assert text.count("ValueError: number") <= MAX_ERRORS


def test_of_a_deep_recursion_the_innermost_frames_are_told() -> None:
    def fall(depth: int) -> None:
        if not depth:
            raise RuntimeError("at the bottom")
        fall(depth - 1)

    try:
        fall(500)
    except RuntimeError as error:
        text = plain_traceback(error)
    assert "outer frames]" in text
    assert 'raise RuntimeError("at the bottom")' in text
    assert len(text) < 10_000


def test_a_long_message_is_shortened_in_the_middle() -> None:
    text = plain_traceback(ValueError("begin" + "x" * 1_000_000 + "end"))
    assert text.startswith("ValueError: begin")
    assert text.endswith("end")
    assert len(text) < MAX_MESSAGE + 100


def test_an_error_that_cannot_be_read_is_told_all_the_same() -> None:
    class Unreadable(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert "its message cannot be read: RuntimeError" in plain_traceback(Unreadable())


def test_what_is_short_is_left_alone() -> None:
    assert shortened("x" * 100, 100) == "x" * 100
